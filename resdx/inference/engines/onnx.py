"""ONNX Runtime on the processor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import RunError, optional
from . import Answers


class Onnx:
    """An exported model.onnx."""

    batch = 8

    def __init__(self, folder: Path, name: str = "onnx") -> None:
        self.name = name
        onnxruntime = optional("onnxruntime", extra="export", what=f"the engine {name}", error=RunError)
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def answers(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Answers]:
        """Answers of each batch, in order."""
        for batch in batches:
            said = dict(zip(self.outputs, self.session.run(None, {"image": batch}), strict=True))
            yield Answers(said["logits"], said["embedding"], said.get("map", said.get("grid")))
