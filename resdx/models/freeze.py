"""Freezing a backbone from its first layer up to a stage, and its parameters by stage.

`requires_grad=False` alone does not freeze BatchNorm: its running statistics still move in training mode. So a frozen
stage is also held in eval mode, through every later call of `.train()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, Self, cast

from torch import Tensor, nn

from .specs import check_stage


class Backbone(Protocol):
    """What a network needs of a backbone; an `nn.Module` whose `train` calls `hold_frozen` after its own."""

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


def frozen_stages(backbone: Backbone) -> tuple[str, ...]:
    """Names of the frozen stages, first stage first."""
    names = tuple(backbone.stages())
    if backbone.frozen in ("", "all"):
        return names if backbone.frozen else ()
    return names[: names.index(backbone.frozen) + 1]


def freeze(backbone: Backbone, upto: str) -> None:
    """Freeze the stages up to and with `upto` ("" none, "all" the whole backbone).

    All later ones are set free.

    Raises:
        RecipeError: the backbone has no such stage.
    """
    check_stage(upto, tuple(backbone.stages()))
    backbone.frozen = upto
    held = frozen_stages(backbone)
    for name, modules in backbone.stages().items():
        for module in modules:
            module.requires_grad_(name not in held)
    backbone.train(backbone.training)  # again, which holds the newly frozen stages in eval mode and frees the others


def hold_frozen(backbone: Backbone) -> None:
    """Put the frozen stages into eval mode."""
    stages = backbone.stages()
    for name in frozen_stages(backbone):
        for module in stages[name]:
            module.eval()


def parameter_groups(backbone: Backbone) -> list[tuple[str, list[nn.Parameter]]]:
    """(stage, its parameters that train), first stage first; frozen stages are left out."""
    groups = [(name, list(_trainable(modules))) for name, modules in backbone.stages().items()]
    return [(name, parameters) for name, parameters in groups if parameters]


def _trainable(modules: tuple[nn.Module, ...]) -> Iterator[nn.Parameter]:
    return (parameter for module in modules for parameter in module.parameters() if parameter.requires_grad)


class WrapperBackbone(nn.Module):
    """A backbone around another, `inner`, with its stages.

    What they are frozen to and their mode are those of `inner`.
    """

    def __init__(self, inner: Backbone) -> None:
        super().__init__()
        self.inner = inner

    @property
    def frozen(self) -> str:
        """How far the backbone below is frozen."""
        return self.inner.frozen

    @frozen.setter
    def frozen(self, upto: str) -> None:
        self.inner.frozen = upto

    @property
    def folded(self) -> bool:
        """Whether the BatchNorm of the backbone below is part of its convolutions."""
        return self.inner.folded

    @folded.setter
    def folded(self, is_so: bool) -> None:
        self.inner.folded = is_so

    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """The modules of each stage of the backbone below."""
        return self.inner.stages()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Backbone, self).features(x)

    def train(self, mode: bool = True) -> Self:
        """Set training mode for all but the frozen stages."""
        super().train(mode)
        hold_frozen(cast(Backbone, self))
        return self
