"""Learning curve: AUROC on held-out persons against the number of persons learnt from.

A third of the persons outside the test part is held out; of the others, growing shares are learnt from, the smaller inside the
larger. AUROC is taken as a straight line in the logarithm of persons, which holds over the range that is measured and flattens
beyond it (Figueroa et al. 2012). The test part is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.progress import TaskID
from scipy.special import expit, logit, stdtrit

from ...data.cases import Case
from ...data.split import grouped_folds
from ...files import write_json
from ...inference.logits import head_logits, predict_run
from ...metrics.bootstrap import resample
from ...metrics.classification import Array, macro_auroc
from ...metrics.estimate import Estimate
from ...metrics.intervals import LEVEL, MIN_PERSONS, effective_sample_size, too_few
from ...recipes.learning import FeatureClassifier
from ...runs.partition import part_of_cases
from ...runs.prepared import Prepared
from ...runs.run import Run
from ...training.frozen_features import chosen_setting, fitter
from ...training.sklearn_heads import named, settings_of
from .probe import (
    DEPTH,
    MOST,
    SIZE,
    ask,
    cases_of,
    classes_asked,
    persons_of,
    settle_dtype,
    shrink,
)

SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
HELD = 3  # one part in so many is held out
MOST_FROZEN = 10_000  # cases that a classifier on frozen features is asked with
DRAWS = 1000
EDGE = 1e-4  # an AUROC of 1 has no logit

Rows = NDArray[np.intp]
Learner = Callable[[Rows, Rows, int], NDArray[np.float32]]  # cases to learn from, cases to judge, seed -> probabilities (N, K)


@dataclass(frozen=True)
class Plan:
    """Who is held out and who is learnt from.

    Positions of cases, one array for each fraction and seed, and the persons of each fraction.
    """

    held: Rows
    learnt: tuple[tuple[Rows, ...], ...]
    persons: tuple[int, ...]


def learning_curve(run: Run, prepared: Prepared, *, shares: Sequence[float] = SHARES, seeds: int = 3) -> None:
    """Learn from growing shares of the persons and judge those held out; writes learning-curve.json.

    A classifier on frozen features is fitted again on each share. A network that was trained is not, which would take days, and
    its own embeddings cannot be used, since they have seen every share: the small probe of the controls takes its place.

    Raises:
        RunError: the run is not trained yet.
    """
    frozen = isinstance(run.recipe.learn, FeatureClassifier)
    cases = cases_of(run, prepared, most=MOST_FROZEN if frozen else MOST)
    known = part_of_cases(run, prepared, cases).truth
    plan = plan_of(cases, known, shares=shares, seeds=seeds, seed=run.settings.seed)
    held = [] if isinstance(plan, str) else [cases[i] for i in plan.held]
    asked = plan if isinstance(plan, str) else classes_asked(run, known[plan.held], persons_of(held))
    if isinstance(plan, str) or isinstance(asked, str):
        write_json(run.path / "learning-curve.json", {"missing": f"{asked}; a learning curve holds out a third of the persons"})
        return
    learner = feature_learner(run, prepared, cases) if frozen else probe_learner(run, prepared, cases)
    with run.progress("learning curve", len(plan.persons) * seeds) as bar:
        said = judged(plan, learner, exact=frozen, tick=lambda: bar.advance(TaskID(0)))
    truth, person = known[plan.held][:, asked.columns], persons_of(held)
    areas, draws = areas_of(truth, said[..., asked.columns], person)
    few, persons = effective_sample_size(macro_auroc, truth, person), int(person.max()) + 1
    points = [
        {"persons": count, "cases": len(rows[0]), "auroc": area_of(area, draw, few, persons).to_json(), "seeds": len(area)}
        for count, rows, area, draw in zip(plan.persons, plan.learnt, _apart(areas, frozen), draws, strict=True)
    ]
    slope, price = slope_of(plan.persons, areas, draws, few, persons)
    written = {"points": points, "slope": slope.to_json(), "per_person": price.to_json(), "class": asked.name}
    write_json(
        run.path / "learning-curve.json",
        {**written, "note": _note(plan, slope, price, persons, named(run.recipe.model.head) if frozen else "")},
    )
    run.say(
        f"learning curve: twice as many persons bring {slope} of AUROC; one more than {plan.persons[-1]} brings {price.value:.6f}"
    )


def plan_of(cases: Sequence[Case], truth: NDArray[np.float32], *, shares: Sequence[float], seeds: int, seed: int) -> Plan | str:
    """Held-out cases and, for each share and seed, those learnt from; or why there are too few persons."""
    person = persons_of(cases)
    if (count := int(person.max()) + 1) < 2 * MIN_PERSONS:
        return f"not estimable: {count} persons outside the test part are too few"
    held = grouped_folds(cases, person.tolist(), HELD, seed) == 0
    free = np.flatnonzero(~held)
    orders = [nested(truth[free], person[free], seed=[seed, one]) for one in range(seeds)]
    sizes = sorted({math.ceil(share * len(orders[0]) - 1e-9) for share in shares if share * len(orders[0]) >= MIN_PERSONS})
    if len(sizes) < 3:
        return f"not estimable: {len(orders[0])} persons to learn from make fewer than three sizes of at least {MIN_PERSONS}"
    learnt = tuple(tuple(free[np.isin(person[free], order[:size])] for order in orders) for size in sizes)
    return Plan(np.flatnonzero(held), learnt, tuple(sizes))


def nested(truth: NDArray[np.float32], person: Rows, *, seed: Sequence[int]) -> Rows:
    """Persons in an order whose every beginning has the classes in proportion.

    As far as whole persons can.
    """
    names, code = np.unique(person, return_inverse=True)
    rng = np.random.default_rng(seed)
    has = np.stack([np.bincount(code, column == 1, len(names)) > 0 for column in truth.T], 1)
    _, kind, sizes = np.unique(has, axis=0, return_inverse=True, return_counts=True)
    key = np.empty(len(names))
    for one, size in enumerate(sizes):  # each kind is spread evenly from 0 to 1
        key[kind == one] = (rng.permutation(size) + rng.random()) / size
    return np.asarray(names[np.argsort(key, kind="stable")])


def feature_learner(run: Run, prepared: Prepared, cases: Sequence[Case]) -> Learner:
    """The run's own classifier on frozen features, with the setting it has chosen.

    The seed changes nothing.
    """
    x = predict_run(run, prepared, prepared.rows([case.id for case in cases])).embeddings.astype(np.float64)
    targets, task, learn = part_of_cases(run, prepared, cases).targets, run.recipe.task, run.recipe.learn
    assert isinstance(learn, FeatureClassifier)
    setting = chosen_setting(run) or settings_of(run.recipe.model.head, learn)[0]

    def learn_and_judge(rows: Rows, others: Rows, seed: int) -> NDArray[np.float32]:
        return task.probabilities(head_logits(fitter(run)(setting, x[rows], targets[rows]), x[others]))

    return learn_and_judge


def probe_learner(run: Run, prepared: Prepared, cases: Sequence[Case]) -> Learner:
    """The probe of the controls, from random weights each time."""
    pictures = shrink(prepared, cases)
    part = part_of_cases(run, pictures, cases)
    settled = settle_dtype(run, pictures, part)
    return lambda rows, others, seed: ask(settled, pictures, part.at(rows), part.rows[others], seed=seed)


def judged(
    plan: Plan, learner: Learner, *, exact: bool = False, tick: Callable[[], object] = lambda: None
) -> NDArray[np.float32]:
    """Probabilities (shares, seeds, held-out cases, K).

    An `exact` learner gives the same for the same cases and is asked once.
    """
    out: list[list[NDArray[np.float32]]] = []
    for rows in plan.learnt:
        out.append([])
        for seed, some in enumerate(rows):
            same = exact and seed and np.array_equal(some, rows[0])
            out[-1].append(out[-1][0] if same else learner(some, plan.held, seed))
            tick()
    return np.array(out)


def areas_of(truth: NDArray[np.float32], said: NDArray[np.float32], codes: Rows) -> tuple[Array, Array]:
    """Macro AUROC of each fraction and seed (S, seeds), and of the mean over seeds by replicate (S, D).

    The bootstrap replicates of persons are the same for all fractions.
    """
    weights = list(resample(truth, codes, replicates=DRAWS, seed=0))
    value = np.array([[macro_auroc(truth, one) for one in share] for share in said])
    draws = [np.mean([np.concatenate([macro_auroc(truth, one, some) for some in weights]) for one in share], 0) for share in said]
    return value, np.array(draws)


def area_of(areas: Array, draws: Array, few: int, persons: int) -> Estimate:
    """The mean AUROC over seeds (k,), with its interval on the logit scale.

    From bootstrap replicates of persons (D,) and the spread over seeds.
    """
    value = float(areas.mean())
    reach = reach_of(logit(np.clip(areas, EDGE, 1 - EDGE)), logit(np.clip(draws, EDGE, 1 - EDGE)), few)
    if few < MIN_PERSONS or not reach > 0:
        return Estimate(value, None, None, persons, too_few(few) if few < MIN_PERSONS else "no interval: the draws do not differ")
    middle = float(logit(np.clip(value, EDGE, 1 - EDGE)))
    low, high = float(expit(middle - reach)), float(expit(middle + reach))
    note = (
        f"t interval on the logit scale from {draws.size} draws of held-out persons and {len(areas)} draws of those learnt from"
    )
    return Estimate(value, min(low, value), max(high, value), persons, note)


def slope_of(sizes: Sequence[int], areas: Array, draws: Array, few: int, persons: int) -> tuple[Estimate, Estimate]:
    """AUROC gained by doubling the persons, and by one more than the largest size.

    `areas` are (S, seeds), `replicates` (S, D).

    Least squares of AUROC on log2(persons), each size weighted by its persons: the smaller it is, the more it depends on who
    they are.
    """
    x, weight = np.log2(sizes), np.asarray(sizes, float)
    away = weight * (x - np.average(x, weights=weight))
    line = away / (away @ x)  # the slope is this times the areas
    value = float(line @ areas.mean(1))
    reach = reach_of(line @ areas, line @ draws, few)
    note = f"t interval from {draws.shape[1]} draws of held-out persons and {areas.shape[1]} draws of those learnt from"
    known = few >= MIN_PERSONS and reach > 0
    low, high = (value - reach, value + reach) if known else (None, None)
    doubling = Estimate(value, low, high, persons, note if known else too_few(few))
    per = 1 / (sizes[-1] * math.log(2))  # the derivative of log2 at the largest size
    scaled = [None if one is None else one * per for one in (value, low, high)]
    return doubling, replace(doubling, value=scaled[0], low=scaled[1], high=scaled[2])


def reach_of(by_seed: Array, draws: Array, few: int) -> float:
    """Half a t interval of a mean over seeds.

    Variance between persons and between seeds, added, with the degrees of freedom of Satterthwaite (1946).

    `by_seed` (seeds,) are the values, `draws` (D,) the mean over the seeds in draws of persons, `few` the persons of the
    rarest class.
    """
    seeds = len(by_seed)
    person = float(np.nanvar(draws, ddof=1)) * few / max(few - 1, 1)
    seed = float(by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    if not person + seed > 0:
        return 0.0
    freedom = (person + seed) ** 2 / (person**2 / max(few - 1, 1) + seed**2 / max(seeds - 1, 1))
    return float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(person + seed)


def _apart(areas: Array, exact: bool) -> list[Array]:
    """The areas of each share; one alone for all persons where the learner is exact."""
    return [area[:1] if exact and i == len(areas) - 1 and np.ptp(area) == 0 else area for i, area in enumerate(areas)]


def _fine(price: Estimate) -> str:
    """With enough digits for what one person brings."""
    if price.value is None or price.low is None or price.high is None:
        return "not estimable" if price.value is None else f"{price.value:.6f}"
    return f"{price.value:.6f} ({price.low:.6f} to {price.high:.6f})"


def _note(plan: Plan, slope: Estimate, price: Estimate, persons: int, classifier: str) -> str:
    if classifier:
        who = f"Each point is {classifier} on frozen features, as in the run and with its setting, fitted again."
    else:
        who = (
            f"Each point is a small probe (ResNet-{DEPTH}, {SIZE} px) trained anew, not the run's network, which would take "
            "days and "
            "whose embeddings have seen every person: read the slope, not the height."
        )
    return (
        f"{who} {persons} persons outside the test part are held out; the smaller sets of persons lie inside the larger. "
        "Twice as many "
        f"persons bring {slope}; beyond {plan.persons[-1]} persons one more brings {_fine(price)}. The line is straight in the "
        "logarithm of persons; a curve that flattens gives less. What new hospitals or classes would bring is not in it."
    )
