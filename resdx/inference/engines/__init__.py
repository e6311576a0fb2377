"""Ways to run a trained network, one module an engine: prepared pictures in, outputs out.

An `Engine` takes an iterator of batches, (B, S, S, 1 or 3) uint8, and gives their `Outputs` in the same order; it may work on
several batches at a time. Which one is used changes speed, not meaning: `export` measures how far their outputs lie apart.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# OpenVINO and NNCF report every import and conversion to Google Analytics, in a process of its own. Nothing leaves a
# hospital unasked.
sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))


class Outputs(NamedTuple):
    """What a network predicts for N pictures.

    Logits (N, outputs), embeddings (N, E) and, where there are some, maps (N, K, h, w). In the place of maps a detector has
    what it predicts for each cell (N, A, 5 + K, h, w).
    """

    logits: Floats
    embeddings: Floats
    maps: Floats | None = None


class Engine(Protocol):
    """A network ready to run. `name` is torch, onnx, openvino, bf16 or int8.

    `batch` is how many pictures it likes at a time.
    """

    name: str
    batch: int

    def predict(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        """Outputs for each batch, in order."""


def coloured(batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(B, S, S, 1 or 3) -> (B, S, S, 3), as exported graphs take them."""
    return np.ascontiguousarray(batch) if batch.shape[3] == 3 else np.repeat(batch, 3, axis=3)
