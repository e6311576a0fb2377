"""The one way to use all cores: results in their order, as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import joblib

Item = TypeVar("Item")
Result = TypeVar("Result")

ALL = -1  # of the cores of this machine, or of the workers that `joblib.parallel_config` names around the call


def in_order(work: Callable[[Item], Result], items: Sequence[Item], *, workers: int = ALL) -> Iterator[Result]:
    """`work` of each item, in the order of the items, while later ones are still being worked on.

    Args:
        work: picklable (a step is, and so is a `partial` of a function), unless `workers` is 1.
        items: few large pieces; each is sent to a worker on its own, and a single one is worked on in this process.
        workers: how many at once; 1 works in this process.

    Raises:
        Exception: what `work` raises.
    """
    if workers == 1 or len(items) < 2:  # one task is done here before a worker has imported PyTorch
        yield from map(work, items)
        return
    jobs = min(joblib.effective_n_jobs(workers), len(items))
    # Pictures go to the workers as they are (max_nbytes): memory maps of them would have to be written first.
    # joblib's own workers need no `if __name__ == "__main__"` in the script of whoever calls us.
    yield from joblib.Parallel(n_jobs=jobs, return_as="generator", max_nbytes=None)(joblib.delayed(work)(one) for one in items)
