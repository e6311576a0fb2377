"""The checkpoint of a training: weights, EMA, optimiser and progress in one safetensors file.

It is written whole or not at all, and two equal trainings write equal bytes.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import RunError
from ..files import write_bytes
from ..recipes.learning import Training
from ..runs.run import Run


@dataclass
class Progress:
    """Where training stands.

    Epochs and steps done, the best validation score, epochs since, and the plateau factor of the rate.
    """

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    waited: int = 0
    factor: float = 1.0

    def judge(self, learn: Training, score: float) -> bool:
        """Take in the tune score of an epoch; True where it is the best so far.

        Without a better one a plateau lowers the rate.
        """
        better = score > self.best
        self.best, self.waited = (score, 0) if better else (self.best, self.waited + 1)
        if learn.schedule == "plateau" and self.waited and self.waited % learn.plateau_patience == 0:
            self.factor = max(self.factor * learn.plateau_factor, learn.min_lr / learn.lr)
        return better


class Trained(Protocol):
    """What a checkpoint holds beside its progress."""

    @property
    def run(self) -> Run: ...
    @property
    def network(self) -> nn.Module: ...
    @property
    def average(self) -> nn.Module: ...
    @property
    def optimiser(self) -> torch.optim.Optimizer: ...


def save_checkpoint(owner: Trained, progress: Progress) -> None:
    """Write state.safetensors, whole or not at all."""
    tensors = {f"network.{key}": value for key, value in _contiguous(owner.network).items()}
    tensors |= {f"average.{key}": value for key, value in _contiguous(owner.average).items()}
    for index, state in owner.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": value.contiguous() for key, value in state.items() if value is not None}
    # One entry: safetensors writes several in any order, and two equal checkpoints would differ.
    meta = {"state": json.dumps({"progress": asdict(progress), "threads": torch.get_num_threads()})}
    write_bytes(owner.run.path / "state.safetensors", save(tensors, meta))


def load_checkpoint(owner: Trained) -> Progress:
    """Put the last checkpoint into `owner`; a fresh start when there is none.

    Raises RunError when it is broken.
    """
    path = owner.run.path / "state.safetensors"
    if not path.exists():
        return Progress()
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads(file.metadata()["state"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
        progress, threads = Progress(**meta["progress"]), int(meta["threads"])
        owner.network.load_state_dict(_below(tensors, "network."))
        owner.average.load_state_dict(_below(tensors, "average."))
        state: dict[int, dict[str, Tensor]] = {}
        parameters = [parameter for group in owner.optimiser.param_groups for parameter in group["params"]]
        for key, value in _below(tensors, "optimiser.").items():
            index, name = key.split(".", 1)
            parameter = parameters[int(index)]
            # As the parameter lies in memory (channels last): a fused step pairs them by place, not by index.
            laid = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
            state.setdefault(int(index), {})[name] = laid
        groups = owner.optimiser.state_dict()["param_groups"]
        owner.optimiser.load_state_dict({"state": state, "param_groups": groups})
    except (SafetensorError, OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path} is no checkpoint of this run ({reason}); delete it to train from the start") from error
    if threads != torch.get_num_threads():
        owner.run.say(f"resumed with {torch.get_num_threads()} threads instead of {threads}: the result will not be bit-equal")
    return progress


def _contiguous(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
