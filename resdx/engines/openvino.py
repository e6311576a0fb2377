"""OpenVINO on the processor: float32, bfloat16 or int8, several batches in flight at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from . import Answers

PRECISION = {"openvino": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not int8 in the graph


class Openvino:
    """An exported model.xml, compiled for throughput."""

    batch = 4

    def __init__(self, folder: Path, name: str = "openvino") -> None:
        self.name = name
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": PRECISION[name]}
        self.model: Any = openvino.Core().compile_model(str(folder / "model.xml"), "CPU", hints)
        self.flying = int(self.model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.outputs = [output.any_name for output in self.model.outputs]

    def answers(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Answers]:
        """Answers of each batch, in order; while one is given back, the next ones are being worked on."""
        free = [self.model.create_infer_request() for _ in range(self.flying)]
        flying: deque[Any] = deque()
        for batch in batches:
            if not free:
                yield self._landed(flying, free)
            request = free.pop()
            request.set_tensor("image", openvino.Tensor(np.ascontiguousarray(batch)))
            request.start_async()
            flying.append(request)
        while flying:
            yield self._landed(flying, free)

    def _landed(self, flying: deque[Any], free: list[Any]) -> Answers:
        request = flying.popleft()
        request.wait()
        said = {name: request.get_tensor(name).data.copy() for name in self.outputs}
        free.append(request)
        return Answers(said["logits"], said["embedding"], said.get("map"))
