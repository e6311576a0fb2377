"""The questions an audit asks: each looks at the evidence and gives its findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from ...errors import count
from ...transforms.readers.paths import split_index
from ..cases import Case, Finding, Grade
from ..sources.listing import some
from ..sources.pascal_voc import ANNOTATED
from ..tasks import MultiLabel, truth
from .confounders import tells_class
from .evidence import SHOWN, Evidence, across_parts, examples, representatives, with_several
from .person_checks import person_ids, persons_across_classes, persons_across_parts

UNREADABLE = 0.2  # share of the files from which the rest is not the data set any more
CONFLICTING = 0.02  # share of the files with a byte-identical copy in another class from which the labels cannot be trusted
MANY = 0.05  # share of near-duplicates worth a look
DETERMINES = 0.9  # lower bound of the AUROC from which a fact of the file determines the class
TELLS = 0.6  # lower bound from which it tells something
SKEWED = 3.0  # cases of the largest class for each of the smallest
MOVED = 0.05  # change of a class's share between shipped parts
HEARD = ("seconds", "loudness", "rate", "channels")  # what voices.Voices keeps of a recording


def _unreadable(evidence: Evidence) -> Iterable[Finding]:
    failed = evidence.seen.unreadable
    if failed:
        share = len(failed) / len(evidence.manifest)
        manifest, why = evidence.manifest, dict[str, str]()
        places = [split_index(f"{manifest.root}/{manifest.by_id[case].path}") for case, _ in failed]
        for (file, _), (_, reason) in zip(places, failed, strict=True):
            why.setdefault(file, reason)
        parts = any(index for _, index in places)  # heartbeats, slices, rows
        text = f"{len(failed)} of {count(len(manifest), 'case' if parts else 'file')} cannot be read, left out"
        text += f", of {count(len(why), 'file')}" if parts else ""
        text += f"; the first: {'; '.join(list(why.values())[: SHOWN if parts else 1])}."
        grade: Grade = "stop" if share > UNREADABLE else "look"
        yield Finding("unreadable", grade, text, tuple(case for case, _ in failed), {"count": len(failed), "share": share})


def _copies(evidence: Evidence) -> Iterable[Finding]:
    if evidence.exact:
        ids = [case for copies in evidence.exact for case in copies]
        spare = len(ids) - len(evidence.exact)  # all but one of each picture
        text = (
            f"{count(spare, 'byte-identical copy', 'byte-identical copies')} of another file "
            f"({count(len(evidence.exact), 'picture')} more than once). "
        )
        text += "A split keeps copies together; remove them where each picture should count once."
        yield Finding("exact-copies", "note", text, tuple(ids), {"copies": spare, "pictures": len(evidence.exact)})
    identical = representatives(evidence.exact)
    near = [cluster for cluster in evidence.clusters if len({identical.get(case, case) for case in cluster}) > 1]
    if near:
        ids = [case for cluster in near for case in cluster]
        share = len(ids) / len(evidence.cases)
        text = (
            f"{len(ids)} of {len(evidence.cases)} pictures ({share:.0%}) are nearly the same as another, in "
            f"{count(len(near), 'cluster')} "
        )
        text += (
            f"of up to {max(map(len, near))}: re-encoded, cropped, turned, or neighbouring slices. A split keeps each cluster "
            "together."
        )
        # Pictures of one person are expected to be alike; those of different persons, or of nobody known, are not.
        whose = {case.id: case.group or f"case {case.id}" for case in evidence.cases}
        across = sum(len(cluster) for cluster in near if len({whose[case] for case in cluster}) > 1) / len(evidence.cases)
        text += "" if across else " All are of one person each, as slices and repeated films are."
        figures = {"cases": len(ids), "clusters": len(near), "share": share}
        yield Finding("near-duplicates", "look" if across > MANY else "note", text, tuple(ids), figures)


def _copies_across(evidence: Evidence) -> Iterable[Finding]:
    """One picture in two classes, under two persons, in two shipped parts."""
    total = len(evidence.cases)
    labels = {case.id: frozenset(case.labels) for case in evidence.cases if case.labels is not None}
    if mixed := with_several(evidence.clusters, labels):
        exact = sum(len(copies) for copies in with_several(evidence.exact, labels))
        ids = [case for cluster in mixed for case in cluster]
        text = f"{count(len(mixed), 'picture')} under different labels ({exact} of the {len(ids)} files byte-identical): "
        text += f"{examples(mixed, labels)}. One of the labels is wrong; correct it or leave both out."
        figures = {"pictures": len(mixed), "cases": len(ids), "exact": exact, "share": len(ids) / total}
        grade: Grade = "stop" if exact / total > CONFLICTING else "look"
        yield Finding("copies-across-classes", grade, text, tuple(ids), figures)
    persons = {case.id: case.group for case in evidence.cases if case.group}
    if shared := with_several(evidence.clusters, persons):
        ids = [case for cluster in shared for case in cluster]
        text = f"{count(len(shared), 'picture')} under different persons: {examples(shared, persons)}. These may be one person; "
        text += "a split keeps all cases of such persons together."
        yield Finding("copies-across-persons", "look", text, tuple(ids), {"pictures": len(shared), "cases": len(ids)})
    parts = {case.id: case.part for case in evidence.cases if case.part}
    if across := with_several(evidence.clusters, parts):
        yield across_parts(
            evidence, across, "copies-across-parts", f"{count(len(across), 'picture')} nearly or exactly in two shipped parts"
        )


def _balance(evidence: Evidence) -> Iterable[Finding]:
    """Imbalance, cases that were not assessed, and shipped parts of another class balance."""
    unknown = [case.id for case in evidence.cases if case.labels is None]
    partly = [case.id for case in evidence.cases if case.labels is not None and case.unknown]
    if unknown or partly:
        text = (
            f"{count(len(unknown), 'case')} not assessed, without a part in anything; {len(partly)} more not assessed for "
            "some classes."
        )
        yield Finding("not-assessed", "note", text, (*unknown, *partly), {"cases": len(unknown), "partly": len(partly)})
    counts = Counter(label for case in evidence.cases for label in case.labels or ())
    if len(counts) > 1:
        (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
        if many > SKEWED * few:
            text = (
                f"{most!r} has {count(many, 'case')}, {least!r} {few:,} ({many / few:.1f} times fewer); accuracy alone will "
                "flatter."
            )
            yield Finding("imbalance", "note", text, (), dict(counts))
    if {"train", "test"} <= evidence.parts.keys():
        yield from _moved(evidence.parts["train"], evidence.parts["test"])


def _moved(train: Sequence[Case], test: Sequence[Case]) -> Iterable[Finding]:
    """Whether a class has another share in the shipped test part."""
    there, here = (Counter(label for case in part for label in case.labels or ()) for part in (train, test))
    names = sorted(there | here)
    table = np.array([[part[name] for name in names] for part in (there, here)], float)
    if len(names) < 2 or not table.sum(1).all():
        return
    shares = table / table.sum(1, keepdims=True)
    k = int(np.abs(shares[1] - shares[0]).argmax())
    if abs(shares[1, k] - shares[0, k]) > MOVED and chi2_contingency(table).pvalue < 0.01:  # large, and not by chance
        text = (
            f"The class balance of the shipped parts differs: {names[k]!r} is {shares[0, k]:.0%} of train and {shares[1, k]:.0%} "
        )
        text += "of test, so probabilities calibrated on train will be off; report the prior-corrected figures too."
        yield Finding("part-balance", "note", text, (), {"train": float(shares[0, k]), "test": float(shares[1, k])})


def _sources(evidence: Evidence) -> Iterable[Finding]:
    """Classes that come from one source only, and sources that tell the class."""
    assessed = [case for case in evidence.cases if case.labels is not None and case.source]
    sources = {case.source for case in assessed}
    names = sorted({label for case in assessed for label in case.labels or ()})
    if len(sources) < 2 or len(names) < 2:
        return
    for name in names:
        own = [case for case in assessed if name in (case.labels or ())]
        others = [case for case in assessed if name not in (*(case.labels or ()), *case.unknown)]
        if len({case.source for case in own}) > 1 or not others:
            continue
        alike = sum(case.source == own[0].source for case in others) / len(others)
        text = f"All {len(own)} cases of class {name!r} come from {own[0].source!r}, as do {alike:.0%} of the others: "
        text += "a model can tell the source instead of the disease. Add cases of that class from other sources."
        figures = {"cases": len(own), "others_from_there": alike}
        yield Finding("one-source-class", "stop" if alike < 0.5 else "look", text, tuple(case.id for case in own), figures)
    codes = {source: number for number, source in enumerate(sorted(sources))}
    table = np.array([[codes[case.source] == number for number in range(len(codes))] for case in assessed], float)
    yield from _telling(evidence, assessed, table, "source", "the source alone", DETERMINES)


def _files(evidence: Evidence) -> Iterable[Finding]:
    """Sizes, formats, modes and brightness that tell the class."""
    assessed = [case for case in evidence.cases if case.labels is not None]
    facts = [evidence.seen.facts[evidence.row[case.id]] for case in assessed]
    if not facts:
        return
    text = [[fact.format for fact in facts], [fact.mode for fact in facts]]
    coded = [np.unique(column, return_inverse=True)[1] for column in text]
    sizes = np.array([(fact.width, fact.height, fact.width / fact.height, fact.bits) for fact in facts], float)
    table = np.column_stack([sizes, *coded]).astype(float)
    yield from _telling(evidence, assessed, table, "file", "size, format and colour mode of the file alone", DETERMINES)
    brightness = np.array([[fact.brightness] for fact in facts])
    yield from _telling(evidence, assessed, brightness, "brightness", "mean brightness alone", np.inf)


def _recordings(evidence: Evidence) -> Iterable[Finding]:
    """Duration, loudness, sampling rate and channels of recordings that tell the class."""
    assessed = [case for case in evidence.cases if case.labels is not None]
    try:
        told = {case.id: [float(case.extra[key]) for key in HEARD] for case in assessed if case.extra.keys() >= set(HEARD)}
    except ValueError:  # columns of a table of the user's own, which only happen to be called so
        return
    if heard := [case for case in assessed if case.id in told]:
        table = np.array([told[case.id] for case in heard])
        yield from _telling(evidence, heard, table, "recording", "duration, loudness, rate and channels alone", DETERMINES)


def _telling(
    evidence: Evidence, cases: Sequence[Case], table: NDArray[np.float64], code: str, what: str, stop: float
) -> Iterable[Finding]:
    """One finding on the class that `table` tells best; its lower bound decides the grade."""
    names = evidence.manifest.classes
    known = dict(zip(names, truth(MultiLabel(), names, cases).T, strict=True))
    if len(known) == 2 and (np.add(*known.values()) == 1).all():
        known.popitem()  # the other one's mirror image
    found = tells_class(table, known, [evidence.person[case.id] for case in cases])
    told = {name: area for name, area in found.items() if area.low is not None and area.low > TELLS}
    if not told:
        return
    name, area = max(told.items(), key=lambda pair: pair[1].low or 0)
    low, high, value = area.low or 0.0, area.high or 1.0, area.value or 0.0
    figures = {"auroc": value, "low": low, "high": high, "classes": len(told)}
    said = f"{what[0].upper()}{what[1:]} tells class {name!r} from the rest with AUROC {area}"
    if low > stop:
        text = (
            f"{said}: the {code} determines the class, so a good score says nothing about the disease. Balance the sources, "
            "or accept the code."
        )
        yield Finding(f"{code}-determines-class", "stop", text, (), figures)
    else:
        more = f" ({len(told)} classes are told)" if len(told) > 1 else ""
        text = f"{said}{more}. A model must do clearly better than that; "
        text += "it may be content." if stop > 1 else "prepare all images alike and look at the controls."
        yield Finding(f"{code}-tells-class", "look", text, (), figures)


def _boxes(e: Evidence) -> Iterable[Finding]:
    sizes = [f"{fact.width}x{fact.height}" for fact in e.seen.facts]
    other = [case for case, size in zip(e.cases, sizes, strict=True) if case.extra.get(ANNOTATED, size) not in (size, "")]
    if other:
        shown = f"{other[0].id} is {sizes[e.row[other[0].id]]}, its boxes are of {other[0].extra[ANNOTATED]}"
        text = (
            f"{count(len(other), 'picture')} of another size than the one that the boxes were drawn on: {shown}. Were they "
            "resized or turned? The boxes lie elsewhere."
        )
        yield Finding("boxes-of-other-size", "stop", text, tuple(case.id for case in other))
    outside = [
        case.id
        for case, fact in zip(e.cases, e.seen.facts, strict=True)
        if any(min(b.x1, b.y1) < -1 or b.x2 > fact.width + 1 or b.y2 > fact.height + 1 for b in case.boxes)
    ]
    if outside:
        text = (
            f"{count(len(outside), 'picture')} with boxes that reach out of it: {some(outside)}. They are cut to the picture, "
            "or lost."
        )
        yield Finding("boxes-outside", "look", text, tuple(outside))


QUESTIONS = (
    _unreadable,
    _copies,
    _copies_across,
    persons_across_parts,
    persons_across_classes,
    person_ids,
    _balance,
    _sources,
    _files,
    _recordings,
    _boxes,
)
