"""What a model is asked: one class, several labels, or a grade.

How labels become targets and logits probabilities.

Pure NumPy, so that prediction needs no training library; the losses live in train.py. Truth is a float32 (N, K) array
over the classes: 1 present, 0 absent, NaN not assessed (for a class, or for the whole case).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from ..errors import DataError
from ..records import record
from .cases import Case

Array = NDArray[np.float32]


@record
class Classify:
    """Exactly one class a case. `positive` names the class that counts as disease where there are two."""

    positive: str = ""

    def outputs(self, classes: Sequence[str]) -> int:
        """Logits the network gives for K classes."""
        return len(classes)

    def probabilities(self, logits: Array) -> Array:
        """(N, K) logits -> (N, K) probabilities that sum to 1."""
        return np.asarray(softmax(logits, axis=1), np.float32)


@record
class MultiLabel:
    """Any number of classes a case; a class may be unknown (masked in the loss and in every score)."""

    def outputs(self, classes: Sequence[str]) -> int:
        """Logits the network gives for K classes."""
        return len(classes)

    def probabilities(self, logits: Array) -> Array:
        """(N, K) logits -> (N, K) probabilities, each class on its own."""
        return np.asarray(expit(logits), np.float32)


@record
class Detect(MultiLabel):
    """Boxes of each class.

    A picture has the classes of its boxes, each as likely as the most certain box of it.
    """


@record
class Ordinal:
    """Grades in the order of the classes, as K - 1 questions "is it above grade k?" (Frank and Hall 2001)."""

    def outputs(self, classes: Sequence[str]) -> int:
        """Logits the network gives for K grades."""
        return len(classes) - 1

    def probabilities(self, logits: Array) -> Array:
        """(N, K - 1) logits of "above grade k" -> (N, K) probabilities that sum to 1."""
        above = np.minimum.accumulate(expit(logits), axis=1)  # a grade above k + 1 is above k
        # (N, K + 1), from 1 to 0
        edges = np.concatenate([np.ones_like(above[:, :1]), above, np.zeros_like(above[:, :1])], axis=1)
        return np.asarray(-np.diff(edges, axis=1), np.float32)


Task = Classify | MultiLabel | Detect | Ordinal


def truth(task: Task, classes: Sequence[str], cases: Sequence[Case]) -> Array:
    """Labels of `cases` as (N, K): 1, 0, or NaN where not assessed.

    Raises:
        DataError: a label that is not among the classes, or not exactly one where the task wants one.
    """
    column = {name: k for k, name in enumerate(classes)}
    out = np.zeros((len(cases), len(classes)), np.float32)
    for row, case in zip(out, cases, strict=True):
        if case.labels is None:
            row[:] = np.nan
            continue
        for label in case.labels:
            if label not in column:
                raise DataError(f"{case.id}: label {label!r} is not in the recipe, which knows {', '.join(classes)}")
            row[column[label]] = 1
        for label in case.unknown:
            if label in column:
                row[column[label]] = np.nan
        if not isinstance(task, MultiLabel) and len(case.labels) != 1:
            raise DataError(
                f"{case.id} has {len(case.labels)} labels, but {type(task).__name__} takes exactly one; use MultiLabel()"
            )
    return out


def positive_class(task: Task, classes: Sequence[str]) -> str:
    """The class a binary score is about: the task's choice, else the second of two; empty with more."""
    if isinstance(task, Classify) and task.positive:
        return task.positive
    return classes[1] if len(classes) == 2 and isinstance(task, Classify) else ""


def target(task: Task, truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Truth (N, K) with NaN for unknown -> what the logits (N, outputs) are compared with."""
    if not isinstance(task, Ordinal):
        return truth
    grade = truth.argmax(1)[:, None]
    above: NDArray[np.float32] = (grade > np.arange(truth.shape[1] - 1)).astype(np.float32)  # (N, K - 1)
    above[np.isnan(truth).any(1)] = np.nan
    return above


def class_weights(task: Task, targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights that make rare answers count as much as frequent ones.

    A weight is a class's (Classify), or that of its positives (others).
    """
    positives = np.nansum(targets, axis=0)
    known = (~np.isnan(targets)).sum(0)
    if isinstance(task, Classify):
        # A class that train lacks gets no weight: label smoothing would otherwise pull everything towards it.
        # N over K times the cases of a class, which is what "balanced" means in scikit-learn.
        return np.asarray(np.where(positives > 0, known / (len(positives) * np.maximum(positives, 1)), 0), np.float32)
    # negatives for each positive, within a factor of 10
    return np.asarray(np.clip((known - positives) / np.maximum(positives, 1), 0.1, 10), np.float32)
