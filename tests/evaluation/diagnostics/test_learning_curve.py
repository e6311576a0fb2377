"""The learning curve: nested persons, held-out persons, a line that is found again, and intervals that agree with the house's."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from resdx.data.cases import Case
from resdx.data.phantoms import draw_phantoms
from resdx.data.tasks import Classify, truth
from resdx.evaluation.diagnostics.learning_curve import (
    area_of,
    areas_of,
    judged,
    learning_curve,
    nested,
    plan_of,
    slope_of,
)
from resdx.metrics.classification import macro_auroc
from resdx.metrics.intervals import estimate
from resdx.models.network import build
from resdx.models.specs import Net, ResNet
from resdx.models.weights import save_state
from resdx.recipes.learning import FeatureClassifier
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.stages import repeat
from resdx.studies.start import start

SIZES = (20, 40, 80, 160)


def people(count=120, images=2):
    cases = [Case(f"c{i}", "", f"p{i // images}", ("b" if i // images % 3 else "a",)) for i in range(count * images)]
    return cases, truth(Classify(), ("a", "b"), cases)


def test_every_beginning_of_the_order_holds_the_classes_in_their_shares():
    _, known = people()
    person = np.repeat(np.arange(120), 2)
    order = nested(known, person, seed=[0, 0])
    assert sorted(order) == list(range(120))
    for size in (12, 30, 60):
        assert abs((order[:size] % 3 == 0).sum() - size / 3) <= 1
    assert (nested(known, person, seed=[0, 1]) != order).any()


def test_smaller_sets_lie_inside_larger_ones_and_no_held_out_person_is_learnt_from():
    cases, known = people()
    plan = plan_of(cases, known, shares=(0.1, 0.2, 0.5, 1), seeds=2, seed=0)
    assert plan.persons == (16, 40, 80)  # a tenth of 80 would be too few
    group = np.array([case.group for case in cases])
    for seed in range(2):
        sets = [set(rows[seed]) for rows in plan.learnt]
        assert sets[0] < sets[1] < sets[2] == set(range(240)) - set(plan.held)
        assert [len(set(group[list(rows)])) for rows in sets] == [16, 40, 80]
    assert not set(group[plan.held]) & set(group[plan.learnt[-1][0]])


@pytest.mark.parametrize("count", [15, 40])
def test_too_few_persons_make_no_plan(count):
    cases, known = people(count)
    assert plan_of(cases, known, shares=(0.1, 0.5, 1), seeds=1, seed=0).startswith("not estimable")


def test_slope_of_a_straight_line_is_found_again():
    areas = 0.5 + 0.03 * np.log2(np.repeat(np.array(SIZES)[:, None], 3, 1))
    doubling, price = slope_of(SIZES, areas, areas[:, :1] + np.random.default_rng(0).normal(0, 0.01, 500), 50, 100)
    assert doubling.value == pytest.approx(0.03) and price.value == pytest.approx(0.03 / (160 * math.log(2)))
    assert doubling.low == pytest.approx(doubling.high)  # what shifts all sizes alike does not touch the slope


def test_interval_of_the_slope_covers_as_it_says():
    rng, hits = np.random.default_rng(0), []
    for _ in range(400):
        person, seed = rng.normal(0, 0.004, (4, 1)), rng.normal(0, 0.006, (4, 3))
        areas = 0.6 + 0.02 * np.log2(np.array(SIZES))[:, None] + person + seed
        draws = areas.mean(1, keepdims=True) + rng.normal(0, 0.004, (4, 300))
        found, _ = slope_of(SIZES, areas, draws, 60, 100)
        hits.append(found.low <= 0.02 <= found.high)
    assert 0.92 < np.mean(hits) <= 0.99


def test_interval_of_one_seed_is_that_of_the_house():
    rng = np.random.default_rng(0)
    known = np.eye(2, dtype=np.float32)[rng.integers(2, size=300)]
    said = np.clip(0.5 + 0.2 * (known - 0.5) + rng.normal(0, 0.2, known.shape), 0, 1).astype(np.float32)
    codes = np.arange(300) // 2
    areas, draws = areas_of(known, said[None, None], codes)
    assert areas[0, 0] == pytest.approx(macro_auroc(known, said))
    found, expected = area_of(areas[0], draws[0], 120, 150), estimate(macro_auroc, known, said, codes)
    assert_allclose([found.value, found.low, found.high], [expected.value, expected.low, expected.high], atol=0.006)


def test_seeds_that_differ_widen_the_interval():
    draws = np.random.default_rng(0).normal(0.8, 0.02, 1000)
    alike, apart = (area_of(np.array(seeds), draws, 50, 100) for seeds in ([0.8, 0.8, 0.8], [0.75, 0.8, 0.85]))
    assert apart.low < alike.low < 0.8 < alike.high < apart.high


def test_exact_learner_is_asked_once_for_the_same_persons():
    cases, known = people()
    plan = plan_of(cases, known, shares=(0.2, 0.5, 1), seeds=3, seed=0)
    asked = []

    def learner(rows, others, seed):
        asked.append(len(rows))
        return np.zeros((len(others), 2), np.float32)

    assert judged(plan, learner, exact=True).shape == (3, 3, len(plan.held), 2) and len(asked) == 7
    judged(plan, learner)
    assert len(asked) == 16


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A run of 150 persons on features of a small network at random, which is all that the curve needs of it."""
    folder = tmp_path_factory.mktemp("curve")
    draw_phantoms(folder / "films", persons=150, images=1, size=32, prevalence=0.5, shortcut=1.0)
    run = start(folder / "films", out=folder / "store" / "run", changes=[("size", "32")], quiet=True)
    for stage in ("scan", "audit", "split"):
        accepted = ("one-source-class", "source-determines-class", "file-determines-class")
        repeat(Run.open(run.path, quiet=True).changed(accepted=accepted), stage)
    run = Run.open(run.path, quiet=True)
    run = replace(run, recipe=replace(run.recipe, model=Net(ResNet(18, frozen="all")), learn=FeatureClassifier()))
    save_state(build(run.recipe.model, 2), run.path / "best.safetensors")
    return run


def test_run_on_frozen_features_gets_points_and_a_price(frozen):
    learning_curve(frozen, prepared_of(frozen), shares=(0.3, 0.6, 1), seeds=2)
    found = json.loads((frozen.path / "learning-curve.json").read_text())
    assert [point["seeds"] for point in found["points"]] == [2, 2, 1]
    persons = [point["persons"] for point in found["points"]]
    outside = sum(len(frozen.cases(part)) for part in ("train", "tune", "calib"))
    assert persons == sorted(persons) and persons[-1] + found["slope"]["n"] == outside
    for point in found["points"]:
        assert point["auroc"]["low"] <= point["auroc"]["value"] <= point["auroc"]["high"]
    assert found["per_person"]["value"] == pytest.approx(found["slope"]["value"] / persons[-1] / math.log(2))
    assert "regression on frozen features" in found["note"]


def test_small_run_says_why_it_has_no_curve(twin):
    run = twin("train")
    learning_curve(run, prepared_of(run))
    assert "not estimable" in json.loads((run.path / "learning-curve.json").read_text())["missing"]
