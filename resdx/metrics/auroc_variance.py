"""The variance of an AUROC between persons, from its influence values.

DeLong et al. 1988 for one case a person, Obuchowski 1997 for several.
"""

from __future__ import annotations

import numpy as np

from .classification import (
    Array,
    Values,
)


def auroc_by_person(y_true: Values, y_score: Values, codes: Values) -> tuple[float, Array, Array]:
    """AUROC and its influence values by person (Obuchowski 1997).

    Args:
        y_true: (N,) of 0 and 1.
        y_score: (N,) scores.
        codes: (N,) persons from 0 to G - 1.

    Returns:
        The AUROC, and how far the positive and the negative cases of each person move it: two (G,), 0 without such a case.
    """
    positive = np.asarray(y_true) == 1
    ours, theirs = np.sort(y_score[positive]), np.sort(y_score[~positive])
    # Fraction of the negatives that each positive beats, ties counting half: (P,); below, of the positives that beat each
    # negative.
    positive_wins = (
        (np.searchsorted(theirs, y_score[positive], "left") + np.searchsorted(theirs, y_score[positive], "right"))
        / 2
        / len(theirs)
    )
    negative_wins = 1 - (
        np.searchsorted(ours, y_score[~positive], "left") + np.searchsorted(ours, y_score[~positive], "right")
    ) / 2 / len(ours)
    area, persons = float(positive_wins.mean()), int(codes.max()) + 1
    positive_influence = np.bincount(codes[positive], positive_wins - area, persons) / len(ours)  # (G,)
    return area, positive_influence, np.bincount(codes[~positive], negative_wins - area, persons) / len(theirs)


def variance_between(
    y_true: Values, codes: Values, positive_influence: Array, negative_influence: Array, *, folds: int = 1
) -> tuple[float, float]:
    """Variance of an AUROC, or of a difference of two, and its degrees of freedom (Satterthwaite 1946).

    For the mean of several AUROC, where every fold has persons of its own: give influence values divided by `folds`, each of
    which costs a degree of freedom, since its influence values are centred on its own mean.
    """
    persons, ours, theirs = (len(np.unique(part)) for part in (codes, codes[y_true == 1], codes[y_true != 1]))
    parts = [(ours, float((positive_influence**2).sum())), (theirs, float((negative_influence**2).sum()))]
    # n / (n - 1) makes each sum of squares an unbiased variance; the covariance is of persons who have cases of both classes.
    first, second = (count / (count - folds) * total for count, total in parts)
    shared = 2 * persons / (persons - folds) * float((positive_influence * negative_influence).sum())
    # Degrees of freedom of a sum of two variances (Satterthwaite 1946)
    spread = first**2 / (ours - folds) + second**2 / (theirs - folds)
    freedom = (first + second) ** 2 / spread if spread > 0 else persons - folds
    return max(first + second + shared, 0.0), min(freedom, persons - folds)
