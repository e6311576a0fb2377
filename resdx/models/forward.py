"""Tensors on the way through a network: the device, batches, dtypes and the eight dihedral views."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

VIEWS = {1: (0,), 2: (0, 4), 8: tuple(range(8))}  # quarter turns, 4 and more mirrored first
BATCH = 64  # pictures
AT_ONCE = 400_000  # pixels of a batch on a processor, whose cache should hold the maps: twice as fast as 64 pictures of 224 px
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_tensor(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(B, S, S, C) uint8 -> (B, C, S, S) float in [0, 1], grey kept as one channel."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float().div_(255)


def three_channels(images: Tensor) -> Tensor:
    """(B, 1 or 3, S, S) -> (B, 3, S, S) in the memory format convolutions like."""
    return images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def batch_of(device: torch.device, size: int) -> int:
    """Pictures that are answered at a time."""
    return BATCH if device.type == "cuda" else max(1, min(BATCH, AT_ONCE // size**2))


def turned(images: Tensor, view: int) -> Tensor:
    """(B, C, S, S) in one of the 8 dihedral views: quarter turns, 4 and more mirrored first."""
    return torch.rot90(images.flip(-1) if view >= 4 else images, view % 4, (-2, -1))
