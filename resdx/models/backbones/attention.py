"""A residual attention network without BatchNorm.

So an output does not depend on the other images of a batch.

After DRANet (Jiang, Li and Jin 2021): residual attention (Wang et al. 2017), filter response normalisation (Singh and
Krishnan 2020), a linear head on pooled maps. The layout of its layers was not seen; this one is ours.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from ..specs import ResidualAttention
from .layers import Chain, Convolution, he_start, sized, started

EPSILON = 1e-6
LEARNT_EPSILON = 1e-4  # where it starts
STEM = 32  # channels


class FilterResponseNorm(nn.Module):
    """Filter response normalisation: gamma x / sqrt(nu + |epsilon|) + beta.

    nu is the mean of x squared over each map of each image; (B, C, h, w) -> the same.

    `learnt`: epsilon is a parameter a channel, which maps of 1 x 1 need, of which else only the sign would be left.
    """

    def __init__(self, channels: int, *, learnt: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.epsilon = nn.Parameter(torch.empty(channels)) if learnt else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin as the plain normalisation."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        if self.epsilon is not None:
            nn.init.constant_(self.epsilon, LEARNT_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()  # squares overflow a half, and bfloat16 has no digits to sum them
        epsilon = EPSILON if self.epsilon is None else self.epsilon.abs()[:, None, None]
        # (B, C, 1, 1): over the map alone, not over the batch
        slope = (wide.square().mean((2, 3), keepdim=True) + epsilon).rsqrt()
        return (self.weight[:, None, None] * (wide * slope) + self.bias[:, None, None]).to(x.dtype)


class ThresholdedLinear(nn.Module):
    """max(x, tau) with a learnt tau a channel, which starts at 0 as a ReLU (Singh and Krishnan 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin as a ReLU."""
        nn.init.zeros_(self.tau)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.tau.to(x.dtype)[:, None, None])


class Residual(nn.Module):
    """Two 3x3 convolutions around an identity (or projected) shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, learnt: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Convolution(inputs, outputs, 3, stride, padding=1, bias=False),
            FilterResponseNorm(outputs, learnt=learnt),
            ThresholdedLinear(outputs),
            Convolution(outputs, outputs, 3, padding=1, bias=False),
            FilterResponseNorm(outputs, learnt=learnt),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else Convolution(inputs, outputs, 1, stride, bias=False)
        self.activation = ThresholdedLinear(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.activation(self.body(x) + self.shortcut(x)))


class Attention(nn.Module):
    """Residual attention: (1 + mask) * trunk output.

    What a block makes of a map is raised where a second path, which sees more of it at once, marks it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.backbone = Residual(channels, channels)
        self.coarse = Residual(channels, channels, learnt=True)
        self.mask = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            FilterResponseNorm(channels),
            ThresholdedLinear(channels),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        coarse = self.coarse(max_pool2d(x, 3, stride=2, padding=1))
        mask = torch.sigmoid(self.mask(sized(coarse, *x.shape[2:])))
        return cast(Tensor, (1 + mask) * self.backbone(x))


def build_backbone(spec: ResidualAttention, *, weights: str) -> Chain:
    """The backbone of `spec`, started from random weights or those of a file. Raises WeightsError."""
    stem = nn.Sequential(Convolution(3, STEM, 3, 2, padding=1, bias=False), FilterResponseNorm(STEM), ThresholdedLinear(STEM))
    stages, inputs = [stem], STEM
    for outputs in spec.channels:
        stages.append(nn.Sequential(Residual(inputs, outputs, 2), Attention(outputs)))
        inputs = outputs
    backbone = Chain(dict(zip(spec.stages, stages, strict=True)), inputs)
    he_start(backbone)
    return started(backbone, spec.frozen, weights)
