"""Distance from the training cases: closed forms, invariances, and cases planted outside."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save
from scipy.stats import ortho_group

from resdx.errors import DataError
from resdx.inference.ood import DIRECTIONS, OodScore, fit_ood_score


def draw(cases=400, width=100, seed=0):
    """Embeddings whose variance falls off, as those of a network do."""
    return np.random.default_rng(seed).normal(size=(cases, width)) * 0.95 ** np.arange(width) + 3


def test_the_mean_is_at_distance_zero_and_training_cases_at_a_little_over_one():
    x = draw()
    model = fit_ood_score(x)
    assert model.distance(x.mean(axis=0, keepdims=True))[0] == pytest.approx(0, abs=1e-3)
    assert np.sqrt((model.distance(x) ** 2).mean()) == pytest.approx(np.sqrt(2), abs=0.15)


def test_without_a_rest_it_is_the_mahalanobis_distance():
    x = np.random.default_rng(1).normal(size=(20_000, 4)) @ np.diag([1, 2, 3, 4])
    model = fit_ood_score(x)
    exact = np.einsum("ni,ij,nj->n", x - x.mean(0), np.linalg.inv(np.cov(x.T)), x - x.mean(0))
    assert model.rest == 0
    np.testing.assert_allclose(model.distance(x) ** 2, exact / 4, rtol=5e-3)


@pytest.mark.parametrize("cases", [60, 400])
def test_shifting_turning_and_scaling_all_embeddings_changes_nothing(cases):
    x, new = draw(cases), draw(30, seed=2)
    turn = ortho_group.rvs(100, random_state=0)
    before = fit_ood_score(x).distance(new)
    np.testing.assert_allclose(fit_ood_score(7 * x @ turn - 5).distance(7 * new @ turn - 5), before, rtol=2e-3)


def test_the_order_of_training_cases_does_not_matter():
    x, new = draw(), draw(30, seed=2)
    np.testing.assert_allclose(fit_ood_score(x[::-1]).distance(new), fit_ood_score(x).distance(new), rtol=1e-4)


@pytest.mark.parametrize("direction", [0, 99])
def test_a_case_moved_away_is_farther_along_strong_and_along_unseen_directions(direction):
    x, new = draw(), draw(200, seed=3)
    model = fit_ood_score(x)
    limit = np.quantile(model.distance(new), 0.99)
    new[:, direction] += 20
    assert (model.distance(new) > limit).mean() > 0.99


def test_few_wide_embeddings_work_as_well():
    model = fit_ood_score(draw(12, 500))
    assert model.directions.shape == (11, 500) and np.isfinite(model.distance(draw(5, 500, seed=4))).all()
    np.testing.assert_allclose(model.directions @ model.directions.T, np.eye(11), atol=1e-5)
    assert fit_ood_score(draw()).directions.shape == (DIRECTIONS, 100)


def test_stored_arrays_give_the_same_distances():
    model = fit_ood_score(draw())
    read = OodScore.from_arrays(load(save(model.to_arrays())))
    new = draw(30, seed=5).astype(np.float16)
    np.testing.assert_array_equal(read.distance(new), model.distance(new))


def test_embeddings_that_cannot_be_used_are_refused():
    model = fit_ood_score(draw())
    with pytest.raises(DataError, match="same run"):
        model.distance(np.zeros((2, 3)))
    with pytest.raises(DataError, match="finite"):
        model.distance(np.full((2, 100), np.inf))
    with pytest.raises(DataError, match="without any spread"):
        fit_ood_score(np.ones((5, 3)))
    with pytest.raises(DataError, match="lacks directions"):
        OodScore.from_arrays({"mean": np.zeros(3, np.float32), "spread": np.ones(1, np.float32), "rest": np.ones(1, np.float32)})
