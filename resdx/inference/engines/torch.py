"""Running a network with PyTorch: prepared uint8 pictures in, logits and embeddings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ...models.forward import batch_of, default_device
from . import Answers
from .graph import Graph


class Torch:
    """The trained network itself."""

    name = "torch"

    def __init__(self, graph: Graph, size: int) -> None:
        self.graph = graph.to(default_device()).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.batch = batch_of(default_device(), size)

    def answers(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Answers]:
        """Answers of each batch, in order."""
        for batch in batches:
            with torch.inference_mode():
                logits, _, embeddings, *heat = self.graph(torch.from_numpy(batch).to(default_device()))
            yield Answers(*(one.float().cpu().numpy() for one in (logits, embeddings, *heat)))
