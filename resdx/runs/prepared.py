"""Prepared pictures.

Read and prepared once a data set, kept as one uint8 memory map in the store's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from ..data.audit.file_facts import digest, whole
from ..data.cases import Manifest
from ..errors import DataError, ResdxError, RunError
from ..files import read_json, write_json
from ..recipes.recipe import Recipe
from ..records import to_record
from ..transforms.compose import prepare_image
from ..transforms.parallel import in_order
from .run import Run

CHUNK = 64  # cases a task: large enough that handing over costs nothing, small enough for a smooth bar


@dataclass(frozen=True)
class Prepared:
    """Pictures as uint8 (N, S, S, C), C = 1 when every one is grey, and the row of each case.

    Failures have no row.

    `folder` is their place in the cache, where what is computed from them alone may be kept too.
    """

    folder: Path
    images: NDArray[np.uint8]
    row: Mapping[str, int]
    failures: tuple[tuple[str, str], ...]

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of cases, for `images[rows]`."""
        return np.array([self.row[case] for case in ids], np.int64)


def content_hashes(run: Run) -> dict[str, str]:
    """sha256 of each readable case's file, as the audit found it."""
    return {fact.case: fact.sha256 for fact in run.audit.facts}


def prepare(
    manifest: Manifest,
    recipe: Recipe,
    cache: Path,
    *,
    content: Mapping[str, str],
    skip: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Read and prepare every case with all cores.

    What an earlier run prepared from the same files is opened instead.

    Args:
        cache: folder for all prepared sets
        content: sha256 of each case's file as the audit found it, so that a changed file is not taken for the one that was
            audited
        skip: cases already known to be unreadable
        progress: called with the number of cases done

    A file that could not be read is tried again the next time: a network drive may be back.

    Raises:
        DataError: a file has changed since the audit, or none can be read.
        RunError: the cache cannot be written (full disk, no right); nothing half-written is left.
    """
    folder = cache / _key(manifest, recipe, content)
    job = partial(_prepared, recipe.read, recipe.prepare)
    if (folder / "index.json").exists():
        lost = [(f"{manifest.root}/{manifest.by_id[case].path}", content.get(case, "")) for case, _ in _index(folder)["failures"]]
        if any(isinstance(answer, np.ndarray) for answer in job(lost)):
            shutil.rmtree(folder)
    if not (folder / "index.json").exists():
        _fill(folder, manifest, recipe, content, set(skip), progress or (lambda done: None))
    index = _index(folder)
    return Prepared(
        folder=folder,
        images=np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
        row={case: i for i, case in enumerate(index["cases"])},
        failures=tuple((case, reason) for case, reason in index["failures"]),
    )


def _key(manifest: Manifest, recipe: Recipe, content: Mapping[str, str]) -> str:
    files = [(case.id, case.path, content.get(case.id, "")) for case in manifest.cases]
    steps = [to_record(recipe.read), to_record(recipe.prepare)]
    return hashlib.sha256(json.dumps([str(manifest.root), files, steps]).encode()).hexdigest()[:24]


def _index(folder: Path) -> dict[str, Any]:
    return dict(read_json(folder / "index.json"))


Answer = NDArray[np.uint8] | str | None


def _prepared(
    read: Callable[[str], Any], steps: Sequence[Callable[[Any], Any]], files: Sequence[tuple[str, str]]
) -> list[Answer]:
    """Pictures of (path, sha256) in order.

    The sentence that says why for one that failed, None for one that has changed.
    """
    out: list[Answer] = []
    for path, sha256 in files:
        try:
            out.append(_one(read, steps, path, sha256))
        except ResdxError as error:
            out.append(str(error))
        except OSError as error:
            out.append(f"{path} cannot be read ({error.strerror or error}); copy it again or remove it")
    return out


def _one(read: Callable[[str], Any], steps: Sequence[Callable[[Any], Any]], path: str, sha256: str) -> NDArray[np.uint8] | None:
    data = whole(path)
    if data and sha256 and hashlib.sha256(data).hexdigest() != sha256:
        return None
    image = read(path)
    if not data and sha256 and digest(data, image) != sha256:
        return None
    return prepare_image(path, lambda _: image, steps)


def _fill(
    folder: Path,
    manifest: Manifest,
    recipe: Recipe,
    content: Mapping[str, str],
    skip: set[str],
    progress: Callable[[int], None],
) -> None:
    wanted = [case for case in manifest.cases if case.id not in skip]
    if not wanted:
        raise DataError(f"none of the {len(manifest)} files below {manifest.root} can be read; see failures.csv")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")  # its own place, so that two runs cannot mix
    chunks = [wanted[i : i + CHUNK] for i in range(0, len(wanted), CHUNK)]
    files = [[(os.path.join(manifest.root, case.path), content.get(case.id, "")) for case in chunk] for chunk in chunks]
    try:
        part.mkdir(parents=True, exist_ok=True)
        # in colour, until it is known that all are grey
        wide = reserve(part / "wide.npy", (len(wanted), recipe.size, recipe.size, 3))
        ids: list[str] = []
        failures: list[tuple[str, str]] = []
        colour, done = False, 0
        for chunk, answers in zip(chunks, in_order(partial(_prepared, recipe.read, recipe.prepare), files), strict=True):
            for case, answer in zip(chunk, answers, strict=True):
                if answer is None:
                    raise DataError(f"{manifest.root / case.path} has changed since the audit; run `resdx audit RUN` again")
                if isinstance(answer, str):
                    failures.append((case.id, answer))
                    continue
                wide[len(ids)] = answer
                colour = colour or answer.shape[2] == 3
                ids.append(case.id)
            done += len(chunk)
            progress(done)
        if not ids:
            raise DataError(f"none of the {len(wanted)} files below {manifest.root} can be prepared; first: {failures[0][1]}")
        # A grey set is kept with one channel: a third of the memory and of the reading.
        images = reserve(part / "images.npy", (len(ids), recipe.size, recipe.size, 3 if colour else 1))
        for i in range(0, len(ids), CHUNK):
            images[i : i + CHUNK] = wide[i : min(i + CHUNK, len(ids)), :, :, : images.shape[3]]
        images.flush()
        (part / "wide.npy").unlink()
        write_json(part / "index.json", {"cases": ids, "failures": failures, "recipe": to_record(recipe.prepare)})
        if folder.exists() and not (folder / "index.json").exists():
            shutil.rmtree(folder, ignore_errors=True)  # without its index it is of no use
        part.rename(folder)  # fails where another run was first
    except OSError as error:
        if not (folder / "index.json").exists():  # another run may have been first, which is as good
            raise RunError(
                f"{folder} cannot be written ({error.strerror or error}); free some space or choose another --out"
            ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def reserve(path: Path, shape: tuple[int, ...], kind: type[np.generic] = np.uint8) -> np.memmap[Any, Any]:
    """A memory map whose room on the disk is taken at once.

    A map that runs out of it later ends the process without a word.
    """
    images: np.memmap[Any, Any] = open_memmap(path, "w+", kind, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return images


def prepared_of(run: Run) -> Prepared:
    """Read and prepare the pictures once a data set; opens them when that is done already."""
    manifest, unreadable = run.manifest, run.audit.unreadable
    with run.progress("prepare", len(manifest)) as bar:
        prepared = prepare(
            manifest,
            run.recipe,
            run.store / "cache",
            content=content_hashes(run),
            skip=[case for case, _ in unreadable],
            progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    run.write_failures((*unreadable, *prepared.failures))
    return prepared
