"""A backbone in a small file: int8 weights, BatchNorm re-estimated, hashes of training cases."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import WeightsError

ROUNDED, SCALE, SEEN = "rounded.", "scale.", "seen."  # how the names of tensors begin


@dataclass(frozen=True)
class Seen:
    """What weights have learnt from: training provenance.

    Where they came from, and sha256 and perceptual hash (N, 32) of every case.
    """

    sources: Mapping[str, Any]
    sha256: NDArray[np.uint8]
    perceptual: NDArray[np.uint8]


def pack(backbone: nn.Module, batches: Iterable[Tensor], seen: Seen) -> tuple[nn.Module, bytes]:
    """A copy of `backbone` with rounded weights, and the file that holds it.

    `batches` are normalised pictures (B, 3, H, W) on the backbone's device, on which BatchNorm measures its statistics again.
    """
    small = copy.deepcopy(backbone)
    tensors: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, value in small.named_parameters():
            if value.ndim > 1:  # kernels and matrices; biases and BatchNorm are few and stay float32
                rounded, scale = _round(value)
                value.copy_(_expand(rounded, scale))
                tensors |= {ROUNDED + name: rounded.cpu().contiguous(), SCALE + name: scale.cpu()}
    # Rounded weights give maps of slightly other mean and variance.
    _measure(small, batches)
    for name, value in small.state_dict().items():
        if ROUNDED + name not in tensors and not name.endswith("num_batches_tracked"):
            tensors[name] = value.detach().cpu().contiguous()
    return small, signed(tensors, seen)


def signed(state: Mapping[str, Tensor], seen: Seen) -> bytes:
    """The file of `state`, which says itself what it has learnt from."""
    tensors = {name: value for name, value in state.items() if not name.startswith(SEEN)}
    tensors |= {SEEN + name: torch.from_numpy(getattr(seen, name).copy()) for name in ("sha256", "perceptual")}
    return save(tensors, {"resdx": json.dumps(dict(seen.sources), sort_keys=True)})


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network as float32, without what the file says it has seen."""
    out = {name: value for name, value in state.items() if not name.startswith((ROUNDED, SCALE, SEEN))}
    for name, value in state.items():
        if name.startswith(ROUNDED):
            own = name.removeprefix(ROUNDED)
            if SCALE + own not in state:
                raise WeightsError(f"the packed weights have no {SCALE}{own}; the file is not whole: fetch it again")
            out[own] = _expand(value, state[SCALE + own])
    return out


def read_seen(path: Path) -> Seen | None:
    """What the weights of a file have learnt from.

    None where it does not say, or cannot be opened, which loading it refuses.

    Raises:
        WeightsError: it says so in another form than resdx writes.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            if SEEN + "sha256" not in file.keys():  # noqa: SIM118 (safe_open is no mapping)
                return None
            return Seen(
                json.loads((file.metadata() or {})["resdx"]),
                file.get_tensor(SEEN + "sha256"),
                file.get_tensor(SEEN + "perceptual"),
            )
    except (SafetensorError, OSError):
        return None
    except (LookupError, ValueError) as error:
        raise WeightsError(f"{path} does not say what it was learnt from as resdx writes it; fetch it again") from error


def _round(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 values and a float32 scale an output channel."""
    scale = weight.flatten(1).abs().amax(1).clamp_min(1e-12) / 127  # symmetric: the largest weight of a channel becomes 127
    rounded = (weight / scale.view(-1, *[1] * (weight.ndim - 1))).round().to(torch.int8)
    return rounded, scale.float()


def _expand(rounded: Tensor, scale: Tensor) -> Tensor:
    return rounded.float() * scale.view(-1, *[1] * (rounded.ndim - 1))


def _measure(backbone: nn.Module, batches: Iterable[Tensor]) -> None:
    """Mean and variance of every BatchNorm as the average over `batches`."""
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    backbone.train()  # BatchNorm measures in training mode alone
    with torch.no_grad():
        for batch in batches:
            backbone(batch)
    backbone.eval()
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
