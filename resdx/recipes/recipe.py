"""The one configuration object: a recipe says where cases come from, what is done to them, what learns and how."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..data.sources import ecg as heartbeats
from ..data.sources import pascal_voc as voc
from ..data.sources import voice as voices
from ..data.sources.folders import Source
from ..data.split import PublishedSplit
from ..data.tasks import Classify, Detect, MultiLabel, Task
from ..errors import RecipeError
from ..models.heads.specs import Fitted, Linear, Neighbours, Yolo
from ..models.specs import Cells, Net, Pretrained, ResNet, Standardised
from ..records import not_finite, record, set_field, to_record
from ..transforms import augment as random
from ..transforms import image
from ..transforms.readers import copies as offline
from ..transforms.readers import ecg, voice
from ..transforms.readers import volume as scan
from ..transforms.readers.dicom import ReadDicom
from ..transforms.readers.image import ReadImage
from ..transforms.readers.nifti import ReadNifti
from .learning import Dcgan, Ensemble, FeatureClassifier, Learn, Search, Training

OTHER_SOURCES = (heartbeats.Heartbeats, voices.Voices, voices.SpeechTable, voc.Voc)  # known, so that any run can be opened


@record
@dataclass(frozen=True)
class Published:
    """A figure of the paper: `seen` when it was read in the paper or its abstract, False when only reported or remembered."""

    metric: str
    value: float
    seen: bool = False


Reader = (
    ReadImage
    | ReadDicom
    | ReadNifti
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
    read: Reader = ReadImage()
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
        least, start = getattr(self.model.backbone, "least", 0), getattr(self.learn, "start_size", 0) or self.size
        if min(start, self.size) < least:
            raise RecipeError(
                f"{self.name}: {type(self.model.backbone).__name__} needs pictures of at least {least} pixels, not {min(start, self.size)}"
            )
        backbone = self.model.backbone
        if (
            isinstance(self.read, voice.ReadVoice)
            and isinstance(backbone, Cells | Standardised)
            and backbone.columns != self.read.levels + 1
        ):
            raise RecipeError(
                f"{self.name}: {self.read.levels} levels make {self.read.levels + 1} columns, and the network takes {backbone.columns}; set model.backbone.columns"
            )
        if self.views not in (1, 2, 8):
            raise RecipeError(f"{self.name}: views must be 1, 2 (mirrored) or 8 (dihedral), not {self.views}")
        if isinstance(self.task, Classify) and self.task.positive and self.classes and self.task.positive not in self.classes:
            raise RecipeError(f"{self.name}: the positive class {self.task.positive!r} is not among {', '.join(self.classes)}")
        if isinstance(self.learn, Training) and self.learn.cached_views and not self.model.backbone.frozen:
            raise RecipeError(
                f"{self.name}: learn.cached_views keeps what frozen stages make; set model.backbone.frozen, such as layer3"
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
        changed = [name for name in ("mixup", "label_smoothing", "cached_views") if getattr(learn, name)] + ["class weights"] * (
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
        """True where no backbone learns anything."""
        return all(one.model.backbone.frozen == "all" for one in self.members)

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
        learn=Training(epochs=12, batch=32, lr=1e-3, lr_decay=0.7, cached_views=4),
        differs=(
            *recipe.differs,
            "MobileNet-V2 with ImageNet weights, its last three stages trained, instead of the whole ResNet",
        ),
    )
