"""How sure a figure is: the interval that fits the metric, the persons and the cases each of them has.

Persons are resampled, never images. Fewer than 10 persons in a class: no interval. Shares (accuracy, sensitivity ...):
Wilson's interval, with n divided by the design effect where persons have several cases. All right or all wrong: the exact
bound on persons. Everything else: below 40 persons in the smallest class (200 for an AUROC) a t interval on the logit scale
with the variance between persons; above, the percentiles of a bootstrap of persons, stratified by the classes each has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from ..errors import DataError
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
FEWEST = 10  # persons in a class that an interval needs
FEW = 40  # persons in a class from which percentiles of a bootstrap cover as they should
FEW_FOR_AREA = (
    200  # the same for an AUROC: near 1, percentiles cover .91 at 100 persons, the t interval .93 (benchmarks/coverage.md)
)
RARE = 5  # persons of one composition that make a stratum of their own
CHUNK = 500_000  # weights drawn at a time; another number would draw others
ENDS, NEUTRAL = (
    ("all right", "all wrong or zero"),
    ("at its end", "at its end"),
)  # of a figure that is 1, or the lowest; less may be better
PIECE = 150_000  # weights given at a time, so that they and what is made of them stay in the processor's cache

# Success and denominator of the plain shares, as (truth, answer) -> two (N,) masks.
_SHARES: Mapping[Metric, Callable[[Values, Values], tuple[Values, Values]]] = {
    sensitivity: lambda truth, answer: (answer == 1, truth == 1),
    specificity: lambda truth, answer: (answer != 1, truth != 1),
    ppv: lambda truth, answer: (truth == 1, answer == 1),
    npv: lambda truth, answer: (truth != 1, answer != 1),
    accuracy: lambda truth, answer: (truth == answer, np.ones(len(truth), bool)),
    majority_rate: lambda truth, answer: (truth == most_frequent(truth), np.ones(len(truth), bool)),
}
_ANY_CLASS: frozenset[Metric] = frozenset((brier, ece))  # mean over all cases: no class must be there
_SIGNED: frozenset[Metric] = frozenset((mcc, quadratic_kappa))  # from -1 to 1
_BIASED: frozenset[Metric] = frozenset((ece,))  # a draw is further off than the sample: percentiles would miss the value


def estimate(
    metric: Metric, truth: Values, answer: Values, groups: Groups = None, *, draws: int = 2000, seed: int = 0
) -> Estimate:
    """`metric` with the 95 % interval that fits it; `groups` names the person of each case (None: one case a person)."""
    return estimates({"it": metric}, truth, answer, groups, draws=draws, seed=seed)["it"]


def estimates(
    wanted: Mapping[str, Metric],
    truth: Values,
    answer: Values,
    groups: Groups = None,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Several metrics of the same answers on the same draws of persons, by name."""
    truth, answer = np.asarray(truth), np.asarray(answer)
    codes = person_codes(groups, len(truth))
    if not len(truth):
        return {name: Estimate(None, None, None, 0, "not estimable: no cases") for name in wanted}
    out: dict[str, Estimate] = {}
    resampled: dict[str, Metric] = {}
    for name, metric in wanted.items():
        if metric in _SHARES:
            success, among = _SHARES[metric](truth, answer)
            out[name] = proportion(success[among], codes[among])
        else:
            value, few = float(metric(truth, answer)), persons_behind(metric, truth, codes)
            found = _settled(metric, value, few, int(codes.max()) + 1)
            if found is None and metric is auroc and few < FEW_FOR_AREA:
                found = _area(truth, answer, codes)
            if found is None:
                resampled[name] = metric
            else:
                out[name] = found
    if resampled:
        out |= _bootstrap(resampled, truth, answer, codes, draws, seed)
    return {name: out[name] for name in wanted}


def proportion(success: Values, groups: Groups = None) -> Estimate:
    """A share of cases: Wilson's interval, n divided by the design effect where persons have several cases."""
    success = np.asarray(success, np.float64)
    codes = person_codes(groups, len(success))
    persons, n = len(np.unique(codes)), len(success)
    if not n:
        return Estimate(None, None, None, 0, "not estimable: no cases in the denominator")
    share = float(success.mean())
    if persons < FEWEST:
        return Estimate(share, None, None, persons, too_few(persons))
    if share in (0.0, 1.0):
        return exact(share, persons, persons, 0.0)
    if persons == n:
        return Estimate(share, *_wilson(share, n, float(ndtri((1 + LEVEL) / 2))), n, "Wilson's interval")
    effect = design_effect(success, codes)
    low, high = _wilson(share, n / effect, float(stdtrit(persons - 1, (1 + LEVEL) / 2)))
    return Estimate(share, low, high, persons, f"Wilson's interval, {n} cases of {persons} persons, design effect {effect:.2f}")


def design_effect(success: Values, codes: Values) -> float:
    """How many times wider the variance of a share is than if every case were a person of its own, from 1 to all alike."""
    _, place, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    n, persons, share = len(success), len(sizes), float(np.mean(success))
    residual = np.bincount(place, success - share)
    between = persons / (persons - 1) * float((residual**2).sum()) / n**2
    return float(np.clip(between / (share * (1 - share) / n), 1, (sizes**2).sum() / n))


def bands(
    curves: Mapping[str, Metric], truth: Values, answer: Values, groups: Groups = None, *, draws: int = 2000, seed: int = 0
) -> dict[str, tuple[Array, Array | None, Array | None]]:
    """Curves of P points with their pointwise 95 % bands (both None with too few persons), on the same draws: (P,), (P,), (P,)."""
    truth, answer = np.asarray(truth), np.asarray(answer)
    codes = person_codes(groups, len(truth))
    sample: dict[str, list[Array]] = {name: [] for name in curves}
    few = {name: persons_behind(curve, truth, codes) for name, curve in curves.items()}
    wanted = {name: curve for name, curve in curves.items() if few[name] >= FEWEST}
    for weights in resample(truth, codes, draws=draws, seed=seed) if wanted else ():
        for name, curve in wanted.items():
            sample[name].append(curve(truth, answer, weights))
    out: dict[str, tuple[Array, Array | None, Array | None]] = {}
    for name, curve in curves.items():
        out[name] = curve(truth, answer), None, None
        if name in wanted:
            drawn = np.concatenate(sample[name])
            low, high = np.quantile(drawn[~np.isnan(drawn).any(1)], _tails(few[name]), axis=0)
            out[name] = out[name][0], low, high
    return out


def resample(truth: Values, codes: Values, *, draws: int, seed: int) -> Iterator[Array]:
    """How often each case is drawn when persons are drawn with replacement within their stratum, a chunk (D, N) at a time."""
    strata = _strata(truth, codes)
    column = np.empty(int(codes.max()) + 1, np.intp)  # strata lie side by side while counting
    column[np.concatenate(strata)] = np.arange(len(column))
    rng = np.random.default_rng(seed)
    step, piece = max(1, CHUNK // len(codes)), max(1, PIECE // len(codes))
    for start in range(0, draws, step):
        counts = np.empty((min(step, draws - start), len(column)))
        edge = 0
        for size in map(len, strata):
            picks = rng.integers(size, size=(len(counts), size)) + size * np.arange(len(counts))[:, None]
            counts[:, edge : edge + size] = np.bincount(picks.ravel(), minlength=size * len(counts)).reshape(-1, size)
            edge += size
        for some in range(0, len(counts), piece):
            yield np.take(counts[some : some + piece], column[codes], axis=1)


def persons_behind(metric: Metric, truth: Values, codes: Values) -> int:
    """Persons that carry a metric: those of the rarest class, or all of them where it is a mean over all cases."""
    if metric in _ANY_CLASS:
        return len(np.unique(codes))
    sides = [truth == name for name in np.unique(truth)] if truth.ndim == 1 else _sides(truth)
    return min(len(np.unique(codes[side])) for side in sides) if len(sides) > 1 else 0


def person_codes(groups: Groups, n: int) -> NDArray[np.intp]:
    """Persons as 0, 1, 2 ...; None makes each case a person of its own."""
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise DataError(f"there are {n} cases but {len(groups)} groups; give the person of each case")
    return np.unique(np.asarray(groups), return_inverse=True)[1] if n else np.arange(0)


def mean_of_persons(values: Values, persons: Sequence[str], *, lowest: float = 0.0) -> Estimate:
    """Mean over persons of the mean over each one's cases, with a t interval within [lowest, 1]."""
    if not len(values):
        return Estimate(None, None, None, 0, "not estimable: no cases")
    codes = person_codes(persons, len(values))
    each = np.bincount(codes, values) / np.bincount(codes)
    value, n = float(each.mean()), len(each)
    if n < FEWEST:
        return Estimate(value, None, None, n, too_few(n).replace(" in the smallest class", ""))
    error = float(each.std(ddof=1)) / n**0.5
    if error == 0:
        return Estimate(value, None, None, n, "no interval: the persons do not differ")
    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, max(lowest, value - reach), min(1.0, value + reach), n, "t interval over persons")


def too_few(persons: int) -> str:
    """The sentence that stands where an interval would."""
    return f"no interval: {persons} persons in the smallest class, at least {FEWEST} are needed"


def auroc_by_person(truth: Values, score: Values, codes: Values) -> tuple[float, Array, Array]:
    """AUROC, and how far each person's positive and negative cases move it: two (G,), 0 without such a case (Obuchowski 1997)."""
    positive = np.asarray(truth) == 1
    ours, theirs = np.sort(score[positive]), np.sort(score[~positive])
    beaten = (
        (np.searchsorted(theirs, score[positive], "left") + np.searchsorted(theirs, score[positive], "right")) / 2 / len(theirs)
    )
    losing = 1 - (np.searchsorted(ours, score[~positive], "left") + np.searchsorted(ours, score[~positive], "right")) / 2 / len(
        ours
    )
    area, persons = float(beaten.mean()), int(codes.max()) + 1
    moves = np.bincount(codes[positive], beaten - area, persons) / len(ours)
    return area, moves, np.bincount(codes[~positive], losing - area, persons) / len(theirs)


def variance_between(
    truth: Values, codes: Values, positive_moves: Array, negative_moves: Array, *, folds: int = 1
) -> tuple[float, float]:
    """Variance of an AUROC (or of a difference of two) from `auroc_by_person`, and its degrees of freedom (Satterthwaite).

    Of the mean of several AUROC, where every fold has persons of its own: moves divided by `folds`, each of which costs a
    degree of freedom, since its moves are taken from its own mean.
    """
    persons, ours, theirs = (len(np.unique(part)) for part in (codes, codes[truth == 1], codes[truth != 1]))
    parts = [(ours, float((positive_moves**2).sum())), (theirs, float((negative_moves**2).sum()))]
    first, second = (count / (count - folds) * total for count, total in parts)
    shared = 2 * persons / (persons - folds) * float((positive_moves * negative_moves).sum())
    spread = first**2 / (ours - folds) + second**2 / (theirs - folds)
    freedom = (first + second) ** 2 / spread if spread > 0 else persons - folds
    return max(first + second + shared, 0.0), min(freedom, persons - folds)


def student(value: float, error: float, freedom: float, persons: int, limits: tuple[float, float], note: str) -> Estimate:
    """t interval on the logit scale between `limits`; `error` is the standard error of `value`."""
    if not error > 0:
        return Estimate(value, None, None, persons, "no interval: the persons do not differ")
    lowest, width = limits[0], limits[1] - limits[0]
    share = (value - lowest) / width
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error / width / (share * (1 - share))
    low, high = (lowest + width * float(expit(logit(share) + side * reach)) for side in (-1, 1))
    return Estimate(value, low, high, persons, note)


def _area(truth: Values, answer: Values, codes: Values) -> Estimate:
    area, ours, theirs = auroc_by_person(truth, answer, codes)
    variance, freedom = variance_between(truth, codes, ours, theirs)
    note = f"t interval on the logit scale, variance between persons, {freedom:.0f} degrees of freedom"
    return student(area, variance**0.5, freedom, int(codes.max()) + 1, (0.0, 1.0), note)


def _bootstrap(
    wanted: Mapping[str, Metric], truth: Values, answer: Values, codes: Values, draws: int, seed: int
) -> dict[str, Estimate]:
    sample: dict[str, list[Array]] = {name: [] for name in wanted}
    for weights in resample(truth, codes, draws=draws, seed=seed):
        for name, metric in wanted.items():
            sample[name].append(metric(truth, answer, weights))
    persons = int(codes.max()) + 1
    return {
        name: _from_draws(
            float(metric(truth, answer)),
            np.concatenate(sample[name]),
            persons_behind(metric, truth, codes),
            persons,
            limits=_range(metric),
            biased=metric in _BIASED,
        )
        for name, metric in wanted.items()
    }


def weighted(
    wanted: Mapping[str, Callable[[Array | None], float]],
    there: NDArray[np.bool_],
    groups: Groups = None,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Figures from 0 to 1 of N cases that are functions of the cases' weights (N,), such as average precision, on the same draws of persons.

    `there` (N,) marks the cases that carry the figure, those with something to find, or (N, K) those of each class of a mean over classes; without
    weights a figure is that of the cases as they are.
    """
    codes, columns = person_codes(groups, len(there)), there.reshape(len(there), -1)
    persons, few = int(codes.max(initial=-1)) + 1, min(len(np.unique(codes[column])) for column in columns.T)
    values = {name: figure(None) if few else float("nan") for name, figure in wanted.items()}
    out = {name: found for name, value in values.items() if (found := _limited(value, few, persons, (0.0, 1.0), at_ends=NEUTRAL))}
    asked = [name for name in wanted if name not in out]
    sample: dict[str, list[float]] = {name: [] for name in asked}
    for weights in resample(columns.astype(int), codes, draws=draws, seed=seed) if asked else ():
        for one in weights:
            for name in asked:
                sample[name].append(wanted[name](one))
    out |= {name: _from_draws(values[name], np.array(sample[name]), few, persons) for name in asked}
    return {name: out[name] for name in wanted}


def _from_draws(
    value: float,
    sample: Array,
    few: int,
    persons: int,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    biased: bool = False,
) -> Estimate:
    kept = sample[~np.isnan(sample)]
    lost = f"; {len(sample) - len(kept)} of {len(sample)} draws lacked a class" if len(kept) < len(sample) else ""
    if few < FEW or biased or len(kept) < len(sample) / 2:
        error = float(kept.std()) * (few / (few - 1)) ** 0.5 if len(kept) else 0.0
        note = f"t interval, error from {len(sample)} draws of persons, {few - 1} degrees of freedom{lost}"
        return student(value, error, few - 1, persons, limits, note)
    low, high = np.quantile(kept, _tails(few))
    if low == high:
        return Estimate(value, None, None, persons, "no interval: every draw of persons gives the same value")
    return Estimate(
        value, min(float(low), value), max(float(high), value), persons, f"percentiles of {len(sample)} draws of persons{lost}"
    )


def _settled(metric: Metric, value: float, few: int, persons: int) -> Estimate | None:
    """What can be said without draws: no value, no interval, or the exact bound; None when there is more to do."""
    return _limited(value, few, persons, _range(metric))


def _limited(
    value: float, few: int, persons: int, limits: tuple[float, float], *, at_ends: tuple[str, str] = ENDS
) -> Estimate | None:
    low, high = limits
    if np.isnan(value):
        return Estimate(None, None, None, persons, "not estimable: a class has no case")
    if few < FEWEST:
        return Estimate(value, None, None, persons, too_few(few))
    if value in (low, high):
        return exact(value, few, persons, low, at_ends=at_ends)
    return None


def exact(value: float, few: int, persons: int, lowest: float, *, at_ends: tuple[str, str] = ENDS) -> Estimate:
    """Clopper and Pearson's bound when all of `few` persons are right, or all wrong; `at_ends` says it of a figure of 1 or of the lowest."""
    bound = ((1 - LEVEL) / 2) ** (1 / few)
    reach = (1 - lowest) * (1 - bound)
    note = f"{at_ends[value != 1]}: exact bound on {few} persons"
    return Estimate(value, value - reach if value == 1 else value, value if value == 1 else value + reach, persons, note)


def _wilson(share: float, n: float, quantile: float) -> tuple[float, float]:
    middle = (share + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
    reach = quantile / (1 + quantile**2 / n) * (share * (1 - share) / n + quantile**2 / (4 * n**2)) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _range(metric: Metric) -> tuple[float, float]:
    return (-1.0, 1.0) if metric in _SIGNED else (0.0, 1.0)


def _tails(few: int) -> tuple[float, float]:
    """Percentiles to read off: a little outside 2.5 and 97.5, as a t interval is outside a normal one (Hesterberg 2015)."""
    tail = float(ndtr(-((few / (few - 1)) ** 0.5) * stdtrit(few - 1, (1 + LEVEL) / 2)))
    return tail, 1 - tail


def _strata(truth: Values, codes: Values) -> list[NDArray[np.intp]]:
    """Persons by the set of classes they have; sets that fewer than 5 persons share are drawn together."""
    sides = [truth == name for name in np.unique(truth)] if truth.ndim == 1 else [column == 1 for column in truth.T]
    has = np.stack([np.bincount(codes[side], minlength=int(codes.max()) + 1) > 0 for side in sides], 1)
    _, place, sizes = np.unique(has, axis=0, return_inverse=True, return_counts=True)
    place = np.where(sizes[place] < RARE, -1, place)
    return [np.flatnonzero(place == kind) for kind in np.unique(place)]


def _sides(truth: Values) -> list[Values]:
    """Of (N, K) truth: for each class that has both, its positive and its negative cases."""
    pairs = [(column == 1, column == 0) for column in truth.T]
    return [side for pair in pairs if all(one.any() for one in pair) for side in pair]
