"""Questions about persons: across parts and classes, without ids, or hidden in file names."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from ...errors import count
from ...metrics.estimate import Estimate
from ..cases import Finding, Grade
from ..sources.listing import person_patterns, search_all, some
from .confounders import restarts, same_or_not
from .evidence import Evidence, across_parts, examples, gather, with_several


def persons_across_parts(evidence: Evidence) -> Iterable[Finding]:
    """An id that two shipped parts share is a leak.

    Unless its images are no more alike than those of any two persons.
    """
    members = gather((case.group, case.id) for case in evidence.cases if case.group and case.part)
    parts = {case.id: case.part for case in evidence.cases if case.part}
    shared = with_several(list(members.values()), parts)
    if not shared:
        return
    alike = _likeness(evidence, shared, {case.id: case.group for case in evidence.cases})
    code, note = "persons-across-parts", ""
    if restarts(alike):
        code = "id-may-restart"
        note = (
            f"Pictures that share an id are no more alike than others (AUROC {alike}), so the numbering may start again in "
            "each part. "
        )
    elif alike.low is not None and alike.low > 0.5:
        note = f"Pictures that share an id are more alike than others (AUROC {alike}). "
    elif alike.value is not None:
        note = (
            f"Whether pictures that share an id are more alike than others is not shown (AUROC {alike}), so they count as the "
            "same persons. "
        )
    finding = across_parts(evidence, shared, code, f"{count(len(shared), 'person id')} in two shipped parts", note)
    figures = {**finding.figures, **({"auroc": alike.value} if alike.value is not None else {})}
    yield Finding(finding.code, finding.grade, finding.text, finding.cases, figures)


def _likeness(evidence: Evidence, shared: Sequence[Sequence[str]], person: Mapping[str, str]) -> Estimate:
    """Image pairs that share a person, against pairs that do not.

    Of two shipped parts where there are such; the others come from the same parts and the same classes.
    """
    draw = np.random.default_rng(0)
    strangers = gather(((case.part, case.label), case) for case in evidence.cases)
    pairs, others = [], []
    for ids in shared[:PAIRS]:
        one, *rest = evidence.of(ids)
        two = next((case for case in rest if case.part != one.part), rest[0])
        pairs.append((evidence.row[one.id], evidence.row[two.id]))
        pool = strangers[two.part, two.label]
        drawn = (pool[k] for k in draw.integers(len(pool), size=TRIES))
        if other := next((case for case in drawn if person.get(case.id) != person[one.id]), None):
            others.append((evidence.row[one.id], evidence.row[other.id]))
    if not others:
        return Estimate(None, None, None, 0)
    return same_or_not(evidence.looks, pairs, others)


def persons_across_classes(evidence: Evidence) -> Iterable[Finding]:
    """A person with two classes.

    Labels contradict each other where the class is the person's; it is expected where it is the image's.
    """
    assessed = [case for case in evidence.cases if case.labels is not None and case.group]
    if any(len(case.labels or ()) != 1 for case in assessed):
        return  # several labels a case: they may differ between images
    members = gather((case.group, case.id) for case in assessed)
    several = [ids for ids in members.values() if len(ids) > 1]
    labels = {case.id: case.label for case in assessed}
    mixed = with_several(several, labels)
    if not mixed:
        return
    share = len(mixed) / len(several)
    single = len(members) - len(mixed)
    text = f"{len(mixed)} of {count(len(members), 'person')} with cases of several classes, {single} with one class only. "
    if share > BY_NATURE:
        text += "The class is the image's, not the person's; judge figures over persons."
    else:
        text += f"Where the class should be the person's, one label is wrong: {examples(mixed, labels)}."
    ids = tuple(case for group in mixed for case in group)
    figures = {"persons": len(mixed), "one_class": single, "share": share}
    yield Finding("persons-across-classes", "note" if share > BY_NATURE else "look", text, ids, figures)


def person_ids(evidence: Evidence) -> Iterable[Finding]:
    """Cases without a person, and classes with too few persons to test."""
    without = [case.id for case in evidence.cases if not case.group]
    if without:
        text = (
            f"{len(without)} of {count(len(evidence.cases), 'case')} without a person, so each cluster of near-duplicates "
            "counts as one; "
        )
        text += "images of one person that look different can still be in two parts. Give the group column if you can."
        yield Finding("no-person-id", "note", text, tuple(without), {"cases": len(without)})
        if len(without) == len(evidence.cases):
            yield from persons_in_names(evidence)
    for name in evidence.manifest.classes:
        ids = [case.id for case in evidence.cases if name in (case.labels or ())]
        persons = len({evidence.person[one] for one in ids})
        if persons >= FEW:
            continue
        text = f"Class {name!r} has {count(persons, 'person')} ({count(len(ids), 'case')}): "
        text += "too few to train and test on; leave it out or merge it." if persons < FEWEST else "too few for an interval."
        grade: Grade = "stop" if persons < FEWEST else "look"
        yield Finding("too-few-persons", grade, text, tuple(ids), {"persons": persons, "cases": len(ids)})


def persons_in_names(evidence: Evidence) -> Iterable[Finding]:
    """Persons whom nobody gave and files seem to name.

    Cases share a folder or the beginning of a name, and names or likeness speak for it.
    """
    files = [case.path for case in evidence.manifest.cases]  # all of them: a pattern has to catch them all
    most = max(FEW, 2 * len(evidence.manifest.classes) + 1)  # more than classes
    for pattern, told in person_patterns(files, fewest=most).items():
        caught = search_all(pattern, files)
        name = {case.id: caught[case.path][1] for case in evidence.cases}
        members = gather((one, case) for case, one in name.items())
        several = sorted((ids for ids in members.values() if len(ids) > 1), key=len)
        alike = _likeness(evidence, several, name)
        shown = alike.low is not None and alike.low > 0.5
        if not several or not (told or shown):  # those that share a name may all be unreadable
            continue
        usual, largest = several[len(several) // 2], several[-1]
        text = (
            f"{len(members)} names may be persons, such as {name[usual[0]]!r} with {count(len(usual), 'case')} "
            f"({some(usual)}); the most, {len(largest)}, has {name[largest[0]]!r}. "
        )
        text += f"Cases that share one are more alike than others of their class (AUROC {alike}). " if shown else ""
        text += (
            "If they are, keep each on one side of the split, by the column of a table that names the person, or with --set "
            f"source.group={shlex.quote(pattern)}"
        )
        figures = {"persons": len(members), **({"auroc": alike.value} if alike.value is not None else {})}
        yield Finding("names-may-be-persons", "look", text, tuple(chain(*several)), figures)
        return


PAIRS, TRIES = 1000, 20  # ids that are looked at to tell whether what shares one is alike, and draws of a stranger for each
FEWEST, FEW = 3, 10  # persons in a class: training is impossible, no interval can be given
BY_NATURE = 0.2  # share of the persons with several cases that have several classes, from which the class is not the person's
