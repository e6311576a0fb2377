"""What a path names.

A file and the index behind its #, the kind of the file, and what readers have in common.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import DataError, RecipeError

Pixels = NDArray[np.float32]
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp"),
    *(".pgm", ".ppm", ".pnm", ".pbm", ".jp2", ".j2k", ".tga"),
)


def check_window(owner: str, low: float | None, high: float | None) -> None:
    """Raise RecipeError unless a reader has both limits of its window, the lower first, or neither."""
    if (low is None) != (high is None) or (low is not None and high is not None and not low < high):
        raise RecipeError(f"{owner} needs low below high, or neither, not {low} and {high}")


def window_of(low: float | None, high: float | None) -> tuple[float, float] | None:
    """The window of a reader; None where the file's own is taken."""
    return None if low is None or high is None else (low, high)


def split_index(path: str) -> tuple[str, str]:
    """`"a.npz#train/7"` -> `("a.npz", "train/7")`; a file that really has `#` in its name keeps it."""
    file, mark, index = path.rpartition("#")
    if not mark or os.path.isfile(path):  # of a path too long for a file False, where Path.is_file fails
        return path, ""
    return file, index


def file_kind(file: str) -> str:
    """What a file is: picture, dicom, nifti, npz or "".

    Its suffix says so, or its first bytes where the suffix says nothing.
    """
    name = file.lower()
    if name.endswith(PICTURE_SUFFIXES):
        return "picture"
    if name.endswith(DICOM_SUFFIXES):
        return "dicom"
    if name.endswith(NIFTI_SUFFIXES):
        return "nifti"
    if name.endswith(".npz"):
        return "npz"
    try:
        with open(file, "rb") as stream:
            return "dicom" if stream.read(132)[128:] == b"DICM" else ""  # DICOM part 10: 128 bytes of anything, then the mark
    except OSError:
        return ""  # the reader itself will say what is wrong


def frame_of(path: str, index: str, otherwise: int) -> int:
    if not index:
        return otherwise
    if not index.isdecimal():
        raise DataError(f"{path}: {index!r} is not the number of a frame; write #0, #1 ...")
    return int(index)


def stretch(values: NDArray[Any], low: float, high: float) -> Pixels:
    """`low` -> 0 and `high` -> 1, clipped; a flat image becomes 0."""
    if high <= low:
        return np.zeros(values.shape, np.float32)
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


def one_channel_when_grey(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.shape[2] == 3:
        red, green, blue = np.moveaxis(pixels, 2, 0)
        if (red == green).all() and (green == blue).all():
            return np.ascontiguousarray(pixels[..., :1])
    return pixels


@contextmanager
def reading(file: str, what: str, advice: str = "copy it again or remove it") -> Iterator[None]:
    """Turn whatever a decoder raises (they raise anything) into a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{file} is not there") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{file} is larger than it is safe to open ({error}); shrink it or cut it into tiles") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{file} cannot be read as {what} ({reason}); {advice}") from error


def from_bytes(pixels: NDArray[np.uint8]) -> Pixels:
    """(H, W) or (H, W, 3) of 0 to 255 -> (H, W, C) in [0, 1].

    Grey is told before bytes become floats, which is much faster.
    """
    grey = one_channel_when_grey(pixels if pixels.ndim == 3 else pixels[..., None])
    return grey.astype(np.float32) / np.float32(255)
