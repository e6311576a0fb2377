"""A trunk that looks at each tile of a sheet by itself: the slices of a scan, read side by side by `steps.scan.ReadScan`."""

from __future__ import annotations

import torch
from torch import Tensor

from .freeze import OverTrunk, Trunk
from .net import room
from .specs import Tiles


class TiledTrunk(OverTrunk):
    """Runs `inner` on rows x columns tiles and lays their maps side by side again: (B, 3, H, W) -> (B, channels, rows * h, columns * w).

    The channels are those of `inner` once, whose mean over the sheet is the mean over all tiles, and once for each k of `top`: there each
    channel is left standing in the k tiles where its mean is highest, so that its mean over the sheet is the mean of these.
    """

    def __init__(self, inner: Trunk, spec: Tiles) -> None:
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
        """(B, C, H, W) -> (B * tiles, C, H / rows, W / columns); what is left over at the right and below is dropped."""
        height, width = x.shape[2] // self.rows, x.shape[3] // self.columns
        x = x[:, :, : height * self.rows, : width * self.columns]
        x = x.reshape(-1, x.shape[1], self.rows, height, self.columns, width)
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
            share = stands * (tiles / stands.sum(1, keepdim=True))
            out.append(x * share.reshape(-1, x.shape[1], 1, 1))
        return torch.cat(out, dim=1)


def build_trunk(spec: Tiles, *, weights: str) -> TiledTrunk:
    """The trunk of `spec`, the one below it started from `weights`. Raises RecipeError and WeightsError as that one does."""
    return TiledTrunk(room(spec.trunk).build_trunk(spec.trunk, weights=weights), spec)
