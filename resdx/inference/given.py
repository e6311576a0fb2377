"""What Python hands over in the place of a file, read as the file would be.

Arrays, Pillow images and DICOM datasets. An answer to the array of a PNG is the answer to the PNG: what is given takes the
place of the read step alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from os import PathLike, fspath
from typing import Any, cast

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..errors import DataError
from ..transforms.readers.copies import ReadCopy
from ..transforms.readers.dicom import ReadDicom
from ..transforms.readers.image import ReadImage, from_pillow
from ..transforms.readers.nifti import ReadNifti
from ..transforms.readers.paths import Pixels, from_bytes, one_channel_when_grey, reading, stretch

Given = str | PathLike[str] | NDArray[Any] | Image.Image | pydicom.Dataset
Read = Callable[[str], Any]

OF_PICTURES = (ReadImage, ReadDicom, ReadNifti, ReadCopy)  # steps that read one picture as it is


def one_by_one(images: Given | Iterable[Given]) -> list[Given]:
    """One image as a list of one; several as a list. An array (N, H, W, C) is N images."""
    if isinstance(images, (str, PathLike, Image.Image, pydicom.Dataset)):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim != 4:
        return [images]
    return list(images)


def named(images: Iterable[Given]) -> Iterator[tuple[str, Given]]:
    """Each image with its name in answers and errors: the path, or its place, `images[3]`."""
    for place, one in enumerate(images):
        yield (fspath(one), fspath(one)) if isinstance(one, (str, PathLike)) else (f"images[{place}]", one)


def read_given(name: str, given: Given, read: Read) -> Pixels:
    """One image as `read` gives that of a file.

    float32 (H, W, C) in [0, 1], C = 1 for grey and 3 for colour.

    Args:
        name: of the image in an error.
        given: a path; an array (H, W), (H, W, 1) or (H, W, 3), floats in [0, 1], uint8 from 0 to 255 or uint16 from 0 to 65535
            (to 2**bits - 1 of ReadImage); a Pillow image of any mode; a DICOM dataset of one frame.

    Raises:
        DataError: an array of another shape, kind or range, a dataset without pixels, or a run that reads no pictures.
    """
    if isinstance(given, (str, PathLike)):
        return cast(Pixels, read(fspath(given)))
    white = float(2 ** getattr(read, "bits", 16) - 1)
    if not isinstance(read, OF_PICTURES):
        raise DataError(f"{name}: the run reads files ({type(read).__name__}), not pictures; give paths")
    if isinstance(given, pydicom.Dataset):
        return (read if isinstance(read, ReadDicom) else ReadDicom()).of_dataset(
            deepcopy(given), name
        )  # the caller's stays as it is
    if isinstance(given, Image.Image):
        with reading(name, "an image"):
            return from_pillow(name, ImageOps.exif_transpose(given), given.format or "", white)
    return _from_array(name, np.asarray(given), white)


def _from_array(name: str, array: NDArray[Any], white: float) -> Pixels:
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise DataError(f"{name} has shape {array.shape}; give (height, width), or (height, width, 1 or 3)")
    image = array[..., None] if array.ndim == 2 else array
    if image.dtype == np.uint8:
        return from_bytes(image)
    if image.dtype == np.uint16:
        return one_channel_when_grey(stretch(image, 0, white))
    if not np.issubdtype(image.dtype, np.floating):
        raise DataError(f"{name} holds {image.dtype}; give uint8, uint16, or floats in [0, 1]")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise DataError(f"{name} has values from {image.min():g} to {image.max():g}; floats are in [0, 1], none NaN: scale them")
    return one_channel_when_grey(image.astype(np.float32))
