"""Tables beside the images.

Either a row is a case, or rows are facts that are joined to cases which folders have already classed.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import DataError, RecipeError
from ...records import Count, record
from ...transforms.readers.paths import DICOM_SUFFIXES, NIFTI_SUFFIXES, PICTURE_SUFFIXES
from ..cases import Case, Finding, Manifest
from .listing import (
    PARTS,
    age,
    check_pattern,
    close,
    home,
    list_images,
    open_up,
    sex,
    some,
    with_groups,
)

Pairs = tuple[tuple[str, str], ...]
Row = dict[str, str]

SUFFIXES = (*NIFTI_SUFFIXES, *PICTURE_SUFFIXES, *DICOM_SUFFIXES)
DECISIONS = "label-decisions.csv"  # may lie beside a table without being one (see decisions.py)


@record
class Table:
    """A CSV with a row an image. Fields from `path` to `part` name its columns.

    With `header=False` these are "1", "2" ...

    `path` holds a file name below `folder`, matched as it stands, then without its suffix. A row with two images (a
    person's eyes) has `sides`: pairs of a path and a label column.

    A label cell is looked up in `rename`, else it is not assessed where empty or where a regular expression of `unknown`
    is found in it, else it gives every class of `patterns` (class, regular expression) found in it, else it is the class
    itself. Patterns ignore case. Rows are kept where each column named first in `where` has one of the values after it.

    `group_pattern` cuts the person out of the group column, or out of the file name where `group` is empty; `pairs=2`
    gives one person to the numbers 2n - 1 and 2n at its end.
    """

    file: str = ""
    path: str = "path"
    label: str = ""
    group: str = ""
    source: str = ""
    age: str = ""
    sex: str = ""
    view: str = ""
    part: str = ""
    folder: str = ""
    header: bool = True
    group_pattern: str | None = None
    pairs: Count = 1
    rename: Pairs = ()
    patterns: Pairs = ()
    unknown: tuple[str, ...] = ()
    where: tuple[tuple[str, ...], ...] = ()
    sides: Pairs = ()

    def __post_init__(self) -> None:
        check_pattern(self.group_pattern)
        for pattern in (*self.unknown, *(pattern for _name, pattern in self.patterns)):
            check_pattern(pattern, brackets=False)

    def scan(self, root: Path) -> Manifest:
        if not (self.label or self.sides):
            raise RecipeError(f"Table({self.file!r}) names no label column, so it can only be joined to folders")
        file = self.file or (root.name if root.is_file() else "")
        root = home(root)
        files, findings = list_images(root)
        rows, more = replace(self, file=file).join(root, files)
        cases, blind = open_up(root, [rows[file] for file in files if file in rows])
        return close(root, cases, [*(f for f in findings if f.code != "ignored-files"), *more, *blind])

    def join(self, root: Path, files: Sequence[str]) -> tuple[dict[str, Case], list[Finding]]:
        """What the table knows of `files`, and what does not fit.

        Rows without a file, files without a row, doubled rows.

        Raises:
            DataError: the table cannot be read, a column is missing, or no row names one of the files.
        """
        name, table = find_table(root, self.file)
        rows = read_rows(table, header=self.header)
        self._check_columns(name, rows)
        here = [file for file in files if file.startswith(f"{self.folder}/") or not self.folder]
        lookup = _Lookup(here, self.folder)
        sides = self.sides or ((self.path, self.label),)
        entries = [(row, row[path], label) for row in rows for path, label in sides]
        placed = [(row, lookup(cell), label) for row, cell, label in entries]
        missing = [cell for (_row, cell, _label), (_same, file, _) in zip(entries, placed, strict=True) if not file]
        if len(missing) == len(entries):
            raise DataError(
                f"{name}: none of its {len(entries)} rows names an image below {root / self.folder} (the first says "
                f"{missing[0]!r}); check the path column and the folder"
            )
        kept = [self._case(row, file, label) for row, file, label in placed if file and self._wanted(row)]
        cases, doubled = _merge(name, kept)
        listed = {file for _row, file, _label in placed}
        orphans = [file for file in here if file not in listed]
        left_out = sum(1 for row, file, _label in placed if file and not self._wanted(row))
        findings = [
            _count("rows-without-file", "look", missing, f"of {len(entries)} rows in {name} name a file that is not there"),
            _count("files-without-row", "look", orphans, f"of {len(here)} files have no row in {name}", cases=orphans),
            _count("rows-left-out", "note", [""] * left_out, f"rows of {name} are left out by the recipe's filter"),
            _count("joined-by-stem", "note", lookup.by_stem, f"rows of {name} fit their file only without the suffix"),
        ]
        return self._grouped(cases), [f for f in (*findings, *doubled) if f]

    def _check_columns(self, name: str, rows: Sequence[Row]) -> None:
        used = [self.group, self.source, self.age, self.sex, self.view, self.part, *(clause[0] for clause in self.where)]
        used += [column for side in self.sides for column in side] if self.sides else [self.path, self.label]
        if absent := [column for column in used if column and column not in rows[0]]:
            raise DataError(f"{name}: no column {absent[0]!r} (there are {', '.join(rows[0])})")

    def _wanted(self, row: Row) -> bool:
        return all(row[column] in values for column, *values in self.where)

    def _case(self, row: Row, file: str, label: str) -> Case:
        def cell(column: str) -> str:
            return row[column] if column else ""

        return Case(
            id=file,
            path=file,
            group=cell(self.group),
            labels=self._labels(cell(label)),
            source=cell(self.source),
            age=age(cell(self.age)),
            sex=sex(cell(self.sex)),
            view=cell(self.view),
            part=PARTS.get(cell(self.part).lower(), ""),
        )

    def _labels(self, text: str) -> tuple[str, ...] | None:
        if text in (rename := dict(self.rename)):
            return (rename[text],) if rename[text] else ()  # an empty name in `rename` says: assessed, and none of the classes
        if not text or any(re.search(pattern, text, re.IGNORECASE) for pattern in self.unknown):
            return None  # not assessed
        if not self.patterns:
            return (text,)
        return tuple(dict.fromkeys(name for name, pattern in self.patterns if re.search(pattern, text, re.IGNORECASE)))

    def _grouped(self, cases: dict[str, Case]) -> dict[str, Case]:
        if self.group_pattern and not self.group:
            cases = {case.path: case for case in with_groups(list(cases.values()), self.group_pattern)}
        elif self.group_pattern:
            cases = {file: replace(case, group=self._cut(case.group)) for file, case in cases.items()}
        if self.pairs > 1:
            cases = {file: replace(case, group=_paired(case.group, self.pairs)) for file, case in cases.items()}
        return cases

    def _cut(self, cell: str) -> str:
        match = re.search(self.group_pattern or "()", cell)
        if cell and not (match and any(match.groups())):
            raise DataError(f"the pattern {self.group_pattern!r} misses {cell!r} in column {self.group!r}; widen it")
        return "-".join(filter(None, match.groups())) if match else ""


def joined(case: Case, row: Case) -> Case:
    """`case` with what a row knows beyond it; the case's own label and part stay."""
    return replace(
        case,
        group=row.group or case.group,
        source=row.source or case.source,
        age=case.age if row.age is None else row.age,
        sex=row.sex or case.sex,
        view=row.view or case.view,
    )


def read_rows(table: Path, *, header: bool = True) -> list[Row]:
    """Rows by column name, without the spaces around cells; columns without a name are left out.

    Raises:
        DataError: no such file, not UTF-8, empty, or a column name occurs twice.
    """
    try:
        text = table.read_bytes().decode("utf-8-sig")
        first = text.split("\n", 1)[0]
        # whatever separates most in the first line
        rows = list(csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count)))
    except OSError as error:
        raise DataError(f"{table} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 text (byte {error.start}); save it as UTF-8 CSV") from error
    except csv.Error as error:
        raise DataError(f"{table} is not a CSV table ({error}); save it again") from error
    cells = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if len(cells) <= header:
        raise DataError(f"{table} has no rows{' below its header' if cells else ''}; give it a header and a row for each image")
    names = cells[0] if header else [str(k + 1) for k in range(len(cells[0]))]
    if twice := [name for name, count in Counter(filter(None, names)).items() if count > 1]:
        raise DataError(f"{table}: column {twice[0]!r} occurs {names.count(twice[0])} times; rename one")
    width = len(names)
    filled = (row + [""] * (width - len(row)) for row in (cells[1:] if header else cells))
    return [{name: cell for name, cell in zip(names, row, strict=False) if name} for row in filled]


def find_column(columns: Iterable[str], names: Sequence[str]) -> str:
    """The column called like the earliest of `names` (spaces, case and signs apart); empty where none is."""
    plain = {re.sub(r"[^a-z]", "", column.lower()): column for column in columns}
    return next((plain[name] for name in names if name in plain), "")


def find_table(root: Path, file: str) -> tuple[str, Path]:
    """Name and path of the table `file`, or of the only one in `root`."""
    if file:
        return file, root / file
    there = (path.name for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv") and path.is_file())
    tables = sorted(name for name in there if name != DECISIONS)
    if len(tables) != 1:
        raise DataError(f"{root} holds {len(tables) or 'no'} tables ({some(tables)}); name the one to read with Table(file=...)")
    return tables[0], root / tables[0]


class _Lookup:
    """From a path cell of a table to a file.

    It is looked for as it stands below the folder, by its name anywhere below, then without its suffix.
    """

    def __init__(self, files: Iterable[str], folder: str) -> None:
        self.prefix = f"{folder}/" if folder else ""
        self.files = set(files)  # as it stands
        self.names = _unique((file.rpartition("/")[2], file) for file in self.files)
        self.stems = _unique((_stem(file), file) for file in self.files)
        self.by_stem: list[str] = []

    def __call__(self, cell: str) -> str:
        exact = self.prefix + cell.replace("\\", "/").removeprefix("./")
        if exact in self.files:
            return exact
        if named := self.names.get(cell, ""):
            return named
        if found := self.stems.get(_stem(cell), "") if cell else "":  # only where one file has that stem
            self.by_stem.append(cell)
        return found


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names that stand for one file only."""
    pairs = list(pairs)
    times = Counter(name for name, _file in pairs)
    return {name: file for name, file in pairs if times[name] == 1}


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def _merge(name: str, cases: Sequence[Case]) -> tuple[dict[str, Case], list[Finding | None]]:
    """One case a file. Rows that disagree on the label leave it not assessed."""
    merged: dict[str, Case] = {}
    doubled: list[str] = []
    torn: dict[str, None] = {}
    for case in cases:
        first = merged.setdefault(case.path, case)
        if first is case:
            continue
        doubled.append(case.path)
        if first.labels != case.labels:
            torn[case.path] = None
        merged[case.path] = joined(case, first)
    for file in torn:
        merged[file] = replace(merged[file], labels=None)  # rows that disagree: nobody knows
    return merged, [
        _count("doubled-rows", "note", doubled, f"rows of {name} repeat a file that an earlier row names"),
        _count(
            "conflicting-rows",
            "look",
            list(torn),
            f"files have rows of different labels in {name}: taken as not assessed",
            cases=list(torn),
        ),
    ]


def _count(code: str, grade: str, names: Sequence[str], text: str, *, cases: Sequence[str] = ()) -> Finding | None:
    if not names:
        return None
    examples = f": {some(dict.fromkeys(names))}" if any(names) else ""
    return Finding(code, grade, f"{len(names)} {text}{examples}", tuple(cases), {"count": len(names)})  # type: ignore[arg-type]


def _paired(group: str, pairs: int) -> str:
    """The person of a name by its last number: `mdb003` and `mdb004` -> `mdb2` with pairs=2.

    Of numbers counted from 1, `pairs` in a row are one person's.
    """
    match = re.search(r"\d+(?=\D*$)", group)
    if not match:
        raise DataError(f"{group!r} holds no number, so it cannot be counted in {pairs}s; check group and group_pattern")
    return group[: match.start()] + str((int(match[0]) - 1) // pairs + 1)
