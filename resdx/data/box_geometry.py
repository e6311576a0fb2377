"""Where a point of a file's picture lies in the prepared one, and back.

Boxes of cases and of answers are in pixels of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..transforms.image import (
    Clahe,
    Equalise,
    Grey,
    HighEmphasis,
    Rescale,
    Resize,
    Smooth,
    SubtractBlur,
    UnsharpMask,
)
from .cases import Box

Floats = NDArray[np.float64]

STILL = (
    Grey,
    Rescale,
    UnsharpMask,
    HighEmphasis,
    Equalise,
    Clahe,
    Smooth,
    SubtractBlur,
)  # steps that leave each pixel where it is


@dataclass(frozen=True)
class BoxTransform:
    """Shift and scale of each axis, x then y, from a file's picture to the prepared one.

    prepared = (file + shift) * factor, within `size` pixels (width, height).
    """

    shift: tuple[float, float]
    factor: tuple[float, float]
    size: tuple[float, float]
    file: tuple[float, float]  # width and height of the file's picture

    def to_prepared(self, corners: Floats) -> Floats:
        """Boxes (N, 4) of the file, in the prepared picture and cut to it; what lies outside has no area."""
        moved = (corners + np.tile(self.shift, 2)) * np.tile(self.factor, 2)  # x and y of both corners
        return np.asarray(moved.clip(0, np.tile(self.size, 2)))

    def to_file(self, corners: Floats) -> Floats:
        """Boxes (N, 4) of the prepared picture, in the file and cut to it."""
        return np.asarray((corners / np.tile(self.factor, 2) - np.tile(self.shift, 2)).clip(0, np.tile(self.file, 2)))

    def to_fractions(self, boxes: Sequence[Box]) -> list[Box]:
        """Boxes of the file in shares of the prepared picture."""
        corners = np.array([[box.x1, box.y1, box.x2, box.y2] for box in boxes]).reshape(-1, 4)
        moved = self.to_prepared(corners) / np.tile(self.size, 2)
        return [Box(box.label, x1, y1, x2, y2, box.score) for box, (x1, y1, x2, y2) in zip(boxes, moved.tolist(), strict=True)]


def box_transform(shape: Sequence[int], steps: Sequence[object]) -> BoxTransform | None:
    """How steps place a picture of `shape` (H, W); None where the geometry of one is unknown."""
    size = file = np.array([shape[1], shape[0]], float)
    shift, factor = np.zeros(2), np.ones(2)
    for step in steps:
        if isinstance(step, STILL):
            continue
        if not isinstance(step, Resize):
            return None
        if step.keep != "stretch":
            side = size.max() if step.keep == "pad" else size.min()
            shift = shift + np.trunc((side - size) / 2) / factor  # what is cut off is halved as what is added
            size = np.array([side, side])
        factor = factor * step.size / size
        size = np.array([step.size, step.size], float)
    return BoxTransform(*((float(one[0]), float(one[1])) for one in (shift, factor, size, file)))


def in_file(predicted: Sequence[tuple[Floats, Floats]], classes: Sequence[str], place: BoxTransform) -> tuple[Box, ...]:
    """Boxes of each class in pixels of the file, the highest score first.

    Taken are (D, 4) in fractions of the prepared picture, with scores (D,).
    """
    found = [
        Box(name, x1, y1, x2, y2, float(score))
        for name, (boxes, scores) in zip(classes, predicted, strict=True)
        for (x1, y1, x2, y2), score in zip(place.to_file(boxes * np.tile(place.size, 2)).tolist(), scores, strict=True)
    ]
    return tuple(sorted(found, key=lambda box: -box.score))


def prepared_box(box: Box, shape: Sequence[int], steps: Sequence[object]) -> Box | None:
    """A box in pixels of a file of `shape` (H, W), in pixels of the prepared picture.

    None where it cannot be followed, or is cut away.
    """
    if not (place := box_transform(shape, steps)):
        return None
    x1, y1, x2, y2 = place.to_prepared(np.array([[box.x1, box.y1, box.x2, box.y2]]))[0].tolist()
    return Box(box.label, x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None
