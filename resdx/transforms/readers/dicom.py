"""DICOM files as a viewer shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.pixels.utils import pixel_array

from ...errors import DataError
from ...records import record
from .paths import Pixels, check_window, frame_of, one_channel_when_grey, reading, split_index, stretch, window_of


@record
class ReadDicom:
    """Read one frame of a DICOM file as a viewer shows it.

    Modality LUT, then VOI LUT or the file's first window. A file without a window runs from its smallest to its largest
    value, padding apart; MONOCHROME1 is inverted, so that air is black in every film; palette and YBR colours become RGB. A
    file of several frames needs `#frame`.

    With `low` and `high` (the file's own units, for a CT Hounsfield units) these become 0 and 1, whatever window the file has.
    """

    takes = "path"
    gives = "image"
    version = 1
    keeps_places = True
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        check_window(type(self).__name__, self.low, self.high)

    def __call__(self, path: str) -> Pixels:
        file, index = split_index(path)
        with reading(file, "a DICOM image"):
            dataset = pydicom.dcmread(file, force=True)  # old files lack the 128 + 4 bytes at the start
        return self.of_dataset(dataset, file, index)

    def of_dataset(self, dataset: pydicom.Dataset, file: str, index: str = "") -> Pixels:
        """One frame of a dataset, which may gain elements, as (H, W, C) in [0, 1].

        `file` is its name in an error. Raises DataError.
        """
        with reading(file, "a DICOM image"):
            _check_pixels(file, dataset)
            frames = int(dataset.get("NumberOfFrames") or 1)
            if frames > 1 and not index:
                raise DataError(f"{file} has {frames} frames; name one, such as {Path(file).name}#0")
            frame = frame_of(f"{file}#{index}", index, 0)
            if frame >= frames:
                raise DataError(f"{file} has {frames} frames, counted from 0, so there is no frame {frame}")
        with reading(file, "a DICOM image", _decoder_advice(dataset)):
            return _display(dataset, pixel_array(dataset, index=frame), frame, window_of(self.low, self.high))


def read_header(file: str, keywords: Sequence[str]) -> pydicom.Dataset:
    """The named fields of a DICOM file, its pixels left unread."""
    with reading(file, "a DICOM file"):
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(keywords), force=True)


def _check_pixels(file: str, dataset: pydicom.Dataset) -> None:
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        what = dataset.get("Modality") or "unknown"
        raise DataError(f"{file} holds no pixel data (modality {what}) or is cut off before it; leave it out or export it again")


def _display(dataset: pydicom.Dataset, stored: NDArray[Any], frame: int, window: tuple[float, float] | None) -> Pixels:
    """Stored values of one frame -> what a viewer shows.

    Grey files go through `window` where one is given.
    """
    if stored.ndim == 3:  # RGB, also where the file says YBR: pixel_array has converted it
        return one_channel_when_grey(stretch(stored, 0, float(2 ** int(dataset.BitsStored) - 1)))
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        return one_channel_when_grey(stretch(colours, 0, float(np.iinfo(colours.dtype).max)))
    _lift_frame_settings(dataset, frame)
    padding = stored == dataset["PixelPaddingValue"].value if "PixelPaddingValue" in dataset else np.zeros(stored.shape, bool)
    values = apply_modality_lut(stored, dataset)
    low, high = _display_range(dataset)
    if window:
        shown = stretch(values, *window)
    elif low < high:
        shown = stretch(apply_voi_lut(values, dataset), low, high)
    else:
        inside = values[~padding] if not padding.all() else values
        if not np.isfinite(inside).all():
            raise ValueError("it holds values that are not finite")
        shown = stretch(np.where(padding, inside.min(), values), float(inside.min()), float(inside.max()))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return np.where(padding, np.float32(0), shown)[..., None]


def _lift_frame_settings(dataset: pydicom.Dataset, frame: int) -> None:
    """Copy rescale and window of an enhanced multi-frame object to where single-frame objects keep them."""
    # the frame's own settings come last and hold
    for groups, item in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            if item < len(found := dataset.get(groups) or ()) and found[item].get(name):
                dataset.update(found[item][name][0])


def _display_range(dataset: pydicom.Dataset) -> tuple[float, float]:
    """The values that the VOI step gives black and white; equal where the file has no usable window."""
    if dataset.get("VOILUTSequence"):  # number of entries, first value, bits
        return 0.0, float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    width = dataset.get("WindowWidth")
    if "PixelData" not in dataset:  # the standard gives float pixels no stored range to spread a window over
        return 0.0, 0.0
    if "WindowCenter" not in dataset or width is None or np.atleast_1d(np.asarray(width, float))[0] < 1:
        return 0.0, 0.0
    with np.errstate(over="ignore"):
        low, high = apply_windowing(np.array([-1e12, 1e12]), dataset)  # what lies beyond every value gets black and white
    return float(low), float(high)


def _decoder_advice(dataset: pydicom.Dataset) -> str:
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None or (syntax.is_transfer_syntax and not syntax.is_compressed):
        return "copy the file again"
    return f'it is stored as {syntax.name}: pip install "resdx[dicom]" adds decoders; if they are there, copy the file again'
