"""One thin wrapper over timm, and torchvision's GoogLeNet, for the comparators (extra `zoo`)."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import RecipeError, WeightsError, optional
from ..freeze import freeze, hold_frozen
from ..specs import Pretrained
from ..weights import STORED, backbone_of, check_hash, fill, find_published, read_state

Stages = dict[str, tuple[nn.Module, ...]]
Array = NDArray[np.float32]
Layer = tuple[Array, tuple[Array, Array, Array, Array]]  # kernel (O, I, h, w); gamma, beta, mean, variance

PROBE = 96  # px, the side of the image that is sent through a new network to see what it gives
# TensorFlow's MobileNet-V2 in timm's form: asymmetric padding, its BatchNorm epsilon, inputs from -1 to 1.
TENSORFLOW: dict[str, Any] = {"pad_type": "same", "bn_eps": 1e-3}
# Published by torchvision, for networks whose timm weights are on a hub without a hash in their name.
TORCHVISION = {
    name.split("-")[0]: f"https://download.pytorch.org/models/{name}.pth"
    for name in ("vgg16-397923af", "vgg19-dcbb9e9d", "densenet121-a639ec97", "densenet169-b2777c0a", "googlenet-1378be20")
}
MOBILENETS = {  # timm name -> ImageNet weights, sha256
    "mobilenetv2_100": (
        "mobilenet_v2_1.0_ptq_dequantised_fp32.npz",
        "c64097ffed69c4ec571417e513885b32224ae68ad6da167f97b12fc7c878964f",
    ),
    "mobilenetv2_035": (
        "mobilenet_v2_0.35_224_notop_fp32.npz",
        "e9827a4b7d7ebfe38978dbbfee3ce2b70e72d0a30d10c4b4e9b80a8332fb632f",
    ),
}


class GoogLeNet(nn.Module):
    """torchvision's GoogLeNet (Szegedy et al. 2015, with BatchNorm) in the form of timm's networks.

    timm is without it.
    """

    num_features = 1024

    def __init__(self) -> None:
        super().__init__()
        whole = _zoo("torchvision.models", "googlenet").googlenet(weights=None, aux_logits=False, init_weights=True)
        self.features = nn.Sequential(OrderedDict(list(whole.named_children())[:-3]))  # without pool, dropout and classifier

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1024, h, w)."""
        return cast(Tensor, self.features(x))

    def start(self, state: dict[str, Tensor], origin: str) -> None:
        """Take over a classifier's weights, without its three classifiers. Raises WeightsError."""
        # the training of GoogLeNet has two auxiliary classifiers
        kept = {key: value for key, value in state.items() if not key.startswith(("fc.", "aux1.", "aux2."))}
        fill(self.features, kept, origin)


class TimmBackbone(nn.Module):
    """A timm network without its classifier: (B, 3, H, W) normalised -> (B, channels, h, w)."""

    def __init__(self, body: nn.Module, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.body = body
        self.mean, self.std = mean, std
        self.frozen, self.folded = "", False
        self.channels = _trim(body)

    def stages(self) -> Stages:
        """The modules of each stage, in order.

        Blocks where the network is a known chain, else the whole as "body".
        """
        return _chain(self.body) or {"body": (self.body,)}

    def stage(self, name: str, x: Tensor) -> Tensor:
        """Run one stage."""
        modules = self.stages()[name]
        if modules == (self.body,):
            return self.features(x)
        for module in modules:
            x = module(x)
        return x

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, channels, h, w)."""
        return cast(Tensor, cast(Any, self.body).forward_features(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)

    def train(self, mode: bool = True) -> Self:
        """Set training mode for all but the frozen stages."""
        super().train(mode)
        hold_frozen(self)
        return self


def timm(name: str = "") -> Any:
    """timm, imported at its first use for the network `name`.

    Raises RecipeError, with the command that installs it, where it is absent.
    """
    return _zoo("timm", name)


def _zoo(library: str, name: str) -> Any:
    declare_torchvision_operators()  # timm imports torchvision
    return optional(library, extra="zoo", what=f"Pretrained({name!r})", error=RecipeError)


def build_backbone(spec: Pretrained, *, weights: str) -> TimmBackbone:
    """The backbone of `spec`, started from `weights`: "" random, "imagenet", or a file.

    The bare names in MOBILENETS are TensorFlow's networks; timm's own weights go by a tagged name ("mobilenetv2_100.ra_in1k").

    Raises:
        RecipeError: timm has no such network, or it gives no maps.
        WeightsError: the weights are absent or do not fit.
    """
    if not timm().is_model(spec.name) and spec.name != "googlenet":
        near = difflib.get_close_matches(spec.name, [*timm().list_models(), "googlenet"], 1)
        raise RecipeError(
            f"timm has no network {spec.name!r}; {f'did you mean {near[0]}?' if near else 'see timm.list_models()'}"
        )
    if spec.name in MOBILENETS:
        body = timm().create_model(spec.name, pretrained=False, num_classes=0, **TENSORFLOW)
        backbone = TimmBackbone(body, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        if weights:
            _start_mobilenet(backbone, spec.name, weights)
    elif spec.name == "googlenet":
        backbone = TimmBackbone(body := GoogLeNet(), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        state = _published_state(spec.name, weights) if weights else {}
        if _is_ours(state):
            fill(backbone, backbone_of(state), weights)
        elif state:
            body.start(state, weights)
    else:
        state = _published_state(spec.name, weights) if weights else {}
        body = _body(spec.name, {} if _is_ours(state) else state)
        backbone = TimmBackbone(body, body.pretrained_cfg["mean"], body.pretrained_cfg["std"])
        if _is_ours(state):
            fill(backbone, backbone_of(state), weights)
    freeze(backbone, spec.frozen)
    return backbone


def _is_ours(state: dict[str, Tensor]) -> bool:
    return any(key.startswith(STORED) for key in state)


def _published_state(name: str, weights: str) -> dict[str, Tensor]:
    if weights != "imagenet":
        return read_state(Path(weights))
    published = None if name in TORCHVISION else timm().get_pretrained_cfg(name)
    url = TORCHVISION.get(name) or str((published and published.url) or "")
    file = url.rsplit("/", 1)[-1]
    if not re.search(r"-[0-9a-f]{8}\.pth$", file):  # the hash in the name is what a download is checked by
        raise WeightsError(
            f"timm offers no file with a hash in its name for {name}; get its weights and name the file with --weights FILE"
        )
    return read_state(find_published(file, url=url))


def _body(name: str, state: dict[str, Tensor]) -> Any:
    if not state:
        return timm().create_model(name, pretrained=False, num_classes=0)
    try:  # with its classifier, because timm checks strictly only then, and maps the names of older files
        body: Any = timm().create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": state})
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"the weights do not fit {name} ({reason}); name the file that belongs to it") from error
    body.reset_classifier(0)
    return body


def _trim(body: nn.Module) -> int:
    """Drop the top-level parts that the maps do not use (VGG's 119 million dense weights).

    Give the number of maps.
    """
    called: set[nn.Module] = set()
    # What no hook sees in a pass is not needed for maps.
    handles = [module.register_forward_pre_hook(lambda module, _: called.add(module)) for module in body.modules()]
    training = body.training
    body.eval()
    forward_features = cast(Any, body).forward_features
    try:
        with torch.no_grad():
            maps = forward_features(torch.zeros(1, 3, PROBE, PROBE))
    except (AssertionError, RuntimeError) as error:
        name = type(body).__name__
        raise RecipeError(f"{name} does not take images of any size ({error}); choose a convolutional network") from error
    body.train(training)
    for handle in handles:
        handle.remove()
    if maps.dim() != 4 or maps.shape[1] != cast(Any, body).num_features:
        raise RecipeError(
            f"{type(body).__name__} gives {tuple(maps.shape)}, not maps (B, C, h, w); choose a convolutional network"
        )
    for name, child in list(body.named_children()):
        if not called.intersection(child.modules()):
            setattr(body, name, nn.Identity())
    return int(maps.shape[1])


def _chain(body: nn.Module) -> Stages:
    """Stages of a network that is a plain chain; else none.

    EfficientNet's family (with MobileNet V1 and V2), VGG and DenseNet.
    """
    parts = dict(body.named_children())
    if {"conv_stem", "bn1", "blocks", "conv_head", "bn2"} <= set(parts):
        blocks: Stages = {f"block{number}": (block,) for number, block in enumerate(cast(nn.Sequential, parts["blocks"]), 1)}
        return {"stem": (parts["conv_stem"], parts["bn1"]), **blocks, "top": (parts["conv_head"], parts["bn2"])}
    if isinstance(parts.get("features"), nn.Sequential):
        return {f"block{number}": modules for number, modules in enumerate(_between_pools(parts["features"]), 1)}
    return {}


def _between_pools(chain: nn.Module) -> Iterator[tuple[nn.Module, ...]]:
    block: list[nn.Module] = []
    for name, module in chain.named_children():
        block.append(module)
        if isinstance(module, nn.MaxPool2d) or name.startswith("transition"):
            yield tuple(block)
            block = []
    if block:
        yield tuple(block)


def _start_mobilenet(backbone: TimmBackbone, name: str, weights: str) -> None:
    file, sha256 = MOBILENETS[name]
    path = Path(weights)
    if not path.is_file() and weights in ("imagenet", file):
        path = find_published(file, sha256=sha256)
    if path.suffix != ".npz":
        state = read_state(path)
        fill(backbone if _is_ours(state) else backbone.body, backbone_of(state), weights)
        return
    if not path.is_file():
        raise WeightsError(f"the weights file {path} is not there; check the path")
    check_hash(path, sha256, name=file)
    arrays = _read_npz(path)
    backbone.folded = "topology" in arrays  # TFLite's file, which names its topology, has BatchNorm folded in
    layers = _folded_layers(arrays) if backbone.folded else _keras_layers(arrays)
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    for convolution, norm, (kernel, statistics) in zip(convolutions, norms, layers, strict=True):
        convolution.weight.data.copy_(torch.from_numpy(kernel))
        for own, value in zip((norm.weight, norm.bias, norm.running_mean, norm.running_var), statistics, strict=True):
            cast(Tensor, own).data.copy_(torch.from_numpy(value))


def _read_npz(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _folded_layers(arrays: dict[str, Array]) -> Iterator[Layer]:
    """TFLite's layers by their number: (O, h, w, I), or (1, h, w, C) where depthwise.

    BatchNorm becomes "add the bias".
    """
    for key in sorted(key for key in arrays if key.endswith(".weight"))[:-1]:  # the last is the classifier
        kernel, bias = arrays[key], arrays[key.replace(".weight", ".bias")]
        one = np.ones_like(bias)
        # So that variance + epsilon is 1, and BatchNorm does nothing but add its beta.
        variance = np.full_like(bias, 1 - TENSORFLOW["bn_eps"])
        kernel = kernel.transpose((3, 0, 1, 2) if "DEPTHWISE" in key else (0, 3, 1, 2))
        yield np.ascontiguousarray(kernel), (one, bias, 0 * one, variance)


def _keras_layers(arrays: dict[str, Array]) -> Iterator[Layer]:
    """Keras's layers in the file's order, each with its BatchNorm.

    Kernels are (h, w, I, O), or (h, w, C, 1) where depthwise.
    """
    kernels = [key for key in arrays if key.endswith("kernel")]
    norms = [key.removesuffix("/gamma") for key in arrays if key.endswith("/gamma")]
    for key, norm in zip(kernels, norms, strict=True):
        kernel = arrays[key].transpose((2, 3, 0, 1) if key.endswith("depthwise_kernel") else (3, 2, 0, 1))
        gamma, beta, mean, variance = (arrays[f"{norm}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance"))
        yield np.ascontiguousarray(kernel), (gamma, beta, mean, variance)


SCHEMAS = ("nms", "qnms")  # each `(Tensor dets, Tensor scores, float iou_threshold) -> Tensor`


_declared: list[torch.library.Library] = []  # a library's schemas live as long as the object


def declare_torchvision_operators() -> None:
    """Declare what timm needs of torchvision where its compiled part does not load.

    PyPI's build does not load beside the CPU build of torch.

    There, `import torchvision` stops at "operator torchvision::nms does not exist", although nothing here uses that operator;
    declaring its schema once, without any implementation, is enough. Nothing happens where torchvision is absent or whole.
    """
    found = importlib.util.find_spec("torchvision")
    if _declared or found is None or found.origin is None:
        return
    compiled = next((path for path in Path(found.origin).parent.glob("_C*") if path.suffix in (".so", ".pyd", ".dylib")), None)
    if compiled is not None and _loads(compiled):
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in SCHEMAS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _declared.append(library)


def _loads(compiled: Path) -> bool:
    try:
        torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True
