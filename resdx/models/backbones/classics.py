"""LeNet-5, AlexNet and StridedNet, whose dense layers are links of the chain like any other."""

from __future__ import annotations

from torch import nn

from ..specs import AlexNet, LeNet, StridedNet
from .layers import Chain, Dense, he_start, started

Stages = dict[str, nn.Module]


def build_backbone(spec: LeNet | AlexNet | StridedNet, *, weights: str) -> Chain:
    """The backbone of `spec`, started from random weights or those of a file. Raises WeightsError."""
    if isinstance(spec, LeNet):
        backbone = Chain(_lenet(spec.size), 84)
    elif isinstance(spec, AlexNet):
        backbone = Chain(_alexnet(spec.size, spec.dropout), 4096)
    else:
        backbone = Chain(_stridednet(spec.size), 512)
    if not isinstance(spec, LeNet):  # tanh wants smaller weights, which are PyTorch's own
        he_start(backbone)
    return started(backbone, spec.frozen, weights)


def _lenet(size: int) -> Stages:
    # Twice a 5x5 convolution without padding, which takes 4 pixels, and a pool that halves.
    side = ((size - 4) // 2 - 4) // 2
    return {
        "conv1": nn.Sequential(nn.Conv2d(3, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),
        "conv2": nn.Sequential(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        "dense1": nn.Sequential(Dense(16, side, 120), nn.Tanh()),
        "dense2": nn.Sequential(Dense(120, 1, 84), nn.Tanh()),
    }


def _alexnet(size: int, dropout: float) -> Stages:
    # 11x11 with stride 4 and padding 2: (size + 2 * 2 - 11) // 4 + 1; then three pools of 3x3 with stride 2.
    side = (size - 7) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    # One tower with the channels of Krizhevsky 2014, as torchvision's, not the two of 2012.
    return {
        "conv1": nn.Sequential(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        "conv2": nn.Sequential(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        "conv3": nn.Sequential(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        "conv4": nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        "conv5": nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        "dense1": nn.Sequential(nn.Dropout(dropout), Dense(256, side, 4096), nn.ReLU(inplace=True)),
        "dense2": nn.Sequential(nn.Dropout(dropout), Dense(4096, 1, 4096), nn.ReLU(inplace=True)),
    }


def _stridednet(size: int) -> Stages:
    # 7x7 with stride 2 and no padding, then three 3x3 with stride 2 and padding 1.
    side = (size - 7) // 2 + 1
    for _ in range(3):
        side = (side + 1) // 2
    return {
        "stem": nn.Sequential(nn.Conv2d(3, 16, 7, stride=2), nn.ReLU(inplace=True), nn.BatchNorm2d(16)),
        "pair1": _pair(16, 32),
        "pair2": _pair(32, 64),
        "pair3": _pair(64, 128),
        "dense": nn.Sequential(Dense(128, side, 512), nn.ReLU(inplace=True), nn.BatchNorm2d(512), nn.Dropout(0.5)),
    }


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)),
        *(nn.Conv2d(outputs, outputs, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)),
        nn.Dropout(0.25),
    )
