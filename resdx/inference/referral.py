"""Which cases are answered and which are referred to a person, by the margin of the raw outputs.

The answer is the most probable class (of grades: the median), of the network's own logits. They were fixed before the
calibration set was looked at; calibrated probabilities and thresholds were fitted on it, and a promise that rests on them
would not hold. A case is answered where its margin reaches a limit, which `evaluation.referral` fits so that few cases of
any class are answered wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..data.tasks import Ordinal, Task
from ..errors import DataError
from ..records import FractionBetween, NonNegative, record
from ..runs.settings import ALPHA

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.10, 0.20)  # that every calibration holds
SAME = 1e-9  # two levels that differ by less are one


@record
class AnswerLevel:
    """Answer the cases whose margin is at least `margin`.

    At most `alpha` of the cases of a class are then answered wrongly.
    """

    alpha: FractionBetween
    margin: NonNegative


@record
class Referral:
    """The limits of the margin for several levels, and the level that is in force."""

    levels: tuple[AnswerLevel, ...]
    alpha: FractionBetween = ALPHA

    @property
    def margin(self) -> float:
        """The least margin of a case that is answered."""
        return self.at(self.alpha).margin

    def at(self, alpha: float) -> AnswerLevel:
        """The limit of a level. Raises DataError where the calibration holds no such level."""
        for level in self.levels:
            if abs(level.alpha - alpha) < SAME:
                return level
        held = ", ".join(f"{level.alpha:g}" for level in self.levels)
        raise DataError(f"the calibration holds the levels {held}, not {alpha:g}; use one of them, or `resdx calibrate --alpha`")


def promised(alpha: float, persons: int) -> float | None:
    """The share of the cases of a class of so many calibration persons that is answered wrongly at most.

    Never below 1 / (persons + 1), whatever `alpha`. None without any person: nothing can be promised.
    """
    return max(alpha, 1 / (persons + 1)) if persons else None


def promises(classes: Sequence[str], class_persons: Sequence[int], alpha: float) -> list[str]:
    """A sentence a class: what is promised, and how many persons that rests on."""
    said = []
    for name, persons in zip(classes, class_persons, strict=True):
        bound = promised(alpha, persons)
        said.append(
            f"no promise for class {name}: no person of it was there to calibrate on"
            if bound is None
            else f"of the cases of class {name} at most {100 * bound:.3g} % are answered wrongly ({persons} "
            f"{'person' if persons == 1 else 'persons'})"
        )
    return said


def choices(task: Task, logits: Floats) -> NDArray[np.intp]:
    """Logits (N, outputs) -> the class (N,) of each case: the most probable one, of grades the median."""
    if isinstance(task, Ordinal):
        return np.asarray((_above(logits) > 0).sum(axis=1))
    return np.asarray(logits.argmax(axis=1))


def margins(task: Task, logits: Floats) -> Floats:
    """Logits (N, outputs) -> how far the chosen class is ahead (N,), from 0 up.

    log((1 + c) / (1 - c)), where c is the difference of the two highest probabilities: the same order, but near 1 nothing is
    rounded off. For two classes it is the difference of their logits. Of grades c is twice the least distance from one half of
    any "is it above grade k?", so that the margin is the least size of those logits.
    """
    if isinstance(task, Ordinal):
        return np.asarray(np.abs(_above(logits)).min(axis=1))
    ranked = -np.sort(-logits, axis=1)
    ranked = ranked - ranked[:, :1]
    rest = logsumexp(ranked[:, 1:], axis=1)  # log of what the others sum to, in units of the highest
    unsure = np.logaddexp(rest, ranked[:, 1])  # of 1 - c, but for the common sum
    return np.asarray(np.maximum(np.log(2 + np.exp(rest) - np.exp(ranked[:, 1])) - unsure, 0.0))


def _above(logits: Floats) -> Floats:
    return np.minimum.accumulate(logits, axis=1)  # a grade above k + 1 is above k
