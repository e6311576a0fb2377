"""What another network makes of the pictures that a pre-training sees."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import RunError, optional
from ...inference import engines as engines  # silences the telemetry of OpenVINO
from ...models.network import Network
from ...models.specs import Net, Pretrained

TEACHER = Net(Pretrained("mobilenetv2_100", weights="imagenet", frozen="all"))
SIZE = 224  # pixels the teacher was made for
LARGER = 2  # how much larger than the pupil's the teacher's view is, up to what it was made for


def maps_of(network: Network, device: torch.device, dtype: str = "float32") -> Callable[[Tensor], Tensor]:
    """The network's last map of (B, 3, S, S), without gradients.

    On a processor by OpenVINO where it is installed, which is faster.

    `dtype` is the number format that OpenVINO may use.
    """
    if device.type != "cpu" or not importlib.util.find_spec("openvino"):
        return network.to(device).maps
    openvino = optional("openvino", extra="export", what="a teacher by OpenVINO", error=RunError)

    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.requires_grad_(False)

        def forward(self, images: Tensor) -> Tensor:
            return self.network.maps(images)

    @cache
    def compiled(size: int) -> Any:  # one a size: padding may depend on it
        graph = openvino.convert_model(Maps().eval(), example_input=torch.rand(2, 3, size, size))
        threads = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[dtype],
        }
        return openvino.Core().compile_model(graph, "CPU", threads)

    return lambda images: torch.from_numpy(compiled(images.shape[-1])(images.contiguous().numpy())[0].copy())


def taught(teacher: Callable[[Tensor], Tensor], images: Tensor, cells: tuple[int, int]) -> Tensor:
    """(B, C, *cells), what the teacher makes of (B, 3, S, S), enlarged for it; its finer map is averaged."""
    size = max(images.shape[-1], min(LARGER * images.shape[-1], SIZE))  # pixels
    with torch.no_grad():
        large = nn.functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
        return nn.functional.adaptive_avg_pool2d(teacher(large).float(), cells)
