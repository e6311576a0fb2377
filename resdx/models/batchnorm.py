"""Giving BatchNorm back to a network whose BatchNorm was folded into its convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from .network import Network


def rebatchnorm(network: Network, batches: Iterable[Tensor]) -> None:
    """Set every BatchNorm to the statistics it sees on `batches` (B, 3, H, W).

    Its gamma and beta are set so that they cancel out.

    In eval mode the network computes what it did before; in training mode it now normalises by about what it did before,
    so fine-tuning does not begin with a jump.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}  # over pixels: of 1, x, x squared

    def add(norm: nn.BatchNorm2d, inputs: tuple[Any, ...]) -> None:
        # (C,) each, over the pictures and places of a batch
        variance, mean = torch.var_mean(inputs[0].float(), (0, 2, 3), correction=0)
        pixels = inputs[0].numel() // norm.num_features
        variance, mean = variance.cpu().double(), mean.cpu().double()
        # The sum of x squared is n (variance + mean^2).
        sums[norm] += pixels * torch.stack([torch.ones_like(mean), mean, variance + mean.square()])

    handles = [norm.register_forward_pre_hook(add) for norm in norms]
    training = network.training
    network.eval()
    with torch.no_grad():
        for batch in batches:
            network(batch)
        for norm in norms:
            _restate(norm, sums[norm])
    for handle in handles:
        handle.remove()
    network.train(training)
    network.backbone.folded = False


def _restate(norm: nn.BatchNorm2d, sums: Tensor) -> None:
    mean = sums[1] / sums[0]
    variance = (sums[2] / sums[0] - mean.square()).clamp(min=0)
    running_mean, running_var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    # In eval mode BatchNorm is y = slope x + offset.
    slope = norm.weight.cpu().double() / (running_var.cpu().double() + norm.eps).sqrt()
    offset = norm.bias.cpu().double() - running_mean.cpu().double() * slope
    # gamma and beta that make the same map of the new mean and variance
    norm.weight.copy_(slope * (variance + norm.eps).sqrt())
    norm.bias.copy_(offset + slope * mean)
    running_mean.copy_(mean)
    running_var.copy_(variance)
