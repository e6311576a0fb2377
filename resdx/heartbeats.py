"""Annotated electrocardiograms -> a Manifest whose cases are heartbeats, for ReadBeat to read."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from .cases import Case, Finding, Manifest
from .errors import DataError, RecipeError, count
from .listing import age, close, sex, some
from .records import record
from .steps.read import optional, reading

Pairs = tuple[tuple[str, str], ...]

AAMI: Pairs = (  # ANSI/AAMI EC57; paced and unclassifiable beats (Q) are left out, as it does
    *((symbol, "N") for symbol in "NLRej"),
    *((symbol, "S") for symbol in "AaJS"),
    *((symbol, "V") for symbol in "VE"),
    ("F", "F"),
)
DS1 = tuple(
    map(str, (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230))
)
DS2 = tuple(
    map(str, (100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234))
)
PACED = ("102", "104", "107", "217")


@record
@dataclass(frozen=True)
class Heartbeats:
    """The annotated beats of the WFDB records below a folder, a case each; the person is the record.

    `kinds` maps the symbols of annotations to classes; beats of other kinds are left out and counted. The records in `test` are the part that judges, those in
    `without` are left out: both only where all records are of that division. `same` says which records are of one person as another: 201 and 202 of the MIT-BIH Arrhythmia Database, for one.
    The division of de Chazal et al. 2004, train on DS1 and test on DS2, is the default.
    """

    kinds: Pairs = AAMI
    test: tuple[str, ...] = DS2
    without: tuple[str, ...] = PACED
    same: Pairs = (("202", "201"),)
    annotator: str = "atr"

    def __post_init__(self) -> None:
        if odd := [symbol for symbol, _ in self.kinds if len(symbol) != 1]:
            raise RecipeError(f"Heartbeats kinds are symbols of one letter and their classes, not {odd[0]!r}")

    def scan(self, root: Path) -> Manifest:
        headers = sorted(path for path in root.rglob("*.hea") if not path.name.startswith("."))
        of_the_division = {*DS1, *DS2, *PACED, *self.test, *self.without}
        divided = {path.stem for path in headers} <= of_the_division  # else records of other persons, some of them called alike
        headers = [path for path in headers if not (divided and path.stem in self.without)]
        if not headers:
            lone = next(root.rglob("*.dat"), None)
            what = (
                f"{lone.name} without its header {lone.stem}.hea"
                if lone
                else "no WFDB records (100.hea with 100.dat and 100.atr)"
            )
            raise DataError(f"{root} holds {what}")
        there = [path for path in headers if path.with_suffix(f".{self.annotator}").is_file()]
        if not there:
            raise DataError(
                f"{headers[0]} has no annotations beside it ({headers[0].stem}.{self.annotator}); to learn, beats must be annotated"
            )
        findings = []
        if gone := [path.name for path in headers if path not in there]:
            text = f"{count(len(gone), 'record')} without annotations ({some(gone)}), left out"
            findings.append(Finding("record-without-annotations", "look", text, figures={"records": len(gone)}))
        cases, others, names = [], Counter[str](), {path.stem for path in there}
        divided = divided and bool(names & set(self.test)) and bool(names - set(self.test))
        for header in there:
            found, left = self._record(root, header, divided)
            cases += found
            others += left
        if others:
            shown = ", ".join(f"{number:,} of kind {symbol}" for symbol, number in others.most_common())
            text = f"{count(others.total(), 'heartbeat')} of kinds that are no class of the recipe, left out: {shown}"
            findings.append(Finding("other-heartbeats", "note", text, figures=dict(others)))
        if len(names) < len(there):  # called alike, in several folders
            cases = [replace(case, group=case.path.partition(".hea#")[0]) for case in cases]
        return close(root, cases, findings)

    def _record(self, root: Path, header: Path, divided: bool) -> tuple[list[Case], Counter[str]]:
        """The cases of a record, in its part where there is a division, and how many beats of what kinds are none."""
        with reading(str(header), "an annotated WFDB record"):
            seconds, symbols = optional("ecg").beats(str(header), self.annotator)
            said = optional("ecg").comments(str(header))
        person = re.match(r"\s*(\d+)\s+([MF])\b", " ".join(said[:1]))
        name, kinds, below = header.stem, dict(self.kinds), header.relative_to(root).as_posix()
        part = "" if not divided else "test" if name in self.test else "train"
        cases = [
            Case(
                id=f"{below}#{second:.4f}",
                path=f"{below}#{second:.4f}",
                group=dict(self.same).get(name, name),
                labels=(kinds[symbol],),
                age=age(person[1]) if person else None,
                sex=sex(person[2]) if person else "",
                part=part,
                extra={"kind": symbol},
            )
            for second, symbol in zip(seconds, symbols, strict=True)
            if symbol in kinds
        ]
        return cases, Counter(symbol for symbol in symbols if symbol not in kinds)
