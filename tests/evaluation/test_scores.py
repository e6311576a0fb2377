"""Scores of any library, judged.

The figures of scikit-learn and of a run's own scorecard, and one sentence for what cannot be judged.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from sklearn import metrics as reference

import resdx
from resdx.errors import DataError
from resdx.evaluation.scores import evaluate
from resdx.metrics import classification as metrics
from resdx.runs.level_scores import ClassScores

RNG = np.random.default_rng(0)
Y = RNG.integers(2, size=120)
P = np.clip(0.5 + (Y - 0.5) * 0.4 + RNG.normal(0, 0.2, 120), 0.01, 0.99)
WEIGHT = RNG.uniform(0.2, 3, 120)
PERSON = np.arange(120) // 2
GRADE = RNG.integers(3, size=120)
ROWS = RNG.dirichlet((1, 1, 1), 120) * 0.6 + np.eye(3)[GRADE] * 0.4


def values(figures):
    return {name: one.value for name, one in figures.items()}


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_two_classes_have_the_figures_of_scikit_learn(weight):
    found = evaluate(Y, P, sample_weight=weight, threshold=0.6, replicates=50)
    called, w = P >= 0.6, {"sample_weight": weight}
    assert list(found.classes) == ["1"] and found.names == ("0", "1") and found.cases == found.groups == 120
    one = found.classes["1"]
    expected = {
        "auroc": reference.roc_auc_score(Y, P, **w),
        "average_precision": reference.average_precision_score(Y, P, **w),
        "brier": reference.brier_score_loss(Y, P, **w),
        "sensitivity": reference.recall_score(Y, called, **w),
        "specificity": reference.recall_score(Y, called, pos_label=0, **w),
        "ppv": reference.precision_score(Y, called, **w),
        "npv": reference.precision_score(Y, called, pos_label=0, **w),
        "f1": reference.f1_score(Y, called, **w),
    }
    assert {name: one[name].value for name in expected} == pytest.approx(expected)
    assert one.prevalence.value == pytest.approx(np.average(Y, weights=weight))
    assert (one.positive.cases, one.negative.cases) == (Y.sum(), 120 - Y.sum())
    overall = {
        "accuracy": reference.accuracy_score(Y, called, **w),
        "balanced_accuracy": reference.balanced_accuracy_score(Y, called, **w),
        "mcc": reference.matthews_corrcoef(Y, called, **w),
        "macro_auroc": expected["auroc"],
    }
    assert {name: found.overall[name].value for name in overall} == pytest.approx(overall)
    for figure in (*one.figures.values(), *found.overall.values()):
        assert figure.low is None or figure.low <= figure.value <= figure.high


def test_weights_of_one_are_no_weights():
    plain, weighted = evaluate(Y, P, replicates=20), evaluate(Y, P, sample_weight=np.ones(120), replicates=20)
    shared = plain.classes["1"].figures.keys() & weighted.classes["1"].figures.keys()
    assert shared >= {"auroc", "brier", "sensitivity", "work_saved"}
    for name in shared:
        assert plain.classes["1"][name].value == pytest.approx(weighted.classes["1"][name].value)


def test_weights_count_like_copies_of_a_case():
    often = RNG.integers(1, 4, 120)
    weighted = evaluate(Y, P, sample_weight=often, replicates=20).classes["1"]
    copied = evaluate(np.repeat(Y, often), np.repeat(P, often), groups=np.repeat(np.arange(120), often), replicates=20).classes[
        "1"
    ]
    for name in ("auroc", "average_precision", "brier", "sensitivity", "specificity_at_sensitivity_90"):
        assert weighted[name].value == pytest.approx(copied[name].value), name


def test_several_classes_have_the_figures_of_scikit_learn():
    names = np.array(["a", "b", "c"])
    found = evaluate(names[GRADE], ROWS, replicates=50)
    assert found.names == tuple(found.classes) == ("a", "b", "c")
    assert found.overall["macro_auroc"].value == pytest.approx(reference.roc_auc_score(GRADE, ROWS, multi_class="ovr"))
    assert found.overall["accuracy"].value == pytest.approx((ROWS.argmax(1) == GRADE).mean())
    assert found.overall["macro_f1"].value == pytest.approx(reference.f1_score(GRADE, ROWS.argmax(1), average="macro"))
    for k, name in enumerate(found.names):
        assert found.classes[name].auroc.value == pytest.approx(reference.roc_auc_score(k == GRADE, ROWS[:, k]))
        assert found.classes[name].sensitivity.value == pytest.approx(reference.recall_score(k == GRADE, ROWS.argmax(1) == k))


def test_labels_that_were_not_assessed_are_left_out_of_their_class():
    truth = np.stack([Y, GRADE == 1], 1).astype(float)
    truth[:30, 1] = np.nan
    scores = np.stack([P, ROWS[:, 1]], 1)
    found = evaluate(truth, scores, classes=("ill", "old"), threshold=(0.6, 0.3), replicates=50)
    old = found.classes["old"]
    assert old.auroc.value == pytest.approx(reference.roc_auc_score(truth[30:, 1], scores[30:, 1]))
    assert old.sensitivity.value == pytest.approx(reference.recall_score(truth[30:, 1], scores[30:, 1] >= 0.3))
    assert old.positive.cases + old.negative.cases == 90
    assert found.overall["macro_auroc"].value == pytest.approx(np.mean([one.auroc.value for one in found.classes.values()]))


def test_groups_are_resampled_together():
    same, alone = (
        evaluate(np.repeat(Y, 5), np.repeat(P, 5), groups=np.repeat(PERSON, 5), replicates=100),
        evaluate(np.repeat(Y, 5), np.repeat(P, 5), replicates=100),
    )
    assert (same.groups, alone.groups) == (60, 600)
    for name in ("auroc", "sensitivity", "brier"):
        wide, narrow = (one.classes["1"][name] for one in (same, alone))
        assert wide.value == pytest.approx(narrow.value) and wide.high - wide.low > narrow.high - narrow.low
    one = evaluate(Y, P, groups=[""] * 120, replicates=20)
    assert one.groups == 120


def test_any_array_like_is_taken():
    expected = evaluate(Y, P, replicates=20)
    series = pd.Series(np.where(Y == 1, "ill", "healthy"), index=range(500, 620))
    tensor = torch.tensor(P, requires_grad=True)
    assert evaluate(Y.tolist(), tensor, replicates=20) == expected
    assert (
        evaluate(Y.astype(bool), np.stack([1 - P, P], 1), replicates=20).classes["1"].auroc.value
        == expected.classes["1"].auroc.value
    )
    named = evaluate(
        series, pd.Series(P, index=series.index), classes=("healthy", "ill"), groups=pd.Series(PERSON), replicates=20
    )
    assert named.classes["ill"].auroc.value == expected.classes["1"].auroc.value


def test_scores_that_are_no_probabilities_are_ranked_only():
    found = evaluate(Y, P * 10 - 5, probabilities=False, threshold=1, replicates=20).classes["1"]
    assert found.auroc.value == pytest.approx(reference.roc_auc_score(Y, P))
    assert not {"brier", "ece", "calibration_slope"} & found.figures.keys()
    assert found.sensitivity.value == pytest.approx(reference.recall_score(Y, P * 10 - 5 >= 1))


def test_slope_and_intercept_of_probabilities_that_are_too_extreme():
    rng = np.random.default_rng(1)
    z = rng.normal(0, 1, 3000)
    y = rng.random(3000) < 1 / (1 + np.exp(-z))
    found = evaluate(y, 1 / (1 + np.exp(-2 * z)), replicates=20).classes["1"]
    assert found["calibration_slope"].value == pytest.approx(0.5, abs=0.05)
    assert found["calibration_intercept"].value == pytest.approx(0, abs=0.15)


def test_the_predictions_of_a_run_have_the_figures_of_its_scorecard(study):
    cases, scores = {case.id: case for case in study.run.cases("test")}, study.run.scores("test")
    p = study.calibration.probabilities(scores.logits)[:, 1].astype(np.float64)
    found = resdx.evaluate(
        [cases[one].label for one in scores.ids],
        p,
        groups=[cases[one].group for one in scores.ids],
        classes=study.classes,
        threshold=expit(study.calibration.bias[1] - study.calibration.bias[0]),  # where the two logits are equal
        seed=study.run.settings.seed,
    )
    told = study.metrics.classes["opacity"]
    figures = {name: one for name, one in found.classes["opacity"].figures.items() if not name.startswith("calibration")}
    assert figures.keys() == told.figures.keys()
    for name, one in figures.items():
        assert one.value == pytest.approx(told[name].value, abs=1e-6), name
        assert (one.low is None, one.n) == (told[name].low is None, told[name].n), name
        assert one.low is None or (one.low, one.high) == pytest.approx((told[name].low, told[name].high), abs=1e-4), name
    assert values(found.overall) == pytest.approx(values(study.metrics.overall), abs=1e-6)
    assert isinstance(told, ClassScores) and metrics.auroc(np.array([0, 1]), np.array([0.1, 0.9])) == 1
    assert replace(told, figures={}).figures == {}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ((Y, P[:-1]), "120 cases in y_true and 119 in y_score"),
        ((Y, P[:, None]), r"y_score has shape \(120, 1\); give \(N,\) for two classes"),
        ((Y[:, None], P), r"y_true has shape \(120, 1\) and y_score \(120,\)"),
        (([], []), "N at least 1"),
        ((Y, np.where(P > 0.9, np.nan, P)), "y_score holds .* values that are NaN or infinite"),
        ((np.where(Y == 1, np.nan, 0), P), "y_true holds .* values that are NaN"),
        ((np.zeros(120), P), r"y_true holds one class only \(0\)"),
        ((np.zeros((120, 2)), ROWS[:, :2]), "no column of y_true has cases both with and without"),
        ((Y, P * 3), r"y_score goes from .* and calibration needs probabilities in \[0, 1\]"),
        ((GRADE, ROWS / 2), "row 0 of y_score sums to 0.5, not to 1"),
        ((GRADE, P), "3 classes .* and y_score tells 2 apart"),
        ((np.array(["x", "y"])[Y], ROWS), "2 classes .* and y_score tells 3 apart"),
        ((Y, np.array(["high"] * 120)), "y_score holds what is no number"),
        ((np.full((120, 2), 2.0), ROWS[:, :2]), "other values than 1, 0 and NaN"),
    ],
)
def test_what_cannot_be_judged_is_one_sentence(asked, reason):
    with pytest.raises(DataError, match=reason):
        evaluate(*asked)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"groups": PERSON[:5]}, "there are 120 cases but 5 groups"),
        ({"sample_weight": WEIGHT[:5]}, r"sample_weight of shape \(5,\) must be \(120,\)"),
        ({"sample_weight": -WEIGHT}, "0 or above and not 0 throughout"),
        ({"threshold": (0.5, 0.5)}, r"threshold has shape \(2,\); give one number"),
        ({"classes": ("a", "b", "c")}, "3 classes .* and y_score tells 2 apart"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(settings, reason):
    with pytest.raises(DataError, match=reason):
        evaluate(Y, P, **settings)


def test_a_class_that_is_not_named_is_told():
    with pytest.raises(DataError, match="y_true holds sick, which is not among the classes healthy, ill"):
        evaluate(np.where(Y == 1, "sick", "healthy"), P, classes=("healthy", "ill"))
