"""The one configuration object: a recipe says where cases come from, what is done to them, what learns and how."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from . import heartbeats, voc, voices
from .errors import RecipeError
from .models.head_specs import Fitted, Linear, Neighbours, Yolo
from .models.specs import Cells, Net, Pretrained, ResNet, Standardised
from .records import not_finite, record, set_field, to_record
from .sources import Source
from .steps import ecg, image, offline, random, read, scan, voice
from .tasks import Classify, Detect, MultiLabel, Task

OTHER_SOURCES = (heartbeats.Heartbeats, voices.Voices, voices.SpeechTable, voc.Voc)  # known, so that any run can be opened
SEARCHED = ("learn", "model", "augment")  # what a search may change


@record
@dataclass(frozen=True)
class Training:
    """Gradient descent on all or part of the network.

    The first `head_epochs` of `epochs` train the head alone; then everything the model's `frozen` leaves free. With `head_penalty` above 0
    the head, a Linear(), begins as a logistic regression of that inverse strength C on what the starting trunk makes of the plain training pictures:
    training from a random one distorts good features (Kumar et al. 2022). With `frozen_norms` BatchNorm keeps the statistics it starts with, instead of those of
    small batches, so that such a head sees the features it was fitted to. Rates:
    `lr` for the head, times `lr_decay` for every stage further from it. `start_size` pixels in the first epoch grow
    linearly to the prepared size over two thirds of the epochs (progressive resizing; 0 = always full size). `ema` is
    the decay of the moving average of the weights, which is what is scored and kept (0 = none). `patience` epochs
    without a better tune AUROC stop the training (0 = never). `mixup` is the Beta parameter of Zhang et al. 2018.

    The schedule "plateau" multiplies all rates by `plateau_factor` after every `plateau_patience` epochs without a better tune AUROC, but
    does not bring `lr` below `least_lr`. `epsilon` is that of Adam.

    With `kept_views` above 0 each case has that many variations, which epochs take in turn, and what the frozen stages make of them is computed once
    and kept on the disk, up to `kept_gb` gigabytes, while the training lasts; the result is the same, and epochs are as short as the rest is small.
    """

    epochs: int = 20
    head_epochs: int = 0
    head_penalty: float = 0.0
    frozen_norms: bool = False
    batch: int = 32
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-3
    lr_decay: float = 1.0
    weight_decay: float = 0.05
    schedule: Literal["cosine", "onecycle", "plateau", "constant"] = "cosine"
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    least_lr: float = 0.0
    epsilon: float = 1e-8
    warmup: float = 0.05
    patience: int = 0
    ema: float = 0.998
    class_weights: Literal["none", "balanced"] = "none"
    sampling: Literal["natural", "balanced"] = "natural"
    label_smoothing: float = 0.0
    mixup: float = 0.0
    start_size: int = 0
    kept_views: int = 0
    kept_gb: float = 8.0

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
        if not 0 < self.epsilon < math.inf or not 0 <= self.least_lr <= self.lr:
            raise RecipeError(
                f"Training needs an epsilon above 0 and least_lr from 0 to lr, not {self.epsilon} and {self.least_lr}"
            )
        if self.kept_views and (self.mixup or self.start_size):
            raise RecipeError(
                "Training kept_views goes with neither mixup nor start_size: the frozen stages see each picture once"
            )
        for name in ("weight_decay", "head_penalty", "mixup", "patience", "start_size", "kept_views", "kept_gb"):
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


@record
@dataclass(frozen=True)
class Published:
    """A figure of the paper: `seen` when it was read in the paper or its abstract, False when only reported or remembered."""

    metric: str
    value: float
    seen: bool = False


@record
@dataclass(frozen=True)
class RandomImages:
    """The habit of the field: `test` of the images at random, whoever they show."""

    test: float = 0.2
    seed: int = 42

    def __post_init__(self) -> None:
        if not 0 < self.test < 1 or self.seed < 0:
            raise RecipeError(
                f"RandomImages needs a share for test between 0 and 1 and a seed of 0 or more, not {self.test} and {self.seed}"
            )


@record
@dataclass(frozen=True)
class ShippedParts:
    """The test part the data set ships, with whatever it shares with the rest."""


PublishedSplit = RandomImages | ShippedParts
Reader = (
    read.ReadImage
    | read.ReadDicom
    | read.ReadNifti
    | offline.ReadCopy
    | scan.ReadScan
    | ecg.ReadBeat
    | voice.ReadVoice
    | voice.ReadSpectrogram
    | voice.ReadSpeechRow
)
STATES = ("", "the paper's data", "real data", "stand-in", "no data")


@record
@dataclass(frozen=True)
class About:
    """What `resdx recipes` tells of a recipe: the number of its system ("S09"; empty where no paper stands behind it), disease, modality and data.

    `state` is what its figures rest on so far: "the paper's data" (a part of it at least), other "real data" of the disease, a "stand-in" (a set of another disease or organ), or "no data".
    """

    system: str = ""
    disease: str = ""
    modality: str = ""
    data: str = ""
    state: Literal["", "the paper's data", "real data", "stand-in", "no data"] = ""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise RecipeError(f"About state must be one of {', '.join(map(repr, STATES))}, not {self.state!r}")


@record
@dataclass(frozen=True)
class Recipe:
    """One system, from data as downloaded to a model that answers.

    `source=None` finds out what the data folder holds; `classes=()` takes the classes as found, in alphabetical order.
    `pool` turns a person's image probabilities into one; `views` averages the answer over 1 plain, 2 mirrored or 8
    dihedral views. `published_split=None` says that the paper does not state its split; `differs` what we chose.
    """

    name: str
    title: str
    about: About = About()
    read: Reader = read.ReadImage()
    prepare: tuple[Any, ...] = (image.Resize(128),)
    augment: tuple[Any, ...] = ()
    model: Net = Net(ResNet(50))
    task: Task = Classify()
    learn: Learn = Training()
    source: Source | None = None
    classes: tuple[str, ...] = ()
    pool: Literal["mean", "max"] = "mean"
    views: int = 1
    generator: Dcgan | None = None
    published_split: PublishedSplit | None = None
    published: tuple[Published, ...] = ()
    differs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        have, before = self.read.gives, type(self.read).__name__
        for step in self.prepare:
            if step.takes != have:
                raise RecipeError(
                    f"{self.name}: {type(step).__name__} takes a {step.takes}, but {before} before it gives a {have}; change the order of prepare"
                )
            have, before = step.gives, type(step).__name__
        if have != "image" or not any(isinstance(step, image.Resize) for step in self.prepare):
            raise RecipeError(f"{self.name}: prepare must end in an image of one size; add Resize(224)")
        for step in self.augment:
            if not hasattr(step, "draws"):
                raise RecipeError(
                    f"{self.name}: {type(step).__name__} is no random step; augment takes {', '.join(random.NAMES)}"
                )
        least, start = getattr(self.model.trunk, "least", 0), getattr(self.learn, "start_size", 0) or self.size
        if min(start, self.size) < least:
            raise RecipeError(
                f"{self.name}: {type(self.model.trunk).__name__} needs pictures of at least {least} pixels, not {min(start, self.size)}"
            )
        trunk = self.model.trunk
        if (
            isinstance(self.read, voice.ReadVoice)
            and isinstance(trunk, Cells | Standardised)
            and trunk.columns != self.read.levels + 1
        ):
            raise RecipeError(
                f"{self.name}: {self.read.levels} levels make {self.read.levels + 1} columns, and the network takes {trunk.columns}; set model.trunk.columns"
            )
        if self.views not in (1, 2, 8):
            raise RecipeError(f"{self.name}: views must be 1, 2 (mirrored) or 8 (dihedral), not {self.views}")
        if isinstance(self.task, Classify) and self.task.positive and self.classes and self.task.positive not in self.classes:
            raise RecipeError(f"{self.name}: the positive class {self.task.positive!r} is not among {', '.join(self.classes)}")
        if isinstance(self.learn, Training) and self.learn.kept_views and not self.model.trunk.frozen:
            raise RecipeError(
                f"{self.name}: learn.kept_views keeps what frozen stages make; set model.trunk.frozen, such as layer3"
            )
        head = type(self.model.head).__name__
        if isinstance(self.learn, Training | Search) and isinstance(self.model.head, Fitted):
            raise RecipeError(f"{self.name}: {head}() is fitted to frozen features, not trained; set learn=FeatureClassifier()")
        if getattr(self.learn, "head_penalty", 0) and not isinstance(self.model.head, Linear):
            raise RecipeError(f"{self.name}: learn.head_penalty begins a Linear() head, not {head}(); leave it out")
        if self.learn.rebalances and isinstance(self.model.head, Neighbours):
            raise RecipeError(f"{self.name}: {head}() knows no class weights; set learn.class_weights=none")
        if isinstance(self.learn, Search):
            for name, values in self.learn.grid:  # a wrong field or value is told now, not after hours
                for value in values:
                    self.tried({name: value})
        if isinstance(self.learn, Ensemble) and self.model not in [one.model for one in self.members]:
            raise RecipeError(f"{self.name}: no member learns on the recipe's own model; leave out the model of the first member")
        if self.generator and (isinstance(self.learn, Ensemble) or isinstance(self.task, MultiLabel)):
            raise RecipeError(f"{self.name}: a generator makes pictures of one class each, for one network; leave generator out")
        if isinstance(self.task, Detect) != isinstance(self.model.head, Yolo):
            raise RecipeError(f"{self.name}: task=Detect() and the head Yolo() belong together; set both or neither")
        if isinstance(self.task, Detect):
            self._check_detection()
        if odd := not_finite(to_record(self)):
            raise RecipeError(f"{self.name}: {odd} is no finite number; give one")
        if len(self.classes) == 1 and not isinstance(self.task, MultiLabel):
            raise RecipeError(f"{self.name}: one class only ({self.classes[0]}); a classifier needs at least two")

    def _check_detection(self) -> None:
        learn = self.learn
        if not isinstance(learn, Training):
            raise RecipeError(f"{self.name}: boxes are learnt by training one network; set learn=Training()")
        changed = [name for name in ("mixup", "label_smoothing", "kept_views") if getattr(learn, name)] + ["class weights"] * (
            learn.rebalances
        )
        if changed or self.views != 1:
            raise RecipeError(
                f"{self.name}: {changed[0] if changed else 'views'} cannot be used where boxes are found; leave it out"
            )

    @property
    def members(self) -> tuple[Recipe, ...]:
        """What is trained: the recipe of each member of an ensemble, in their order; else the recipe itself."""
        if not isinstance(self.learn, Ensemble):
            return (self,)
        return tuple(
            replace(self, title=f"{self.title}, {one.name} alone", learn=one.learn, model=one.model or self.model)
            for one in self.learn.members
        )

    @property
    def frozen(self) -> bool:
        """True where no trunk learns anything."""
        return all(one.model.trunk.frozen == "all" for one in self.members)

    @property
    def size(self) -> int:
        """Side of the prepared pictures in pixels."""
        return int(next(step.size for step in reversed(self.prepare) if isinstance(step, image.Resize)))

    def set(self, dotted: str, text: str) -> Recipe:
        """A recipe with one field changed: `recipe.set("learn.epochs", "3")`; "size" sets the picture size."""
        if dotted == "size":
            last = max(i for i, step in enumerate(self.prepare) if isinstance(step, image.Resize))
            dotted = f"prepare.{last}.size"
        return set_field(self, dotted, text)

    def tried(self, setting: Mapping[str, str]) -> Recipe:
        """The recipe that trains, and no longer searches, with some of its fields changed. Raises RecipeError where it searches nothing."""
        if not isinstance(self.learn, Search):
            raise RecipeError(f"{self.name}: learn is {type(self.learn).__name__}, which searches nothing")
        recipe = replace(self, learn=self.learn.training)
        for dotted, text in setting.items():
            recipe = recipe.set(dotted, text)
        return recipe

    def with_classes(self, found: tuple[str, ...]) -> Recipe:
        """The recipe for data whose labels are `found`. Raises RecipeError for labels the recipe does not know."""
        if not self.classes:
            return replace(self, classes=found)
        if strange := sorted(set(found) - set(self.classes)):
            raise RecipeError(
                f"{self.name}: the data has the label {', '.join(map(repr, strange[:5]))}, the recipe knows {', '.join(self.classes)}; change the labels of the "
                "data, or `rename` them in the source of a recipe of your own"
            )
        return self

    def fingerprint(self) -> str:
        """Hash of all that is done, not of what is told of it: two runs with the same one did the same thing."""
        done = replace(self, about=About(), title="", published=(), differs=())
        return hashlib.sha256(json.dumps(to_record(done), sort_keys=True).encode()).hexdigest()


def on_features(recipe: Recipe, *, views: int = 1) -> Recipe:
    """The recipe with frozen ImageNet features instead of training: 224 px, MobileNet-V2, `views` pictures a training case.

    Minutes on a processor where training takes hours, and the figure that training has to beat.
    """
    return replace(
        recipe.set("size", "224"),
        title=f"{recipe.title}, frozen MobileNet-V2 features",
        model=Net(Pretrained("mobilenetv2_100", weights="imagenet", frozen="all")),
        learn=FeatureClassifier(views=views),
        differs=(*recipe.differs, "frozen MobileNet-V2 features and a logistic regression, instead of training the network"),
    )


def fine_tuned(recipe: Recipe) -> Recipe:
    """The recipe with ImageNet's MobileNet-V2 whose last three stages are trained: 224 px, four variations a training case.

    The stages before are run once on them, so that an epoch takes a fraction of what training the whole network does.
    """
    return replace(
        recipe.set("size", "224"),
        title=f"{recipe.title}, fine-tuned MobileNet-V2",
        model=Net(Pretrained("mobilenetv2_100", weights="imagenet", frozen="block5"), recipe.model.head),
        learn=Training(epochs=12, batch=32, lr=1e-3, lr_decay=0.7, kept_views=4),
        differs=(
            *recipe.differs,
            "MobileNet-V2 with ImageNet weights, its last three stages trained, instead of the whole ResNet",
        ),
    )
