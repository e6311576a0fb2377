"""Who each case shows: persons and near-duplicates joined into units that a split keeps together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from .cases import Case


def units(cases: Sequence[Case], clusters: Collection[Collection[str]]) -> list[int]:
    """One number a case; cases of one person or one duplicate cluster share it, transitively."""
    parent = list(range(len(cases)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    position = {case.id: i for i, case in enumerate(cases)}
    first: dict[str, int] = {}
    for i, case in enumerate(cases):
        if case.group:
            parent[find(i)] = find(first.setdefault(case.group, i))
    for cluster in clusters:
        members = [position[case] for case in cluster if case in position]
        for member in members[1:]:
            parent[find(member)] = find(members[0])
    return [find(i) for i in range(len(cases))]


def persons(cases: Sequence[Case], clusters: Collection[Collection[str]]) -> dict[str, str]:
    """Who each case shows, one name a unit: its group, "P1 (and 2 more)" where near-duplicates join
    groups, else its first case.
    """
    unit = units(cases, clusters)
    members: dict[int, list[Case]] = defaultdict(list)
    for case, number in zip(cases, unit, strict=True):
        members[number].append(case)
    name = {number: _who(those) for number, those in members.items()}
    return {case.id: name[number] for case, number in zip(cases, unit, strict=True)}


def _who(cases: Sequence[Case]) -> str:
    groups = tuple(dict.fromkeys(case.group for case in cases if case.group))
    if groups:
        return groups[0] if len(groups) == 1 else f"{groups[0]} (and {len(groups) - 1} more)"
    return f"case {cases[0].id}" if len(cases) == 1 else f"like {cases[0].id}"


def count_persons(cases: Iterable[Case]) -> int:
    """Persons among `cases`; a case without a group counts as a person of its own."""
    return len({case.group or f"case {case.id}" for case in cases})
