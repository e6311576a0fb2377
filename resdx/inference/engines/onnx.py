"""ONNX Runtime on the processor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import RunError, optional
from . import Outputs, coloured


class Onnx:
    """An exported model.onnx."""

    batch = 8

    def __init__(self, folder: Path, name: str = "onnx") -> None:
        self.name = name
        onnxruntime = optional("onnxruntime", extra="export", what=f"the engine {name}", error=RunError)
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def predict(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        """Outputs for each batch, in order."""
        for batch in batches:
            found = dict(zip(self.outputs, self.session.run(None, {"image": coloured(batch)}), strict=True))
            yield Outputs(found["logits"], found["embedding"], found.get("map", found.get("grid")))
