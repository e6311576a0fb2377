"""Steps from image to image, done once when a data set is prepared: float32 (H, W, C) in [0, 1] in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import RecipeError
from ..records import record

Array = NDArray[np.float32]


@record
@dataclass(frozen=True)
class Resize:
    """Bring the picture to `size` by `size` pixels, area-averaged when it shrinks.

    `keep="stretch"` ignores the aspect; `"pad"` keeps it and fills with black; `"crop"` keeps it and cuts the longer
    side at both ends.
    """

    takes = gives = "image"
    size: int = 224
    keep: Literal["stretch", "pad", "crop"] = "stretch"

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096:
            raise RecipeError(f"Resize size must lie between 16 and 4096 pixels, not {self.size}")

    def __call__(self, image: Array) -> Array:
        if self.keep != "stretch":
            image = _square(image, fill=self.keep == "pad")
        # Pillow's bilinear filter widens with the scale, so shrinking averages instead of skipping pixels.
        planes = [
            np.asarray(Image.fromarray(image[..., c]).resize((self.size, self.size), Image.Resampling.BILINEAR))
            for c in range(image.shape[2])
        ]
        out: Array = np.clip(np.stack(planes, axis=-1), 0, 1)
        return out


@record
@dataclass(frozen=True)
class Grey:
    """One channel by luminance (ITU-R BT.601 weights): for data sets where colour is no finding but a habit of the source."""

    takes = gives = "image"

    def __call__(self, image: Array) -> Array:
        if image.shape[2] == 1:
            return image
        return np.asarray(image @ np.asarray([[0.299], [0.587], [0.114]], np.float32))


@record
@dataclass(frozen=True)
class Rescale:
    """Stretch grey values so that the `low` and `high` percentiles (0-100) become 0 and 1, all channels alike."""

    takes = gives = "image"
    low: float = 0.5
    high: float = 99.5

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise RecipeError(f"Rescale needs 0 <= low < high <= 100, not {self.low} and {self.high}")

    def __call__(self, image: Array) -> Array:
        low, high = np.percentile(image, (self.low, self.high))
        out: Array = np.clip((image - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)
        return out


def _square(image: Array, *, fill: bool) -> Array:
    height, width, channels = image.shape
    side = max(height, width) if fill else min(height, width)
    if fill:
        out = np.zeros((side, side, channels), np.float32)
        top, left = (side - height) // 2, (side - width) // 2
        out[top : top + height, left : left + width] = image
        return out
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
