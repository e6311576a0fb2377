"""Intervals against closed forms, statsmodels and a brute-force variance; then coverage by simulation."""

from functools import partial

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t
from statsmodels.stats.proportion import proportion_confint

from resdx.errors import DataError
from resdx.metrics import auroc_variance, bootstrap, intervals
from resdx.metrics import classification as metrics
from resdx.metrics.bands import bands
from resdx.metrics.intervals import estimate, estimates, mean_of_persons, proportion


def sample(seed, persons=50, images=3, shift=1.0):
    """Clustered scores; each person has one class."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(persons), images)
    truth = person % 2
    return truth, rng.normal(size=persons)[person] + rng.normal(size=len(person)) + shift * truth, person


@pytest.mark.parametrize(("right", "n"), [(45, 50), (12, 40), (399, 400)])
def test_one_case_a_person_is_wilsons_interval(right, n):
    found = proportion(np.arange(n) < right)
    assert (found.low, found.high) == pytest.approx(proportion_confint(right, n, method="wilson"))


@pytest.mark.parametrize("persons", [10, 25, 300])
def test_all_right_is_the_exact_bound_on_persons_and_never_zero_width(persons):
    groups = np.repeat(np.arange(persons), 4)
    right, wrong = (proportion(np.full(4 * persons, value), groups) for value in (True, False))
    assert (right.low, right.high) == pytest.approx(proportion_confint(persons, persons, method="beta"))
    assert (wrong.low, wrong.high) == pytest.approx(proportion_confint(0, persons, method="beta"))
    assert right.n == persons


def test_only_what_is_exact_is_called_so():
    once, several = proportion(np.full(30, True)), proportion(np.full(60, True), np.repeat(np.arange(30), 2))
    assert once.note == "all right: exact bound on 30 persons"
    assert several.note == "all right: bound as of a proportion on 30 persons" and several.low == once.low
    truth = np.arange(40) % 2
    assert estimates({"auroc": metrics.auroc}, truth, truth)["auroc"].note == "all right: bound as of a proportion on 20 persons"


def test_a_calibration_error_has_no_interval():
    rng = np.random.default_rng(0)
    p = rng.random(200)
    found = estimates({"ece": metrics.ece}, (rng.random(200) < p).astype(int), p)["ece"]
    assert found.value > 0 and found.low is None and "perfect model" in found.note


@pytest.mark.parametrize("persons", [24, 200])
@pytest.mark.parametrize("apart", [0.3, 9.0])
def test_bands_are_nowhere_of_zero_width(persons, apart):
    rng, truth = np.random.default_rng(1), np.arange(persons) % 2
    p = expit(apart * (2 * truth - 1) + rng.normal(size=persons))
    grid, thresholds = np.arange(101) / 100, np.arange(1, 50) / 50
    curves = {
        "roc": partial(metrics.roc_curve, grid=grid),
        "precision": partial(metrics.precision_curve, grid=grid),
        "decision": partial(metrics.net_benefit, thresholds=thresholds),
    }
    for name, (_, low, high) in bands(curves, truth, p, replicates=200).items():
        assert (high > low).all(), name
        assert name == "decision" or ((low >= 0) & (high <= 1)).all()


def test_images_that_all_agree_within_a_person_count_as_one():
    per_person = np.arange(60) % 5 > 0
    once, fourfold = proportion(per_person), proportion(np.repeat(per_person, 4), np.repeat(np.arange(60), 4))
    assert "design effect 4.00" in fourfold.note
    assert fourfold.low == pytest.approx(once.low, abs=0.005)


def test_independent_images_have_no_design_effect():
    rng = np.random.default_rng(0)
    assert intervals.design_effect(rng.random(4000) < 0.8, np.repeat(np.arange(1000), 4)) == pytest.approx(1, abs=0.1)


def test_too_few_persons_get_a_sentence_instead_of_an_interval():
    truth, score, person = sample(0, persons=18)
    found = estimate(metrics.auroc, truth, score, person)
    assert found.value is not None and found.low is None and found.high is None
    assert found.note == "no interval: 9 persons in the smallest class, at least 10 are needed"


def test_an_absent_class_is_not_estimable():
    found = estimate(metrics.auroc, np.zeros(30, int), np.arange(30.0))
    assert found.value is None and "not estimable" in found.note
    assert estimate(metrics.sensitivity, np.zeros(30, int), np.zeros(30)).value is None


def brute_force_variance(truth, score, person):
    """Obuchowski 1997, pair by pair."""
    ours, theirs = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    wins = (score[ours][:, None] > score[theirs]) + 0.5 * (score[ours][:, None] == score[theirs])
    area, people = wins.mean(), np.unique(person)
    a = np.array([(wins.mean(1) - area)[person[ours] == p].sum() for p in people]) / len(ours)
    b = np.array([(wins.mean(0) - area)[person[theirs] == p].sum() for p in people]) / len(theirs)
    m, n, both = len(set(person[ours])), len(set(person[theirs])), len(people)
    return area, m / (m - 1) * (a**2).sum() + n / (n - 1) * (b**2).sum() + 2 * both / (both - 1) * (a * b).sum()


@pytest.mark.parametrize("seed", range(6))
def test_variance_of_a_clustered_auroc_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    truth, person = rng.integers(0, 2, 90), rng.integers(0, 20, 90)
    score = np.round(rng.normal(size=90) + truth, 1)
    person = intervals.person_codes(person, 90)
    area, ours, theirs = auroc_variance.auroc_by_person(truth, score, person)
    assert (area, auroc_variance.variance_between(truth, person, ours, theirs)[0]) == pytest.approx(
        brute_force_variance(truth, score, person)
    )
    assert area == pytest.approx(float(metrics.auroc(truth, score)))


def test_few_persons_get_a_t_interval_and_many_the_percentiles():
    few, many = (estimate(metrics.auroc, *sample(1, persons)) for persons in (30, 400))
    assert "t interval" in few.note and "percentiles" in many.note
    assert few.low < few.value < few.high < 1 and many.high - many.low < few.high - few.low


def test_percentiles_agree_with_the_analytic_interval_for_many_persons():
    truth, score, person = sample(2, 600)
    found, analytic = estimate(metrics.auroc, truth, score, person), intervals._area(truth, score, person)
    assert (found.low, found.high) == pytest.approx((analytic.low, analytic.high), abs=0.01)


def test_a_perfect_auroc_has_a_bound():
    found = estimate(metrics.auroc, np.arange(40) % 2, np.arange(40) % 2)
    assert found.value == found.high == 1 and found.low == pytest.approx(0.025 ** (1 / 20))


def test_a_draw_of_persons_keeps_their_images_together_and_their_class_balance():
    truth, _, person = sample(3, persons=40)
    weights = np.concatenate(list(bootstrap.resample(truth, person, replicates=50, seed=0)))
    assert weights.shape == (50, 120)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights.sum(1) == 120).all()
    assert (weights[:, truth == 1].sum(1) == 60).all()


def test_rare_compositions_are_drawn_together_so_a_draw_may_lack_a_class():
    rare = np.r_[np.repeat(np.arange(1, 5), 3), np.zeros(100, int)]  # 4 rare classes of one person each, drawn together
    weights = np.concatenate(list(bootstrap.resample(rare, np.r_[np.repeat(np.arange(4), 3), 4:104], replicates=400, seed=0)))
    lacking = np.isnan(metrics.balanced_accuracy(rare, rare, weights)).mean()
    assert lacking == pytest.approx(1 - 24 / 256, abs=0.05)


def test_draws_that_lack_a_class_are_counted_in_the_note():
    truth, person = np.zeros(3 * 60, int), np.repeat(np.arange(60), 3)
    truth[: 3 * 12 : 3] = 1
    few = intervals.effective_sample_size(metrics.auroc, truth, person)
    kept = intervals._from_replicates(0.8, np.r_[np.random.default_rng(0).random(98), np.nan, np.nan], few, 60)
    assert "2 of 100 replicates lacked a class" in kept.note


def test_the_same_seed_gives_the_same_interval_and_order_does_not_matter():
    truth, score, person = sample(4, persons=120)
    names = np.array([f"p{k:03d}" for k in person])
    first, second = (estimate(metrics.average_precision, truth, score, names, seed=5) for _ in range(2))
    mixed = np.random.default_rng(0).permutation(len(truth))
    third = estimate(metrics.average_precision, truth[mixed], score[mixed], names[mixed], seed=5)
    assert first == second
    assert (first.low, first.high) == pytest.approx((third.low, third.high))


def test_several_metrics_share_their_draws_with_one():
    truth, score, person = sample(5, persons=120)
    both = estimates({"auroc": metrics.auroc, "saved": metrics.work_saved}, truth, score, person)
    assert both["auroc"] == estimate(metrics.auroc, truth, score, person)
    assert list(both) == ["auroc", "saved"]


@pytest.mark.parametrize("metric", [metrics.mcc, metrics.quadratic_kappa, metrics.macro_f1, metrics.balanced_accuracy])
@pytest.mark.parametrize("persons", [24, 90])
def test_metrics_of_decisions_have_an_interval_around_them(metric, persons):
    truth, score, person = sample(6, persons)
    found = estimate(metric, truth, (score > 0.5).astype(int), person)
    assert -1 <= found.low < found.value < found.high <= 1


def test_a_perfect_kappa_is_bounded_on_its_own_scale():
    truth = np.arange(40) % 2
    found = estimate(metrics.quadratic_kappa, truth, truth)
    assert found.value == 1 and found.low == pytest.approx(2 * 0.025 ** (1 / 20) - 1)


def test_a_band_contains_its_curve_and_few_persons_have_none():
    curve = partial(metrics.roc_curve, grid=np.arange(11) / 10)
    value, low, high = bands({"it": curve}, *sample(7, 100), replicates=300)["it"]
    assert (low <= value + 0.02).all() and (value <= high + 0.02).all() and (np.diff(value) >= 0).all()
    assert bands({"it": curve}, *sample(7, 10))["it"][1] is None


def test_scores_that_are_all_equal_have_no_interval():
    found = estimate(metrics.auroc, np.arange(40) % 2, np.ones(40))
    assert found.value == 0.5 and found.low is None and "do not differ" in found.note


def test_groups_of_another_length_are_refused():
    with pytest.raises(DataError, match="4 cases but 2 groups"):
        estimate(metrics.auroc, np.array([0, 1, 0, 1]), np.arange(4.0), ["a", "b"])


def test_no_cases_are_not_estimable():
    assert estimate(metrics.accuracy, np.zeros(0), np.zeros(0)).value is None
    assert proportion(np.zeros(0)).n == 0


@pytest.mark.parametrize("persons", [24, 100])
def test_the_interval_of_a_clustered_auroc_covers(persons):
    """Nominal 0.95; 200 simulations, so that below 0.90 is no accident."""
    truth_area = float(intervals.ndtr(1 / 2))
    held = 0
    for seed in range(200):
        found = estimate(metrics.auroc, *sample(seed, persons), replicates=300)
        held += found.low <= truth_area <= found.high
    assert held >= 180


def test_the_interval_of_a_mean_counts_persons():
    rng = np.random.default_rng(0)
    values = rng.uniform(0.3, 0.6, 20)
    twice = mean_of_persons(np.repeat(values, 2), [f"p{i // 2}" for i in range(40)])
    low, high = t.interval(0.95, 19, values.mean(), values.std(ddof=1) / 20**0.5)
    np.testing.assert_allclose((twice.value, twice.low, twice.high, twice.n), (values.mean(), low, high, 20))


def test_below_ten_persons_there_is_no_interval():
    found = mean_of_persons(np.linspace(0, 1, 9), list("abcdefghi"))
    assert (found.value, found.low, found.n) == (0.5, None, 9)
    assert "at least 10 are needed" in found.note


# Figures that take weights


def test_a_weighted_figure_has_the_interval_of_the_same_metric():
    truth, answer, person = sample(5, persons=80)
    plain = intervals.estimates({"it": metrics.average_precision}, truth, answer, person, replicates=300, seed=4)["it"]

    def figure(weights):
        return float(
            metrics.average_precision(truth, answer)
            if weights is None
            else metrics.average_precision(truth, answer, weights[None])[0]
        )

    found = intervals.weighted({"it": figure}, truth == 1, person, replicates=300, seed=4)["it"]
    assert found.value == plain.value and found.n == plain.n
    assert found.low == pytest.approx(plain.low, abs=0.02) and found.high == pytest.approx(plain.high, abs=0.02)


def test_a_weighted_figure_without_enough_to_find_has_no_interval():
    there = np.arange(40) < 4
    mean = {"it": lambda weights: 0.5}
    assert intervals.weighted(mean, there)["it"].low is None and intervals.weighted(mean, there)["it"].value == 0.5
    assert intervals.weighted(mean, np.zeros(40, bool))["it"].value is None
    perfect = intervals.weighted({"it": lambda weights: 1.0}, np.ones(40, bool))["it"]
    assert perfect.low == pytest.approx(0.025 ** (1 / 40)) and "right" not in perfect.note
    both = np.stack([np.ones(40, bool), there], 1)  # a mean over two classes rests on the rarer one
    assert intervals.weighted(mean, both)["it"].low is None
