"""From a path to an image: float32 (H, W, C) in [0, 1], C = 1 for grey and 3 for colour.

A path may end in `#index` where one file holds many images: `scan.tif#2` (frame), `echo.dcm#5` (frame),
`ct.nii.gz#40` (slice), `set.npz#train/7` (MedMNIST layout). Whatever cannot be read is a DataError that names the file.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.pixels.utils import pixel_array

from ..errors import DataError, RecipeError
from ..records import record

Pixels = NDArray[np.float32]

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp"),
    *(".pgm", ".ppm", ".pnm", ".pbm", ".jp2", ".j2k", ".tga"),
)
READERS = {
    "nifti": "resdx.steps.nifti",
    "ecg": "resdx.steps.waveform",
}  # extra -> the module that imports what the extra installs


@record
@dataclass(frozen=True)
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
    frame: int = 0
    bits: int = 16

    def __post_init__(self) -> None:
        if self.frame < 0:
            raise RecipeError(f"ReadImage frame counts from 0, not {self.frame}")
        if not 8 <= self.bits <= 16:
            raise RecipeError(f"ReadImage bits must be 8 to 16, not {self.bits}")

    def __call__(self, path: str) -> Pixels:
        file, index = split_index(path)
        kind = file_kind(file)
        if kind == "npz":
            return _read_npz(file, index)
        if kind == "nifti":
            return ReadNifti()(path)
        if kind == "dicom":
            return ReadDicom()(path)
        return _read_picture(file, _frame(path, index, self.frame), float(2**self.bits - 1))


@record
@dataclass(frozen=True)
class ReadDicom:
    """Read one frame of a DICOM file as a viewer shows it: modality LUT, then VOI LUT or the file's first window.

    A file without a window runs from its smallest to its largest value, padding apart; MONOCHROME1 is inverted, so that
    air is black in every film; palette and YBR colours become RGB. A file of several frames needs `#frame`.

    With `low` and `high` (the file's own units, for a CT Hounsfield units) these become 0 and 1, whatever window the file has.
    """

    takes = "path"
    gives = "image"
    version = 1
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        _check_window(self)

    def __call__(self, path: str) -> Pixels:
        file, index = split_index(path)
        with reading(file, "a DICOM image"):
            dataset = pydicom.dcmread(file, force=True)  # old files lack the 128 + 4 bytes at the start
            _check_pixels(file, dataset)
            frames = int(dataset.get("NumberOfFrames") or 1)
            if frames > 1 and not index:
                raise DataError(f"{file} has {frames} frames; name one, such as {Path(file).name}#0")
            frame = _frame(path, index, 0)
            if frame >= frames:
                raise DataError(f"{file} has {frames} frames, counted from 0, so there is no frame {frame}")
        with reading(file, "a DICOM image", _decoder_advice(dataset)):
            return _display(dataset, pixel_array(dataset, index=frame), frame, _window(self))


@record
@dataclass(frozen=True)
class ReadNifti:
    """Read the axial slice `volume.nii.gz#k`, patient's right on the left and front on top, as radiologists look at it.

    Values from `low` to `high` (the file's own units, for a CT Hounsfield units) become 0 to 1; where both are None the
    smallest and largest value of the volume do.
    """

    takes = "path"
    gives = "image"
    version = 1
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        _check_window(self)

    def __call__(self, path: str) -> Pixels:
        file, index = split_index(path)
        if not index:
            raise DataError(f"{file} is a volume; name a slice, such as {Path(file).name}#0")
        number = _frame(path, index, 0)
        with reading(file, "a NIfTI volume"):
            volume, low, high = optional("nifti").volume(file)  # (X, Y, Z): to the right, the front, the head
        if number >= volume.shape[2]:
            raise DataError(f"{file} has {volume.shape[2]} slices, counted from 0, so there is no slice {number}")
        return _stretch(volume[::-1, ::-1, number].T[..., None], *(_window(self) or (low, high)))


def _check_window(reader: ReadDicom | ReadNifti) -> None:
    low, high = reader.low, reader.high
    if (low is None) != (high is None) or (low is not None and high is not None and not low < high):
        raise RecipeError(f"{type(reader).__name__} needs low below high, or neither, not {low} and {high}")


def _window(reader: ReadDicom | ReadNifti) -> tuple[float, float] | None:
    return None if reader.low is None or reader.high is None else (reader.low, reader.high)


def split_index(path: str) -> tuple[str, str]:
    """`"a.npz#train/7"` -> `("a.npz", "train/7")`; a file that really has `#` in its name keeps it."""
    file, mark, index = path.rpartition("#")
    if not mark or os.path.isfile(path):  # of a path too long for a file False, where Path.is_file fails
        return path, ""
    return file, index


def file_kind(file: str) -> str:
    """What a file is by its suffix, or by its first bytes where the suffix says nothing: picture, dicom, nifti, npz or ""."""
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
            return "dicom" if stream.read(132)[128:] == b"DICM" else ""
    except OSError:
        return ""  # the reader itself will say what is wrong


def count_slices(file: str) -> int:
    """Axial slices of a NIfTI volume, from its header."""
    with reading(file, "a NIfTI volume"):
        return int(optional("nifti").depth(file))


def read_header(file: str, keywords: Sequence[str]) -> pydicom.Dataset:
    """The named fields of a DICOM file, its pixels left unread."""
    with reading(file, "a DICOM file"):
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(keywords), force=True)


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
            return _plain(file, ImageOps.exif_transpose(image), image.format or "", white16)


def _plain(file: str, image: Image.Image, file_format: str, white16: float) -> Pixels:
    """A Pillow image of any mode as (H, W, C) in [0, 1]."""
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format in ("PNG", "PPM")):
        return _stretch(np.asarray(image)[..., None], 0, white16)
    if image.mode in ("I", "F"):
        values = np.asarray(image)[..., None]
        if not np.isfinite(values).all():
            raise DataError(f"{file} holds values that are not finite; replace them before it is read")
        return _stretch(values, float(values.min()), float(values.max()))
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, (0, 0, 0, 255)), shown)
    return _from_bytes(np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB")))


def _from_bytes(pixels: NDArray[np.uint8]) -> Pixels:
    """(H, W) or (H, W, 3) of 0 to 255 -> (H, W, C) in [0, 1]; grey is told before bytes become floats, which is much faster."""
    grey = _one_channel_when_grey(pixels if pixels.ndim == 3 else pixels[..., None])
    return grey.astype(np.float32) / np.float32(255)


def _check_pixels(file: str, dataset: pydicom.Dataset) -> None:
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        what = dataset.get("Modality") or "unknown"
        raise DataError(f"{file} holds no pixel data (modality {what}) or is cut off before it; leave it out or export it again")


def _display(dataset: pydicom.Dataset, stored: NDArray[Any], frame: int, window: tuple[float, float] | None) -> Pixels:
    """Stored values of one frame -> what a viewer shows, of grey files through `window` where one is given."""
    if stored.ndim == 3:  # RGB, also where the file says YBR: pixel_array has converted it
        return _one_channel_when_grey(_stretch(stored, 0, float(2 ** int(dataset.BitsStored) - 1)))
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        return _one_channel_when_grey(_stretch(colours, 0, float(np.iinfo(colours.dtype).max)))
    _lift_frame_settings(dataset, frame)
    padding = stored == dataset["PixelPaddingValue"].value if "PixelPaddingValue" in dataset else np.zeros(stored.shape, bool)
    values = apply_modality_lut(stored, dataset)
    low, high = _display_range(dataset)
    if window:
        shown = _stretch(values, *window)
    elif low < high:
        shown = _stretch(apply_voi_lut(values, dataset), low, high)
    else:
        inside = values[~padding] if not padding.all() else values
        if not np.isfinite(inside).all():
            raise ValueError("it holds values that are not finite")
        shown = _stretch(np.where(padding, inside.min(), values), float(inside.min()), float(inside.max()))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return np.where(padding, np.float32(0), shown)[..., None]


def _lift_frame_settings(dataset: pydicom.Dataset, frame: int) -> None:
    """Copy rescale and window of an enhanced multi-frame object to where single-frame objects keep them."""
    for groups, item in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            if item < len(found := dataset.get(groups) or ()) and found[item].get(name):
                dataset.update(found[item][name][0])


def _display_range(dataset: pydicom.Dataset) -> tuple[float, float]:
    """The values that the VOI step gives black and white; equal where the file has no usable window."""
    if dataset.get("VOILUTSequence"):
        return 0.0, float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    width = dataset.get("WindowWidth")
    if "PixelData" not in dataset:  # the standard gives float pixels no stored range to spread a window over
        return 0.0, 0.0
    if "WindowCenter" not in dataset or width is None or np.atleast_1d(np.asarray(width, float))[0] < 1:
        return 0.0, 0.0
    with np.errstate(over="ignore"):
        low, high = apply_windowing(np.array([-1e12, 1e12]), dataset)
    return float(low), float(high)


def _decoder_advice(dataset: pydicom.Dataset) -> str:
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None or (syntax.is_transfer_syntax and not syntax.is_compressed):
        return "copy the file again"
    return f'it is stored as {syntax.name}: pip install "resdx[dicom]" adds decoders; if they are there, copy the file again'


@lru_cache(maxsize=2)
def _npz_array(file: str, name: str, changed: int) -> NDArray[Any]:
    """One array of an .npz; kept, since a set is read image after image. `changed` (ns) forgets it when the file does."""
    with np.load(file, allow_pickle=False) as arrays:
        if name not in arrays:
            raise DataError(f"{file} has no array {name!r} (there are {', '.join(arrays)}); is it in the MedMNIST layout?")
        return np.asarray(arrays[name])


def _read_npz(file: str, index: str) -> Pixels:
    part, _, number = index.rpartition("/")
    if not part or not number.isdecimal():
        raise DataError(f"{file} holds many images; name one, such as {Path(file).name}#train/0")
    with reading(file, "an .npz set"):
        images = _npz_array(file, f"{part}_images", Path(file).stat().st_mtime_ns)
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise DataError(f"{file}: {part}_images is {images.dtype} {images.shape}; it must be uint8 (N, H, W) or (N, H, W, 3)")
        if int(number) >= len(images):
            raise DataError(f"{file}: {part}_images has {len(images)} images, counted from 0, so there is no {number}")
        return _from_bytes(images[int(number)])


def _frame(path: str, index: str, otherwise: int) -> int:
    if not index:
        return otherwise
    if not index.isdecimal():
        raise DataError(f"{path}: {index!r} is not the number of a frame; write #0, #1 ...")
    return int(index)


def _stretch(values: NDArray[Any], low: float, high: float) -> Pixels:
    """`low` -> 0 and `high` -> 1, clipped; a flat image becomes 0."""
    if high <= low:
        return np.zeros(values.shape, np.float32)
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


def _one_channel_when_grey(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.shape[2] == 3:
        red, green, blue = np.moveaxis(pixels, 2, 0)
        if (red == green).all() and (green == blue).all():
            return np.ascontiguousarray(pixels[..., :1])
    return pixels


def optional(extra: str) -> ModuleType:
    """The module of an optional reader. Raises DataError with the pip command where its extra is not installed."""
    try:
        return importlib.import_module(READERS[extra])
    except ModuleNotFoundError as error:
        raise DataError(f'reading {extra} files needs {error.name}: pip install "resdx[{extra}]"') from error


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
