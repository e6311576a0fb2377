"""Metrics against closed forms, then scikit-learn over random inputs with ties and weights, then invariances."""

import json
from functools import partial

import numpy as np
import pytest
from sklearn import metrics as reference

from resdx.errors import DataError
from resdx.metrics import classification as metrics
from resdx.metrics.estimate import Estimate

SEEDS = range(12)
SCORED = {
    metrics.auroc: reference.roc_auc_score,
    metrics.average_precision: reference.average_precision_score,
    metrics.brier: reference.brier_score_loss,
}
DECIDED = {
    metrics.sensitivity: reference.recall_score,
    metrics.specificity: partial(reference.recall_score, pos_label=0),
    metrics.ppv: reference.precision_score,
    metrics.npv: partial(reference.precision_score, pos_label=0),
    metrics.f1: reference.f1_score,
    metrics.accuracy: reference.accuracy_score,
}
SEVERAL = {
    metrics.accuracy: reference.accuracy_score,
    metrics.balanced_accuracy: reference.balanced_accuracy_score,
    metrics.macro_f1: partial(reference.f1_score, average="macro"),
    metrics.mcc: reference.matthews_corrcoef,
    metrics.quadratic_kappa: partial(reference.cohen_kappa_score, weights="quadratic"),
}


def binary(seed, n=60):
    """Truth, scores with many ties, decisions and whole weights of which some are 0."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    score = np.round(np.clip(rng.normal(truth * 0.3 + 0.3, 0.3), 0, 1), 1)
    return truth, score, (score > 0.4).astype(int), rng.integers(0, 4, n)


def graded(seed, n=80, classes=4):
    rng = np.random.default_rng(seed)
    truth = np.append(np.arange(classes), rng.integers(0, classes, n))
    answer = np.where(rng.random(len(truth)) < 0.6, truth, rng.integers(0, classes, len(truth)))
    return truth, answer, rng.integers(1, 4, len(truth))


def test_auroc_of_a_small_example_by_hand():
    # pairs: 0.8 beats both negatives, 0.4 beats one and ties one: (1 + 1 + 1 + 0.5) / 4
    assert metrics.auroc(np.array([1, 1, 0, 0]), np.array([0.8, 0.4, 0.4, 0.1])) == pytest.approx(0.875)


def test_average_precision_is_the_step_and_not_the_trapezoid():
    # ranks 1 and 3 are positive: (1 / 1 + 2 / 3) / 2
    assert metrics.average_precision(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])) == pytest.approx(5 / 6)


def test_a_constant_score_is_chance_and_its_average_precision_the_prevalence():
    truth = np.array([1, 0, 0, 0])
    assert metrics.auroc(truth, np.ones(4)) == 0.5
    assert metrics.average_precision(truth, np.ones(4)) == 0.25


def test_quadratic_kappa_by_hand():
    # one of four is off by one; expected squared distance of margins (2, 2) and (1, 3) is 1/2
    assert metrics.quadratic_kappa(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == pytest.approx(1 - 0.25 / 0.5)


def test_calibration_error_of_two_bins_by_hand():
    truth, promised = np.array([0, 0, 0, 1, 1, 1, 1, 0]), np.repeat([0.1, 0.9], 4)
    assert metrics.ece(truth, promised) == pytest.approx((abs(0.25 - 0.1) + abs(0.75 - 0.9)) / 2)


def test_calibration_bins_hold_equally_many_cases():
    rng = np.random.default_rng(0)
    place = metrics.calibration_bins(rng.integers(0, 2, 300), rng.random(300), bins=10)[2]
    assert np.bincount(place).tolist() == [30] * 10


def test_brier_of_two_columns_equals_that_of_one():
    truth, score, _, weights = binary(0)
    both = np.stack([1 - score, score], 1)
    assert metrics.brier(truth, both, weights) == pytest.approx(metrics.brier(truth, score, weights))


def test_net_benefit_of_treating_all_and_of_a_perfect_model():
    truth = np.array([1, 0, 0, 0, 0])
    thresholds = np.array([0.1, 0.2, 0.5])
    everyone = metrics.net_benefit(truth, np.ones(5), thresholds=thresholds)
    np.testing.assert_allclose(everyone, 0.2 - 0.8 * thresholds / (1 - thresholds), atol=1e-12)
    np.testing.assert_allclose(metrics.net_benefit(truth, truth.astype(float), thresholds=thresholds), 0.2)


def test_work_saved_counts_the_negatives_below_every_positive():
    assert metrics.work_saved(np.array([0, 0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.8, 0.5, 0.9])) == 0.75


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("seed", SEEDS)
def test_fixed_specificity_reads_the_same_point_as_scikit_learns_curve(seed, wanted):
    truth, score, _, weights = binary(seed)
    false, true, _ = reference.roc_curve(truth, score, sample_weight=weights, drop_intermediate=False)
    found = metrics.sensitivity_at_specificity(truth, score, weights, wanted=wanted)
    assert found == pytest.approx(true[false <= 1 - wanted + 1e-9].max())
    back = metrics.specificity_at_sensitivity(truth, score, weights, wanted=wanted)
    assert back == pytest.approx(1 - false[true >= wanted - 1e-9].min())
    grid = np.array([0, 0.1, 0.5, 1])
    steps = [true[false <= rate + 1e-9].max() for rate in grid]
    np.testing.assert_allclose(metrics.roc_curve(truth, score, weights, grid=grid), steps)


def test_precision_curve_is_the_best_precision_from_there_on():
    truth, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    np.testing.assert_allclose(metrics.precision_curve(truth, score, grid=np.array([0, 0.5, 0.6, 1])), [1, 1, 2 / 3, 2 / 3])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("ours", "theirs"), SCORED.items())
def test_scored_metrics_equal_scikit_learn_with_ties_and_weights(ours, theirs, seed):
    truth, score, _, weights = binary(seed)
    assert ours(truth, score) == pytest.approx(theirs(truth, score))
    assert ours(truth, score, weights) == pytest.approx(theirs(truth, score, sample_weight=weights))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("ours", "theirs"), DECIDED.items())
def test_decided_metrics_equal_scikit_learn(ours, theirs, seed):
    truth, _, decided, weights = binary(seed)
    assert ours(truth, decided, weights) == pytest.approx(theirs(truth, decided, sample_weight=weights))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("ours", "theirs"), SEVERAL.items())
def test_metrics_of_several_classes_equal_scikit_learn(ours, theirs, seed):
    truth, answer, weights = graded(seed)
    assert ours(truth, answer, weights) == pytest.approx(theirs(truth, answer, sample_weight=weights))


@pytest.mark.parametrize("seed", SEEDS)
def test_macro_auroc_equals_scikit_learn(seed):
    truth, _, weights = graded(seed)
    chances = np.random.default_rng(seed).dirichlet(np.ones(4), len(truth))
    expected = reference.roc_auc_score(truth, chances, multi_class="ovr", sample_weight=weights)
    assert metrics.macro_auroc(truth, chances, weights) == pytest.approx(expected)


def test_labels_not_assessed_are_masked():
    truth = np.array([[1, 0], [0, np.nan], [1, 1], [0, 0]], float)
    answer = np.array([[0.9, 0.1], [0.1, 0.99], [0.8, 0.7], [0.3, 0.2]])
    assert metrics.macro_auroc(truth, answer) == 1
    assert metrics.label_f1(truth, (answer > 0.5).astype(float)) == 1


EVERY = [
    *((metric, "score") for metric in (*SCORED, metrics.ece, metrics.work_saved)),
    *((metric, "decided") for metric in (*DECIDED, *SEVERAL, metrics.majority_rate)),
]


@pytest.mark.parametrize(("metric", "kind"), EVERY)
def test_a_weight_is_that_many_copies_and_draws_are_rows(metric, kind):
    truth, score, decided, weights = binary(3)
    answer = score if kind == "score" else decided
    rows = np.stack([weights, np.ones_like(weights), weights[::-1]])
    found = metric(truth, answer, rows)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, [metric(truth, answer, row) for row in rows])
    assert found[1] == pytest.approx(float(metric(truth, answer)))
    if metric not in (metrics.ece, metrics.majority_rate):  # their bins and their class are those of the sample
        assert found[0] == pytest.approx(float(metric(np.repeat(truth, weights), np.repeat(answer, weights))))


@pytest.mark.parametrize("seed", SEEDS)
def test_auroc_knows_only_the_order(seed):
    truth, score, _, weights = binary(seed)
    area = metrics.auroc(truth, score, weights)
    shuffled = np.random.default_rng(seed).permutation(len(truth))
    assert metrics.auroc(truth, np.exp(3 * score), weights) == pytest.approx(area)
    assert metrics.auroc(truth, -score, weights) == pytest.approx(1 - area)
    assert metrics.auroc(1 - truth, score, weights) == pytest.approx(1 - area)
    assert metrics.auroc(truth[shuffled], score[shuffled], weights[shuffled]) == pytest.approx(area)


def test_mcc_is_the_correlation_of_two_answers_and_0_when_one_is_constant():
    truth, _, decided, _ = binary(1)
    assert metrics.mcc(truth, decided) == pytest.approx(np.corrcoef(truth, decided)[0, 1])
    assert metrics.mcc(truth, np.zeros_like(truth)) == 0


def test_without_a_class_there_is_no_value():
    zeros = np.zeros(5, int)
    assert np.isnan(metrics.auroc(zeros, np.arange(5.0)))
    assert np.isnan(metrics.sensitivity(zeros, zeros))
    assert np.isnan(metrics.work_saved(zeros, np.arange(5.0)))


def test_wrong_input_is_refused_with_a_sentence():
    with pytest.raises(DataError, match="1 scores are not a number"):
        metrics.auroc(np.array([0, 1]), np.array([np.nan, 1]))
    with pytest.raises(DataError, match="there are 2 cases but weights for 3"):
        metrics.accuracy(np.array([0, 1]), np.array([0, 1]), np.ones(3))


def test_an_estimate_reads_well_and_survives_json():
    estimate = Estimate(0.951, 0.93, 0.968, 40, "percentiles")
    assert str(estimate) == "0.951 (0.930-0.968)"
    assert str(Estimate(0.5, None, None, 3)) == "0.500"
    assert str(Estimate(None, None, None, 0)) == "not estimable"
    assert Estimate.from_json(json.loads(json.dumps(estimate.to_json()))) == estimate


def test_metrics_of_the_same_draws_do_not_depend_on_which_was_asked_before():
    rng = np.random.default_rng(0)
    truth, score = (np.arange(50) % 2).astype(float), rng.random(50).round(1)
    weights = rng.integers(0, 3, (20, 50)).astype(float)
    named = [metrics.auroc, metrics.average_precision, metrics.sensitivity_at_specificity, metrics.specificity_at_sensitivity]
    alone = [metric(truth.copy(), score.copy(), weights.copy()) for metric in named]
    for metric, expected in [*zip(named, alone, strict=True), (named[0], alone[0])]:
        np.testing.assert_array_equal(metric(truth, score, weights), expected)
        np.testing.assert_array_equal(metric(1 - truth, score, weights), metric(1 - truth, score, weights.copy()))
        rows = np.stack([metric(truth, score, row) for row in weights])
        np.testing.assert_allclose(metric(truth, score, weights), rows)
