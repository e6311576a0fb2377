"""The records every stage speaks in: cases, boxes, findings, manifests and predictions.

`manifest.csv` is both what `scan` writes and what a user may bring. Its columns: `id`, `group` (person, slide, lesion,
speaker: the unit of splitting), `path` (below the root; `volume.nii.gz#12` is slice 12, `set.npz#train/7` image 7),
`labels` (`|` between several, `?` for not assessed, empty for none of the classes), `unknown` (classes not assessed),
`source`, `age`, `sex`, `view`, `part` (train, val or test where the data set ships one) and `boxes`; any other column
is kept as it is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError, count

Grade = Literal["stop", "look", "note"]

COLUMNS = ("id", "group", "path", "labels", "unknown", "source", "age", "sex", "view", "part", "boxes")
NOT_ASSESSED = "?"
SHIPPED_PARTS = ("", "train", "val", "test")


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled rectangle in pixels of the file: 0-based, `x2` and `y2` just outside.

    `score` is how sure a network is of it; of a truth 1.
    """

    label: str
    x1: float
    y1: float
    x2: float
    y2: float
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """One image (or slice, recording, row) of one person.

    `group` is empty where no person is known. `labels=None` means not assessed, which is never counted as negative;
    `unknown` names single classes that were not assessed (multi-label tasks). `part` is a part the data set ships.
    `age` is in years.
    """

    id: str
    path: str
    group: str = ""
    labels: tuple[str, ...] | None = None
    unknown: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    source: str = ""
    age: float | None = None
    sex: str = ""
    view: str = ""
    part: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The one label of a single-label case; empty when not assessed or none."""
        return self.labels[0] if self.labels else ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that an audit, scan or split noticed.

    `grade` is stop (settle or accept it), look (judge it) or note. `text` is one or two sentences for a person; `cases` the
    ids concerned (all of them, the page shows some); `figures` the numbers behind it, by name.
    """

    code: str
    grade: Grade
    text: str
    cases: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Plain data for audit.json."""
        return {
            "code": self.code,
            "grade": self.grade,
            "text": self.text,
            "cases": list(self.cases),
            "figures": dict(self.figures),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Finding:
        """The inverse of `to_json`."""
        return cls(**{**data, "cases": tuple(data["cases"])})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one case.

    `probabilities` are calibrated, by class; `label` is a tuple where several may be present. `label=None` refers the case
    to a person, and `flags` say why. `conformal`
    is the set of classes that cannot be ruled out at the stated level. Where the file could not be read, `error` says why,
    and there are no probabilities.
    """

    case: str
    probabilities: Mapping[str, float]
    label: str | tuple[str, ...] | None
    conformal: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    run: str = ""
    error: str = ""


@dataclass(frozen=True)
class Manifest:
    """Cases below one root folder, in a fixed order, with what the scan noticed."""

    root: Path
    cases: tuple[Case, ...]
    licence: str = ""
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        twice = [case_id for case_id, often in Counter(case.id for case in self.cases).items() if often > 1]
        if twice:
            also = f", and so do {count(len(twice) - 1, 'other')}" if len(twice) > 1 else ""
            raise DataError(f"the id {twice[0]!r} stands for more than one case{also}; make the id column unique")

    def __len__(self) -> int:
        return len(self.cases)

    @cached_property
    def by_id(self) -> dict[str, Case]:
        """Cases by id."""
        return {case.id: case for case in self.cases}

    @property
    def grouped(self) -> bool:
        """True when every case names its person."""
        return all(case.group for case in self.cases)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Labels that occur, sorted."""
        return tuple(sorted({label for case in self.cases for label in case.labels or ()}))

    @cached_property
    def sha256(self) -> str:
        """Hash of the table, without the root: the same data in another place has the same hash."""
        return hashlib.sha256(self.to_csv().encode()).hexdigest()

    def to_csv(self) -> str:
        """The table as text."""
        extra = sorted({key for case in self.cases for key in case.extra})
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*COLUMNS, *extra])
        for case in self.cases:
            writer.writerow([*_row(case), *(case.extra.get(key, "") for key in extra)])
        return out.getvalue()

    @classmethod
    def read(cls, path: Path, *, root: Path | None = None) -> Manifest:
        """Read a manifest.csv; paths in it are below `root` (default: the folder of the file).

        Raises:
            DataError: no table there, a column is missing or doubled, or a value does not fit; the line is named.
        """
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8 CSV") from error
        try:
            rows = list(csv.reader(io.StringIO(text)))
        except csv.Error as error:
            raise DataError(f"{path} is not a CSV table ({error}); save it again") from error
        if not rows:
            raise DataError(f"{path} is empty; it needs a header with at least path and labels")
        header = [name.strip() for name in rows[0]]
        if doubled := [name for name, count in Counter(header).items() if count > 1 and name]:
            raise DataError(f"{path}: column {doubled[0]!r} occurs {header.count(doubled[0])} times; rename one")
        for needed in ("path", "labels"):
            if needed not in header:
                raise DataError(f"{path}: no column {needed!r} (there are {', '.join(header)}); a manifest needs path and labels")
        cases = [
            _case(dict(zip(header, row, strict=False)), f"{path}, line {line}")
            for line, row in enumerate(rows[1:], 2)
            if any(value.strip() for value in row)
        ]
        if not cases:
            raise DataError(f"{path} has a header but no rows")
        return cls(root=root or path.parent, cases=tuple(cases))


def _row(case: Case) -> list[str]:
    labels = NOT_ASSESSED if case.labels is None else "|".join(case.labels)
    boxes = json.dumps([[b.label, b.x1, b.y1, b.x2, b.y2] for b in case.boxes]) if case.boxes else ""
    age = "" if case.age is None else f"{case.age:g}"
    return [
        case.id,
        case.group,
        case.path,
        labels,
        "|".join(case.unknown),
        case.source,
        age,
        case.sex,
        case.view,
        case.part,
        boxes,
    ]


def _case(row: dict[str, str], where: str) -> Case:
    def cell(name: str) -> str:
        return (row.get(name) or "").strip()

    if not cell("path"):
        raise DataError(f"{where}: the path is empty")
    if cell("part") not in SHIPPED_PARTS:
        raise DataError(f"{where}: part is {cell('part')!r}; it must be empty, train, val or test")
    try:
        age = float(cell("age")) if cell("age") else None
        boxes = tuple(map(_box, json.loads(cell("boxes")))) if cell("boxes") else ()
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{where}: age or boxes cannot be read ({error}); give age in years and boxes as scan writes them"
        ) from error
    return Case(
        id=cell("id") or cell("path"),
        path=cell("path"),
        group=cell("group"),
        labels=None if cell("labels") == NOT_ASSESSED else _split(cell("labels")),
        unknown=_split(cell("unknown")),
        boxes=boxes,
        source=cell("source"),
        age=age,
        sex=cell("sex"),
        view=cell("view"),
        part=cell("part"),
        extra={key: value for key, value in row.items() if key not in COLUMNS and key},
    )


def _box(told: list[Any]) -> Box:
    """A box of a table. Raises ValueError or TypeError where it is none."""
    label, x1, y1, x2, y2 = str(told[0]), *(one if isinstance(one, int) else float(one) for one in told[1:5])
    if not (label and x2 > x1 and y2 > y1 and all(map(math.isfinite, (x1, y1, x2, y2)))):
        raise ValueError(f"{told} is no name with x1, y1, x2, y2, the second pair larger")
    return Box(label, x1, y1, x2, y2)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())
