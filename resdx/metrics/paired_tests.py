"""Is one model better than another on identical cases: difference, interval and p value.

AUROC: DeLong where each person has one case, Obuchowski's clustered form otherwise. Decisions: McNemar where each person has
one case. Anything: a permutation within persons. The plain forms refuse clustered data. All compare two fixed models; what
another training would have given is not in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, ndtri, stdtr, stdtrit

from ..errors import DataError
from . import classification as metrics
from .auroc_variance import auroc_by_person, variance_between
from .classification import Metric, Values
from .estimate import Estimate
from .intervals import LEVEL, MIN_PERSONS, Groups, effective_sample_size, person_codes, too_few

# Metrics that read the order of scores alone: a permutation puts the two models on the common scale of ranks.
_ORDER = (metrics.auroc, metrics.average_precision)


@dataclass(frozen=True, slots=True)
class Comparison:
    """First model less second, with the name of the test and the p value of "no difference".

    The p value is None when not estimable.
    """

    test: str
    first: float
    second: float
    difference: Estimate
    p: float | None

    def to_json(self) -> dict[str, object]:
        """Plain data for compare.json."""
        return {
            "test": self.test,
            "first": self.first,
            "second": self.second,
            "difference": self.difference.to_json(),
            "p": self.p,
        }


def delong(y_true: Values, first: Values, second: Values, groups: Groups = None) -> Comparison:
    """Difference of two AUROC (DeLong, DeLong and Clarke-Pearson 1988).

    Raises:
        DataError: a person has several cases.
    """
    y_true = _checked(y_true, first, second)
    _refuse_clusters("delong", "obuchowski", y_true, groups)
    return _areas("DeLong", y_true, first, second, np.arange(len(y_true)), normal=True)


def obuchowski(y_true: Values, first: Values, second: Values, groups: Groups = None) -> Comparison:
    """Difference of two AUROC of persons with several cases (Obuchowski 1997), with a t distribution.

    Args:
        y_true: (N,) of 0 and 1.
        first: scores (N,) of one model, `second` those of the other, on the same cases.
        groups: the person of each case.

    Raises:
        DataError: there are no cases, they are not the same, or a class has none.
    """
    y_true = _checked(y_true, first, second)
    return _areas("Obuchowski", y_true, first, second, person_codes(groups, len(y_true)), normal=False)


def mcnemar(y_true: Values, first: Values, second: Values, groups: Groups = None, *, exact: bool = False) -> Comparison:
    """Difference of two accuracies: McNemar's mid-p, or the exact p.

    From the cases that one model alone decides rightly.

    Raises:
        DataError: a person has several cases.
    """
    y_true = _checked(y_true, first, second)
    _refuse_clusters("mcnemar", "permutation", y_true, groups)
    ours, theirs = first == y_true, second == y_true
    # the discordant cases: the others say nothing about a difference
    won, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    fewer, split = min(won, lost), won + lost
    # mid-p counts half the chance of the observed split (Fagerland et al. 2013); bdtr is the binomial distribution function
    tail = float(bdtr(fewer, split, 0.5))
    p = min(1.0, 2 * tail if exact else tail + (float(bdtr(fewer - 1, split, 0.5)) if fewer else 0.0))
    difference = _difference_of_shares(won, lost, len(y_true))
    name = "McNemar, exact" if exact else "McNemar, mid-p"
    return Comparison(name, float(ours.mean()), float(theirs.mean()), difference, 1.0 if split == 0 else p)


def permutation(
    metric: Metric,
    y_true: Values,
    first: Values,
    second: Values,
    groups: Groups = None,
    *,
    permutations: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Difference of any metric; p from exchanging the two models' outputs within persons at random.

    Args:
        metric: of classification.py, or any function of its form.
        y_true: (N,) or (N, K), as the metric takes it; `first` and `second` are the models' y_score.
        groups: the person of each case, all of whose cases are exchanged together.
        permutations: how many; p is at least 1 / (permutations + 1).
        seed: of the coin.

    Raises:
        DataError: there are no cases, or they are not the same.
    """
    y_true = _checked(y_true, first, second)
    codes = person_codes(groups, len(y_true))
    if metric in _ORDER:
        first, second = _ranks(first), _ranks(second)
    ours, theirs = float(metric(y_true, first)), float(metric(y_true, second))
    rng = np.random.default_rng(seed)
    as_extreme = 0
    for _ in range(permutations):
        # one coin a person; (N,), or (N, 1) for probabilities (N, K)
        swapped = (rng.integers(0, 2, int(codes.max()) + 1)[codes] == 1).reshape(-1, *[1] * (first.ndim - 1))
        gap = metric(y_true, np.where(swapped, first, second)) - metric(y_true, np.where(swapped, second, first))
        # A tie with the observed gap counts as extreme; rounding must not hide it.
        as_extreme += abs(float(gap)) >= abs(ours - theirs) - metrics.EPSILON
    note = f"no interval from a permutation; {permutations} exchanges within persons"
    estimate = Estimate(ours - theirs, None, None, int(codes.max()) + 1, note)
    # The observed arrangement is one of them, so that p is never 0 (Phipson and Smyth 2010).
    return Comparison("permutation within persons", ours, theirs, estimate, (as_extreme + 1) / (permutations + 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values of a family, adjusted so that the chance of any false alarm stays at the level (Holm 1979)."""
    out: dict[str, float] = {}
    highest = 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        # Never below that of a smaller p: the procedure stops at the first that is not rejected.
        highest = max(highest, min(1.0, (len(p_values) - place) * p))
        out[name] = highest
    return {name: out[name] for name in p_values}


def _areas(test: str, y_true: Values, first: Values, second: Values, codes: Values, *, normal: bool) -> Comparison:
    n_effective = effective_sample_size(metrics.auroc, y_true, codes)
    if n_effective == 0:
        raise DataError(f"{test} needs cases of both classes, but the truth has one; compare on a test part with both")
    (ours, *first_influence), (theirs, *second_influence) = (
        auroc_by_person(y_true, first, codes),
        auroc_by_person(y_true, second, codes),
    )
    gap, persons = ours - theirs, int(codes.max()) + 1
    if n_effective < MIN_PERSONS:
        return Comparison(test, ours, theirs, Estimate(gap, None, None, persons, too_few(n_effective)), None)
    # The influence of a person on a difference is the difference of the influences, so the covariance is counted in.
    variance, freedom = variance_between(
        y_true, codes, first_influence[0] - second_influence[0], first_influence[1] - second_influence[1]
    )
    error = variance**0.5
    if error == 0:
        note = "no interval: the two models order the cases alike"
        return Comparison(test, ours, theirs, Estimate(gap, None, None, persons, note), 1.0 if gap == 0 else None)
    freedom = np.inf if normal else freedom  # a t distribution of infinitely many degrees is the normal one
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    note = f"{test}, standard error {error:.4f}"
    return Comparison(
        test, ours, theirs, Estimate(gap, gap - reach, gap + reach, persons, note), 2 * float(stdtr(freedom, -abs(gap) / error))
    )


def _difference_of_shares(won: int, lost: int, n: int) -> Estimate:
    """Difference of paired proportions with Agresti and Min's interval (2005).

    Half a case is added to each of four cells.
    """
    if n < MIN_PERSONS:
        return Estimate((won - lost) / n, None, None, n, too_few(n))
    more, less, total = won + 0.5, lost + 0.5, n + 2
    middle = (more - less) / total
    # Variance of a difference of paired proportions: (b + c) / n - d^2, over n
    reach = float(ndtri((1 + LEVEL) / 2)) * ((more + less) / total - middle**2) ** 0.5 / total**0.5
    return Estimate((won - lost) / n, max(-1.0, middle - reach), min(1.0, middle + reach), n, "Agresti and Min's interval")


def _ranks(score: Values) -> Values:
    """Middle ranks of scores."""
    ordered = np.sort(score)
    return (np.searchsorted(ordered, score, "left") + np.searchsorted(ordered, score, "right")) / 2


def _checked(y_true: Values, first: Values, second: Values) -> Values:
    if not len(y_true) == len(first) == len(second):
        raise DataError(f"truth has {len(y_true)} cases, the models {len(first)} and {len(second)}; compare on identical cases")
    if not len(y_true):
        raise DataError("there are no cases to compare the two models on; name a part that has some")
    return np.asarray(y_true)


def _refuse_clusters(test: str, instead: str, y_true: Values, groups: Groups) -> None:
    codes = person_codes(groups, len(y_true))
    several = int((np.bincount(codes) > 1).sum())
    if several:
        raise DataError(f"{test} takes one case a person, but {several} persons have several; use {instead}")
