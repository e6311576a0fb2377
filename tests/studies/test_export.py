"""Exported models: the same answers as PyTorch on every engine, refused when a byte changed, and at home without PyTorch."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from resdx.apps.cli.main import cli
from resdx.data.tasks import Classify, MultiLabel, Ordinal
from resdx.errors import RunError
from resdx.evaluation.saliency.methods import class_activation, label_odds
from resdx.files import read_json
from resdx.inference.bundle import load_engine, read_bundle, sums
from resdx.inference.engines.graph import Graph
from resdx.inference.predictor import Predictor
from resdx.models.heads.specs import Mlp
from resdx.models.network import build
from resdx.models.specs import Net, ResNet
from resdx.runs.run import Run
from resdx.studies import export as room
from resdx.studies.export import Parity, export

PICTURES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8))
GOOD = Parity("tune", 1000, 0.01, 0.95, 0.949, 3, 0, 50.0)


@pytest.fixture(scope="module")
def exported(study):
    """A copy of the finished run with an export for each engine, made by the command."""
    path = study.run.store / "to-export"
    shutil.copytree(study.run.path, path)
    engines = ("onnx", "openvino", "bf16", "int8")
    asked = [word for engine in engines for word in ("--to", engine)]
    said = CliRunner().invoke(cli, ["export", str(path), *asked, "--no-guard", "--json"])
    assert said.exit_code == 0, said.output
    assert [one["engine"] for one in json.loads(said.stdout)] == list(engines)
    return Run.open(path, quiet=True)


@pytest.fixture(scope="module")
def files(study, films):
    """Files of the test part."""
    return [f"{films}/{case.path}" for case in study.run.cases("test")][:12]


def chances(predictions):
    return np.array([list(one.probabilities.values()) for one in predictions])


@pytest.mark.parametrize("task", [Classify(), MultiLabel(), Ordinal()], ids=lambda task: type(task).__name__)
def test_graph_has_the_probabilities_of_the_task_and_the_network_and_embedding_of_torch(task):
    network = build(Net(ResNet(18)), 3).eval()
    scale, bias = (1.5, 0.5, 2.0), (0.1, -0.2, 0.3)
    with torch.no_grad():
        logits, probabilities, embedding, *_ = Graph(network, task, scale, bias, (0,)).eval()(PICTURES)
        expected = network.answer(PICTURES.permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close((logits, embedding), expected[:2])
    calibrated = (logits.numpy() * np.array(scale) + np.array(bias)).astype(np.float32)
    np.testing.assert_allclose(probabilities, task.probabilities(calibrated), atol=1e-6)


@pytest.mark.parametrize("task", [Classify(), MultiLabel()], ids=lambda task: type(task).__name__)
@pytest.mark.parametrize("classes", [2, 3])
def test_graph_draws_the_class_activation_map_of_every_class(task, classes):
    torch.manual_seed(0)
    network = build(Net(ResNet(18)), classes).eval()
    with torch.no_grad():
        network.head.linear.weight.mul_(30)
        network.head.linear.weight[0].abs_()  # so that one map at least is not blank
        heat = Graph(network, task, (1,) * classes, (0,) * classes, (0,)).eval()(PICTURES)[3]
    plain = PICTURES.permute(0, 3, 1, 2).float() / 255
    asked = {"score": label_odds} if isinstance(task, MultiLabel) else {}
    for k in range(classes):
        expected = class_activation(network, plain, torch.full((3,), k), **asked)
        torch.testing.assert_close(heat[:, k], expected, rtol=1e-4, atol=1e-4)
    assert heat.max() > 0


def test_views_are_averaged_as_inference_does():
    network = build(Net(ResNet(18)), 2).eval()
    with torch.no_grad():
        logits, _, embedding, _ = Graph(network, Classify(), (1, 1), (0, 0), (0, 4)).eval()(PICTURES)
    expected = room.predict_logits(network, PICTURES.numpy(), np.arange(3), views=2)
    np.testing.assert_allclose(logits, expected[0], atol=1e-5)
    np.testing.assert_allclose(embedding, expected[1], atol=1e-5)


def test_a_head_with_a_hidden_layer_and_grades_have_no_map():
    assert not Graph(build(Net(ResNet(18), Mlp(8)), 2), Classify(), (1, 1), (0, 0), (0,)).last
    assert not Graph(build(Net(ResNet(18)), 2), Ordinal(), (1, 1), (0, 0), (0,)).last


@pytest.mark.parametrize(("engine", "tolerance"), [("onnx", 1e-4), ("openvino", 1e-4), ("bf16", 0.05), ("int8", 0.2)])
def test_every_engine_answers_as_pytorch_does(exported, files, engine, tolerance):
    theirs, ours = (Predictor.open(exported, engine=name, quiet=True).predict(files)[0] for name in (engine, "torch"))
    assert [one.case for one in theirs] == files
    if engine == "int8":  # its calibrator is its own
        assert np.corrcoef(chances(theirs)[:, 1], chances(ours)[:, 1])[0, 1] > 0.9
    else:
        np.testing.assert_allclose(chances(theirs), chances(ours), atol=tolerance)
    about = read_json(exported.path / f"export-{engine}" / "export.json")
    assert about["parity"]["cases"] == len(exported.cases("tune")) + len(exported.cases("calib"))
    assert about["parity"]["probability"] <= tolerance or engine == "int8"


def test_every_engine_draws_the_same_map(exported, files):
    size = exported.recipe.size
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    ours, onnx, openvino = (
        next(iter(Predictor.open(exported, engine=name, quiet=True).engines[0].predict([pictures]))).maps
        for name in ("torch", "onnx", "openvino")
    )
    np.testing.assert_allclose(onnx, ours, atol=1e-4)
    np.testing.assert_allclose(openvino, ours, atol=1e-4)


def test_batches_come_back_in_order(exported):
    rng = np.random.default_rng(0)
    size = exported.recipe.size
    batches = [rng.integers(0, 256, (b, size, size, 3), dtype=np.uint8) for b in (1, 4, 2, 4, 4, 3, 1, 4, 4)]
    engine = load_engine(exported.path / "export-openvino", "openvino")
    alone = [next(engine.predict([batch])).logits for batch in batches]
    for one, expected in zip(engine.predict(batches), alone, strict=True):
        np.testing.assert_allclose(one.logits, expected, atol=1e-5)
        assert one.maps.shape[:2] == expected.shape


def test_auto_takes_the_fastest_export_and_pytorch_where_there_is_none(exported, study):
    assert Predictor.open(exported, quiet=True).engines[0].name == "int8"
    assert Predictor.open(study.run, quiet=True).engines[0].name == "torch"
    assert Predictor.open(exported.path / "export-bf16").engines[0].name == "bf16"


def test_a_folder_answers_on_a_machine_without_pytorch(exported, files):
    program = """
import json, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTorch())
from resdx import Predictor
said, failures = Predictor.open(sys.argv[1]).predict(sys.argv[2:])
print(json.dumps([list(one.probabilities.values()) for one in said]))
"""
    folder = exported.path / "export-onnx"
    found = subprocess.run([sys.executable, "-c", program, folder, *files], check=True, capture_output=True, text=True)
    np.testing.assert_allclose(json.loads(found.stdout), chances(Predictor.open(folder).predict(files)[0]), atol=1e-6)


@pytest.mark.parametrize("name", ["export.json", "model.onnx", "familiarity.safetensors", "SHA256SUMS"])
def test_a_changed_byte_is_refused(exported, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(exported.path / "export-onnx", folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 3] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(RunError, match="copy the folder again, or export it again"):
        read_bundle(folder)


def test_a_missing_or_foreign_file_is_refused(exported, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported.path / "export-onnx", folder)
    (folder / "more.py").write_text("print()")
    with pytest.raises(RunError, match=r"more\.py is not of the export"):
        read_bundle(folder)
    (folder / "more.py").unlink()
    (folder / "model.onnx").unlink()
    with pytest.raises(RunError, match=r"model\.onnx is missing"):
        read_bundle(folder)


def test_what_was_not_exported_says_how(study, exported):
    with pytest.raises(RunError, match=r"was not exported for int8 yet; run `resdx export .* --to int8` first"):
        Predictor.open(study.run, engine="int8")
    with pytest.raises(RunError, match="was exported for onnx, not for int8; leave out --engine"):
        Predictor.open(exported.path / "export-onnx", engine="int8")
    with pytest.raises(RunError, match="there is no engine 'fast'"):
        Predictor.open(exported, engine="fast")


def test_a_run_that_has_changed_since_is_not_answered_by_its_export(exported, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(exported.path, path)
    (path / "calibration.json").write_text((path / "calibration.json").read_text() + " ")
    with pytest.raises(RunError, match=r"has changed since .*export-onnx was made; run `resdx export .* --to onnx` again"):
        Predictor.open(path, engine="onnx")
    assert Predictor.open(path, quiet=True).engines[0].name == "torch"


def test_a_run_that_is_being_made_anew_is_not_answered_by_its_old_export(exported, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(exported.path, path)
    (path / "calibration.json").unlink()
    with pytest.raises(RunError, match=r"has no calibration\.json yet"):
        Predictor.open(path, quiet=True)
    (path / "run.json").unlink()  # only the exports were kept
    assert Predictor.open(path, quiet=True).engines[0].name == "int8"


def test_auto_passes_over_an_engine_that_is_not_installed(exported, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else real(name))
    assert Predictor.open(exported, quiet=True).engines[0].name == "onnx"


def test_what_a_desktop_leaves_in_a_folder_is_not_of_the_export(exported, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported.path / "export-onnx", folder)
    for name in (".DS_Store", "._model.onnx", "Thumbs.db"):
        (folder / name).write_text("seen")
    assert read_bundle(folder).engines[0].name == "onnx"


@pytest.mark.parametrize(
    "change",
    [
        [],
        None,
        {},
        {"format": 1},
        {"format": 2},
        {"engine": "fast"},
        {"calibration": {}},
        {"calibration": {"": "Resize"}},
        {"prepare": []},
        {"read": {"": "Resize"}},
    ],
)
def test_a_record_that_is_no_record_is_one_sentence(exported, tmp_path, change):
    folder = tmp_path / "model"
    shutil.copytree(exported.path / "export-onnx", folder)
    about = read_json(folder / "export.json")
    small = not isinstance(change, dict) or set(change) <= {"format"}
    (folder / "export.json").write_text(json.dumps(change if small else {**about, **change}))
    (folder / "SHA256SUMS").write_text(sums(folder))
    with pytest.raises(RunError, match=r"copy the folder again, or export it again|reads 1; export it again"):
        read_bundle(folder)


def test_a_disk_that_is_full_is_one_sentence(exported, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr("openvino.save_model", full)
    with pytest.raises(RunError, match=r"model\.xml cannot be written \(basic_ios::clear: iostream error\); free some space"):
        export(exported, "openvino")
    assert (exported.path / "export-openvino" / "export.json").exists()  # the old one
    assert not list(exported.path.glob(".*part"))


def test_an_export_holds_the_run(exported):
    with exported.alone(), pytest.raises(RunError, match="is being worked on by another process"):
        export(exported, "onnx")


def test_nothing_is_reported_to_anyone(exported):
    program = """
import multiprocessing, socket, sys
def refuse(*_, **__): raise AssertionError("a process or a connection was started")
multiprocessing.Process.start = socket.socket.connect = refuse
import resdx.inference.engines.openvino, openvino
openvino.convert_model(sys.argv[1])
import nncf
print(type(sys.modules["openvino_telemetry"]).__name__, type(nncf.telemetry.wrapper.telemetry).__name__)
"""
    told = subprocess.run(
        [sys.executable, "-c", program, exported.path / "export-onnx" / "model.onnx"], check=True, capture_output=True, text=True
    )
    assert told.stdout.split() == ["NoneType", "MagicMock"]


def test_an_unfinished_run_is_not_exported(twin):
    with pytest.raises(RunError, match=r"has no calibration\.json yet; run `resdx calibrate .*` first"):
        export(twin("train"), "onnx")


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, True),
        ({"auroc": 0.9449}, False),
        ({"auroc": 0.99}, True),
        ({"auroc": None}, True),
        ({"flipped": 10}, True),
        ({"flipped": 11}, False),
        ({"flipped": 3, "cases": 50}, True),  # 6 %, but three decisions
        ({"flipped": 4, "cases": 50}, False),
    ],
)
def test_the_guard(changes, passes):
    assert replace(GOOD, **changes).passes is passes


@pytest.mark.slow
def test_int8_that_the_guard_refuses_leaves_nothing_behind(exported, monkeypatch):
    monkeypatch.setattr(room, "MOST_LOST", -1.0)
    monkeypatch.setattr(room, "QUANTISED_ON", 8)
    shutil.rmtree(exported.path / "export-int8")
    with pytest.raises(RunError, match=r"also in mixed precision .* Export to openvino or bf16, or keep it .* --no-guard"):
        export(exported, "int8")
    assert not [path for path in exported.path.iterdir() if "int8" in path.name]
