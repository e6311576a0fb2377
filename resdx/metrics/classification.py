"""Metrics as plain numbers, each `metric(y_true, y_score, sample_weight=None)`.

Args, the same for every metric:
    y_true: (N,) whole numbers: 0 or 1 for a question with two answers, else the index of the class.
    y_score: a score or probability (N,), probabilities (N, K), or the decided class (N,), as the metric says.
    sample_weight: (N,) counts each case that often; (D, N) gives D values with one sort, so that D bootstrap replicates
        are one call.

Returns, the same for every metric:
    A float64 array () or (D,); NaN where the metric has no meaning (no case of a class).

Intervals are in intervals.py.
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
    """A function of y_true (N,), y_score (N,) or (N, K), and sample_weight (N,) or (D, N).

    Gives () or (D,).
    """

    def __call__(self, y_true: Values, y_score: Values, sample_weight: Values | None = None, /) -> Array: ...


def auroc(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Area under the ROC curve in [0, 1]: P(a positive scores above a negative), ties counting half."""
    above_true, above_false = cumulative(y_true, y_score, sample_weight)  # (..., U + 1) each
    # Trapezoids under the curve: a tie is a slanted step, which counts half (Hanley and McNeil 1982).
    area = np.einsum("...u,...u->...", np.diff(above_false), above_true[..., 1:] + above_true[..., :-1]) / 2
    return _ratio(area, above_true[..., -1] * above_false[..., -1])


def average_precision(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Step-wise area under the precision-recall curve; its chance level is the prevalence."""
    above_true, above_false = cumulative(y_true, y_score, sample_weight)
    called = above_true[..., 1:] + above_false[..., 1:]  # (..., U): weight called positive at each threshold
    precision = np.divide(above_true[..., 1:], called, out=np.zeros_like(called), where=called > 0)
    # Steps, not straight lines: between two points of this curve a line would promise too much (Davis and Goadrich 2006).
    return _ratio(np.einsum("...u,...u->...", np.diff(above_true), precision), above_true[..., -1])


def _cache_last(work: _Pair) -> _Pair:
    """`work`, with its last result cached for the very same arrays.

    A bootstrap computes many metrics of each chunk of weights.
    """
    last: list[tuple[tuple[Values, ...], tuple[Array, Array]]] = []

    @wraps(work)
    def cached(y_true: Values, y_score: Values, sample_weight: Values | None = None, /) -> tuple[Array, Array]:
        if sample_weight is None or np.ndim(sample_weight) != 2:
            return work(y_true, y_score, sample_weight)
        asked = (y_true, y_score, sample_weight)
        for cached_args, values in last[:]:
            if all(one is other for one, other in zip(cached_args, asked, strict=True)):
                return values
        values = work(*asked)
        for one in values:
            one.flags.writeable = False
        last[:] = [(asked, values)]
        return values

    return cached


@_cache_last
def cumulative(y_true: Values, y_score: Values, sample_weight: Values | None = None, /) -> tuple[Array, Array]:
    """Weight of positives and of negatives at or above each of U distinct scores, highest first, from 0.

    Returns:
        Two arrays (U + 1,) or (D, U + 1).

    Raises:
        DataError: a score is NaN, or the weights are not those of N cases.
    """
    y_score = np.asarray(y_score, np.float64)
    if not len(y_score):
        nothing = np.zeros((*np.shape(_weights(sample_weight, y_true))[:-1], 1))
        return nothing, nothing
    if np.isnan(y_score).any():
        raise DataError(f"{int(np.isnan(y_score).sum())} scores are not a number; repeat the prediction of these cases")
    order = np.argsort(-y_score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(y_score[order]) != 0, True))  # the last place of each tie
    weight, positive = np.take(_weights(sample_weight, y_true), order, axis=-1), np.asarray(y_true)[order] == 1
    out = []
    for mask in (positive, ~positive):
        # (..., N + 1), of which the first place, nothing called yet, stays 0
        total = np.zeros((*weight.shape[:-1], len(y_score) + 1))
        np.multiply(weight, mask, out=total[..., 1:])
        np.cumsum(total[..., 1:], axis=-1, out=total[..., 1:])
        # Cases of equal score cannot be parted by a threshold, so only the end of a tie is a point.
        out.append(total if len(last) == len(y_score) else np.take(total, np.append(0, last + 1), axis=-1))
    return out[0], out[1]


def sensitivity(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Fraction of positive cases that were decided positive."""
    return _share(y_score == 1, y_true == 1, sample_weight)


def specificity(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Fraction of negative cases that were decided negative."""
    return _share(y_score != 1, y_true != 1, sample_weight)


def ppv(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Positive predictive value (precision).

    Fraction right of the cases decided positive, at their prevalence.
    """
    return _share(y_true == 1, y_score == 1, sample_weight)


def npv(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Negative predictive value: fraction right of the cases decided negative, at their prevalence."""
    return _share(y_true != 1, y_score != 1, sample_weight)


def accuracy(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Fraction of cases decided rightly."""
    return _share(y_true == y_score, np.ones(len(y_true), bool), sample_weight)


def majority_rate(y_true: Values, y_score: Values | None = None, sample_weight: Values | None = None) -> Array:
    """The accuracy of always naming the most frequent class, whatever the case."""
    return _share(y_true == most_frequent(y_true), np.ones(len(y_true), bool), sample_weight)


def most_frequent(y_true: Values) -> Any:
    """The class with most cases; the first of equals."""
    names, counts = np.unique(y_true, return_counts=True)
    return names[counts.argmax()]


def f1(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Harmonic mean of sensitivity and positive predictive value."""
    weight, yes, predicted = _weights(sample_weight, y_true), y_true == 1, y_score == 1
    # 2 TP / (2 TP + FP + FN), written with the marginal sums
    return _ratio(2 * (weight @ (yes & predicted)), weight @ (yes.astype(float) + predicted))


def confusion(y_true: Values, y_score: Values, classes: int, sample_weight: Values | None = None) -> Array:
    """Weight of each (true class, decided class): (..., K, K)."""
    # (N, K * K): each case is 1 in its cell
    cell = np.eye(classes * classes)[np.asarray(y_true, int) * classes + np.asarray(y_score, int)]
    weight = _weights(sample_weight, y_true)
    return np.asarray((weight @ cell).reshape(*weight.shape[:-1], classes, classes))


def balanced_accuracy(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Mean of the sensitivities of the classes that occur."""
    return np.asarray(np.mean([_share(y_score == k, y_true == k, sample_weight) for k in np.unique(y_true)], axis=0))


def macro_f1(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Mean F1 over the classes that occur or were named; a class named but never there scores 0."""
    each = [f1(y_true == k, y_score == k, sample_weight) for k in np.unique(y_true)]
    named_only = len(np.setdiff1d(y_score, y_true))
    return np.asarray(np.sum(each, axis=0) / (len(each) + named_only))


def mcc(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Matthews correlation in [-1, 1] for any number of classes (Gorodkin 2004).

    0 when one side is constant.
    """
    table = _table(y_true, y_score, sample_weight)
    true, predicted, total = table.sum(-1), table.sum(-2), table.sum((-1, -2))  # (..., K), (..., K) and (...)
    # R_K of Gorodkin 2004: covariance of the true and the decided class over the product of their spreads
    shared = np.einsum("...kk->...", table) * total - (true * predicted).sum(-1)
    spread = np.sqrt((total**2 - (true**2).sum(-1)) * (total**2 - (predicted**2).sum(-1)))
    return np.asarray(np.divide(shared, spread, out=np.zeros_like(shared), where=spread > 0))


def quadratic_kappa(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Cohen's kappa with quadratic weights, in [-1, 1] (Cohen 1968).

    A miss by two grades costs four times a miss by one.
    """
    table = _table(y_true, y_score, sample_weight)
    grade = np.arange(table.shape[-1])
    cost = (grade[:, None] - grade) ** 2.0
    chance = table.sum(-1)[..., :, None] * table.sum(-2)[..., None, :]  # (..., K, K): counts expected by chance, times the total
    disagreement = (cost * table).sum((-1, -2)) * table.sum((-1, -2))
    return 1 - _ratio(disagreement, (cost * chance).sum((-1, -2)))


def brier(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Brier score in [0, 1]: mean squared error of P(class 1) (N,), or half the sum over classes (N, K).

    Both agree for K = 2 (Brier 1950).
    """
    if y_score.ndim == 1:
        error = (y_score - (np.asarray(y_true) == 1)) ** 2.0
    else:
        error = ((y_score - np.eye(y_score.shape[1])[np.asarray(y_true, int)]) ** 2.0).sum(1) / 2
    weight = _weights(sample_weight, y_true)
    return _ratio(weight @ error, weight.sum(-1))


def ece(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Expected calibration error over equal-mass bins: mean gap between predicted and observed.

    Of the probability of class 1 for (N,), of the top class for (N, K). It is above 0 even for a perfect model, the more so the
    fewer cases there are.
    """
    predicted, observed, place = calibration_bins(y_true, y_score)
    weight = _weights(sample_weight, y_true)
    # In a bin the sum of observed less predicted is its mean gap times its weight.
    gap = weight @ (np.eye(place.max() + 1)[place] * (observed - predicted)[:, None])  # (..., bins)
    return _ratio(np.abs(gap).sum(-1), weight.sum(-1))


def calibration_bins(y_true: Values, y_score: Values, bins: int = BINS) -> tuple[Array, Array, NDArray[np.intp]]:
    """Calibration bins of equal mass; equal probabilities share a bin.

    Returns:
        For each case (N,) the predicted probability, the observed outcome (0 or 1) and the index of its bin.
    """
    predicted = np.asarray(y_score if y_score.ndim == 1 else y_score.max(1), np.float64)
    observed = y_true == 1 if y_score.ndim == 1 else y_score.argmax(1) == y_true
    # "inverted_cdf" gives values that occur, so that an edge never falls between equal probabilities.
    edges = np.unique(np.quantile(predicted, np.arange(1, bins) / bins, method="inverted_cdf"))
    # Renumbered, since ties may leave a bin empty.
    place = np.unique(np.searchsorted(edges, predicted, side="left"), return_inverse=True)[1]
    return predicted, np.asarray(observed, np.float64), place


def sensitivity_at_specificity(
    y_true: Values, y_score: Values, sample_weight: Values | None = None, *, wanted: float = 0.9
) -> Array:
    """Highest sensitivity of any threshold with at least the `wanted` specificity.

    The threshold is chosen on these very cases.
    """
    true, false = _rates(y_true, y_score, sample_weight)
    last = np.count_nonzero(false <= 1 - wanted + EPSILON, axis=-1) - 1  # both rates only rise
    return _keep_missing(_at(true, last), true[..., -1] + false[..., -1])


def specificity_at_sensitivity(
    y_true: Values, y_score: Values, sample_weight: Values | None = None, *, wanted: float = 0.9
) -> Array:
    """Highest specificity of any threshold with at least the `wanted` sensitivity.

    The threshold is chosen on these very cases.
    """
    true, false = _rates(y_true, y_score, sample_weight)
    # where the rate, which only rises, first reaches it
    first = true.shape[-1] - np.count_nonzero(true >= wanted - EPSILON, axis=-1)
    return _keep_missing(1 - _at(false, np.minimum(first, true.shape[-1] - 1)), true[..., -1] + false[..., -1])


def work_saved(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Fraction of the negatives that could be cleared unread while 99 % of the positives are still caught."""
    return specificity_at_sensitivity(y_true, y_score, sample_weight, wanted=0.99)


def net_benefit(y_true: Values, y_score: Values, sample_weight: Values | None = None, *, thresholds: Values) -> Array:
    """Decision curve (Vickers and Elkin 2006) at T thresholds in (0, 1): (T,) or (D, T).

    Net benefit is true positives a case, less false positives a case times the odds of the threshold.
    """
    true, false = cumulative(y_true, y_score, sample_weight)
    distinct = np.unique(np.asarray(y_score, np.float64))
    called = len(distinct) - np.searchsorted(distinct, thresholds)  # how many of them are at or above each threshold
    gain = true[..., called] - false[..., called] * (thresholds / (1 - thresholds))
    return _ratio(gain, true[..., -1:] + false[..., -1:])


def roc_curve(y_true: Values, y_score: Values, sample_weight: Values | None = None, *, grid: Values) -> Array:
    """Highest sensitivity with a false-positive rate of at most each of `grid`: (..., P)."""
    true, false = _rates(y_true, y_score, sample_weight)
    flat_true, flat_false = true.reshape(-1, true.shape[-1]), false.reshape(-1, false.shape[-1])
    rows = [t[np.searchsorted(f, grid + EPSILON, side="right") - 1] for t, f in zip(flat_true, flat_false, strict=True)]
    return np.asarray(rows).reshape(*true.shape[:-1], len(grid))


def precision_curve(y_true: Values, y_score: Values, sample_weight: Values | None = None, *, grid: Values) -> Array:
    """Highest precision with a sensitivity of at least each of `grid`: (..., P)."""
    true, false = cumulative(y_true, y_score, sample_weight)
    called = true + false
    precision = np.divide(true, called, out=np.zeros_like(called), where=called > 0)
    best = np.maximum.accumulate(precision[..., ::-1], -1)[..., ::-1]
    recall = _rates(y_true, y_score, sample_weight)[0]
    flat_recall, flat_best = recall.reshape(-1, recall.shape[-1]), best.reshape(-1, best.shape[-1])
    last = recall.shape[-1] - 1
    rows = [
        b[np.minimum(np.searchsorted(r, grid - EPSILON, side="left"), last)] for r, b in zip(flat_recall, flat_best, strict=True)
    ]
    return np.asarray(rows).reshape(*recall.shape[:-1], len(grid))


def macro_auroc(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Mean AUROC of each class against the rest.

    `y_true` (N,) classes, or (N, K) of 1, 0 and NaN (not assessed).
    """
    return _over_classes(auroc, y_true, y_score, sample_weight)


def label_f1(y_true: Values, y_score: Values, sample_weight: Values | None = None) -> Array:
    """Mean F1 over labels that are decided each on its own.

    `y_true` is (N, K) of 1, 0 and NaN (not assessed), `y_score` the decisions (N, K).
    """
    return _over_classes(f1, y_true, y_score, sample_weight)


def _over_classes(metric: Metric, y_true: Values, y_score: Values, sample_weight: Values | None) -> Array:
    """Mean of a metric over classes, without those that lack positive or negative cases."""
    y_true = np.asarray(y_true)
    columns = y_true if y_true.ndim == 2 else (y_true[:, None] == np.arange(y_score.shape[1])).astype(float)
    each = []
    for column, one in zip(columns.T, y_score.T, strict=True):
        known = ~np.isnan(column)
        if len(np.unique(column[known])) == 2:
            some = sample_weight if sample_weight is None or known.all() else np.compress(known, sample_weight, axis=-1)
            each.append(metric(column[known], one[known], some))
    return np.asarray(np.mean(each, axis=0) if each else np.nan)


def _table(y_true: Values, y_score: Values, sample_weight: Values | None) -> Array:
    return confusion(y_true, y_score, int(max(np.max(y_true), np.max(y_score))) + 1, sample_weight)


def _at(values: Array, place: NDArray[np.intp]) -> Array:
    """One value of each row (..., U)."""
    return np.asarray(np.take_along_axis(values, np.asarray(place)[..., None], axis=-1)[..., 0])


@_cache_last
def _rates(y_true: Values, y_score: Values, sample_weight: Values | None = None, /) -> tuple[Array, Array]:
    true, false = cumulative(y_true, y_score, sample_weight)
    return _ratio(true, true[..., -1:]), _ratio(false, false[..., -1:])


def _keep_missing(values: Array, reason: Array) -> Array:
    return np.asarray(np.where(np.isnan(reason), np.nan, values))


def _share(success: Values, among: Values, sample_weight: Values | None) -> Array:
    weight = _weights(sample_weight, among)
    return _ratio(weight @ (success & among), weight @ among)


def _weights(sample_weight: Values | None, like: Values) -> Array:
    if sample_weight is None:
        return np.ones(len(like))
    if np.shape(sample_weight)[-1] != len(like):
        raise DataError(f"there are {len(like)} cases but weights for {np.shape(sample_weight)[-1]}; give one weight a case")
    return np.asarray(sample_weight, np.float64)


def _ratio(top: Values, bottom: Values) -> Array:
    top, bottom = np.broadcast_arrays(np.asarray(top, np.float64), bottom)
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0))
