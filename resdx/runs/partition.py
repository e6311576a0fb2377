"""The cases of one part of a run's split, ready for learning.

Where their pictures are, what is true of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.box_geometry import box_transform
from ..data.cases import Case
from ..data.tasks import Detect, target, truth
from ..errors import DataError, RunError
from ..metrics.classification import macro_auroc
from ..transforms.augment import case_keys
from .prepared import Prepared
from .run import Run


@dataclass(frozen=True)
class Part:
    """Cases of a part in manifest order, with all that learning needs of them.

    Persons, rows of the prepared pictures, keys for random draws, truth (N, K), targets (N, outputs). Where boxes are to be
    found, the targets are those of the cases: (N, M, 5), see `box_targets`.
    """

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
    """The cases of a part that could be prepared, with the boxes to be found where the task is that.

    Raises RunError when there are none.
    """
    cases = [case for case in run.cases(name) if case.id in prepared.row]
    if not cases:
        raise RunError(
            f"{run.path}: no readable case is in the {name} part: too few persons outside the test part to be "
            f"divided, or files that cannot be read; "
            "see split.csv and failures.csv"
        )
    return part_of_cases(run, prepared, cases, boxes=isinstance(run.recipe.task, Detect))


def part_of_cases(run: Run, prepared: Prepared, cases: Sequence[Case], *, boxes: bool = False) -> Part:
    """Cases of any part, all of them prepared, as something to learn their classes from, or their `boxes`."""
    ids = tuple(case.id for case in cases)
    known = truth(run.recipe.task, run.recipe.classes, cases)
    groups = tuple(case.group for case in cases)
    wanted = box_targets(run, cases) if boxes else target(run.recipe.task, known)
    return Part(ids, groups, prepared.rows(ids), case_keys(ids), known, wanted)


def box_targets(run: Run, cases: Sequence[Case]) -> NDArray[np.float32]:
    """(N, M, 5): class, x1, y1, x2, y2 of each box in shares of the prepared picture.

    NaN where a case has fewer than M, the most in the data.

    Raises:
        RunError: a step of the recipe moves pixels in a way that boxes cannot follow.
        DataError: a box has a name that is none of the case's labels.
    """
    steps, size, places = run.recipe.prepare, run.recipe.size, shapes(run)
    most = max((len(case.boxes) for case in run.manifest.cases), default=0)
    out = np.full((len(cases), max(1, most), 5), np.nan, np.float32)
    column = {name: k for k, name in enumerate(run.recipe.classes)}
    for row, case in zip(out, cases, strict=True):
        if not (place := box_transform(places[case.id], steps)):
            raise RunError(
                f"{run.path}: boxes cannot be followed through {', '.join(type(one).__name__ for one in steps)}; leave Resize"
            )
        if odd := [box.label for box in case.boxes if box.label not in (case.labels or ()) or box.label not in column]:
            raise DataError(
                f"{case.id} has a box of {odd[0]!r}, which is not among its labels "
                f"({', '.join(case.labels or ()) or 'none'}); mend the table"
            )
        corners = np.array([[box.x1, box.y1, box.x2, box.y2] for box in case.boxes]).reshape(-1, 4)
        moved = place.to_prepared(corners) / size
        seen = np.flatnonzero((moved[:, 2:] > moved[:, :2]).all(1))  # a crop may leave nothing of one
        row[: len(seen), 0] = [column[case.boxes[i].label] for i in seen]
        row[: len(seen), 1:] = moved[seen]
    return out


def shapes(run: Run) -> dict[str, tuple[int, int]]:
    """Height and width of each readable case's picture, as the audit found it."""
    facts = run.audit.facts
    return {fact.case: (fact.height, fact.width) for fact in facts}


def tune_score(run: Run, tune: Part, logits: NDArray[np.float32]) -> float:
    """Macro AUROC on tune, which chooses the checkpoint; minus the Brier score where it has no meaning."""
    probability = run.recipe.task.probabilities(logits)
    score = float(macro_auroc(tune.truth, probability))
    return score if math.isfinite(score) else -float(np.nanmean((probability - tune.truth) ** 2))
