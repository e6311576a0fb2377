"""The corpus of a pre-training: which cases of which data sets, what was left out and why, and what the weights will have seen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .audit import Audit
from .cases import Case
from .data import Prepared
from .duplicates import find_duplicates, thumbnail
from .errors import DataError, count
from .facts import Facts
from .losses import target
from .runs import Run
from .split import units
from .stages import prepared_of
from .steps.image import Resize
from .steps.random import case_keys
from .tasks import truth

RESERVED = 5  # one person in so many is never learnt from
SHOWN = 3  # examples in a sentence


@dataclass(frozen=True)
class Member:
    """An audited run whose data is to be learnt from: its `name` in the corpus, `licence`, and `weight` in the draw of cases."""

    run: Run
    name: str
    licence: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Pool:
    """What is learnt from one data set.

    Rows of its prepared pictures, keys for random draws, and targets (N, outputs) with NaN where unknown; the same of the
    `reserved` cases, which are only scored; `left_out` says how many cases are not used, and why; sha256 and perceptual hash
    (N, 32) of every case that is learnt from.
    """

    member: Member
    pictures: Prepared
    rows: NDArray[np.int64]
    keys: NDArray[np.uint64]
    targets: NDArray[np.float32]
    reserved: NDArray[np.int64]
    reserved_truth: NDArray[np.float32]
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
        """How often a case is drawn from each pool: the square root of its size times its weight, so that small sets count too."""
        shares = np.array([pool.member.weight * len(pool.rows) ** 0.5 for pool in self.pools])
        return np.asarray(shares / shares.sum())

    def outputs(self, pool: int) -> slice:
        """The columns of the common logits that belong to a pool."""
        return slice(self.first[pool], self.first[pool + 1])

    def draw(self, size: int, seed: int, step: int) -> list[tuple[int, NDArray[np.int64]]]:
        """The cases of a step, pool by pool: (pool, places in it); the same whenever it is asked."""
        rng = np.random.default_rng([seed, step])
        often = np.bincount(rng.choice(len(self.pools), size, p=self.chance), minlength=len(self.pools))
        return [(k, rng.integers(len(self.pools[k].rows), size=n)) for k, n in enumerate(often) if n]

    def table(self) -> list[dict[str, object]]:
        """A row a data set, for the card and for corpus.json."""
        return [
            {
                "name": pool.member.name,
                "licence": pool.member.licence or pool.member.run.manifest.licence or "not stated",
                "cases": len(pool.rows),
                "reserved": len(pool.reserved),
                "left_out": dict(pool.left_out),
                "share_of_draws": round(float(share), 4),
                "classes": list(pool.member.run.recipe.classes),
                "manifest": pool.member.run.manifest.sha256,
            }
            for pool, share in zip(self.pools, self.chance, strict=True)
        ]


def is_reserved(name: str) -> bool:
    """True for one person in five, by the sha256 of the name: never learnt from, so that every set keeps persons to test on."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()) % RESERVED == 0


def gather(members: Sequence[Member], size: int, *, targets: Sequence[Run] = ()) -> Corpus:
    """Read, sort out and prepare every set at `size` pixels.

    Left out: unreadable files, cases without a label, the shipped test part and whatever shares a person or a picture with it,
    and reserved persons where a set ships no test part.

    Args:
        targets: finished or split runs whose test part the corpus must not share a picture with

    Raises:
        DataError: a set holds a picture of a target's test part (both are named), or nothing is left of one.
    """
    if twice := [m.name for i, m in enumerate(members) if m.name in {other.name for other in members[:i]}]:
        raise DataError(f"two sets are called {twice[0]}; name them NAME=DATA")
    pools = tuple(_pool(member, size) for member in members)
    for run in targets:
        _refuse_shared(pools, run)
    failures = [(f"{pool.member.name}/{case}", why) for pool in pools for case, why in pool.pictures.failures]
    return Corpus(pools, tuple(failures))


def _pool(member: Member, size: int) -> Pool:
    run = member.run
    found = Audit.from_json(run.read("audit.json", "audit"))
    small = replace(run, recipe=replace(run.recipe, prepare=(Resize(size),)))
    pictures = prepared_of(small)
    parts = sort_out(run.manifest.cases, found)
    chosen = [case for case in parts["learnt"] if case.id in pictures.row]
    kept = [case for case in parts["reserved"] if case.id in pictures.row]
    if not chosen:
        raise DataError(f"{member.name}: no case is left to learn from; leave the set out")
    facts = {fact.case: fact for fact in found.facts}
    recipe, ids = run.recipe, [case.id for case in chosen]
    left_out = {why: len(cases) for why, cases in parts.items() if why not in ("learnt", "reserved") and cases}
    if lost := sum(len(parts[name]) for name in ("learnt", "reserved")) - len(chosen) - len(kept):
        left_out["unreadable"] = lost
    return Pool(
        member,
        pictures,
        pictures.rows(ids),
        case_keys([f"{member.name}/{case}" for case in ids]),
        target(recipe.task, truth(recipe.task, recipe.classes, chosen)),
        pictures.rows([case.id for case in kept]),
        truth(recipe.task, recipe.classes, kept),
        left_out,
        _bytes([facts[case].sha256 for case in ids]),
        _bytes([facts[case].hash for case in ids]),
    )


def sort_out(cases: Sequence[Case], found: Audit) -> dict[str, list[Case]]:
    """Cases by what becomes of them: "learnt", "reserved", or why they are left out."""
    unit = units(cases, found.clusters)
    unreadable = {case for case, _ in found.unreadable}
    shipped = {number for case, number in zip(cases, unit, strict=True) if case.part == "test"}
    first: dict[int, str] = {}
    for case, number in zip(cases, unit, strict=True):
        first.setdefault(number, case.id)
    reserved = set()
    if not shipped:
        reserved = {n for case, n in zip(cases, unit, strict=True) if is_reserved(case.group or first[n])}
    out: dict[str, list[Case]] = {"learnt": [], "reserved": []}
    for case, number in zip(cases, unit, strict=True):
        if case.id in unreadable:
            what = "unreadable"
        elif case.part == "test":
            what = "shipped test part"
        elif number in shipped:
            what = "shares a person or picture with the shipped test part"
        elif case.labels is None:
            what = "not assessed"
        else:
            what = "reserved" if number in reserved else "learnt"
        out.setdefault(what, []).append(case)
    return out


def _refuse_shared(pools: Sequence[Pool], run: Run) -> None:
    """Raise DataError where a pool holds a picture of the test part of `run`, byte by byte or nearly."""
    facts = {fact.case: fact for fact in Audit.from_json(run.read("audit.json", "audit")).facts}
    pictures = prepared_of(run)
    test = [facts[case.id] for case in run.cases("test") if case.id in pictures.row]
    theirs = _thumbnails(pictures.images, pictures.rows([fact.case for fact in test]))
    digests = {fact.sha256: fact for fact in test}
    for pool in pools:
        same = [digests[digest] for row in pool.sha256 if (digest := row.tobytes().hex()) in digests]
        if not same:
            ours = _thumbnails(pool.pictures.images, pool.rows)
            clusters = find_duplicates(np.concatenate([ours, theirs]))
            same = [test[i - len(ours)] for one in clusters if min(one) < len(ours) for i in one if i >= len(ours)]
        if same:
            raise DataError(_shared_text(pool.member.name, run, same))


def _shared_text(name: str, run: Run, same: Sequence[Facts]) -> str:
    shown = ", ".join(fact.case for fact in same[:SHOWN]) + (" ..." if len(same) > SHOWN else "")
    return f"{name} holds {count(len(same), 'picture')} of the test part of {run.path} ({shown}); leave the set out of the corpus"


def _thumbnails(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.stack([thumbnail(images[row].astype(np.float32)) for row in rows])


def _bytes(texts: Sequence[str]) -> NDArray[np.uint8]:
    """(N, 32) from hexadecimal texts."""
    return np.frombuffer(b"".join(bytes.fromhex(text) for text in texts), np.uint8).reshape(len(texts), 32)
