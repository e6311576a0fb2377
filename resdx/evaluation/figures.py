"""How far two models, two systems or two sets of cases differ in a figure, with an interval.

The variance of a difference is a sum of independent parts: persons, and the seeds of either side where there are enough of them
(Welch 1947, Satterthwaite 1946). Two models on the same cases share their draws of persons; two sets of cases do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from ..data.cases import Case
from ..data.tasks import MultiLabel, positive_class, truth
from ..inference.opening import calibration_of_run
from ..metrics import classification as metrics
from ..metrics.bootstrap import resample
from ..metrics.classification import Array, Metric, Values
from ..metrics.estimate import Estimate
from ..metrics.intervals import LEVEL, MIN_PERSONS, effective_sample_size, person_codes, too_few
from ..recipes.recipe import Recipe
from ..runs.level_scores import LevelScores
from ..runs.run import Run
from .outputs import Answers

SEEDS = 3  # of one recipe, from which a sentence about the system can be said
DRAWS = 2000


@dataclass(frozen=True)
class Figure:
    """A figure of metrics.json: `metric` of one class against the rest (`of`), or over all.

    Of decisions or of probabilities.
    """

    name: str
    metric: Metric
    of: str = ""
    decided: bool = False

    @property
    def key(self) -> str:
        """What compare.json calls it."""
        return f"{self.name} {self.of}".strip()

    def pick(self, recipe: Recipe, answers: Answers) -> tuple[Values, Values, NDArray[np.bool_]]:
        """Truth and answers the metric takes, and which cases they are of."""
        said = answers.decided if self.decided else answers.probability
        if self.of:
            k = recipe.classes.index(self.of)
            known = ~np.isnan(answers.truth[:, k])
            return answers.truth[known, k], said[known, k], known
        every = np.ones(len(answers), bool)
        if isinstance(recipe.task, MultiLabel):
            return answers.truth, said, every
        return answers.truth.argmax(1), said.argmax(1) if self.decided else said, every

    def of_level(self, level: LevelScores) -> Estimate:
        """The same figure of one run."""
        return level.classes[self.of][self.name] if self.of else level.overall[self.name]


def figures(recipe: Recipe) -> tuple[Figure, ...]:
    """What is compared; the first is the main figure.

    The AUROC, or the mean over classes where there are more than two.
    """
    several = isinstance(recipe.task, MultiLabel)
    positive = positive_class(recipe.task, recipe.classes) if len(recipe.classes) == 2 else ""
    each = (positive,) if positive else recipe.classes
    promised = each if positive or several else ("",)
    decided = (("macro_f1", metrics.label_f1),) if several else _DECIDED
    main = () if positive else (Figure("macro_auroc", metrics.macro_auroc),)
    return (
        *main,
        *(Figure(name, metric, of) for of in each for name, metric in _RANKED),
        *(Figure(name, metric, decided=True) for name, metric in decided),
        *(Figure(name, metric, of) for of in promised for name, metric in _PROMISED),
    )


_RANKED: tuple[tuple[str, Metric], ...] = (("auroc", metrics.auroc), ("average_precision", metrics.average_precision))
_DECIDED: tuple[tuple[str, Metric], ...] = (("accuracy", metrics.accuracy), ("balanced_accuracy", metrics.balanced_accuracy))
_PROMISED: tuple[tuple[str, Metric], ...] = (("brier", metrics.brier), ("ece", metrics.ece))


@dataclass(frozen=True)
class Judged:
    """Outputs on the test cases, and the value and bootstrap replicates (D,) of each figure by its key.

    A replicate is NaN where it lacks a class.
    """

    name: str
    answers: Answers
    value: Mapping[str, float]
    draws: Mapping[str, Array]


@dataclass(frozen=True)
class Side:
    """One trained model, or a system: at least 3 seeds of one recipe."""

    name: str
    members: tuple[Judged, ...]

    @property
    def is_system(self) -> bool:
        """True where the spread between seeds can be estimated."""
        return len(self.members) >= SEEDS

    def value(self, key: str) -> float:
        """Mean over the seeds."""
        return float(np.mean([one.value[key] for one in self.members]))

    def draws(self, key: str) -> Array:
        """Mean over the seeds, for every draw of persons (D,)."""
        return np.asarray(np.mean([one.draws[key] for one in self.members], axis=0))

    def between_seeds(self, key: str) -> list[tuple[float, float]]:
        """Variance of the mean over seeds, with its degrees of freedom.

        Nothing for one model, whose seed is not asked about.
        """
        n = len(self.members)
        # s^2 / n
        return [(float(np.var([one.value[key] for one in self.members], ddof=1)) / n, n - 1.0)] if self.is_system else []


def judge_figures(
    name: str, recipe: Recipe, wanted: Sequence[Figure], answers: Answers, *, draws: int = DRAWS, seed: int = 0
) -> Judged:
    """Every figure of one model, and its draws of persons.

    Two models of one truth, with one seed, get the same draws.
    """
    picked = {figure.key: figure.pick(recipe, answers) for figure in wanted}
    sample: dict[str, list[Array]] = defaultdict(list)
    with np.errstate(invalid="ignore"):
        codes = person_codes(answers.person, len(answers))
        for weights in resample(_strata_truth(recipe, answers), codes, replicates=draws, seed=seed):
            for figure in wanted:
                true, said, known = picked[figure.key]
                drawn = (
                    figure.metric(true, said, np.compress(known, weights, axis=-1))
                    if len(true)
                    else np.full(len(weights), np.nan)
                )
                sample[figure.key].append(drawn)
        value = {
            figure.key: float(figure.metric(*picked[figure.key][:2])) if len(picked[figure.key][0]) else np.nan
            for figure in wanted
        }
    return Judged(name, answers, value, {key: np.concatenate(parts) for key, parts in sample.items()})


def difference(recipe: Recipe, figure: Figure, first: Side, second: Side) -> tuple[Estimate, float | None]:
    """First less second on the same bootstrap replicates, and the p value of no difference.

    With the spread between seeds where sides are systems.
    """
    true, _, known = figure.pick(recipe, first.members[0].answers)
    persons = first.members[0].answers.person[known]
    few, n = effective_sample_size(figure.metric, true, persons), len(np.unique(persons))
    gap = first.value(figure.key) - second.value(figure.key)
    if not np.isfinite(gap):
        return Estimate(None, None, None, n, "not estimable: a class has no case"), None
    if few < MIN_PERSONS:
        return Estimate(gap, None, None, n, too_few(few)), None
    between = between_persons(first.draws(figure.key) - second.draws(figure.key), few)
    seeds = [*first.between_seeds(figure.key), *second.between_seeds(figure.key)]
    return t_interval(gap, [between, *seeds], n, "persons and seeds" if seeds else "draws of persons")


def between_persons(draws: Array, few: int) -> tuple[float, float]:
    """Variance of a figure over bootstrap replicates of persons, and its degrees of freedom.

    `n_effective` counts the persons of the rarest class.
    """
    kept = draws[~np.isnan(draws)]
    return float(kept.var()) * few / (few - 1) if len(kept) else 0.0, few - 1.0


def t_interval(gap: float, parts: Sequence[tuple[float, float]], persons: int, source: str) -> tuple[Estimate, float | None]:
    """A difference whose variance is the sum of independent parts, each with its degrees of freedom.

    And its p value.

    Welch's t with the degrees of freedom of Satterthwaite (1946).
    """
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        note = f"no interval: {source} make no difference"
        return Estimate(gap, None, None, persons, note), 1.0 if gap == 0 else None
    freedom = variance**2 / sum(part**2 / free for part, free in parts)
    error = variance**0.5
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    note = f"t interval, {source}, standard error {error:.4f}, {freedom:.0f} degrees of freedom"
    found = Estimate(gap, max(-1.0, gap - reach), min(1.0, gap + reach), persons, note)
    return found, 2 * float(stdtr(freedom, -abs(gap) / error))


def answers_of(run: Run) -> tuple[list[Case], Answers]:
    """Test cases of a finished run with truth, calibrated probabilities and forced decisions.

    `answered` is all.
    """
    scores, calibration = run.scores("test"), calibration_of_run(run)
    by_id = {case.id: case for case in run.cases("test")}
    cases = [by_id[case] for case in scores.ids]
    probability = calibration.probabilities(scores.logits).astype(np.float64)
    known = truth(run.recipe.task, run.recipe.classes, cases).astype(np.float64)
    person = person_codes([f"person {case.group}" if case.group else f"case {case.id}" for case in cases], len(cases))
    called = calibration.choose(probability, logits=scores.logits).astype(float)
    return cases, Answers(known, probability, called, np.ones(len(cases), bool), person)


def _strata_truth(recipe: Recipe, answers: Answers) -> Values:
    return answers.truth if isinstance(recipe.task, MultiLabel) else answers.truth.argmax(1)
