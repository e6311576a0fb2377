"""Heads as frozen records: what a recipe names and `heads.build_head` makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import RecipeError
from ...records import record

DEEPEST = 12  # splits from root to leaf: a tree is kept whole, with room for 2^depth leaves


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
    """Global average pool, a hidden layer of `hidden` ReLU units, dropout, a linear layer.

    With `norm` BatchNorm and dropout come before the hidden layer, and BatchNorm after it; epsilon and momentum are Keras's.
    """

    hidden: int = 256
    dropout: float = 0.0
    norm: bool = False

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise RecipeError(f"Mlp hidden must be at least 1 unit, not {self.hidden}")
        check_dropout(self.dropout, "Mlp")


@record
@dataclass(frozen=True)
class Svm:
    """Support vector machine with a Gaussian kernel on standardised features (Cortes and Vapnik 1995), each class against the rest.

    `c` are the inverse strengths of the penalty that are tried, `gamma` the widths of the kernel exp(-gamma / E |x - y|^2) for E features; 1 is
    scikit-learn's "scale". The logits are its decision values (of two classes half of it either way).
    """

    c: tuple[float, ...] = (0.1, 1.0, 10.0)
    gamma: tuple[float, ...] = (0.3, 1.0)

    def __post_init__(self) -> None:
        check_tried(self, "c", self.c)
        check_tried(self, "gamma", self.gamma)


@record
@dataclass(frozen=True)
class Forest:
    """Random forest (Breiman 2001) of `trees` trees, each at most one of `depth` deep; the logits are logs of the mean shares in the leaves."""

    depth: tuple[int, ...] = (4, 8)
    trees: int = 200

    def __post_init__(self) -> None:
        check_tried(self, "depth", self.depth, most=DEEPEST)
        check_tried(self, "trees", (self.trees,))


@record
@dataclass(frozen=True)
class Boosting:
    """Gradient boosting (Friedman 2001): `stages` trees of at most `depth`, each added with `rate`; every split sees sqrt(E) of the features."""

    depth: tuple[int, ...] = (1, 3)
    stages: int = 100
    rate: float = 0.1

    def __post_init__(self) -> None:
        check_tried(self, "depth", self.depth, most=DEEPEST)
        check_tried(self, "stages", (self.stages,))
        check_tried(self, "rate", (self.rate,), most=1)


@record
@dataclass(frozen=True)
class NaiveBayes:
    """Gaussian naive Bayes on standardised features, with `smoothing` (shares of the largest variance) added to each variance.

    Without it a feature that is constant in one class, as dead ones are, would decide alone.

    The logits are its joint log-likelihoods divided by E: features of one network are far from independent, so that the sum over E of them
    is much too sure. The calibrator finds the rest.
    """

    smoothing: tuple[float, ...] = (0.001, 0.03, 1.0)

    def __post_init__(self) -> None:
        check_tried(self, "smoothing", self.smoothing)


@record
@dataclass(frozen=True)
class Neighbours:
    """The `count` nearest training cases by the distance of standardised features; the logits are logs of how many are of each class."""

    count: tuple[int, ...] = (5, 15, 45)

    def __post_init__(self) -> None:
        check_tried(self, "count", self.count)


@record
@dataclass(frozen=True)
class Yolo:
    """Boxes of K classes around each cell of the last maps (YOLOv2, Redmon and Farhadi 2017).

    `layers` 3x3 convolutions of `width` channels with BatchNorm, then for each of the `anchors` (widths and heights, as shares of the picture) where the box lies, whether one is there, and
    its class. Without anchors `count` of them are found among the boxes of the train part.
    """

    count: int = 5
    anchors: tuple[tuple[float, float], ...] = ()
    layers: int = 2
    width: int = 256

    def __post_init__(self) -> None:
        if min(self.count, self.width) < 1 or self.layers < 0:
            raise RecipeError(
                f"Yolo needs a count and width of at least 1 and layers of 0 or more, not {self.count}, {self.width} and {self.layers}"
            )
        if odd := [one for one in self.anchors if len(one) != 2 or not all(0 < side < math.inf for side in one)]:
            raise RecipeError(f"Yolo anchors are pairs of width and height above 0, not {odd[0]}")


Fitted = Svm | Forest | Boosting | NaiveBayes | Neighbours  # by scikit-learn on frozen features; tuples are what is tried
HeadSpec = Linear | Mlp | Yolo | Fitted


def check_dropout(dropout: float, owner: str) -> None:
    """Raise RecipeError unless `dropout` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise RecipeError(f"{owner} dropout must be at least 0 and below 1, not {dropout}")


def check_tried(owner: object, name: str, values: Sequence[float], *, most: float = math.inf) -> None:
    """Raise RecipeError unless there are `values`, all of them above 0, finite and at most `most`."""
    if not values or not all(0 < value < math.inf and value <= most for value in values):
        limit = f" and up to {most:g}" if most < math.inf else ""
        raise RecipeError(
            f"{type(owner).__name__} {name} takes numbers above 0{limit}, not {', '.join(map(str, values)) or 'none'}"
        )
