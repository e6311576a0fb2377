"""Steps from image to image, done once when a data set is prepared.

They take and give float32 (H, W, C) in [0, 1].
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Unit
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from scipy.ndimage import binary_erosion, gaussian_filter, label, median_filter
from scipy.signal import wiener
from skimage.exposure import equalize_adapthist, equalize_hist
from skimage.transform import rescale

from ..errors import DataError, RecipeError
from ..records import Count, Fraction, FractionAbove0, FractionBelow1, Natural, Positive, record

Array = NDArray[np.float32]
Percentile = Annotated[float, Ge(0), Le(100)]
MOST_GROWTH = 8  # times that an eye is enlarged at most: of a speck of light the memory would not hold the result
MOST_SIDE = 20_000  # pixels of a square that is padded


@record
class Resize:
    """Bring the picture to `size` by `size` pixels, area-averaged when it shrinks.

    `keep="stretch"` ignores the aspect; `"pad"` keeps it and fills with black; `"crop"` keeps it and cuts the longer
    side at both ends.
    """

    takes = gives = "image"
    size: Annotated[int, Ge(16), Le(4096), Unit("pixels")] = 224
    keep: Literal["stretch", "pad", "crop"] = "stretch"

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
class Grey:
    """One channel by luminance (ITU-R BT.601 weights).

    It is for data sets where colour is no finding but a habit of the source.
    """

    takes = gives = "image"

    def __call__(self, image: Array) -> Array:
        if image.shape[2] == 1:
            return image
        return np.asarray(image @ np.asarray([[0.299], [0.587], [0.114]], np.float32))


@record
class Rescale:
    """Stretch grey values, all channels alike.

    The `low` and `high` percentiles (0-100) become 0 and 1.
    """

    takes = gives = "image"
    low: Percentile = 0.5
    high: Percentile = 99.5

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise RecipeError(f"Rescale needs low below high, not {self.low} and {self.high}")

    def __call__(self, image: Array) -> Array:
        low, high = np.percentile(image, (self.low, self.high))
        out: Array = np.clip((image - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)
        return out


@record
class UnsharpMask:
    """Sharpen edges by adding `amount` times what a Gaussian blur of width `sigma` (pixels) takes away."""

    takes = gives = "image"
    sigma: Positive = 5.0
    amount: Positive = 2.0

    def __call__(self, image: Array) -> Array:
        return _within(image + self.amount * (image - _blurred(image, self.sigma)))


@record
class HighEmphasis:
    """High-frequency emphasis: the spectrum times `keep` + `gain` (1 - exp(-D^2 / (2 `cutoff`^2)))
    (Gonzalez and Woods, section 4.9).

    D counts cycles over the picture, so the picture should have its size before. A flat picture becomes `keep` of itself.
    """

    takes = gives = "image"
    cutoff: Positive = 70.0
    keep: Positive = 0.5
    gain: Positive = 0.75

    def __call__(self, image: Array) -> Array:
        height, width, _ = image.shape
        # cycles over the picture: (H, W // 2 + 1)
        cycles = np.hypot(fft.fftfreq(height, 1 / height)[:, None], fft.rfftfreq(width, 1 / width))
        emphasis = self.keep + self.gain * -np.expm1(-((cycles / self.cutoff) ** 2) / 2)
        spectrum = fft.rfft2(image, axes=(0, 1)) * emphasis[..., None]
        return _within(fft.irfft2(spectrum, s=(height, width), axes=(0, 1)))


@record
class Equalise:
    """Histogram equalisation of each channel over 256 grey levels."""

    takes = gives = "image"

    def __call__(self, image: Array) -> Array:
        grey = [np.round(image[..., c] * 255) for c in range(image.shape[2])]
        planes = [equalize_hist(one, nbins=256) for one in grey]  # type: ignore[no-untyped-call]
        return np.stack(planes, axis=-1).astype(np.float32)


@record
class Clahe:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994).

    Of colour pictures the value of HSV.

    `tiles` a side; `limit` is the share of a tile's pixels that one of its 256 grey levels may hold, from 0 to 1.
    """

    takes = gives = "image"
    tiles: Count = 8
    limit: FractionAbove0 = 0.01

    def __call__(self, image: Array) -> Array:
        tile = tuple(max(1, side // self.tiles) for side in image.shape[:2])
        plane = image if image.shape[2] == 3 else image[..., 0]
        out = equalize_adapthist(plane, kernel_size=tile, clip_limit=self.limit)
        return np.asarray(out, np.float32).reshape(image.shape)


@record
class Smooth:
    """Take noise away over `size` pixels.

    The median, a Gaussian whose sigma is `size`, or Wiener's filter (Lim 1990).
    """

    takes = gives = "image"
    kind: Literal["median", "gaussian", "wiener"] = "median"
    size: Count = 3

    def __call__(self, image: Array) -> Array:
        if self.kind == "gaussian":
            return _blurred(image, self.size)
        if self.kind == "median":
            return np.asarray(median_filter(image, (self.size, self.size, 1)))
        wide = np.pad(image.astype(np.float64), ((self.size, self.size), (self.size, self.size), (0, 0)), mode="edge")
        with np.errstate(divide="ignore", invalid="ignore"):  # where all is flat
            found = np.stack([wiener(wide[..., c], self.size) for c in range(image.shape[2])], axis=-1)
        found = found[self.size : -self.size, self.size : -self.size]
        return _within(np.where(np.isfinite(found), found, image))


@record
class EyeRadius:
    """Scale a fundus photograph so that the radius of the eye is `radius` pixels (Graham 2015).

    The radius is half of the columns of the middle row that are brighter than a tenth of that row's mean. A dark picture
    stays, and so does one that would have to
    grow more than eightfold.
    """

    takes = gives = "image"
    radius: Count = 112

    def __call__(self, image: Array) -> Array:
        row = image[image.shape[0] // 2].sum(axis=1)
        found = (row > row.mean() / 10).sum() / 2  # half the bright columns
        if not self.radius / MOST_GROWTH <= found or found == self.radius:
            return image
        scaled = rescale(image, self.radius / found, channel_axis=2, anti_aliasing=True, mode="edge")
        return _within(scaled)


@record
class SubtractBlur:
    """What differs from the surroundings: `gain` times the picture less its Gaussian blur (`sigma`
    pixels), on middle grey (Graham 2015).
    """

    takes = gives = "image"
    sigma: Positive = 10.0
    gain: Positive = 4.0

    def __call__(self, image: Array) -> Array:
        return _within(self.gain * (image - _blurred(image, self.sigma)) + 0.5)


@record
class CircularCrop:
    """Keep a disc in the middle, and fill the rest with `fill` (0 to 1).

    Its diameter is `share` of the shorter side.
    """

    takes = gives = "image"
    share: Annotated[float, Gt(0), Le(1.5)] = 0.9
    fill: Fraction = 0.5

    def __call__(self, image: Array) -> Array:
        height, width, _ = image.shape
        y, x = np.ogrid[:height, :width]
        away = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
        inside = away <= self.share * min(height, width) / 2
        return np.asarray(np.where(inside[..., None], image, self.fill), np.float32)


@record("CropDark")
class CropForeground:
    """Cut off what is dark at the sides: the box around all pixels brighter than `above` (0 to 1).

    A dark picture stays.
    """

    takes = gives = "image"
    above: FractionBelow1 = 7 / 255

    def __call__(self, image: Array) -> Array:
        return _box(image, image.max(axis=2) > self.above)


@record
class ContourCrop:
    """Cut a slice to its head.

    Blur, threshold, erode by `erode` pixels, and the box around the largest piece that is left. `above` is a grey value from
    0 to 1. A picture without such a piece stays.
    """

    takes = gives = "image"
    above: FractionBelow1 = 45 / 255
    sigma: Positive = 1.0
    erode: Natural = 2

    def __call__(self, image: Array) -> Array:
        mask = _blurred(image, self.sigma).mean(axis=2) > self.above
        pieces, _ = label(binary_erosion(mask, iterations=self.erode) if self.erode else mask)
        if not pieces.any():
            return image
        largest = pieces == np.bincount(pieces[pieces > 0]).argmax()  # the largest piece; 0 is the background
        y, x = np.nonzero(largest)  # the erosion took a rim off that belongs to the head
        rim = np.zeros_like(mask)
        rim[max(y.min() - self.erode, 0) : y.max() + self.erode + 1, max(x.min() - self.erode, 0) : x.max() + self.erode + 1] = (
            True
        )
        return _box(image, rim)


def _within(values: NDArray[Any]) -> Array:
    return np.asarray(np.clip(values, 0, 1), np.float32)


def _blurred(image: Array, sigma: float) -> Array:
    return np.asarray(gaussian_filter(image, (sigma, sigma, 0), mode="nearest"), np.float32)


def _box(image: Array, mask: NDArray[np.bool_]) -> Array:
    """The picture within the box around all that is marked."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _square(image: Array, *, fill: bool) -> Array:
    height, width, channels = image.shape
    side = max(height, width) if fill else min(height, width)
    if fill:
        if side > MOST_SIDE:
            raise DataError(f"a picture of {width} x {height} pixels is too long to be padded to a square; crop it first")
        out = np.zeros((side, side, channels), np.float32)
        top, left = (side - height) // 2, (side - width) // 2
        out[top : top + height, left : left + width] = image
        return out
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
