"""Networks: specs that recipes name, and `net.build`, which makes them."""

from .specs import (
    AlexNet,
    Cnn,
    KerasResNet,
    LeNet,
    Linear,
    Mlp,
    MobileNetV1,
    Net,
    Pretrained,
    ResidualAttention,
    ResNet,
    RowsRnn,
    StridedNet,
)

__all__ = [
    "AlexNet",
    "Cnn",
    "KerasResNet",
    "LeNet",
    "Linear",
    "Mlp",
    "MobileNetV1",
    "Net",
    "Pretrained",
    "ResNet",
    "ResidualAttention",
    "RowsRnn",
    "StridedNet",
]
