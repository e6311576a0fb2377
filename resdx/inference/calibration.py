"""What turns a trained model's logits into answers.

Calibrator, thresholds, conformal limits, and when to ask a person. Pure NumPy and SciPy, so that prediction needs no training
library; `calibrate` fits it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.tasks import Array, MultiLabel, Ordinal, Task, positive_class
from ..errors import DataError
from ..records import record
from ..runs.settings import Refer
from .referral import Referral, choices, margins, promises

Floats = NDArray[np.float64]
Decision = tuple[str | tuple[str, ...] | None, tuple[str, ...]]  # (label, flags), see Calibration.decide

ENOUGH = 100  # persons on the side of its goal that the threshold of an operating point rests on
UNSURE = "unsure"  # the margin is too small to answer; without a referral rule, by the conformal set
NONE_FITS = "no-class-fits"  # every class is ruled out of the conformal set; only without a referral rule
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
    before and after, each person judged by a calibrator that has not seen it. `referral` decides which cases of one class or
    grade are answered; None in calibrations that were made before there was such a rule, which answer by their sets.
    `refers` is False where every case is answered.
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
    referral: Referral | None = None
    refers: bool = True

    def referring(self, alpha: float | None = None, refer: Refer | None = None) -> Calibration:
        """The calibration with another level of referral, or with none: "none" answers every case, flags stay.

        Raises:
            DataError: the calibration holds no such level, or no level at all.
        """
        found = self if refer is None else replace(self, refers=refer == "unsure")
        if alpha is None:
            return found
        if found.referral is None:
            why = "cases may have several labels" if isinstance(self.task, MultiLabel) else "it was made before there was one"
            raise DataError(f"the calibration has no level of wrong answers, since {why}; leave out alpha, or calibrate again")
        return replace(found, referral=replace(found.referral, alpha=found.referral.at(alpha).alpha))

    def promises(self) -> list[str]:
        """What is promised of wrong answers, a sentence a class.

        Nothing where every case is answered or there is no rule.
        """
        if self.referral is None or not self.refers:
            return []
        return promises(self.classes, self.class_persons, self.referral.alpha)

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

    def thresholds(self) -> dict[tuple[str, str], float]:
        """Thresholds by class and goal, of those that rest on enough persons.

        With the class for a sensitivity, without it for a specificity.
        """
        sides = {"sensitivity": "persons_with", "specificity": "persons_without"}
        enough = [one for one in self.points if getattr(one, sides.get(one.goal.split()[0], ""), 0) >= ENOUGH]
        return {(one.of, one.goal): one.threshold for one in enough}

    def choose(self, probabilities: ArrayLike, *, logits: ArrayLike | None = None) -> NDArray[np.bool_]:
        """Probabilities (N, K) and logits (N, outputs) -> which classes are called (N, K).

        Nobody is referred. One class: the most probable, grades: the median, both of the logits. Several labels: the
        threshold of Youden. Without a referral rule logits are not needed: two classes by the threshold of Youden, more by
        their probabilities.

        Raises:
            DataError: there is a referral rule, and no logits are given.
        """
        p = _check_probabilities(self.classes, probabilities)
        if isinstance(self.task, MultiLabel):
            return p >= np.array([self.threshold(name) for name in self.classes])
        if self.referral is not None:
            column = choices(self.task, self._logits(logits, p))
        elif isinstance(self.task, Ordinal):
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

    def decide(
        self, probabilities: ArrayLike, distance: ArrayLike | None = None, *, logits: ArrayLike | None = None
    ) -> list[Decision]:
        """(label, flags) for each case.

        `logits` are those of the network, `distance` that of OodScore, where there is one.

        One class or grade a case: the label is what `choose` picks where the margin of the logits reaches the limit of
        `referral`; else None, for a person to judge, flagged "unsure". Without a referral rule the label is the only member
        of the conformal set, where `choose` picks it too; else it is None, flagged "unsure" or "no-class-fits".

        Several labels: the label is the tuple of classes that are surely present. Each class for which neither or both
        of present and absent fit is flagged "unsure:NAME", one that calib could not settle "not-judged:NAME". The label
        is None where nothing is surely present and something is unsure: () says that every judged class is surely absent.

        A case farther from the training cases than `unlike_above` has the label None and the flag "unlike-training".

        Where `refers` is False each label is what `choose` picks; the flags are the same.

        Raises:
            DataError: there is a referral rule, and no logits are given; or the arrays do not fit each other.
        """
        p = _check_probabilities(self.classes, probabilities)
        decisions = self._decide_labels(p) if isinstance(self.task, MultiLabel) else self._decide_one(p, logits)
        if distance is not None and self.unlike_above is not None:
            like = np.asarray(distance, float) <= self.unlike_above  # False for NaN
            if like.shape != (len(p),):
                raise DataError(f"there are {len(p)} cases but distances of shape {like.shape}; give one distance a case")
            decisions = [one if near else (None, (*one[1], UNLIKE)) for one, near in zip(decisions, like, strict=True)]
        if self.refers:
            return decisions
        called = self._named(self.choose(p, logits=logits))
        return [(label, flags) for label, (_, flags) in zip(called, decisions, strict=True)]

    def _logits(self, logits: ArrayLike | None, p: Floats) -> Floats:
        if logits is None or len(found := check_logits(self.task, self.classes, logits)) != len(p):
            raise DataError(f"the referral rule needs the logits of the network, one row for each of {len(p)} cases")
        return found

    def _named(self, chosen: NDArray[np.bool_]) -> list[str | tuple[str, ...]]:
        names = [tuple(name for name, is_in in zip(self.classes, row, strict=True) if is_in) for row in chosen]
        return list(names) if isinstance(self.task, MultiLabel) else [one[0] for one in names]

    def _may_be_present(self, p: Floats) -> NDArray[np.bool_]:
        inside = 1 - p <= _limits(self.present)  # what is as unlikely as the limit allows
        if isinstance(self.task, Ordinal):
            # A set of grades has no gaps: between the lowest and the highest that fit, all do.
            inside = np.maximum.accumulate(inside, axis=1) & np.maximum.accumulate(inside[:, ::-1], axis=1)[:, ::-1]
        return np.asarray(inside)

    def _decide_one(self, p: Floats, logits: ArrayLike | None) -> list[Decision]:
        if self.referral is not None:
            sure = margins(self.task, self._logits(logits, p)) >= self.referral.margin
            called = self._named(self.choose(p, logits=logits))
            return [(label, ()) if is_sure else (None, (UNSURE,)) for label, is_sure in zip(called, sure, strict=True)]
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
