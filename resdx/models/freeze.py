"""Freezing a trunk from its first layer up to a stage, and its parameters by stage.

`requires_grad=False` alone does not freeze BatchNorm: its running statistics still move in training mode. So a frozen
stage is also held in eval mode, through every later call of `.train()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, Self, cast

from torch import Tensor, nn

from .specs import check_stage


class Trunk(Protocol):
    """What a network needs of a trunk; an `nn.Module` whose `train` calls `hold_frozen` after its own."""

    channels: int
    frozen: str
    folded: bool  # BatchNorm was folded into the convolutions: give it back (`batchnorm.rebatchnorm`) before training
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    training: bool

    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """The modules of each stage, first stage first; together they hold every parameter."""

    def stage(self, name: str, x: Tensor) -> Tensor:
        """Run one stage."""

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, channels, h, w): all stages."""

    def train(self, mode: bool = True) -> Any:
        """Set the mode of all but the frozen stages."""


def frozen_stages(trunk: Trunk) -> tuple[str, ...]:
    """Names of the frozen stages, first stage first."""
    names = tuple(trunk.stages())
    if trunk.frozen in ("", "all"):
        return names if trunk.frozen else ()
    return names[: names.index(trunk.frozen) + 1]


def freeze(trunk: Trunk, upto: str) -> None:
    """Freeze the stages up to and with `upto` ("" none, "all" the whole trunk), and set all later ones free.

    Raises:
        RecipeError: the trunk has no such stage.
    """
    check_stage(upto, tuple(trunk.stages()))
    trunk.frozen = upto
    held = frozen_stages(trunk)
    for name, modules in trunk.stages().items():
        for module in modules:
            module.requires_grad_(name not in held)
    trunk.train(trunk.training)


def hold_frozen(trunk: Trunk) -> None:
    """Put the frozen stages into eval mode."""
    stages = trunk.stages()
    for name in frozen_stages(trunk):
        for module in stages[name]:
            module.eval()


def parameter_groups(trunk: Trunk) -> list[tuple[str, list[nn.Parameter]]]:
    """(stage, its parameters that train), first stage first; frozen stages are left out."""
    groups = [(name, list(_trainable(modules))) for name, modules in trunk.stages().items()]
    return [(name, parameters) for name, parameters in groups if parameters]


def _trainable(modules: tuple[nn.Module, ...]) -> Iterator[nn.Parameter]:
    return (parameter for module in modules for parameter in module.parameters() if parameter.requires_grad)


class OverTrunk(nn.Module):
    """A trunk around another, `inner`, with its stages; what they are frozen to and their mode are those of `inner`."""

    def __init__(self, inner: Trunk) -> None:
        super().__init__()
        self.inner = inner

    @property
    def frozen(self) -> str:
        """How far the trunk below is frozen."""
        return self.inner.frozen

    @frozen.setter
    def frozen(self, upto: str) -> None:
        self.inner.frozen = upto

    @property
    def folded(self) -> bool:
        """Whether the BatchNorm of the trunk below is part of its convolutions."""
        return self.inner.folded

    @folded.setter
    def folded(self, is_so: bool) -> None:
        self.inner.folded = is_so

    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """The modules of each stage of the trunk below."""
        return self.inner.stages()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Trunk, self).features(x)

    def train(self, mode: bool = True) -> Self:
        """Set training mode for all but the frozen stages."""
        super().train(mode)
        hold_frozen(cast(Trunk, self))
        return self
