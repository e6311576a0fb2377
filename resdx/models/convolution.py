"""A convolution whose weights learn faster on a processor.

oneDNN's gradient of a convolution's weights takes most of a step of a ResNet where the maps are small, two to ten times
the time of the same sum as products of matrices, one for each place of the kernel. The answer and the gradient of the input stay
oneDNN's. Nothing else changes: same parameters, same names, same result but for the order of a sum.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

SMALL = 64  # places of a map up to which a kernel larger than 1x1 gains


class Convolution(nn.Conv2d):
    """`nn.Conv2d` without dilation and groups, square in all; on anything but a processor that learns it is just that."""

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
            into_x = torch.ops.aten.convolution_backward(
                gradients[0], x, weight, None, s, p, [1, 1], False, [0, 0], 1, [True, False, False]
            )[0]
        return into_x, weight_gradient(x, gradients[0], weight.shape[-1], ctx.stride, ctx.padding), None, None


def weight_gradient(x: Tensor, gradient: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Gradient (O, I, size, size) of the weights from input (B, I, H, W) and the gradient (B, O, h, w) of the answer."""
    height, width = gradient.shape[2:]
    flat = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1]).t()
    x = pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)) if padding else x.permute(0, 2, 3, 1)
    down, along = stride * (height - 1) + 1, stride * (width - 1) + 1
    places = [
        flat @ x[:, top : top + down : stride, left : left + along : stride].reshape(-1, x.shape[3])
        for top in range(size)
        for left in range(size)
    ]
    return torch.stack(places, -1).view(gradient.shape[1], x.shape[3], size, size)
