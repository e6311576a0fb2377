"""Class frequencies that differ from place to place: carry probabilities over, or estimate the new frequencies."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError

Array = NDArray[np.float32]
Floats = NDArray[np.float64]


def shift_prior(probabilities: ArrayLike, from_prior: ArrayLike, to_prior: ArrayLike) -> Array:
    """Probabilities calibrated where classes are as frequent as `from_prior`, for a place where they are as `to_prior`.

    Bayes' rule: the odds of each class are multiplied by the ratio of its priors. It holds where the classes look
    the same in both places (label shift), which nothing here can check. Rows must sum to 1: not for several labels.

    Raises:
        DataError: a prior is not a distribution over the classes, or `from_prior` lacks a class.
    """
    p = _check_distribution(probabilities)
    shifted = p * (_check_prior(to_prior, p.shape[1]) / _check_prior(from_prior, p.shape[1], positive=True))
    total = shifted.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shifted, total, out=p.copy(), where=total > 0), np.float32)


def estimate_prior(probabilities: ArrayLike, from_prior: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, ...]:
    """How frequent the classes are among unlabelled cases, by expectation maximisation (Saerens et al. 2002).

    `probabilities` are calibrated at `from_prior`. `weights` may let each person count once.

    Raises:
        DataError: as `shift_prior`.
    """
    p = _check_distribution(probabilities)
    start = _check_prior(from_prior, p.shape[1], positive=True)
    weight = np.ones(len(p)) if weights is None else np.asarray(weights, float)
    if weight.shape != (len(p),) or not (weight >= 0).all() or not weight.any():
        raise DataError(f"{len(p)} cases need {len(p)} weights of 0 or more, not all 0; person_weights gives them")
    likelihood, prior = p / start, start
    for _ in range(10_000):
        joint = likelihood * prior
        updated = weight @ (joint / np.maximum(joint.sum(axis=1, keepdims=True), np.finfo(float).tiny)) / weight.sum()
        if np.abs(updated - prior).max() < 1e-8:
            break
        prior = updated
    return tuple(map(float, updated / updated.sum()))


def _check_distribution(probabilities: ArrayLike) -> Floats:
    p = np.asarray(probabilities, float)
    if p.ndim != 2 or not len(p) or not (p >= 0).all() or not np.allclose(p.sum(axis=1), 1, atol=1e-4):
        raise DataError(
            "priors can be changed only where the probabilities of each case sum to 1, not for several labels or no cases"
        )
    return p


def _check_prior(prior: ArrayLike, classes: int, *, positive: bool = False) -> Floats:
    share = np.asarray(prior, float)
    if share.shape != (classes,) or not (share >= 0).all() or abs(share.sum() - 1) > 1e-4:
        raise DataError(
            f"a prior over {classes} classes must be {classes} shares that sum to 1, not {np.round(share, 4).tolist()}"
        )
    if positive and not share.all():
        raise DataError(
            "the prior of the calib part lacks a class, so no other prior can be reached from it; leave that class out"
        )
    return share
