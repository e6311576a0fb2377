"""Offline augmentation as the field does it.

Copies of each picture, varied once, count as pictures of their own. Made before a split, copies of one picture stand on both
sides of it. resdx varies pictures while it trains; this reader is there to study that leak.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from ...records import FractionBelow1, record
from .image import ReadImage
from .paths import split_index


@record
class ReadCopy:
    """Read `film.png#k`: the picture itself for k = 0 or without #k, else its k-th copy.

    A copy is turned, shifted and scaled at random, by up to `degrees`, and up to `shift` and `zoom` as shares of the side;
    what comes in from outside is black. A copy is the same whenever it is read.
    """

    takes = "path"
    gives = "image"
    version = 1
    degrees: Annotated[float, Ge(0), Le(180)] = 10.0
    shift: FractionBelow1 = 0.1
    zoom: FractionBelow1 = 0.1

    def __call__(self, path: str) -> NDArray[np.float32]:
        file, number = split_index(path)
        image = ReadImage()(file)
        return image if number in ("", "0") else self._varied(image, f"{file.rpartition('/')[2]}#{number}")

    def _varied(self, image: NDArray[np.float32], key: str) -> NDArray[np.float32]:
        """(H, W, C) as copy `key`, whatever folder it lies in."""
        draws = np.random.default_rng(list(hashlib.sha256(key.encode()).digest())).uniform(-1, 1, 4)
        turn, scale = np.deg2rad(draws[0] * self.degrees), (1 + self.zoom) ** draws[1]
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
        side = np.array(image.shape[:2])
        offset = (side - 1) / 2 - matrix @ ((side - 1) / 2 + draws[2:] * self.shift * side)
        planes: list[NDArray[Any]] = [affine_transform(plane, matrix, offset, order=1) for plane in np.moveaxis(image, 2, 0)]
        return np.asarray(np.clip(np.stack(planes, axis=-1), 0, 1), np.float32)
