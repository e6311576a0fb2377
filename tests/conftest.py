"""One small finished run that many tests look at, and copies of it to go on from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY

from resdx.data.phantoms import draw_phantoms
from resdx.runs.run import Run
from resdx.studies.stages import EVIDENCE, NAMES, STAGES
from resdx.studies.study import Study, run


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantom films of each of 60 persons, in two class folders; not to be changed."""
    folder = tmp_path_factory.mktemp("films") / "films"
    draw_phantoms(folder, persons=60, size=48)
    return folder


@pytest.fixture(scope="session")
def study(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished run on the films; not to be changed."""
    return run(films, recipe=TINY, out=tmp_path_factory.mktemp("store") / "run", skip=EVIDENCE, quiet=True)


@pytest.fixture
def twin(study: Study, tmp_path: Path) -> Callable[[str], Run]:
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
