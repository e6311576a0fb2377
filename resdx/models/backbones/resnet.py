"""The residual network, with the key names of torchvision and timm, so that their weights load."""

from __future__ import annotations

from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ...errors import WeightsError
from ...records import from_record
from ..freeze import freeze, hold_frozen
from ..packed import read_seen
from ..specs import STAGES, ResNet
from ..weights import find_published, load_backbone, starting_file
from .layers import Convolution

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # in layer1 to layer4
WIDTHS = (64, 128, 256, 512)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in [0, 1]

# ImageNet files of torchvision's first training recipe: the later one scores higher on ImageNet itself, but label smoothing
# makes features transfer worse while they are frozen (Kornblith et al. 2021, "Why do better loss functions lead to ...").
URL = "https://download.pytorch.org/models/"
IMAGENET = {18: "resnet18-f37072fd.pth", 34: "resnet34-b627a593.pth", 50: "resnet50-0676ba61.pth", 101: "resnet101-63fe2227.pth"}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity (or projected) shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None, stride_in: str) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return cast(Tensor, self.relu(self.bn2(self.conv2(y)) + shortcut))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up by 4, around the shortcut; `stride_in` says which convolution halves the map."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None, stride_in: str) -> None:
        super().__init__()
        # The paper halves in the first 1x1 (He et al. 2016), as Keras does; torchvision and timm in the 3x3.
        self.conv1 = _conv(inputs, width, 1, stride if stride_in == "1x1" else 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride if stride_in == "3x3" else 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return cast(Tensor, self.relu(self.bn3(self.conv3(y)) + shortcut))


class ResidualNetwork(nn.Module):
    """The backbone of `spec`: (B, 3, H, W) normalised -> (B, channels, h, w).

    Without pooling and head.

    With several scales, each hands on its own maps as the last channels and, pooled to their size, those of the stages before.

    It starts as He et al. 2015 say (fan out), and every block as the identity: its last BatchNorm's gamma is 0 (Goyal et al.
    2017).
    """

    def __init__(self, spec: ResNet) -> None:
        super().__init__()
        self.mean, self.std = MEAN, STD
        block = BasicBlock if spec.depth < 50 else Bottleneck
        # For small pictures: no stride and no pool before layer1 (the CIFAR form of He et al. 2016).
        small = spec.stem == "3x3"
        self.conv1: nn.Module = _conv(3, 64, 3) if small else _conv(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        inputs = 64
        for name, width, blocks, stride in zip(STAGES[1:], WIDTHS, BLOCKS[spec.depth], (1, 2, 2, spec.last_stride), strict=True):
            self.add_module(name, _layer(block, inputs, width, blocks, stride, spec.stride))
            inputs = width * block.expansion
        self.scales = tuple(width * block.expansion for width in WIDTHS) if spec.multi_scale else ()
        self.channels = sum(self.scales) or inputs
        if spec.extra:
            self.extra = nn.Sequential(_conv(self.channels, spec.extra, 3), nn.BatchNorm2d(spec.extra), nn.ReLU(inplace=True))
            self.channels = spec.extra
        self.names = spec.stages
        self.frozen, self.folded = "", False
        _start(self)
        freeze(self, spec.frozen)

    def stages(self) -> dict[str, tuple[nn.Module, ...]]:
        """The modules of each stage, in order."""
        return {"stem": (self.conv1, self.bn1)} | {name: (self.get_submodule(name),) for name in self.names[1:]}

    def stage(self, name: str, x: Tensor) -> Tensor:
        """Run one stage."""
        if name == "stem":
            # (B, 64, H / 4, W / 4); of the small stem (B, 64, H, W)
            return cast(Tensor, self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        stage = self.get_submodule(name)
        if not self.scales or name in ("layer1", "extra"):
            return cast(Tensor, stage(x))
        # A stage goes on from the maps of the stage before alone, which are the last channels.
        before = self.scales[STAGES.index(name) - 2]
        made = cast(Tensor, stage(x[:, -before:]))
        if made.shape[2:] != x.shape[2:]:
            x = avg_pool2d(x, 2, ceil_mode=True)  # so that each map keeps its mean, and no place is finer than it can be told
        return torch.cat([x, made], 1)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, channels, h, w)."""
        for name in self.names:
            x = self.stage(name, x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)

    def train(self, mode: bool = True) -> Self:
        """Set training mode for all but the frozen stages."""
        super().train(mode)
        hold_frozen(self)
        return self


def check_form(spec: ResNet, path: Path) -> None:
    """Raise WeightsError where weights of resdx were made for another stem or stride.

    Their shapes do not show it.
    """
    seen = read_seen(path)
    made = from_record(seen.sources["trunk"]) if seen and "trunk" in seen.sources else spec
    if not isinstance(made, ResNet):
        return  # the tensors will not fit
    for name in ("stride", "stem"):
        if (was := getattr(made, name)) != (wanted := getattr(spec, name)):
            raise WeightsError(f"{path} was made for {name} {was!r}, not {wanted!r}; set model.backbone.{name}")


def find_imagenet(depth: int) -> Path:
    """torchvision's published file, here or fetched. Raises WeightsError when it cannot be had."""
    file = IMAGENET[depth]
    return find_published(file, url=URL + file)


def build_backbone(spec: ResNet, *, weights: str) -> ResidualNetwork:
    """The backbone of `spec`, started from `weights`: "" random, "imagenet", or a file.

    Raises WeightsError.
    """
    backbone = ResidualNetwork(spec)
    path = find_imagenet(spec.depth) if weights == "imagenet" else starting_file(weights, spec.depth)
    if path:
        check_form(spec, path)
        load_backbone(backbone, path, optional="extra.")
    return backbone


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> Convolution:
    return Convolution(inputs, outputs, size, stride, padding=size // 2, bias=False)


def _layer(
    block: type[BasicBlock | Bottleneck], inputs: int, width: int, blocks: int, stride: int, stride_in: str
) -> nn.Sequential:
    outputs = width * block.expansion
    layers = nn.Sequential()
    for _ in range(blocks):
        # The shortcut is projected only where the shape changes (option B of He et al. 2016).
        project = stride != 1 or inputs != outputs
        downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)) if project else None
        layers.append(block(inputs, width, stride, downsample, stride_in))
        inputs, stride = outputs, 1
    return layers


def _start(backbone: nn.Module) -> None:
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for module in backbone.modules():
        if isinstance(module, (BasicBlock, Bottleneck)):
            nn.init.zeros_((module.bn2 if isinstance(module, BasicBlock) else module.bn3).weight)
