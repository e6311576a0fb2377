"""How sure a figure is: the interval that fits the metric, the persons and the cases each of them has.

Persons are resampled, never images. The effective sample size is the number of persons in the smallest class; below 10
there is no interval. Proportions (accuracy, sensitivity ...): Wilson's interval, with n divided by the design effect where
persons have several cases. All right or all wrong: a bound on persons, exact for a proportion of
persons with one case each. Everything else: below 40 persons in the
smallest class (200 for an AUROC) a t interval on the logit scale with the variance between persons; above, the percentiles
of a bootstrap of persons, stratified by the classes each has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from ..errors import DataError
from .auroc_variance import auroc_by_person, variance_between
from .bootstrap import resample
from .classification import (
    Array,
    Metric,
    Values,
    accuracy,
    auroc,
    brier,
    ece,
    majority_rate,
    mcc,
    most_frequent,
    npv,
    ppv,
    quadratic_kappa,
    sensitivity,
    specificity,
)
from .estimate import Estimate

Groups = Values | Sequence[str] | None  # the person of each case; None: one case a person

LEVEL = 0.95
MIN_PERSONS = 10  # persons in a class that an interval needs
MIN_FOR_PERCENTILES = 40  # persons in a class from which percentiles of a bootstrap cover as they should
MIN_FOR_AUROC_PERCENTILES = (
    200  # the same for an AUROC: near 1, percentiles cover .91 at 100 persons, the t interval .93 (benchmarks/coverage.md)
)
ENDS, NEUTRAL = (
    ("all right", "all wrong or zero"),
    ("at its end", "at its end"),
)  # of a figure that is 1, or the lowest; less may be better

# Success and denominator of the proportions, as (y_true, y_score) -> two (N,) masks.
_SHARES: Mapping[Metric, Callable[[Values, Values], tuple[Values, Values]]] = {
    sensitivity: lambda y_true, y_score: (y_score == 1, y_true == 1),
    specificity: lambda y_true, y_score: (y_score != 1, y_true != 1),
    ppv: lambda y_true, y_score: (y_true == 1, y_score == 1),
    npv: lambda y_true, y_score: (y_true != 1, y_score != 1),
    accuracy: lambda y_true, y_score: (y_true == y_score, np.ones(len(y_true), bool)),
    majority_rate: lambda y_true, y_score: (y_true == most_frequent(y_true), np.ones(len(y_true), bool)),
}
_ANY_CLASS: frozenset[Metric] = frozenset((brier, ece))  # mean over all cases: no class must be there
_SIGNED: frozenset[Metric] = frozenset((mcc, quadratic_kappa))  # from -1 to 1
_BIASED: frozenset[Metric] = frozenset((ece,))  # above 0 for a perfect model too: an interval around it would mislead
BIASED = "no interval: it is above 0 for a perfect model too; read slope and intercept"


def estimate(
    metric: Metric, y_true: Values, y_score: Values, groups: Groups = None, *, replicates: int = 2000, seed: int = 0
) -> Estimate:
    """`metric` with the 95 % interval that fits it.

    Args:
        metric: of classification.py, or any function of its form.
        y_true: (N,) or (N, K), as the metric takes it.
        y_score: (N,) or (N, K), as the metric takes it.
        groups: the person of each case; None where every case is a person of its own.
        replicates: bootstrap replicates, where the interval rests on them.
        seed: of the replicates.

    Returns:
        The value with its interval; `note` says how the interval was made, or why there is none.

    Raises:
        DataError: `groups` are not those of N cases, or a score is NaN.
    """
    return estimates({"it": metric}, y_true, y_score, groups, replicates=replicates, seed=seed)["it"]


def estimates(
    wanted: Mapping[str, Metric],
    y_true: Values,
    y_score: Values,
    groups: Groups = None,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Several metrics of the same cases on the same bootstrap replicates, by name.

    Arguments as for `estimate`.
    """
    y_true, y_score = np.asarray(y_true), np.asarray(y_score)
    codes = person_codes(groups, len(y_true))
    if not len(y_true):
        return {name: Estimate(None, None, None, 0, "not estimable: no cases") for name in wanted}
    out: dict[str, Estimate] = {}
    resampled: dict[str, Metric] = {}
    for name, metric in wanted.items():
        if metric in _SHARES:
            success, among = _SHARES[metric](y_true, y_score)
            out[name] = proportion(success[among], codes[among])
        else:
            value, n_effective = float(metric(y_true, y_score)), effective_sample_size(metric, y_true, codes)
            found = _settled(metric, value, n_effective, int(codes.max()) + 1)
            if metric in _BIASED and (found is None or found.low is not None):
                found = Estimate(value, None, None, int(codes.max()) + 1, BIASED)
            if found is None and metric is auroc and n_effective < MIN_FOR_AUROC_PERCENTILES:
                found = _area(y_true, y_score, codes)
            if found is None:
                resampled[name] = metric
            else:
                out[name] = found
    if resampled:
        out |= _bootstrap(resampled, y_true, y_score, codes, replicates, seed)
    return {name: out[name] for name in wanted}


def proportion(success: Values, groups: Groups = None) -> Estimate:
    """The proportion of `success` (N,) with Wilson's interval.

    n is divided by the design effect (Rao and Scott 1992).

    The design effect is 1 where every person has one case; `groups` as for `estimate`.
    """
    success = np.asarray(success, np.float64)
    codes = person_codes(groups, len(success))
    persons, n = len(np.unique(codes)), len(success)
    if not n:
        return Estimate(None, None, None, 0, "not estimable: no cases in the denominator")
    share = float(success.mean())
    if persons < MIN_PERSONS:
        return Estimate(share, None, None, persons, too_few(persons))
    if share in (0.0, 1.0):
        return end_bound(share, persons, persons, 0.0, exact=persons == n)
    if persons == n:
        return Estimate(share, *_wilson(share, n, float(ndtri((1 + LEVEL) / 2))), n, "Wilson's interval")
    effect = design_effect(success, codes)
    # A t quantile, since the design effect is estimated from so many persons; n / effect is the effective number of cases.
    low, high = _wilson(share, n / effect, float(stdtrit(persons - 1, (1 + LEVEL) / 2)))
    return Estimate(share, low, high, persons, f"Wilson's interval, {n} cases of {persons} persons, design effect {effect:.2f}")


def design_effect(success: Values, codes: Values) -> float:
    """Variance of a proportion over that of as many cases of different persons.

    At least 1 (Rao and Scott 1992).
    """
    _, place, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    n, persons, share = len(success), len(sizes), float(np.mean(success))
    residual = np.bincount(place, success - share)  # (G,): the residuals of each person summed
    # Variance of a ratio with persons as clusters, r = x - n p (Rao and Scott 1992)
    between = persons / (persons - 1) * float((residual**2).sum()) / n**2
    # At most that of persons whose cases are all alike: sum of n_i^2 over n
    return float(np.clip(between / (share * (1 - share) / n), 1, (sizes**2).sum() / n))


def effective_sample_size(metric: Metric, y_true: Values, codes: Values) -> int:
    """Persons that a metric rests on: those of the rarest class, or all where it is a mean over all cases.

    0 where a class has no case.
    """
    if metric in _ANY_CLASS:
        return len(np.unique(codes))
    sides = [y_true == name for name in np.unique(y_true)] if y_true.ndim == 1 else _sides(y_true)
    return min(len(np.unique(codes[side])) for side in sides) if len(sides) > 1 else 0


def person_codes(groups: Groups, n: int) -> NDArray[np.intp]:
    """Persons (N,) as 0, 1, 2 ...; None makes each case a person of its own.

    Raises:
        DataError: there are not N groups.
    """
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise DataError(f"there are {n} cases but {len(groups)} groups; give the person of each case")
    return np.unique(np.asarray(groups), return_inverse=True)[1] if n else np.arange(0)


def mean_of_persons(values: Values, persons: Sequence[str], *, lowest: float = 0.0) -> Estimate:
    """Mean over persons of the mean of each one's `values` (N,), with a t interval cut to [lowest, 1]."""
    if not len(values):
        return Estimate(None, None, None, 0, "not estimable: no cases")
    codes = person_codes(persons, len(values))
    each = np.bincount(codes, values) / np.bincount(codes)
    value, n = float(each.mean()), len(each)
    if n < MIN_PERSONS:
        return Estimate(value, None, None, n, too_few(n).replace(" in the smallest class", ""))
    error = float(each.std(ddof=1)) / n**0.5
    if error == 0:
        return Estimate(value, None, None, n, "no interval: the persons do not differ")
    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error  # half the width
    return Estimate(value, max(lowest, value - reach), min(1.0, value + reach), n, "t interval over persons")


def too_few(persons: int) -> str:
    """The sentence that stands where an interval would."""
    return f"no interval: {persons} persons in the smallest class, at least {MIN_PERSONS} are needed"


def logit_t_interval(
    value: float, error: float, freedom: float, persons: int, limits: tuple[float, float], note: str
) -> Estimate:
    """t interval on the logit scale between `limits` (delta method).

    `error` is the standard error of `value`.
    """
    if not error > 0:
        return Estimate(value, None, None, persons, "no interval: the persons do not differ")
    lowest, width = limits[0], limits[1] - limits[0]
    share = (value - lowest) / width
    # d logit(p) = dp / (p (1 - p))
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error / width / (share * (1 - share))
    low, high = (lowest + width * float(expit(logit(share) + side * reach)) for side in (-1, 1))
    return Estimate(value, low, high, persons, note)


def _area(y_true: Values, y_score: Values, codes: Values) -> Estimate:
    area, ours, theirs = auroc_by_person(y_true, y_score, codes)
    variance, freedom = variance_between(y_true, codes, ours, theirs)
    note = f"t interval on the logit scale, variance between persons, {freedom:.0f} degrees of freedom"
    return logit_t_interval(area, variance**0.5, freedom, int(codes.max()) + 1, (0.0, 1.0), note)


def _bootstrap(
    wanted: Mapping[str, Metric], y_true: Values, y_score: Values, codes: Values, replicates: int, seed: int
) -> dict[str, Estimate]:
    sample: dict[str, list[Array]] = {name: [] for name in wanted}
    for weights in resample(y_true, codes, replicates=replicates, seed=seed):
        for name, metric in wanted.items():
            sample[name].append(metric(y_true, y_score, weights))
    persons = int(codes.max()) + 1
    return {
        name: _from_replicates(
            float(metric(y_true, y_score)),
            np.concatenate(sample[name]),
            effective_sample_size(metric, y_true, codes),
            persons,
            limits=_range(metric),
        )
        for name, metric in wanted.items()
    }


def weighted(
    wanted: Mapping[str, Callable[[Array | None], float]],
    present: NDArray[np.bool_],
    groups: Groups = None,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Figures in [0, 1] that are functions of weights alone, such as the average precision of boxes.

    Args:
        wanted: by name; each takes weights (N,), or None for the cases as they are.
        present: (N,) the cases that a figure rests on, those with something to find; (N, K) for a mean over K classes.
        groups: as for `estimate`, like `replicates` and `seed`.
    """
    codes, columns = person_codes(groups, len(present)), present.reshape(len(present), -1)
    persons, n_effective = int(codes.max(initial=-1)) + 1, min(len(np.unique(codes[column])) for column in columns.T)
    values = {name: figure(None) if n_effective else float("nan") for name, figure in wanted.items()}
    out = {
        name: found
        for name, value in values.items()
        if (found := _limited(value, n_effective, persons, (0.0, 1.0), at_ends=NEUTRAL))
    }
    asked = [name for name in wanted if name not in out]
    sample: dict[str, list[float]] = {name: [] for name in asked}
    for weights in resample(columns.astype(int), codes, replicates=replicates, seed=seed) if asked else ():  # weights (D, N)
        for one in weights:
            for name in asked:
                sample[name].append(wanted[name](one))
    out |= {name: _from_replicates(values[name], np.array(sample[name]), n_effective, persons) for name in asked}
    return {name: out[name] for name in wanted}


def _from_replicates(
    value: float,
    sample: Array,
    n_effective: int,
    persons: int,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    kept = sample[~np.isnan(sample)]
    lost = f"; {len(sample) - len(kept)} of {len(sample)} replicates lacked a class" if len(kept) < len(sample) else ""
    if n_effective < MIN_FOR_PERCENTILES or len(kept) < len(sample) / 2:
        # A bootstrap's variance is short by the factor (n - 1) / n (Hesterberg 2015).
        error = float(kept.std()) * (n_effective / (n_effective - 1)) ** 0.5 if len(kept) else 0.0
        note = f"t interval, error from {len(sample)} bootstrap replicates of persons, {n_effective - 1} degrees of freedom{lost}"
        return logit_t_interval(value, error, n_effective - 1, persons, limits, note)
    low, high = np.quantile(kept, tails(n_effective))
    if low == high:
        return Estimate(value, None, None, persons, "no interval: every bootstrap replicate gives the same value")
    note = f"percentiles of {len(sample)} bootstrap replicates of persons{lost}"
    # The interval holds its value, whatever the percentiles say.
    return Estimate(value, min(float(low), value), max(float(high), value), persons, note)


def _settled(metric: Metric, value: float, n_effective: int, persons: int) -> Estimate | None:
    """What needs no bootstrap: no value, no interval, or the bound of a figure at its end.

    None when there is more to do.
    """
    return _limited(value, n_effective, persons, _range(metric))


def _limited(
    value: float, n_effective: int, persons: int, limits: tuple[float, float], *, at_ends: tuple[str, str] = ENDS
) -> Estimate | None:
    low, high = limits
    if np.isnan(value):
        return Estimate(None, None, None, persons, "not estimable: a class has no case")
    if n_effective < MIN_PERSONS:
        return Estimate(value, None, None, persons, too_few(n_effective))
    if value in (low, high):
        return end_bound(value, n_effective, persons, low, at_ends=at_ends)
    return None


def end_bound(
    value: float,
    n_effective: int,
    persons: int,
    lowest: float,
    *,
    at_ends: tuple[str, str] = ENDS,
    exact: bool = False,
) -> Estimate:
    """Clopper and Pearson's bound (1934) when all of `n_effective` persons are right, or all wrong.

    It is `exact` for a proportion of persons with one case each, and stands in for what no other interval can say elsewhere.
    `at_ends` are the words for a figure of 1 and for one of `lowest`.
    """
    # bound^n = alpha / 2: what would still be all right by chance so often
    bound = ((1 - LEVEL) / 2) ** (1 / n_effective)
    reach = (1 - lowest) * (1 - bound)
    note = f"{at_ends[value != 1]}: {'exact bound' if exact else 'bound as of a proportion'} on {n_effective} persons"
    return Estimate(value, value - reach if value == 1 else value, value if value == 1 else value + reach, persons, note)


def _wilson(share: float, n: float, quantile: float) -> tuple[float, float]:
    # The score interval of Wilson 1927: its middle lies nearer to 1/2 than the proportion does.
    middle = (share + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
    reach = quantile / (1 + quantile**2 / n) * (share * (1 - share) / n + quantile**2 / (4 * n**2)) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _range(metric: Metric) -> tuple[float, float]:
    return (-1.0, 1.0) if metric in _SIGNED else (0.0, 1.0)


def tails(n_effective: int) -> tuple[float, float]:
    """Percentiles a little outside 2.5 and 97.5, as a t interval is of a normal one (Hesterberg 2015)."""
    # The expanded percentile interval: Phi(-sqrt(n / (n - 1)) t), t with n - 1 degrees of freedom
    tail = float(ndtr(-((n_effective / (n_effective - 1)) ** 0.5) * stdtrit(n_effective - 1, (1 + LEVEL) / 2)))
    return tail, 1 - tail


def _sides(y_true: Values) -> list[Values]:
    """Of y_true (N, K): for each class that has both, masks (N,) of its positive and its negative cases."""
    pairs = [(column == 1, column == 0) for column in y_true.T]
    return [side for pair in pairs if all(one.any() for one in pair) for side in pair]
