"""What a reader is, and what it may say of itself.

How files open up, which flags its cases get, what its pictures are like. A reader of your own needs `takes`, `gives` and
`__call__`. The functions below ask it for the rest, and say what holds where it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ...errors import DataError
from .paths import Pixels, split_index


class Reader(Protocol):
    """A step from a path to a picture, float32 (H, W, C) in [0, 1].

    It may have, each told by the function of this module in brackets:

    - `suffixes` and `holds`: how names of its files end, and what these are called, where they are no pictures (`files_of`)
    - `open_file(file) -> list[str]`: the path of each case that a file holds (`cases_in`)
    - `gather(paths) -> list[str]`: the paths of the cases that the files of a folder make up (`gathered`)
    - `flags(paths) -> list[tuple[str, ...]]`: what a person must know of cases of one file, in their order (`flags_of`)
    - `look_alike`: True where pictures of different persons are nearly the same by nature, so that only identical ones are copies
    - `keeps_places`: True where a pixel of the picture is one of the file, so that boxes can be followed
    - `cell_columns`: how many columns of cells its pictures have, where the network has to fit
    - `leads`: of an electrocardiogram, those that are read, the preferred one first
    """

    takes: str
    gives: str

    def __call__(self, path: str) -> Pixels:
        """The picture of a path. Raises DataError naming the file where it cannot be read."""


def files_of(read: Any) -> tuple[tuple[str, ...], str]:
    """How names of a reader's files end, and what they are called.

    No suffix for pictures, which are known by their content
    too.
    """
    return tuple(getattr(read, "suffixes", ())), getattr(read, "holds", "images")


def cases_in(read: Any, file: str) -> list[str]:
    """The path of each case in a file.

    A file that cannot be opened up stands for itself, so that reading it says why.
    """
    if not hasattr(read, "open_file") or split_index(file)[1]:
        return [file]
    try:
        return list(read.open_file(file))
    except DataError:
        return [file]


def gathered(read: Any, paths: Sequence[str]) -> list[str]:
    """The paths of the cases that the files of a folder make up; each one by default."""
    return list(read.gather(paths)) if hasattr(read, "gather") else list(paths)


def flags_of(read: Any, paths: Sequence[str]) -> list[tuple[str, ...]]:
    """What a person must know of each of the cases of one file; nothing by default."""
    return list(read.flags(paths)) if hasattr(read, "flags") else [()] * len(paths)


def looks_alike(read: Any) -> bool:
    """Whether only identical pictures are copies of each other."""
    return bool(getattr(read, "look_alike", False))


def keeps_places(read: Any) -> bool:
    """Whether boxes of a file can be followed into its picture."""
    return bool(getattr(read, "keeps_places", False))


def cell_columns(read: Any) -> int:
    """How many columns of cells a reader's pictures have; 0 where they are not made of cells."""
    return int(getattr(read, "cell_columns", 0))


def leads_of(read: Any) -> tuple[str, ...]:
    """The leads of an electrocardiogram that are read; none of what is no electrocardiogram."""
    return tuple(getattr(read, "leads", ()))
