"""Several engines that answer together, as the members of an ensemble do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import tee

import numpy as np
from numpy.typing import NDArray

from . import Answers, Engine


class Together:
    """Engines that are given the same pictures, and `join`, which makes one answer of theirs. There are no maps."""

    def __init__(self, engines: Sequence[Engine], join: Callable[[Sequence[Answers]], Answers]) -> None:
        self.engines = tuple(engines)
        self.join = join
        self.name = self.engines[0].name
        self.batch = min(engine.batch for engine in self.engines)

    def answers(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Answers]:
        """Answers of each batch, in order."""
        each = (engine.answers(mine) for engine, mine in zip(self.engines, tee(batches, len(self.engines)), strict=True))
        for said in zip(*each, strict=True):
            yield self.join(said)
