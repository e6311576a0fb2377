"""A scan as one picture: slices at equal distances, side by side on a sheet, as film was hung."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le, Unit
from numpy.typing import NDArray

from ...errors import DataError
from ...records import AnyRecord, record
from ..compose import Step
from ..image import Resize
from .dicom import ReadDicom, read_header
from .image import ReadImage
from .nifti import ReadNifti, count_slices
from .paths import file_kind, split_index


@record
class ReadScan:
    """Read all slices of a scan as a sheet of `rows` x `columns` of them.

    The path is `folder/1.dcm#1.dcm|2.dcm|3.dcm` or `scan.nii.gz#0|1|2`. Slices are taken at equal distances, first slice
    first, row by row; of a scan with fewer some come twice, so that no tile is empty. Each is read by `read`, goes through
    the steps `each`, and is brought to `side` x `side` pixels.
    """

    takes = "path"
    gives = "image"
    version = 1
    rows: Annotated[int, Ge(1), Le(16)] = 4
    columns: Annotated[int, Ge(1), Le(16)] = 4
    side: Annotated[int, Ge(16), Le(512), Unit("pixels")] = 112
    read: ReadImage | ReadDicom | ReadNifti = ReadImage()
    each: tuple[Annotated[Step, AnyRecord], ...] = ()

    def __call__(self, path: str) -> NDArray[np.float32]:
        slices = slices_of(path)
        tiles = self.rows * self.columns
        taken = [slices[k] for k in spread(len(slices), tiles)]
        seen = {one: self._slice(one) for one in dict.fromkeys(taken)}
        colours = max(image.shape[2] for image in seen.values())
        pile = np.stack([np.broadcast_to(seen[one], (self.side, self.side, colours)) for one in taken])
        # (rows, side, columns, side, C)
        sheet = pile.reshape(self.rows, self.columns, self.side, self.side, colours).transpose(0, 2, 1, 3, 4)
        return sheet.reshape(self.rows * self.side, self.columns * self.side, colours)

    def gather(self, paths: Sequence[str]) -> list[str]:
        """A volume is a scan, and so are the slices of each folder."""
        volumes = [path for path in paths if file_kind(path) == "nifti"]
        slices = sorted(set(paths) - set(volumes))
        return volumes + [path_of(in_order(list(some))) for _, some in groupby(slices, key=os.path.dirname)]

    def _slice(self, path: str) -> NDArray[np.float32]:
        image: NDArray[np.float32] = self.read(path)
        for step in (*self.each, Resize(self.side)):
            image = step(image)
        return image


def spread(count: int, tiles: int) -> list[int]:
    """Which of `count` slices stand in `tiles` places: the middles of as many equal stretches."""
    return [int((k + 0.5) * count / tiles) for k in range(tiles)]


def slices_of(path: str) -> list[str]:
    """The path of each slice of a scan, in order; of a picture or a single slice the path itself.

    Raises:
        DataError: the path names a volume without its slices.
    """
    file, index = split_index(path)
    if "|" not in index:
        if not index and file_kind(file) == "nifti":
            return [f"{file}#{k}" for k in range(count_slices(file))]
        return [f"{Path(file).parent}/{index}" if index == Path(file).name else path]
    names = index.split("|")
    if names[0] == Path(file).name:
        return [f"{Path(file).parent}/{name}" for name in names]
    return [f"{file}#{name}" for name in names]


def path_of(slices: Sequence[str]) -> str:
    """The path of the scan that these slices, in order, make up; the inverse of `slices_of`.

    Raises:
        DataError: they lie in several folders or files, or have names that cannot be joined.
    """
    heads = {one.rpartition("#")[0] if "#" in one else str(Path(one).parent) for one in slices}
    names = [one.rpartition("#")[2] if "#" in one else Path(one).name for one in slices]
    if len(heads) > 1 or any("|" in name for name in names):
        raise DataError(f"slices of one scan lie in one folder or file and have no | or # in their names, unlike {slices[0]}")
    head = heads.pop()
    return f"{head if '#' in slices[0] else slices[0]}#{'|'.join(names)}"


def in_order(slices: Sequence[str]) -> list[str]:
    """Slices as they lie in the body, where all are DICOM files that say so.

    Else by the numbers in their names, 9 before 10.
    """
    places = [_place(one) for one in slices]
    if None not in places:
        return [one for _, one in sorted(zip(places, slices, strict=True))]
    return sorted(
        # "slice10" is (0, "slice"), (10, ""): after "slice9"
        slices,
        key=lambda path: [(int(piece), "") if piece.isdigit() else (0, piece) for piece in re.split(r"(\d+)", path)],
    )


def _place(path: str) -> float | None:
    """Where a slice lies along the axis that its stack has, in mm; None where the file does not say."""
    if file_kind(path) != "dicom":
        return None
    header = read_header(path, ["ImagePositionPatient", "ImageOrientationPatient", "SliceLocation"])
    position, turn = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if position and turn:
        return float(np.dot(position, np.cross(turn[:3], turn[3:])))  # along the normal of the slices
    return None if header.get("SliceLocation") is None else float(header.SliceLocation)
