"""Lungs in axial slices of computed tomography.

Steps take and give float32 (H, W, C) in [0, 1], air dark and tissue bright. A slice may show a window of Hounsfield units
(ReadDicom and ReadNifti take one) or grey values of a picture: the threshold is the slice's own unless one is given. A slice
in which no lung is found stays as it is, since a black one would tell the network nothing.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Lt
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter
from skimage.filters import sobel, threshold_otsu
from skimage.measure import label
from skimage.segmentation import watershed

from ..records import FractionBelow1, record

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

Closing = Annotated[float, Ge(0), Lt(0.5)]

LEAST = 0.02  # share of the picture below which a dark piece is bowel, windpipe or noise, not a lung
RIM = 0.02  # of the shorter side: how far the border of a lung may lie from the threshold's
BEYOND = 3  # the watershed's mark of what is no lung


@record
class LungMask:
    """Keep the lungs and fill everything else with black.

    `above` is the grey value of tissue, from 0 to 1 (0 = by Otsu 1979); `closing` the gaps to bridge, as a share of the
    shorter side, so that vessels and
    nodules at the chest wall stay part of the lung.
    """

    takes = gives = "image"
    above: FractionBelow1 = 0.0
    closing: Closing = 0.03

    def __call__(self, image: Array) -> Array:
        mask = find_lungs(image, above=self.above, closing=self.closing)
        return np.where(mask[..., None], image, np.float32(0)) if mask.any() else image


@record
class LungCrop:
    """Cut a slice to the box around both lungs; fields as for LungMask."""

    takes = gives = "image"
    above: FractionBelow1 = 0.0
    closing: Closing = 0.03

    def __call__(self, image: Array) -> Array:
        mask = find_lungs(image, above=self.above, closing=self.closing)
        if not mask.any():
            return image
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def find_lungs(image: Array, *, above: float = 0.0, closing: float = 0.03) -> Mask:
    """Where the lungs are: (H, W), all False where none are found.

    Threshold; the two largest dark pieces that hold no corner of the picture, which are the air around the body; then for
    each a watershed of the gradient
    between what is surely lung and surely not (Beucher and Lantuejoul 1979), a closing, and its holes filled.
    """
    grey = gaussian_filter(image.mean(axis=2), 1)  # noise would break the pieces
    if grey.min() == grey.max():
        return np.zeros(grey.shape, bool)
    side = min(grey.shape)
    air = _two_largest(grey <= (above or threshold_otsu(grey)))  # type: ignore[no-untyped-call]
    # Surely lung: farther from the border of the threshold than it may be off; BEYOND is surely none.
    marks = np.where(distance_transform_edt(air > 0) > RIM * side, air, 0)
    marks[distance_transform_edt(air == 0) > RIM * side] = BEYOND
    # flooding from the marks meets where the gradient is steepest
    found = watershed(sobel(grey), marks)  # type: ignore[no-untyped-call]
    lungs = [binary_fill_holes(_closed(found == number, closing * side)) for number in (1, 2) if (air == number).any()]
    return np.asarray(np.any(lungs, axis=0)) if lungs else np.zeros(grey.shape, bool)


def _two_largest(dark: Mask) -> NDArray[np.intp]:
    """(H, W) with 1 and 2 in the two largest dark pieces, and 0 elsewhere.

    A piece has enough pixels and holds no corner.
    """
    pieces: NDArray[np.intp] = label(dark, connectivity=1)  # type: ignore[no-untyped-call]
    sizes = np.bincount(pieces.ravel())
    sizes[[0, *pieces[[0, 0, -1, -1], [0, -1, 0, -1]]]] = 0  # the background, and pieces with a corner of the picture
    largest = [k for k in np.argsort(-sizes, kind="stable")[:2] if sizes[k] >= LEAST * dark.size]
    return sum((number * (pieces == k) for number, k in enumerate(largest, 1)), np.zeros(dark.shape, np.intp))


def _closed(mask: Mask, reach: float) -> Mask:
    """Closing by a disc of radius `reach` pixels, by distances.

    Beyond the edge of the picture nothing is bridged.
    """
    wide = np.pad(mask, int(reach) + 1)
    if not mask.any():
        return mask
    # A dilation, then an erosion: both are thresholds of distances.
    closed = distance_transform_edt(distance_transform_edt(~wide) <= reach) > reach
    return np.asarray(closed[int(reach) + 1 : -int(reach) - 1, int(reach) + 1 : -int(reach) - 1] | mask)
