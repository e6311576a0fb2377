"""Differences of figures against brute force and against what simulated studies really do."""

import numpy as np
import pytest
from scipy.stats import ttest_ind
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from resdx.data.tasks import Classify, MultiLabel
from resdx.evaluation.figures import (
    Side,
    between_persons,
    difference,
    figures,
    judge_figures,
    t_interval,
)
from resdx.evaluation.outputs import Answers
from resdx.metrics.classification import balanced_accuracy
from resdx.recipes.recipe import Recipe

TWO = Recipe("films", "Films", task=Classify("opacity"), classes=("normal", "opacity"))


def answers(yes, score, person=None):
    p = 1 / (1 + np.exp(-score))
    probability = np.stack([1 - p, p], 1)
    truth = np.stack([1 - yes, yes], 1).astype(float)
    person = np.arange(len(yes)) if person is None else person
    return Answers(truth, probability, np.eye(2)[(p >= 0.5).astype(int)], np.ones(len(yes), bool), person)


def simulated(seed, n=80, images=1, shifts=(1.0, 0.5)):
    """One truth and as many models as there are shifts; images of a person share their noise by half."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(n), images)
    yes = rng.permutation(np.arange(n) % 2)[person]
    shared = rng.normal(size=n)[person]
    return [answers(yes, shift * yes + shared + rng.normal(size=n * images) - shift / 2, person) for shift in shifts]


def side(name, *parts, recipe=TWO, draws=400):
    return Side(name, tuple(judge_figures(name, recipe, figures(recipe), one, draws=draws) for one in parts))


def of(name, recipe=TWO):
    return next(figure for figure in figures(recipe) if figure.name == name)


def test_values_equal_scikit_learn():
    (one,) = simulated(0, shifts=(1.0,))
    found = side("a", one).members[0].value
    yes, p = one.truth[:, 1], one.probability[:, 1]
    assert found["auroc opacity"] == pytest.approx(roc_auc_score(yes, p))
    assert found["average_precision opacity"] == pytest.approx(average_precision_score(yes, p))
    assert found["brier opacity"] == pytest.approx(brier_score_loss(yes, p))


@pytest.mark.parametrize("name", ["auroc", "average_precision", "balanced_accuracy", "brier"])
def test_error_of_a_difference_equals_a_loop_over_persons(name):
    first, second = simulated(1, n=60, images=3)
    figure, rng = of(name), np.random.default_rng(9)
    sides = [np.flatnonzero(np.bincount(first.person, first.truth[:, k]) > 0) for k in (0, 1)]
    loop = []
    for _ in range(400):
        drawn = np.concatenate([rng.choice(persons, len(persons)) for persons in sides])
        rows = np.concatenate([np.flatnonzero(first.person == person) for person in drawn])
        true, ours, _ = figure.pick(TWO, first)
        loop.append(float(figure.metric(true[rows], ours[rows]) - figure.metric(true[rows], figure.pick(TWO, second)[1][rows])))
    found, _ = difference(TWO, figure, side("a", first), side("b", second))
    reach = (found.high - found.low) / 2
    assert reach == pytest.approx(2.045 * np.std(loop) * (30 / 29) ** 0.5, rel=0.15)  # t with 29 degrees of freedom
    assert found.n == 60


def test_a_model_does_not_differ_from_itself():
    (one,) = simulated(2, shifts=(1.0,))
    found, p = difference(TWO, of("auroc"), side("a", one), side("b", one))
    assert (found.value, found.low, p) == (0, None, 1.0)


def test_few_persons_get_no_interval():
    first, second = simulated(3, n=18)
    found, p = difference(TWO, of("auroc"), side("a", first), side("b", second))
    assert found.low is None and p is None and "9 persons in the smallest class" in found.note
    assert difference(TWO, of("brier"), side("a", first), side("b", second))[0].low is not None  # a mean over all 18


def test_a_class_without_cases_is_not_estimable():
    first, second = simulated(4)
    nobody = [one.where(one.truth[:, 1] == 0) for one in (first, second)]
    found, p = difference(TWO, of("auroc"), side("a", nobody[0]), side("b", nobody[1]))
    assert found.value is None and p is None and "a class has no case" in found.note


def test_two_parts_of_variance_are_welch():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.1, 1, 12) / 8, rng.normal(0, 3, 7) / 8
    parts = [(one.var(ddof=1) / len(one), len(one) - 1.0) for one in (first, second)]
    found, p = t_interval(first.mean() - second.mean(), parts, 19, "test")
    theirs = ttest_ind(first, second, equal_var=False)
    assert p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))


def test_variance_between_persons_is_that_of_the_draws():
    draws = np.array([0.1, 0.3, np.nan, 0.2])
    assert between_persons(draws, 11) == (pytest.approx(np.nanvar(draws) * 1.1), 10)


def test_seeds_widen_the_interval_of_a_system():
    many = simulated(5, n=200, shifts=(1.0, 1.6, 0.6, 1.0, 1.7, 0.5))
    system = difference(TWO, of("auroc"), side("a", *many[:3]), side("b", *many[3:]))[0]
    model = difference(TWO, of("auroc"), side("a", many[0]), side("b", many[3]))[0]
    assert system.high - system.low > model.high - model.low
    assert "persons and seeds" in system.note and "persons and seeds" not in model.note


def test_equal_systems_are_rarely_told_apart():
    """Seeds scatter and persons are drawn: the chance of a false alarm stays at about 1 in 20, where models would give 1 in 3."""
    rng, alarms, models = np.random.default_rng(6), 0, 0
    for trial in range(60):
        shifts = 1.2 + 0.5 * rng.normal(size=6)
        many = simulated(1000 + trial, n=100, shifts=shifts)
        ours, theirs = side("a", *many[:3], draws=100), side("b", *many[3:], draws=100)
        alarms += difference(TWO, of("auroc"), ours, theirs)[1] < 0.05
        one, other = (Side("", part.members[:1]) for part in (ours, theirs))
        models += difference(TWO, of("auroc"), one, other)[1] < 0.05
    assert alarms <= 7  # 60 / 20 = 3, and more than 7 has a chance of 1 in 100
    assert models > 12


def test_several_labels_are_masked_where_not_assessed():
    recipe = Recipe("labels", "Labels", task=MultiLabel(), classes=("a", "b"))
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (80, 2)).astype(float)
    truth[:30, 1] = np.nan
    p = np.clip(np.nan_to_num(truth, nan=0.5) * 0.3 + rng.random((80, 2)) * 0.6, 0, 1)
    both = Answers(truth, p, (p > 0.5).astype(float), np.ones(80, bool), np.arange(80))
    found = side("a", both, recipe=recipe).members[0].value
    assert found["auroc b"] == pytest.approx(roc_auc_score(truth[30:, 1], p[30:, 1]))
    assert found["macro_auroc"] == pytest.approx((found["auroc a"] + found["auroc b"]) / 2)
    assert "accuracy" not in found and "macro_f1" in found


def test_main_figure_comes_first():
    three = Recipe("three", "Three", classes=("a", "b", "c"))
    assert figures(TWO)[0].key == "auroc opacity" and figures(three)[0].key == "macro_auroc"
    assert {figure.metric for figure in figures(TWO)} >= {balanced_accuracy}


def test_a_label_that_was_assessed_nowhere_has_no_figure():
    recipe = Recipe("labels", "Labels", task=MultiLabel(), classes=("a", "b"))
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (80, 2)).astype(float)
    truth[:, 1] = np.nan
    p = np.clip(np.nan_to_num(truth, nan=0.5) * 0.3 + rng.random((80, 2)) * 0.6, 0, 1)
    both = Answers(truth, p, (p > 0.5).astype(float), np.ones(80, bool), np.arange(80))
    one = side("a", both, recipe=recipe).members[0]
    assert np.isnan(one.value["auroc b"]) and np.isnan(one.draws["auroc b"]).all() and one.value["auroc a"] > 0.5
