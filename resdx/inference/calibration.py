"""What turns a trained model's logits into answers.

Calibrator, thresholds, conformal limits, and when to ask a person. Pure NumPy and SciPy, so that prediction needs no training
library; `calibrate` fits it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.tasks import Array, MultiLabel, Ordinal, Task, positive_class
from ..errors import DataError
from ..records import record

Floats = NDArray[np.float64]
Decision = tuple[str | tuple[str, ...] | None, tuple[str, ...]]  # (label, flags), see Calibration.decide

UNSURE = "unsure"  # two or more classes fit, or the one that fits is not the one the decision rule picks
NONE_FITS = "no-class-fits"  # every class is ruled out
UNLIKE = "unlike-training"  # the embedding lies farther out than 99 % of calib persons
NOT_JUDGED = "not-judged"  # a label with too few calib persons to be ruled in or out (several labels only)


@record
class OperatingPoint:
    """Call class `of` present where its probability is at least `threshold`.

    What that gave on calib, by persons.

    `goal` is "youden" (the default decision), "sensitivity 0.95", "specificity 0.90" and so on.
    """

    of: str
    goal: str
    threshold: float
    sensitivity: float
    specificity: float
    persons_with: int
    persons_without: int


@record
class Boxing:
    """What turns a detector's outputs into boxes.

    Anchors, as fractions of the picture, and for each class the score from which a box is shown.
    """

    anchors: tuple[tuple[float, float], ...]
    limits: tuple[float, ...]


@record
class Calibration:
    """All that turns the logits of a trained model into answers; stored as calibration.json.

    `scale` and `bias` have one entry a logit, `present` and `absent` one a class: the largest conformal score,
    1 - p for "present" and p for "absent", that cannot be ruled out at `level`; None where there are too few calib
    persons, so that the state is never ruled out. `absent` is empty unless a case may have several labels. `prior`
    is the share of each class among calib persons. `figures` are log loss, Brier score and calibration error on calib,
    before and after, each person judged by a calibrator that has not seen it.
    """

    version = 1
    task: Task
    classes: tuple[str, ...]
    method: str
    scale: tuple[float, ...]
    bias: tuple[float, ...]
    level: float
    present: tuple[float | None, ...]
    absent: tuple[float | None, ...]
    prior: tuple[float, ...]
    persons: int
    cases: int
    class_persons: tuple[int, ...]
    class_cases: tuple[int, ...]
    points: tuple[OperatingPoint, ...] = ()
    unlike_above: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    boxes: Boxing | None = None

    def probabilities(self, logits: ArrayLike) -> Array:
        """(N, outputs) logits -> (N, K) calibrated probabilities.

        Raises DataError where a logit is not finite.
        """
        checked = check_logits(self.task, self.classes, logits)
        return self.task.probabilities((checked * self.scale + self.bias).astype(np.float32))

    def threshold(self, of: str, goal: str = "youden") -> float:
        """Where class `of` is called present for `goal`.

        0.5 for the default goal where calib could not choose.

        Raises:
            DataError: there is no such operating point.
        """
        for point in self.points:
            if (point.of, point.goal) == (of, goal):
                return point.threshold
        if goal == "youden" and of in self.classes:
            return 0.5
        known = ", ".join(f"{point.of} at {point.goal}" for point in self.points) or "none"
        raise DataError(f"the calibration has no operating point for {of} at {goal}; there are: {known}")

    def choose(self, probabilities: ArrayLike) -> NDArray[np.bool_]:
        """(N, K) probabilities -> (N, K) which classes are called, with nobody referred.

        Several labels and two classes: the threshold of Youden. More classes: the most probable. Grades: the median.
        """
        p = _check_probabilities(self.classes, probabilities)
        if isinstance(self.task, MultiLabel):
            return p >= np.array([self.threshold(name) for name in self.classes])
        if isinstance(self.task, Ordinal):
            # the first grade whose cumulative probability reaches one half
            column = (np.cumsum(p, axis=1)[:, :-1] < 0.5).sum(axis=1)
        elif len(self.classes) == 2:
            name = positive_class(self.task, self.classes)
            k = self.classes.index(name)
            column = np.where(p[:, k] >= self.threshold(name), k, 1 - k)
        else:
            column = p.argmax(axis=1)
        return np.asarray(np.arange(len(self.classes)) == column[:, None])

    def sets(self, probabilities: ArrayLike) -> list[tuple[str, ...]]:
        """The classes of each case that cannot be ruled out at `level`; a set of grades has no gaps."""
        p = _check_probabilities(self.classes, probabilities)
        return [tuple(name for name, is_in in zip(self.classes, row, strict=True) if is_in) for row in self._may_be_present(p)]

    def decide(self, probabilities: ArrayLike, distance: ArrayLike | None = None) -> list[Decision]:
        """(label, flags) for each case; `distance` is that of OodScore, where there is one.

        One class or grade a case: the label is the only member of the conformal set, where `choose` picks it too; else
        None, for a person to judge, flagged "unsure" or "no-class-fits". A model that is right more often than `level` rules
        out every class of about 1 - level of the cases, those between its classes: a higher level refers fewer.

        Several labels: the label is the tuple of classes that are surely present. Each class for which neither or both
        of present and absent fit is flagged "unsure:NAME", one that calib could not settle "not-judged:NAME". The label
        is None where nothing is surely present and something is unsure: () says that every judged class is surely absent.

        A case farther from the training cases than `unlike_above` has the label None and the flag "unlike-training".
        """
        p = _check_probabilities(self.classes, probabilities)
        decisions = self._decide_labels(p) if isinstance(self.task, MultiLabel) else self._decide_one(p)
        if distance is None or self.unlike_above is None:
            return decisions
        like = np.asarray(distance, float) <= self.unlike_above  # False for NaN
        if like.shape != (len(p),):
            raise DataError(f"there are {len(p)} cases but distances of shape {like.shape}; give one distance a case")
        return [found if near else (None, (*found[1], UNLIKE)) for found, near in zip(decisions, like, strict=True)]

    def _may_be_present(self, p: Floats) -> NDArray[np.bool_]:
        inside = 1 - p <= _limits(self.present)  # what is as unlikely as the limit allows
        if isinstance(self.task, Ordinal):
            # A set of grades has no gaps: between the lowest and the highest that fit, all do.
            inside = np.maximum.accumulate(inside, axis=1) & np.maximum.accumulate(inside[:, ::-1], axis=1)[:, ::-1]
        return np.asarray(inside)

    def _decide_one(self, p: Floats) -> list[Decision]:
        decisions: list[Decision] = []
        for inside, chosen in zip(self._may_be_present(p), self.choose(p), strict=True):
            if inside.sum() == 1 and (inside == chosen).all():
                decisions.append((self.classes[int(chosen.argmax())], ()))
            else:
                decisions.append((None, (UNSURE if inside.any() else NONE_FITS,)))
        return decisions

    def _decide_labels(self, p: Floats) -> list[Decision]:
        judged = [None not in pair for pair in zip(self.present, self.absent, strict=True)]
        missing = tuple(f"{NOT_JUDGED}:{name}" for name, is_judged in zip(self.classes, judged, strict=True) if not is_judged)
        present, absent = self._may_be_present(p), p <= _limits(self.absent)
        decisions: list[Decision] = []
        for sure, unsure in zip(present & ~absent, (present == absent) & judged, strict=True):
            label = tuple(name for name, is_sure in zip(self.classes, sure, strict=True) if is_sure)  # each (N, K)
            flags = tuple(f"{UNSURE}:{name}" for name, is_unsure in zip(self.classes, unsure, strict=True) if is_unsure)
            decisions.append((label if label or not flags else None, flags + missing))
        return decisions


def check_logits(task: Task, classes: Sequence[str], logits: ArrayLike) -> Floats:
    z = np.asarray(logits, float)
    if z.ndim != 2 or z.shape[1] != task.outputs(classes):
        raise DataError(
            f"logits have shape {z.shape}, but {type(task).__name__} over {len(classes)} classes needs (N, "
            f"{task.outputs(classes)})"
        )
    if not (finite := np.isfinite(z).all(axis=1)).all():
        raise DataError(
            f"{(~finite).sum()} of {len(z)} cases have logits that are not finite, first row {finite.argmin()}; did "
            f"training diverge?"
        )
    return z


def _check_probabilities(classes: Sequence[str], probabilities: ArrayLike) -> Floats:
    p = np.asarray(probabilities, float)  # in float64, so that a limit is not rounded to float32 where it is compared
    if p.ndim != 2 or p.shape[1] != len(classes):
        raise DataError(f"probabilities have shape {p.shape}, but the calibration is over {len(classes)} classes")
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("a probability is not between 0 and 1; give decide() the output of probabilities()")
    return p


def _limits(limits: Sequence[float | None]) -> Floats:
    return np.array([np.inf if limit is None else limit for limit in limits])  # never ruled out without a limit
