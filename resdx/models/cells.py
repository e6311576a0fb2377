"""Heat maps of measured values: read cell by cell, or standardised over the training cases and shown to a network as a picture."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from .freeze import OverTrunk, Trunk
from .net import Network, room
from .specs import Cells, Standardised

AT_ONCE = 256  # pictures


class CellsTrunk(nn.Module):
    """(B, 3, H, W) -> (B, rows * columns, 1, 1): the mean of each cell."""

    def __init__(self, spec: Cells) -> None:
        super().__init__()
        self.rows, self.columns = spec.rows, spec.columns
        self.channels = spec.rows * spec.columns
        self.frozen, self.folded = "all", False
        self.mean, self.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """One, without parameters."""
        return {"cells": ()}

    def stage(self, name: str, x: Tensor) -> Tensor:
        """The cells."""
        return self.features(x)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, rows * columns, 1, 1)."""
        return cells_of(x, self.rows, self.columns).flatten(1)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)


class StandardisedTrunk(OverTrunk):
    """Shows `inner` each cell less its mean, over its deviation, from `-limit` (black) to `limit` (white); `fit_inputs` sets both."""

    def __init__(self, inner: Trunk, spec: Standardised) -> None:
        super().__init__(inner)
        self.rows, self.columns, self.limit = spec.rows, spec.columns, spec.limit
        self.channels = inner.channels
        self.mean, self.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        self.register_buffer("centre", torch.full((spec.rows, spec.columns), 0.5))
        self.register_buffer("deviation", torch.full((spec.rows, spec.columns), 0.25))
        self.register_buffer("inner_mean", torch.tensor(inner.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("inner_std", torch.tensor(inner.std).view(1, 3, 1, 1), persistent=False)

    def stage(self, name: str, x: Tensor) -> Tensor:
        """Run one stage, the first on the standardised picture."""
        return self.inner.stage(name, self.shown(x) if name == next(iter(self.stages())) else x)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, channels, h, w)."""
        return self.inner.features(self.shown(x))

    def shown(self, x: Tensor) -> Tensor:
        """What the trunk below sees of (B, 3, H, W)."""
        cells = (cells_of(x, self.rows, self.columns) - cast(Tensor, self.centre)) / cast(Tensor, self.deviation)
        grey = interpolate((cells.clamp(-self.limit, self.limit) / (2 * self.limit) + 0.5)[:, None], size=x.shape[2:])
        return (grey - cast(Tensor, self.inner_mean)) / cast(Tensor, self.inner_std)


def cells_of(x: Tensor, rows: int, columns: int) -> Tensor:
    """(B, C, H, W) -> (B, rows, columns), the mean of each cell over its pixels and colours."""
    return adaptive_avg_pool2d(x.mean(1, keepdim=True), (rows, columns))[:, 0]


def fit_inputs(network: Network, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
    """Set what the network's input is standardised by, from the prepared pictures (N, S, S, C) of the training cases `rows`; of other networks nothing."""
    trunk = network.trunk
    if not isinstance(trunk, StandardisedTrunk):
        return
    some = np.array_split(rows, max(1, len(rows) // AT_ONCE))
    found = [
        cells_of(torch.from_numpy(images[part]).permute(0, 3, 1, 2).float() / 255, trunk.rows, trunk.columns) for part in some
    ]
    values = torch.cat(found)
    deviation = values.std(0, unbiased=False)
    with torch.no_grad():
        cast(Tensor, trunk.centre).copy_(values.mean(0))
        cast(Tensor, trunk.deviation).copy_(torch.where(deviation > 0, deviation, 1))  # a cell that never differs says nothing


def build_trunk(spec: Cells | Standardised, *, weights: str) -> CellsTrunk | StandardisedTrunk:
    """The trunk of `spec`, the one below it started from `weights`. Raises RecipeError and WeightsError as that one does."""
    if isinstance(spec, Cells):
        return CellsTrunk(spec)
    return StandardisedTrunk(room(spec.trunk).build_trunk(spec.trunk, weights=weights), spec)
