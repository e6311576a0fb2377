"""Heads as frozen records: what a recipe names and `heads.build_head` makes."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le, MinLen

from ...records import Count, FractionAbove0, FractionBelow1, Natural, Positive, record

DEEPEST = 12  # splits from root to leaf: a tree is kept whole, with room for 2^depth leaves
Depths = Annotated[tuple[Annotated[int, Ge(1), Le(DEEPEST)], ...], MinLen(1)]
Tried = Annotated[tuple[Positive, ...], MinLen(1)]


@record
class Linear:
    """Global average pool, dropout, one linear layer.

    Its weights turn the last maps into class activation maps.
    """

    dropout: FractionBelow1 = 0.0


@record
class Mlp:
    """Global average pool, a hidden layer of `hidden` ReLU units, dropout, a linear layer.

    With `norm` BatchNorm and dropout come before the hidden layer, and BatchNorm after it; epsilon and momentum are Keras's.
    """

    hidden: Count = 256
    dropout: FractionBelow1 = 0.0
    norm: bool = False


@record
class Svm:
    """Support vector machine with a Gaussian kernel on standardised features (Cortes and Vapnik 1995),
    each class against the rest.

    `c` are the inverse strengths of the penalty that are tried, `gamma` the widths of the kernel exp(-gamma / E |x - y|^2)
    for E features; 1 is
    scikit-learn's "scale". The logits are its decision values (of two classes half of it either way).
    """

    c: Tried = (0.1, 1.0, 10.0)
    gamma: Tried = (0.3, 1.0)


@record
class Forest:
    """Random forest (Breiman 2001) of `trees` trees, each at most one of `depth` deep.

    The logits are logs of the mean shares in the leaves.
    """

    depth: Depths = (4, 8)
    trees: Count = 200


@record
class Boosting:
    """Gradient boosting (Friedman 2001): `stages` trees of at most `depth`, each added with `rate`.

    Every split sees sqrt(E) of the features.
    """

    depth: Depths = (1, 3)
    stages: Count = 100
    rate: FractionAbove0 = 0.1


@record
class NaiveBayes:
    """Gaussian naive Bayes on standardised features.

    `smoothing`, as a fraction of the largest variance, is added to each variance. Without it a feature that is constant in
    one class, as dead ones are, would decide alone.

    The logits are its joint log-likelihoods divided by E: features of one network are far from independent, so that the sum
    over E of them
    is much too sure. The calibrator finds the rest.
    """

    smoothing: Tried = (0.001, 0.03, 1.0)


@record
class Neighbours:
    """The `count` nearest training cases by the distance of standardised features.

    The logits are logs of how many are of each class.
    """

    count: Annotated[tuple[Count, ...], MinLen(1)] = (5, 15, 45)


@record
class Yolo:
    """Boxes of K classes around each cell of the last maps (YOLOv2, Redmon and Farhadi 2017).

    `layers` 3x3 convolutions of `width` channels with BatchNorm, then for each of the `anchors` (widths and heights, as
    shares of the picture) where the box lies, whether one is there, and
    its class. Without anchors `count` of them are found among the boxes of the train part.
    """

    count: Count = 5
    anchors: tuple[tuple[Positive, Positive], ...] = ()
    layers: Natural = 2
    width: Count = 256


Fitted = Svm | Forest | Boosting | NaiveBayes | Neighbours  # by scikit-learn on frozen features; tuples are what is tried
HeadSpec = Linear | Mlp | Yolo | Fitted
