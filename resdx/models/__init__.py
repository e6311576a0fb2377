"""Networks: specs that recipes name, and what builds, starts, freezes and packs them.

Specs need no PyTorch; `models.network.build` makes a network of one. Nothing here knows of cases or runs.
"""

from .heads.specs import Boosting, Forest, Linear, Mlp, NaiveBayes, Neighbours, Svm, Yolo
from .specs import (
    AlexNet,
    Cells,
    Cnn,
    KerasResNet,
    LeNet,
    MobileNetV1,
    Net,
    Pretrained,
    ResidualAttention,
    ResNet,
    RowsRnn,
    Standardised,
    StridedNet,
    Tiled,
    Truncated,
)

__all__ = [
    "AlexNet",
    "Boosting",
    "Cells",
    "Cnn",
    "Forest",
    "KerasResNet",
    "LeNet",
    "Linear",
    "Mlp",
    "MobileNetV1",
    "NaiveBayes",
    "Neighbours",
    "Net",
    "Pretrained",
    "ResNet",
    "ResidualAttention",
    "RowsRnn",
    "Standardised",
    "StridedNet",
    "Svm",
    "Tiled",
    "Truncated",
    "Yolo",
]
