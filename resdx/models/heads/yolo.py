"""A detector: the head of YOLOv2 and its loss (Redmon and Farhadi 2017)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ...errors import RecipeError
from .boxes import MOST_GROWTH
from .specs import Yolo

RARE = 0.01  # chance of a box in a cell that the head begins with: else the many empty cells would fill the first epochs
PLACE = 5.0  # weight of where a box lies (Redmon et al. 2016)
FREE = 0.6  # overlap with some box from which a cell without one is not told that it is wrong
LEAST = 1e-6  # chance: the logit of a picture without any sign of a class stays finite


class YoloHead(nn.Module):
    """Maps (B, E, h, w) -> outputs (B, A, 5 + K, h, w) for A anchors.

    Of each cell: x and y in it, log width and height over the anchor's, box or none, and K classes.

    `x`, `y` and "box or none" are logits.
    """

    smooth = True
    anchors: Tensor  # (A, 2)

    def __init__(self, spec: Yolo, inputs: int, outputs: int) -> None:
        super().__init__()
        if not spec.anchors:
            raise RecipeError("Yolo has no anchors yet; a training finds them in its train part")
        self.outputs = outputs
        self.register_buffer("anchors", torch.tensor(spec.anchors, dtype=torch.float32), persistent=False)
        layers: list[nn.Module] = []
        for _ in range(spec.layers):
            layers += [nn.Conv2d(inputs, spec.width, 3, padding=1, bias=False), nn.BatchNorm2d(spec.width), nn.ReLU(inplace=True)]
            inputs = spec.width
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(inputs, len(spec.anchors) * (5 + outputs), 1)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(cast(Tensor, self.last.bias))
        with torch.no_grad():
            # channel 4 is "box or none"
            cast(Tensor, self.last.bias).view(len(spec.anchors), -1)[:, 4] = torch.logit(torch.tensor(RARE))

    def forward(self, maps: Tensor) -> Tensor:
        said = self.last(self.layers(maps))
        return cast(Tensor, said.reshape(said.shape[0], -1, 5 + self.outputs, *said.shape[2:]))


def presence(grid: Tensor) -> Tensor:
    """Image logits (B, K) from the outputs (B, A, 5 + K, h, w): of each class the most certain box."""
    chance = grid[:, :, 4:5].sigmoid() * grid[:, :, 5:].softmax(2)  # P(box) P(class | box): (B, A, K, h, w)
    return torch.logit(chance.permute(0, 2, 1, 3, 4).flatten(2).amax(2).float(), eps=LEAST)


def places(grid: Tensor, anchors: Tensor) -> Tensor:
    """(B, A, 5 + K, h, w) -> boxes (B, A, h, w, 4) as x1, y1, x2, y2 in shares of the picture."""
    height, width = grid.shape[3:]
    column = torch.arange(width, device=grid.device)
    row = torch.arange(height, device=grid.device)[:, None]
    # the sigmoid keeps a centre in its cell
    x, y = (grid[:, :, 0].sigmoid() + column) / width, (grid[:, :, 1].sigmoid() + row) / height
    half = grid[:, :, 2:4].clamp(max=MOST_GROWTH).exp() * anchors[:, :, None, None] / 2  # half the anchor times exp(t)
    return torch.stack([x - half[:, :, 0], y - half[:, :, 1], x + half[:, :, 0], y + half[:, :, 1]], -1)


def yolo_loss(anchors: Tensor, grid: Tensor, boxes: Tensor) -> Tensor:
    """YOLOv2's loss of the head's outputs against annotated boxes: a scalar (Redmon and Farhadi 2017).

    The outputs `grid` are (B, A, 5 + K, h, w); `boxes` (B, M, 5) are class, x1, y1, x2, y2 as fractions of the image, NaN for
    none.

    The cell with the centre of a box, and the anchor that is most like it, answer for it: squared error of its place, (2 -
    area) times so that small boxes count, cross-entropy of class, and of "box or none" against the overlap that is reached.
    All other cells should say "none", unless what they say overlaps a box. The sum is divided by the number of boxes.
    """
    grid = grid.float()
    height, width = grid.shape[3:]
    said = places(grid, anchors)
    # (boxes,) each: the picture of a box and its place there
    number, which = torch.nonzero(~torch.isnan(boxes[..., 0]), as_tuple=True)
    there = boxes[number, which]
    size = there[:, 3:] - there[:, 1:3]
    centre = (there[:, 1:3] + size / 2) * torch.tensor([width, height], device=grid.device)  # (boxes, 2), in cells
    # A centre on the right or lower edge belongs to the last cell.
    cell = torch.minimum(centre.long().clamp_min(0), torch.tensor([width - 1, height - 1], device=grid.device))
    like = torch.minimum(size[:, None], anchors).prod(2)  # (boxes, A): the common area of two shapes with one centre
    like = like / (size.prod(1)[:, None] + anchors.prod(1) - like)
    at = (number, like.argmax(1), cell[:, 1], cell[:, 0])  # picture, anchor, row, column of the cell that answers for each box
    empty, wanted = torch.ones_like(said[..., 0]), torch.zeros_like(said[..., 0])
    with torch.no_grad():
        # A cell whose box overlaps an annotated one is neither right nor wrong.
        for k in range(len(grid)):
            empty[k] = (_overlaps(said[k].reshape(-1, 4), there[number == k, 1:]) < FREE).all(1).view_as(empty[k])
        empty[at] = 1
        wanted[at] = _overlap(said[at], there[:, 1:])
    box = binary_cross_entropy_with_logits(grid[:, :, 4], wanted, weight=empty, reduction="sum")
    ours = grid.permute(0, 1, 3, 4, 2)[at]  # (boxes, 5 + K)
    # Places within the cell and logs of the sides over the anchor's, as the head gives them.
    offset = torch.cat([ours[:, :2].sigmoid() - (centre - cell), ours[:, 2:4] - torch.log(size / anchors[at[1]])], 1)
    place = ((2 - size.prod(1)) * offset.square().sum(1)).sum()
    kind = cross_entropy(ours[:, 5:], there[:, 0].long(), reduction="sum")
    return (box + PLACE * place + kind) / max(1, len(there))


def _overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) and (..., 4)."""
    inside = (
        (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp_min(0).prod(-1)
    )
    whole = sum((one[..., 2:] - one[..., :2]).clamp_min(0).prod(-1) for one in (first, second)) - inside
    return inside / whole.clamp_min(1e-12)


def _overlaps(first: Tensor, second: Tensor) -> Tensor:
    return _overlap(first[:, None], second[None])
