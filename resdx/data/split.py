"""Who may be learnt from and who judges: four parts by person, with duplicates together.

train (weights), tune (checkpoint, settings), calib (calibrator, thresholds, quantiles) and test (read once):
docs/methods/evaluation.md, section 1.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, count
from ..records import FractionBetween, Natural, record
from .cases import Case, Finding, Manifest
from .persons import count_persons, persons, units

PARTS = ("train", "tune", "calib", "test")
SHARES = (0.60, 0.10, 0.12, 0.18)  # of the persons; of what is left where the data set ships its test part
SEEN = "seen-in-pretraining"  # the code that lets a run test on what its starting weights have learnt from
FEW_CALIB = 100  # persons in calib, below which out-of-fold scores of all of train say more than a part of its own
TRIES = 32  # deals of which the most even one is kept
MOST_DEALT = 40_000  # persons in all deals together: a second or two
FEW_PERSONS = 3  # a class with fewer persons cannot be in train, calib and test

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """Which case is in which part ("" = left out), by what rule, and what was removed or leaks.

    `persons` is who each case shows, as intervals count it: its group, else its duplicate cluster, else the case alone;
    groups that near-duplicates join are one person.
    """

    parts: Mapping[str, str]
    persons: Mapping[str, str]
    rule: str
    seed: int
    fold: int | None = None
    findings: tuple[Finding, ...] = ()

    def ids(self, part: str) -> tuple[str, ...]:
        """Case ids of one part, in manifest order."""
        return tuple(case for case, name in self.parts.items() if name == part)

    def to_csv(self) -> str:
        """split.csv as text."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("id", "part", "person"))
        writer.writerows((case, part, self.persons[case]) for case, part in self.parts.items())
        return out.getvalue()


def split(
    manifest: Manifest,
    clusters: Collection[Collection[str]],
    *,
    exclude: Collection[str] = (),
    protocol: Literal["honest", "published", "assumed"] = "honest",
    published: PublishedSplit | None = None,
    seed: int = 0,
    fold: int | None = None,
    folds: int = 5,
    cross_fit: bool = False,
    learnt: Collection[str] = (),
) -> Split:
    """Divide the assessed cases of a manifest.

    Args:
        clusters: ids of cases that show nearly the same picture
        exclude: ids that cannot be used (unreadable)
        protocol: honest (by person, duplicates together), published (the paper's own) or assumed (images at random)
        fold: test on this fold of `folds` grouped folds instead of one part
        learnt: ids that the starting weights have seen; where the data ships no test part, an honest split keeps their
            persons in train
        cross_fit: out-of-fold scores are cheap: an honest split whose calib would hold fewer than 100 persons has train and
            test alone

    Raises:
        DataError: too few persons in a class, fewer persons than folds, or no shipped test part where the paper used one.
    """
    unusable = set(exclude)
    usable = [case for case in manifest.cases if case.labels is not None and case.id not in unusable]
    if protocol == "published" and published is None:
        raise DataError("the paper does not state its split; use --protocol assumed (random images 80/20, seed 42) or honest")
    # A case that is not used may still show that two persons are one.
    unit_of = dict(zip((case.id for case in manifest.cases), units(manifest.cases, clusters), strict=True))
    unit = [unit_of[case.id] for case in usable]
    if protocol == "honest":
        known = {unit_of[case] for case in learnt}
        parts, rule, findings = _honest(usable, unit, seed, fold, folds, cross_fit, known)
    elif isinstance(published, ShippedParts):
        shipped = {case.id: "test" if case.part == "test" else "" for case in usable}
        if not any(shipped.values()):
            raise DataError("the data ships no test part, which is what the paper tested on; use --protocol honest")
        parts, rule = _at_random(usable, shipped, 0.0, seed), "published: the shipped test part, the rest at random"
        findings = _leaks(usable, unit, parts)
    else:
        habit = published or RandomImages()
        parts = _at_random(usable, {}, habit.test, habit.seed)
        rule = f"{protocol}: random images {1 - habit.test:.0%}/{habit.test:.0%}, seed {habit.seed}"
        findings = _leaks(usable, unit, parts)
    _two_classes(usable, parts)
    if protocol == "honest" and (leaks := _leaks(usable, unit, parts)):
        raise AssertionError(f"an honest split leaks: {leaks[0].text}")  # cannot happen: units are whole
    everyone = {case.id: parts.get(case.id, "") for case in manifest.cases}
    who = persons(manifest.cases, clusters)
    return Split(everyone, who, rule, seed, fold, (*findings, *_joined(usable, who)))


def grouped_folds(cases: Sequence[Case], unit: Sequence[int], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold number a case: units whole, classes alike in each fold.

    Raises:
        DataError: fewer units (persons) than folds.
    """
    count = len(set(unit))
    if count < folds:
        raise DataError(f"{count} persons cannot make {folds} folds; use --folds {max(count, 2)} or fewer, or more data")
    return _deal(cases, unit, np.full(folds, 1 / folds), seed)


def part_hash(ids: Collection[str], content: Mapping[str, str]) -> str:
    """The name of a test part by what is in it.

    It is the hash of the sorted hashes of its files (or ids where a file has none).
    """
    return hashlib.sha256("\n".join(sorted(content.get(case, case) for case in ids)).encode()).hexdigest()


def _honest(
    cases: list[Case], unit: list[int], seed: int, fold: int | None, folds: int, cross_fit: bool, learnt: Collection[int]
) -> tuple[dict[str, str], str, tuple[Finding, ...]]:
    findings: list[Finding] = []
    shares, parts = np.array(SHARES), {}
    rest = list(range(len(cases)))
    shipped = {i for i, case in enumerate(cases) if case.part == "test"}
    touched = {unit[i] for i in shipped}
    rest = [i for i in rest if unit[i] not in touched]  # a person with one shipped test case is all test, or left out
    if removed := [case.id for i, case in enumerate(cases) if i not in shipped and unit[i] in touched]:
        text = (
            f"{len(removed)} cases outside the shipped test part share a person or a picture with it and were "
            f"left out of training."
        )
        findings.append(Finding("removed-from-training", "note", text, tuple(removed)))
    if fold is not None:
        if shipped:
            text = f"{len(shipped)} cases of the shipped test part are in no fold: they stay unseen."
            findings.append(Finding("test-part-kept", "note", text, tuple(cases[i].id for i in sorted(shipped))))
        number = dict(zip(rest, grouped_folds([cases[i] for i in rest], [unit[i] for i in rest], folds, seed), strict=True))
        if not 0 <= fold < folds:
            raise DataError(f"there is no fold {fold + 1} of {folds}; folds are counted from 1 to {folds}")
        parts = {cases[i].id: "test" for i in rest if number[i] == fold}
        rest = [i for i in rest if number[i] != fold]
        shares[3] = 0  # the fold is the test part
        rule = f"honest: fold {fold + 1} of {folds}, by person, stratified"
    elif shipped:
        parts = {cases[i].id: "test" for i in shipped}
        shares[3] = 0
        rule = "honest: the shipped test part as it is; train, tune and calib by person, stratified"
    else:
        rule = "honest: by person, stratified"
    if not any(case.group for case in cases):
        rule += "; no person ids, so near-duplicate clusters stand for persons"
    known = [i for i in rest if unit[i] in learnt]
    if known:
        rest = [i for i in rest if unit[i] not in learnt]
        parts |= {cases[i].id: "train" for i in known}
        findings.append(_seen([cases[i] for i in known], len({unit[i] for i in rest})))
        shares = shares / shares.sum() * (len(known) + len(rest))  # now in cases
        # What the known cases fill of the train part is not dealt again.
        shares[0] = max(0, shares[0] - len(known))
    left = [cases[i] for i in rest]
    # A shipped test part needs none of the persons that are left.
    _enough(left, [unit[i] for i in rest], FEW_PERSONS - bool(shipped), [cases[i] for i in known])
    dealt = _deal(left, [unit[i] for i in rest], shares / shares.sum(), seed)
    few = len({unit[i] for i, k in zip(rest, dealt, strict=True) if PARTS[k] == "calib"})
    if cross_fit and few < FEW_CALIB and not known:  # out-of-fold scores of what the weights have seen would flatter
        # The test part is the one that four parts would have had.
        dealt = np.where(dealt == PARTS.index("test"), dealt, PARTS.index("train"))
        rule = (
            f"{rule.replace('train, tune and calib', 'train')}; no tune and calib, which would hold {few} persons: "
            "cross-fitted out-of-fold scores of train take their place"
        )
    parts |= {case.id: PARTS[k] for case, k in zip(left, dealt, strict=True)}
    return parts, rule, tuple(findings)


def _seen(known: Sequence[Case], others: int) -> Finding:
    if others < 3 * FEW_PERSONS:
        raise DataError(
            f"the starting weights have learnt from all but {others} persons outside the test part, too few to "
            f"tune and calibrate on; "
            "start from other weights (--weights none)"
        )
    text = f"{len(known)} cases show persons or pictures that the starting weights have seen; they stand in train alone."
    return Finding(SEEN, "note", text, tuple(case.id for case in known))


def _enough(cases: Sequence[Case], unit: Sequence[int], least: int, seen: Sequence[Case]) -> None:
    persons: dict[str, set[int]] = {label: set() for case in seen for label in case.labels or ()}
    for case, number in zip(cases, unit, strict=True):
        for label in case.labels or ():
            persons.setdefault(label, set()).add(number)
    if not persons:
        raise DataError("no case outside the test part has a label; check the labels of the data")
    label, who = min(persons.items(), key=lambda item: len(item[1]))
    if len(who) < least:
        where = " that the starting weights have not seen" if seen else ""
        other = ", or start from other weights (--weights none)" if seen else ""
        raise DataError(
            f"class {label!r} has {count(len(who), 'person')} outside the test part{where}; it takes {least} at "
            f"least: merge or drop the class{other}"
        )


def _two_classes(cases: Sequence[Case], parts: Mapping[str, str]) -> None:
    """Raise DataError where calib holds one class alone.

    The calibration would stop there, after all of the training.
    """
    calib = [case.labels for case in cases if parts.get(case.id) == "calib"]
    if len(set(calib)) == 1 and len({case.labels for case in cases}) > 1:
        raise DataError(
            f"calib would hold {len(calib)} cases, all of class {'+'.join(calib[0] or ())!r}; there are too few "
            f"persons of the others: "
            "add some, or learn on frozen features, which needs no calib part (a variant such as plain:features)"
        )


def _deal(cases: Sequence[Case], unit: Sequence[int], shares: Floats, seed: int) -> NDArray[np.int64]:
    """A bin a case: units whole, every bin near its share of each class.

    Rare classes first and large units first, each unit to a bin by chance, in proportion to what the bin still misses of
    the rarest class the unit holds (after iterative stratification, Sechidis et al. 2011). Always taking the bin that misses
    most would send every person with many images to train, and leave calib with another kind of person. Of several such
    deals the most even one is kept: with few persons of several classes each, one deal alone is a matter of luck.
    """
    members = defaultdict(list)
    for i, number in enumerate(unit):
        members[number].append(i)
    tags = [case.labels or ("",) for case in cases]
    total = Counter(tag for tag_list in tags for tag in tag_list)
    names = {tag: k for k, tag in enumerate(sorted(total))}
    content = np.zeros((len(members), len(names) + 1))  # (U, K + 1): a unit's cases of each class, and all of them
    for row, indices in zip(content, members.values(), strict=True):
        for i in indices:
            row[-1] += 1
            for tag in tags[i]:
                row[names[tag]] += 1
    held = np.where(content[:, :-1] > 0, content[:, :-1].sum(0), np.inf)  # (U, K): cases in all of each class that a unit has
    chance = np.random.default_rng(seed).random(len(content))
    # lexsort's last key comes first: units with the rarest class, then the largest, then by chance.
    order = np.lexsort((chance, -content[:, -1], held.min(1)))
    draw = np.random.default_rng([seed, 1])
    tries = [_deal_once(content, held, order, shares, draw) for _ in range(max(1, min(TRIES, MOST_DEALT // len(content))))]
    choice = min(tries, key=lambda dealt: (_lacking(content, dealt, shares), _unevenness(content, dealt, shares)))
    out = np.zeros(len(cases), np.int64)
    for k, indices in enumerate(members.values()):
        out[indices] = choice[k]
    return out


def _deal_once(
    content: Floats, held: Floats, order: NDArray[np.int64], shares: Floats, draw: np.random.Generator
) -> NDArray[np.int64]:
    missing = shares[:, None] * content.sum(0)  # (bins, K + 1): cases that each bin still misses
    choice = np.zeros(len(content), np.int64)
    for k in order:
        need = np.clip(missing[:, held[k].argmin()], 0, None)
        need[missing[:, -1] < content[k, -1] / 2] = 0  # it would overflow
        if need.any():
            edges = np.cumsum(need)  # a draw from the bins with their need as weights
            choice[k] = np.searchsorted(edges, draw.random() * edges[-1], side="right")
        else:
            # no bin needs it: the one that is least full
            choice[k] = int(np.argmax(np.where(shares > 0, missing[:, -1], -np.inf)))
        missing[choice[k]] -= content[k]
    return choice


def _lacking(content: Floats, choice: NDArray[np.int64], shares: Floats) -> float:
    """Classes of which bins hold less than half the units due, and one at least.

    Each bin counts its share.

    Units, not cases: one person with hundreds of images fills a bin's share of a class and leaves nothing to resample. A rare
    class is missed least where the part is small.
    """
    has = content[:, :-1] > 0
    due = np.maximum(np.outer(shares, has.sum(0)) / 2, 1)  # (bins, K)
    got = np.stack([has[choice == k].sum(0) for k in range(len(shares))])
    return float(shares @ (got < due).sum(1))


def _unevenness(content: Floats, choice: NDArray[np.int64], shares: Floats) -> float:
    """Squared distance between what bins got and what they should have.

    Both are fractions, of each class and of all cases.
    """
    got = np.stack([content[choice == k].sum(0) for k in range(len(shares))]) / np.maximum(content.sum(0), 1)  # (bins, K + 1)
    return float(((got - shares[:, None]) ** 2).sum())


def _at_random(cases: Sequence[Case], fixed: Mapping[str, str], test: float, seed: int) -> dict[str, str]:
    """Images at random, int(test * n) of them for test, as the field does; `fixed` ones stay."""
    parts = {case: part for case, part in fixed.items() if part}
    free = [case.id for case in cases if case.id not in parts]
    free = [free[i] for i in np.random.default_rng(seed).permutation(len(free))]
    count = int(test * len(free))
    parts |= dict.fromkeys(free[:count], "test")
    rest = free[count:]
    shares = np.cumsum(np.array(SHARES[:3]) / sum(SHARES[:3]))  # cumulative shares of train, tune and calib without the test part
    edges = [0, *np.round(shares * len(rest)).astype(int)]
    for k, part in enumerate(PARTS[:3]):
        parts |= dict.fromkeys(rest[edges[k] : edges[k + 1]], part)
    return {case.id: parts[case.id] for case in cases}


def _joined(cases: Sequence[Case], who: Mapping[str, str]) -> tuple[Finding, ...]:
    """A note on groups that count as one person because near-duplicates join them."""
    groups: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.group:
            groups[who[case.id]].add(case.group)
    several = {person: names for person, names in groups.items() if len(names) > 1}
    if not several:
        return ()
    count = sum(map(len, several.values()))
    text = (
        f"{count} persons joined by near-duplicates of their pictures count as {len(several)}, in the parts "
        f"and in every interval."
    )
    return (Finding("persons-joined", "note", text, tuple(case.id for case in cases if who[case.id] in several)),)


def _leaks(cases: Sequence[Case], unit: Sequence[int], parts: Mapping[str, str]) -> tuple[Finding, ...]:
    where = defaultdict(set)
    for case, number in zip(cases, unit, strict=True):
        if parts.get(case.id):
            where[number].add(parts[case.id])
    across = {number for number, names in where.items() if "test" in names and len(names) > 1}
    leaking = tuple(case.id for case, number in zip(cases, unit, strict=True) if number in across and parts[case.id] == "test")
    if not leaking:
        return ()
    tested = [case for case in cases if parts[case.id] == "test"]
    text = (
        f"{len(leaking)} of {len(tested)} test cases ({count_persons(tested)} persons) share a person or a near-duplicate with "
        "training, tuning or calibration: the score is flattered."
    )
    return (Finding("split-leaks", "look", text, leaking),)


@record
class RandomImages:
    """The habit of the field: `test` of the images at random, whoever they show."""

    test: FractionBetween = 0.2
    seed: Natural = 42


@record
class ShippedParts:
    """The test part the data set ships, with whatever it shares with the rest."""


PublishedSplit = RandomImages | ShippedParts
