"""The cases of one part of a run's split, ready for learning: where their pictures are, what is true of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cases import Case
from .data import Prepared
from .errors import RunError
from .losses import target
from .metrics import macro_auroc
from .runs import Run
from .steps.random import case_keys
from .tasks import truth


@dataclass(frozen=True)
class Part:
    """Cases in manifest order: persons, rows of the prepared pictures, keys for random draws, truth (N, K), targets (N, outputs)."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    rows: NDArray[np.int64]
    keys: NDArray[np.uint64]
    truth: NDArray[np.float32]
    targets: NDArray[np.float32]

    def at(self, rows: NDArray[np.intp]) -> Part:
        """The cases at these positions, of which one may come twice."""
        ids, groups = (tuple(names[i] for i in rows) for names in (self.ids, self.groups))
        return Part(ids, groups, self.rows[rows], self.keys[rows], self.truth[rows], self.targets[rows])

    def __add__(self, other: Part) -> Part:
        arrays = (np.concatenate([getattr(self, f), getattr(other, f)]) for f in ("rows", "keys", "truth", "targets"))
        return Part(self.ids + other.ids, self.groups + other.groups, *arrays)


def part_of(run: Run, prepared: Prepared, name: str) -> Part:
    """The cases of a part that could be prepared. Raises RunError when there are none."""
    cases = [case for case in run.cases(name) if case.id in prepared.row]
    if not cases:
        raise RunError(f"{run.path}: no readable case is in the {name} part; see split.csv and failures.csv")
    return part_of_cases(run, prepared, cases)


def part_of_cases(run: Run, prepared: Prepared, cases: Sequence[Case]) -> Part:
    """Cases of any part, all of them prepared, as something to learn from."""
    ids = tuple(case.id for case in cases)
    known = truth(run.recipe.task, run.recipe.classes, cases)
    groups = tuple(case.group for case in cases)
    return Part(ids, groups, prepared.rows(ids), case_keys(ids), known, target(run.recipe.task, known))


def tune_score(run: Run, tune: Part, logits: NDArray[np.float32]) -> float:
    """Macro AUROC on the tune part (STATISTICS: the choice of the checkpoint); minus the Brier score where it has no meaning."""
    probability = run.recipe.task.probabilities(logits)
    score = float(macro_auroc(tune.truth, probability))
    return score if math.isfinite(score) else -float(np.nanmean((probability - tune.truth) ** 2))
