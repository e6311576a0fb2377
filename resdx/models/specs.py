"""What a network is made of, as plain values: no torch here, so that recipes, runs and predictors can name a network cheaply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..errors import RecipeError
from ..records import record
from .heads.specs import HeadSpec, Linear, check_dropout

DEPTHS = (18, 34, 50, 101)
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
OWN = ("resdx", "resdx-views")  # starting weights that come with resdx
PUBLISHED = ("imagenet", *OWN)


@record
@dataclass(frozen=True)
class ResNet:
    """Residual network (He et al. 2016) of `depth` 18, 34, 50 or 101.

    `stride`: where a bottleneck halves the map: in its "3x3" (v1.5, as torchvision) or its first "1x1" (v1, as Keras).
    `stem`: "7x7" with stride 2 and max-pool, or "3x3" with neither, for images under about 96 px.
    `last_stride`: 1 keeps layer4 at the size of layer3, for finer maps.
    `multi_scale`: the maps are those of layer1 to layer4 together, pooled to the size of the last (several scales in one embedding).
    `extra`: channels of one more 3x3 convolution, with BatchNorm and ReLU, after the last stage; 0 for none. It is the stage "extra".
    `frozen`: "" nothing, a stage (it and all before it), or "all".
    `weights`: "" from scratch, "imagenet", "resdx" or "resdx-views" (our own, where there is one of the depth), or a file.
    """

    depth: int = 50
    stride: Literal["3x3", "1x1"] = "3x3"
    stem: Literal["7x7", "3x3"] = "7x7"
    last_stride: int = 2
    multi_scale: bool = field(default=False, metadata={"stored": "joined"})
    extra: int = 0
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
        if self.extra < 0:
            raise RecipeError(f"ResNet extra must be a number of channels, or 0 for no further convolution, not {self.extra}")
        check_stage(self.frozen, self.stages)
        if self.weights in PUBLISHED and (self.stem, self.stride) != ("7x7", "3x3"):
            raise RecipeError(
                f"{'ImageNet' if self.weights == 'imagenet' else self.weights} weights fit ResNet(stem='7x7', stride='3x3') only, not stem={self.stem!r}, stride={self.stride!r}; "
                "use weights='' or the standard form"
            )

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return (*STAGES, "extra") if self.extra else STAGES


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
class KerasResNet:
    """Residual network of `depth` 50 or 101 as Keras builds it: strides in the first 1x1, biases in all convolutions, its BatchNorm.

    It takes pictures in [0, 1] as they are. With `recolour` a 3x3 convolution from 3 to 3 channels comes before all else. Stages are
    those of ResNet. `weights`: "" or a file of this network; Keras's own .h5 files are not read.
    """

    depth: int = 50
    recolour: bool = False
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        if self.depth not in (50, 101):
            raise RecipeError(f"KerasResNet depth must be 50 or 101, not {self.depth}")
        check_stage(self.frozen, STAGES)
        check_own_weights(self)


@record
@dataclass(frozen=True)
class Cnn:
    """A plain network of blocks: `convolutions` of `kernel` x `kernel`, each with BatchNorm (`norm`) and ReLU, then 2x2 max-pool.

    `channels` has one number a block; the stages are "block1", "block2" and so on. Weights start as He et al. 2015 say.
    `weights` and `frozen` are as for ResNet, but for the published ones, which there are not; so it is for all networks below.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256)
    kernel: int = 3
    convolutions: int = 1
    norm: bool = True
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_channels(self.channels, "Cnn")
        if self.kernel not in (1, 3, 5, 7, 9, 11):
            raise RecipeError(f"Cnn kernel must be odd and from 1 to 11, not {self.kernel}")
        if self.convolutions < 1:
            raise RecipeError(f"Cnn convolutions must be at least 1 a block, not {self.convolutions}")
        check_stage(self.frozen, self.stages)
        check_own_weights(self)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return blocks_of(self.channels)


@record
@dataclass(frozen=True)
class LeNet:
    """LeNet-5 (LeCun et al. 1998) for colour pictures of `size` pixels: 5x5 convolutions, tanh, mean-pool, and layers of 120 and 84 units.

    The layers of 120 and 84 units see the whole of a picture of `size`, and so give maps of 1 x 1. On larger pictures they are
    convolutions, as in the paper, and give a map; maps of smaller pictures are enlarged to what they expect.
    """

    size: int = 32
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_size(self.size, 28, "LeNet")
        check_stage(self.frozen, self.stages)
        check_own_weights(self)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return ("conv1", "conv2", "dense1", "dense2")


@record
@dataclass(frozen=True)
class AlexNet:
    """AlexNet (Krizhevsky 2014, the form of one column) for pictures of `size` pixels, with dense layers of 4096 units as for LeNet.

    `dropout` stands before each of the two dense layers.
    """

    size: int = 224
    dropout: float = 0.5
    frozen: str = ""
    weights: str = ""
    least = 63  # px, below which nothing is left after the last pooling

    def __post_init__(self) -> None:
        check_size(self.size, self.least, "AlexNet")
        check_dropout(self.dropout, "AlexNet")
        check_stage(self.frozen, self.stages)
        check_own_weights(self)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return ("conv1", "conv2", "conv3", "conv4", "conv5", "dense1", "dense2")


@record
@dataclass(frozen=True)
class StridedNet:
    """StridedNet (Rosebrock 2018) for pictures of `size` pixels: strides in place of pooling, and a dense layer of 512 units as for LeNet.

    A 7x7 convolution with stride 2, three pairs of 3x3 convolutions of which the second strides, ReLU before each BatchNorm, dropout of .25
    after each pair and of .5 after the dense layer.
    """

    size: int = 96
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_size(self.size, 16, "StridedNet")
        check_stage(self.frozen, self.stages)
        check_own_weights(self)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return ("stem", "pair1", "pair2", "pair3", "dense")


@record
@dataclass(frozen=True)
class MobileNetV1:
    """MobileNet (Howard et al. 2017): depthwise and pointwise convolutions in turn, with `width` times its channels.

    Stages end where the map is halved next: "stem", "block1" to "block5".
    """

    width: float = 1.0
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        if not 0.125 <= self.width <= 2:
            raise RecipeError(f"MobileNetV1 width must lie between 0.125 and 2, not {self.width}")
        check_stage(self.frozen, self.stages)
        check_own_weights(self)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return ("stem", *blocks_of(range(5)))


@record
@dataclass(frozen=True)
class RowsRnn:
    """A recurrent network that reads a picture of `size` pixels row by row from the top: `cell` "lstm" or "gru" with `hidden` units.

    With `channels` it reads the rows of the map that a Cnn of these channels makes. Pictures of another size are brought to `size`.
    Its maps have a row a step and one column: they tell where from top to bottom, not where along a row.
    """

    size: int = 64
    cell: Literal["lstm", "gru"] = "lstm"
    hidden: int = 128
    channels: tuple[int, ...] = ()
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_size(self.size, 16, "RowsRnn")
        if self.cell not in ("lstm", "gru"):
            raise RecipeError(f"RowsRnn cell must be 'lstm' or 'gru', not {self.cell!r}")
        if self.hidden < 1:
            raise RecipeError(f"RowsRnn hidden must be at least 1 unit, not {self.hidden}")
        if self.channels:
            check_channels(self.channels, "RowsRnn")
        check_stage(self.frozen, self.stages)
        check_own_weights(self)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return (*blocks_of(self.channels), "rows")


@record
@dataclass(frozen=True)
class ResidualAttention:
    """Residual attention network (Wang et al. 2017) with filter response normalisation in place of BatchNorm (Singh and Krishnan 2020).

    Each stage halves the map, turns it into one of `channels` and weighs it by (1 + mask), a mask that is learnt from the map itself
    on a coarser grid. Stages are "stem", which halves the picture, and "block1" and so on.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256)
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_channels(self.channels, "ResidualAttention")
        check_stage(self.frozen, self.stages)
        check_own_weights(self)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return ("stem", *blocks_of(self.channels))


Plane = ResNet | KerasResNet | Pretrained | Cnn | LeNet | AlexNet | StridedNet | MobileNetV1 | RowsRnn | ResidualAttention


class _Over:
    """What a backbone around another has from the one below."""

    backbone: Plane

    @property
    def frozen(self) -> str:
        """How far the backbone below is frozen."""
        return self.backbone.frozen

    @property
    def weights(self) -> str:
        """What the backbone below starts from."""
        return self.backbone.weights


@record("Until")
@dataclass(frozen=True)
class Truncated(_Over):
    """`backbone` up to and with its stage `last`: finer maps of fewer layers, as detectors take them.

    The stages, their freezing and the starting weights are those of `backbone`.
    """

    backbone: Plane = field(default_factory=ResNet, metadata={"stored": "trunk"})
    last: str = "layer3"

    def __post_init__(self) -> None:
        if not self.last:
            raise RecipeError("Truncated needs the name of the last stage, such as Truncated(ResNet(50), 'layer3')")


@record("Tiles")
@dataclass(frozen=True)
class Tiled(_Over):
    """`backbone` on each of `rows` x `columns` tiles of a picture: the slices of a scan that `ReadScan` lays side by side.

    An embedding is the mean of each channel over all tiles, then for each k of `top` the mean over the k tiles where it is highest (1 = the
    maximum). The stages, their freezing and the starting weights are those of `backbone`.
    """

    backbone: Plane = field(default_factory=ResNet, metadata={"stored": "trunk"})
    rows: int = 4
    columns: int = 4
    top: tuple[int, ...] = (1, 4)

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise RecipeError(f"Tiled needs at least 1 row and 1 column, not {self.rows} and {self.columns}")
        if wrong := [k for k in self.top if not 1 <= k <= self.rows * self.columns]:
            raise RecipeError(f"Tiled top must lie between 1 and {self.rows * self.columns} tiles, not {wrong[0]}")


@record
@dataclass(frozen=True)
class Cells:
    """No network: the features of a picture are the greys of its `rows` x `columns` cells, for a classifier of measured values.

    With StandardScaler before it, as all of FeatureClassifier have; there is nothing to train or to start from.
    """

    rows: int = 12
    columns: int = 36

    def __post_init__(self) -> None:
        _check_cells(self.rows, self.columns)

    @property
    def frozen(self) -> str:
        """There is nothing to train."""
        return "all"

    @property
    def weights(self) -> str:
        """There is nothing to start from."""
        return ""


@record
@dataclass(frozen=True)
class Standardised(_Over):
    """`backbone` on a heat map of `rows` x `columns` measured values, each less its mean, over its deviation, in the training cases.

    What lies `limit` deviations from the mean is black or white. The stages, their freezing and the starting weights are those of `backbone`.
    """

    backbone: Plane = field(default_factory=ResNet, metadata={"stored": "trunk"})
    rows: int = 12
    columns: int = 36
    limit: float = 3.0

    def __post_init__(self) -> None:
        _check_cells(self.rows, self.columns)
        if not 0 < self.limit <= 100:
            raise RecipeError(f"Standardised limit must lie above 0 and up to 100 deviations, not {self.limit}")


def _check_cells(rows: int, columns: int) -> None:
    if not (1 <= rows <= 512 and 1 <= columns <= 512):
        raise RecipeError(f"a heat map has 1 to 512 rows and columns of cells, not {rows} and {columns}")


BackboneSpec = Plane | Truncated | Tiled | Cells | Standardised


@record
@dataclass(frozen=True)
class Net:
    """A backbone that turns an image into maps, and a head that turns pooled maps into logits."""

    backbone: BackboneSpec = field(default_factory=ResNet, metadata={"stored": "trunk"})
    head: HeadSpec = field(default_factory=Linear)


def check_stage(frozen: str, stages: tuple[str, ...]) -> None:
    """Raise RecipeError unless `frozen` is "", "all" or one of `stages`."""
    if frozen not in ("", *stages, "all"):
        raise RecipeError(f"there is no stage {frozen!r} to freeze up to; choose '', {', '.join(map(repr, stages))} or 'all'")


def check_size(size: int, least: int, owner: str) -> None:
    """Raise RecipeError unless `size` is from `least` to 1024 pixels."""
    if not least <= size <= 1024:
        raise RecipeError(f"{owner} size must lie between {least} and 1024 pixels, not {size}")


def check_channels(channels: Sequence[int], owner: str) -> None:
    """Raise RecipeError unless there are one to eight numbers above 0."""
    if not 1 <= len(channels) <= 8 or min(channels) < 1:
        raise RecipeError(f"{owner} channels must be 1 to 8 numbers above 0, not {channels}")


def check_own_weights(spec: BackboneSpec) -> None:
    """Raise RecipeError where a network shall start from published weights that it has not."""
    if spec.weights in PUBLISHED:
        name = type(spec).__name__
        raise RecipeError(f"there are no {spec.weights} weights for {name}; use weights='' or a file of weights of this network")


def innermost(spec: BackboneSpec) -> tuple[BackboneSpec, str]:
    """The backbone below all those around it, whose starting weights they have, and the field of a recipe that names these."""
    path = "model.backbone"
    while isinstance(spec, _Over):
        spec, path = spec.backbone, f"{path}.backbone"
    return spec, f"{path}.weights"


def blocks_of(parts: Sequence[int]) -> tuple[str, ...]:
    """Names of as many blocks as there are parts: "block1", "block2" and so on."""
    return tuple(f"block{number}" for number in range(1, len(parts) + 1))
