"""What two sets of cases have in common: byte-identical and nearly identical pictures, and persons.

Without this an "external" validation may judge a model on pictures that it has learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..data.audit.confounders import restarts, same_or_not
from ..data.audit.file_facts import Facts
from ..data.audit.near_duplicates import find_duplicates, spectrum, thumbnail
from ..data.cases import Case, Manifest
from ..data.split import PARTS
from ..metrics.estimate import Estimate
from .prepared import Prepared
from .run import Run


@dataclass(frozen=True)
class Elsewhere:
    """Cases of another place, as the run's recipe reads them."""

    name: str
    manifest: Manifest
    facts: tuple[Facts, ...]
    unreadable: tuple[tuple[str, str], ...]
    prepared: Prepared

    @property
    def content(self) -> dict[str, str]:
        """sha256 of each readable case."""
        return {fact.case: fact.sha256 for fact in self.facts}


@dataclass(frozen=True)
class Shared:
    """What the two sets have in common.

    (case there, case of the run), person ids, and near-duplicates among the cases there.
    """

    exact: tuple[tuple[str, str], ...]
    near: tuple[tuple[str, str], ...]
    persons: tuple[str, ...]
    likeness: Estimate  # of pictures that share an id, against others
    clusters: tuple[tuple[str, ...], ...]

    @property
    def restarts(self) -> bool:
        """True where pictures that share an id are no more alike than others: the numbering may start again."""
        return restarts(self.likeness)


def find_shared(run: Run, own: Prepared, place: Elsewhere) -> Shared:
    """Pictures and persons that stand in a part of the run and in the other place too.

    Pictures are compared as the recipe prepares them, so that both are cut alike: byte-identical files, then
    near-duplicates as the
    audit finds them (docs/methods/evaluation.md, section 6).
    """
    ours = [case for part in PARTS for case in run.cases(part) if case.id in own.row]
    theirs = [case for case in place.manifest.cases if case.id in place.prepared.row]
    audited = {fact.case: fact for fact in run.audit.facts}
    seen = {fact.case: fact for fact in place.facts}
    facts = [*(audited[case.id] for case in ours), *(seen[case.id] for case in theirs)]
    pictures = np.concatenate([prepared_thumbnails(own, ours), prepared_thumbnails(place.prepared, theirs)])
    copies: dict[str, list[int]] = {}
    for i, fact in enumerate(facts):
        copies.setdefault(fact.sha256, []).append(i)
    known = [members for members in copies.values() if len(members) > 1]
    found = find_duplicates(pictures, aspects=[fact.width / fact.height for fact in facts], known=known)
    exact = _across(known, ours, theirs)
    identical = {there for there, _ in exact}
    near = [pair for pair in _across(found, ours, theirs) if pair[0] not in identical]
    groups = {case.id: case.group for case in run.manifest.cases}
    ids, likeness = shared_persons([replace(case, group=groups[case.id]) for case in ours], theirs, pictures)
    clusters = [tuple(theirs[i - len(ours)].id for i in cluster if i >= len(ours)) for cluster in found]
    return Shared(tuple(exact), tuple(near), ids, likeness, tuple(one for one in clusters if len(one) > 1))


def prepared_thumbnails(prepared: Prepared, cases: Sequence[Case]) -> NDArray[np.uint8]:
    """(N, 64, 64) of cases as they were prepared."""
    rows = prepared.rows([case.id for case in cases])
    small = [thumbnail(prepared.images[row].astype(np.float32)) for row in rows]
    return np.stack(small) if small else np.zeros((0, 64, 64), np.uint8)


def _across(clusters: Sequence[Sequence[int]], ours: Sequence[Case], theirs: Sequence[Case]) -> list[tuple[str, str]]:
    """(case there, one case of ours) for every case there that stands in a cluster with one of ours.

    Ours are counted first.
    """
    out = []
    for cluster in clusters:
        first = min(cluster)  # ours come first in the numbering
        if first < len(ours):
            out += [(theirs[i - len(ours)].id, ours[first].id) for i in cluster if i >= len(ours)]
    return out


def shared_persons(ours: Sequence[Case], theirs: Sequence[Case], pictures: NDArray[np.uint8]) -> tuple[tuple[str, ...], Estimate]:
    """Person ids of both sets, and whether pictures that share one are more alike than others.

    Docs/methods/evaluation.md, section 2.
    """
    # reversed, so that the first case of a person stays
    first = {case.group: i for i, case in reversed(list(enumerate(ours))) if case.group}
    there = {case.group: i for i, case in reversed(list(enumerate(theirs, len(ours)))) if case.group}
    ids = tuple(sorted(first.keys() & there.keys()))
    draw, pairs, others = np.random.default_rng(0), [], []
    for name in ids:
        one, two = first[name], there[name]
        pool = [  # strangers of the same labels, so that the class cannot make the difference
            i for i, case in enumerate(theirs, len(ours)) if case.group != name and case.labels == theirs[two - len(ours)].labels
        ]
        if pool:
            pairs.append((one, two))
            others.append((one, pool[draw.integers(len(pool))]))
    if not pairs:
        return ids, Estimate(None, None, None, 0, "not estimable: no pictures to compare with")
    embedding = spectrum(pictures)
    return ids, same_or_not(embedding - embedding.mean(0), pairs, others)  # less the mean, which all pictures of a kind share
