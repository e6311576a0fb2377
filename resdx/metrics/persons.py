"""Weights by person: each person counts once, however many cases they have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def person_weights(groups: Sequence[str]) -> Floats:
    """1 / (cases of its person) for each case, so that the weights sum to the number of persons.

    "" is a person of its own.
    """
    person = number_persons(groups)
    return case_weights(person, np.ones(len(person), bool))


Floats = NDArray[np.float64]
Persons = NDArray[np.int64]  # (N,) the number of each case's person
Mask = NDArray[np.bool_]


def number_persons(groups: Sequence[str]) -> Persons:
    """Persons (N,) as 0, 1, 2 ...; a case without a group is a person of its own."""
    names = [f"group {group}" if group else f"case {i}" for i, group in enumerate(groups)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def case_weights(person: Persons, among: Mask) -> Floats:
    """1 / (cases of the person among those that count), 0 for the others."""
    counts = np.bincount(person[among], minlength=int(person.max(initial=0)) + 1)
    return np.where(among, 1 / np.maximum(counts[person], 1), 0.0)
