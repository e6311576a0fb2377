"""What many tests look at is made once for all test processes: films, and small finished runs with copies to go on from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from tiny import TINY, TINY_RESNET

from resdx.data.phantoms import draw_phantoms
from resdx.recipes.recipe import Recipe
from resdx.runs.run import Run
from resdx.studies.stages import EVIDENCE, NAMES, STAGES, resume
from resdx.studies.start import start
from resdx.studies.study import Study, open_study

# The tests run side by side already; workers of each of them would do little but import PyTorch.
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")

Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """A function (name, make) -> a folder that the first test process to ask fills with `make`; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        path = shared / f"once-{name}"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                half = path.with_suffix(".part")
                shutil.rmtree(half, ignore_errors=True)  # of one that failed
                half.mkdir()
                make(half)
                half.rename(path)
        return path

    return folder


@pytest.fixture(scope="session")
def films(once: Once) -> Path:
    """Two phantom films of each of 60 persons, in two class folders; not to be changed."""
    # some are near-duplicates, as in real sets
    return once("films", lambda folder: draw_phantoms(folder / "films", persons=60, size=48, variety=0)) / "films"


def finished(once: Once, films: Path, recipe: Recipe, store: Path) -> Study:
    """A finished run of `recipe` on the films in a store of this test process, whose tests write beside it."""

    def make(folder: Path) -> None:
        begun = start(films, recipe=recipe, out=folder / "run", skip=EVIDENCE, quiet=True)
        # Which format is faster is measured, and a busy machine measures it differently each time.
        resume(begun.changed(choices={"dtype": "float32", "probe_dtype": "float32"}))

    shutil.copytree(once(f"{store.name}-run", make), store, dirs_exist_ok=True)
    return open_study(store / "run", quiet=True)


@pytest.fixture(scope="session")
def study(once: Once, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished run on the films; not to be changed."""
    return finished(once, films, TINY, tmp_path_factory.mktemp("tiny", numbered=False))


@pytest.fixture(scope="session")
def resnet_study(once: Once, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished run of a ResNet-18 on the films; not to be changed."""
    return finished(once, films, TINY_RESNET, tmp_path_factory.mktemp("resnet", numbered=False))


def copies(study: Study, tmp_path: Path) -> Callable[[str], Run]:
    """A function (last stage) -> a copy of the finished run, done up to that stage, in the same store."""

    def make(last: str) -> Run:
        path = study.run.store / f"twin-{tmp_path.name}-{len(list(study.run.store.iterdir()))}"
        path.mkdir()
        done = [stage for stage in STAGES[: NAMES.index(last) + 1] if not stage.evidence]
        for file in ("run.json", "failures.csv", *(file for stage in done for file in stage.makes)):
            if (study.run.path / file).exists():  # not what belongs to unfinished trainings and to ensembles
                shutil.copy(study.run.path / file, path)
        return replace(study.run, path=path)

    return make


@pytest.fixture
def twin(study: Study, tmp_path: Path) -> Callable[[str], Run]:
    """A function (last stage) -> a copy of the finished run, done up to that stage, in the same store."""
    return copies(study, tmp_path)


@pytest.fixture
def resnet_twin(resnet_study: Study, tmp_path: Path) -> Callable[[str], Run]:
    """As `twin`, of the finished run of a ResNet-18."""
    return copies(resnet_study, tmp_path)
