"""NIfTI volumes as pictures, a slice each."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, optional
from ...records import record
from .paths import Pixels, check_window, frame_of, reading, split_index, stretch, window_of


@record
class ReadNifti:
    """Read the axial slice `volume.nii.gz#k` as radiologists look at it.

    The patient's right is on the left and the front on top. Values from `low` to `high` (the file's own units, for a CT
    Hounsfield units) become 0 to 1; where both are None the smallest and largest value of the volume do.
    """

    takes = "path"
    gives = "image"
    version = 1
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        check_window(type(self).__name__, self.low, self.high)

    def __call__(self, path: str) -> Pixels:
        file, index = split_index(path)
        if not index:
            raise DataError(f"{file} is a volume; name a slice, such as {Path(file).name}#0")
        number = frame_of(path, index, 0)
        with reading(file, "a NIfTI volume"):
            pixels, low, high = volume(file)  # (X, Y, Z): to the right, the front, the head
        if number >= pixels.shape[2]:
            raise DataError(f"{file} has {pixels.shape[2]} slices, counted from 0, so there is no slice {number}")
        return stretch(pixels[::-1, ::-1, number].T[..., None], *(window_of(self.low, self.high) or (low, high)))


def count_slices(file: str) -> int:
    """Axial slices of a NIfTI volume, from its header."""
    with reading(file, "a NIfTI volume"):
        return int(_canonical(file).shape[2])


def volume(file: str) -> tuple[NDArray[np.float32], float, float]:
    """The volume as float32 (X, Y, Z), with its smallest and largest value.

    The axes grow to the patient's right, front and head.
    """
    return _volume(file, Path(file).stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _volume(file: str, changed: int) -> tuple[NDArray[np.float32], float, float]:
    """Kept, since a volume is read slice after slice; `changed` (ns) forgets it when the file does."""
    values = np.asarray(_canonical(file).dataobj, np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{file} holds values that are not finite; replace them before it is read")
    return values, float(values.min()), float(values.max())


def _canonical(file: str) -> Any:
    nibabel = optional("nibabel", extra="nifti", what="reading NIfTI files")
    image: Any = nibabel.as_closest_canonical(nibabel.load(file))
    if len(image.shape) != 3:
        raise DataError(f"{file} has shape {image.shape}; resdx reads volumes of three dimensions, so split it first")
    return image
