"""Several engines that predict together, as the members of an ensemble do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import tee

import numpy as np
from numpy.typing import NDArray

from . import Engine, Outputs


class Together:
    """Engines that are given the same pictures, and `join`, which makes one output of theirs.

    There are no maps.
    """

    def __init__(self, engines: Sequence[Engine], join: Callable[[Sequence[Outputs]], Outputs]) -> None:
        self.engines = tuple(engines)
        self.join = join
        self.name = self.engines[0].name
        self.batch = min(engine.batch for engine in self.engines)

    def predict(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        """Outputs for each batch, in order."""
        # every engine sees every batch
        each = (engine.predict(mine) for engine, mine in zip(self.engines, tee(batches, len(self.engines)), strict=True))
        for outputs in zip(*each, strict=True):
            yield self.join(outputs)
