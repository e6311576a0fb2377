"""The cases of a run whose maps are drawn or checked, with what the run predicts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...data.cases import Case
from ...data.tasks import truth
from ...inference.opening import calibration_of_run
from ...runs.prepared import Prepared
from ...runs.run import Run
from ...training.frozen_features import is_cross_fitted

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Asked:
    """N cases of one subset with the run's outputs.

    The class that is explained (`targets`), its probability, right or not.
    """

    part: str
    prepared: Prepared
    cases: tuple[Case, ...]
    chosen: NDArray[np.bool_]  # (N, K), every class that was answered
    targets: NDArray[np.int64]
    p: Floats
    right: NDArray[np.bool_]

    def of(self, rows: Sequence[int] | NDArray[np.intp]) -> Asked:
        """Some of the cases."""
        at = np.asarray(rows, np.intp)
        some = (getattr(self, name)[at] for name in ("chosen", "targets", "p", "right"))
        return Asked(self.part, self.prepared, tuple(self.cases[i] for i in at), *some)

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """The prepared pictures (N, S, S, C)."""
        return np.asarray(self.prepared.images[self.prepared.rows([case.id for case in self.cases])])

    @property
    def persons(self) -> tuple[str, ...]:
        """The person of each case."""
        return tuple(case.group for case in self.cases)


def asked(run: Run, prepared: Prepared) -> Asked | None:
    """What the run says of its test part once that has been scored, else of what it was calibrated on.

    None where no case is left.
    """
    part = "test" if (run.path / "scores-test.npz").exists() else "calib"
    calibration = calibration_of_run(run)
    scores = run.scores(part)
    place = "train" if part == "calib" and is_cross_fitted(run) else part
    by_id = {case.id: case for case in run.cases(place) if case.id in prepared.row and case.labels is not None}
    kept = [i for i, case in enumerate(scores.ids) if case in by_id]
    if not kept:
        return None
    cases = tuple(by_id[scores.ids[i]] for i in kept)
    known = truth(run.recipe.task, run.recipe.classes, cases)
    probability = calibration.probabilities(scores.logits[kept])
    chosen = calibration.choose(probability, logits=scores.logits[kept])
    targets = np.where(chosen, probability, probability - 1).argmax(1)  # of the classes answered the most probable one
    right = ((chosen == known) | np.isnan(known)).all(1)
    return Asked(part, prepared, cases, chosen, targets, probability[np.arange(len(cases)), targets], right)


def one_a_person(asked: Asked, seed: int) -> list[int]:
    order = np.random.default_rng(seed).permutation(len(asked.cases))
    return list({asked.persons[i]: int(i) for i in order}.values())[:CHECKED]


CHECKED = 64  # cases, each of another person, that quick methods are checked on
