"""How a recipe learns.

By gradient descent, a classifier on frozen features, a search, or an ensemble of these.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen, Unit

from ..errors import RecipeError
from ..models.specs import Net
from ..records import Count, FractionAbove0, FractionBelow1, FractionBetween, Natural, NonNegative, Positive, record

Batch = Annotated[int, Ge(2)]  # BatchNorm has no deviation of one picture
Pixels = Annotated[int, Ge(0), Unit("pixels")]

SEARCHED = ("learn", "model", "augment")  # what a search may change


@record
class Training:
    """Gradient descent on all or part of the network.

    The first `head_epochs` of `epochs` train the head alone; then everything the model's `frozen` leaves free. With
    `head_penalty` above 0
    the head, a Linear(), begins as a logistic regression of that inverse strength C on what the starting backbone makes of
    the plain training pictures:
    training from a random one distorts good features (Kumar et al. 2022). With `freeze_batchnorm` BatchNorm keeps the
    statistics it starts with, instead of those of
    small batches, so that such a head sees the features it was fitted to. Rates:
    `lr` for the head, times `lr_decay` for every stage further from it. `start_size` pixels in the first epoch grow
    linearly to the prepared size over two thirds of the epochs (progressive resizing; 0 = always full size). `ema` is
    the decay of the moving average of the weights, which is what is scored and kept (0 = none). `patience` epochs
    without a better tune AUROC stop the training (0 = never). `mixup` is the Beta parameter of Zhang et al. 2018.

    The schedule "plateau" multiplies all rates by `plateau_factor` after every `plateau_patience` epochs without a better
    tune AUROC, but
    does not bring `lr` below `min_lr`. `epsilon` is that of Adam.

    With `cached_views` above 0 each case has that many variations, which epochs take in turn, and what the frozen stages
    make of them is computed once
    and kept on the disk, up to `cache_gb` gigabytes, while the training lasts; the result is the same, and epochs are as
    short as the rest is small.
    """

    epochs: Count = 20
    head_epochs: Natural = 0
    head_penalty: NonNegative = 0.0
    freeze_batchnorm: bool = field(default=False, metadata={"stored": "frozen_norms"})
    batch: Batch = 32  # cases a step
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Positive = 1e-3
    lr_decay: FractionAbove0 = 1.0
    weight_decay: NonNegative = 0.05  # of kernels and matrices alone, not of biases and BatchNorm
    schedule: Literal["cosine", "onecycle", "plateau", "constant"] = "cosine"
    plateau_factor: FractionBetween = 0.5
    plateau_patience: Count = 3
    min_lr: NonNegative = field(default=0.0, metadata={"stored": "least_lr"})
    epsilon: Positive = 1e-8
    warmup: FractionBelow1 = 0.05  # fraction of the steps in which the rate rises
    patience: Natural = 0
    ema: FractionBelow1 = 0.998
    class_weights: Literal["none", "balanced"] = "none"  # of the loss
    sampling: Literal["natural", "balanced"] = "natural"  # of the batches
    label_smoothing: FractionBelow1 = 0.0  # Szegedy et al. 2016
    mixup: NonNegative = 0.0
    start_size: Pixels = 0
    cached_views: Natural = field(default=0, metadata={"stored": "kept_views"})
    cache_gb: Annotated[float, Ge(0), Unit("gigabytes")] = field(default=8.0, metadata={"stored": "kept_gb"})

    def __post_init__(self) -> None:
        if self.head_epochs > self.epochs:
            raise RecipeError(
                f"Training.head_epochs cannot be {self.head_epochs}: the head learns alone for at most all {self.epochs} epochs"
            )
        if self.min_lr > self.lr:
            raise RecipeError(f"Training.min_lr cannot be {self.min_lr}: it takes a rate of at most lr, which is {self.lr}")
        if self.cached_views and (self.mixup or self.start_size):
            raise RecipeError(
                "Training cached_views goes with neither mixup nor start_size: the frozen stages see each picture once"
            )

    @property
    def rebalances(self) -> bool:
        """True when training sees other class rates than the data has, which shifts the intercept."""
        return self.class_weights == "balanced" or self.sampling == "balanced"


@record
class FeatureClassifier:
    """Frozen features and a classifier on them; nothing else is trained.

    The head of the model says which: Linear() a penalised logistic regression, or Svm(), Forest(), Boosting(),
    NaiveBayes(), Neighbours(). What
    is tried (`penalties`, the inverse strengths C of the regression; the tuples of the other heads) is chosen on the tune
    part, by folds of
    train where there is none. `views` pictures a training case (the plain one first, the rest varied by the recipe's `augment`).
    """

    # C, the strongest penalty first
    penalties: Annotated[tuple[Positive, ...], MinLen(1)] = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
    views: Count = 1
    class_weights: Literal["none", "balanced"] = "none"

    @property
    def rebalances(self) -> bool:
        """True when the fit is weighted by class."""
        return self.class_weights == "balanced"


@record
class Search:
    """Train with every combination of some values, then anew with the best one (grid search).

    The best one has the highest AUROC on tune. `grid` names fields of the recipe as `--set` does, with their values:
    (("learn.lr", ("0.001", "0.01")), ("model.head.dropout", ("0", "0.5"))), where `learn` is `training`. With `draws` above 0
    only so many combinations are tried, drawn at random (Bergstra and Bengio 2012). `epochs` above 0 is how long a trial
    trains; the training that is kept is never shortened.
    """

    training: Training = Training()
    grid: tuple[tuple[str, tuple[str, ...]], ...] = ()
    draws: Natural = 0
    epochs: Natural = 0

    def __post_init__(self) -> None:
        if not self.grid or not all(values for _, values in self.grid):
            raise RecipeError('Search needs a grid of fields and their values, such as grid=(("learn.lr", ("0.001", "0.01")),)')
        if odd := [name for name, _ in self.grid if name.split(".")[0] not in SEARCHED]:
            raise RecipeError(f"Search tries fields of {', '.join(SEARCHED)}, not {odd[0]}: pictures are prepared once")
        # What starting weights have seen decides the split, which comes before any search.
        if any(name.split(".")[-1] == "weights" for name, _ in self.grid):
            raise RecipeError("Search tries no starting weights; make a run with each of them (--weights) and compare those")

    @property
    def rebalances(self) -> bool:
        """As its training."""
        return self.training.rebalances


Alone = Training | FeatureClassifier


@record
class Member:
    """One of an ensemble: how it learns, and the network it learns on; without `model` that of the recipe.

    `name` is that of its directory and of its row in tables.
    """

    name: str
    learn: Alone
    model: Net | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.name):
            raise RecipeError(
                f"Member name takes small letters, digits, _ and -, since a directory is named so, not {self.name!r}"
            )


@record
class Ensemble:
    """Members that learn from the same cases and answer together.

    `vote` makes one answer of theirs: "soft" by the mean of their probabilities; "weighted" by a weighted mean, with the
    weights of greatest likelihood
    on the tune part; "majority" by the class that most of them choose; "stacking" by a logistic regression on their
    log-odds (Wolpert 1992), fitted on
    answers to train by members that learnt without the person (`stack_on` "folds": each member is trained five more times),
    or on the tune part,
    which chose the members' epochs and penalties and so flatters the better ones a little ("tune").
    """

    members: Annotated[tuple[Member, ...], MinLen(1)]
    vote: Literal["soft", "weighted", "majority", "stacking"] = "soft"
    stack_on: Literal["folds", "tune"] = "folds"

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            raise RecipeError(f"Ensemble members have each a name of their own, not {', '.join(names)}")

    @property
    def rebalances(self) -> bool:
        """True when a member sees other class rates than the data has."""
        return any(member.learn.rebalances for member in self.members)


Learn = Alone | Search | Ensemble


@record
class Dcgan:
    """Pictures made for training by one generator a class (DCGAN, Radford et al. 2016).

    Each is fitted to the train part alone. `share` pictures are kept for each real one, out of `1 / keep` times as many that
    are made: those most like a real one by SSIM and PSNR, without copies. The generators learn for `steps` batches at `size`
    pixels (a power of two); `spectral` normalises the judge's weights, and `matching` weighs its mean features on real and
    made pictures (0 = the plain DCGAN).
    """

    share: Annotated[float, Gt(0), Le(100)] = 1.0
    keep: FractionAbove0 = 0.5
    steps: Count = 2000  # batches
    batch: Batch = 32
    size: Literal[16, 32, 64, 128, 256, 512] = 128
    latent: Count = 100  # random numbers that a picture is made of
    width: Count = 32  # channels of the largest maps
    lr: Positive = 2e-4  # of Adam, for generator and discriminator (Radford et al. 2016)
    spectral: bool = True
    matching: NonNegative = 1.0
