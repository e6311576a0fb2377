"""MobileNet (Howard et al. 2017): depthwise 3x3 and pointwise 1x1 convolutions."""

from __future__ import annotations

from torch import nn

from ..specs import MobileNetV1
from .layers import Chain, Convolution, he_start, started

STEM = 32  # channels
# (channels, stride) of each separable layer, block by block: table 1 of Howard et al. 2017, without the stem
LAYERS = (((64, 1),), ((128, 2), (128, 1)), ((256, 2), (256, 1)), ((512, 2), *((512, 1),) * 5), ((1024, 2), (1024, 1)))


def build_backbone(spec: MobileNetV1, *, weights: str) -> Chain:
    """The backbone of `spec`, started from random weights or those of a file. Raises WeightsError."""
    inputs = int(STEM * spec.width)
    stages = [nn.Sequential(Convolution(3, inputs, 3, 2, padding=1, bias=False), *_norm(inputs))]
    for block in LAYERS:
        stages.append(nn.Sequential())
        for channels, stride in block:
            outputs = int(channels * spec.width)
            stages[-1].extend(_separable(inputs, outputs, stride))
            inputs = outputs
    backbone = Chain(dict(zip(spec.stages, stages, strict=True)), inputs)
    he_start(backbone)
    return started(backbone, spec.frozen, weights)


def _separable(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
    return depthwise, *_norm(inputs), Convolution(inputs, outputs, 1, bias=False), *_norm(outputs)


def _norm(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU6(inplace=True)  # as the authors' code; it suits int8
