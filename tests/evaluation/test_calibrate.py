"""Calibrators, operating points, conformal limits: closed forms, scikit-learn, and simulation of persons with several images."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import beta, kstest, norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from resdx.data.tasks import Classify, MultiLabel, Ordinal
from resdx.errors import DataError
from resdx.evaluation import calibrate
from resdx.evaluation.calibrate import MOST_SCALE, basis_note, conformal_limit, fit_calibration
from resdx.files import read_json, write_json
from resdx.inference.calibration import NONE_FITS, UNLIKE, UNSURE, Calibration
from resdx.metrics.persons import person_weights
from resdx.records import from_record, to_record

TWO, THREE = ("healthy", "ill"), ("low", "middle", "high")


def persons(cases, images=1):
    return [f"p{i // images}" for i in range(cases)]


def draw(classes, cases, rng, *, prior=None, scale=1.0):
    """Logits whose softmax is exactly the chance of each class, times `scale`, and one-hot truth."""
    honest = rng.normal(0, 1.5, (cases, classes)) + (0 if prior is None else np.log(prior))
    chance = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    truth = np.eye(classes)[(rng.random((cases, 1)) > chance.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)]
    return honest * scale, truth, chance


def draw_two(cases, rng, *, distance=2.0, share=0.5, images=1, icc=0.0):
    """Two normal classes; the logits say the log odds at equal shares. Truth is per person."""
    ill = (rng.random(cases) < share).repeat(images)
    noise = math.sqrt(icc) * rng.normal(size=cases).repeat(images) + math.sqrt(1 - icc) * rng.normal(size=cases * images)
    odds = distance * (np.where(ill, distance / 2, -distance / 2) + noise)
    return np.stack([-odds / 2, odds / 2], axis=1), np.stack([~ill, ill], axis=1).astype(float), persons(cases * images, images)


def fit_two(cases=200, seed=0, **settings):
    logits, truth, groups = draw_two(cases, np.random.default_rng(seed), **settings)
    return fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=False)


# --- calibrators


def test_a_known_temperature_is_found():
    logits, truth, chance = draw(3, 4000, np.random.default_rng(0), scale=2.5)
    found = fit_calibration(Classify(), THREE, logits, truth, persons(4000), balanced_training=False)
    assert found.method == "temperature" and found.bias == (0, 0, 0)
    assert found.scale == pytest.approx([1 / 2.5] * 3, rel=0.06)
    assert np.abs(found.probabilities(logits) - chance).max() < 0.02


def test_calibrated_logits_are_left_alone():
    logits, truth, _ = draw(3, 4000, np.random.default_rng(1))
    found = fit_calibration(Classify(), THREE, logits, truth, persons(4000), balanced_training=True)
    assert found.scale == pytest.approx([1] * 3, abs=0.06) and found.bias == pytest.approx([0] * 3, abs=0.1)


def test_balanced_training_is_undone_by_a_bias_of_the_log_prior_and_not_by_a_temperature():
    logits, truth, groups = draw_two(6000, np.random.default_rng(2), share=0.05)
    found = fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=True)
    assert found.bias[1] - found.bias[0] == pytest.approx(logit(0.05), abs=0.2)
    assert found.scale == pytest.approx([1, 1], abs=0.08)
    assert found.probabilities(logits)[:, 1].mean() == pytest.approx(truth[:, 1].mean(), abs=0.003)
    heated = fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=False)
    assert heated.probabilities(logits)[:, 1].mean() > 2 * truth[:, 1].mean()


def test_platt_agrees_with_unpenalised_logistic_regression_where_persons_are_many():
    logits, truth, groups = draw_two(4000, np.random.default_rng(3), share=0.3)
    found = fit_calibration(Classify(), TWO, logits * 3, truth, groups, balanced_training=True)
    odds = 3 * (logits[:, 1:] - logits[:, :1])
    oracle = LogisticRegression(C=np.inf, tol=1e-8).fit(odds, truth[:, 1])
    np.testing.assert_allclose(found.probabilities(logits * 3)[:, 1], oracle.predict_proba(odds)[:, 1], atol=0.003)


def test_the_temperature_of_two_classes_is_the_slope_of_logistic_regression_without_intercept():
    logits, truth, groups = draw_two(4000, np.random.default_rng(20))
    found = fit_calibration(Classify(), TWO, logits * 2, truth, groups, balanced_training=False)
    odds = 2 * (logits[:, 1:] - logits[:, :1])
    oracle = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8).fit(odds, truth[:, 1])
    assert found.scale == pytest.approx([oracle.coef_[0, 0]] * 2, rel=0.003)


def test_each_label_agrees_with_weighted_logistic_regression_over_the_assessed_cases():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (6000, 2))
    truth = (rng.random((6000, 2)) < expit(0.5 * logits + [1, -1])).astype(float)
    truth[rng.random((6000, 2)) < 0.3] = np.nan
    groups = [f"p{i // (1 + i % 3)}" for i in range(6000)]
    found = fit_calibration(MultiLabel(), TWO, logits, truth, groups, balanced_training=False)
    assert found.method == "labels"
    for k in range(2):
        known = ~np.isnan(truth[:, k])
        weight = person_weights([group for group, seen in zip(groups, known, strict=True) if seen])
        oracle = LogisticRegression(C=np.inf, tol=1e-8).fit(logits[known, k : k + 1], truth[known, k], weight)
        assert (found.scale[k], found.bias[k]) == pytest.approx((oracle.coef_[0, 0], oracle.intercept_[0]), abs=0.01)


def test_an_unknown_label_changes_nothing_whatever_its_logit_says():
    rng = np.random.default_rng(5)
    logits, truth = rng.normal(size=(200, 2)), (rng.random((200, 2)) < 0.4).astype(float)
    truth[:50, 1] = np.nan
    first = fit_calibration(MultiLabel(), TWO, logits, truth, persons(200), balanced_training=False)
    logits[:50, 1] = 9
    assert first == fit_calibration(MultiLabel(), TWO, logits, truth, persons(200), balanced_training=False)


def test_shifted_grades_get_their_shift_back():
    rng = np.random.default_rng(6)
    severity = rng.normal(0, 2, 4000)
    logits = severity[:, None] - [-1.0, 1.5]
    grade = (severity + rng.logistic(size=4000) > np.array([[-1.0], [1.5]])).sum(axis=0)
    found = fit_calibration(Ordinal(), THREE, 2 * logits + [1, -0.5], np.eye(3)[grade], persons(4000), balanced_training=False)
    assert found.scale == pytest.approx([0.5, 0.5], abs=0.04) and found.bias == pytest.approx([-0.5, 0.25], abs=0.12)
    np.testing.assert_allclose(found.probabilities(2 * logits + [1, -0.5]).mean(axis=0), np.bincount(grade) / 4000, atol=0.01)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("size", [1e-3, 1, 100])
def test_separable_data_keep_the_scale_bounded(balanced, size):
    odds = np.linspace(-1, 1, 60) * size
    logits, truth = np.stack([-odds, odds], axis=1), np.stack([odds < 0, odds > 0], axis=1).astype(float)
    found = fit_calibration(Classify(), TWO, logits, truth, persons(60), balanced_training=balanced)
    assert 1 / MOST_SCALE <= found.scale[0] <= MOST_SCALE
    assert np.isfinite(found.probabilities(1000 * logits)).all()


def test_adding_a_person_s_images_again_changes_nothing():
    logits, truth, groups = draw_two(60, np.random.default_rng(7), images=2)
    once = fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=True)
    twice = fit_calibration(
        Classify(), TWO, np.repeat(logits, 4, 0), np.repeat(truth, 4, 0), np.repeat(groups, 4).tolist(), balanced_training=True
    )
    assert twice.scale == pytest.approx(once.scale, rel=1e-4) and twice.present == pytest.approx(once.present, rel=1e-4)
    assert (twice.persons, twice.prior) == (once.persons, pytest.approx(once.prior)) and twice.cases == 4 * once.cases


@pytest.mark.parametrize(("task", "method"), [(Classify(), "platt"), (Ordinal(), "cumulative"), (MultiLabel(), "labels")])
def test_the_gradient_of_each_likelihood_is_that_of_finite_differences(task, method):
    rng = np.random.default_rng(8)
    truth = np.eye(3)[rng.integers(0, 3, 30)]
    function = calibrate._likelihood(task, truth, np.arange(30) // 2)
    z = rng.normal(size=(30, task.outputs(THREE)))
    step = np.zeros_like(z)
    step[4, 1] = 1e-6
    numeric = (function(z + step)[0] - function(z - step)[0]) / 2e-6
    assert function(z)[1][4, 1] == pytest.approx(numeric, rel=1e-5)
    assert calibrate._method(task, balanced=True) == method


def test_cross_fitted_figures_show_the_gain_and_no_gain_on_noise():
    logits, truth, _ = draw(3, 600, np.random.default_rng(9), scale=4)
    figures = fit_calibration(Classify(), THREE, logits, truth, persons(600), balanced_training=False).figures
    assert figures["log_loss_after"] < figures["log_loss_before"] and figures["ece_after"] < figures["ece_before"]
    rng = np.random.default_rng(10)
    noise, labels = rng.normal(size=(300, 3)) * 0.01, np.eye(3)[rng.integers(0, 3, 300)]
    figures = fit_calibration(Classify(), THREE, noise, labels, persons(300), balanced_training=True).figures
    assert figures["log_loss_after"] == pytest.approx(math.log(3), abs=0.03)


# --- operating points and decisions


def test_operating_points_agree_with_the_roc_curve_of_scikit_learn():
    logits, truth, groups = draw_two(300, np.random.default_rng(11), share=0.4)
    found = fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=False)
    fall_out, hit, _ = roc_curve(truth[:, 1], found.probabilities(logits)[:, 1], drop_intermediate=False)
    point = {point.goal: point for point in found.points}
    youden = point["youden"]
    assert youden.sensitivity + youden.specificity - 1 == pytest.approx((hit - fall_out).max())
    for goal in (0.90, 0.95, 0.99):
        assert point[f"sensitivity {goal:.2f}"].specificity == pytest.approx(1 - fall_out[hit >= goal - 1e-9].min())
    for goal in (0.90, 0.95):
        assert point[f"specificity {goal:.2f}"].sensitivity == pytest.approx(hit[1 - fall_out >= goal - 1e-9].max())


def test_a_threshold_gives_on_calib_what_it_promises():
    logits, truth, groups = draw_two(80, np.random.default_rng(12), images=3, icc=0.5)
    found = fit_calibration(Classify(positive="healthy"), TWO, logits, truth, groups, balanced_training=False)
    p = found.probabilities(logits)[:, 0].astype(float)
    for point in found.points:
        assert point.of == "healthy" and point.persons_with + point.persons_without == 80
        assert (p[truth[:, 0] == 1] >= point.threshold).mean() == pytest.approx(point.sensitivity)
        assert (p[truth[:, 0] == 0] < point.threshold).mean() == pytest.approx(point.specificity)
    assert found.threshold("healthy") == found.points[0].threshold


def test_a_person_with_many_images_has_one_voice_in_sensitivity():
    p, truth = np.array([0.9, 0.2, 0.2, 0.2, *[0.5] * 100]), np.array([1.0, 1, 1, 1, *[0] * 100])
    person = np.array([0, 1, 1, 1, *range(2, 102)])
    point = {point.goal: point for point in calibrate._points_of("ill", p, truth, person)}
    assert (point["specificity 0.90"].sensitivity, point["specificity 0.90"].persons_with) == (0.5, 2)
    assert set(point) == {"youden", "specificity 0.90", "specificity 0.95"}  # too few persons for a sensitivity
    assert 0.5 < point["specificity 0.90"].threshold < 0.9


def known(task, classes, present, absent=(), **fields):
    outputs = task.outputs(classes)
    basis = Calibration(
        task,
        classes,
        "temperature",
        (1.0,) * outputs,
        (0.0,) * outputs,
        0.9,
        present,
        absent,
        (0.5,) * len(classes),
        9,
        9,
        (9,),
        (9,),
    )
    return replace(basis, **fields)


def test_one_class_is_named_only_where_it_alone_fits():
    found = known(Classify(), TWO, (0.6, 0.3))
    p = np.array([[0.9, 0.1], [0.1, 0.9], [0.35, 0.65], [0.2, 0.8]])
    assert found.sets(p) == [("healthy",), ("ill",), (), ("ill",)]
    assert found.decide(p) == [("healthy", ()), ("ill", ()), (None, (NONE_FITS,)), ("ill", ())]
    assert known(Classify(), TWO, (0.9, 0.9)).decide(p[2:3]) == [(None, (UNSURE,))]


def test_a_set_of_one_that_the_decision_rule_contradicts_is_referred():
    assert known(Classify(), TWO, (0.6, 0.1)).sets([[0.45, 0.55]]) == [("healthy",)]
    assert known(Classify(), TWO, (0.6, 0.1)).decide([[0.45, 0.55]]) == [(None, (UNSURE,))]


def test_a_class_without_a_limit_is_in_every_set():
    found = known(Classify(), TWO, (None, 0.3))
    assert found.decide([[0.0, 1.0], [1.0, 0.0]]) == [(None, (UNSURE,)), ("healthy", ())]


def test_a_set_of_grades_has_no_gaps_and_the_grade_is_the_median():
    found = known(Ordinal(), THREE, (0.6, 0.5, 0.6))
    assert found.sets([[0.45, 0.10, 0.45], [0.8, 0.1, 0.1]]) == [THREE, ("low",)]
    np.testing.assert_array_equal(found.choose([[0.45, 0.10, 0.45], [0.8, 0.1, 0.1]]), [[0, 1, 0], [1, 0, 0]])


def test_labels_are_present_absent_or_unsure_each():
    found = known(MultiLabel(), ("fluid", "nodule"), (0.4, 0.4), (0.3, 0.3))
    p = [[0.9, 0.1], [0.9, 0.5], [0.1, 0.1], [0.1, 0.5], [0.7, 0.9]]
    assert found.decide(p) == [
        (("fluid",), ()),
        (("fluid",), ("unsure:nodule",)),
        ((), ()),
        (None, ("unsure:nodule",)),
        (("fluid", "nodule"), ()),
    ]
    assert replace(found, absent=(0.65, 0.3)).decide([[0.62, 0.1]]) == [(None, ("unsure:fluid",))]


def test_a_label_that_calib_cannot_settle_is_named_on_every_case_and_does_not_block_the_others():
    found = known(MultiLabel(), ("fluid", "hernia"), (0.4, None), (0.3, 0.3))
    assert found.decide([[0.9, 0.0], [0.1, 0.0]]) == [(("fluid",), ("not-judged:hernia",)), ((), ("not-judged:hernia",))]


@pytest.mark.parametrize("far", [3.1, np.nan, np.inf])
def test_a_case_unlike_training_is_referred_whatever_the_model_says(far):
    found = known(Classify(), TWO, (0.6, 0.6), unlike_above=3.0)
    assert found.decide([[0.9, 0.1]] * 2, [3.0, far]) == [("healthy", ()), (None, (UNLIKE,))]
    assert found.decide([[0.9, 0.1]]) == [("healthy", ())]


def test_the_distance_threshold_is_the_99_percent_quantile_by_persons_with_one_more():
    logits, truth, groups = draw_two(500, np.random.default_rng(13))
    found = fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=False, distance=np.arange(500))
    assert found.unlike_above == 495  # of 501 persons 495.99 lie at or below the 496th distance
    assert not any("OOD limit" in note for note in found.notes)


@pytest.mark.parametrize("persons", [8, 20, 50, 98, 99, 300])
def test_no_more_cases_like_training_are_flagged_than_stated(persons):
    rng = np.random.default_rng(persons)
    distance = rng.normal(size=(4000, persons))
    limits = [calibrate._unlike_above(one, np.arange(persons)) for one in distance]
    flagged, stated = (rng.normal(size=4000) > limits).mean(), max(0.01, 1 / (persons + 1))
    assert flagged <= stated + 3 * np.sqrt(stated / 4000)


def test_few_persons_are_told_how_many_like_cases_the_distance_flags():
    logits, truth, groups = draw_two(8, np.random.default_rng(3), distance=0.1)
    found = fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=False, distance=np.arange(8))
    assert found.unlike_above == 7 and any("up to 11% of cases like the training cases" in note for note in found.notes)


# --- conformal limits


def test_the_limit_is_the_split_conformal_order_statistic():
    scores = np.random.default_rng(14).random(57)
    assert conformal_limit(scores, np.ones(57), 0.9) == np.sort(scores)[math.ceil(58 * 0.9) - 1]


@pytest.mark.parametrize(("level", "needed"), [(0.90, 9), (0.95, 19), (0.80, 4)])
def test_a_limit_needs_so_many_persons(level, needed):
    assert conformal_limit(np.arange(needed), np.ones(needed), level) == needed - 1
    assert conformal_limit(np.arange(needed - 1), np.ones(needed - 1), level) is None
    images = np.repeat(1 / 7, 7 * (needed - 1))  # more images of each person are no more persons
    assert conformal_limit(np.arange(len(images)), images, level) is None


def test_coverage_of_each_split_follows_its_beta_law_with_one_case_a_person():
    rng = np.random.default_rng(15)
    kept = [norm.cdf(conformal_limit(rng.normal(size=50), np.ones(50), 0.9)) for _ in range(2000)]
    rank = math.ceil(51 * 0.9)
    assert kstest(kept, beta(rank, 51 - rank).cdf).pvalue > 0.01


def test_weights_keep_the_level_for_clustered_persons_where_counting_images_does_not():
    rng = np.random.default_rng(16)
    weighted, naive = [], []
    for _ in range(500):
        images = rng.choice([1, 9], 30)  # persons with 9 images are easier
        scores = (np.where(images == 1, 0.5, -0.5) + math.sqrt(0.5) * rng.normal(size=30)).repeat(images)
        scores += math.sqrt(0.5) * rng.normal(size=len(scores))
        weights = person_weights([str(i) for i in np.arange(30).repeat(images)])
        for kept, weight in ((weighted, weights), (naive, np.ones(len(scores)))):
            limit = conformal_limit(scores, weight, 0.9)
            kept.append((norm.cdf(limit - 0.5) + norm.cdf(limit + 0.5)) / 2)
    assert 0.90 <= np.mean(weighted) < 0.94
    assert np.mean(naive) < 0.83


def test_sets_of_the_whole_fit_keep_each_class_at_the_level():
    rng, kept = np.random.default_rng(17), []
    new, labels, _ = draw_two(1000, rng, share=0.3)
    for _ in range(40):
        found = fit_calibration(Classify(), TWO, *draw_two(60, rng, share=0.3, images=4, icc=0.5), balanced_training=True)
        sets = found.sets(found.probabilities(new))
        inside = np.array([[name in one for name in TWO] for one in sets])
        kept.append([inside[labels[:, k] == 1, k].mean() for k in range(2)])
    assert (np.mean(kept, axis=0) > 0.895).all() and (np.mean(kept, axis=0) < 0.96).all()


def test_sets_of_two_classes_do_not_depend_on_the_calibrator():
    logits, truth, groups = draw_two(100, np.random.default_rng(18))
    heat, shift = (fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=b) for b in (False, True))
    assert heat.sets(heat.probabilities(logits)) == shift.sets(shift.probabilities(logits))


def test_sets_agree_with_mapie_where_a_person_has_one_case():
    mapie = pytest.importorskip("mapie.classification", reason="mapie is not installed; it is an oracle only")
    rng = np.random.default_rng(19)
    model = LogisticRegression().fit(rng.normal(size=(90, 2)), np.arange(90) % 3)
    x, y, new = rng.normal(size=(60, 2)), np.arange(60) % 3, rng.normal(size=(200, 2))
    limit = conformal_limit(1 - model.predict_proba(x)[np.arange(60), y], np.ones(60), 0.9)
    _, oracle = (
        mapie.SplitConformalClassifier(model, confidence_level=0.9, conformity_score="lac").conformalize(x, y).predict_set(new)
    )
    np.testing.assert_array_equal(1 - model.predict_proba(new) <= limit, oracle[:, :, 0])


# --- the record, notes and refusals


@pytest.mark.parametrize("task", [Classify(positive="ill"), MultiLabel()])
def test_a_stored_calibration_gives_the_same_answers(task, tmp_path):
    logits, truth, groups = draw_two(60, np.random.default_rng(21), images=2)
    found = fit_calibration(task, TWO, logits, truth, groups, balanced_training=True, distance=np.arange(120.0))
    write_json(tmp_path / "calibration.json", to_record(found))
    read = from_record(read_json(tmp_path / "calibration.json"))
    assert read == found
    p = found.probabilities(logits)
    np.testing.assert_array_equal(read.probabilities(logits), p)
    assert read.decide(p, np.arange(120), logits=logits) == found.decide(p, np.arange(120), logits=logits)


def test_few_persons_and_rare_classes_are_said():
    logits, truth, groups = draw_two(40, np.random.default_rng(22))
    truth[:] = [1, 0]
    truth[:7] = [0, 1]
    found = fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=True)
    assert found.present[1] is None and found.class_persons == (33, 7)
    assert any("class ill has 7 persons" in note for note in found.notes) and any("40 persons" in note for note in found.notes)
    assert basis_note(100) is None and "or run with --folds for cross-fitted scores" in basis_note(99)
    assert fit_two().notes == ()


@pytest.mark.parametrize("seed", range(12))
def test_a_calibrator_that_harms_new_persons_is_said(seed):
    logits, truth, groups = draw_two(14, np.random.default_rng(seed))
    found = fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=True)
    worse = found.figures["log_loss_after"] > found.figures["log_loss_before"] + 0.01
    assert any("has not seen worse" in note for note in found.notes) == worse


def test_a_class_absent_from_calib_is_said_and_stays_in_every_set():
    logits, truth, _ = draw(3, 200, np.random.default_rng(23))
    truth = np.eye(3)[truth[:, :2].argmax(axis=1)]
    found = fit_calibration(Classify(), THREE, logits, truth, persons(200), balanced_training=True)
    assert any("class high has 0 persons" in note for note in found.notes)
    assert all("high" in names for names in found.sets(found.probabilities(logits)))


def test_a_label_that_was_never_assessed_keeps_its_logit():
    logits, truth, groups = draw_two(60, np.random.default_rng(24))
    truth[:, 1] = np.nan
    found = fit_calibration(MultiLabel(), TWO, logits, truth, groups, balanced_training=False)
    assert (found.scale[1], found.bias[1], found.prior[1]) == (1, 0, 0)
    assert all("not-judged:ill" in flags for _, flags in found.decide(found.probabilities(logits)))


def test_cases_not_assessed_count_nowhere():
    logits, truth, groups = draw_two(60, np.random.default_rng(25))
    more = fit_calibration(
        Classify(),
        TWO,
        np.vstack([logits, np.ones((5, 2))]),
        np.vstack([truth, np.full((5, 2), np.nan)]),
        [*groups, *"abcde"],
        balanced_training=False,
    )
    assert more.persons == more.cases == 60
    assert more.present == fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=False).present


def test_cases_without_a_person_are_persons_of_their_own():
    assert person_weights(["", "", "a", "a"]).tolist() == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda z, y, g: (z[:, :1], y, g), "needs .N, 2."),
        (lambda z, y, g: (np.where(np.arange(40)[:, None] == 3, np.nan, z), y, g), "first row 3"),
        (lambda z, y, g: (z, y[:-1], g), "same cases"),
        (lambda z, y, g: (z, y, g[:-1]), "same cases"),
        (lambda z, y, g: (z, y * 2, g), "0, 1 or NaN"),
        (lambda z, y, g: (z, y * np.nan, g), "assessed"),
        (lambda z, y, g: (z, np.ones_like(y), g), "exactly one class"),
        (lambda z, y, g: (z, np.eye(2)[[1] * 40], g), "is ill"),
    ],
)
def test_calib_parts_that_cannot_be_used_are_refused_in_a_sentence(change, says):
    logits, truth, groups = change(*draw_two(40, np.random.default_rng(26)))
    with pytest.raises(DataError, match=says):
        fit_calibration(Classify(), TWO, logits, truth, groups, balanced_training=False)


def test_answers_are_refused_for_what_is_no_logit_or_probability():
    found = fit_two()
    with pytest.raises(DataError, match="not finite"):
        found.probabilities([[np.nan, 0]])
    with pytest.raises(DataError, match="over 2 classes"):
        found.sets([[0.1, 0.2, 0.7]])
    with pytest.raises(DataError, match="between 0 and 1"):
        found.decide([[3.0, -3.0]])
    with pytest.raises(DataError, match="no operating point"):
        found.threshold("ill", "sensitivity 0.5")
    with pytest.raises(DataError, match="one number a case"):
        conformal_limit([0.1, np.nan], [1, 1])
    with pytest.raises(DataError, match="level"):
        fit_calibration(Classify(), TWO, [[0, 0]], [[1, 0]], [""], balanced_training=False, level=1)
