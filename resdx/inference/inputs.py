"""What a file or folder that is to be answered opens up into, by the step that reads it: pictures, scans, heartbeats, voices, rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ..data.sources.listing import list_images, walk
from ..errors import DataError
from ..transforms.readers.ecg import ReadBeat
from ..transforms.readers.paths import file_kind, split_index
from ..transforms.readers.recording import RECORDINGS
from ..transforms.readers.voice import ReadSpectrogram, ReadSpeechRow, ReadVoice, speech_rows
from ..transforms.readers.volume import ReadScan, in_order, path_of

SOUNDS = (".wav",)
TABLES = (".csv",)


def opened(file: Path, read: Callable[[str], Any]) -> list[str]:
    """The paths to read: `file` itself, or what it or the folder holds.

    Of scans (ReadScan) each folder of slices is one path; of an electrocardiogram (ReadBeat) each heartbeat that is found, of a table of speech features each row.
    A recording or table that cannot be opened up stands for itself, so that reading it says why.

    Raises:
        DataError: a folder holds nothing that is read so.
    """
    if isinstance(read, ReadBeat):
        return [path for one in _with(file, RECORDINGS, "recordings") for path in _parts(one, read.beats)]
    if isinstance(read, ReadSpeechRow):
        return [path for one in _with(file, TABLES, "tables") for path in _parts(one, _rows)]
    if isinstance(read, ReadVoice | ReadSpectrogram):
        return _with(file, SOUNDS, "recordings")
    return _pictures(file, whole=isinstance(read, ReadScan))


def _with(file: Path, suffixes: Sequence[str], what: str) -> list[str]:
    """`file` itself, or all files below it that end so."""
    if not os.path.isdir(file):  # unlike Path.is_dir, False for whatever cannot be looked at: reading it says why
        return [str(file)]
    if not (
        found := sorted(
            f"{file}/{name}"
            for name in walk(str(file))
            if name.lower().endswith(tuple(suffixes)) and not Path(name).name.startswith(".")
        )
    ):
        raise DataError(f"{file} holds no {what}; name files ({', '.join(suffixes)}), or folders that hold some")
    return found


def _parts(file: str, of: Callable[[str], list[str]]) -> list[str]:
    try:
        return [file] if split_index(file)[1] else of(file)
    except DataError:
        return [file]


def _rows(file: str) -> list[str]:
    return [f"{file}#{k}" for k in range(len(speech_rows(file)[1]))]


def _pictures(file: Path, *, whole: bool) -> list[str]:
    """`file` itself or all images below it; where these are slices, of each folder one, the scan."""
    if not os.path.isdir(file):
        return [str(file)]
    if not (names := list_images(file)[0]):
        raise DataError(f"{file} holds no images; name image files, or folders that hold some")
    paths = [str(file / name) for name in names]
    if not whole:
        return paths
    volumes = [path for path in paths if file_kind(path) == "nifti"]
    slices = sorted(set(paths) - set(volumes))
    return volumes + [path_of(in_order(list(some))) for _, some in groupby(slices, key=os.path.dirname)]
