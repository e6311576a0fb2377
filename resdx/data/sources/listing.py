"""What every source does alike.

List the images below a folder, open up volumes, find the person, close the manifest.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import DataError, RecipeError
from ...transforms.readers.dicom import read_header
from ...transforms.readers.nifti import count_slices
from ...transforms.readers.paths import file_kind
from ..cases import Case, Finding, Manifest

PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
LAYOUTS = (
    "resdx reads a folder per class (DATA/normal/*.png, DATA/disease/*.png), a table manifest.csv with the columns path "
    "and labels, or an .npz set in the MedMNIST layout"
)
HEADER = (
    *("PatientID", "InstitutionName", "StationName", "PatientSex", "PatientAge", "ViewPosition"),  # the k-th folder from the end
    *("NumberOfFrames", "Rows", "SOPClassUID"),  # up to the first number, the second ...
)
YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def home(root: Path) -> Path:
    """The folder that paths are below: a table or .npz given as the data lies in it."""
    return root.parent if root.is_file() else root


def list_images(root: Path) -> tuple[list[str], list[Finding]]:
    """Image files below `root`, sorted, as paths with "/"; and a note on the files that were ignored."""
    if not root.is_dir():
        raise DataError(f"{root} is a file, not a folder" if root.exists() else f"{root} is not there")
    images: list[str] = []
    others: list[str] = []
    for file in sorted(walk(str(root))):
        name = file.rpartition("/")[2]
        is_image = not name.startswith(".") and file_kind(f"{root}/{file}") not in ("", "npz")
        (images if is_image else others).append(file)
    if not others:
        return images, []
    text = f"{len(others)} files are hidden or hold no image and are ignored: {some(others)}"
    return images, [Finding("ignored-files", "note", text, figures={"files": len(others)})]


def walk(root: str) -> Iterator[str]:
    """Paths below `root`.

    A hidden folder is given itself and not entered, a linked folder is entered once.
    """
    seen: set[str] = set()
    todo = [""]
    while todo:
        below = todo.pop()
        here = os.path.realpath(os.path.join(root, below))
        if here in seen:
            continue
        seen.add(here)
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    path = below + entry.name
                    if entry.is_dir() and not entry.name.startswith((".", "__MACOSX")):
                        todo.append(f"{path}/")
                    else:
                        yield path
        except OSError as error:
            raise DataError(f"{here} cannot be listed ({error.strerror}); give yourself the right to read it") from error


def some(names: Iterable[str], count: int = 3) -> str:
    """The first few of `names`, for a sentence."""
    names = list(names)
    return ", ".join(names[:count]) + (" ..." if len(names) > count else "")


def check_pattern(pattern: str | None, *, brackets: bool = True, named: Sequence[str] = ()) -> None:
    """Check that a pattern can be used.

    Raises:
        RecipeError: it does not compile, catches nothing, or names a group that is not among `named`.
    """
    if pattern is None:
        return
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise RecipeError(f"the pattern {pattern!r} is not a regular expression: {error}") from error
    if brackets and not compiled.groups:
        raise RecipeError(f"the pattern {pattern!r} has no brackets; put what it shall catch in (...)")
    if named and (odd := sorted(set(compiled.groupindex) - set(named))):
        raise RecipeError(f"the pattern {pattern!r} names {odd[0]!r}; it may name {', '.join(named)}")


def search_all(pattern: str, files: Iterable[str]) -> dict[str, re.Match[str]]:
    """The match for each file, in its name, or in its path when the pattern holds a "/".

    Raises:
        DataError: files it misses, or where all its brackets are empty; a pattern that misses some invents or hides leaks.
    """
    compiled = re.compile(pattern)
    found = {file: compiled.search(file if "/" in pattern else file.rpartition("/")[2]) for file in files}
    caught = {file: match for file, match in found.items() if match and any(match.groups())}
    if missed := [file for file in found if file not in caught]:
        raise DataError(f"the pattern {pattern!r} misses {len(missed)} of {len(found)} files, such as {some(missed)}; widen it")
    return caught


def person_patterns(files: Sequence[str], *, fewest: int) -> dict[str, bool]:
    """Patterns that may catch the person, from the coarsest.

    That is a folder, or a name before or up to its first, second, ... number. A third of the files share what a pattern
    catches with another one in the same place, there are at least `fewest` of these, and none has a fifth of all files. True
    where names alone speak for it: what follows repeats, as "left" and "right" or 1, 2, 3 do, and the same is not caught
    again in other places, as numbers are that start again in each folder.
    """
    names = [name.rpartition(".")[0] or name for name in (file.rpartition("/")[2] for file in files)]
    numbers = min((len(re.findall(r"\d+", name)) for name in names), default=0)
    folders = [f"([^/]+){'/[^/]+' * k}$" for k in range(min((file.count("/") for file in files), default=0), 0, -1)]
    up_to = ["^(" + r"\D+".join([r"\D*\d+", *[r"\d+"] * k]) + ")" for k in range(numbers)]
    out = {}
    for pattern in (*folders, r"^(\D+)\d", *up_to):
        try:
            caught = search_all(pattern, files)
        except DataError:  # it misses a file
            continue
        every = Counter(match[1] for match in caught.values())
        # the path before what is caught, and what is caught
        places = Counter((file[: len(file) - len(match.string) + match.start(1)], match[1]) for file, match in caught.items())
        shared = sum(number for number in places.values() if number > 1)
        if len(every) >= fewest and 3 * shared > len(caught) > 5 * max(every.values()):
            ends = {match.string[match.end(1) :] for match in caught.values()}  # what follows it in each name
            out[pattern] = 2 * len(ends) <= len(caught) and len(places) <= 1.2 * len(every)
    return out


def with_groups(cases: Sequence[Case], pattern: str | None) -> list[Case]:
    """Cases with the person that `pattern` finds in their file names.

    The person is what the pattern's brackets catch, joined by "-".
    """
    if pattern is None:
        return list(cases)
    caught = search_all(pattern, (case.path for case in cases))
    return [replace(case, group="-".join(filter(None, caught[case.path].groups()))) for case in cases]


def open_up(root: Path, cases: Iterable[Case], *, label: str = "") -> tuple[list[Case], list[Finding]]:
    """Cases of files -> cases of images, with what DICOM headers add where a case does not know it yet.

    `label` is a DICOM keyword whose value becomes the class. A NIfTI volume without a person is a person of its own.
    """
    out: list[Case] = []
    blind: list[str] = []
    for case in cases:
        kind = file_kind(f"{root}/{case.path}")
        if kind == "nifti":
            out += _numbered(replace(case, group=case.group or case.path), count_slices(f"{root}/{case.path}"))
        elif kind == "dicom":
            opened = _from_header(root, case, label)
            out += opened
            if not opened:
                blind.append(case.path)
        else:
            out.append(case)
    text = f"{len(blind)} DICOM files hold no image (reports, presentation states) and are left out: {some(blind)}"
    return out, [Finding("no-image", "note", text, figures={"files": len(blind)})] if blind else []


def _numbered(case: Case, count: int) -> list[Case]:
    return [replace(case, id=f"{case.path}#{k}", path=f"{case.path}#{k}") for k in range(count)]


def _from_header(root: Path, case: Case, label: str) -> list[Case]:
    try:
        header = read_header(f"{root}/{case.path}", [*HEADER, *([label] if label else [])])
    except DataError:
        return [case]  # reading its pixels will fail too, and the audit lists it
    if "SOPClassUID" not in header:
        return [case]

    def cell(keyword: str) -> str:
        return str(header.get(keyword) or "").strip()

    if "Rows" not in header:
        return []
    filled = replace(
        case,
        group=case.group or cell("PatientID"),
        source=case.source or cell("InstitutionName") or cell("StationName"),
        sex=case.sex or sex(cell("PatientSex")),
        age=age(cell("PatientAge")) if case.age is None else case.age,
        view=case.view or cell("ViewPosition"),
    )
    if label:
        filled = replace(filled, labels=(cell(label),) if cell(label) else None)
    frames = int(header.get("NumberOfFrames") or 1)
    return _numbered(filled, frames) if frames > 1 else [filled]


def age(text: str) -> float | None:
    """Years from "54", "54.5", "054Y", "18M" or "10D"; None for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([YMWD]?)\s*", text.upper())
    if not match or (not match[2] and float(match[1]) > 130):  # without a unit it is years, and nobody is so old
        return None
    return float(match[1]) * YEARS[match[2] or "Y"]


def sex(text: str) -> str:
    """ "M" or "F" from the ways tables write it; empty for anything else."""
    word = text.strip().lower()
    return {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F", "w": "F"}.get(word, "")


def close(root: Path, cases: Sequence[Case], findings: Iterable[Finding]) -> Manifest:
    """The manifest, once it holds cases of two classes, or boxes.

    Raises:
        DataError: no case, or all of one class.
    """
    if not cases:
        raise DataError(f"{root}: no images found; {LAYOUTS}")
    answers = {case.labels for case in cases if case.labels is not None}
    if len(answers) < 2 and not any(case.boxes for case in cases):
        only = "|".join(next(iter(answers))) or "none" if answers else "not assessed"
        raise DataError(f"{root}: all {len(cases)} cases are of one class ({only}), and a model needs two; {LAYOUTS}")
    return Manifest(root=root, cases=tuple(cases), findings=(*findings, *_notices(cases)))


def _notices(cases: Sequence[Case]) -> list[Finding]:
    out = []
    if unsure := [case.id for case in cases if case.labels is None]:
        text = f"{len(unsure)} cases are not assessed: they take no part in training or scoring"
        out.append(Finding("not-assessed", "note", text, tuple(unsure)))
    alone = [case.id for case in cases if not case.group]
    if 0 < len(alone) < len(cases):
        text = f"{len(alone)} of {len(cases)} cases name no person; each counts as a person of its own"
        out.append(Finding("no-person", "look", text, tuple(alone)))
    persons = defaultdict(set)
    for case in cases:
        for name in case.labels or ():
            persons[name].add(case.group)
    if len(persons) > 2 and all(len(groups) == 1 and "" not in groups for groups in persons.values()):
        text = f"each of the {len(persons)} class folders holds one person: are the folders persons, not classes?"
        out.append(Finding("classes-are-persons", "stop", text))
    return out
