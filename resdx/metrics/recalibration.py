"""How far probabilities have drifted from what happens: intercept and slope of a logistic recalibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit

from . import classification as metrics
from .classification import Array, Values
from .estimate import Estimate
from .intervals import FEWEST, LEVEL, person_codes, persons_behind, too_few

CLIP = 1e-6  # probabilities are kept this far from 0 and 1 before their logit is taken
STEPS = 50  # of Newton's method


def recalibration(true: Values, probability: Array, groups: Values) -> dict[str, Estimate]:
    """How far probabilities of one class have drifted: both on the logit scale, with errors between persons (sandwich).

    "intercept" is calibration in the large, with the slope held at 1: above 0 the class is commoner than promised. "slope" below 1:
    probabilities are too extreme. 0 and 1 are perfect (Cox 1958).
    """
    x, y = logit(np.clip(probability, CLIP, 1 - CLIP)), np.asarray(true == 1, np.float64)
    codes = person_codes(groups, len(y))
    few, n = persons_behind(metrics.auroc, y, codes), len(np.unique(codes))
    if few == 0:
        nothing = Estimate(None, None, None, n, "not estimable: a class has no case")
        return {"intercept": nothing, "slope": nothing}
    ones = np.ones((len(y), 1))
    large = _logistic(ones, y, x, codes)
    both = _logistic(np.column_stack([ones, x]), y, np.zeros(len(y)), codes)
    return {"intercept": _coefficient(large, 0, few, n), "slope": _coefficient(both, 1, few, n)}


def _logistic(design: Array, y: Array, offset: Array, codes: NDArray[np.intp]) -> tuple[Array, Array] | None:
    """Coefficients and their covariance between persons (Liang and Zeger 1986); None where there is no finite best fit."""
    beta = np.zeros(design.shape[1])
    for _ in range(STEPS):
        p = expit(design @ beta + offset)
        information = design.T @ (design * (p * (1 - p))[:, None])
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (y - p))
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    else:
        return None
    people = int(codes.max()) + 1
    moves = np.stack([np.bincount(codes, column * (y - p), people) for column in design.T], 1)
    bread = np.linalg.inv(information)
    return beta, bread @ (moves.T @ moves) @ bread * people / (people - 1)


def _coefficient(fitted: tuple[Array, Array] | None, k: int, few: int, persons_there: int) -> Estimate:
    if fitted is None:
        return Estimate(
            None, None, None, persons_there, "not estimable: the probabilities separate the classes, or are all the same"
        )
    value, error = float(fitted[0][k]), float(fitted[1][k, k] ** 0.5)
    if few < FEWEST:
        return Estimate(value, None, None, persons_there, too_few(few))
    reach = float(stdtrit(few - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, value - reach, value + reach, persons_there, "t interval, variance between persons")
