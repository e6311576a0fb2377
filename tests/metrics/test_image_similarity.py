"""Distances of sets of pictures: closed forms for normal distributions, sums over all pairs, and the nearest by hand."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from resdx.metrics.image_similarity import frechet, kernel_distance, likeness, nearest


def test_frechet_distance_of_normal_distributions():
    draws = np.random.default_rng(0)
    base = draws.normal(size=(4000, 3))
    base = (base - base.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(base, rowvar=False))).T  # moments exactly 0 and 1
    assert frechet(base, base) == pytest.approx(0, abs=1e-9)
    assert frechet(base, base + np.array([1, 2, 0])) == pytest.approx(5, abs=1e-9)
    scales = np.array([2.0, 1.0, 0.5])
    assert frechet(base, base * scales) == pytest.approx(((scales - 1) ** 2).sum(), abs=1e-9)
    assert frechet(base[:, :1], 3 * base[:, :1] + 1) == pytest.approx(1 + 4, abs=1e-9)


def test_kernel_distance_is_the_sum_over_pairs_and_has_no_bias():
    draws = np.random.default_rng(1)
    x, y = draws.normal(size=(6, 4)), draws.normal(0.5, 1, (5, 4))

    def k(a, b):
        return (a @ b / 4 + 1) ** 3

    own = np.mean([k(x[i], x[j]) for i in range(6) for j in range(6) if i != j])
    other = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(own + other - 2 * across)
    same = [kernel_distance(*draws.normal(size=(2, 20, 4))) for _ in range(400)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 20
    apart = [kernel_distance(draws.normal(size=(20, 4)), draws.normal(1, 1, (20, 4))) for _ in range(50)]
    assert np.mean(apart) > 10 * np.std(same) / 20


def test_the_nearest_is_found_and_the_next_person():
    draws = np.random.default_rng(2)
    others = draws.integers(0, 256, (10, 64, 64, 1)).astype(np.uint8)
    persons = np.arange(10) // 2
    others[6] = np.clip(others[7].astype(int) + 12, 0, 255)
    pictures = np.clip(others[[7, 3]].astype(int) + 4, 0, 255).astype(np.uint8)
    at, far, following = nearest(pictures, others, persons)
    assert at.tolist() == [7, 3] and (far < 0.02).all() and (following > 0.05).all()  # 6 is the same person as 7
    at, far, _ = nearest(others[[7]], others, persons, own=persons[[7]])
    assert at[0] not in (6, 7) and far[0] > 0.05
    flat = np.full((1, 64, 64, 3), 100, np.uint8)
    _, far, following = nearest(flat, flat + np.uint8(51), np.zeros(1, int))
    assert far == pytest.approx([0.2]) and np.isinf(following).all()


def test_an_average_is_no_copy():
    draws = np.random.default_rng(5)
    real = np.clip(draws.normal(120, 20, (40, 32, 32, 1)), 0, 255).astype(np.uint8)
    persons = np.arange(40)
    _, usual, after = nearest(real, real, persons, own=persons)
    edge = np.percentile(usual / after, 1)
    mean = real.mean(0, keepdims=True).astype(np.uint8)
    _, far, following = nearest(np.concatenate([mean, real[:1]]), real, persons)
    assert far[0] / following[0] > edge > far[1] / following[1]


def test_likeness_is_that_of_scikit_image():
    draws = np.random.default_rng(3)
    picture = draws.integers(0, 256, (32, 32, 1)).astype(np.uint8)
    other = np.clip(picture.astype(int) + draws.integers(-9, 10, picture.shape), 0, 255).astype(np.uint8)
    similar, peak = likeness(picture, other)
    assert similar == pytest.approx(structural_similarity(picture[..., 0], other[..., 0]))
    squared = np.mean((picture.astype(float) - other) ** 2)
    assert peak == pytest.approx(10 * np.log10(255**2 / squared))
    assert likeness(picture, picture) == (pytest.approx(1), np.inf)
