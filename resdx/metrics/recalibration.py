"""How far predicted probabilities lie from observed outcomes: logistic recalibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, stdtr, stdtrit

from . import classification as metrics
from .classification import Array, Values
from .estimate import Estimate
from .intervals import LEVEL, MIN_PERSONS, effective_sample_size, person_codes, too_few

CLIP = 1e-6  # probabilities are kept this far from 0 and 1 before their logit is taken
DRAWS = 200  # of outcomes, for the calibration error of a perfect model
STEPS = 50  # of Newton's method


def recalibration(y_true: Values, y_score: Array, groups: Values) -> dict[str, Estimate]:
    """Calibration intercept and slope of one class on the logit scale (Cox 1958); 0 and 1 are perfect.

    "intercept" is calibration in the large, with the slope held at 1: above 0 the class is observed more often than
    predicted. "slope" below 1: probabilities are too extreme. Standard errors are between persons (sandwich).

    Args:
        y_true: (N,) of 0 and 1.
        y_score: (N,) probabilities in [0, 1].
        groups: (N,) the person of each case.
    """
    x, y = logit(np.clip(y_score, CLIP, 1 - CLIP)), np.asarray(y_true == 1, np.float64)
    codes = person_codes(groups, len(y))
    n_effective, n = effective_sample_size(metrics.auroc, y, codes), len(np.unique(codes))
    if n_effective == 0:
        nothing = Estimate(None, None, None, n, "not estimable: a class has no case")
        return {"intercept": nothing, "slope": nothing}
    ones = np.ones((len(y), 1))
    large = _logistic(ones, y, x, codes)  # the logit is an offset, so that its slope stays 1
    both = _logistic(np.column_stack([ones, x]), y, np.zeros(len(y)), codes)
    return {"intercept": _coefficient(large, 0, n_effective, n), "slope": _coefficient(both, 1, n_effective, n)}


@dataclass(frozen=True)
class CalibrationTest:
    """Whether probabilities are right: intercept, slope and Spiegelhalter's z.

    `p` is that of all together: Bonferroni's, of those that can be estimated; None with fewer than 10 persons in a class.
    """

    intercept: Estimate
    slope: Estimate
    z: float | None
    p: float | None


def calibration_test(y_true: Values, y_score: Array, groups: Values) -> CalibrationTest:
    """Test the probabilities of one class; arguments as for `recalibration`."""
    found = recalibration(y_true, y_score, groups)
    y, codes = np.asarray(y_true == 1, np.float64), person_codes(groups, len(y_true))
    n_effective = effective_sample_size(metrics.auroc, y, codes)
    z = spiegelhalter(y, y_score, codes)
    if n_effective < MIN_PERSONS:
        return CalibrationTest(found["intercept"], found["slope"], z, None)
    each = [_p_value(found["intercept"], 0.0, n_effective), _p_value(found["slope"], 1.0, n_effective)]
    each += [None if z is None else 2 * float(ndtr(-abs(z)))]
    known = [p for p in each if p is not None]
    return CalibrationTest(found["intercept"], found["slope"], z, min(1.0, len(known) * min(known)) if known else None)


def spiegelhalter(y_true: Values, y_score: Array, groups: Values) -> float | None:
    """Spiegelhalter's z (1986): about standard normal where the probabilities are right.

    Its variance is that of the model or that between persons, whichever is more: cases of one person agree. None where
    every probability is 0, 1/2 or 1.
    """
    y, p = np.asarray(y_true == 1, np.float64), np.asarray(y_score, np.float64)
    each = np.bincount(person_codes(groups, len(y)), (y - p) * (1 - 2 * p))
    variance = max(float((each**2).sum()), float(((1 - 2 * p) ** 2 * p * (1 - p)).sum()))
    return float(each.sum()) / variance**0.5 if variance > 0 else None


def error_when_perfect(y_true: Values, y_score: Array, groups: Values, *, seed: int = 0) -> tuple[float, float]:
    """The calibration error where these probabilities (N,) are right: its mean and 95 % quantile.

    By drawing outcomes from them. Where all cases of each person have one outcome, so have those that are drawn.
    """
    y, p = np.asarray(y_true == 1, np.float64), np.asarray(y_score, np.float64)
    codes = person_codes(groups, len(y))
    mean = np.bincount(codes, y) / np.bincount(codes)
    unit = codes if bool(np.isin(mean, (0.0, 1.0)).all()) else np.arange(len(y))
    rng = np.random.default_rng(seed)
    drawn = [float(metrics.ece((rng.random(int(unit.max()) + 1)[unit] < p).astype(int), p)) for _ in range(DRAWS)]
    return float(np.mean(drawn)), float(np.quantile(drawn, LEVEL))


def _p_value(found: Estimate, perfect: float, n_effective: int) -> float | None:
    if found.value is None or found.low is None or found.high is None:
        return None
    error = (found.high - found.low) / 2 / float(stdtrit(n_effective - 1, (1 + LEVEL) / 2))
    return 2 * float(stdtr(n_effective - 1, -abs(found.value - perfect) / error)) if error > 0 else None


def _logistic(design: Array, y: Array, offset: Array, codes: NDArray[np.intp]) -> tuple[Array, Array] | None:
    """Coefficients and their covariance between persons (Liang and Zeger 1986).

    None where there is no finite best fit.
    """
    beta = np.zeros(design.shape[1])
    for _ in range(STEPS):
        p = expit(design @ beta + offset)
        information = design.T @ (design * (p * (1 - p))[:, None])  # (P, P), the Fisher information
        if np.linalg.cond(information) > 1e12:  # separated classes: the likelihood has no maximum
            return None
        step = np.linalg.solve(information, design.T @ (y - p))
        beta = beta + np.clip(step, -2, 2)  # clipped: far from the optimum a full Newton step may overshoot
        if np.abs(step).max() < 1e-8:
            break
    else:
        return None
    people = int(codes.max()) + 1
    # (G, P): the score of each person
    influence = np.stack([np.bincount(codes, column * (y - p), people) for column in design.T], 1)
    bread = np.linalg.inv(information)
    # The sandwich estimator with the factor G / (G - 1) for few persons
    return beta, bread @ (influence.T @ influence) @ bread * people / (people - 1)


def _coefficient(fitted: tuple[Array, Array] | None, k: int, n_effective: int, persons: int) -> Estimate:
    if fitted is None:
        return Estimate(None, None, None, persons, "not estimable: the probabilities separate the classes, or are all the same")
    value, error = float(fitted[0][k]), float(fitted[1][k, k] ** 0.5)
    if n_effective < MIN_PERSONS:
        return Estimate(value, None, None, persons, too_few(n_effective))
    reach = float(stdtrit(n_effective - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, value - reach, value + reach, persons, "t interval, variance between persons")
