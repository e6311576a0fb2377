"""Images of an .npz set (MedMNIST layout): set.npz#train/7."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .paths import Pixels, from_bytes, reading


@lru_cache(maxsize=2)
def _npz_array(file: str, name: str, changed: int) -> NDArray[Any]:
    """One array of an .npz; kept, since a set is read image after image.

    `changed` (ns) forgets it when the file does.
    """
    with np.load(file, allow_pickle=False) as arrays:
        if name not in arrays:
            raise DataError(f"{file} has no array {name!r} (there are {', '.join(arrays)}); is it in the MedMNIST layout?")
        return np.asarray(arrays[name])


def read_npz(file: str, index: str) -> Pixels:
    part, _, number = index.rpartition("/")
    if not part or not number.isdecimal():
        raise DataError(f"{file} holds many images; name one, such as {Path(file).name}#train/0")
    with reading(file, "an .npz set"):
        images = _npz_array(file, f"{part}_images", Path(file).stat().st_mtime_ns)
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise DataError(f"{file}: {part}_images is {images.dtype} {images.shape}; it must be uint8 (N, H, W) or (N, H, W, 3)")
        if int(number) >= len(images):
            raise DataError(f"{file}: {part}_images has {len(images)} images, counted from 0, so there is no {number}")
        return from_bytes(images[int(number)])
