"""Heads: pooled maps (B, E) -> logits (B, K)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from .specs import Linear, Mlp


class Head(nn.Module):
    """The layers of a head spec; `linear` is the last one, whose weights a class activation map needs."""

    def __init__(self, spec: Linear | Mlp, inputs: int, outputs: int) -> None:
        super().__init__()
        self.hidden: nn.Module = nn.Identity()
        if isinstance(spec, Mlp):
            self.hidden = nn.Sequential(nn.Linear(inputs, spec.hidden), nn.ReLU())
            inputs = spec.hidden
        self.dropout = nn.Dropout(spec.dropout)
        self.linear = nn.Linear(inputs, outputs)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        return cast(Tensor, self.linear(self.dropout(self.hidden(pooled))))

    def start_at(self, bias: Sequence[float]) -> None:
        """Begin with these logits, such as the log of each class's share, so that the first steps need not learn them."""
        with torch.no_grad():
            self.linear.bias.copy_(torch.tensor(bias))
