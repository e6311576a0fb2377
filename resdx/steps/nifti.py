"""NIfTI volumes; the one module that needs nibabel (`pip install "resdx[nifti]"`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError


def depth(file: str) -> int:
    """Axial slices of a volume, from its header."""
    return int(_canonical(file).shape[2])


def volume(file: str) -> tuple[NDArray[np.float32], float, float]:
    """The volume as float32 (X, Y, Z) that grow to the patient's right, front and head, with its smallest and largest value."""
    return _volume(file, Path(file).stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _volume(file: str, changed: int) -> tuple[NDArray[np.float32], float, float]:
    """Kept, since a volume is read slice after slice; `changed` (ns) forgets it when the file does."""
    values = np.asarray(_canonical(file).dataobj, np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{file} holds values that are not finite; replace them before it is read")
    return values, float(values.min()), float(values.max())


def _canonical(file: str) -> Any:
    image: Any = nibabel.as_closest_canonical(nibabel.load(file))  # type: ignore[no-untyped-call]
    if len(image.shape) != 3:
        raise DataError(f"{file} has shape {image.shape}; resdx reads volumes of three dimensions, so split it first")
    return image
