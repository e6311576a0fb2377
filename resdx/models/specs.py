"""What a network is made of, as plain values: no torch here, so that recipes, runs and predictors can name a network cheaply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import RecipeError
from ..records import record

DEPTHS = (18, 34, 50, 101)
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")


@record
@dataclass(frozen=True)
class ResNet:
    """Residual network (He et al. 2016) of `depth` 18, 34, 50 or 101.

    `stride`: where a bottleneck halves the map: in its "3x3" (v1.5, as torchvision) or its first "1x1" (v1, as Keras).
    `stem`: "7x7" with stride 2 and max-pool, or "3x3" with neither, for images under about 96 px.
    `last_stride`: 1 keeps layer4 at the size of layer3, for finer maps.
    `frozen`: "" nothing, a stage (it and all before it), or "all".
    `weights`: "" from scratch, "imagenet", "resdx" (our own, where a file of it is installed), or a file.
    """

    depth: int = 50
    stride: Literal["3x3", "1x1"] = "3x3"
    stem: Literal["7x7", "3x3"] = "7x7"
    last_stride: int = 2
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        if self.depth not in DEPTHS:
            raise RecipeError(f"ResNet depth must be one of {', '.join(map(str, DEPTHS))}, not {self.depth}")
        if self.stride not in ("3x3", "1x1"):
            raise RecipeError(f"ResNet stride must be '3x3' or '1x1', not {self.stride!r}")
        if self.stride == "1x1" and self.depth < 50:
            raise RecipeError(f"ResNet depth {self.depth} has no 1x1 convolution to stride in; use stride='3x3' or depth 50")
        if self.stem not in ("7x7", "3x3"):
            raise RecipeError(f"ResNet stem must be '7x7' or '3x3', not {self.stem!r}")
        if self.last_stride not in (1, 2):
            raise RecipeError(f"ResNet last_stride must be 1 or 2, not {self.last_stride}")
        check_stage(self.frozen, STAGES)
        if self.weights in ("imagenet", "resdx") and (self.stem, self.stride) != ("7x7", "3x3"):
            raise RecipeError(
                f"{'ImageNet' if self.weights == 'imagenet' else 'resdx'} weights fit ResNet(stem='7x7', stride='3x3') only, not stem={self.stem!r}, stride={self.stride!r}; "
                "use weights='' or the standard form"
            )


@record
@dataclass(frozen=True)
class Pretrained:
    """A comparator from timm by its `name` (extra `zoo`).

    `weights` and `frozen` are as for ResNet; the stages are the network's own: "block1" and so on, where it is a plain chain.
    """

    name: str
    weights: str = ""
    frozen: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise RecipeError("Pretrained needs the name of a timm network, such as Pretrained('vgg16')")


@record
@dataclass(frozen=True)
class Linear:
    """Global average pool, dropout, one linear layer: its weights turn the last maps into class activation maps."""

    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_dropout(self.dropout, "Linear")


@record
@dataclass(frozen=True)
class Mlp:
    """Global average pool, a hidden layer of `hidden` ReLU units, dropout, a linear layer."""

    hidden: int = 256
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise RecipeError(f"Mlp hidden must be at least 1 unit, not {self.hidden}")
        check_dropout(self.dropout, "Mlp")


@record
@dataclass(frozen=True)
class Net:
    """A trunk that turns an image into maps, and a head that turns pooled maps into logits."""

    trunk: ResNet | Pretrained = field(default_factory=ResNet)
    head: Linear | Mlp = field(default_factory=Linear)


def check_stage(frozen: str, stages: tuple[str, ...]) -> None:
    """Raise RecipeError unless `frozen` is "", "all" or one of `stages`."""
    if frozen not in ("", *stages, "all"):
        raise RecipeError(f"there is no stage {frozen!r} to freeze up to; choose '', {', '.join(map(repr, stages))} or 'all'")


def check_dropout(dropout: float, owner: str) -> None:
    """Raise RecipeError unless `dropout` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise RecipeError(f"{owner} dropout must be at least 0 and below 1, not {dropout}")
