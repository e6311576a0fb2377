"""What starting weights have learnt from, so that nothing of it is tested on as if it were new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..data.audit.file_facts import Facts
from ..errors import DataError, RunError
from ..files import digest, write_bytes
from ..models.packed import Seen, read_seen, signed
from ..models.specs import ResNet, innermost
from ..models.weights import read_state, starting_file
from ..records import to_record
from .run import Run

NEARLY = 20  # bits of 256 in which perceptual hashes of the same picture may differ
AT_ONCE = 50_000_000  # pairs of hashes that are compared at a time


def start_of(run: Run) -> Path | None:
    """The file a run starts from; None for random weights and for the published ones.

    Raises WeightsError where it is not there.
    """
    (backbone, _), file = innermost(run.recipe.model.backbone), run.settings.weights
    if isinstance(backbone, ResNet):
        return starting_file(file or backbone.weights, backbone.depth)
    name = file or backbone.weights
    return Path(name) if name not in ("", "imagenet") else None


def starts_of(run: Run) -> tuple[Path, ...]:
    """The files that a run, or the members of its ensemble, start from."""
    found = (start_of(replace(run, recipe=one)) for one in run.recipe.members)
    return tuple(dict.fromkeys(path for path in found if path))


def start_hash(run: Run) -> str:
    """sha256 of each file a run starts from; "" where there is none."""
    return " ".join(map(digest, starts_of(run)))


def seen_at_start(run: Run) -> Seen | None:
    """What the weights that a run starts from have learnt from."""
    return reduce(merged, map(seen_by, starts_of(run)), None)


def seen_by(path: Path | None) -> Seen | None:
    """What the weights of a file have learnt from, where the file says it.

    A packed one does, and so does every run's.
    """
    return read_seen(path) if path else None


def sign(run: Run) -> None:
    """Write into the weights of a run what they have learnt from.

    That is its train, tune and calib, and what it started from.
    """
    facts = {fact.case: fact for fact in run.audit.facts}
    learnt = [facts[case.id] for part in ("train", "tune", "calib") for case in run.cases(part) if case.id in facts]
    sources = {"manifest": run.manifest.sha256, "trunk": to_record(run.recipe.model.backbone)}
    own = Seen(sources, hash_bytes([fact.sha256 for fact in learnt]), hash_bytes([fact.hash for fact in learnt]))
    path = run.need("best.safetensors", "train")
    write_bytes(path, signed(read_state(path), cast(Seen, merged(own, seen_by(start_of(run))))))


def merged(first: Seen | None, second: Seen | None) -> Seen | None:
    """What two sets of weights have learnt from, the one having started from the other."""
    if first is None or second is None:
        return first or second
    return Seen(
        {**first.sources, "started from": dict(second.sources)},
        np.concatenate([first.sha256, second.sha256]),
        np.concatenate([first.perceptual, second.perceptual]),
    )


def learnt_before(seen: Seen | None, facts: Sequence[Facts]) -> dict[str, bool]:
    """The cases that starting weights have learnt from.

    True where they agree byte by byte, False where the perceptual hashes nearly agree. A picture that was encoded again or
    resized keeps most of its 256 bits; a crop or a turn is not noticed. Different pictures are seldom taken for the same,
    fundus photographs most often (benchmarks/hashes.md). A flat picture is like no other.
    """
    if seen is None:
        return {}
    digests = {row.tobytes().hex() for row in seen.sha256}
    out = {fact.case: True for fact in facts if fact.sha256 in digests}
    known = _signs(seen.perceptual[seen.perceptual.any(1)])  # flat pictures are all zeros
    at_once = max(1, AT_ONCE // max(1, len(known)))
    others = [fact for fact in facts if fact.case not in out and fact.hash.strip("0")]
    for start in range(0, len(others) if len(known) else 0, at_once):
        some = others[start : start + at_once]
        agree = (_signs(hash_bytes([fact.hash for fact in some])) @ known.T).max(1)
        # the product is 256 less twice the bits that differ
        out |= {fact.case: False for fact, bits in zip(some, agree, strict=True) if bits >= 256 - 2 * NEARLY}
    return out


def hash_bytes(texts: Sequence[str]) -> NDArray[np.uint8]:
    """(N, 32) from hexadecimal texts. Raises DataError for an audit of before pictures were hashed."""
    if any(len(text) != 64 for text in texts):
        raise DataError("the audit holds no hashes of the pictures; run `resdx audit` on it again")
    return np.frombuffer(b"".join(bytes.fromhex(text) for text in texts), np.uint8).reshape(len(texts), 32)


def refuse_changed_start(run: Run) -> None:
    """Raise RunError where the file a run starts from is not the one that its split was made for."""
    had = run.settings.choices.get("start_sha256", "")
    if had and had != start_hash(run):
        raise RunError(
            f"{' or '.join(map(str, starts_of(run)))} has changed since the split, which keeps what it has seen "
            f"from the test part; run `resdx split {run.path}`"
        )


def _signs(hashes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 32) bytes -> (N, 256) of -1 and 1, whose products count bits that agree."""
    return np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
