"""Do the probabilities mean what they say?

Calibration intercept, slope and Spiegelhalter's z of each class, and the calibration error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.cases import Case
from ..data.tasks import Task, truth
from ..metrics.classification import ece
from ..metrics.intervals import person_codes
from ..metrics.recalibration import calibration_test, error_when_perfect
from ..runs.level_scores import CalibrationScores


def score_calibration(
    task: Task,
    classes: Sequence[str],
    shown: Sequence[str],
    cases: Sequence[Case],
    probabilities: NDArray[np.float32],
    *,
    seed: int = 0,
) -> dict[str, CalibrationScores]:
    """Of each shown class, image by image; without those that lack cases with the class or without it."""
    known = truth(task, classes, cases)
    person = person_codes([f"person {case.group}" if case.group else f"case {case.id}" for case in cases], len(cases))
    out = {}
    for name in shown:
        k = list(classes).index(name)
        at = ~np.isnan(known[:, k])
        y, p, codes = known[at, k], probabilities[at, k].astype(np.float64), person[at]
        if len(np.unique(y)) < 2:
            continue
        found, (perfect, most) = calibration_test(y, p, codes), error_when_perfect(y, p, codes, seed=seed)
        out[name] = CalibrationScores(found.intercept, found.slope, found.z, found.p, float(ece(y, p)), perfect, most)
    return out
