"""OpenVINO on the processor: float32, bfloat16 or int8.

Several batches are in flight at a time, or all cores work on a single one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RunError, optional
from . import Outputs, coloured

PRECISION = {"openvino": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not int8 in the graph


class Openvino:
    """An exported model.xml, compiled when it is first asked for many batches, or for one."""

    batch = 4

    def __init__(self, folder: Path, name: str = "openvino") -> None:
        self.name = name
        self._openvino = optional("openvino", extra="export", what=f"the engine {name}", error=RunError)
        self._core = self._openvino.Core()
        self._graph = self._core.read_model(str(folder / "model.xml"))

    @cached_property
    def many(self) -> Any:
        """Compiled for throughput: a stream a core."""
        return self._compiled("THROUGHPUT")

    @cached_property
    def one(self) -> Any:
        """Compiled for latency: all cores work on the same batch."""
        return self._compiled("LATENCY")

    def predict(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        """Outputs for each batch, in order; while one is given back, the next ones are being worked on."""
        rest = iter(batches)
        begun = list(islice(rest, 2))
        model = self.one if len(begun) == 1 else self.many  # a single batch wants all cores
        free = [model.create_infer_request() for _ in range(int(model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))]
        flying: deque[Any] = deque()
        for batch in chain(begun, rest):
            if not free:
                yield self._landed(flying, free)  # the oldest one, so that answers stay in order
            request = free.pop()
            request.set_tensor("image", self._openvino.Tensor(coloured(batch)))
            request.start_async()
            flying.append(request)
        while flying:
            yield self._landed(flying, free)

    def _compiled(self, hint: str) -> Any:
        return self._core.compile_model(
            self._graph, "CPU", {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": PRECISION[self.name]}
        )

    def _landed(self, flying: deque[Any], free: list[Any]) -> Outputs:
        request = flying.popleft()
        request.wait()
        # copied: the request will use its memory again
        found = {output.any_name: request.get_tensor(output.any_name).data.copy() for output in request.model_outputs}
        free.append(request)
        return Outputs(found["logits"], found["embedding"], found.get("map", found.get("grid")))
