"""Running a network with PyTorch: prepared uint8 pictures in, logits and embeddings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.forward import DTYPES, VIEWS, batch_of, default_device, three_channels, to_tensor, turned
from ...models.network import Detector, Network
from . import Outputs, coloured
from .graph import Graph


class TorchNetwork:
    """A network as it is being trained or was opened, averaged over `views` of each picture.

    Of a detector with its cells as
    maps.
    """

    name = "torch"

    def __init__(self, network: Network, size: int, *, views: int = 1, dtype: str = "float32") -> None:
        self.network, self.views, self.dtype = network.eval(), VIEWS[views], dtype
        self.batch = batch_of(network.device, size)

    def predict(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        """Outputs for each batch (B, S, S, 1 or 3), in order."""
        device = self.network.device
        for batch in batches:
            # Entered anew for each batch: a mode that is held over a yield would hold for whoever takes the outputs, too.
            with torch.inference_mode(), torch.autocast(device.type, DTYPES[self.dtype], enabled=self.dtype != "float32"):
                tensor = to_tensor(batch, device)
                each = [self.network.answer(three_channels(turned(tensor, view))) for view in self.views]
                logits, embeddings = (torch.stack([one[k] for one in each]).mean(0) for k in (0, 1))
            cells = _array(each[0][2]) if isinstance(self.network, Detector) else None  # of the picture as it stands
            yield Outputs(_array(logits), _array(embeddings), cells)


class Torch:
    """The exported graph, run by PyTorch: outputs with class activation maps."""

    name = "torch"

    def __init__(self, graph: Graph, size: int) -> None:
        self.graph = graph.to(default_device()).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.batch = batch_of(default_device(), size)

    def predict(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        """Outputs for each batch, in order."""
        for batch in batches:
            with torch.inference_mode():
                logits, _, embeddings, *heat = self.graph(torch.from_numpy(coloured(batch)).to(default_device()))
            yield Outputs(*map(_array, (logits, embeddings, *heat)))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.float().cpu().numpy()
