"""What training makes smaller, by task."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from ..data.tasks import Classify, Task

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_function(task: Task, *, weights: Tensor | None = None, smoothing: float = 0.0) -> Loss:
    """Cross-entropy for Classify.

    Binary cross-entropy an output, with unknowns masked, for the other tasks.

    The function takes logits (B, outputs) and targets (B, outputs), which may be mixtures, and gives one number.
    """

    def exclusive(logits: Tensor, targets: Tensor) -> Tensor:
        soft = targets * (1 - smoothing) + smoothing / targets.shape[1]  # label smoothing (Szegedy et al. 2016)
        by_class = -soft * log_softmax(logits.float(), 1)  # (B, K)
        if weights is None:
            return by_class.sum(1).mean()
        return (by_class * weights).sum() / (targets * weights).sum()  # over the weights of the target classes, as PyTorch's mean

    def separate(logits: Tensor, targets: Tensor) -> Tensor:
        known = ~torch.isnan(targets)
        soft = torch.nan_to_num(targets) * (1 - smoothing) + smoothing / 2  # of two answers each gets half
        every = binary_cross_entropy_with_logits(logits.float(), soft, pos_weight=weights, reduction="none")
        return (every * known).sum() / known.sum().clamp_min(1)

    return exclusive if isinstance(task, Classify) else separate
