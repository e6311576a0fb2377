"""Backbones around another: truncated at a stage, tiled, or shown a standardised heat map."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ...errors import RecipeError
from ..freeze import Backbone, WrapperBackbone
from ..specs import Cells, Standardised, Tiled, Truncated

AT_ONCE = 256  # pictures
PROBE = 96  # px, the side of the picture that tells how many maps there are


class TruncatedBackbone(WrapperBackbone):
    """Runs the stages of `inner` up to `last`: (B, 3, H, W) -> (B, channels, h, w) of that stage."""

    def __init__(self, inner: Backbone, last: str) -> None:
        super().__init__(inner)
        names = list(inner.stages())
        self.names = names[: names.index(last) + 1]
        # Stages that are not run are no part of the weights either.
        gone = {module for name in names if name not in self.names for module in inner.stages()[name]}
        for parent in list(cast(nn.Module, inner).modules()):
            for name, child in list(parent.named_children()):
                if child in gone:
                    setattr(parent, name, nn.Identity())
        self.mean, self.std = inner.mean, inner.std
        mode = inner.training
        self.eval()
        with torch.no_grad():  # the probe must not move BatchNorm's statistics
            self.channels = int(self.features(torch.zeros(1, 3, PROBE, PROBE)).shape[1])
        self.train(mode)

    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """The modules of the stages that are left."""
        known = self.inner.stages()
        return {name: known[name] for name in self.names}

    def stage(self, name: str, x: Tensor) -> Tensor:
        """Run one stage."""
        return self.inner.stage(name, x)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, channels, h, w)."""
        for name in self.names:
            x = self.stage(name, x)
        return x


class TiledBackbone(WrapperBackbone):
    """Runs `inner` on rows x columns tiles and lays their maps side by side again.

    (B, 3, H, W) -> (B, channels, rows * h, columns * w).

    The channels are those of `inner` once, whose mean over the sheet is the mean over all tiles, and once for each k of
    `top`: there each channel is left standing in the k tiles where its mean is highest, so that its mean over the sheet is
    the mean of these.
    """

    def __init__(self, inner: Backbone, spec: Tiled) -> None:
        super().__init__(inner)
        self.rows, self.columns, self.top = spec.rows, spec.columns, spec.top
        self.channels = inner.channels * (1 + len(spec.top))
        self.mean, self.std = inner.mean, inner.std

    def stage(self, name: str, x: Tensor) -> Tensor:
        """Run one stage on each tile; the last one tells the tiles' statistics too."""
        tiles = self.inner.stage(name, self._cut(x))
        return self._lay(self._with_top(tiles) if name == list(self.stages())[-1] else tiles)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, channels, rows * h, columns * w)."""
        return self._lay(self._with_top(self.inner.features(self._cut(x))))

    def _cut(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B * tiles, C, H / rows, W / columns).

        What is left over at the right and below is dropped.
        """
        height, width = x.shape[2] // self.rows, x.shape[3] // self.columns
        x = x[:, :, : height * self.rows, : width * self.columns]
        x = x.reshape(-1, x.shape[1], self.rows, height, self.columns, width)  # (B, C, rows, h, columns, w)
        return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, x.shape[1], height, width)

    def _lay(self, x: Tensor) -> Tensor:
        """(B * tiles, C, h, w) -> (B, C, rows * h, columns * w)."""
        _, channels, height, width = x.shape
        x = x.reshape(-1, self.rows, self.columns, channels, height, width).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(-1, channels, self.rows * height, self.columns * width)

    def _with_top(self, x: Tensor) -> Tensor:
        """(B * tiles, E, h, w) -> (B * tiles, channels, h, w)."""
        tiles = self.rows * self.columns
        means = x.mean((2, 3)).reshape(-1, tiles, x.shape[1])  # (B, tiles, E)
        out = [x]
        for k in self.top:
            stands = (means >= means.topk(k, dim=1).values[:, -1:]).to(x.dtype)  # where tiles are equal, more than k
            # The mean over the sheet divides by all tiles, so that k of them must stand for all.
            share = stands * (tiles / stands.sum(1, keepdim=True))
            out.append(x * share.reshape(-1, x.shape[1], 1, 1))
        return torch.cat(out, dim=1)


class CellsBackbone(nn.Module):
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


class StandardisedBackbone(WrapperBackbone):
    """Shows `inner` each cell less its mean, over its deviation, from `-limit` (black) to `limit` (white).

    `fit_inputs` sets both.
    """

    def __init__(self, inner: Backbone, spec: Standardised) -> None:
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
        """What the backbone below sees of (B, 3, H, W)."""
        # (B, rows, columns)
        cells = (cells_of(x, self.rows, self.columns) - cast(Tensor, self.centre)) / cast(Tensor, self.deviation)
        # From -limit..limit to black..white; "nearest" makes each cell an even rectangle of the picture.
        grey = interpolate((cells.clamp(-self.limit, self.limit) / (2 * self.limit) + 0.5)[:, None], size=x.shape[2:])
        return (grey - cast(Tensor, self.inner_mean)) / cast(Tensor, self.inner_std)


def cells_of(x: Tensor, rows: int, columns: int) -> Tensor:
    """(B, C, H, W) -> (B, rows, columns), the mean of each cell over its pixels and colours."""
    return adaptive_avg_pool2d(x.mean(1, keepdim=True), (rows, columns))[:, 0]


def fit_inputs(backbone: Backbone, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
    """Set mean and deviation of a `StandardisedBackbone` from the training images.

    `images` are (N, S, S, C), `rows` those of the training cases.

    Nothing is done to other backbones.
    """
    if not isinstance(backbone, StandardisedBackbone):
        return
    some = np.array_split(rows, max(1, len(rows) // AT_ONCE))
    found = [
        cells_of(torch.from_numpy(images[part]).permute(0, 3, 1, 2).float() / 255, backbone.rows, backbone.columns)
        for part in some
    ]
    values = torch.cat(found)
    deviation = values.std(0, unbiased=False)
    with torch.no_grad():
        cast(Tensor, backbone.centre).copy_(values.mean(0))
        cast(Tensor, backbone.deviation).copy_(torch.where(deviation > 0, deviation, 1))  # a cell that never differs says nothing


def wrap(spec: Truncated | Tiled | Standardised, inner: Backbone) -> TruncatedBackbone | TiledBackbone | StandardisedBackbone:
    """The backbone of `spec` around `inner`.

    Raises RecipeError where `inner` has no stage of the name to stop at.
    """
    if isinstance(spec, Tiled):
        return TiledBackbone(inner, spec)
    if isinstance(spec, Standardised):
        return StandardisedBackbone(inner, spec)
    if spec.last not in inner.stages():
        raise RecipeError(f"there is no stage {spec.last!r} to stop at; choose one of {', '.join(inner.stages())}")
    return TruncatedBackbone(inner, spec.last)
