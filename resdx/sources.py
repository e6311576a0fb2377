"""Data as it was downloaded -> a Manifest of cases, with what was odd about it as findings.

A source is a frozen record with `scan(root)`. Pictures are only listed; of DICOM files and volumes the header is read:
a DICOM file brings its person, hospital, sex, age and view along, and each frame or slice is a case of its own. Hidden
files and files that hold no image are ignored and counted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .cases import Case, Finding, Manifest
from .listing import PARTS, check_pattern, close, list_images, open_up, some, with_groups
from .records import record

Pairs = tuple[tuple[str, str], ...]


class Source(Protocol):
    """What a recipe's `source` can do."""

    def scan(self, root: Path) -> Manifest:
        """List the cases below `root`. Raises DataError where they cannot be listed."""
        ...


@record
@dataclass(frozen=True)
class FolderPerClass:
    """`class/.../file`, or `train/class/.../file` with the part names people use (testing, valid, in any case).

    `group` is a regular expression searched in the file name (in the path below the root when it holds a "/"); what
    its brackets catch, joined by "-", is the person. A file it misses is an error, since a wrong pattern invents or
    hides leaks. `rename` maps folder names to class names. One wrapper folder around all the rest is stepped into.
    """

    group: str | None = None
    rename: Pairs = ()

    def __post_init__(self) -> None:
        check_pattern(self.group)

    def scan(self, root: Path) -> Manifest:
        files, findings = list_images(root)
        places = _class_and_part(files)
        rename = dict(self.rename)
        cases = [
            Case(id=file, path=file, labels=(rename.get(name, name),), part=part) for file, (name, part) in places.items() if name
        ]
        if loose := [file for file, (name, _part) in places.items() if not name]:
            text = f"{len(loose)} images lie in no class folder and are left out: {some(loose)}"
            findings.append(Finding("files-without-class", "look", text, tuple(loose)))
        cases = with_groups(cases, self.group)
        cases, more = open_up(root, cases)
        return close(root, cases, [*findings, *more])


def _class_and_part(files: Sequence[str]) -> dict[str, tuple[str, str]]:
    """file -> (class folder, part the set ships), either empty where the path has none."""
    folders = {file: file.split("/")[:-1] for file in files}
    shared: Sequence[str] = os.path.commonprefix(list(folders.values()))
    skip = next((k for k, name in enumerate(shared) if name.lower() in PARTS), len(shared))
    if all(len(names) == skip for names in folders.values()):
        skip -= 1  # one folder holds everything: it is the class, not a wrapper
    out = {}
    for file, names in folders.items():
        inner = names[max(skip, 0) :]
        part = next((PARTS[name.lower()] for name in inner[:2] if name.lower() in PARTS), "")
        classes = [name for k, name in enumerate(inner) if k > 1 or name.lower() not in PARTS]
        out[file] = (classes[0] if classes else "", part)
    return out
