"""Annotated electrocardiograms -> a Manifest whose cases are heartbeats, for ReadBeat to read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import MaxLen, MinLen
from numpy.typing import NDArray

from ...errors import DataError, count
from ...records import record
from ...transforms.readers import wfdb
from ...transforms.readers.paths import reading
from ...transforms.readers.recording import peakedness, read_recording
from ..cases import Case, Finding, Manifest
from .listing import age, close, sex, some

Pairs = tuple[tuple[str, str], ...]

AAMI: Pairs = (  # ANSI/AAMI EC57; paced and unclassifiable beats (Q) are left out, as it does
    *((symbol, "N") for symbol in "NLRej"),
    *((symbol, "S") for symbol in "AaJS"),
    *((symbol, "V") for symbol in "VE"),
    ("F", "F"),
)
# The division of de Chazal et al. 2004 by persons: DS1 to learn from and DS2 to judge, without the paced records.
DS1 = tuple(
    map(str, (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230))
)
DS2 = tuple(
    map(str, (100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234))
)
PACED = ("102", "104", "107", "217")
BESIDE = 2.0  # how much steeper the leads are where beats are annotated than between them, below which they are of something else
ENOUGH = 8  # heartbeats by which that can be judged
ENDS_EARLY = 10.0  # seconds without a heartbeat at the end of a recording
FINDINGS = {
    "record-without-annotations": "{records} without annotations ({some}), left out",
    "record-without-header": "{records} without a header, left out: {some} is not there; copy it too",
    "record-without-heartbeats": "{records} with annotations of no heartbeat: {some}; copy the annotations again",
    "broken-record": "{records} left out: {some}",
    "annotations-end-early": "annotations of {records} end before the recording: {some}; copy them again where they were cut off",
    "beats-beside-peaks": (
        "annotated beats of {records} do not lie on peaks of the signal: {some}; are the annotations of "
        "another "
        "record, or is "
        "the header's sampling rate wrong?"
    ),
}


@record
class Heartbeats:
    """The annotated beats of the WFDB records below a folder, a case each; the person is the record.

    `kinds` maps the symbols of annotations to classes; beats of other kinds are left out and counted. The records in `test` are
    the part that judges, those in
    `without` are left out: both only where all records are of that division. `same` says which records are of one person as
    another: 201 and 202 of the MIT-BIH Arrhythmia Database, for one. The division of de Chazal et al. 2004, train on DS1 and
    test on DS2, is the default.
    """

    kinds: tuple[tuple[Annotated[str, MinLen(1), MaxLen(1)], str], ...] = AAMI
    test: tuple[str, ...] = DS2
    without: tuple[str, ...] = PACED
    same: Pairs = (("202", "201"),)
    annotator: str = "atr"

    def scan(self, root: Path) -> Manifest:
        headers = _headers(root)
        of_the_division = {*DS1, *DS2, *PACED, *self.test, *self.without}
        divided = {path.stem for path in headers} <= of_the_division  # else records of other persons, some of them called alike
        headers = [path for path in headers if not (divided and path.stem in self.without)]
        samples = [path for path in sorted(root.rglob("*.dat")) if not path.name.startswith(".")]
        if not headers:
            what = (
                f"{samples[0].name} without its header {samples[0].stem}.hea"
                if samples
                else "no WFDB records (100.hea with 100.dat and 100.atr)"
            )
            raise DataError(f"{root} holds {what}")
        there = [path for path in headers if path.with_suffix(f".{self.annotator}").is_file()]
        if not there:
            raise DataError(
                f"{headers[0]} has no annotations beside it ({headers[0].stem}.{self.annotator}); to learn, beats must be "
                f"annotated"
            )
        told: dict[str, list[str]] = defaultdict(list)
        told["record-without-annotations"] = [path.name for path in headers if path not in there]
        told["record-without-header"] = [
            path.with_suffix(".hea").relative_to(root).as_posix()
            for path in samples
            if path.with_suffix(f".{self.annotator}").is_file()
            and not path.with_suffix(".hea").exists()
            and path.stem not in self.without
        ]
        cases, others, read = [], Counter[str](), list[Path]()
        for header in there:
            try:
                found, left = self._record(root, header, told)
            except DataError as error:
                told["broken-record"].append(str(error))
                continue
            read.append(header)
            cases += found
            others += left
        names = {path.stem for path in read}
        if not (divided and names & set(self.test) and names - set(self.test)):
            cases = [replace(case, part="") for case in cases]
        if not cases and told["broken-record"]:
            raise DataError(told["broken-record"][0])
        findings = [
            Finding(
                code,
                "look",
                text.format(records=count(len(told[code]), "record"), some=some(told[code])),
                figures={"records": len(told[code])},
            )
            for code, text in FINDINGS.items()
            if told[code]
        ]
        if others:
            shown = ", ".join(f"{number:,} of kind {symbol}" for symbol, number in others.most_common())
            text = f"{count(others.total(), 'heartbeat')} of kinds that are no class of the recipe, left out: {shown}"
            findings.append(Finding("other-heartbeats", "note", text, figures=dict(others)))
        if len(names) < len(read):  # called alike, in several folders
            cases = [replace(case, group=case.path.partition(".hea#")[0]) for case in cases]
        return close(root, cases, findings)

    def _record(self, root: Path, header: Path, told: dict[str, list[str]]) -> tuple[list[Case], Counter[str]]:
        """The cases of a record, in the part of the division, and how many beats of what kinds are none.

        What is odd goes into
        `told`.
        """
        with reading(str(header), "an annotated WFDB record"):
            seconds, symbols = wfdb.beats(str(header), self.annotator)
            said = wfdb.comments(str(header))
        if not len(seconds):
            told["record-without-heartbeats"].append(header.name)
        elif doubt := _doubt(header, seconds):
            told[doubt[0]].append(doubt[1])
        # MIT-BIH's first comment begins with age and sex, such as "69 M 1085 1629 x1".
        person = re.match(r"\s*(\d+)\s+([MF])\b", " ".join(said[:1]))
        name, kinds, below = header.stem, dict(self.kinds), header.relative_to(root).as_posix()
        part = "test" if name in self.test else "train"
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


def _headers(root: Path) -> list[Path]:
    """The headers of the records below a folder; those of the pieces of a record are none of their own."""
    found = sorted(path for path in root.rglob("*.hea") if not path.name.startswith("."))
    pieces = {piece for path in found for piece in _pieces(path)}
    return [path for path in found if path not in pieces]


def _pieces(header: Path) -> list[Path]:
    """The headers of the pieces that a record of several ("a/2 2 360 7200") is put together from."""
    rows = [line.split() for line in header.read_text(errors="replace").splitlines() if line.strip() and line[0] != "#"]
    return [header.with_name(f"{row[0]}.hea") for row in rows[1:]] if rows and "/" in rows[0][0] else []


def _doubt(header: Path, seconds: NDArray[np.float64]) -> tuple[str, str] | None:
    """Code of a finding, and what it says, where annotations do not fit the signal.

    A signal that cannot be read is the audit's
    to tell.
    """
    try:
        recording = read_recording(str(header))
    except DataError:
        return None
    inside = seconds[(seconds > 1) & (seconds < recording.seconds - 1)]
    leads = [lead for lead in recording.signal.T if not np.isnan(lead).all()]
    enough = len(inside) >= ENOUGH and recording.seconds > 2 and leads
    if enough and not any(peakedness(lead, recording.rate, inside) >= BESIDE for lead in leads):
        return "beats-beside-peaks", header.name
    if recording.seconds - seconds[-1] > ENDS_EARLY:
        return "annotations-end-early", f"{header.name} at {seconds[-1]:.1f} of {recording.seconds:.1f} s"
    return None
