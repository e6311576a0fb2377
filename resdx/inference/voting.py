"""Outputs of several models as one.

Votes over their probabilities, and a regression on their log-odds. All is done on log-probabilities, so that nothing is cut
off where a model is sure. A task asks questions (Q), each with its possible answers (C): Classify asks one with K answers,
the others ask each output for no or yes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax, logsumexp

from ..data.tasks import Classify, Task
from ..metrics.persons import person_weights
from ..records import record
from .engines import Outputs

Floats = NDArray[np.float64]
Logits = Sequence[NDArray[np.float32]]  # the logits (N, outputs) of each member

ROUNDS = 5000  # of the search for weights, which seldom takes a hundred
SETTLED = 1e-10  # the largest change of a weight in a round from which on the search ends


@record
class Votes:
    """How M members become one model; ensemble.json holds it.

    `weights` (M,) of the votes sum to 1. Of stacking `slopes`, one row an output, and `bias` are the regression on `log_odds`.
    `spreads` (M,) are the root mean square distances of the training cases from their mean in each member's embedding.
    """

    members: tuple[str, ...]
    vote: Literal["soft", "weighted", "majority", "stacking"]
    weights: tuple[float, ...]
    spreads: tuple[float, ...]
    slopes: tuple[tuple[float, ...], ...] = ()
    bias: tuple[float, ...] = ()

    def logits(self, task: Task, each: Logits) -> NDArray[np.float32]:
        """(N, outputs) of all members together; the task's probabilities of them are the vote's shares."""
        if self.vote == "stacking":
            return np.asarray(log_odds(task, each) @ np.array(self.slopes).T + np.array(self.bias), np.float32)
        opinions = np.stack([log_shares(task, one) for one in each])
        # log of the weighted mean probability: (N, Q, C)
        mean = logsumexp(opinions, axis=0, b=np.array(self.weights)[:, None, None, None])
        return _as_logits(task, majority(opinions, mean) if self.vote == "majority" else mean)

    def together(self, task: Task, each: Sequence[Outputs]) -> Outputs:
        """One output of the members' outputs.

        The embeddings stand side by side, each in units of its spread, so that none
        drowns another.
        """
        embeddings = [one.embeddings / spread for one, spread in zip(each, self.spreads, strict=True)]
        return Outputs(self.logits(task, [one.logits for one in each]), np.concatenate(embeddings, axis=1, dtype=np.float32))


def majority(opinions: Floats, mean: Floats) -> Floats:
    """(N, Q, C) logarithms of (votes + mean probability) / (M + 1).

    `opinions` (M, N, Q, C) vote for their likeliest answer each. More votes always count for more, and the mean probability,
    which is less than a vote, orders cases and classes of as many votes.
    """
    first = opinions == opinions.max(axis=-1, keepdims=True)
    votes = (first & (first.cumsum(axis=-1) == 1)).sum(axis=0)  # of equal ones the first
    with np.errstate(divide="ignore"):
        return np.asarray(np.logaddexp(np.log(votes), mean) - np.log(len(opinions) + 1))


def fit_weights(task: Task, logits: Logits, targets: NDArray[np.float32], groups: Sequence[str]) -> tuple[float, ...]:
    """(M,) maximum likelihood weights for the mixture of the members' probabilities.

    Each person counts once. The likelihood of a mixture has one peak; expectation maximisation climbs it from equal weights
    (Dempster, Laird and Rubin 1977).

    Args:
        targets: (N, outputs) of losses.target, NaN where not known.
    """
    opinions = np.stack([log_shares(task, one) for one in logits])
    # 1 for the true answer: (N, Q, C)
    observed = targets[:, None, :] if isinstance(task, Classify) else np.stack([1 - targets, targets], axis=-1)
    known = ~np.isnan(observed).any(axis=-1)  # (N, Q)
    logs = (opinions * np.nan_to_num(observed)).sum(axis=-1)[:, known]  # (M, observations)
    likelihood = np.exp(logs - logs.max(axis=0))  # scaled by the best member: only ratios count
    share = np.broadcast_to(person_weights(groups)[:, None], known.shape)[known]  # each person counts once
    weights = np.full(len(logits), 1 / len(logits))
    for _ in range(ROUNDS):
        owed = weights[:, None] * likelihood  # (M, observations): E step
        new = (owed / owed.sum(axis=0)) @ share / share.sum()  # M step
        moved, weights = np.abs(new - weights).max(), new
        if moved < SETTLED:
            break
    return tuple(map(float, weights / weights.sum()))


def log_odds(task: Task, logits: Logits) -> Floats:
    """(N, M * outputs) what stacking regresses on: each member's logits.

    For two classes the one difference that counts, for
    more those to their mean.
    """
    if not isinstance(task, Classify):
        return np.concatenate(logits, axis=1).astype(np.float64)
    if logits[0].shape[1] == 2:
        return np.stack([one[:, 1] - one[:, 0] for one in logits], axis=1).astype(np.float64)
    return np.concatenate([one - one.mean(axis=1, keepdims=True) for one in logits], axis=1).astype(np.float64)


def log_shares(task: Task, logits: NDArray[np.float32]) -> Floats:
    """(N, outputs) logits -> (N, Q, C) log-probabilities."""
    z = logits.astype(np.float64)
    return np.asarray(log_softmax(z, axis=1)[:, None, :] if isinstance(task, Classify) else log_expit(np.stack([-z, z], axis=-1)))


def _as_logits(task: Task, shares: Floats) -> NDArray[np.float32]:
    return np.asarray(shares[:, 0] if isinstance(task, Classify) else shares[..., 1] - shares[..., 0], np.float32)
