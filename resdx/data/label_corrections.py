"""Decisions about labels that people doubted, in a CSV kept beside the data.

It is read by every scan and never applied silently.

    case,sha256,decision,label,by,note
    p012_0.png,9f86d0...,relabel,opacity,A. Reader,missed behind the heart

`decision` is keep, relabel or exclude; an empty one is still open. `sha256` is of the file, so that a decision about one
picture is
not applied to another that has taken its name. `label` holds the right one ("|" between several, "none" for none).
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from ..errors import DataError
from ..transforms.readers.paths import split_index
from .cases import Case, Finding, Manifest
from .sources.tables import DECISIONS

COLUMNS = ("case", "sha256", "decision", "label", "by", "note")
CHOICES = ("keep", "relabel", "exclude")


@dataclass(frozen=True)
class Decision:
    """What somebody decided about the label of one case.

    `labels` are the right ones where it is relabelled.
    """

    case: str
    sha256: str
    decision: Literal["keep", "relabel", "exclude"]
    labels: tuple[str, ...] = ()
    by: str = ""
    note: str = ""


def find_decisions(*folders: Path) -> Path | None:
    """The label-decisions.csv of the data's folder or the run's store. Raises DataError for two of them."""
    found = sorted({(folder / DECISIONS).resolve() for folder in folders if (folder / DECISIONS).is_file()})
    if len(found) > 1:
        raise DataError(f"there are two tables of decisions, {found[0]} and {found[1]}; put their rows into one")
    return found[0] if found else None


def read_decisions(path: Path) -> tuple[Decision, ...]:
    """The decisions of a CSV, those still open left out.

    Raises:
        DataError: no table there, a column is missing, or a row makes no sense or stands twice; the line is named.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(keepends=True), restval="", strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV table in UTF-8 ({error}); save it again") from error
    header = rows[0].keys() if rows else next(csv.reader(text.splitlines()), [])
    if missing := [name for name in COLUMNS[:4] if name not in header]:
        raise DataError(f"{path} has no column {missing[0]!r}; decisions need {', '.join(COLUMNS[:4])}")
    out = [one for line, row in enumerate(rows, 2) if (one := _decision(row, f"{path}, line {line}"))]
    if twice := [case for case, count in Counter(one.case for one in out).items() if count > 1]:
        raise DataError(f"{path} decides about {twice[0]!r} more than once; keep one row a case")
    return tuple(out)


def _decision(row: dict[str, str], where: str) -> Decision | None:
    case, sha256, decision, label, by, note = ((row.get(name) or "").strip() for name in COLUMNS)
    if not decision:
        return None
    if decision not in CHOICES:
        raise DataError(f"{where}: the decision is {decision!r}; it must be keep, relabel or exclude, or empty while it is open")
    if not case or not sha256:
        raise DataError(f"{where}: a decision needs the case and the sha256 of its file; copy them from suspects.csv")
    if decision == "relabel" and not label:
        raise DataError(f"{where}: relabel needs a label; write `none` where the case has none of the classes")
    labels = () if label == "none" else tuple(one.strip() for one in label.split("|") if one.strip())
    chosen = cast(Literal["keep", "relabel", "exclude"], decision)
    return Decision(case, sha256, chosen, labels if decision == "relabel" else (), by, note)


def apply_decisions(manifest: Manifest, decisions: Sequence[Decision]) -> tuple[Manifest, tuple[Finding, ...]]:
    """The manifest with labels changed as decided, and what a reader of the report must know of it.

    An excluded case stays in the manifest as not assessed: nothing is learnt from it or measured on it, but it still shows
    which persons and pictures belong together. A decision about a case that is not there, or whose file is another one by
    now, is not applied and is a finding to look at.

    Raises:
        DataError: a label that no case of the manifest has.
    """
    by_id, classes = manifest.by_id, set(manifest.classes)
    absent = [one for one in decisions if one.case not in by_id]
    there = [one for one in decisions if one.case in by_id]
    other = [one for one in there if file_hash(manifest.root, by_id[one.case]) != one.sha256]
    valid = {one.case: one for one in there if one not in other}
    for one in valid.values():
        if strange := sorted(set(one.labels) - classes):
            raise DataError(
                f"{DECISIONS}: {one.case} is to become {strange[0]!r}, but the data knows {', '.join(sorted(classes))}"
            )
    cases = tuple(_settled(case, valid.get(case.id)) for case in manifest.cases)
    findings = (
        *_applied(manifest, list(valid.values())),
        *_unused("decisions-without-case", absent, "name a case that is not there"),
        *_unused("decisions-out-of-date", other, "were made about another file than the one that has this name now"),
    )
    return replace(manifest, cases=cases), findings


def _settled(case: Case, one: Decision | None) -> Case:
    if one is None or one.decision == "keep":
        return case
    if one.decision == "exclude":
        return replace(case, labels=None, unknown=())
    return replace(case, labels=one.labels, unknown=tuple(name for name in case.unknown if name not in one.labels))


def _applied(manifest: Manifest, valid: Sequence[Decision]) -> tuple[Finding, ...]:
    """A note for each kind of decision that was followed."""
    out = []
    for code, choice, what in (
        ("labels-changed", "relabel", "have another label than the data gives them"),
        ("labels-excluded", "exclude", "are left out"),
        ("labels-kept", "keep", "were doubted and keep their label"),
    ):
        some = [one for one in valid if one.decision == choice]
        if not some:
            continue
        who = ", ".join(f"{name or 'nobody named'} {count}" for name, count in Counter(one.by for one in some).most_common())
        moved = Counter((labels_text(manifest.by_id[one.case].labels or ()), labels_text(one.labels)) for one in some)
        moves = "; ".join(f"{old} to {new} {count}" for (old, new), count in moved.most_common()) if choice == "relabel" else ""
        text = f"{len(some)} cases {what}, as {DECISIONS} decides (by {who}){': ' + moves if moves else ''}."
        out.append(Finding(code, "note", text, tuple(one.case for one in some), {"cases": float(len(some))}))
    tested = [one.case for one in valid if one.decision != "keep" and manifest.by_id[one.case].part == "test"]
    if tested:
        text = f"{len(tested)} of these cases stand in the test part that the data ships, which is no longer the one that others "
        text += f"have measured on: {', '.join(tested[:3])}{' ...' if len(tested) > 3 else ''}."
        out.append(Finding("test-part-changed", "look", text, tuple(tested), {"cases": float(len(tested))}))
    return tuple(out)


def _unused(code: str, some: Sequence[Decision], why: str) -> tuple[Finding, ...]:
    if not some:
        return ()
    text = f"{len(some)} decisions of {DECISIONS} {why}, first {some[0].case}; they were not applied."
    return (Finding(code, "look", text, tuple(one.case for one in some), {"decisions": float(len(some))}),)


def labels_text(labels: Sequence[str]) -> str:
    """Labels as the table holds them."""
    return "|".join(labels) or "none"


def file_hash(root: Path, case: Case) -> str:
    """sha256 of the file a case lies in (of the whole file where it holds several).

    Empty when it cannot be read.
    """
    try:
        return hashlib.sha256(Path(split_index(str(root / case.path))[0]).read_bytes()).hexdigest()
    except OSError:
        return ""
