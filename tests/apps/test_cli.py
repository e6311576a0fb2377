"""The command line: what is wrong is said in one sentence with exit status 1, and --json prints JSON alone."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from resdx.apps.cli.commands import COMMANDS
from resdx.apps.cli.main import cli
from resdx.apps.cli.options import SKIPPED
from resdx.apps.cli.runs import EVIDENCE
from resdx.models.weights import cache_folder
from resdx.runs.run import Run
from resdx.studies import stages
from resdx.studies.start import start


def resdx(*args):
    """The command in this process, with standard output and error apart."""
    return CliRunner().invoke(cli, list(map(str, args)))


def refusal(*args):
    """What a command says that must fail: one sentence on standard error."""
    return sentence(resdx(*args))


def sentence(said):
    assert said.exit_code == 1, said.stderr or said.exception
    (line,) = said.stderr.splitlines()
    assert line.startswith("resdx: ") and "Traceback" not in line
    return line.removeprefix("resdx: ")


def draw(folder, name, value=100):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(value)
    Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    return path


def broken_files(folder):
    """One file of each kind that cannot be used, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = draw(folder, "whole.png").read_bytes()
    (folder / "whole.png").unlink()
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    bomb = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    )
    out = io.BytesIO()
    Image.fromarray(np.full((16, 16), np.nan, np.float32)).save(out, "TIFF")
    content = {
        "empty.png": b"",
        "cut.png": whole[: len(whole) // 2],
        "renamed.png": b"dear diary, this is no picture",
        "renamed.dcm": b"dear diary, this is no film",
        "bomb.png": b"\x89PNG\r\n\x1a\n" + bomb,
        "nan.tif": out.getvalue(),
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return list(content)


TINY_RECIPE = r"""
from resdx.models import Cnn, Net
from resdx.recipes import Recipe, Training
from resdx.data import FolderPerClass
from resdx.transforms import Resize
RECIPE = Recipe(
    name="tiny", title="Tiny films", source=FolderPerClass(group=r"^(p\d+)"), prepare=(Resize(32),), model=Net(Cnn((8, 16))),
    learn=Training(epochs=1, head_epochs=1, batch=16, ema=0.9),
)
"""
DIM = """
from pathlib import Path
from resdx.records import record
Path(__file__).with_name("opened").touch()
@record
class Dim:
    takes = gives = "image"
    by: float = 0.5
    def __call__(self, image):
        return image * self.by
"""


# --- data that cannot be used


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ([], "holds no images; resdx reads a folder per class"),
        (["notes.txt"], "holds no images"),
        (["ill/a.png", "ill/b.png"], "holds 2 images but only one class (ill)"),
        (["a.png", "b.png"], "holds 2 images but no class folders"),
    ],
)
def test_folder_that_is_no_collection_is_refused(tmp_path, names, what):
    data = tmp_path / "data"
    data.mkdir()
    for name in names:
        (data / name).write_text("text") if name.endswith("txt") else draw(data, name)
    assert what in refusal("run", data, "--out", tmp_path / "run", "--json")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("path,labels\nä.png,ill\n".encode("latin-1"), "table.csv is not UTF-8 text (byte 12); save it as UTF-8 CSV"),
        ("path,labels,age\na.png,ill,old\n", "line 2: age or boxes cannot be read"),
        ("id,path,labels\n1,a.png,ill\n1,b.png,well\n", "the id '1' stands for more than one case; make the id column unique"),
        ("path,colour\na.png,red\n", "no column is called like a class"),
        ("colour,label\nred,ill\n", "no column is called like a file name"),
        ("path,labels,labels\na.png,ill,well\n", "column 'labels' occurs 2 times; rename one"),
        ("path,labels\n", "has no rows below its header"),
        ("", "has no rows"),
        ("path,labels\ngone.png,ill\n", "none of its 1 files is there"),
        ("path,labels\na.png,ill\nb.png,ill\n", "all 2 cases are of one class (ill)"),
        ("path,labels,part\na.png,ill,exam\n", "line 2: part is 'exam'; it must be empty, train, val or test"),
    ],
)
def test_table_that_does_not_fit_is_refused(tmp_path, table, what):
    for name in ("a.png", "b.png"):
        draw(tmp_path, name)
    (tmp_path / "table.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    assert what in refusal("scan", tmp_path / "table.csv", "--out", tmp_path / "runs" / "run", "--json")


def test_labels_that_the_recipe_does_not_know_are_named(films, tmp_path):
    said = refusal("scan", films, "--set", "classes=ill,well", "--out", tmp_path / "run", "--json")
    assert said.startswith(
        "plain: the data has the label 'normal', 'opacity', the recipe knows ill, well; change the labels of the data"
    )


def test_fewer_persons_than_folds_are_refused(study, twin):
    run = twin("audit").changed(fold=0, folds=61)
    assert refusal("split", run.path) == "60 persons cannot make 61 folds; use --folds 60 or fewer, or more data"


def test_absent_data_and_unknown_names_are_refused(films, tmp_path):
    assert "gone is not there; give a folder" in refusal("run", tmp_path / "gone", "--json")
    out = ("--out", tmp_path / "run", "--json")
    assert "learn.epochs cannot be 'three': it takes a whole number" in refusal("run", films, "--set", "learn.epochs=three", *out)
    assert "no recipe 'plian'; did you mean plain?" in refusal("run", films, "--recipe", "plian", *out)
    assert "no field 'learn.epoch'; did you mean learn.epochs?" in refusal("run", films, "--set", "learn.epoch=3", *out)
    assert not (tmp_path / "run").exists()


# --- files that cannot be read


def test_batch_goes_on_without_files_that_cannot_be_read(tmp_path):
    data = tmp_path / "data"
    for k in range(40):
        draw(data, f"{('ill', 'well')[k % 2]}/{k}.png", k)
    names = broken_files(data / "ill")
    run = start(data, changes=[("size", "32")], out=tmp_path / "store" / "run", quiet=True)
    assert resdx("scan", data, "--out", tmp_path / "store" / "other", "--json").exit_code == 0
    run = Run.open(tmp_path / "store" / "other")
    said = resdx("audit", run.path, "--json")
    assert sentence(said) == f"6 files left out as unusable; see {run.path / 'failures.csv'}"
    assert [f["code"] for f in json.loads(said.stdout)["findings"]].count("unreadable") == 1
    reasons = dict(run.failures)
    assert sorted(reasons) == sorted(f"ill/{name}" for name in names)
    assert all(str(data / case) in reason and len(reason.splitlines()) == 1 for case, reason in reasons.items())
    assert resdx("split", run.path, "--json").exit_code == 0
    assert "6 files left out" in sentence(resdx("prepare", run.path, "--json"))
    parts = {case.id for part in ("train", "tune", "calib", "test") for case in run.cases(part)}
    assert len(parts) == 40 and not parts & set(reasons)


def test_collection_with_many_unreadable_files_stops_until_that_is_accepted(tmp_path):
    data = tmp_path / "data"
    for k in range(20):
        draw(data, f"{('ill', 'well')[k % 2]}/{k}.png", k)
    broken_files(data / "ill")
    run = tmp_path / "store" / "run"
    assert resdx("scan", data, "--out", run, "--json").exit_code == 0
    said = refusal("audit", run, "--json")
    assert "6 of 26 files cannot be read" in said and f"resdx resume {run} --accept unreadable" in said
    assert "6 of 26 files cannot be read" in refusal("split", run)
    assert resdx("split", run, "--accept", "unreadable", "--json").exit_code == 0


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("empty.png", "is empty (0 bytes); copy it again or remove it"),
        ("cut.png", "cannot be read as an image"),
        ("renamed.png", "cannot be read as an image"),
        ("renamed.dcm", "holds no pixel data (modality unknown) or is cut off before it"),
        ("bomb.png", "is larger than it is safe to open"),
        ("nan.tif", "holds values that are not finite"),
        ("gone.png", "is not there"),
    ],
)
def test_file_without_an_answer_is_named_while_the_others_are_answered(study, films, tmp_path, name, what):
    broken_files(tmp_path / "new")
    film = next((films / "normal").iterdir())
    said = resdx("predict", study.run.path, tmp_path / "new" / name, film, "--json")
    line = sentence(said)
    assert line.startswith(str(tmp_path / "new" / name)) and what in line
    assert [one["case"] for one in json.loads(said.stdout)] == [str(film)]


def test_folder_without_images_has_no_answer(study, tmp_path):
    assert "holds no images" in refusal("predict", study.run.path, tmp_path, "--json")


def test_cross_validation_that_left_files_out_has_status_1(films, study, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(films, data)
    (data / "normal" / "p000-broken.png").write_bytes(b"no picture")
    recipe = tmp_path / "tiny.py"
    recipe.write_text(TINY_RECIPE)
    said = resdx("run", data, "--recipe", recipe, "--folds", 2, "--out", tmp_path / "all", "--json")
    assert sentence(said) == f"1 file left out as unusable; see {tmp_path / 'all' / 'fold-0' / 'failures.csv'}"
    assert json.loads(said.stdout)["folds"] == 2


# --- places that cannot be written


def test_output_that_cannot_be_made_is_refused(films, tmp_path):
    (tmp_path / "file").write_text("a file")
    said = refusal("run", films, "--out", tmp_path / "file" / "run", "--json")
    assert "file/run cannot be made (Not a directory); choose another --out" in said
    said = refusal("scan", films, "--out", tmp_path / "file", "--json")
    assert said.endswith("file cannot be made (File exists); choose another --out")


@contextmanager
def tiny_disk(place, size):
    """A file system of `size` bytes, where one may be mounted."""
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("no right to mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def largest_file(size):
    """No file may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_is_one_sentence_and_leaves_no_half_prepared_pictures(twin, tmp_path):
    run = twin("split")
    with tiny_disk(tmp_path / "disk", 200_000) as disk:
        shutil.copytree(run.path, disk / "run")
        command = [sys.executable, "-m", "resdx", "prepare", disk / "run", "--json"]  # a bus error would end this process
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        (line,) = said.stderr.splitlines()
        assert said.returncode == 1
        assert "cannot be written (No space left on device); free some space or choose another --out" in line
        assert list((disk / "cache").iterdir()) == []


def test_full_disk_while_auditing_is_one_sentence_and_leaves_the_scan(twin, tmp_path):
    run = twin("scan")
    with tiny_disk(tmp_path / "disk", 65_536) as disk:
        shutil.copytree(run.path, disk / "run")
        with (disk / "full").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        said = refusal("audit", disk / "run", "--json")
        assert "cannot be written (No space left on device); free some space or choose another --out" in said
        assert "new/run.json cannot be written" in refusal("scan", run.settings.data, "--out", disk / "new", "--json")
        assert not (disk / "run" / "audit.json").exists() and not (disk / "new" / "run.json").exists()
        assert not list(disk.rglob("*.part"))
        assert (disk / "run" / "manifest.csv").read_bytes() == (run.path / "manifest.csv").read_bytes()


def test_full_disk_while_training_is_one_sentence_and_leaves_no_half_file(resnet_twin):
    run = resnet_twin("prepare")
    run.changed(recipe=run.recipe.set("learn.head_epochs", "2"))
    with largest_file(1_000_000):  # the weights take 45 MB
        said = refusal("train", run.path, "--json")
    assert "best.safetensors cannot be written (File too large); free some space or choose another --out" in said
    assert not [path.name for path in run.path.iterdir() if path.suffix in (".part", ".safetensors")]


def test_log_that_cannot_be_written_is_one_sentence(twin):
    run = twin("train")
    (run.path / "log.jsonl").mkdir()
    assert "log.jsonl cannot be written (Is a directory)" in refusal("calibrate", run.path, "--json")


# --- runs and weights of others


def test_run_directory_of_another_format_is_refused(twin):
    run = twin("prepare")
    data = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(data | {"format": 99}))
    for command in (["resume"], ["train"], ["predict", "x.png"]):
        said = refusal(command[0], run.path, *command[1:])
        assert "has run format 99, this resdx reads 1; open it with the version that wrote it" in said


GOLDEN = Path(__file__).parents[1] / "golden"  # made before the modules moved into rooms


def kept_run(folder, change=lambda stored: None):
    """A copy of a finished run of before, whose run.json may be changed."""
    shutil.copytree(GOLDEN / "run", folder)
    stored = json.loads((folder / "run.json").read_text())
    change(stored)
    (folder / "run.json").write_text(json.dumps(stored))
    return folder


def test_run_directory_of_before_the_rooms_predicts(tmp_path):
    film = next((GOLDEN / "films").rglob("*.png"))
    said = resdx("predict", kept_run(tmp_path / "run"), film, "--json")
    assert said.exit_code == 0 and json.loads(said.stdout)[0]["case"] == str(film)


def newer(stored):
    stored["format"] = 2


def unknown_class(stored):
    stored["recipe"]["prepare"][1]["is"] = "Gray"


def gone_class(stored):
    stored["recipe"]["model"]["trunk"]["is"] = "Swin"


def unknown_field(stored):
    stored["recipe"]["learn"]["epoch"] = 3


def wrong_type(stored):
    stored["recipe"]["learn"]["epochs"] = "twelve"


def wrong_choice(stored):
    stored["recipe"]["learn"]["optimiser"] = "adma"


def out_of_range(stored):
    stored["recipe"]["learn"]["batch"] = -1


def wrong_setting(stored):
    stored["settings"]["seed"] = "zero"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (newer, "has run format 2, this resdx reads 1; open it with the version that wrote it"),
        (unknown_class, "'Gray'"),
        (gone_class, "'Swin'"),
        (unknown_field, "epoch"),
        (wrong_type, "epochs"),
        (wrong_choice, "adma"),
        (out_of_range, "batch"),
        (wrong_setting, "seed"),
    ],
)
def test_run_directory_that_cannot_be_understood_is_refused_in_one_sentence(tmp_path, change, what):
    run = kept_run(tmp_path / "run", change)
    for command in (["predict", run, "x.png"], ["report", run], ["evaluate", run], ["resume", run], ["export", run]):
        assert what in refusal(*command), command[0]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', '{"format": 1, "recipe": 3, "settings": {}}'])
def test_run_json_that_is_broken_is_refused_in_one_sentence(tmp_path, text):
    run = kept_run(tmp_path / "run")
    (run / "run.json").write_text(text)
    assert "run" in refusal("resume", run)


def test_folder_that_is_no_run_is_refused(tmp_path):
    assert "is no run directory (it has no run.json)" in refusal("resume", tmp_path)


def test_stage_before_its_time_is_refused(twin):
    assert "calibrate needs train first" in refusal("calibrate", twin("prepare").path)


class Trap:
    """Unpickling it makes a file: what a malicious weights file could do."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (self.mark, "w")


def test_foreign_weights_are_refused_and_never_run(resnet_twin, tmp_path):
    run = resnet_twin("prepare")
    mark = str(tmp_path / "trapped")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Trap(mark)))
    torch.save({"state_dict": Trap(mark)}, tmp_path / "trap.pth")
    save_file({"conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "shape.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    (tmp_path / "weights.h5").write_bytes(b"x")
    for name, what in (
        ("pickle.pth", "holds more than tensors, and opening it could run code"),
        ("trap.pth", "holds more than tensors, and opening it could run code"),
        ("shape.safetensors", "conv1.weight is (64, 3, 3, 3), but the network takes (64, 3, 7, 7)"),
        ("cut.safetensors", "cannot be read as weights"),
        ("weights.h5", "weights come as .safetensors, .pth or .pt, not .h5"),
        ("gone.pth", "is not there; check the path"),
    ):
        run.changed(weights=str(tmp_path / name))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # torch's own words would come before the sentence
            said = refusal("train", run.path)
        assert what in said and name in said
    assert not os.path.exists(mark)


def test_published_weights_with_another_hash_are_refused(resnet_twin, tmp_path, monkeypatch):
    run = resnet_twin("prepare")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RESDX_WEIGHTS", str(tmp_path))
    torch.save({}, tmp_path / "resnet18-f37072fd.pth")
    run.changed(recipe=run.recipe.set("model.backbone.weights", "imagenet"))
    assert "is not the published resnet18-f37072fd.pth: its sha256 is" in refusal("train", run.path)
    assert not (cache_folder() / "sha256.json").exists()


@pytest.mark.slow
def test_run_with_a_step_of_ones_own_is_opened_by_naming_the_file(films, tmp_path):
    recipe = tmp_path / "dim.py"
    recipe.write_text(DIM + TINY_RECIPE.replace("prepare=(", "prepare=(Dim(), "))
    run = tmp_path / "store" / "run"
    skipped = [word for name in SKIPPED for word in ("--skip", name)]
    asked = ["scan", films, "--recipe", recipe, "--out", run, *skipped]
    said = subprocess.run([sys.executable, "-m", "resdx", *asked], check=False)
    assert said.returncode == 0
    (tmp_path / "opened").unlink()
    for command, named in (("audit", ()), ("resume", ("--recipe", recipe))):
        args = [sys.executable, "-m", "resdx", command, run, "--json", *named]
        said = subprocess.run(args, capture_output=True, text=True, check=False)
        if named:
            assert said.returncode == 0, said.stderr
        else:
            (line,) = said.stderr.splitlines()
            assert line.startswith("resdx: the run uses 'Dim', which this version of resdx does not know")
            assert "name the file: --recipe FILE.py, or Run.open(path, recipe=FILE) from Python" in line
            assert said.returncode == 1 and not (tmp_path / "opened").exists()
    assert (tmp_path / "opened").exists()


# --- what is printed


def test_options_name_the_stages_that_there_are():
    assert [stage.name for stage in stages.STAGES if stage.evidence] == list(EVIDENCE)
    assert stages.EVIDENCE == SKIPPED


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_beginning_with_its_sentence(command):
    said = resdx(command, "--help")
    assert said.exit_code == 0 and said.stdout.startswith(f"Usage: cli {command} ")
    assert " ".join(said.stdout.split("\n\n")[1].split()) == COMMANDS[command][1]


def test_help_lists_every_command():
    said = resdx("--help")
    assert [
        line.split()[0] for line in said.stdout.split("Commands:")[1].splitlines() if line.startswith("  ") and line[2] != " "
    ] == list(COMMANDS)


def test_command_that_is_not_there_is_a_usage_error():
    said = resdx("trian")
    assert said.exit_code == 2 and "No such command 'trian'" in said.stderr


def seconds(*command):
    """Processor time of a new interpreter: what others do on the machine adds little to it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_there_at_once():
    bare, shown = (min(seconds(*command) for _ in range(10)) for command in (("-c", "pass"), ("-m", "resdx", "--help")))
    assert shown <= 3 * bare  # 2.5 where it was measured; an import of NumPy makes it 5


@pytest.mark.parametrize("module", ["main", "commands", "options", "runs", "inference", "research"])
def test_command_line_loads_no_library_before_a_command_runs(module):
    code = f"import sys, resdx.apps.cli.{module}; print(*{{'torch', 'numpy', 'PIL', 'sklearn'}} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == ""


def test_json_is_all_that_is_printed(study, twin):
    for args in (
        ("resume", study.run.path),
        ("report", twin("report").path),
        ("calibrate", twin("train").path),
        ("split", twin("audit").path),
        ("recipes",),
    ):
        said = resdx(*args, "--json")
        assert (said.exit_code, said.stderr) == (0, ""), args
        assert json.loads(said.stdout)


def test_schema_of_a_recipe_is_json_and_needs_its_name():
    said = resdx("recipes", "malaria", "--schema")
    assert said.exit_code == 0 and json.loads(said.stdout)["properties"]["name"]["default"] == "malaria"
    said = resdx("recipes", "--schema")
    assert said.exit_code == 2 and "--schema needs the NAME of a recipe, such as plain" in said.stderr


def test_metrics_of_a_finished_run_are_printed_as_they_were_stored(study):
    assert json.loads(resdx("resume", study.run.path, "--json").stdout) == study.metrics.to_json()


def test_field_without_a_value_is_a_usage_error(films):
    said = resdx("run", films, "--set", "learn.epochs")
    assert said.exit_code == 2 and "'learn.epochs' is no FIELD=VALUE, such as learn.epochs=3" in said.stderr
