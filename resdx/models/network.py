"""A whole network from its spec: images in, logits out, with maps and embedding on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from .backbones import attention, classics, cnn, mobilenet, resnet, resnet_keras, timm_zoo, wrappers
from .freeze import Backbone, parameter_groups
from .heads.fitted import FittedHead
from .heads.trained import Head, build_head
from .heads.yolo import YoloHead, presence
from .specs import (
    AlexNet,
    BackboneSpec,
    Cells,
    Cnn,
    KerasResNet,
    LeNet,
    MobileNetV1,
    Net,
    Pretrained,
    ResidualAttention,
    ResNet,
    RowsRnn,
    Standardised,
    StridedNet,
    Tiled,
    Truncated,
    innermost,
)
from .weights import own_names, store_names

_BUILDERS: dict[type, Callable[..., Backbone]] = {
    ResNet: resnet.build_backbone,
    KerasResNet: resnet_keras.build_backbone,
    Pretrained: timm_zoo.build_backbone,
    Cnn: cnn.build_backbone,
    RowsRnn: cnn.build_backbone,
    LeNet: classics.build_backbone,
    AlexNet: classics.build_backbone,
    StridedNet: classics.build_backbone,
    MobileNetV1: mobilenet.build_backbone,
    ResidualAttention: attention.build_backbone,
}


class Network(nn.Module):
    """Takes RGB (B, 3, H, W) in [0, 1] and normalises it itself.

    Grey images come with their channel repeated.
    """

    def __init__(self, backbone: Backbone, head: Head | FittedHead | YoloHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        # Files call the backbone "trunk.", whatever it is called in the code.
        self.register_state_dict_post_hook(store_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(own_names)  # type: ignore[no-untyped-call]
        self.register_buffer("mean", torch.tensor(backbone.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(1, 3, 1, 1), persistent=False)

    @property
    def channels(self) -> int:
        """E, the length of an embedding."""
        return self.backbone.channels

    @property
    def device(self) -> torch.device:
        """The device it lies on, also where it has no parameters."""
        return cast(Tensor, self.mean).device

    def maps(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, E, h, w)."""
        return self.backbone.features(self.normalise(x))

    def embed(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, E), the pooled maps."""
        return pool(self.maps(x))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.embed(x)))

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, outputs), embedding (B, E) and maps (B, E, h, w) in one pass."""
        maps = self.maps(x)
        embedding = pool(maps)
        return self.head(embedding), embedding, maps

    def normalise(self, x: Tensor) -> Tensor:
        """[0, 1] -> what the backbone was made for."""
        return (x - cast(Tensor, self.mean)) / cast(Tensor, self.std)

    def run_stages(self, x: Tensor, first: str, *, last: str = "") -> Tensor:
        """Run the backbone from stage `first` to `last` (or its end) on what the stage before gave.

        "stem" takes a normalised image.

        A frozen prefix is computed once and kept: `run_stages(normalise(x), "stem", last="layer2")`, then
        `head(pool(run_stages(kept, "layer3")))` in each step.
        """
        names = list(self.backbone.stages())
        for name in names[names.index(first) : names.index(last or names[-1]) + 1]:
            x = self.backbone.stage(name, x)
        return x

    def parameter_groups(self) -> list[tuple[str, list[nn.Parameter]]]:
        """(stage, its parameters that train) from the first stage to "head", for rates that grow with depth."""
        return [*parameter_groups(self.backbone), ("head", list(self.head.parameters()))]


class Detector(Network):
    """A network that finds boxes: its head predicts boxes for each cell (yolo.YoloHead).

    Whether an image shows a class follows from them.
    """

    head: YoloHead

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.maps(x)))

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, K) of each class, embedding (B, E) and outputs of each cell, in one pass.

        The outputs of the cells are (B, A, 5 + K, h, w).
        """
        maps = self.maps(x)
        grid = self.head(maps)
        return presence(grid), pool(maps), grid


def pool(maps: Tensor) -> Tensor:
    """(B, E, h, w) -> (B, E), the mean over the map."""
    return maps.mean((2, 3))


def build(
    net: Net, outputs: int, *, start: bool = True, weights: Path | None = None, bias: Sequence[float] | None = None
) -> Network:
    """The network of `net` with `outputs` logits, on the CPU and in training mode.

    Args:
        start: False leaves the spec's starting weights out, for a network whose own weights are loaded next.
        weights: a file that takes the place of the spec's starting weights.
        bias: `outputs` logits to begin with, such as the log of each class's share.

    Raises:
        RecipeError: the spec names something that does not exist or is not installed.
        WeightsError: the starting weights are absent or do not fit.
    """
    spec = net.backbone
    backbone = build_backbone(spec, weights=str(weights or spec.weights) if start else "")
    head = build_head(net.head, backbone.channels, outputs)
    if bias is not None and isinstance(head, Head):
        head.start_at(bias)
    return (Detector if isinstance(head, YoloHead) else Network)(backbone, head)


def build_backbone(spec: BackboneSpec, *, weights: str) -> Backbone:
    """The backbone of `spec`, the innermost one started from `weights`.

    "" is random, else the name of published weights, or a file.

    Raises:
        RecipeError: the spec names something that does not exist or is not installed.
        WeightsError: the starting weights are absent or do not fit.
    """
    if isinstance(spec, Truncated | Tiled | Standardised):
        return wrappers.wrap(spec, build_backbone(spec.backbone, weights=weights))
    if isinstance(spec, Cells):
        return wrappers.CellsBackbone(spec)
    return _BUILDERS[type(spec)](spec, weights=weights)


def check_installed(spec: BackboneSpec) -> None:
    """Raise RecipeError where the network needs an extra that is absent, with the command for it."""
    inner = innermost(spec)[0]
    if isinstance(inner, Pretrained):
        timm_zoo.timm(inner.name)
