"""From a path to an image: float32 (H, W, C) in [0, 1], C = 1 for grey and 3 for colour.

A path may end in `#index` where one file holds many images: `scan.tif#2` (frame), `echo.dcm#5` (frame),
`ct.nii.gz#40` (slice), `set.npz#train/7` (MedMNIST layout). Whatever cannot be read is a DataError that names the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from PIL import Image, ImageOps

from ...errors import DataError
from ...records import Natural, record
from .dicom import ReadDicom
from .nifti import ReadNifti
from .npz import read_npz
from .paths import Pixels, file_kind, frame_of, from_bytes, reading, split_index, stretch


@record
class ReadImage:
    """Read any picture, DICOM file, NIfTI slice or image of an .npz set.

    Transparent pixels are shown on black, EXIF turns are undone, and a colour file whose channels are equal counts as
    grey. `frame` is read from a picture of several frames when the path names none. White in a 16-bit picture is
    2**bits - 1: set `bits=12` where a scanner's 12-bit values lie in 16-bit files. Pictures of floats or 32-bit
    integers have no white of their own and run from their minimum to their maximum.
    """

    takes = "path"
    gives = "image"
    version = 1
    keeps_places = True
    frame: Natural = 0
    bits: Annotated[int, Ge(8), Le(16)] = 16

    def __call__(self, path: str) -> Pixels:
        file, index = split_index(path)
        kind = file_kind(file)
        if kind == "npz":
            return read_npz(file, index)
        if kind == "nifti":
            return ReadNifti()(path)
        if kind == "dicom":
            return ReadDicom()(path)
        return _read_picture(file, frame_of(path, index, self.frame), float(2**self.bits - 1))


def _read_picture(file: str, frame: int, white16: float) -> Pixels:
    with reading(file, "an image"):
        if Path(file).stat().st_size == 0:
            raise DataError(f"{file} is empty (0 bytes); copy it again or remove it")
        with Image.open(file) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit and image.width * image.height > limit:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels, more than {limit}")
            count = getattr(image, "n_frames", 1)
            if frame >= count:
                raise DataError(f"{file} has {count} frames, counted from 0, so there is no frame {frame}")
            if count > 1:
                image.seek(frame)
            return from_pillow(file, ImageOps.exif_transpose(image), image.format or "", white16)


def from_pillow(file: str, image: Image.Image, file_format: str, white16: float) -> Pixels:
    """A Pillow image of any mode as (H, W, C) in [0, 1].

    `file` is its name in an error, `white16` white of 16 bits.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format in ("PNG", "PPM")):
        return stretch(np.asarray(image)[..., None], 0, white16)
    if image.mode in ("I", "F"):
        values = np.asarray(image)[..., None]
        if not np.isfinite(values).all():
            raise DataError(f"{file} holds values that are not finite; replace them before it is read")
        return stretch(values, float(values.min()), float(values.max()))
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, (0, 0, 0, 255)), shown)
    return from_bytes(np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB")))
