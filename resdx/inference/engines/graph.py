"""The one graph that is exported: a prepared picture in.

Logits, calibrated probabilities, embedding and maps out, in one
pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from ...data.tasks import MultiLabel, Ordinal, Task
from ...models.forward import turned
from ...models.heads.trained import Head
from ...models.network import Detector, Network


class Graph(nn.Module):
    """The network that is exported: pictures (B, S, S, 3) uint8 in, everything an answer needs out.

    That is logits (B, outputs), probabilities (B, K), embedding (B, E) and, where there is a `last`, one output more. The
    calibrator is the two buffers `scale` and `bias`, which keep their names in the exported file. `views` are the quarter
    turns whose logits and embeddings are averaged (engines.torch.VIEWS); the map is of the picture as it stands.

    A detector's is "grid": what it says of each cell (B, A, 5 + K, h, w), of which `boxes.decode` makes boxes. Else it is "map"
    (B, K, h, w), the class activation map of each class's log-odds (maps.class_activation), made of forward steps alone: the maps
    weighted with the head's weights, less those of the other classes in proportion to how likely they are. Grades, and a
    head that is not linear, have none.
    """

    def __init__(self, network: Network, task: Task, scale: Sequence[float], bias: Sequence[float], views: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.views = tuple(views)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("bias", torch.tensor(bias, dtype=torch.float32))

    @property
    def last(self) -> str:
        """The name of the output after the embedding; empty where there is none."""
        if isinstance(self.network, Detector):
            return "grid"
        head = self.network.head
        plain = isinstance(head, Head) and isinstance(head.hidden, nn.Identity) and not isinstance(self.task, Ordinal)
        return "map" if plain else ""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        plain = image.permute(0, 3, 1, 2).float() / 255  # (B, 3, S, S) in [0, 1]
        first, pooled, maps = self.network.answer(plain)
        others = [self.network.answer(turned(plain, view)) for view in self.views[1:]]
        logits = torch.stack([first, *(one[0] for one in others)]).mean(0)
        embedding = torch.stack([pooled, *(one[1] for one in others)]).mean(0)
        probabilities = self.probabilities(logits * cast(Tensor, self.scale) + cast(Tensor, self.bias))
        if not self.last:
            return logits, probabilities, embedding
        return logits, probabilities, embedding, maps if self.last == "grid" else self.heat(maps, first)

    def probabilities(self, logits: Tensor) -> Tensor:
        """As `tasks` has them."""
        if isinstance(self.task, MultiLabel):
            return logits.sigmoid()
        if not isinstance(self.task, Ordinal):
            return logits.softmax(1)
        # A running minimum, written out as the graph knows it: a grade above k + 1 is above k.
        above = logits.sigmoid()
        kept = [above[:, 0]]
        for k in range(1, above.shape[1]):
            kept.append(torch.minimum(kept[-1], above[:, k]))
        edges = [torch.ones_like(kept[0]), *kept, torch.zeros_like(kept[0])]
        return torch.stack([high - low for high, low in pairwise(edges)], 1)  # (B, K)

    def heat(self, maps: Tensor, logits: Tensor) -> Tensor:
        """(B, K, h, w) class activation maps of all classes.

        They come of maps (B, E, h, w) and the logits that these give.
        """
        weight = cast(Head, self.network.head).linear.weight
        own = torch.nn.functional.conv2d(maps, weight[:, :, None, None])  # (B, K, h, w): the head as a 1x1 convolution
        if isinstance(self.task, MultiLabel):
            return own.relu()
        # (B, K, K): in row k the logits of the other classes, with class k itself out of the running.
        others = logits[:, None, :].expand(-1, logits.shape[1], -1) - 1e4 * torch.eye(logits.shape[1], device=logits.device)
        # the slope of the log-odds of k: w_k less the mean of the others
        return (own - torch.einsum("bkj,bjhw->bkhw", others.softmax(2), own)).relu()
