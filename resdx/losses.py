"""What training makes smaller, by task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from .tasks import Classify, Ordinal, Task

Loss = Callable[[Tensor, Tensor], Tensor]


def target(task: Task, truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Truth (N, K) with NaN for unknown -> what the logits (N, outputs) are compared with."""
    if not isinstance(task, Ordinal):
        return truth
    grade = truth.argmax(1)[:, None]
    above: NDArray[np.float32] = (grade > np.arange(truth.shape[1] - 1)).astype(np.float32)
    above[np.isnan(truth).any(1)] = np.nan
    return above


def class_weights(task: Task, targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights that make rare answers count as much as frequent ones: a class's (Classify), or of its positives (others)."""
    positives = np.nansum(targets, axis=0)
    known = (~np.isnan(targets)).sum(0)
    if isinstance(task, Classify):
        # A class that train lacks gets no weight: label smoothing would otherwise pull everything towards it.
        return np.asarray(np.where(positives > 0, known / (len(positives) * np.maximum(positives, 1)), 0), np.float32)
    return np.asarray(np.clip((known - positives) / np.maximum(positives, 1), 0.1, 10), np.float32)


def loss_function(task: Task, *, weights: Tensor | None = None, smoothing: float = 0.0) -> Loss:
    """Cross-entropy for Classify; binary cross-entropy an output, with unknowns masked, for the other tasks.

    The function takes logits (B, outputs) and targets (B, outputs), which may be mixtures, and gives one number.
    """

    def exclusive(logits: Tensor, targets: Tensor) -> Tensor:
        soft = targets * (1 - smoothing) + smoothing / targets.shape[1]
        by_class = -soft * log_softmax(logits.float(), 1)
        if weights is None:
            return by_class.sum(1).mean()
        return (by_class * weights).sum() / (targets * weights).sum()

    def separate(logits: Tensor, targets: Tensor) -> Tensor:
        known = ~torch.isnan(targets)
        soft = torch.nan_to_num(targets) * (1 - smoothing) + smoothing / 2
        every = binary_cross_entropy_with_logits(logits.float(), soft, pos_weight=weights, reduction="none")
        return (every * known).sum() / known.sum().clamp_min(1)

    return exclusive if isinstance(task, Classify) else separate
