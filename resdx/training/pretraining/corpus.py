"""The corpus of a pre-training: which cases of which data sets, and what was left out and why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...data.audit.audit import Audit
from ...data.audit.confounders import restarts
from ...data.audit.file_facts import Facts
from ...data.audit.near_duplicates import find_duplicates
from ...data.cases import Case
from ...data.persons import persons, units
from ...data.tasks import target, truth
from ...errors import DataError, count
from ...models.packed import Seen
from ...runs.overlap import prepared_thumbnails, shared_persons
from ...runs.prepared import Prepared, prepared_of
from ...runs.provenance import hash_bytes, learnt_before
from ...runs.run import Run
from ...transforms.augment import case_keys
from ...transforms.image import Resize

RESERVED = 5  # one person in so many is never learnt from
SHIPPED = "shipped test part"
SHOWN = 3  # examples in a sentence


@dataclass(frozen=True)
class Member:
    """An audited run whose data is to be learnt from.

    Its `name` in the corpus, its `licence`, and its `weight` in the draw of cases.
    """

    run: Run
    name: str
    licence: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Pool:
    """What is learnt from one data set.

    Case ids, rows of the prepared pictures, width over height of the files, keys for random draws, and targets (N, outputs)
    with NaN where unknown; rows, truth and persons of the `reserved` cases, which are only scored; how many cases are not
    used, and why; sha256 and perceptual hash (N, 32) of every case that is learnt from.
    """

    member: Member
    pictures: Prepared
    ids: tuple[str, ...]
    rows: NDArray[np.int64]
    aspects: tuple[float, ...]
    keys: NDArray[np.uint64]
    targets: NDArray[np.float32]
    reserved: NDArray[np.int64]
    reserved_truth: NDArray[np.float32]
    reserved_persons: tuple[str, ...]
    left_out: Mapping[str, int]
    sha256: NDArray[np.uint8]
    perceptual: NDArray[np.uint8]

    @property
    def outputs(self) -> int:
        """Logits of its head."""
        recipe = self.member.run.recipe
        return recipe.task.outputs(recipe.classes)


@dataclass(frozen=True)
class Corpus:
    """Several pools, learnt from together."""

    pools: tuple[Pool, ...]
    failures: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return sum(len(pool.rows) for pool in self.pools)

    @cached_property
    def first(self) -> tuple[int, ...]:
        """The first column of each pool in the common logits, and their number."""
        return tuple(np.cumsum([0, *(pool.outputs for pool in self.pools)]).tolist())

    @cached_property
    def chance(self) -> NDArray[np.float64]:
        """The fraction of draws from each pool: the square root of its size times its weight.

        So small sets count too.
        """
        shares = np.array([pool.member.weight * len(pool.rows) ** 0.5 for pool in self.pools])
        return np.asarray(shares / shares.sum())

    @cached_property
    def sha256(self) -> str:
        """Hash of what is learnt from, in its order, with its targets."""
        found = hashlib.sha256()
        for pool in self.pools:
            found.update(pool.sha256.tobytes() + pool.keys.tobytes() + pool.targets.tobytes())
        return found.hexdigest()

    def outputs(self, pool: int) -> slice:
        """The columns of the common logits that belong to a pool."""
        return slice(self.first[pool], self.first[pool + 1])

    def draw(self, size: int, seed: int, step: int) -> list[tuple[int, NDArray[np.int64]]]:
        """The cases of a step, pool by pool: (pool, places in it); the same whenever it is asked."""
        rng = np.random.default_rng([seed, step])
        # cases of each pool in this step
        often = np.bincount(rng.choice(len(self.pools), size, p=self.chance), minlength=len(self.pools))
        return [(k, rng.integers(len(self.pools[k].rows), size=n)) for k, n in enumerate(often) if n]

    def table(self) -> list[dict[str, object]]:
        """A row a data set, for the card and for corpus.json."""
        manifests = [pool.member.run.manifest for pool in self.pools]
        return [
            {
                "name": pool.member.name,
                "licence": pool.member.licence or manifest.licence or "not stated",
                "persons_named": manifest.grouped,
                "cases": len(pool.rows),
                "reserved": len(pool.reserved),
                "left_out": dict(pool.left_out),
                "share_of_draws": round(float(share), 4),
                "classes": list(pool.member.run.recipe.classes),
                "manifest": manifest.sha256,
            }
            for pool, share, manifest in zip(self.pools, self.chance, manifests, strict=True)
        ]


def is_reserved(name: str) -> bool:
    """True for one person in five, by the sha256 of the name: reserved, never learnt from.

    So every set keeps persons to test on.
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()) % RESERVED == 0  # 256 bits modulo 5 are even enough


def gather(
    members: Sequence[Member], size: int, *, targets: Sequence[Run] = (), labels: bool = True, known: Seen | None = None
) -> Corpus:
    """Read, sort out and prepare every set at `size` pixels.

    Left out: unreadable files, cases without a label (where `labels` count), the shipped test part and whatever shares a person
    or a picture with it, one person in five, and pictures that another set keeps for a test.

    Args:
        targets: runs with a split, with whose test part the corpus must share no picture and no person known: what the
            starting weights have learnt from; reserved pictures of it are left out, those of a target's test part refused

    Raises:
        DataError: a set or `known` holds a picture or a person of a target's test part (both are named), or nothing is left
            of a set.
    """
    if twice := [m.name for i, m in enumerate(members) if m.name in {other.name for other in members[:i]}]:
        raise DataError(f"two sets are called {twice[0]}; name them NAME=DATA")
    found = [member.run.audit for member in members]
    sorted_out = [sort_out(m.run.manifest.cases, a, labels=labels) for m, a in zip(members, found, strict=True)]
    for k in range(len(members)):
        _leave_to_others(k, sorted_out, found)
    for parts, audited in zip(sorted_out, found, strict=True):
        before = learnt_before(known, audited.facts)
        parts["reserved, but seen by the starting weights"] = [case for case in parts["reserved"] if case.id in before]
        parts["reserved"] = [case for case in parts["reserved"] if case.id not in before]
    _refuse_known(known, targets)
    pools = tuple(_pool(m, parts, a, size) for m, parts, a in zip(members, sorted_out, found, strict=True))
    for pool in pools if targets else ():
        _refuse_shared(pool, targets, size)
    failures = [
        (f"{pool.member.name}/{case}", why)
        for pool, audited in zip(pools, found, strict=True)
        for case, why in dict((*audited.unreadable, *pool.pictures.failures)).items()
    ]
    return Corpus(pools, tuple(failures))


def _refuse_known(known: Seen | None, targets: Sequence[Run]) -> None:
    """Raise DataError where the starting weights have learnt from a target's test part."""
    for run in targets:
        test = {case.id for case in run.cases("test")}
        facts = [fact for fact in run.audit.facts if fact.case in test]
        if same := list(learnt_before(known, facts)):
            raise DataError(_shared_text("what the starting weights have learnt from", run, "picture", same, "start from others"))


def _leave_to_others(k: int, sorted_out: Sequence[dict[str, list[Case]]], found: Sequence[Audit]) -> None:
    """Leave out of set `k` the images that another set keeps for a test.

    Public collections copy from each other.
    """
    kept: list[Facts] = []
    for other, (parts, audited) in enumerate(zip(sorted_out, found, strict=True)):
        facts = {fact.case: fact for fact in audited.facts}
        names = ("reserved", SHIPPED) if other != k else ()
        kept += [facts[case.id] for name in names for case in parts.get(name, ()) if case.id in facts]
    if kept:
        wanted = Seen({}, hash_bytes([fact.sha256 for fact in kept]), hash_bytes([fact.hash for fact in kept]))
        parts, learnt = sorted_out[k], {case.id for case in sorted_out[k]["learnt"]}
        known = learnt_before(wanted, [fact for fact in found[k].facts if fact.case in learnt])
        parts["kept for a test by another set"] = [case for case in parts["learnt"] if case.id in known]
        parts["learnt"] = [case for case in parts["learnt"] if case.id not in known]


def _prepared(run: Run, size: int) -> Prepared:
    """All pictures of a run at `size`, whatever its own recipe prepares."""
    return prepared_of(replace(run, recipe=replace(run.recipe, prepare=(Resize(size),))))


def _pool(member: Member, parts: Mapping[str, list[Case]], found: Audit, size: int) -> Pool:
    run = member.run
    pictures = _prepared(run, size)
    chosen = [case for case in parts["learnt"] if case.id in pictures.row]
    kept = [case for case in parts["reserved"] if case.id in pictures.row]
    if not chosen:
        raise DataError(f"{member.name}: no case is left to learn from; leave the set out")
    facts = {fact.case: fact for fact in found.facts}
    recipe, ids = run.recipe, [case.id for case in chosen]
    left_out = Counter({why: len(cases) for why, cases in parts.items() if why not in ("learnt", "reserved") and cases})
    left_out["unreadable"] += sum(len(parts[name]) for name in ("learnt", "reserved")) - len(chosen) - len(kept)
    person = persons(run.manifest.cases, found.clusters)
    return Pool(
        member,
        pictures,
        tuple(ids),
        pictures.rows(ids),
        tuple(facts[case].width / facts[case].height for case in ids),
        case_keys([f"{member.name}/{case}" for case in ids]),
        target(recipe.task, truth(recipe.task, recipe.classes, chosen)),
        pictures.rows([case.id for case in kept]),
        truth(recipe.task, recipe.classes, kept),
        tuple(person[case.id] for case in kept),
        +left_out,
        hash_bytes([facts[case].sha256 for case in ids]),
        hash_bytes([facts[case].hash for case in ids]),
    )


def sort_out(cases: Sequence[Case], found: Audit, *, labels: bool = True) -> dict[str, list[Case]]:
    """Cases by what becomes of them: "learnt", "reserved", or why they are left out."""
    unit = units(cases, found.clusters)
    unreadable = {case for case, _ in found.unreadable}
    shipped = {number for case, number in zip(cases, unit, strict=True) if case.part == "test"}
    first: dict[int, str] = {}
    for case, number in zip(cases, unit, strict=True):
        first.setdefault(number, case.id)
    reserved = {number for case, number in zip(cases, unit, strict=True) if is_reserved(case.group or first[number])}
    out: dict[str, list[Case]] = {"learnt": [], "reserved": []}
    for case, number in zip(cases, unit, strict=True):
        if case.id in unreadable:
            what = "unreadable"
        elif case.part == "test":
            what = SHIPPED
        elif number in shipped:
            what = "shares a person or picture with the shipped test part"
        elif case.labels is None and labels:
            what = "not assessed"
        else:
            what = "reserved" if number in reserved else "learnt"
        out.setdefault(what, []).append(case)
    return out


def _refuse_shared(pool: Pool, targets: Sequence[Run], size: int) -> None:
    """Raise DataError where a pool holds an image or a person of a target's test set.

    An image byte by byte or nearly.
    """
    known = pool.member.run.manifest.by_id
    ours = [known[case] for case in pool.ids]
    pictures = prepared_thumbnails(pool.pictures, ours)
    for run in targets:
        facts = {fact.case: fact for fact in run.audit.facts}
        prepared, groups = _prepared(run, size), {case.id: case.group for case in run.manifest.cases}
        test = [replace(case, group=groups[case.id]) for case in run.cases("test") if case.id in prepared.row]
        if not test:
            continue
        digests = {facts[case.id].sha256: case.id for case in test}
        same = [digests[digest] for row in pool.sha256 if (digest := row.tobytes().hex()) in digests]
        both = np.concatenate([pictures, prepared_thumbnails(prepared, test)])
        if not same:
            aspects = [*pool.aspects, *(facts[case.id].width / facts[case.id].height for case in test)]
            clusters = find_duplicates(both, aspects=aspects)
            same = [test[i - len(ours)].id for one in clusters if min(one) < len(ours) for i in one if i >= len(ours)]
        if same:
            raise DataError(_shared_text(pool.member.name, run, "picture", same))
        ids, likeness = shared_persons(ours, test, both)
        if ids and not restarts(likeness):  # ids that restart name other people
            raise DataError(_shared_text(pool.member.name, run, "person", ids))


def _shared_text(name: str, run: Run, what: str, same: Sequence[str], advice: str = "leave the set out of the corpus") -> str:
    shown = ", ".join(same[:SHOWN]) + (" ..." if len(same) > SHOWN else "")
    return f"{name} holds {count(len(same), what)} of the test part of {run.path} ({shown}); {advice}"
