"""What the questions of an audit look at, and what they have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import count
from ..cases import Case, Finding, Manifest
from ..persons import units
from .file_facts import Look
from .near_duplicates import spectrum

SHOWN = 3  # examples in a sentence


@dataclass(frozen=True)
class Evidence:
    """Everything the questions look at; `exact` are clusters of byte-identical files."""

    manifest: Manifest
    seen: Look
    clusters: tuple[tuple[str, ...], ...]
    exact: tuple[tuple[str, ...], ...]

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """Readable cases, in the order of the facts."""
        return tuple(self.manifest.by_id[fact.case] for fact in self.seen.facts)

    @cached_property
    def row(self) -> dict[str, int]:
        """Row of each readable case."""
        return {case.id: i for i, case in enumerate(self.cases)}

    @cached_property
    def looks(self) -> NDArray[np.floating]:
        """(N, E) what each readable case looks like, less the mean."""
        found: NDArray[np.floating] = spectrum(self.seen.thumbnails)
        found -= found.mean(0)  # what all pictures have in common says nothing
        return found

    @cached_property
    def person(self) -> dict[str, int]:
        """A number for whom each case shows: cases of one person or one duplicate cluster share it."""
        return {case.id: unit for case, unit in zip(self.cases, units(self.cases, self.clusters), strict=True)}

    @cached_property
    def parts(self) -> dict[str, list[Case]]:
        """Readable cases of each shipped part; empty unless there are at least two."""
        parts = gather((case.part, case) for case in self.cases if case.part)
        return parts if len(parts) > 1 else {}

    def of(self, ids: Iterable[str]) -> list[Case]:
        """Cases by id."""
        return [self.manifest.by_id[one] for one in ids]


def across_parts(evidence: Evidence, sets: Sequence[Sequence[str]], code: str, what: str, note: str = "") -> Finding:
    """A leak between shipped parts, with the share of the test part it touches."""
    ids = [case for members in sets for case in members]
    parts = {case: evidence.manifest.by_id[case].part for case in ids}
    test = [case.id for case in evidence.cases if case.part == "test"]
    touched = sum(case.part == "test" for case in evidence.of(ids))
    share = touched / len(test) if test else 0.0
    text = f"{what}: {touched} of {count(len(test), 'test case')} touched ({share:.0%}), e.g. {examples(sets, parts)}. {note}"
    text += f"The honest split leaves the {count(len(ids) - touched, 'case')} outside the test part out of training."
    return Finding(
        code, "look", text, tuple(ids), {"sets": len(sets), "test": touched, "test_share": share, "dropped": len(ids) - touched}
    )


def gather(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    out: dict[Any, list[Any]] = defaultdict(list)
    for key, value in pairs:
        out[key].append(value)
    return dict(out)


def representatives(sets: Sequence[Sequence[str]]) -> dict[str, str]:
    return {case: members[0] for members in sets for case in members}


def with_several(sets: Sequence[Sequence[str]], value: Mapping[str, object]) -> list[Sequence[str]]:
    """Sets whose members, as far as `value` knows them, do not all have the same value."""
    return [members for members in sets if len({value[case] for case in members if case in value}) > 1]


def examples(sets: Sequence[Sequence[str]], value: Mapping[str, object]) -> str:
    """The first sets, by two members whose values differ."""
    shown = []
    for members in sets[:SHOWN]:
        one, *rest = [case for case in members if case in value]
        shown.append(f"{one} = {next(case for case in rest if value[case] != value[one])}")
    return "; ".join(shown) + (f" and {len(sets) - SHOWN} more" if len(sets) > SHOWN else "")
