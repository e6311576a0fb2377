"""Is one model better than another, on identical cases: the difference with its interval, and a p value.

AUROC: DeLong where each person has one case, Obuchowski's clustered form otherwise. Decisions: McNemar where each person has one case.
Anything: a permutation within persons. The plain forms refuse clustered data. All compare two fixed models; what another
training would have given is not in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, ndtri, stdtr, stdtrit

from ..errors import DataError
from . import classification as metrics
from .classification import Metric, Values
from .estimate import Estimate
from .intervals import (
    FEWEST,
    LEVEL,
    Groups,
    auroc_by_person,
    person_codes,
    persons_behind,
    too_few,
    variance_between,
)

# Metrics that read the order of scores alone: a permutation puts the two models on the common scale of ranks.
_ORDER = (metrics.auroc, metrics.average_precision)


@dataclass(frozen=True, slots=True)
class Comparison:
    """First model less second, with the p value of "no difference" (None when not estimable) and the name of the test."""

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


def delong(truth: Values, first: Values, second: Values, groups: Groups = None) -> Comparison:
    """Difference of two AUROC (DeLong, DeLong and Clarke-Pearson 1988).

    Raises:
        DataError: a person has several cases.
    """
    truth = _checked(truth, first, second)
    _refuse_clusters("delong", "obuchowski", truth, groups)
    return _areas("DeLong", truth, first, second, np.arange(len(truth)), normal=True)


def obuchowski(truth: Values, first: Values, second: Values, groups: Groups = None) -> Comparison:
    """Difference of two AUROC of persons with several cases (Obuchowski 1997), with t for few persons."""
    truth = _checked(truth, first, second)
    return _areas("Obuchowski", truth, first, second, person_codes(groups, len(truth)), normal=False)


def mcnemar(truth: Values, first: Values, second: Values, groups: Groups = None, *, exact: bool = False) -> Comparison:
    """Difference of two accuracies, from the cases that one model alone decides rightly: mid-p, or the exact p.

    Raises:
        DataError: a person has several cases.
    """
    truth = _checked(truth, first, second)
    _refuse_clusters("mcnemar", "permutation", truth, groups)
    ours, theirs = first == truth, second == truth
    won, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    fewer, split = min(won, lost), won + lost
    # bdtr is the chance of at most so many heads in `split` throws of a fair coin
    tail = float(bdtr(fewer, split, 0.5))
    p = min(1.0, 2 * tail if exact else tail + (float(bdtr(fewer - 1, split, 0.5)) if fewer else 0.0))
    difference = _difference_of_shares(won, lost, len(truth))
    name = "McNemar, exact" if exact else "McNemar, mid-p"
    return Comparison(name, float(ours.mean()), float(theirs.mean()), difference, 1.0 if split == 0 else p)


def permutation(
    metric: Metric, truth: Values, first: Values, second: Values, groups: Groups = None, *, draws: int = 2000, seed: int = 0
) -> Comparison:
    """Difference of any metric; p from exchanging the two models' answers, for all cases of a person at once, by coin."""
    truth = _checked(truth, first, second)
    codes = person_codes(groups, len(truth))
    if metric in _ORDER:
        first, second = _ranks(first), _ranks(second)
    ours, theirs = float(metric(truth, first)), float(metric(truth, second))
    rng = np.random.default_rng(seed)
    as_far = 0
    for _ in range(draws):
        kept = (rng.integers(0, 2, int(codes.max()) + 1)[codes] == 1).reshape(-1, *[1] * (first.ndim - 1))
        gap = metric(truth, np.where(kept, first, second)) - metric(truth, np.where(kept, second, first))
        as_far += abs(float(gap)) >= abs(ours - theirs) - metrics.EPSILON
    note = f"no interval from a permutation; {draws} exchanges within persons"
    estimate = Estimate(ours - theirs, None, None, int(codes.max()) + 1, note)
    return Comparison("permutation within persons", ours, theirs, estimate, (as_far + 1) / (draws + 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values of a family, adjusted so that the chance of any false alarm stays at the level (Holm 1979)."""
    out: dict[str, float] = {}
    highest = 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p))
        out[name] = highest
    return {name: out[name] for name in p_values}


def _areas(test: str, truth: Values, first: Values, second: Values, codes: Values, *, normal: bool) -> Comparison:
    few = persons_behind(metrics.auroc, truth, codes)
    if few == 0:
        raise DataError(f"{test} needs cases of both classes, but the truth has one; compare on a test part with both")
    (ours, *moved), (theirs, *other) = auroc_by_person(truth, first, codes), auroc_by_person(truth, second, codes)
    gap, persons = ours - theirs, int(codes.max()) + 1
    if few < FEWEST:
        return Comparison(test, ours, theirs, Estimate(gap, None, None, persons, too_few(few)), None)
    variance, freedom = variance_between(truth, codes, moved[0] - other[0], moved[1] - other[1])
    error = variance**0.5
    if error == 0:
        note = "no interval: the two models order the cases alike"
        return Comparison(test, ours, theirs, Estimate(gap, None, None, persons, note), 1.0 if gap == 0 else None)
    freedom = np.inf if normal else freedom
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    note = f"{test}, standard error {error:.4f}"
    return Comparison(
        test, ours, theirs, Estimate(gap, gap - reach, gap + reach, persons, note), 2 * float(stdtr(freedom, -abs(gap) / error))
    )


def _difference_of_shares(won: int, lost: int, n: int) -> Estimate:
    """Difference of paired shares with Agresti and Min's interval (2005): half a case added to each of four cells."""
    if n < FEWEST:
        return Estimate((won - lost) / n, None, None, n, too_few(n))
    more, less, total = won + 0.5, lost + 0.5, n + 2
    middle = (more - less) / total
    reach = float(ndtri((1 + LEVEL) / 2)) * ((more + less) / total - middle**2) ** 0.5 / total**0.5
    return Estimate((won - lost) / n, max(-1.0, middle - reach), min(1.0, middle + reach), n, "Agresti and Min's interval")


def _ranks(score: Values) -> Values:
    """Middle ranks of scores."""
    ordered = np.sort(score)
    return (np.searchsorted(ordered, score, "left") + np.searchsorted(ordered, score, "right")) / 2


def _checked(truth: Values, first: Values, second: Values) -> Values:
    if not len(truth) == len(first) == len(second):
        raise DataError(f"truth has {len(truth)} cases, the models {len(first)} and {len(second)}; compare on identical cases")
    if not len(truth):
        raise DataError("there are no cases to compare the two models on; name a part that has some")
    return np.asarray(truth)


def _refuse_clusters(test: str, instead: str, truth: Values, groups: Groups) -> None:
    codes = person_codes(groups, len(truth))
    several = int((np.bincount(codes) > 1).sum())
    if several:
        raise DataError(f"{test} takes one case a person, but {several} persons have several; use {instead}")
