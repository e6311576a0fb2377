"""Figures of scores that any library made.

They are the metrics and intervals of a run's scorecard, from arrays alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from ..inference.calibration import ENOUGH
from ..metrics import classification as metrics
from ..metrics.classification import Array, Metric, Values
from ..metrics.estimate import Estimate
from ..metrics.intervals import estimates, person_codes
from ..metrics.recalibration import recalibration
from ..runs.level_scores import ClassScores, Figures, Support
from .scoring import CHOSEN, DECIDED, NAMED, PROMISED, RANKED, not_chosen

HERE = "no interval: its threshold was chosen on these very cases, so the figure is too kind"
OF_PROBABILITIES = ("brier", "ece")  # figures that scores which are no probabilities have not
SUM = 1e-3  # how far the probabilities of a case may lie from 1 in all


@dataclass(frozen=True)
class Evaluation:
    """Figures of N cases with 95 % intervals over groups.

    `overall` are those over all classes (accuracy, macro_auroc, ...), `classes` those of each class against the rest: of
    two classes
    the second alone. `names` are all classes, in the order of the columns.
    """

    cases: int
    groups: int
    names: tuple[str, ...]
    overall: Figures
    classes: Mapping[str, ClassScores]


@dataclass(frozen=True)
class _Asked:
    """Checked arrays: truth (N,) codes or (N, K) of 1, 0 and NaN.

    Scores and decisions (N, K) or (N,) of the second of two classes.
    """

    names: tuple[str, ...]
    y_true: Array | NDArray[np.int64]
    y_score: Array
    decided: NDArray[np.int64]
    codes: NDArray[np.intp]
    weight: Array | None
    probabilities: bool
    replicates: int
    seed: int

    def estimates(self, wanted: Mapping[str, Metric], truth: Values, answer: Values, known: Values) -> dict[str, Estimate]:
        """Metrics of the cases that are `known` (N,), which count by their sample weight."""
        weight = None if self.weight is None else self.weight[known]
        asked = wanted if weight is None else {name: partial(_weighted, one, weight) for name, one in wanted.items()}
        kept = {name: one for name, one in asked.items() if self.probabilities or name not in OF_PROBABILITIES}
        return estimates(kept, truth, answer, self.codes[known], replicates=self.replicates, seed=self.seed)


def evaluate(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    threshold: float | Sequence[float] = 0.5,
    probabilities: bool = True,
    replicates: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Figures and intervals for scores of another library, as a run computes its own.

    Lists, NumPy arrays, pandas Series and torch tensors are taken.

    Args:
        y_true: (N,) classes, by name or as 0 ... K - 1; or (N, K) of 1, 0 and NaN (not assessed) where a case may have
            several labels.
        y_score: (N,) score of the second of two classes, or (N, K) one column a class; probabilities in [0, 1] unless
            `probabilities`
            is False. Rows of (N, K) sum to 1 where a case has one class.
        groups: (N,) the person of each case, whose cases are resampled together; by default each case is a person.
        sample_weight: (N,) how much each case counts, 0 or above; all intervals are then those of a bootstrap or t.
        classes: the K names in the order of the columns; by default the sorted values of `y_true`.
        threshold: score from which the second of two classes, or each label, is called; one number, or one a label. Of more than
            two classes the most probable is called.
        probabilities: False for scores of any range: no Brier score, calibration error, slope or intercept.
        replicates: bootstrap replicates, 1 or more.
        seed: of the bootstrap.

    Returns:
        An Evaluation: Estimates by name over all classes and for each class, such as `found.classes["ill"].auroc`. Each
            class also has
            calibration_intercept and calibration_slope (0 and 1 are perfect), unless cases are weighted.

    Raises:
        DataError: shapes or lengths that do not fit, NaN or infinite values, one class only, unknown classes, or scores
            that are no
            probabilities.
    """
    asked = _checked(y_true, y_score, groups, sample_weight, classes, threshold, probabilities, replicates, seed)
    several = asked.y_true.ndim == 2
    shown = asked.names if several or len(asked.names) > 2 else asked.names[1:]
    return Evaluation(
        cases=len(asked.y_true),
        groups=len(np.unique(asked.codes)),
        names=asked.names,
        overall=_overall(asked),
        classes={name: _one_class(asked, asked.names.index(name)) for name in shown},
    )


def _weighted(metric: Metric, weight: Array, truth: Values, answer: Values, weights: Values | None = None, /) -> Array:
    """A metric of cases that count by `weight` (N,), on top of how often a replicate draws them."""
    return metric(truth, answer, weight if weights is None else weights * weight)


def _overall(asked: _Asked) -> dict[str, Estimate]:
    every = np.ones(len(asked.y_true), bool)
    if asked.y_true.ndim == 2:
        ranked = asked.estimates({"macro_auroc": metrics.macro_auroc}, asked.y_true, asked.y_score, every)
        return ranked | asked.estimates({"macro_f1": metrics.label_f1}, asked.y_true, asked.decided, every)
    # The most frequent class of weighted cases is another question.
    named = {name: one for name, one in NAMED.items() if asked.weight is None or name != "majority_rate"}
    found = asked.estimates(named, asked.y_true, asked.decided, every)
    of_scores: Mapping[str, Metric] = {**PROMISED, "macro_auroc": metrics.auroc} if len(asked.names) == 2 else PROMISED
    return found | asked.estimates(of_scores, asked.y_true, asked.y_score, every)


def _one_class(asked: _Asked, k: int) -> ClassScores:
    """Support, prevalence and every figure of one class against the rest."""
    if asked.y_true.ndim == 2:
        truth, score, decided = asked.y_true[:, k], asked.y_score[:, k], asked.decided[:, k]
    elif len(asked.names) == 2:
        truth, score, decided = asked.y_true, asked.y_score, asked.decided
    else:
        truth, score, decided = (asked.y_true == k).astype(float), asked.y_score[:, k], (asked.decided == k).astype(int)
    known = ~np.isnan(truth)
    y, p, called, codes = truth[known].astype(int), score[known], decided[known], asked.codes[known]
    figures = asked.estimates(RANKED, y, p, known) | _at_goals(asked, y, p, known)
    figures |= asked.estimates({**DECIDED, "f1": metrics.f1}, y, called, known)
    if asked.probabilities and asked.weight is None:
        figures |= {f"calibration_{name}": one for name, one in recalibration(y, p, codes).items()}
    positive, negative = (Support(int(side.sum()), len(np.unique(codes[side]))) for side in (y == 1, y == 0))
    prevalence = asked.estimates({"prevalence": metrics.ppv}, y, np.ones(len(y), int), known)["prevalence"]
    return ClassScores(positive, negative, prevalence, figures)


def _at_goals(asked: _Asked, y: Values, p: Values, known: Values) -> dict[str, Estimate]:
    """Figures at a goal, whose threshold is chosen on these very cases.

    So they have no interval, and take enough persons on the side of the goal.
    """
    out = {}
    codes = asked.codes[known]
    for key, (goal, _) in CHOSEN.items():
        name, wanted = goal.split()
        persons = len(np.unique(codes[y == (name == "sensitivity")]))
        metric = metrics.specificity_at_sensitivity if name == "sensitivity" else metrics.sensitivity_at_specificity
        asked_for = {key: partial(metric, wanted=float(wanted))}
        found = asked.estimates(asked_for, y, p, known)[key] if persons >= ENOUGH else not_chosen(len(np.unique(codes)))
        out[key] = found if found.value is None else replace(found, low=None, high=None, note=HERE)
    return out


def _checked(
    y_true: Any,
    y_score: Any,
    groups: Any,
    sample_weight: Any,
    classes: Sequence[Any] | None,
    threshold: float | Sequence[float],
    probabilities: bool,
    replicates: int,
    seed: int,
) -> _Asked:
    truth, score = _array(y_true), _numbers("y_score", y_score)
    if truth.ndim not in (1, 2) or score.ndim not in (1, 2) or not len(truth):
        raise DataError(f"y_true of shape {truth.shape} and y_score of shape {score.shape} must be (N,) or (N, K), N at least 1")
    if len(truth) != len(score):
        raise DataError(f"there are {len(truth)} cases in y_true and {len(score)} in y_score; give one row a case in both")
    if truth.ndim == 2 and truth.shape != score.shape:
        raise DataError(f"y_true has shape {truth.shape} and y_score {score.shape}; several labels need both as (N, K)")
    if probabilities and (score.min() < 0 or score.max() > 1):
        raise DataError(
            f"y_score goes from {score.min():g} to {score.max():g}, and calibration needs probabilities in [0, "
            f"1]; give these, or "
            "probabilities=False"
        )
    if score.ndim == 2 and score.shape[1] < 2 and truth.ndim == 1:
        raise DataError(f"y_score has shape {score.shape}; give (N,) for two classes, or a column for each class")
    names, known = _labels(truth, score, classes) if truth.ndim == 2 else _codes(truth, score, classes)
    if truth.ndim == 1 and score.ndim == 2:
        if probabilities and (away := np.abs(score.sum(1) - 1)).max() > SUM:
            raise DataError(
                f"row {away.argmax()} of y_score sums to {score[away.argmax()].sum():g}, not to 1; give probabilities"
            )
        score = score[:, 1] if len(names) == 2 else score
    decided = score.argmax(1) if truth.ndim == 1 and score.ndim == 2 else (score >= _threshold(threshold, score)).astype(int)
    codes = person_codes(None if groups is None else _persons(_array(groups)), len(truth))
    weight = None if sample_weight is None else _weights(sample_weight, len(truth))
    return _Asked(names, known, score, decided.astype(np.int64), codes, weight, probabilities, replicates, seed)


def _array(values: Any) -> NDArray[Any]:
    """Any array-like as an array; a torch tensor may lie on a device and know its gradient."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _numbers(what: str, values: Any) -> Array:
    try:
        found = _array(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} holds what is no number ({error}); give numbers") from error
    if not np.isfinite(found).all():
        raise DataError(f"{what} holds {int((~np.isfinite(found)).sum())} values that are NaN or infinite; leave these cases out")
    return found


def _weights(values: Any, n: int) -> Array:
    weight = _numbers("sample_weight", values)
    if weight.shape != (n,) or weight.min() < 0 or not weight.sum() > 0:
        raise DataError(f"sample_weight of shape {weight.shape} must be ({n},), 0 or above and not 0 throughout")
    return weight


def _persons(groups: NDArray[Any]) -> list[str]:
    """Each case's person; a case without one ("" or None) is a person of its own."""
    return [f"case {i}" if one is None or one == "" else f"person {one}" for i, one in enumerate(groups.tolist())]


def _threshold(threshold: float | Sequence[float], score: Array) -> Array:
    found = _numbers("threshold", threshold)
    if found.ndim > 1 or (found.ndim == 1 and found.shape != score.shape[1:]):
        raise DataError(f"threshold has shape {found.shape}; give one number, or one for each label")
    return found


def _labels(truth: NDArray[Any], score: Array, classes: Sequence[Any] | None) -> tuple[tuple[str, ...], Array]:
    """Names and (N, K) of 1, 0 and NaN where a case may have several labels."""
    names = tuple(map(str, range(score.shape[1]) if classes is None else classes))
    if len(names) != score.shape[1]:
        raise DataError(f"there are {len(names)} classes and {score.shape[1]} columns of y_score; name each column once")
    try:
        known = truth.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"y_true of several labels holds what is no number ({error}); give 1, 0 or NaN") from error
    if not np.isin(known[~np.isnan(known)], (0, 1)).all():
        raise DataError("y_true of several labels holds other values than 1, 0 and NaN (not assessed); give these")
    if not any({0.0, 1.0} <= set(column) for column in known.T.tolist()):
        raise DataError("no column of y_true has cases both with and without its label; add cases")
    return names, known


def _codes(truth: NDArray[Any], score: Array, classes: Sequence[Any] | None) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names and (N,) codes 0 ... K - 1 where a case has one class."""
    if truth.dtype.kind == "f" or (truth.dtype.kind == "O" and any(one is None or one != one for one in truth.tolist())):
        values = _numbers("y_true", truth)
        truth = values.astype(int) if (values == np.round(values)).all() else values
    count = 2 if score.ndim == 1 else score.shape[1]
    found = np.unique(truth.astype(int) if truth.dtype.kind == "b" else truth).tolist()
    if len(found) < 2:
        raise DataError(f"y_true holds one class only ({found[0]}); ranking needs cases with it and without it")
    numbered = truth.dtype.kind in "bui" and found[0] >= 0 and found[-1] < count
    if classes is None:
        classes = range(count) if numbered else found
    names = tuple(map(str, classes))
    if len(names) != count:
        raise DataError(
            f"there are {len(names)} classes ({', '.join(names[:5])}) and y_score tells {count} apart; name each column once"
        )
    place = {name: k for k, name in enumerate(names)}
    if {str(one) for one in found} <= place.keys():
        each = (truth.astype(int) if truth.dtype.kind == "b" else truth).tolist()
        return names, np.array([place[str(one)] for one in each], np.int64)
    if numbered:
        return names, truth.astype(np.int64)
    strange = sorted({str(one) for one in found} - place.keys())
    raise DataError(
        f"y_true holds {', '.join(strange[:5])}, which is not among the classes {', '.join(names)}; name them all in classes"
    )
