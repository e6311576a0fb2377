"""The bootstrap of persons: how often each case is drawn in each replicate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .classification import (
    Array,
    Values,
)

RARE = 5  # persons of one composition that make a stratum of their own
CHUNK = 500_000  # weights drawn at a time; another number would draw others
PIECE = 150_000  # weights given at a time, so that they and what is made of them stay in the processor's cache


def resample(y_true: Values, codes: Values, *, replicates: int, seed: int) -> Iterator[Array]:
    """Bootstrap weights: persons drawn with replacement within their stratum.

    Args:
        y_true: (N,) classes, or (N, K) of 1, 0 and NaN; persons of the same classes make a stratum.
        codes: (N,) the person of each case, from `person_codes`.
        replicates: how many.
        seed: the same replicates for the same seed, truth and persons.

    Yields:
        Weights (D, N), a chunk of the replicates at a time.
    """
    strata = _strata(y_true, codes)
    column = np.empty(int(codes.max()) + 1, np.intp)  # strata lie side by side while counting
    column[np.concatenate(strata)] = np.arange(len(column))
    rng = np.random.default_rng(seed)
    step, piece = max(1, CHUNK // len(codes)), max(1, PIECE // len(codes))
    for start in range(0, replicates, step):
        counts = np.empty((min(step, replicates - start), len(column)))
        edge = 0
        for size in map(len, strata):
            picks = rng.integers(size, size=(len(counts), size)) + size * np.arange(len(counts))[:, None]
            counts[:, edge : edge + size] = np.bincount(picks.ravel(), minlength=size * len(counts)).reshape(-1, size)
            edge += size
        for some in range(0, len(counts), piece):
            yield np.take(counts[some : some + piece], column[codes], axis=1)


def _strata(y_true: Values, codes: Values) -> list[NDArray[np.intp]]:
    """Persons by the set of classes they have; sets that fewer than 5 persons share are drawn together."""
    sides = [y_true == name for name in np.unique(y_true)] if y_true.ndim == 1 else [column == 1 for column in y_true.T]
    has = np.stack([np.bincount(codes[side], minlength=int(codes.max()) + 1) > 0 for side in sides], 1)
    _, place, sizes = np.unique(has, axis=0, return_inverse=True, return_counts=True)
    place = np.where(sizes[place] < RARE, -1, place)
    return [np.flatnonzero(place == kind) for kind in np.unique(place)]
