"""The residual network as Keras builds it, for systems whose parameters were counted there."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..freeze import freeze
from ..specs import KerasResNet, ResNet
from ..weights import load_backbone
from .layers import Convolution
from .resnet import ResidualNetwork

EPSILON, MOMENTUM = 1.001e-5, 0.01  # of its BatchNorm; Keras writes the second as .99, the share that is kept


def build_backbone(spec: KerasResNet, *, weights: str) -> ResidualNetwork:
    """The backbone of `spec`, started from random weights or those of a file. Raises WeightsError.

    Its padding and its order of layers are those of ours with stride="1x1"; what differs are biases and BatchNorm.
    """
    backbone = ResidualNetwork(ResNet(spec.depth, stride="1x1"))
    backbone.mean, backbone.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            # Keras gives its convolutions a bias although BatchNorm follows
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
        elif isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = EPSILON, MOMENTUM
    if spec.recolour:
        recolour = Convolution(3, 3, 3, padding=1)
        nn.init.xavier_uniform_(recolour.weight)  # Keras's way to start
        backbone.conv1 = nn.Sequential(recolour, backbone.conv1)
    if weights:
        load_backbone(backbone, Path(weights))
    freeze(backbone, spec.frozen)
    return backbone
