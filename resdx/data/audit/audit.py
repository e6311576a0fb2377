"""What is wrong with a data set before anything is trained on it.

Files that cannot be read, the same picture twice (in two classes, under two persons, in two shipped parts), persons in two
parts or two classes, classes with too few persons, and whatever tells the class without the content: one source a class,
sizes, formats, colour modes, brightness. Findings of grade "stop" must be settled, or accepted by their code, before
training.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...transforms.readers.protocol import looks_alike
from ..cases import Finding, Manifest
from ..split import SEEN
from .checks import QUESTIONS
from .evidence import Evidence, gather
from .file_facts import (
    Facts,
    Progress,
    Read,
    from_columns,
    look,
    to_columns,
)
from .near_duplicates import find_duplicates

ACCEPTABLE = (  # codes of stops that a person may answer for; nothing can be trained where a class has too few persons
    "unreadable",
    "copies-across-classes",
    "classes-are-persons",
    "one-source-class",
    "source-determines-class",
    "file-determines-class",
    "recording-determines-class",
    "boxes-of-other-size",
    SEEN,
)


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    Findings, clusters of cases that show the same image, unreadable files with their errors, and facts of the others.
    """

    findings: tuple[Finding, ...]
    clusters: tuple[tuple[str, ...], ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    facts: tuple[Facts, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Plain data for audit.json; facts as columns."""
        return {
            "findings": [finding.to_json() for finding in self.findings],
            "clusters": [list(cluster) for cluster in self.clusters],
            "unreadable": [list(pair) for pair in self.unreadable],
            "facts": to_columns(self.facts),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Audit:
        """The inverse of `to_json`."""
        return cls(
            findings=tuple(Finding.from_json(finding) for finding in data["findings"]),
            clusters=tuple(tuple(cluster) for cluster in data["clusters"]),
            unreadable=tuple((case, text) for case, text in data["unreadable"]),
            facts=from_columns(data["facts"]),
        )


def audit(manifest: Manifest, read: Read, *, processes: int | None = None, progress: Progress | None = None) -> Audit:
    """Read every file of `manifest` once with `read` (a read step) and report what is wrong with the set.

    Args:
        read: a step; where its pictures of different persons look alike by nature (`look_alike`), only identical ones are
            duplicates
        processes: workers that read files; all cores by default
        progress: called with the number of files done and of all files
    """
    seen = look(
        {case.id: f"{manifest.root}/{case.path}" for case in manifest.cases}, read, processes=processes, progress=progress
    )
    facts = seen.facts
    # byte-identical
    exact = [members for members in gather((fact.sha256, i) for i, fact in enumerate(facts)).values() if len(members) > 1]
    aspects = [fact.width / fact.height for fact in facts]
    found = exact if looks_alike(read) else find_duplicates(seen.thumbnails, aspects=aspects, known=exact)
    clusters = tuple(tuple(facts[i].case for i in cluster) for cluster in found)
    evidence = Evidence(manifest, seen, clusters, tuple(tuple(facts[i].case for i in copies) for copies in exact))
    findings = [finding for question in QUESTIONS for finding in question(evidence)]
    order = {"stop": 0, "look": 1, "note": 2}
    return Audit(tuple(sorted(findings, key=lambda finding: order[finding.grade])), clusters, seen.unreadable, facts)


def open_stops(audit: Audit, accepted: Collection[str]) -> tuple[Finding, ...]:
    """The findings that stop training and whose code was not accepted."""
    return tuple(finding for finding in audit.findings if finding.grade == "stop" and finding.code not in accepted)
