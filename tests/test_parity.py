"""One model, one answer: the command line, Python with files and with arrays, and every engine give the same probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

import resdx
from resdx.apps.cli.main import cli

# How far a probability may lie from PyTorch's. int8 has a calibrator of its own, so that only the order of cases is held (below).
TOLERANCE = {"torch": 1e-6, "onnx": 1e-4, "openvino": 1e-4, "bf16": 0.05}


@pytest.fixture(scope="module")
def pictures(films: Path) -> list[str]:
    return [str(path) for kind in ("normal", "opacity") for path in sorted((films / kind).iterdir())[:6]]


@pytest.fixture(scope="module")
def model(study: resdx.Study, tmp_path_factory: pytest.TempPathFactory) -> resdx.Study:
    """A finished run with an export for each engine beside it."""
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("parity") / "run"
    for file in study.path.rglob("*"):
        if file.is_file():
            (path / file.relative_to(study.path)).parent.mkdir(parents=True, exist_ok=True)
            (path / file.relative_to(study.path)).write_bytes(file.read_bytes())
    done = CliRunner().invoke(
        cli, ["export", str(path), "--no-guard", *(f"--to={name}" for name in (*list(TOLERANCE)[1:], "int8"))]
    )
    assert done.exit_code == 0, done.stderr
    return resdx.open(path)


def by_command(model: resdx.Study, pictures: list[str], engine: str) -> NDArray[np.float64]:
    done = CliRunner().invoke(cli, ["predict", str(model.path), *pictures, "--engine", engine, "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["case"] for one in found] == pictures
    return np.array([[one["probabilities"][name] for name in model.classes] for one in found])


@pytest.mark.parametrize("engine", [*TOLERANCE, "int8"])
def test_the_command_line_and_python_answer_alike_with_every_engine(model, pictures, engine):
    answers = model.predict(pictures, engine=engine)
    ours = np.array([[one.probabilities[name] for name in model.classes] for one in answers])
    np.testing.assert_allclose(by_command(model, pictures, engine), ours, atol=1e-6)
    arrays = [np.asarray(Image.open(path)) for path in pictures]
    given = model.predict(arrays, engine=engine)
    np.testing.assert_allclose([[one.probabilities[name] for name in model.classes] for one in given], ours, atol=1e-6)


@pytest.mark.parametrize("engine", TOLERANCE)
def test_every_engine_is_as_near_to_pytorch_as_it_promises(model, pictures, engine):
    ours, theirs = (by_command(model, pictures, name) for name in ("torch", engine))
    np.testing.assert_allclose(theirs, ours, atol=TOLERANCE[engine])


def test_int8_ranks_cases_as_pytorch_does(model, pictures):
    ours, theirs = (by_command(model, pictures, name)[:, 1] for name in ("torch", "int8"))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9


def test_an_exported_folder_answers_without_its_run(model, pictures):
    for engine, tolerance in [*TOLERANCE.items()][1:]:
        folder = resdx.open(model.path / f"export-{engine}")
        np.testing.assert_allclose(folder.predict_proba(pictures), by_command(model, pictures, "torch"), atol=tolerance)
