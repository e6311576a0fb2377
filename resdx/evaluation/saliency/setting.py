"""A network and how its maps are drawn, method by method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...inference.opening import load_network
from ...models.forward import DTYPES, three_channels, to_tensor
from ...models.network import Network
from ...runs.run import Run
from . import methods as maps
from .cases import Floats32

BATCH = 16


Draw = Callable[[Network, NDArray[np.uint8], NDArray[np.int64]], Floats32]  # network, pictures, targets -> (B, h, w)


@dataclass(frozen=True)
class Setting:
    """A network and how its maps are drawn."""

    run: Run
    network: Network

    @classmethod
    def open(cls, run: Run) -> Setting:
        """The run's network, its weights held fast."""
        network = load_network(run).eval().requires_grad_(False)
        return cls(run, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    @cached_property
    def methods(self) -> Mapping[str, Draw]:
        """Each method by name.

        All of METHODS, or occlusion alone for a head that answers in steps, which has no gradient.

        Grad-CAM is taken one stage before the last: on the last it is the class activation map.
        """
        stages, score = list(self.network.backbone.stages()), maps.score_of(self.run.recipe.task)
        known = {
            "cam": partial(maps.class_activation, score=score),
            "grad-cam": partial(maps.grad_cam, score=score, stage=stages[-2] if len(stages) > 1 else stages[-1]),
            "grad-cam++": partial(maps.grad_cam_plus_plus, score=score),
            "occlusion": partial(maps.occlusion, score=score),
            "integrated-gradients": partial(maps.integrated_gradients, score=score),
        }
        return {
            name: partial(_draw, method, self.dtype if name == "occlusion" else "float32")
            for name, method in known.items()
            if self.network.head.smooth or name == "occlusion"
        }

    @property
    def dtype(self) -> str:
        """The number format for passes that need no gradient: what training found faster."""
        return str(self.run.settings.choices.get("dtype", "float32"))

    def probability(self, targets: NDArray[np.int64]) -> Callable[[Tensor], Tensor]:
        """A function (B, 3, S, S) -> probability (B,) of the targets, before calibration.

        A blurred image is no case for the calibrator.
        """

        def answer(images: Tensor) -> Tensor:
            with torch.no_grad(), torch.autocast(images.device.type, DTYPES[self.dtype], enabled=self.dtype != "float32"):
                logits = self.network(images).float().cpu().numpy()
            return torch.from_numpy(self.run.recipe.task.probabilities(logits)[np.arange(len(targets)), targets])

        return answer


def _draw(method: Any, dtype: str, network: Network, images: NDArray[np.uint8], targets: NDArray[np.int64]) -> Floats32:
    device = network.device
    out = []
    for start in range(0, len(images), BATCH):
        some = slice(start, start + BATCH)
        pictures = three_channels(to_tensor(images[some], device))
        with torch.autocast(device.type, DTYPES[dtype], enabled=dtype != "float32"):
            out.append(method(network, pictures, torch.from_numpy(targets[some]).to(device)).float().cpu().numpy())
    return np.concatenate(out)
