"""Referral as a promise about wrong answers: fitted on the calibration set, counted on the test set.

Conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster 2024) within each class, with persons as the units.
The loss of a person is the share of their cases of the class that are answered wrongly. It only falls as the limit of the
margin rises, so the smallest limit with (sum of losses + 1) / (persons + 1) <= alpha keeps the expected loss of a new person
at alpha or below. The limit in force is the highest of all classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.cases import Case
from ..data.tasks import Task, truth
from ..errors import DataError
from ..inference.calibration import Calibration
from ..inference.referral import LEVELS, SAME, AnswerLevel, Referral, choices, margins, promised
from ..metrics.intervals import person_codes, proportion
from ..metrics.persons import Floats, Mask, Persons, case_weights
from ..runs.level_scores import ClassReferral, ReferralScores
from ..runs.settings import ALPHA

EPSILON = 1e-9  # sums of weights such as 9 * 0.1 miss their target by rounding
CLEARANCE = 0.01  # of the margin that must not be answered: an engine that rounds differently decides the same


def fit_referral(task: Task, logits: Floats, truth: Floats, person: Persons, alpha: float = ALPHA) -> Referral:
    """The limits of the margin at `alpha` and at LEVELS.

    Args:
        logits: (N, outputs) of the network, before any calibrator.
        truth: (N, K), one class a case, none NaN.
        person: (N,) the number of the person of each case.

    Raises:
        DataError: `alpha` is no share.
    """
    if not 0 < alpha < 1:
        raise DataError(f"the share of wrong answers (alpha) must be above 0 and below 1, not {alpha}")
    margin, column = margins(task, logits), truth.argmax(axis=1)
    wrong = choices(task, logits) != column
    levels = sorted({*(level for level in LEVELS if abs(level - alpha) >= SAME), alpha})
    classes = [column == k for k in range(truth.shape[1])]
    return Referral(
        tuple(AnswerLevel(level, max(answer_limit(margin, wrong, one, person, level) for one in classes)) for level in levels),
        alpha,
    )


def answer_limit(margin: Floats, wrong: Mask, of_class: Mask, person: Persons, alpha: float) -> float:
    """The smallest margin from which cases of one class may be answered.

    0 where all may, or where the class has no person.

    Args:
        margin, wrong, of_class, person: (N,) of all cases of the calibration set.
        alpha: the share of the cases of the class that may be answered wrongly, raised to 1 / (persons + 1) where that is more.
    """
    persons = len(np.unique(person[of_class]))
    if (bound := promised(alpha, persons)) is None:
        return 0.0
    weight, lost = case_weights(person, of_class), of_class & wrong
    order = np.argsort(-margin[lost], kind="stable")
    losses = np.cumsum(weight[lost][order])
    too_many = losses + 1 > bound * (persons + 1) + EPSILON
    if not too_many.any():
        return 0.0
    refused = float(margin[lost][order][too_many.argmax()])  # answering this one would be one too many
    gap = float(min(margin[margin > refused] - refused, default=np.inf))
    return float(max(refused + min(gap / 2, CLEARANCE * refused), np.nextafter(refused, np.inf)))


def score_referral(
    calibration: Calibration, cases: Sequence[Case], logits: NDArray[np.float32], unlike: NDArray[np.bool_]
) -> tuple[ReferralScores, ...]:
    """What is answered and what is wrong at each level, image by image.

    Nothing where the calibration has no referral rule.

    Args:
        cases: of which those with a known class are counted.
        logits: (N, outputs) of the network.
        unlike: (N,) the cases that are referred as unlike the training cases, at any level.
    """
    if calibration.referral is None:
        return ()
    known = truth(calibration.task, calibration.classes, cases)
    assessed = ~np.isnan(known).any(axis=1)
    z, column = np.asarray(logits, float)[assessed], known[assessed].argmax(axis=1)
    names = [f"person {case.group}" if case.group else f"case {case.id}" for case in cases]
    codes = person_codes(names, len(cases))[assessed]
    margin, wrong = margins(calibration.task, z), choices(calibration.task, z) != column
    found = []
    for level in calibration.referral.levels:
        answered = (margin >= level.margin) & ~unlike[assessed]
        classes = {
            name: ClassReferral(
                promised(level.alpha, persons), persons, proportion((answered & wrong)[column == k], codes[column == k])
            )
            for k, (name, persons) in enumerate(zip(calibration.classes, calibration.class_persons, strict=True))
        }
        shares = proportion(answered, codes), proportion(wrong[answered], codes[answered])
        found.append(ReferralScores(level.alpha, *shares, classes))
    return tuple(found)
