"""Data as it was downloaded -> a Manifest of cases, with what was odd about it as findings.

A source is a frozen record with `scan(root)`. Pictures are only listed; of DICOM files and volumes the header is read:
a DICOM file brings its person, hospital, sex, age and view along, and each frame or slice is a case of its own. Hidden
files and files that hold no image are ignored and counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ...errors import DataError, RecipeError
from ...records import Count, record
from ...transforms.readers.paths import file_kind, split_index
from ...transforms.readers.volume import in_order, path_of
from ..cases import Case, Finding, Manifest
from .listing import (
    PARTS,
    age,
    check_pattern,
    close,
    home,
    list_images,
    open_up,
    search_all,
    sex,
    some,
    with_groups,
)
from .tables import Table, joined

__all__ = [
    "Copies",
    "DicomFolder",
    "FilenamePattern",
    "FolderPerClass",
    "ManifestCsv",
    "Npz",
    "Scans",
    "Source",
    "Table",
    "Unlabelled",
]

Pairs = tuple[tuple[str, str], ...]

MOST_CLASSES = 100  # more folders than this are persons or studies, not classes
PATH_NAMES = ("path", "file", "filename", "filepath", "image", "imagename", "imageid", "imagepath", "img", "name", "id", "idcode")
LABEL_NAMES = ("labels", "label", "class", "diagnosis", "dx", "target", "finding", "category", "grade", "level")
GROUP_NAMES = ("group", "patient", "patientid", "person", "personid", "subject", "subjectid", "lesionid", "caseid")
NAMED = ("label", "group", "source", "part", "view", "sex", "age")


@runtime_checkable
class Source(Protocol):
    """What a recipe's `source` can do."""

    def scan(self, root: Path) -> Manifest:
        """List the cases below `root`. Raises DataError where they cannot be listed."""
        ...


@record
class FolderPerClass:
    """`class/.../file`, or `train/class/.../file` with the usual names of parts.

    Those are names people use (testing, valid, ...), in any case. `group` is a regular expression searched in the file name
    (in the path below the root when it holds a "/"); what its brackets catch, joined by "-", is the person. A file it misses
    is an error, since a wrong pattern invents or hides leaks. `rename` maps folder names to class names. One wrapper folder
    around all the rest is stepped into. `tables` add what they know of the files (person, age, sex, view, source); the class
    stays the folder's.
    """

    group: str | None = None
    rename: Pairs = ()
    tables: tuple[Table, ...] = ()

    def __post_init__(self) -> None:
        check_pattern(self.group)

    def scan(self, root: Path) -> Manifest:
        files, findings = list_images(root)
        places = class_and_part(files)
        rename = dict(self.rename)
        cases = [
            Case(id=file, path=file, labels=(rename.get(name, name),), part=part) for file, (name, part) in places.items() if name
        ]
        if loose := [file for file, (name, _part) in places.items() if not name]:
            text = f"{len(loose)} images lie in no class folder and are left out: {some(loose)}"
            findings.append(Finding("files-without-class", "look", text, tuple(loose)))
        cases = with_groups(cases, self.group)
        for table in self.tables:
            rows, more = table.join(root, [case.path for case in cases])
            cases = [joined(case, rows[case.path]) if case.path in rows else case for case in cases]
            findings += more
        cases, more = open_up(root, cases)
        return close(root, cases, [*findings, *more])


@record
class FilenamePattern:
    """Everything is in the name, taken apart by a regular expression.

    Its named groups are label, group, source, part, view, sex and age. It is searched in the file name, or in the path below
    the root when it holds a "/"; a file it misses is an error.
    """

    pattern: str
    rename: Pairs = ()

    def __post_init__(self) -> None:
        check_pattern(self.pattern, named=NAMED)
        if "label" not in re.compile(self.pattern).groupindex:
            raise RecipeError(f"the pattern {self.pattern!r} has no (?P<label>...), so no file would have a class")

    def scan(self, root: Path) -> Manifest:
        files, findings = list_images(root)
        rename = dict(self.rename)
        cases = []
        for file, match in search_all(self.pattern, files).items():
            fact = {name: match.groupdict().get(name) or "" for name in NAMED}
            labels = (rename.get(fact["label"], fact["label"]),) if fact["label"] else None
            case = Case(id=file, path=file, labels=labels, group=fact["group"], source=fact["source"], view=fact["view"])
            part = PARTS.get(fact["part"].lower(), "")
            cases.append(replace(case, part=part, sex=sex(fact["sex"]), age=age(fact["age"])))
        cases, more = open_up(root, cases)
        return close(root, cases, [*findings, *more])


@record
class DicomFolder:
    """DICOM files in any folders, whose class is a value of the header.

    `label` is the keyword of the field, such as BodyPartExamined.
    """

    label: str
    rename: Pairs = ()

    def scan(self, root: Path) -> Manifest:
        files, findings = list_images(root)
        dicom = [Case(id=file, path=file) for file in files if file_kind(f"{root}/{file}") == "dicom"]
        rename = dict(self.rename)
        cases, more = open_up(root, dicom, label=self.label)
        cases = [replace(case, labels=case.labels and tuple(rename.get(name, name) for name in case.labels)) for case in cases]
        return close(root, cases, [*findings, *more])


@record
class ManifestCsv:
    """A table in resdx's own columns (see cases.py): the one to bring your own data with."""

    file: str = "manifest.csv"

    def scan(self, root: Path) -> Manifest:
        table = root if root.is_file() else root / self.file
        whole = Manifest.read(table)
        whole = replace(whole, cases=tuple(replace(case, path=_below(case.path, home(root))) for case in whole.cases))
        there = [case for case in whole.cases if (home(root) / split_index(case.path)[0]).is_file()]
        gone = [case.path for case in whole.cases if not (home(root) / split_index(case.path)[0]).is_file()]
        if not there:
            raise DataError(
                f"{table}: none of its {len(gone)} files is there (the first is {gone[0]!r}); paths start at {home(root)}"
            )
        text = f"{len(gone)} of {len(whole)} rows in {table.name} name a file that is not there: {some(gone)}"
        findings = [Finding("rows-without-file", "look", text, figures={"count": len(gone)})] if gone else []
        return close(home(root), there, findings)


def _below(path: str, folder: Path) -> str:
    """A path as it is read from `folder`; absolute ones are rewritten, as many tables hold them."""
    return os.path.relpath(path, folder) if os.path.isabs(path) else path


@record
class Npz:
    """One .npz in the MedMNIST layout, with {train,val,test}_images and _labels.

    Labels are (N, 1), or (N, K) of 0 and 1 for K labels. `names` are the classes by number; without them they are "0", "1"
    ...
    """

    file: str = ""
    names: tuple[str, ...] = ()

    def scan(self, root: Path) -> Manifest:
        path = root if root.is_file() else root / (self.file or _only_npz(root))
        try:
            with np.load(path, allow_pickle=False) as arrays:
                labels = {part: arrays[f"{part}_labels"] for part in ("train", "val", "test") if f"{part}_images" in arrays}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(
                f"{path} is not an .npz in the MedMNIST layout ({error}); it needs train_images and train_labels"
            ) from error
        cases = [
            Case(id=(place := f"{path.name}#{part}/{k}"), path=place, labels=answer, part=part)
            for part, table in labels.items()
            for k, answer in enumerate(self._answers(path, table))
        ]
        return close(path.parent, cases, [])

    def _answers(self, path: Path, table: np.ndarray) -> Iterator[tuple[str, ...]]:
        table = table.reshape(len(table), -1).astype(int)
        several = table.shape[1] > 1
        count = table.shape[1] if several else int(table.max(initial=0)) + 1
        names = self.names or tuple(str(k) for k in range(count))
        if len(names) < count:
            raise DataError(f"{path} has {count} classes, but {len(names)} names are given; give one for each")
        for row in table:
            yield tuple(names[k] for k in np.flatnonzero(row)) if several else (names[row[0]],)


@record
class Copies:
    """Each picture of `source` and `copies` varied ones of it as cases.

    They are `film.png#0` to `film.png#4`, for ReadCopy to read. Offline augmentation before the split, to study what it
    leaks: only a split at random parts copies, since they share their picture's person, or the picture itself where none is
    known.
    """

    source: FolderPerClass
    copies: Count = 4

    def scan(self, root: Path) -> Manifest:
        whole = self.source.scan(root)
        if several := [case.path for case in whole.cases if "#" in case.path]:
            raise DataError(
                f"{several[0]} is one of several pictures in a file, of which Copies makes none; use the recipe without"
            )
        cases = tuple(
            replace(case, id=f"{case.id}#{k}", path=f"{case.path}#{k}", group=case.group or case.id)
            for case in whole.cases
            for k in range(self.copies + 1)
        )
        findings = tuple(
            replace(one, cases=tuple(f"{case}#{k}" for case in one.cases for k in range(self.copies + 1)))
            for one in whole.findings
        )
        return replace(whole, cases=cases, findings=findings)


@record
class Scans:
    """The slices of `source` as scans, for ReadScan to read.

    All that a person has in one folder or volume, of one class, are a case. What is known of a scan is what its first slice
    says; boxes, which lie in single slices, are left out.
    """

    source: FolderPerClass | FilenamePattern | DicomFolder | ManifestCsv | Table

    def scan(self, root: Path) -> Manifest:
        slices = self.source.scan(root)
        scans: dict[tuple[object, ...], list[Case]] = {}
        for case in slices.cases:
            # the volume, or the folder
            place = case.path.rpartition("#")[0] or case.path.rpartition("/")[0]
            scans.setdefault((place, case.group or case.id, case.labels), []).append(case)
        cases = [replace(members[0], path=self._path(slices.root, members), boxes=()) for members in scans.values()]
        became = {case.id: members[0].id for members in scans.values() for case in members}
        findings = tuple(
            replace(one, cases=tuple(dict.fromkeys(became.get(case, case) for case in one.cases))) for one in slices.findings
        )
        return replace(slices, cases=tuple(cases), findings=findings)

    @staticmethod
    def _path(root: Path, members: Sequence[Case]) -> str:
        """Below the root, slices in order."""
        place = {f"{root}/{case.path}": case.path for case in members}
        return path_of([place[one] for one in in_order(list(place))])


@record
class Unlabelled:
    """Every picture below a folder, of no class, for a pre-training without labels.

    `group` finds the person as in
    FolderPerClass.

    Without it, folders are persons where there are too many of them to be classes. A train, val or test folder is the part.
    """

    group: str | None = None

    def __post_init__(self) -> None:
        check_pattern(self.group)

    def scan(self, root: Path) -> Manifest:
        files, findings = list_images(root)
        places = class_and_part(files)
        persons = len({folder for folder, _ in places.values()}) > MOST_CLASSES
        found = with_groups([Case(id=file, path=file, part=part) for file, (_, part) in places.items()], self.group)
        cases, more = open_up(root, found)
        if persons:  # whom no header and no pattern names
            folder = {f"{root}/{file}": name for file, (name, _) in places.items()}
            cases = [replace(case, group=case.group or folder[split_index(f"{root}/{case.path}")[0]]) for case in cases]
        if not cases:
            raise DataError(f"{root}: no images found")
        return Manifest(root, tuple(cases), findings=(*findings, *more))


def class_and_part(files: Sequence[str]) -> dict[str, tuple[str, str]]:
    """file -> (class folder, part the set ships), either empty where the path has none."""
    folders = {file: file.split("/")[:-1] for file in files}
    # Folders that all files share are wrappers, up to one that is named like a part.
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


def _only_npz(root: Path) -> str:
    found = sorted(path.name for path in root.glob("*.npz"))
    if len(found) != 1:
        raise DataError(f"{root} holds {len(found) or 'no'} .npz files ({some(found)}); name the one to read")
    return found[0]
