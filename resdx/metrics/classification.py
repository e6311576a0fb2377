"""How good a model is, as plain numbers: every metric is `metric(truth, answer, weights=None)`.

`truth` is (N,) whole numbers: 0 or 1 for a question with two answers, the index of the class otherwise. `answer` is what
the model said: a score or probability (N,), probabilities (N, K), or the decided class (N,). `weights` (N,) count each case that
often; (D, N) gives D values at once, with one sort, which makes a bootstrap of D draws one call. A metric without
meaning (no case of a class) is NaN. Intervals are in intervals.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

Array = NDArray[np.float64]
Values = NDArray[Any]

_Pair = Callable[..., tuple[Array, Array]]

EPSILON = 1e-9  # a rate this close to a wanted one has reached it, in spite of rounding
BINS = 15  # equal-mass bins of the calibration error


class Metric(Protocol):
    """A function of truth (N,), answer (N,) or (N, K), and weights (N,) or (D, N); gives () or (D,)."""

    def __call__(self, truth: Values, answer: Values, weights: Values | None = None, /) -> Array: ...


def auroc(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Area under the ROC curve: the chance that a positive case scores above a negative one, ties counting half."""
    above_true, above_false = cumulative(truth, answer, weights)
    area = np.einsum("...u,...u->...", np.diff(above_false), above_true[..., 1:] + above_true[..., :-1]) / 2
    return _ratio(area, above_true[..., -1] * above_false[..., -1])


def average_precision(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Step-wise area under the precision-recall curve; its chance level is the prevalence."""
    above_true, above_false = cumulative(truth, answer, weights)
    called = above_true[..., 1:] + above_false[..., 1:]
    precision = np.divide(above_true[..., 1:], called, out=np.zeros_like(called), where=called > 0)
    return _ratio(np.einsum("...u,...u->...", np.diff(above_true), precision), above_true[..., -1])


def _keeping_the_last(work: _Pair) -> _Pair:
    """`work`, giving its last answer again to the very same arrays of draws: a bootstrap asks many metrics of each chunk."""
    last: list[tuple[tuple[Values, ...], tuple[Array, Array]]] = []

    @wraps(work)
    def ask(truth: Values, score: Values, weights: Values | None = None, /) -> tuple[Array, Array]:
        if weights is None or np.ndim(weights) != 2:
            return work(truth, score, weights)
        asked = (truth, score, weights)
        for kept, found in last[:]:
            if all(one is other for one, other in zip(kept, asked, strict=True)):
                return found
        found = work(*asked)
        for one in found:
            one.flags.writeable = False
        last[:] = [(asked, found)]
        return found

    return ask


@_keeping_the_last
def cumulative(truth: Values, score: Values, weights: Values | None = None, /) -> tuple[Array, Array]:
    """Weight of positives and of negatives at or above each distinct score, highest first, from 0: two (..., U + 1)."""
    score = np.asarray(score, np.float64)
    if not len(score):
        nothing = np.zeros((*np.shape(_weights(weights, truth))[:-1], 1))
        return nothing, nothing
    if np.isnan(score).any():
        raise DataError(f"{int(np.isnan(score).sum())} scores are not a number; repeat the prediction of these cases")
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # the last place of each tie
    weight, positive = np.take(_weights(weights, truth), order, axis=-1), np.asarray(truth)[order] == 1
    out = []
    for mask in (positive, ~positive):
        total = np.zeros((*weight.shape[:-1], len(score) + 1))
        np.multiply(weight, mask, out=total[..., 1:])
        np.cumsum(total[..., 1:], axis=-1, out=total[..., 1:])
        out.append(total if len(last) == len(score) else np.take(total, np.append(0, last + 1), axis=-1))
    return out[0], out[1]


def sensitivity(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Share of positive cases that were decided positive."""
    return _share(answer == 1, truth == 1, weights)


def specificity(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Share of negative cases that were decided negative."""
    return _share(answer != 1, truth != 1, weights)


def ppv(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Share of cases decided positive that are (at the prevalence of these cases)."""
    return _share(truth == 1, answer == 1, weights)


def npv(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Share of cases decided negative that are (at the prevalence of these cases)."""
    return _share(truth != 1, answer != 1, weights)


def accuracy(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Share of cases decided rightly."""
    return _share(truth == answer, np.ones(len(truth), bool), weights)


def majority_rate(truth: Values, answer: Values | None = None, weights: Values | None = None) -> Array:
    """The accuracy of always naming the most frequent class, whatever the case."""
    return _share(truth == most_frequent(truth), np.ones(len(truth), bool), weights)


def most_frequent(truth: Values) -> Any:
    """The class with most cases; the first of equals."""
    names, counts = np.unique(truth, return_counts=True)
    return names[counts.argmax()]


def f1(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Harmonic mean of sensitivity and positive predictive value."""
    weight, yes, said = _weights(weights, truth), truth == 1, answer == 1
    return _ratio(2 * (weight @ (yes & said)), weight @ (yes.astype(float) + said))


def confusion(truth: Values, answer: Values, classes: int, weights: Values | None = None) -> Array:
    """Weight of each (true class, decided class): (..., K, K)."""
    cell = np.eye(classes * classes)[np.asarray(truth, int) * classes + np.asarray(answer, int)]
    weight = _weights(weights, truth)
    return np.asarray((weight @ cell).reshape(*weight.shape[:-1], classes, classes))


def balanced_accuracy(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Mean of the sensitivities of the classes that occur."""
    return np.asarray(np.mean([_share(answer == k, truth == k, weights) for k in np.unique(truth)], axis=0))


def macro_f1(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Mean F1 over the classes that occur or were named; a class named but never there scores 0."""
    each = [f1(truth == k, answer == k, weights) for k in np.unique(truth)]
    named_only = len(np.setdiff1d(answer, truth))
    return np.asarray(np.sum(each, axis=0) / (len(each) + named_only))


def mcc(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Matthews correlation of truth and decision for any number of classes (Gorodkin 2004); 0 when one is constant."""
    table = _table(truth, answer, weights)
    true, said, total = table.sum(-1), table.sum(-2), table.sum((-1, -2))
    shared = np.einsum("...kk->...", table) * total - (true * said).sum(-1)
    spread = np.sqrt((total**2 - (true**2).sum(-1)) * (total**2 - (said**2).sum(-1)))
    return np.asarray(np.divide(shared, spread, out=np.zeros_like(shared), where=spread > 0))


def quadratic_kappa(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Cohen's kappa with quadratic weights: agreement of grades beyond chance, a miss by two costing four times one."""
    table = _table(truth, answer, weights)
    grade = np.arange(table.shape[-1])
    cost = (grade[:, None] - grade) ** 2.0
    chance = table.sum(-1)[..., :, None] * table.sum(-2)[..., None, :]
    disagreement = (cost * table).sum((-1, -2)) * table.sum((-1, -2))
    return 1 - _ratio(disagreement, (cost * chance).sum((-1, -2)))


def brier(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Mean squared error of probabilities: of class 1 (N,), or half the sum over classes (N, K), which agree for K = 2."""
    if answer.ndim == 1:
        error = (answer - (np.asarray(truth) == 1)) ** 2.0
    else:
        error = ((answer - np.eye(answer.shape[1])[np.asarray(truth, int)]) ** 2.0).sum(1) / 2
    weight = _weights(weights, truth)
    return _ratio(weight @ error, weight.sum(-1))


def ece(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Expected calibration error over equal-mass bins: mean gap between what was promised and what came true.

    Of the probability of class 1 for (N,), of the top class for (N, K). It is above 0 even for a perfect model, the more so the
    fewer cases there are.
    """
    promised, happened, place = calibration_bins(truth, answer)
    weight = _weights(weights, truth)
    gap = weight @ (np.eye(place.max() + 1)[place] * (happened - promised)[:, None])  # (..., bins)
    return _ratio(np.abs(gap).sum(-1), weight.sum(-1))


def calibration_bins(truth: Values, answer: Values, bins: int = BINS) -> tuple[Array, Array, NDArray[np.intp]]:
    """For each case the probability promised, whether it came true (0 or 1), and its bin; equal probabilities share a bin."""
    promised = np.asarray(answer if answer.ndim == 1 else answer.max(1), np.float64)
    happened = truth == 1 if answer.ndim == 1 else answer.argmax(1) == truth
    edges = np.unique(np.quantile(promised, np.arange(1, bins) / bins, method="inverted_cdf"))
    place = np.unique(np.searchsorted(edges, promised, side="left"), return_inverse=True)[1]
    return promised, np.asarray(happened, np.float64), place


def sensitivity_at_specificity(truth: Values, answer: Values, weights: Values | None = None, *, wanted: float = 0.9) -> Array:
    """Highest sensitivity of any threshold with at least the `wanted` specificity; the threshold is chosen on these cases."""
    true, false = _rates(truth, answer, weights)
    last = np.count_nonzero(false <= 1 - wanted + EPSILON, axis=-1) - 1  # both rates only rise
    return _keep_missing(_at(true, last), true[..., -1] + false[..., -1])


def specificity_at_sensitivity(truth: Values, answer: Values, weights: Values | None = None, *, wanted: float = 0.9) -> Array:
    """Highest specificity of any threshold with at least the `wanted` sensitivity; the threshold is chosen on these cases."""
    true, false = _rates(truth, answer, weights)
    first = true.shape[-1] - np.count_nonzero(true >= wanted - EPSILON, axis=-1)
    return _keep_missing(1 - _at(false, np.minimum(first, true.shape[-1] - 1)), true[..., -1] + false[..., -1])


def work_saved(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Share of the negative cases that could be cleared unseen while 99 % of the positive ones are still caught."""
    return specificity_at_sensitivity(truth, answer, weights, wanted=0.99)


def net_benefit(truth: Values, answer: Values, weights: Values | None = None, *, thresholds: Values) -> Array:
    """Decision curve (Vickers and Elkin 2006): true positives a case, less false ones at the odds of each threshold: (..., T)."""
    true, false = cumulative(truth, answer, weights)
    distinct = np.unique(np.asarray(answer, np.float64))
    called = len(distinct) - np.searchsorted(distinct, thresholds)  # how many of them are at or above each threshold
    gain = true[..., called] - false[..., called] * (thresholds / (1 - thresholds))
    return _ratio(gain, true[..., -1:] + false[..., -1:])


def roc_curve(truth: Values, answer: Values, weights: Values | None = None, *, grid: Values) -> Array:
    """Highest sensitivity with a false-positive rate of at most each of `grid`: (..., P)."""
    true, false = _rates(truth, answer, weights)
    flat_true, flat_false = true.reshape(-1, true.shape[-1]), false.reshape(-1, false.shape[-1])
    rows = [t[np.searchsorted(f, grid + EPSILON, side="right") - 1] for t, f in zip(flat_true, flat_false, strict=True)]
    return np.asarray(rows).reshape(*true.shape[:-1], len(grid))


def precision_curve(truth: Values, answer: Values, weights: Values | None = None, *, grid: Values) -> Array:
    """Highest precision with a sensitivity of at least each of `grid`: (..., P)."""
    true, false = cumulative(truth, answer, weights)
    called = true + false
    precision = np.divide(true, called, out=np.zeros_like(called), where=called > 0)
    best = np.maximum.accumulate(precision[..., ::-1], -1)[..., ::-1]
    recall = _rates(truth, answer, weights)[0]
    flat_recall, flat_best = recall.reshape(-1, recall.shape[-1]), best.reshape(-1, best.shape[-1])
    last = recall.shape[-1] - 1
    rows = [
        b[np.minimum(np.searchsorted(r, grid - EPSILON, side="left"), last)] for r, b in zip(flat_recall, flat_best, strict=True)
    ]
    return np.asarray(rows).reshape(*recall.shape[:-1], len(grid))


def macro_auroc(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Mean AUROC of each class against the rest; `truth` (N,) classes, or (N, K) of 1, 0 and NaN (not assessed)."""
    return _over_classes(auroc, truth, answer, weights)


def label_f1(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Mean F1 over labels that are decided each on its own: truth (N, K) of 1, 0 and NaN (not assessed), decided (N, K)."""
    return _over_classes(f1, truth, answer, weights)


def _over_classes(metric: Metric, truth: Values, answer: Values, weights: Values | None) -> Array:
    """Mean of a metric over classes, without those that lack positive or negative cases."""
    truth = np.asarray(truth)
    columns = truth if truth.ndim == 2 else (truth[:, None] == np.arange(answer.shape[1])).astype(float)
    each = []
    for column, one in zip(columns.T, answer.T, strict=True):
        known = ~np.isnan(column)
        if len(np.unique(column[known])) == 2:
            some = weights if weights is None or known.all() else np.compress(known, weights, axis=-1)
            each.append(metric(column[known], one[known], some))
    return np.asarray(np.mean(each, axis=0) if each else np.nan)


def _table(truth: Values, answer: Values, weights: Values | None) -> Array:
    return confusion(truth, answer, int(max(np.max(truth), np.max(answer))) + 1, weights)


def _at(values: Array, place: NDArray[np.intp]) -> Array:
    """One value of each row (..., U)."""
    return np.asarray(np.take_along_axis(values, np.asarray(place)[..., None], axis=-1)[..., 0])


@_keeping_the_last
def _rates(truth: Values, score: Values, weights: Values | None = None, /) -> tuple[Array, Array]:
    true, false = cumulative(truth, score, weights)
    return _ratio(true, true[..., -1:]), _ratio(false, false[..., -1:])


def _keep_missing(values: Array, reason: Array) -> Array:
    return np.asarray(np.where(np.isnan(reason), np.nan, values))


def _share(success: Values, among: Values, weights: Values | None) -> Array:
    weight = _weights(weights, among)
    return _ratio(weight @ (success & among), weight @ among)


def _weights(weights: Values | None, like: Values) -> Array:
    if weights is None:
        return np.ones(len(like))
    if np.shape(weights)[-1] != len(like):
        raise DataError(f"there are {len(like)} cases but weights for {np.shape(weights)[-1]}; give one weight a case")
    return np.asarray(weights, np.float64)


def _ratio(top: Values, bottom: Values) -> Array:
    top, bottom = np.broadcast_arrays(np.asarray(top, np.float64), bottom)
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0))
