"""The one configuration object.

A recipe says where cases come from, what is done to them, what learns and how.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Literal

from ..data.sources import ecg as heartbeats
from ..data.sources import pascal_voc as voc
from ..data.sources import voice as voices
from ..data.sources.folders import Source
from ..data.split import PublishedSplit
from ..data.tasks import Classify, Detect, MultiLabel, Task
from ..errors import RecipeError
from ..models.heads.specs import Fitted, Linear, Neighbours, Yolo
from ..models.specs import Cells, Net, Pretrained, ResNet, Standardised
from ..records import STORED, AnyRecord, record, set_field, to_record
from ..transforms import augment as random
from ..transforms import image
from ..transforms.compose import Step
from ..transforms.readers import copies as offline
from ..transforms.readers import ecg, voice
from ..transforms.readers import volume as scan
from ..transforms.readers.dicom import ReadDicom
from ..transforms.readers.image import ReadImage
from ..transforms.readers.nifti import ReadNifti
from ..transforms.readers.protocol import cell_columns
from .benchmark import Benchmark
from .learning import Dcgan, Ensemble, FeatureClassifier, Learn, Search, Training

# Known, so that any run can be opened.
OTHER_SOURCES = (heartbeats.Heartbeats, voices.Voices, voices.SpeechTable, voc.Voc)
OTHER_READERS = (ReadDicom, ReadNifti, offline.ReadCopy, scan.ReadScan, ecg.ReadBeat, voice.ReadSpectrogram)


@record
class Published:
    """A figure of the paper.

    `seen` when it was read in the paper or its abstract, False when only reported or remembered.
    """

    metric: str
    value: float
    seen: bool = False


@record
class About:
    """What `resdx recipes` tells of a recipe: the number of its system ("S09".

    Empty where no paper stands behind it), disease, modality and data.

    `state` is what its figures rest on so far: "the paper's data" (a part of it at least), other "real data" of the
    disease, a "stand-in" (a set of another disease or organ), or "no data".
    """

    system: str = ""
    disease: str = ""
    modality: str = ""
    data: str = ""
    state: Literal["", "the paper's data", "real data", "stand-in", "no data"] = ""


AnyStep = Annotated[Step, AnyRecord]


@record
class Recipe:
    """One system, from data as downloaded to a model that answers.

    `source=None` finds out what the data folder holds; `classes=()` takes the classes as found, in alphabetical order.
    `pool` turns a person's image probabilities into one; `views` averages the answer over 1 plain, 2 mirrored or 8
    dihedral views. `published_split=None` says that the paper does not state its split; `differs` what we chose.
    `benchmark` is told and not done: it is not stored.
    """

    name: str
    title: str
    about: About = About()
    benchmark: Benchmark | None = field(default=None, compare=False, metadata={STORED: None})
    read: AnyStep = ReadImage()
    prepare: tuple[AnyStep, ...] = (image.Resize(128),)
    augment: tuple[Annotated[Any, AnyRecord], ...] = ()
    model: Net = Net(ResNet(50))
    task: Task = Classify()
    learn: Learn = Training()
    source: Annotated[Source, AnyRecord] | None = None
    classes: tuple[str, ...] = ()
    pool: Literal["mean", "max"] = "mean"
    views: Literal[1, 2, 8] = 1
    generator: Dcgan | None = None
    published_split: PublishedSplit | None = None
    published: tuple[Published, ...] = ()
    differs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for check in CHECKS:
            check(self)

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
        """The recipe that trains, and no longer searches, with some of its fields changed.

        Raises RecipeError where it searches nothing.
        """
        if not isinstance(self.learn, Search):
            raise RecipeError(f"{self.name}: learn is {type(self.learn).__name__}, which searches nothing")
        recipe = replace(self, learn=self.learn.training)
        for dotted, text in setting.items():
            recipe = recipe.set(dotted, text)
        return recipe

    def with_classes(self, found: tuple[str, ...]) -> Recipe:
        """The recipe for data whose labels are `found`.

        Raises RecipeError for labels the recipe does not know.
        """
        if not self.classes:
            return replace(self, classes=found)
        if strange := sorted(set(found) - set(self.classes)):
            raise RecipeError(
                f"{self.name}: the data has the label {', '.join(map(repr, strange[:5]))}, the recipe knows "
                f"{', '.join(self.classes)}; change the labels of the "
                "data, or `rename` them in the source of a recipe of your own"
            )
        return self

    def fingerprint(self) -> str:
        """Hash of all that is done, not of what is told of it: two runs with the same one did the same thing."""
        done = replace(self, about=About(), title="", published=(), differs=())
        return hashlib.sha256(json.dumps(to_record(done), sort_keys=True).encode()).hexdigest()


def _check_steps(recipe: Recipe) -> None:
    have, before = recipe.read.gives, type(recipe.read).__name__
    for step in recipe.prepare:
        if step.takes != have:
            raise RecipeError(
                f"{recipe.name}: {type(step).__name__} takes a {step.takes}, but {before} before it gives a "
                f"{have}; change the order of prepare"
            )
        have, before = step.gives, type(step).__name__
    if have != "image" or not any(isinstance(step, image.Resize) for step in recipe.prepare):
        raise RecipeError(f"{recipe.name}: prepare must end in an image of one size; add Resize(224)")


def _check_random_steps(recipe: Recipe) -> None:
    if odd := [step for step in recipe.augment if not isinstance(step, random.RandomStep)]:
        raise RecipeError(f"{recipe.name}: {type(odd[0]).__name__} is no random step; augment takes {', '.join(random.NAMES)}")


def _check_size(recipe: Recipe) -> None:
    least, backbone = getattr(recipe.model.backbone, "least", 0), type(recipe.model.backbone).__name__
    smallest = min(getattr(recipe.learn, "start_size", 0) or recipe.size, recipe.size)
    if smallest < least:
        raise RecipeError(f"{recipe.name}: {backbone} needs pictures of at least {least} pixels, not {smallest}")


def _check_columns(recipe: Recipe) -> None:
    """A network that takes cells must have as many columns of them as the reader makes."""
    made, backbone = cell_columns(recipe.read), recipe.model.backbone
    if made and isinstance(backbone, Cells | Standardised) and backbone.columns != made:
        raise RecipeError(
            f"{recipe.name}: {type(recipe.read).__name__} makes {made} columns, and the network takes "
            f"{backbone.columns}; set model.backbone.columns"
        )


def _check_classes(recipe: Recipe) -> None:
    task, classes = recipe.task, recipe.classes
    if isinstance(task, Classify) and task.positive and classes and task.positive not in classes:
        raise RecipeError(f"{recipe.name}: the positive class {task.positive!r} is not among {', '.join(classes)}")
    if len(classes) == 1 and not isinstance(task, MultiLabel):
        raise RecipeError(f"{recipe.name}: one class only ({classes[0]}); a classifier needs at least two")


def _check_head(recipe: Recipe) -> None:
    learn, head = recipe.learn, recipe.model.head
    name = type(head).__name__
    if isinstance(learn, Training | Search) and isinstance(head, Fitted):
        raise RecipeError(f"{recipe.name}: {name}() is fitted to frozen features, not trained; set learn=FeatureClassifier()")
    if getattr(learn, "head_penalty", 0) and not isinstance(head, Linear):
        raise RecipeError(f"{recipe.name}: learn.head_penalty begins a Linear() head, not {name}(); leave it out")
    if learn.rebalances and isinstance(head, Neighbours):
        raise RecipeError(f"{recipe.name}: {name}() knows no class weights; set learn.class_weights=none")


def _check_learning(recipe: Recipe) -> None:
    learn = recipe.learn
    if isinstance(learn, Training) and learn.cached_views and not recipe.model.backbone.frozen:
        raise RecipeError(
            f"{recipe.name}: learn.cached_views keeps what frozen stages make; set model.backbone.frozen, such as layer3"
        )
    if isinstance(learn, Ensemble) and recipe.model not in [one.model for one in recipe.members]:
        raise RecipeError(f"{recipe.name}: no member learns on the recipe's own model; leave out the model of the first member")
    if recipe.generator and (isinstance(learn, Ensemble) or isinstance(recipe.task, MultiLabel)):
        raise RecipeError(f"{recipe.name}: a generator makes pictures of one class each, for one network; leave generator out")


def _check_search(recipe: Recipe) -> None:
    """A wrong field or value is told now, not after hours."""
    if isinstance(recipe.learn, Search):
        for name, values in recipe.learn.grid:
            for value in values:
                recipe.tried({name: value})


def _check_detection(recipe: Recipe) -> None:
    learn = recipe.learn
    if isinstance(recipe.task, Detect) != isinstance(recipe.model.head, Yolo):
        raise RecipeError(f"{recipe.name}: task=Detect() and the head Yolo() belong together; set both or neither")
    if not isinstance(recipe.task, Detect):
        return
    if not isinstance(learn, Training):
        raise RecipeError(f"{recipe.name}: boxes are learnt by training one network; set learn=Training()")
    used = [name for name in ("mixup", "label_smoothing", "cached_views") if getattr(learn, name)]
    used += ["class weights"] * learn.rebalances + ["views"] * (recipe.views != 1)
    if used:
        raise RecipeError(f"{recipe.name}: {used[0]} cannot be used where boxes are found; leave it out")


CHECKS = (
    _check_steps,
    _check_random_steps,
    _check_size,
    _check_columns,
    _check_classes,
    _check_learning,
    _check_head,
    _check_search,
    _check_detection,
)


def on_features(recipe: Recipe, *, views: int = 1) -> Recipe:
    """The recipe with frozen ImageNet features instead of training.

    224 px, MobileNet-V2, `views` pictures a training case. Minutes on a processor where training takes hours, and the figure
    that training has to beat.
    """
    return replace(
        recipe.set("size", "224"),
        title=f"{recipe.title}, frozen MobileNet-V2 features",
        model=Net(Pretrained("mobilenetv2_100", weights="imagenet", frozen="all")),
        learn=FeatureClassifier(views=views),
        differs=(*recipe.differs, "frozen MobileNet-V2 features and a logistic regression, instead of training the network"),
    )


def fine_tuned(recipe: Recipe) -> Recipe:
    """The recipe with ImageNet's MobileNet-V2 whose last three stages are trained.

    224 px, four variations a training case. The stages before are run once on them, so that an epoch takes a fraction of what
    training the whole network does.
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
