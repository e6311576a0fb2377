"""Heads that scikit-learn fits and PyTorch runs: SVM, trees, naive Bayes, nearest neighbours.

What was fitted becomes tensors, so that such a network has the same weights file, prediction and export as any other. A file
of support vectors or neighbours holds embeddings of training cases.

Shapes: E features, Q questions of C answers each. Exclusive classes are one question (Q = 1, C = K); several labels, and "above
grade k", are a question each with the answers no and yes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .specs import (
    Boosting,
    Fitted,
    Forest,
    NaiveBayes,
    Neighbours,
    Svm,
)

Shape = tuple[int, ...]
SMOOTH = (Svm, NaiveBayes)  # have gradients; the others answer in steps


def svm(x: Tensor, mean: Tensor, spread: Tensor, vectors: Tensor, weights: Tensor, bias: Tensor, gamma: Tensor) -> Tensor:
    """Decision values (B, outputs) of support vector machines.

    `vectors` (S, E) are standardised, `weights` (S, outputs) their dual coefficients.
    """
    # (B, S) kernel values exp(-gamma |x - v|^2)
    return torch.exp(-gamma * distances((x - mean) / spread, vectors)) @ weights + bias


def forest(x: Tensor, feature: Tensor, threshold: Tensor, value: Tensor) -> Tensor:
    """Logs (B, Q, C) of the votes of the trees.

    With one more vote in equal parts, so that none is the log of 0.
    """
    return (leaves(x, feature, threshold, value) + 1 / value.shape[-1]).log()


def boosting(x: Tensor, feature: Tensor, threshold: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """(B, Q, C) sums over the stages, from `bias` (Q, C)."""
    return leaves(x, feature, threshold, value) + bias


def naive_bayes(x: Tensor, mean: Tensor, spread: Tensor, centre: Tensor, variance: Tensor, prior: Tensor) -> Tensor:
    """(B, Q, C) joint log-likelihoods over E: `centre` and `variance` (Q, C, E), `prior` (Q, C) as logs."""
    z = ((x - mean) / spread)[:, None, None]  # (B, 1, 1, E)
    # the log density of a normal distribution, summed over E
    likelihood = -0.5 * ((2 * math.pi * variance).log() + (z - centre).square() / variance).sum(-1)
    # Over E: features of one network depend on each other, and their sum would be much too sure.
    return (likelihood + prior) / x.shape[1]


def neighbours(x: Tensor, mean: Tensor, spread: Tensor, cases: Tensor, answers: Tensor, voices: Tensor) -> Tensor:
    """(B, Q, C) logs of the votes of the nearest `cases` (N, E), with one more in equal shares.

    `answers` (Q, N, C) are 1 for the case's own, all 0 where it is not known; `voices` (count,) what the nearest, second
    nearest ... count.
    """
    away, votes = distances((x - mean) / spread, cases), []
    for known in answers:
        far = away.masked_fill(known.sum(1) == 0, torch.inf)
        nearest = far.topk(len(voices), largest=False).indices  # (B, count)
        votes.append((known[nearest] * voices[:, None]).sum(1))  # known[nearest] is (B, count, C)
    return (torch.stack(votes, 1) + 1 / answers.shape[-1]).log()


def leaves(x: Tensor, feature: Tensor, threshold: Tensor, value: Tensor) -> Tensor:
    """Sums (B, Q, C) of the leaves reached over T complete binary trees a question.

    Node i goes on to 2i + 1 where x[feature] <= threshold, else to 2i + 2: `feature` and `threshold` (Q, T, M), `value` (Q,
    T, M + 1, C).
    """
    questions, trees, nodes = feature.shape
    tree = torch.arange(questions * trees, device=x.device)  # the trees lie one after the other in flat tensors
    node = torch.zeros_like(tree).expand(x.shape[0], -1)  # len(x) would fix the batch of an exported graph
    for _ in range(nodes.bit_length()):  # a complete tree with 2^d - 1 inner nodes has d levels
        at = node + tree * nodes
        right = x.gather(1, feature.flatten()[at]) > threshold.flatten()[at]
        node = 2 * node + 1 + right.long()
    # Leaves are numbered on from the last inner node: (B, Q * T, C).
    found = value.flatten(0, 2)[node - nodes + tree * (nodes + 1)]
    return found.view(-1, questions, trees, found.shape[-1]).sum(2)


def distances(x: Tensor, others: Tensor) -> Tensor:
    """(B, S) squared distances of `x` (B, E) from `others` (S, E)."""
    return (x.square().sum(1, keepdim=True) + others.square().sum(1) - 2 * x @ others.T).clamp(min=0)  # rounding may fall below 0


def _tree_shapes(inputs: int, outputs: int) -> dict[str, Shape]:
    return {"feature": (0, 0, 0), "threshold": (0, 0, 0), "value": (0, 0, 0, 0)}


# spec -> the function that answers, and the shapes of its tensors for E inputs; 0 is what the fit decides
KINDS: Mapping[type, tuple[Callable[..., Tensor], Callable[[int, int], dict[str, Shape]]]] = {
    Svm: (svm, lambda e, k: {"mean": (e,), "spread": (e,), "vectors": (0, e), "weights": (0, k), "bias": (k,), "gamma": (1,)}),
    Forest: (forest, _tree_shapes),
    Boosting: (boosting, lambda e, k: {**_tree_shapes(e, k), "bias": (0, 0)}),
    NaiveBayes: (
        naive_bayes,
        lambda e, k: {"mean": (e,), "spread": (e,), "centre": (0, 0, e), "variance": (0, 0, e), "prior": (0, 0)},
    ),
    Neighbours: (neighbours, lambda e, k: {"mean": (e,), "spread": (e,), "cases": (0, e), "answers": (0, 0, 0), "voices": (0,)}),
}


class FittedHead(nn.Module):
    """The tensors of a fitted classifier; until they are there it answers 0."""

    def __init__(self, spec: Fitted, inputs: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.smooth = isinstance(spec, SMOOTH)
        self.answer, shapes = KINDS[type(spec)]
        self.names = tuple(shapes(inputs, outputs))
        for name, shape in shapes(inputs, outputs).items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int64 if name == "feature" else torch.float32))
        self.register_load_state_dict_pre_hook(_take_shapes)  # type: ignore[no-untyped-call]

    def forward(self, pooled: Tensor) -> Tensor:
        tensors = [getattr(self, name) for name in self.names]
        if not all(map(Tensor.numel, tensors)):
            return pooled.new_zeros(len(pooled), self.outputs)
        said = self.answer(pooled, *tensors)
        if said.dim() == 2:
            return said
        # One question of all classes has their logs for logits; else yes less no is the log-odds of each label.
        return said[:, 0] if said.shape[1] == 1 and said.shape[2] == self.outputs else said[..., 1] - said[..., 0]


def _take_shapes(head: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
    """Make room for what was fitted before it is loaded."""
    for name, value in head.named_buffers():
        if prefix + name in state:
            setattr(head, name, value.new_empty(state[prefix + name].shape))
