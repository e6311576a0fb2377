"""The probe: what it is given, and that it learns what is plain, the same way each time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from resdx.data.cases import Case
from resdx.evaluation.diagnostics import probe
from resdx.evaluation.diagnostics.probe import (
    Asked,
    ask,
    by_fold,
    cases_of,
    classes_asked,
    persons_of,
    shrink,
)
from resdx.metrics.classification import macro_auroc
from resdx.runs.partition import part_of_cases
from resdx.runs.prepared import prepared_of


@pytest.fixture(scope="module")
def run(study):
    choices = {**study.run.settings.choices, "probe_dtype": "float32"}
    return replace(study.run, settings=replace(study.run.settings, choices=choices))


@pytest.fixture(scope="module")
def prepared(run):
    return prepared_of(run)


def test_test_part_is_never_among_the_cases(run, prepared):
    cases = cases_of(run, prepared)
    assert not {case.id for case in cases} & {case.id for case in run.cases("test")}
    assert len(cases) == len(run.manifest) - len(run.cases("test"))


def test_sample_takes_whole_persons_and_keeps_the_classes(run, prepared):
    everyone, some = cases_of(run, prepared), cases_of(run, prepared, most=50)
    assert 40 <= len(some) <= 50
    of_all = {case.group: sum(one.group == case.group for one in everyone) for case in everyone}
    assert all(sum(one.group == case.group for one in some) == of_all[case.group] for case in some)
    share = [np.mean([case.label == "opacity" for case in cases]) for cases in (everyone, some)]
    assert abs(share[0] - share[1]) < 0.1
    assert cases_of(run, prepared, most=50) == some


def test_persons_of_many_cases_are_thinned_before_persons_are_left_out():
    held = [3, 40, 12, 100]
    cases = [Case(f"{person}-{i}", (f"{person}-{i}.png",), group=str(person)) for person, n in enumerate(held) for i in range(n)]
    counts = [sum(case.group == str(person) for case in probe._thinned(cases, 60, 0)) for person in range(4)]
    assert counts == [3, 22, 12, 22]  # 23 of each would be 61
    assert len(probe._thinned(cases, 20, 0)) == 33  # three and three times LEAST: whole persons go then
    assert probe._thinned(cases, 200, 0) == cases
    few = probe._thinned(cases, 60, 0)
    assert few == sorted(few, key=cases.index) and few != probe._thinned(cases, 60, 1)


def test_pictures_are_shrunk_in_the_order_of_the_cases(run, prepared):
    cases = cases_of(run, prepared)[::-1][:5]
    small = shrink(prepared, cases)
    assert small.images.shape == (5, 64, 64, prepared.images.shape[3]) and small.images.dtype == np.uint8
    for case, image in zip(cases, small.images, strict=True):
        assert abs(image.mean() - prepared.images[prepared.row[case.id]].mean()) < 2


def test_probe_learns_what_is_plain_and_does_so_again(run, prepared):
    cases = cases_of(run, prepared)
    small = shrink(prepared, cases)
    part = part_of_cases(run, small, cases)
    grain = np.random.default_rng(0).integers(0, 60, small.images.shape)
    plain = replace(small, images=(grain + 120 * part.truth[:, 1, None, None, None]).astype(np.uint8))
    learnt, judged = part.at(np.arange(0, 60)), np.arange(60, len(cases))
    before = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}
    assert macro_auroc(part.truth[judged], ask(run, plain, learnt, judged, seed=1, steps=8)) > 0.95
    np.testing.assert_array_equal(*(ask(run, plain, learnt, judged, seed=1, steps=1) for _ in range(2)))
    assert {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()} == before  # nothing is written


def test_area_of_two_folds_is_the_mean_of_both_and_weights_count_cases():
    rng = np.random.default_rng(0)
    truth, answer, fold = rng.integers(0, 2, (40, 1)).astype(float), rng.random((40, 1)), np.arange(40) % 2
    each = [float(macro_auroc(truth[fold == k], answer[fold == k])) for k in (0, 1)]
    assert float(by_fold(fold)(truth, answer)) == pytest.approx(np.mean(each))
    weight = rng.integers(1, 4, 40)
    again = np.repeat(np.arange(40), weight)
    assert float(by_fold(fold)(truth, answer, weight)) == pytest.approx(float(by_fold(fold[again])(truth[again], answer[again])))


def test_classes_of_few_persons_are_left_out(run):
    truth = np.eye(2, dtype=np.float32)[np.arange(40) % 2]
    assert isinstance(asked := classes_asked(run, truth, np.arange(40)), Asked)
    assert asked.columns.tolist() == [1] and asked.name == "opacity" and asked.left_out == ()
    three = replace(run, recipe=replace(run.recipe, classes=("a", "b", "c")))
    asked = classes_asked(three, np.eye(3, dtype=np.float32)[[0] * 20 + [1] * 15 + [2] * 5], np.arange(40))
    assert asked.columns.tolist() == [0, 1] and asked.name == "macro" and asked.left_out == ("c",)
    assert classes_asked(run, truth[:10], np.arange(10)) == (
        "not estimable: no class is had and lacked by 10 persons outside the test part (at most 5)"
    )


def test_person_without_a_name_is_its_own(run, prepared):
    cases = [replace(case, group="") for case in cases_of(run, prepared)[:3]]
    assert sorted(persons_of(cases)) == [0, 1, 2]
