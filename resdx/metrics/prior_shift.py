"""Class priors that differ from place to place: carry probabilities over, or estimate the priors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError

Array = NDArray[np.float32]
Floats = NDArray[np.float64]


def shift_prior(probabilities: ArrayLike, from_prior: ArrayLike, to_prior: ArrayLike) -> Array:
    """Probabilities carried from one class prior to another by Bayes' rule.

    The odds of each class are multiplied by the ratio of its priors. It holds where the classes look the same in both
    places (label shift), which nothing here can check. Rows must sum to 1: not for several labels.

    Args:
        probabilities: (N, K), calibrated at `from_prior`.
        from_prior: (K,) class frequencies that sum to 1, `to_prior` those of the new place.

    Returns:
        Probabilities (N, K), float32.

    Raises:
        DataError: a prior is not a distribution over the classes, or `from_prior` lacks a class.
    """
    p = _check_distribution(probabilities)
    # P(k | x) at the new place is proportional to P(k | x) new_k / old_k.
    shifted = p * (_check_prior(to_prior, p.shape[1]) / _check_prior(from_prior, p.shape[1], positive=True))
    total = shifted.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shifted, total, out=p.copy(), where=total > 0), np.float32)


def estimate_prior(probabilities: ArrayLike, from_prior: ArrayLike, sample_weight: ArrayLike | None = None) -> tuple[float, ...]:
    """Class frequencies among unlabelled cases, by expectation maximisation (Saerens et al. 2002).

    Args:
        probabilities: (N, K), calibrated at `from_prior`.
        from_prior: (K,) class frequencies that sum to 1.
        sample_weight: (N,), such as `persons.person_weights`, which lets each person count once.

    Returns:
        The K estimated frequencies, which sum to 1.

    Raises:
        DataError: as `shift_prior`.
    """
    p = _check_distribution(probabilities)
    start = _check_prior(from_prior, p.shape[1], positive=True)
    weight = np.ones(len(p)) if sample_weight is None else np.asarray(sample_weight, float)
    if weight.shape != (len(p),) or not (weight >= 0).all() or not weight.any():
        raise DataError(f"{len(p)} cases need {len(p)} weights of 0 or more, not all 0; person_weights gives them")
    # p / start is the likelihood of each case up to a factor of its own, which the E step divides out.
    likelihood, prior = p / start, start
    for _ in range(10_000):
        joint = likelihood * prior
        # E step: posterior of each case at the present prior; M step: their weighted mean is the next prior.
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
    prior_values = np.asarray(prior, float)
    if prior_values.shape != (classes,) or not (prior_values >= 0).all() or abs(prior_values.sum() - 1) > 1e-4:
        raise DataError(
            f"a prior over {classes} classes must be {classes} shares that sum to 1, not {np.round(prior_values, 4).tolist()}"
        )
    if positive and not prior_values.all():
        raise DataError(
            "the prior of the calib part lacks a class, so no other prior can be reached from it; leave that class out"
        )
    return prior_values
