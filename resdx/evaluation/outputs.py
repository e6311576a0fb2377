"""Calibrated outputs beside what is true, and several images of a person pooled into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..data.tasks import MultiLabel, Ordinal, Task
from ..metrics import classification as metrics
from ..metrics.classification import Array


@dataclass(frozen=True)
class Answers:
    """N cases (or persons) over K classes: truth with NaN, probabilities, decisions as 0 or 1,
    who was answered, whose they are.
    """

    truth: Array  # (N, K)
    probability: Array  # (N, K)
    decided: Array  # (N, K)
    answered: NDArray[np.bool_]  # (N,)
    person: NDArray[np.intp]  # (N,)

    def __len__(self) -> int:
        return len(self.person)

    @property
    def assessed(self) -> NDArray[np.bool_]:
        """Those with a known truth for some class."""
        return np.asarray(~np.isnan(self.truth).all(1))

    def where(self, mask: NDArray[np.bool_]) -> Answers:
        """Those of a mask."""
        return Answers(self.truth[mask], self.probability[mask], self.decided[mask], self.answered[mask], self.person[mask])


@dataclass(frozen=True)
class Question:
    """What is asked of every level of the scores.

    The task, its classes, those shown one by one, and the bootstrap replicates behind the intervals.
    """

    task: Task
    classes: tuple[str, ...]
    shown: tuple[str, ...]
    draws: int
    seed: int
    thresholds: Mapping[tuple[str, str], float] = field(default_factory=dict)  # of a class for a goal, from calib

    def of_persons(self, one_each: bool) -> Question:
        """The same of persons: a threshold of images is none of what several of them are pooled to."""
        return self if one_each else replace(self, thresholds={})

    @property
    def several(self) -> bool:
        """True where a case may have several labels."""
        return isinstance(self.task, MultiLabel)


def pool_persons(question: Question, answers: Answers, pool: Pool) -> tuple[Answers, int]:
    """One row a person, and how many persons had cases of several labels.

    Probability: the mean or the highest of their cases. Decision: what most of their answered cases say (any, for "max").
    Truth: a
    finding in any case is a finding in the person (the highest grade of an Ordinal); with several classes none of which is the
    disease, such a person has no one truth and is left out.
    """
    rows = [np.flatnonzero(answers.person == person) for person in range(answers.person.max() + 1)]
    true = [_person_truth(question, answers.truth[row]) for row in rows]
    probability = np.stack([getattr(answers.probability[row], pool)(0) for row in rows])  # (persons, K)
    answered = np.array([bool(answers.answered[row].any()) for row in rows])
    decided = []
    for row, pooled in zip(rows, probability, strict=True):
        votes = answers.decided[row][answers.answered[row]] if answers.answered[row].any() else answers.decided[row]
        decided.append(_person_decision(question, votes, pooled, pool))
    if len(question.shown) == 1 < len(question.classes):  # the other class is what the pooled disease leaves
        disease = probability[:, question.classes.index(question.shown[0])]
        probability = np.stack([disease if name in question.shown else 1 - disease for name in question.classes], 1)
    elif not question.several:
        probability = probability / np.maximum(probability.sum(1, keepdims=True), metrics.EPSILON)
    mixed = sum(is_mixed(answers.truth[row]) for row in rows)
    return Answers(np.stack(true), probability, np.stack(decided), answered, np.arange(len(rows))), mixed


def _person_truth(question: Question, rows: Array) -> Array:
    known = rows[~np.isnan(rows).all(1)]  # cases that were assessed for some class
    if question.several:
        absent = np.where(np.isnan(rows).any(0), np.nan, 0.0)  # one case not assessed might have shown it
        return np.asarray(np.where((rows == 1).any(0), 1.0, absent))
    if not len(known):
        return np.full(rows.shape[1], np.nan)
    present = np.flatnonzero((known == 1).any(0))
    chosen = int(present[-1])  # the highest grade, where there are several
    if len(present) > 1 and not isinstance(question.task, Ordinal):
        if len(question.shown) > 1:
            return np.full(rows.shape[1], np.nan)
        chosen = question.classes.index(question.shown[0])
    return np.asarray(np.arange(rows.shape[1]) == chosen, np.float64)


def _person_decision(question: Question, votes: Array, pooled: Array, pool: Pool) -> Array:
    share = votes.mean(0) if pool == "mean" else votes.max(0)  # (K,): the fraction of votes for each class
    if question.several:
        return np.asarray(share >= 0.5, np.float64)
    if pool == "max" and len(question.shown) == 1:
        column = question.classes.index(question.shown[0])
        chosen = column if share[column] > 0 else 1 - column
    else:
        chosen = int((share + pooled / 1e6).argmax())  # the probability settles a tie
    return np.asarray(np.arange(len(share)) == chosen, np.float64)


def is_mixed(rows: Array) -> bool:
    known = rows[~np.isnan(rows).any(1)]
    return len(np.unique(known, axis=0)) > 1


Pool = Literal["mean", "max"]
