"""Training by several processes that torchrun started: the same batches, the same weights.

Every process holds the whole network and works on its share of each batch. BatchNorm sees the whole batch, the loss is taken
of the answers of all, and gradients are summed, so that nothing but rounding depends on how many processes there are (dropout
apart, whose draws are each process's own).
"""

from __future__ import annotations

import datetime as dt
import os
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

T = TypeVar("T")

PATIENCE = dt.timedelta(hours=6)  # for the first process, which prepares and judges alone


def rank() -> int:
    """The number of this process, the first is 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Wait until all processes have come this far; nothing for a single one."""
    if world() == 1:
        return
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    dist.barrier()


def leave() -> None:
    """End the work together."""
    if dist.is_initialized():
        dist.destroy_process_group()


def begin(network: nn.Module) -> None:
    """As the first process: let the others, who wait, take part from now on."""
    join()
    broadcast(True)
    sync_batchnorm(network)


def end() -> None:
    """As the first process: let the others go, also where nothing was left to do."""
    if not dist.is_initialized():
        join()
    broadcast(None)
    leave()


def broadcast(value: T) -> T:
    """What the first process says, to every process; `value` itself where there is only one."""
    if world() == 1:
        return value
    values: list[Any] = [value]
    dist.broadcast_object_list(values)
    return cast(T, values[0])


def shard(cases: int) -> slice:
    """The share of this process in a batch."""
    bounds = _bounds(cases)
    return slice(int(bounds[rank()]), int(bounds[rank() + 1]))


def sync_batchnorm(network: nn.Module) -> None:
    """Let every BatchNorm in training mode take its statistics over the shares of all processes."""
    for module in network.modules() if world() > 1 else ():
        # The class is changed in place, so that the optimiser keeps the parameters it knows.
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SyncBatchNorm
        elif isinstance(module, nn.BatchNorm2d) and {"drop", "act"} <= {name for name, _ in module.named_children()}:
            module.__class__ = _SyncBatchNormAct  # timm's, with its activation


def all_gather(shard_values: Tensor, cases: int) -> Tensor:
    """The rows (B, K) of the whole batch from each process's share.

    The gradient of a loss on them goes to the own share only.
    """
    return shard_values if world() == 1 else cast(Tensor, _Gather.apply(shard_values, cases))  # type: ignore[no-untyped-call]


def all_reduce_gradients(network: nn.Module) -> None:
    """Sum the gradients of all processes."""
    if world() == 1:
        return
    found = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    flat = torch.cat([one.reshape(-1) for one in found])  # one message for all of them
    dist.all_reduce(flat)
    for one, part in zip(found, torch.split(flat, [one.numel() for one in found]), strict=True):
        one.copy_(part.view_as(one))


def _bounds(cases: int) -> NDArray[np.int64]:  # parts differ by one case at most
    return np.arange(world() + 1) * cases // world()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, shard_values: Tensor, cases: int) -> Tensor:
        context.cases = cases
        # Zeros where others have their rows: the sum of all is the whole batch.
        whole = shard_values.new_zeros(cases, *shard_values.shape[1:])
        whole[shard(cases)] = shard_values
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][shard(context.cases)], None


class _Sum(torch.autograd.Function):
    """The sum over all processes; each gets the slopes of all, for each one's answers depend on it."""

    @staticmethod
    def forward(context: Any, shard_values: Tensor) -> Tensor:
        whole = shard_values.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].clone()
        dist.all_reduce(whole)
        return whole


class _SyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose batch lies in several processes (torch's SyncBatchNorm wants a GPU)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.float()  # bfloat16 has too few digits to sum
        # values a channel, over all processes
        n = cast(Tensor, _Sum.apply(wide.new_tensor([wide.numel() / self.num_features])))  # type: ignore[no-untyped-call]
        mean = cast(Tensor, _Sum.apply(wide.sum((0, 2, 3)))) / n  # type: ignore[no-untyped-call]
        centred = wide - mean[:, None, None]
        variance = cast(Tensor, _Sum.apply(centred.square().sum((0, 2, 3)))) / n  # type: ignore[no-untyped-call]
        with torch.no_grad():
            cast(Tensor, self.num_batches_tracked).add_(1)
            cast(Tensor, self.running_mean).lerp_(mean, cast(float, self.momentum))
            # unbiased, as PyTorch keeps it
            cast(Tensor, self.running_var).lerp_(variance * n / (n - 1), cast(float, self.momentum))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _SyncBatchNormAct(_SyncBatchNorm):
    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.drop(super().forward(x))))
