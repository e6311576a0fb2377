"""Facts of a file before any model looks: hash, size, format, mode, brightness, thumbnail.

One pass with all cores: a file is read once for its hash and its header, decoded by the recipe's own read step, and
shrunk. Whatever cannot be decoded is listed with its sentence; the rest goes on.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import ResdxError
from ...transforms.parallel import ALL, in_order
from ...transforms.readers.paths import split_index
from .near_duplicates import portable_hash, thumbnail

Read = Callable[[str], NDArray[np.float32]]
Progress = Callable[[int, int], None]

CHUNK = 64  # files a worker takes at once
FEW = 256  # files for which starting workers takes longer than the work
DEPTHS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}  # bits a channel of Pillow's modes; 8 for all others


@dataclass(frozen=True, slots=True)
class Facts:
    """One readable case: sizes in pixels, bits a channel, mean brightness in [0, 1].

    `mode` is the file's, not the decoded one.

    `sha256` is of the file's bytes; of the decoded picture where one file holds several.
    """

    case: str
    sha256: str
    width: int
    height: int
    format: str
    mode: str
    bits: int
    brightness: float
    hash: str = ""


@dataclass(frozen=True)
class Look:
    """What a pass over the files found.

    Facts and thumbnails (N, 64, 64) of readable cases, and an error of one sentence for each of the others.
    """

    facts: tuple[Facts, ...]
    thumbnails: NDArray[np.uint8]
    unreadable: tuple[tuple[str, str], ...]


def look(paths: Mapping[str, str], read: Read, *, processes: int | None = None, progress: Progress | None = None) -> Look:
    """Read every file once; `paths` are full paths by case id.

    With more than a few files `read` must be picklable (a step is), and a script that calls this needs the usual
    `if __name__ == "__main__":`, since workers are started afresh.
    """
    chunks = [list(paths.items())[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    facts: list[Facts] = []
    pictures: list[NDArray[np.uint8]] = []
    failed: list[tuple[str, str]] = []
    done = 0
    workers = 1 if len(paths) < FEW else processes or ALL
    for answers in in_order(partial(_look_at, read), chunks, workers=workers):
        for case, answer in answers:
            if isinstance(answer, str):
                failed.append((case, answer))
            else:
                facts.append(answer[0])
                pictures.append(answer[1])
        done += len(answers)
        if progress:
            progress(done, len(paths))
    stack = np.stack(pictures) if pictures else np.zeros((0, 64, 64), np.uint8)
    hashed = (replace(fact, hash=row.tobytes().hex()) for fact, row in zip(facts, portable_hash(stack), strict=True))
    return Look(tuple(hashed), stack, tuple(failed))


def to_columns(facts: Sequence[Facts]) -> dict[str, list[object]]:
    """Facts as columns for audit.json."""
    rows = [asdict(one) for one in facts]
    return {field.name: [row[field.name] for row in rows] for field in fields(Facts)}


def from_columns(columns: Mapping[str, Sequence[object]]) -> tuple[Facts, ...]:
    """The inverse of `to_columns`."""
    return tuple(Facts(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True))


Answer = tuple[str, tuple[Facts, NDArray[np.uint8]] | str]


def _look_at(read: Read, chunk: list[tuple[str, str]]) -> list[Answer]:
    return [(case, _one(read, case, path)) for case, path in chunk]


def whole(path: str) -> bytes:
    """What a file holds; nothing where `path` is one of several pictures in it. Raises OSError."""
    file, index = split_index(path)
    return b"" if index else Path(file).read_bytes()


def digest(data: bytes, image: NDArray[np.float32]) -> str:
    """sha256 of `data`; of the decoded picture where there is none."""
    return hashlib.sha256(data or np.ascontiguousarray(image).tobytes()).hexdigest()


def _one(read: Read, case: str, path: str) -> tuple[Facts, NDArray[np.uint8]] | str:
    file, _ = split_index(path)
    try:
        image = read(path)
        data = whole(path)
    except ResdxError as error:
        return str(error)
    except OSError as error:
        return f"{file} cannot be read ({error.strerror or error}); copy it again or remove it"
    if not np.isfinite(image).all():
        return f"{file} holds values that are not numbers; export it again"
    kind, mode, bits = _header(file, data, image.shape[2])
    height, width = image.shape[:2]
    brightness = round(float(image.mean()), 4)
    return Facts(case, digest(data, image), width, height, kind, mode, bits, brightness), thumbnail(image)


def _header(file: str, data: bytes, channels: int) -> tuple[str, str, int]:
    """Format, colour mode and bits a channel of a picture file.

    Of other files the suffix and the decoded channels.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.format or "", image.mode, DEPTHS.get(image.mode, 8)
    except (OSError, ValueError, Image.DecompressionBombError):  # no picture: DICOM, a volume, an array
        return Path(file).suffix.lstrip(".").upper(), "RGB" if channels == 3 else "L", 0
