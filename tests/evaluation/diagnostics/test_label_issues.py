"""Doubtful labels: the confident joint as the paper counts it, planted errors found, kinds of tasks, and what a run writes."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from scipy.special import expit, softmax

from resdx.data.cases import Case
from resdx.data.label_corrections import read_decisions
from resdx.data.phantoms import draw_phantoms
from resdx.data.tasks import Classify, MultiLabel, Ordinal, truth
from resdx.evaluation.diagnostics.label_issues import (
    Opinions,
    claimed,
    contact_sheet,
    cross_fitted,
    estimated_share,
    suspected,
    suspects,
    wrong_share,
)
from resdx.runs.prepared import prepared_of

CLASSES = ("normal", "opacity")


def simulated(count=1000, flipped=0.1, strength=3.0, seed=0):
    """Cases of two images a person, calibrated probabilities from a latent score, and persons whose label is flipped."""
    rng = np.random.default_rng(seed)
    z = np.repeat(rng.normal(size=count // 2) * strength, 2) + rng.normal(size=count) * 0.3
    real = np.repeat(rng.random(count // 2) < expit(z[::2]), 2)
    wrong = np.repeat(rng.random(count // 2) < flipped, 2)
    cases = tuple(Case(f"c{i}", f"c{i}", f"p{i // 2}", (CLASSES[int(label)],)) for i, label in enumerate(real ^ wrong))
    p = np.stack([expit(-z), expit(z)], 1).astype(np.float32)
    return Opinions(cases, truth(Classify(), CLASSES, cases), p, blind=True), {f"c{i}" for i in np.flatnonzero(wrong)}


def precision(found, planted):
    """Of the first suspects, as many as were planted, the share that was (precision and recall are one there)."""
    first = sorted((one for one in found if one.kind == "label"), key=lambda one: -one.score)[: len(planted)]
    return np.mean([one.case.id in planted for one in first])


def joint(given, p):
    """The paper's algorithm as loops.

    Count confident claims, scale rows to the number of labels, take what is off the diagonal.
    """
    classes = range(p.shape[1])
    limit = [p[given == k, k].mean() for k in classes]
    counts = np.zeros((len(limit), len(limit)))
    for i, row in zip(given, p, strict=True):
        if able := [k for k in classes if row[k] >= limit[k]]:
            counts[i, max(able, key=lambda k: row[k])] += 1
    scaled = counts / counts.sum(1, keepdims=True) * np.bincount(given)[:, None]
    return 1 - np.trace(scaled) / scaled.sum()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_wrong_share_is_that_of_the_confident_joint(classes):
    rng = np.random.default_rng(classes)
    given = rng.integers(classes, size=300)
    p = softmax(rng.normal(size=(300, classes)) + 2 * np.eye(classes)[rng.permutation(given)] + np.eye(classes)[given], 1)
    assert wrong_share(given, p) == pytest.approx(joint(given, p))


def test_weight_of_a_case_counts_as_so_many_of_it():
    rng = np.random.default_rng(0)
    given, p, weights = rng.integers(3, size=80), softmax(rng.normal(size=(80, 3)), 1), rng.integers(1, 4, size=(5, 80))
    expected = [wrong_share(np.repeat(given, one), np.repeat(p, one, 0)) for one in weights]
    assert_allclose(wrong_share(given, p, weights.astype(float)), expected)


def test_class_is_claimed_by_its_own_threshold():
    given = np.array([0, 0, 1, 1, 0])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.8, 0.2], [0.62, 0.38]])  # limits: .773 and .3
    assert claimed(given, p).tolist() == [0, 0, 1, 0, 1]
    assert claimed(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]])).tolist() == [0, 1]


@pytest.mark.parametrize("strength", [3.0, 6.0])
def test_most_planted_errors_are_among_the_first(strength):
    some, planted = simulated(strength=strength)
    found = suspected(Classify(), CLASSES, some)
    assert precision(found, planted) > {3.0: 0.6, 6.0: 0.75}[strength]
    shown = contact_sheet(found)
    assert len(shown) == 48 and np.mean([one.case.id in planted for one in shown if one.kind == "label"]) > 0.9


def test_estimate_holds_the_planted_share_where_the_model_is_good():
    some, planted = simulated(strength=20.0)
    share = estimated_share(Classify(), [some])
    assert share.low < len(planted) / len(some.cases) < share.high and share.n == 500
    none, _ = simulated(strength=20.0, flipped=0.0)
    assert estimated_share(Classify(), [none]).value < 0.03


def test_weak_model_estimates_no_share_for_it_would_count_its_own_errors():
    some, _ = simulated(strength=1.0, flipped=0.0)
    assert wrong_share(some.truth.argmax(1), some.probabilities) > 0.2
    assert estimated_share(Classify(), [some]) is None


def test_sheet_has_the_surest_first_and_few_that_cannot_be_told():
    some, _ = simulated()
    shown = contact_sheet(suspected(Classify(), CLASSES, some))
    kinds = [one.kind for one in shown]
    assert kinds == ["label"] * 36 + ["hard"] * 12
    assert [one.score for one in shown[:36]] == sorted((one.score for one in shown[:36]), reverse=True)
    assert all(abs(one.score) < 0.3 for one in shown[36:])


def test_several_labels_are_doubted_one_by_one_and_unknown_ones_not_at_all():
    rng = np.random.default_rng(0)
    names, real = ("a", "b"), rng.random((200, 2)) < 0.5
    p = np.where(real, 0.95, 0.05).astype(np.float32)
    given = real.copy()
    given[0, 1] = ~given[0, 1]
    cases = tuple(
        Case(f"c{i}", "", f"p{i}", tuple(name for name, is_in in zip(names, row, strict=True) if is_in))
        for i, row in enumerate(given)
    )
    known = given.astype(np.float32)
    found = suspected(MultiLabel(), names, Opinions(cases, known, p, blind=True))
    assert [(one.case.id, one.kind) for one in found] == [("c0", "label")]
    assert {found[0].label, found[0].model_label} == {"b", "no b"}
    assert set(found[0].labels) == {name for name, is_in in zip(names, real[0], strict=True) if is_in}
    known[0, 1] = np.nan
    assert not suspected(MultiLabel(), names, Opinions(cases, known, p, blind=True))


def test_grades_are_doubted_like_classes():
    names = ("0", "1", "2")
    given = np.repeat([0, 1, 2], 20)
    given[0] = 1  # one grade off
    cases = tuple(Case(f"c{i}", "", f"p{i}", (names[k],)) for i, k in enumerate(given))
    p = (0.05 + 0.85 * np.eye(3)[np.repeat([0, 1, 2], 20)]).astype(np.float32)
    found = suspected(Ordinal(), names, Opinions(cases, truth(Ordinal(), names, cases), p, blind=True))
    assert [(one.case.id, one.label, one.model_label) for one in found] == [("c0", "1", "0")]


def test_planted_labels_of_phantoms_are_found_by_simple_features(tmp_path):
    """Features that follow the true label, not the filed one, as those of a frozen backbone do.

    Nobody is judged by a fit that saw him.
    """
    planted = draw_phantoms(tmp_path / "films", persons=120, images=1, size=48, label_noise=0.1, prevalence=0.5)
    cases = tuple(Case(case.id, case.path, case.group, (case.id.split("/")[0],)) for case in planted.manifest.cases)
    rng = np.random.default_rng(0)
    ill = np.array([case.label == "opacity" for case in planted.manifest.cases])
    x = rng.normal(size=(120, 20)) + 1.5 * ill[:, None] * (np.arange(20) < 5)
    p = cross_fitted(Classify(), CLASSES, cases, x, penalty=0.1, seed=0)
    some = Opinions(cases, truth(Classify(), CLASSES, cases), p, blind=True)
    wrong = set(planted.mislabelled)
    assert len(wrong) == 12 and precision(suspected(Classify(), CLASSES, some), wrong) >= 0.75


def test_run_writes_a_sheet_with_pictures_and_a_table_to_fill_in(twin):
    run = twin("evaluate")
    suspects(run, prepared_of(run))
    found = json.loads((run.path / "suspects.json").read_text())
    shown = found["suspects"]
    parts = {case.id: part for part in ("train", "tune", "calib", "test") for case in run.cases(part)}
    assert shown and all(parts[one["case"]] == one["part"] for one in shown)
    assert Image.open(run.path / shown[-1]["picture"]).size == (32, 32)
    assert len(list((run.path / "suspects").iterdir())) == len(shown) <= 48
    assert "The backbone has learnt from" in found["note"]
    with (run.path / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == [one["case"] for one in shown]
    assert all(row["model"] != row["given"] for row in rows)
    assert read_decisions(run.path / "suspects.csv") == ()  # nothing is decided by not looking


def test_case_that_keeps_its_label_is_not_shown_again(twin):
    run = twin("evaluate")
    prepared = prepared_of(run)
    suspects(run, prepared)
    first = json.loads((run.path / "suspects.json").read_text())["suspects"][0]["case"]
    decisions = run.store / "label-decisions.csv"
    decisions.write_text(f"case,sha256,decision,label\n{first},x,keep,\n")
    try:
        suspects(run, prepared)
    finally:
        decisions.unlink()
    again = json.loads((run.path / "suspects.json").read_text())
    assert first not in [one["case"] for one in again["suspects"]] and "not shown again" in again["note"]


def test_what_was_decided_before_stays_in_the_table(twin):
    run = twin("evaluate")
    prepared = prepared_of(run)
    suspects(run, prepared)
    table = run.path / "suspects.csv"
    rows = list(csv.DictReader(table.open(newline="")))
    first, second = rows[0], rows[1]
    decisions = run.store / "label-decisions.csv"
    decisions.write_text(f"case,sha256,decision,label,by\n{first['case']},{first['sha256']},relabel,{first['model']},A. Reader\n")
    text = table.read_text().replace(f"{second['case']},{second['sha256']},,", f"{second['case']},{second['sha256']},exclude,")
    table.write_text(text)
    try:
        suspects(run, prepared)
    finally:
        decisions.unlink()
    found = {one.case: one for one in read_decisions(table)}
    assert found[first["case"]].labels == (first["model"],) and found[first["case"]].by == "A. Reader"
    assert found[second["case"]].decision == "exclude" and len(found) == 2
