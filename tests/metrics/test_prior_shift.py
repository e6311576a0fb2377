"""Other class balances: Bayes' rule as the closed form, and recovery of a prior that was planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from resdx.errors import DataError
from resdx.metrics.prior_shift import estimate_prior, shift_prior


def test_odds_are_multiplied_by_the_ratio_of_the_priors():
    shifted = shift_prior([[0.8, 0.2]], [0.5, 0.5], [0.9, 0.1])
    assert logit(shifted[0, 1]) == pytest.approx(logit(0.2) + logit(0.1), abs=1e-5)
    assert shifted.dtype == np.float32


def test_going_there_and_back_changes_nothing():
    p = np.random.default_rng(0).dirichlet([1, 1, 1], 50)
    there = shift_prior(p, [0.2, 0.3, 0.5], [0.6, 0.3, 0.1])
    np.testing.assert_allclose(shift_prior(there, [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]), p, atol=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_a_planted_prior_is_found_without_labels_and_the_probabilities_become_calibrated(share):
    rng = np.random.default_rng(1)
    ill = rng.random(40_000) < share
    p = expit(2 * (np.where(ill, 1.0, -1.0) + rng.normal(size=40_000)))  # log odds at equal shares
    p = np.stack([1 - p, p], axis=1)
    found = estimate_prior(p, [0.5, 0.5])
    assert found[1] == pytest.approx(share, abs=0.02) and sum(found) == pytest.approx(1)
    right = shift_prior(p, [0.5, 0.5], found)[:, 1]
    assert right.mean() == pytest.approx(ill.mean(), abs=0.02)
    assert right[right > 0.5].mean() == pytest.approx(ill[right > 0.5].mean(), abs=0.03)


def test_weights_let_a_person_count_once():
    p = np.array([[0.9, 0.1]] * 3 + [[0.2, 0.8]])
    once = estimate_prior(p[2:], [0.5, 0.5])
    assert estimate_prior(p, [0.5, 0.5], [1 / 3] * 3 + [1]) == pytest.approx(once, abs=1e-6)


def test_the_prior_of_an_unshifted_part_stays():
    p = np.array([[0.75, 0.25], [0.25, 0.75]])
    assert estimate_prior(p, [0.5, 0.5]) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("p", "start", "says"),
    [
        ([[0.5, 0.7]], [0.5, 0.5], "sum to 1"),
        ([[0.5, 0.5]], [1.0, 0.0], "lacks a class"),
        ([[0.5, 0.5]], [0.5, 0.3], "2 shares"),
        ([[0.5, 0.5]], [0.2, 0.3, 0.5], "2 shares"),
    ],
)
def test_what_is_no_distribution_is_refused(p, start, says):
    with pytest.raises(DataError, match=says):
        shift_prior(p, start, [0.5, 0.5])
    with pytest.raises(DataError, match=says):
        estimate_prior(p, start)


def test_weights_that_do_not_fit_are_refused():
    for weights in ([1.0], [0.0, 0.0], [1.0, -1.0]):
        with pytest.raises(DataError, match="2 weights"):
            estimate_prior([[0.5, 0.5], [0.4, 0.6]], [0.5, 0.5], weights)
