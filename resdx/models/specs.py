"""What a network is made of, as plain values.

There is no torch here, so that recipes, runs and predictors can name a network cheaply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Gt, Le, MaxLen, MinLen, Unit

from ..errors import RecipeError
from ..records import Count, FractionBelow1, Natural, record
from .heads.specs import HeadSpec, Linear

Depth = Literal[18, 34, 50, 101]
DEPTHS = get_args(Depth)
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
OWN = ("resdx", "resdx-views")  # starting weights that come with resdx
PUBLISHED = ("imagenet", *OWN)

Channels = Annotated[tuple[Count, ...], MinLen(1), MaxLen(8)]
Side = Annotated[int, Ge(16), Le(1024), Unit("pixels")]
Cell = Annotated[int, Ge(1), Le(512)]  # a row or column of a heat map


@record
class ResNet:
    """Residual network (He et al. 2016) of `depth` 18, 34, 50 or 101.

    `stride`: where a bottleneck halves the map: in its "3x3" (v1.5, as torchvision) or its first "1x1" (v1, as Keras).
    `stem`: "7x7" with stride 2 and max-pool, or "3x3" with neither, for images under about 96 px.
    `last_stride`: 1 keeps layer4 at the size of layer3, for finer maps.
    `multi_scale`: the maps are those of layer1 to layer4 together, pooled to the size of the last (several scales in one
    embedding).
    `extra`: channels of one more 3x3 convolution, with BatchNorm and ReLU, after the last stage; 0 for none. It is the
    stage "extra".
    `frozen`: "" nothing, a stage (it and all before it), or "all".
    `weights`: "" from scratch, "imagenet", "resdx" or "resdx-views" (our own, where there is one of the depth), or a file.
    """

    depth: Depth = 50
    stride: Literal["3x3", "1x1"] = "3x3"
    stem: Literal["7x7", "3x3"] = "7x7"
    last_stride: Literal[1, 2] = 2
    multi_scale: bool = field(default=False, metadata={"stored": "joined"})
    extra: Natural = 0
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        if self.stride == "1x1" and self.depth < 50:
            raise RecipeError(f"ResNet depth {self.depth} has no 1x1 convolution to stride in; use stride='3x3' or depth 50")
        check_stage(self.frozen, self.stages)
        if self.weights in PUBLISHED and (self.stem, self.stride) != ("7x7", "3x3"):
            raise RecipeError(
                f"{'ImageNet' if self.weights == 'imagenet' else self.weights} weights fit ResNet(stem='7x7', "
                f"stride='3x3') only, not stem={self.stem!r}, stride={self.stride!r}; "
                "use weights='' or the standard form"
            )

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return (*STAGES, "extra") if self.extra else STAGES


@record
class Pretrained:
    """A comparator from timm by its `name` (extra `zoo`).

    `weights` and `frozen` are as for ResNet; the stages are the network's own: "block1" and so on, where it is a plain chain.
    """

    name: Annotated[str, MinLen(1)]
    weights: str = ""
    frozen: str = ""


@record
class KerasResNet:
    """Residual network of `depth` 50 or 101 as Keras builds it.

    Strides in the first 1x1, biases in all convolutions, its BatchNorm.

    It takes pictures in [0, 1] as they are. With `recolour` a 3x3 convolution from 3 to 3 channels comes before all else.
    Stages are
    those of ResNet. `weights`: "" or a file of this network; Keras's own .h5 files are not read.
    """

    depth: Literal[50, 101] = 50
    recolour: bool = False
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_start(self, STAGES)


@record
class Cnn:
    """A plain network of blocks, each ending with a 2x2 max-pool.

    A block has `convolutions` of `kernel` x `kernel`, each with BatchNorm (`norm`) and ReLU. `channels` has one number a
    block; the stages are "block1", "block2" and so on. Weights start as He et al. 2015 say. `weights` and `frozen` are as for
    ResNet, but for the published ones, which there are not; so it is for all networks below.
    """

    channels: Channels = (32, 64, 128, 256)
    kernel: Literal[1, 3, 5, 7, 9, 11] = 3
    convolutions: Count = 1
    norm: bool = True
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_start(self, self.stages)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return blocks_of(self.channels)


@record
class LeNet:
    """LeNet-5 (LeCun et al. 1998) for colour pictures of `size` pixels.

    5x5 convolutions, tanh, mean-pool, and layers of 120 and 84 units.

    The layers of 120 and 84 units see the whole of a picture of `size`, and so give maps of 1 x 1. On larger pictures they are
    convolutions, as in the paper, and give a map; maps of smaller pictures are enlarged to what they expect.
    """

    size: Annotated[int, Ge(28), Le(1024), Unit("pixels")] = 32
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_start(self, self.stages)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return ("conv1", "conv2", "dense1", "dense2")


@record
class AlexNet:
    """AlexNet (Krizhevsky 2014, the form of one column) for pictures of `size` pixels,
    with dense layers of 4096 units as for LeNet.

    `dropout` stands before each of the two dense layers.
    """

    size: Annotated[int, Ge(63), Le(1024), Unit("pixels")] = 224
    dropout: FractionBelow1 = 0.5
    frozen: str = ""
    weights: str = ""
    least = 63  # px, below which nothing is left after the last pooling

    def __post_init__(self) -> None:
        check_start(self, self.stages)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return ("conv1", "conv2", "conv3", "conv4", "conv5", "dense1", "dense2")


@record
class StridedNet:
    """StridedNet (Rosebrock 2018) for pictures of `size` pixels.

    Strides in place of pooling, and a dense layer of 512 units as for LeNet.

    A 7x7 convolution with stride 2, three pairs of 3x3 convolutions of which the second strides, ReLU before each
    BatchNorm, dropout of .25
    after each pair and of .5 after the dense layer.
    """

    size: Side = 96
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_start(self, self.stages)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return ("stem", "pair1", "pair2", "pair3", "dense")


@record
class MobileNetV1:
    """MobileNet (Howard et al. 2017).

    Depthwise and pointwise convolutions in turn, with `width` times its channels. Stages end where the map is halved next:
    "stem", "block1" to "block5".
    """

    width: Annotated[float, Ge(0.125), Le(2)] = 1.0
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_start(self, self.stages)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return ("stem", *blocks_of(range(5)))


@record
class RowsRnn:
    """A recurrent network that reads a picture of `size` pixels row by row from the top.

    `cell` "lstm" or "gru" with `hidden` units.

    With `channels` it reads the rows of the map that a Cnn of these channels makes. Pictures of another size are brought to
    `size`.
    Its maps have a row a step and one column: they tell where from top to bottom, not where along a row.
    """

    size: Side = 64
    cell: Literal["lstm", "gru"] = "lstm"
    hidden: Count = 128
    channels: Annotated[tuple[Count, ...], MaxLen(8)] = ()
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_start(self, self.stages)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, first stage first."""
        return (*blocks_of(self.channels), "rows")


@record
class ResidualAttention:
    """Residual attention network (Wang et al. 2017) with filter response normalisation in place of
    BatchNorm (Singh and Krishnan 2020).

    Each stage halves the map, turns it into one of `channels` and weighs it by (1 + mask), a mask that is learnt from the
    map itself
    on a coarser grid. Stages are "stem", which halves the picture, and "block1" and so on.
    """

    channels: Channels = (32, 64, 128, 256)
    frozen: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        check_start(self, self.stages)

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
class Truncated(_Over):
    """`backbone` up to and with its stage `last`: finer maps of fewer layers, as detectors take them.

    The stages, their freezing and the starting weights are those of `backbone`.
    """

    backbone: Plane = field(default_factory=ResNet, metadata={"stored": "trunk"})
    last: Annotated[str, MinLen(1)] = "layer3"


@record("Tiles")
class Tiled(_Over):
    """`backbone` on each of `rows` x `columns` tiles of a picture.

    The tiles are the slices of a scan that `ReadScan` lays side by side. An embedding is the mean of each channel over all
    tiles, then for each k of `top` the mean over the k tiles where it is highest (1 = the maximum). The stages, their
    freezing and the starting weights are those of `backbone`.
    """

    backbone: Plane = field(default_factory=ResNet, metadata={"stored": "trunk"})
    rows: Count = 4
    columns: Count = 4
    top: tuple[int, ...] = (1, 4)

    def __post_init__(self) -> None:
        if wrong := [k for k in self.top if not 1 <= k <= self.rows * self.columns]:
            raise RecipeError(f"Tiled top must lie between 1 and {self.rows * self.columns} tiles, not {wrong[0]}")


@record
class Cells:
    """No network: the features of a picture are the greys of its `rows` x `columns` cells.

    It is for a classifier of measured values, with StandardScaler before it, as all of FeatureClassifier have; there is
    nothing to train or to start from.
    """

    rows: Cell = 12
    columns: Cell = 36

    @property
    def frozen(self) -> str:
        """There is nothing to train."""
        return "all"

    @property
    def weights(self) -> str:
        """There is nothing to start from."""
        return ""


@record
class Standardised(_Over):
    """`backbone` on a heat map of `rows` x `columns` measured values, each less its mean,
    over its deviation, in the training cases.

    What lies `limit` deviations from the mean is black or white. The stages, their freezing and the starting weights are
    those of `backbone`.
    """

    backbone: Plane = field(default_factory=ResNet, metadata={"stored": "trunk"})
    rows: Cell = 12
    columns: Cell = 36
    limit: Annotated[float, Gt(0), Le(100), Unit("deviations")] = 3.0


BackboneSpec = Plane | Truncated | Tiled | Cells | Standardised


@record
class Net:
    """A backbone that turns an image into maps, and a head that turns pooled maps into logits."""

    backbone: BackboneSpec = field(default_factory=ResNet, metadata={"stored": "trunk"})
    head: HeadSpec = field(default_factory=Linear)


def check_stage(frozen: str, stages: tuple[str, ...]) -> None:
    """Raise RecipeError unless `frozen` is "", "all" or one of `stages`."""
    if frozen not in ("", *stages, "all"):
        raise RecipeError(f"there is no stage {frozen!r} to freeze up to; choose '', {', '.join(map(repr, stages))} or 'all'")


def check_start(spec: BackboneSpec, stages: tuple[str, ...]) -> None:
    """Raise RecipeError where a network is frozen up to a stage it has not,
    or shall start from published weights, of which it has none.
    """
    check_stage(spec.frozen, stages)
    if spec.weights in PUBLISHED:
        name = type(spec).__name__
        raise RecipeError(f"there are no {spec.weights} weights for {name}; use weights='' or a file of weights of this network")


def innermost(spec: BackboneSpec) -> tuple[BackboneSpec, str]:
    """The backbone below all those around it, and the field of a recipe that names its weights.

    Those around it have its starting weights.
    """
    path = "model.backbone"
    while isinstance(spec, _Over):
        spec, path = spec.backbone, f"{path}.backbone"
    return spec, f"{path}.weights"


def blocks_of(parts: Sequence[int]) -> tuple[str, ...]:
    """Names of as many blocks as there are parts: "block1", "block2" and so on."""
    return tuple(f"block{number}" for number in range(1, len(parts) + 1))
