"""What a file or folder that is to be predicted opens up into, as its reader says.

Pictures, scans, heartbeats, voices, rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..data.sources.listing import list_images, walk
from ..errors import DataError
from ..transforms.readers.protocol import cases_in, files_of, gathered


def opened(file: Path, read: Callable[[str], Any]) -> list[str]:
    """The paths to read.

    `file` itself or all files of the folder, and of each what the reader finds in it.

    Raises:
        DataError: a folder holds nothing that is read so.
    """
    if not os.path.isdir(file):  # unlike Path.is_dir, False for whatever cannot be looked at: reading it says why
        return cases_in(read, str(file))
    suffixes, what = files_of(read)
    paths = _ending(file, suffixes) if suffixes else [str(file / name) for name in list_images(file)[0]]
    if not paths:
        advice = f"name files ({', '.join(suffixes)})" if suffixes else "name image files"
        raise DataError(f"{file} holds no {what}; {advice}, or folders that hold some")
    return [path for one in gathered(read, paths) for path in cases_in(read, one)]


def _ending(folder: Path, suffixes: Sequence[str]) -> list[str]:
    """All files below a folder whose names end so, but for hidden ones."""
    names = (name for name in walk(str(folder)) if name.lower().endswith(tuple(suffixes)))
    return sorted(f"{folder}/{name}" for name in names if not Path(name).name.startswith("."))
