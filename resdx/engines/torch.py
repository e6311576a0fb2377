"""Running a network with PyTorch: prepared uint8 pictures in, logits and embeddings out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.net import Network
from . import Answers
from .graph import Graph, turned

VIEWS = {1: (0,), 2: (0, 4), 8: tuple(range(8))}  # quarter turns, 4 and more mirrored first
BATCH = 64  # pictures
AT_ONCE = 400_000  # pixels of a batch on a processor, whose cache should hold the maps: twice as fast as 64 pictures of 224 px
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_tensor(images: NDArray[np.uint8], where: torch.device) -> Tensor:
    """(B, S, S, C) uint8 -> (B, C, S, S) float in [0, 1], grey kept as one channel."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(where).permute(0, 3, 1, 2).float().div_(255)


def three_channels(images: Tensor) -> Tensor:
    """(B, 1 or 3, S, S) -> (B, 3, S, S) in the memory format convolutions like."""
    return images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def batch_of(where: torch.device, size: int) -> int:
    """Pictures that are answered at a time."""
    return BATCH if where.type == "cuda" else max(1, min(BATCH, AT_ONCE // size**2))


def infer(
    network: Network,
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    *,
    views: int = 1,
    dtype: str = "float32",
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Answers for `images[rows]`, averaged over views: logits (N, outputs) and embeddings (N, E).

    `progress` is called with the number of pictures of each batch.
    """
    network.eval()
    where = network.where
    batch = batch_of(where, images.shape[1])
    logits, embeddings = list[Any](), list[Any]()
    with torch.inference_mode(), torch.autocast(where.type, DTYPES[dtype], enabled=dtype != "float32"):
        for start in range(0, len(rows), batch):
            tensor = to_tensor(images[rows[start : start + batch]], where)
            said = [network.answer(three_channels(turned(tensor, view)))[:2] for view in VIEWS[views]]
            for into, each in zip((logits, embeddings), zip(*said, strict=True), strict=True):
                into.append(torch.stack(each).mean(0).float().cpu().numpy())
            if progress:
                progress(len(tensor))
    if not logits:
        return np.zeros((0, network.head.outputs), np.float32), np.zeros((0, network.channels), np.float32)
    return np.concatenate(logits), np.concatenate(embeddings)


class Torch:
    """The trained network itself."""

    name = "torch"

    def __init__(self, graph: Graph, size: int) -> None:
        self.graph = graph.to(device()).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.batch = batch_of(device(), size)

    def answers(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Answers]:
        """Answers of each batch, in order."""
        for batch in batches:
            with torch.inference_mode():
                logits, _, embeddings, *heat = self.graph(torch.from_numpy(batch).to(device()))
            yield Answers(*(one.float().cpu().numpy() for one in (logits, embeddings, *heat)))
