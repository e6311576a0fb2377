"""A backbone that is a plain chain of stages, and a dense layer as one of its links."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad

from ..freeze import freeze, hold_frozen
from ..weights import load_backbone


class Chain(nn.Module):
    """Stages that are run one after the other: (B, 3, H, W) from -1 to 1 -> (B, channels, h, w)."""

    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self, stages: Mapping[str, nn.Module], channels: int) -> None:
        super().__init__()
        self.names = tuple(stages)
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.channels = channels
        self.frozen, self.folded = "", False

    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """The module of each stage, in order."""
        return {name: (self.get_submodule(name),) for name in self.names}

    def stage(self, name: str, x: Tensor) -> Tensor:
        """Run one stage."""
        return cast(Tensor, self.get_submodule(name)(x))

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, channels, h, w)."""
        for name in self.names:
            x = self.stage(name, x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)

    def train(self, mode: bool = True) -> Self:
        """Set training mode for all but the frozen stages."""
        super().train(mode)
        hold_frozen(self)
        return self


class Dense(nn.Module):
    """A dense layer on maps (B, C, side, side), which gives (B, outputs, 1, 1).

    On larger maps it is the convolution that a dense layer is (LeCun et al. 1998, layer C5): each place of its answer sees
    side x side places. Smaller maps are enlarged, as torchvision's AlexNet does.
    """

    def __init__(self, inputs: int, side: int, outputs: int) -> None:
        super().__init__()
        self.side = side
        self.linear = nn.Linear(inputs * side * side, outputs)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < self.side:
            x = sized(x, max(self.side, x.shape[2]), max(self.side, x.shape[3]))
        if tuple(x.shape[2:]) == (self.side, self.side):
            return cast(Tensor, self.linear(x.flatten(1)))[:, :, None, None]
        # The dense weights (outputs, C * side * side) as kernels
        weight = self.linear.weight.view(self.linear.out_features, x.shape[1], self.side, self.side)
        return conv2d(x, weight, self.linear.bias)


def sized(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) -> (B, C, height, width), bilinear."""
    if tuple(x.shape[2:]) == (height, width):
        return x
    return interpolate(x, (height, width), mode="bilinear", align_corners=False)


def he_start(module: nn.Module) -> None:
    """Start convolutions as He et al. 2015 say (fan out), with biases of 0."""
    for one in module.modules():
        if isinstance(one, nn.Conv2d):
            # places of the kernel times the outputs of a group
            fan_out = one.weight[0, 0].numel() * one.out_channels // one.groups
            nn.init.normal_(one.weight, std=math.sqrt(2 / fan_out))
            if one.bias is not None:
                nn.init.zeros_(one.bias)


def started(backbone: Chain, frozen: str, weights: str) -> Chain:
    """The backbone with the weights of a file ("" leaves them as they are), frozen up to a stage.

    Raises WeightsError.
    """
    if weights:
        load_backbone(backbone, Path(weights))
    freeze(backbone, frozen)
    return backbone


SMALL = 64  # places of a map up to which a kernel larger than 1x1 gains


class Convolution(nn.Conv2d):
    """`nn.Conv2d` without dilation and groups, square in all.

    On anything but a processor that learns it is just that.
    """

    def forward(self, x: Tensor) -> Tensor:
        learns = x.device.type == "cpu" and torch.is_grad_enabled() and self.weight.requires_grad
        if not learns or (self.kernel_size[0] > 1 and self._places(x) > SMALL):
            return super().forward(x)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):  # a Function of our own is not cast for us
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        made = cast(Tensor, _Convolve.apply(x, weight, self.stride[0], int(self.padding[0])))  # type: ignore[no-untyped-call]
        return made if self.bias is None else made + self.bias.to(made.dtype)[:, None, None]

    def _places(self, x: Tensor) -> int:
        return (x.shape[2] // self.stride[0]) * (x.shape[3] // self.stride[1])


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, stride=stride, padding=padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        into_x = None
        if ctx.needs_input_grad[0]:
            s, p = [ctx.stride] * 2, [ctx.padding] * 2
            into_x = torch.ops.aten.convolution_backward(  # a Function has no named arguments
                gradients[0], x, weight, None, s, p, [1, 1], False, [0, 0], 1, [True, False, False]
            )[0]
        return into_x, weight_gradient(x, gradients[0], weight.shape[-1], ctx.stride, ctx.padding), None, None


def weight_gradient(x: Tensor, gradient: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Gradient (O, I, size, size) of the weights.

    From the input (B, I, H, W) and the gradient (B, O, h, w) of the output.
    """
    height, width = gradient.shape[2:]
    flat = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1]).t()  # (O, B h w)
    # channels last: (B, H + 2 padding, W + 2 padding, I)
    x = pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)) if padding else x.permute(0, 2, 3, 1)
    down, along = stride * (height - 1) + 1, stride * (width - 1) + 1  # what the kernel's corner passes over, in pixels
    places = [
        # (O, I): one product for each place in the kernel
        flat @ x[:, top : top + down : stride, left : left + along : stride].reshape(-1, x.shape[3])
        for top in range(size)
        for left in range(size)
    ]
    return torch.stack(places, -1).view(gradient.shape[1], x.shape[3], size, size)
