"""Networks: specs that recipes name, and `net.build`, which makes them."""

from .head_specs import Boosting, Forest, Linear, Mlp, NaiveBayes, Neighbours, Svm
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
    Tiles,
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
    "Tiles",
]
