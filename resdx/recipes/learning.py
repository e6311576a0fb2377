"""How a recipe learns: gradient descent, a classifier on frozen features, a search, or an ensemble of these."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from ..errors import RecipeError
from ..models.specs import Net
from ..records import record

SEARCHED = ("learn", "model", "augment")  # what a search may change


@record
@dataclass(frozen=True)
class Training:
    """Gradient descent on all or part of the network.

    The first `head_epochs` of `epochs` train the head alone; then everything the model's `frozen` leaves free. With `head_penalty` above 0
    the head, a Linear(), begins as a logistic regression of that inverse strength C on what the starting backbone makes of the plain training pictures:
    training from a random one distorts good features (Kumar et al. 2022). With `freeze_batchnorm` BatchNorm keeps the statistics it starts with, instead of those of
    small batches, so that such a head sees the features it was fitted to. Rates:
    `lr` for the head, times `lr_decay` for every stage further from it. `start_size` pixels in the first epoch grow
    linearly to the prepared size over two thirds of the epochs (progressive resizing; 0 = always full size). `ema` is
    the decay of the moving average of the weights, which is what is scored and kept (0 = none). `patience` epochs
    without a better tune AUROC stop the training (0 = never). `mixup` is the Beta parameter of Zhang et al. 2018.

    The schedule "plateau" multiplies all rates by `plateau_factor` after every `plateau_patience` epochs without a better tune AUROC, but
    does not bring `lr` below `min_lr`. `epsilon` is that of Adam.

    With `cached_views` above 0 each case has that many variations, which epochs take in turn, and what the frozen stages make of them is computed once
    and kept on the disk, up to `cache_gb` gigabytes, while the training lasts; the result is the same, and epochs are as short as the rest is small.
    """

    epochs: int = 20
    head_epochs: int = 0
    head_penalty: float = 0.0
    freeze_batchnorm: bool = field(default=False, metadata={"stored": "frozen_norms"})
    batch: int = 32
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-3
    lr_decay: float = 1.0
    weight_decay: float = 0.05
    schedule: Literal["cosine", "onecycle", "plateau", "constant"] = "cosine"
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    min_lr: float = field(default=0.0, metadata={"stored": "least_lr"})
    epsilon: float = 1e-8
    warmup: float = 0.05
    patience: int = 0
    ema: float = 0.998
    class_weights: Literal["none", "balanced"] = "none"
    sampling: Literal["natural", "balanced"] = "natural"
    label_smoothing: float = 0.0
    mixup: float = 0.0
    start_size: int = 0
    cached_views: int = field(default=0, metadata={"stored": "kept_views"})
    cache_gb: float = field(default=8.0, metadata={"stored": "kept_gb"})

    def __post_init__(self) -> None:
        if self.epochs < 1 or not 0 <= self.head_epochs <= self.epochs:
            raise RecipeError(
                f"Training needs epochs of at least 1 and head_epochs from 0 to epochs, not {self.epochs} and {self.head_epochs}"
            )
        if not self.batch >= 2 or not 0 < self.lr < math.inf:
            raise RecipeError(f"Training needs a batch of at least 2 and lr above 0, not {self.batch} and {self.lr}")
        if not 0 <= self.ema < 1 or not 0 <= self.label_smoothing < 1 or not 0 <= self.warmup < 1:
            raise RecipeError("Training ema, label_smoothing and warmup are shares from 0 to below 1")
        if not 0 < self.lr_decay <= 1:
            raise RecipeError(f"Training lr_decay is a share above 0 and up to 1, not {self.lr_decay}")
        if not 0 < self.plateau_factor < 1 or self.plateau_patience < 1:
            raise RecipeError(
                f"Training needs a plateau_factor between 0 and 1 and plateau_patience of at least 1, not {self.plateau_factor} and "
                f"{self.plateau_patience}"
            )
        if not 0 < self.epsilon < math.inf or not 0 <= self.min_lr <= self.lr:
            raise RecipeError(f"Training needs an epsilon above 0 and min_lr from 0 to lr, not {self.epsilon} and {self.min_lr}")
        if self.cached_views and (self.mixup or self.start_size):
            raise RecipeError(
                "Training cached_views goes with neither mixup nor start_size: the frozen stages see each picture once"
            )
        for name in ("weight_decay", "head_penalty", "mixup", "patience", "start_size", "cached_views", "cache_gb"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise RecipeError(f"Training {name} must be 0 or more, not {value}")

    @property
    def rebalances(self) -> bool:
        """True when training sees other class rates than the data has, which shifts the intercept."""
        return self.class_weights == "balanced" or self.sampling == "balanced"


@record
@dataclass(frozen=True)
class FeatureClassifier:
    """Frozen features and a classifier on them; nothing else is trained.

    The head of the model says which: Linear() a penalised logistic regression, or Svm(), Forest(), Boosting(), NaiveBayes(), Neighbours(). What
    is tried (`penalties`, the inverse strengths C of the regression; the tuples of the other heads) is chosen on the tune part, by folds of
    train where there is none. `views` pictures a training case (the plain one first, the rest varied by the recipe's `augment`).
    """

    penalties: tuple[float, ...] = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
    views: int = 1
    class_weights: Literal["none", "balanced"] = "none"

    def __post_init__(self) -> None:
        if not self.penalties or not all(0 < penalty < math.inf for penalty in self.penalties):
            raise RecipeError(f"FeatureClassifier penalties must be numbers above 0, not {self.penalties}")
        if self.views < 1:
            raise RecipeError(f"FeatureClassifier needs at least 1 view of a case, not {self.views}")

    @property
    def rebalances(self) -> bool:
        """True when the fit is weighted by class."""
        return self.class_weights == "balanced"


@record
@dataclass(frozen=True)
class Search:
    """Train with every combination of some values, then anew with the one of the best tune AUROC (grid search).

    `grid` names fields of the recipe as `--set` does, with their values: (("learn.lr", ("0.001", "0.01")), ("model.head.dropout", ("0", "0.5"))), where
    `learn` is `training`. With `draws` above 0 only so many combinations are tried, drawn at random (Bergstra and Bengio 2012). `epochs` above 0
    is how long a trial trains; the training that is kept is never shortened.
    """

    training: Training = Training()
    grid: tuple[tuple[str, tuple[str, ...]], ...] = ()
    draws: int = 0
    epochs: int = 0

    def __post_init__(self) -> None:
        if not self.grid or not all(values for _, values in self.grid):
            raise RecipeError('Search needs a grid of fields and their values, such as grid=(("learn.lr", ("0.001", "0.01")),)')
        if odd := [name for name, _ in self.grid if name.split(".")[0] not in SEARCHED]:
            raise RecipeError(f"Search tries fields of {', '.join(SEARCHED)}, not {odd[0]}: pictures are prepared once")
        # What starting weights have seen decides the split, which comes before any search.
        if any(name.split(".")[-1] == "weights" for name, _ in self.grid):
            raise RecipeError("Search tries no starting weights; make a run with each of them (--weights) and compare those")
        if self.draws < 0 or self.epochs < 0:
            raise RecipeError(f"Search draws and epochs must be 0 or more, not {self.draws} and {self.epochs}")

    @property
    def rebalances(self) -> bool:
        """As its training."""
        return self.training.rebalances


Alone = Training | FeatureClassifier


@record
@dataclass(frozen=True)
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
@dataclass(frozen=True)
class Ensemble:
    """Members that learn from the same cases and answer together.

    `vote` makes one answer of theirs: "soft" by the mean of their probabilities; "weighted" by a weighted mean, with the weights of greatest likelihood
    on the tune part; "majority" by the class that most of them choose; "stacking" by a logistic regression on their log-odds (Wolpert 1992), fitted on
    answers to train by members that learnt without the person (`stack_on` "folds": each member is trained five more times), or on the tune part,
    which chose the members' epochs and penalties and so flatters the better ones a little ("tune").
    """

    members: tuple[Member, ...]
    vote: Literal["soft", "weighted", "majority", "stacking"] = "soft"
    stack_on: Literal["folds", "tune"] = "folds"

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if not names or len(set(names)) < len(names):
            raise RecipeError(
                f"Ensemble members must be at least one, each with a name of its own, not {', '.join(names) or 'none'}"
            )

    @property
    def rebalances(self) -> bool:
        """True when a member sees other class rates than the data has."""
        return any(member.learn.rebalances for member in self.members)


Learn = Alone | Search | Ensemble


@record
@dataclass(frozen=True)
class Dcgan:
    """Pictures made for training by one generator a class (DCGAN, Radford et al. 2016), each fitted to the train part alone.

    `share` pictures are kept for each real one, out of `1 / keep` times as many that are made: those most like a real one by SSIM and PSNR, without copies. The generators learn for `steps`
    batches at `size` pixels (a power of two); `spectral` normalises the judge's weights, and `matching` weighs its mean features on real and made pictures (0 = the plain DCGAN).
    """

    share: float = 1.0
    keep: float = 0.5
    steps: int = 2000
    batch: int = 32
    size: int = 128
    latent: int = 100
    width: int = 32
    lr: float = 2e-4
    spectral: bool = True
    matching: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.share <= 100 and 0 < self.keep <= 1 and 0 <= self.matching < math.inf and 0 < self.lr < math.inf):
            raise RecipeError(
                "Dcgan needs a share from above 0 to 100, keep from above 0 to 1, matching of 0 or more and lr above 0, "
                f"not {self.share}, {self.keep}, {self.matching} and {self.lr}"
            )
        if min(self.steps, self.latent, self.width) < 1 or self.batch < 2:
            raise RecipeError(
                f"Dcgan needs at least 1 step, latent and width and a batch of 2, not {self.steps}, {self.latent}, {self.width} and {self.batch}"
            )
        if self.size not in (16, 32, 64, 128, 256, 512):
            raise RecipeError(f"Dcgan makes pictures of 16, 32, 64, 128, 256 or 512 pixels, not {self.size}")
