"""Logistic recalibration against statsmodels, and against what was planted."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from scipy.stats import t

from resdx.metrics.classification import ece
from resdx.metrics.recalibration import calibration_test, error_when_perfect, recalibration, spiegelhalter


def planted(seed, *, intercept=0.0, slope=1.0, n=4000, images=1):
    """Promised probabilities whose truth follows from their logit by `intercept` and `slope`."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=n), images)
    happened = rng.random(n * images) < expit(intercept + slope * x)
    return happened.astype(int), expit(x), np.repeat(np.arange(n), images)


def test_perfect_probabilities_have_intercept_0_and_slope_1():
    found = recalibration(*planted(0))
    assert found["intercept"].low < 0 < found["intercept"].high
    assert found["slope"].low < 1 < found["slope"].high


@pytest.mark.parametrize(("intercept", "slope"), [(0.7, 1.0), (0.0, 0.5), (0.0, 2.0)])
def test_planted_drift_is_found(intercept, slope):
    found = recalibration(*planted(1, intercept=intercept, slope=slope))
    assert found["slope"].value == pytest.approx(slope, abs=0.12)
    if slope == 1:
        assert found["intercept"].value == pytest.approx(intercept, abs=0.1)


def test_estimates_and_errors_equal_statsmodels():
    truth, p, person = planted(2, intercept=0.4, slope=0.7, n=150, images=3)
    theirs = [
        sm.GLM(truth, sm.add_constant(logit(p)), sm.families.Binomial()),
        sm.GLM(truth, np.ones(len(p)), sm.families.Binomial(), offset=logit(p)),
    ]
    slope, intercept = (model.fit(cov_type="cluster", cov_kwds={"groups": person, "use_correction": False}) for model in theirs)
    found = recalibration(truth, p, person)
    few = min(len(np.unique(person[truth == side])) for side in (0, 1))
    quantile = t.ppf(0.975, few - 1)
    for name, reference, k in (("slope", slope, 1), ("intercept", intercept, 0)):
        assert found[name].value == pytest.approx(reference.params[k])
        error = reference.bse[k] * (150 / 149) ** 0.5
        assert found[name].high - found[name].value == pytest.approx(quantile * error, rel=1e-4)


def test_copies_of_every_image_add_nothing():
    truth, p, person = planted(3, n=100)
    once, thrice = recalibration(truth, p, person), recalibration(*(np.repeat(part, 3) for part in (truth, p, person)))
    assert thrice["slope"].low == pytest.approx(once["slope"].low) and thrice["slope"].n == 100


def test_what_cannot_be_estimated_is_said():
    p, person = np.linspace(0.1, 0.9, 40), np.arange(40)
    apart = recalibration((p > 0.5).astype(int), p, person)
    assert apart["slope"].value is None and "separate the classes" in apart["slope"].note
    assert apart["intercept"].value is not None  # with the slope held at 1 there is a best fit
    one_class = recalibration(np.zeros(40, int), p, person)
    assert one_class["intercept"].value is None and "a class has no case" in one_class["intercept"].note
    few = recalibration(*planted(4, n=14))
    assert few["slope"].low is None and "at least 10 are needed" in few["slope"].note


def alarms(persons, images, *, intercept=0.0, slope=1.0, runs=200):
    """How often the probabilities are said to be wrong; cases of a person agree."""
    rng, found = np.random.default_rng(persons + images), []
    for _ in range(runs):
        z = rng.normal(0, 2, persons).repeat(images) + rng.normal(0, 0.7, persons * images)
        truth = (rng.random(persons).repeat(images) < expit(z)).astype(int)
        tested = calibration_test(truth, expit(intercept + slope * z), np.arange(persons).repeat(images))
        found.append(tested.p is not None and tested.p < 0.05)
    return np.mean(found)


@pytest.mark.parametrize(("persons", "images"), [(30, 1), (30, 4), (100, 1), (100, 4)])
def test_right_probabilities_are_seldom_doubted(persons, images):
    assert alarms(persons, images) <= 0.09


@pytest.mark.parametrize(("intercept", "slope"), [(1.0, 1.0), (0.0, 2.0), (0.0, 0.5)])
def test_wrong_probabilities_are_mostly_found_with_a_hundred_persons(intercept, slope):
    assert alarms(100, 4, intercept=intercept, slope=slope, runs=60) > 0.85


def test_z_of_one_case_a_person_is_spiegelhalters():
    truth, p = np.array([1, 0, 1, 1, 0]), np.array([0.9, 0.8, 0.4, 0.7, 0.1])
    over = ((truth - p) * (1 - 2 * p)).sum()
    variance = max(((1 - 2 * p) ** 2 * p * (1 - p)).sum(), (((truth - p) * (1 - 2 * p)) ** 2).sum())
    assert spiegelhalter(truth, p, np.arange(5)) == pytest.approx(over / variance**0.5)
    assert spiegelhalter(truth, np.full(5, 0.5), np.arange(5)) is None


def test_few_persons_of_a_class_are_not_tested():
    truth, p, person = planted(4, n=12)
    found = calibration_test(truth, p, person)
    assert found.p is None and found.slope.low is None


def test_the_error_of_right_probabilities_is_what_they_have_on_average():
    rng, drawn = np.random.default_rng(5), []
    p = rng.random(150)
    for _ in range(200):
        drawn.append(ece((rng.random(150) < p).astype(int), p))
    mean, most = error_when_perfect(drawn[0] < p, p, np.arange(150))
    assert mean == pytest.approx(np.mean(drawn), abs=0.004) and most == pytest.approx(np.quantile(drawn, 0.95), abs=0.012)
    shared = error_when_perfect(np.zeros(150), p, np.arange(150) // 5)[0]  # cases of a person that agree
    assert shared > mean + 0.008
