"""Heads: pooled maps (B, E) -> logits (B, K)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from .fitted import FittedHead
from .specs import HeadSpec, Linear, Mlp, Yolo
from .yolo import YoloHead


def build_head(spec: HeadSpec, inputs: int, outputs: int) -> Head | FittedHead | YoloHead:
    """The head of `spec`, whose last layer is drawn at random or has yet to be fitted."""
    if isinstance(spec, Yolo):
        return YoloHead(spec, inputs, outputs)
    return Head(spec, inputs, outputs) if isinstance(spec, Linear | Mlp) else FittedHead(spec, inputs, outputs)


class Head(nn.Module):
    """The layers of a head spec; `linear` is the last one, whose weights a class activation map needs."""

    def __init__(self, spec: Linear | Mlp, inputs: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.smooth = True
        self.hidden: nn.Module = nn.Identity()
        if isinstance(spec, Mlp):
            self.hidden = nn.Sequential(nn.Linear(inputs, spec.hidden), nn.ReLU())
            if spec.norm:
                self.hidden = nn.Sequential(_norm(inputs), nn.Dropout(spec.dropout), *self.hidden, _norm(spec.hidden))
            inputs = spec.hidden
        self.dropout = nn.Dropout(spec.dropout)
        self.linear = nn.Linear(inputs, outputs)
        nn.init.normal_(self.linear.weight, std=0.01)  # small: the first logits are nearly the bias
        nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        return cast(Tensor, self.linear(self.dropout(self.hidden(pooled))))

    def start_at(self, bias: Sequence[float] | Tensor, weight: Tensor | None = None) -> None:
        """Begin with these logits, such as the log of each class's prior, or with a fitted layer.

        So the first steps need not learn them.
        """
        with torch.no_grad():
            self.linear.bias.copy_(torch.as_tensor(bias))
            if weight is not None:
                self.linear.weight.copy_(weight)


def _norm(units: int) -> nn.Sequential:
    # Of maps of 1 x 1, so that whatever looks after BatchNorm finds it; the momentum is what Keras writes as .99.
    norm = nn.BatchNorm2d(units, eps=1e-3, momentum=0.01)
    return nn.Sequential(nn.Unflatten(1, (units, 1, 1)), norm, nn.Flatten())
