"""A trunk that stops at one of its stages: what comes after is not there, neither to run nor to store."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..errors import RecipeError
from .freeze import OverTrunk, Trunk
from .net import room
from .specs import Until

PROBE = 96  # px, the side of the picture that tells how many maps there are


class ShortTrunk(OverTrunk):
    """Runs the stages of `inner` up to `last`: (B, 3, H, W) -> (B, channels, h, w) of that stage."""

    def __init__(self, inner: Trunk, last: str) -> None:
        super().__init__(inner)
        names = list(inner.stages())
        self.names = names[: names.index(last) + 1]
        gone = {module for name in names if name not in self.names for module in inner.stages()[name]}
        for parent in list(cast(nn.Module, inner).modules()):
            for name, child in list(parent.named_children()):
                if child in gone:
                    setattr(parent, name, nn.Identity())
        self.mean, self.std = inner.mean, inner.std
        mode = inner.training
        self.eval()
        with torch.no_grad():
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


def build_trunk(spec: Until, *, weights: str) -> ShortTrunk:
    """The trunk of `spec`, the one below it started from `weights`.

    Raises:
        RecipeError: the trunk has no such stage, or as the trunk below.
        WeightsError: as the trunk below.
    """
    inner = room(spec.trunk).build_trunk(spec.trunk, weights=weights)
    if spec.last not in inner.stages():
        raise RecipeError(f"there is no stage {spec.last!r} to stop at; choose one of {', '.join(inner.stages())}")
    return ShortTrunk(inner, spec.last)
