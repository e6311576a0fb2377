"""The run directory: made once, opened again the same, and clear about what it lacks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from resdx.data.cases import Case, Finding, Manifest
from resdx.data.split import split
from resdx.errors import DataError, RunError
from resdx.recipes.library import get_recipe, recipe_titles
from resdx.runs.run import FORMAT, Run, Scores, resolve_data
from resdx.runs.settings import Settings

RECIPE = get_recipe("plain")


def make(tmp_path, recipe=RECIPE, **settings):
    return Run.create(tmp_path / "store" / "one", recipe, Settings(data=str(tmp_path), **settings), quiet=True)


def rewrite(run, change):
    """Change run.json as another version would have written it."""
    data = json.loads((run.path / "run.json").read_text())
    change(data)
    (run.path / "run.json").write_text(json.dumps(data))


@pytest.mark.parametrize("name", recipe_titles())
def test_run_of_any_recipe_opens_as_it_was_made(tmp_path, name):
    run = make(tmp_path, get_recipe(name), seed=3, accepted=("copies",), fold=1, choices={"dtype": "bfloat16"})
    again = Run.open(run.path, quiet=True)
    assert again == run
    assert again.settings.created.endswith("+00:00")


def test_existing_run_is_not_overwritten(tmp_path):
    make(tmp_path)
    with pytest.raises(RunError, match=r"one holds a run already; go on with `resdx resume .*one` or choose another --out"):
        make(tmp_path)


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(RunError, match=r"one cannot be made \(.*\); choose another --out"):
        make(tmp_path)


def test_folder_that_is_no_run_says_how_to_make_one(tmp_path):
    with pytest.raises(RunError, match=r"has no run\.json.*; make one with `resdx run DATA --out "):
        Run.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda data: data.update(format=FORMAT + 1), f"has run format {FORMAT + 1}, this resdx reads {FORMAT}"),
        (lambda data: data.pop("format"), "has run format None"),
        (
            lambda data: data["recipe"]["augment"].append({"is": "Swirl"}),
            "uses 'Swirl', which this version of resdx does not know",
        ),
        (lambda data: data["recipe"].update(read={"is": "ReadImage", "version": 9}), "used version 9 of ReadImage"),
        (lambda data: data["recipe"].update(colour=1), r"sets Recipe\.colour"),
        (
            lambda data: data["recipe"].update(views=7),
            "does not fit this version of resdx: Recipe.views cannot be 7: it takes 1, 2 or 8",
        ),
        (
            lambda data: data["recipe"].update(learn={"is": "Training", "epochs": "3"}),
            "Training.epochs cannot be '3': it takes a whole",
        ),
        (lambda data: data["recipe"].update(learn={"is": "Training", "optimiser": "adma"}), "'adma'; did you mean 'adam'"),
        (lambda data: data["recipe"].update(learn={"is": "Training", "epoch": 3}), r"sets Training\.epoch, which"),
        (lambda data: data["settings"].update(mood="good"), "does not fit this version of resdx .*mood"),
        (lambda data: data.pop("settings"), "does not fit this version of resdx"),
    ],
)
def test_run_of_another_version_says_what_does_not_fit(tmp_path, change, what):
    run = make(tmp_path)
    rewrite(run, change)
    with pytest.raises(RunError, match=what) as caught:
        Run.open(run.path)
    assert "\n" not in str(caught.value)


def test_broken_run_file_is_named(tmp_path):
    run = make(tmp_path)
    (run.path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json cannot be read"):
        Run.open(run.path)


def test_run_file_of_another_program_is_named(tmp_path):
    run = make(tmp_path)
    (run.path / "run.json").write_text("[]")
    with pytest.raises(
        RunError, match=r"run\.json is not what resdx writes; put back the file that was there, or make a new run"
    ):
        Run.open(run.path)


@pytest.mark.parametrize("text", ["[]", "3", '{"findings": 1}', '{"other": []}', '{"findings": [{"grade": "stop"}]}'])
def test_result_of_another_program_is_named(tmp_path, text):
    run = make(tmp_path)
    (run.path / "scan.json").write_text(text)
    with pytest.raises(
        RunError, match=r"scan\.json is not what resdx writes; put back the file that was there, or make a new run"
    ):
        run.read_as("scan.json", "scan", lambda told: [Finding.from_json(one) for one in told["findings"]])


def test_a_folder_with_files_of_somebody_else_is_no_place_for_a_run(tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "manifest.csv").write_text("path,label\n")
    with pytest.raises(
        RunError, match=r"films holds other files \(manifest\.csv\), which a run could overwrite; choose another --out"
    ):
        Run.create(tmp_path / "films", get_recipe("plain"), Settings("films"), quiet=True)
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["manifest.csv"]


def test_field_that_is_new_since_does_not_invalidate_a_run(tmp_path):
    run = make(tmp_path)
    rewrite(run, lambda data: data["settings"].pop("weights"))
    assert Run.open(run.path, quiet=True) == run


@pytest.mark.parametrize(("read", "stage"), [("metrics", "evaluate"), ("manifest", "scan")])
def test_missing_stage_is_named(tmp_path, read, stage):
    run = make(tmp_path)
    with pytest.raises(RunError, match=rf"one has no {read}\.\w+ yet; run `resdx {stage} .*one` first"):
        getattr(run, read)
    with pytest.raises(RunError, match=r"no split\.csv yet; run `resdx split"):
        run.cases("train")
    with pytest.raises(RunError, match=r"no scores-test\.npz yet"):
        run.scores("test")


def test_changed_settings_are_stored(tmp_path):
    run = make(tmp_path)
    changed = run.changed(recipe=RECIPE.set("learn.epochs", "2"), choices={"dtype": "float32"})
    assert Run.open(run.path, quiet=True) == changed == replace(run, recipe=changed.recipe, settings=changed.settings)


def test_cases_of_a_part_carry_the_person_that_intervals_count(tmp_path):
    run = make(tmp_path)
    cases = tuple(Case(f"{k}", f"{k}.png", group=f"P{k // 2}" if k < 60 else "", labels=("ab"[k // 2 % 2],)) for k in range(80))
    manifest = Manifest(tmp_path, cases)
    (run.path / "manifest.csv").write_text(manifest.to_csv())
    divided = split(manifest, [("70", "71")])
    (run.path / "split.csv").write_text(divided.to_csv())
    assert run.manifest == manifest
    for part in ("train", "tune", "calib", "test"):
        assert [case.id for case in run.cases(part)] == list(divided.ids(part))
        assert all(case.group == divided.persons[case.id] for case in run.cases(part))


def test_store_is_the_folder_around_the_run(tmp_path):
    assert make(tmp_path).store == (tmp_path / "store").resolve()


def test_scores_come_back(tmp_path):
    run, rng = make(tmp_path), np.random.default_rng(0)
    scores = Scores(("a ü", "b"), rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(2, 5)).astype(np.float32))
    run.write_scores("test", scores)
    again = run.scores("test")
    assert again.ids == scores.ids
    assert_array_equal(again.logits, scores.logits)
    np.testing.assert_allclose(again.embeddings, scores.embeddings, rtol=1e-3)
    assert again.embeddings.dtype == np.float32


def test_log_keeps_events_and_passes_over_a_line_that_was_cut_off(tmp_path):
    run = make(tmp_path)
    assert run.events("epoch") == []
    run.log("epoch", epoch=1)
    run.log("other")
    with (run.path / "log.jsonl").open("a") as file:
        file.write('{"time": "2026-0\n')
    run.log("epoch", epoch=2)
    assert [event["epoch"] for event in run.events("epoch")] == [1, 2]


def test_failures_are_listed(tmp_path):
    run = make(tmp_path)
    run.write_failures([("a,b.png", "no picture")])
    assert (run.path / "failures.csv").read_text() == 'case,reason\n"a,b.png",no picture\n'


def test_what_is_said_is_kept(tmp_path, capsys):
    run = make(tmp_path)
    run.say("[b]half[/b] done")
    assert (run.path / "log.txt").read_text().endswith("  [b]half[/b] done\n")
    assert capsys.readouterr().err == ""  # quiet
    replace(run, quiet=False).say("[b]half[/b] done")
    assert "[b]half[/b] done" in capsys.readouterr().err


def test_absent_data_is_an_error(tmp_path):
    assert resolve_data(tmp_path) == tmp_path.resolve()
    with pytest.raises(DataError, match=r"gone is not there; give a folder of images"):
        resolve_data(tmp_path / "gone")


def test_events_of_a_training_that_began_afresh_are_passed_over(tmp_path):
    run = make(tmp_path)
    run.log("stage", stage="scan", seconds=1)
    run.log("epoch", epoch=1)
    run.log("afresh", forget=["epoch"])
    run.log("epoch", epoch=2)
    assert [event["epoch"] for event in run.events("epoch")] == [2]
    assert len(run.events("stage")) == 1


HOLD = """
import sys, time
from resdx.runs.run import Run
with Run.open(sys.argv[1], quiet=True).alone():
    print("held", flush=True)
    time.sleep(600)
"""


def test_run_is_held_by_one_process_until_it_ends_even_if_killed(tmp_path):
    run = make(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", HOLD, run.path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=r"one is being worked on by another process; wait until it ends, or stop it"), run.alone():
        pass
    process.kill()
    process.wait()
    with run.alone():
        pass


def test_sessions_of_a_stage_are_added_until_it_begins_afresh(tmp_path):
    run = make(tmp_path)
    lines = (
        (0, 1.0, "begin", {"stage": "train"}),
        (10, 9.0, "epoch", {}),  # killed after that
        (100, 0.5, "afresh", {"stages": ["report"], "forget": []}),
        (101, 0.5, "begin", {"stage": "train"}),
        (121, 20.5, "epoch", {}),
        (200, 0.0, "begin", {"stage": "audit"}),
        (300, 99.0, "stage", {"stage": "audit"}),
    )
    with (run.path / "log.jsonl").open("w") as file:
        for second, core, event, more in lines:
            time = f"2026-01-01T00:{second // 60:02}:{second % 60:02}+00:00"
            file.write(json.dumps({"time": time, "event": event, **more, "core": core}) + "\n")
    assert run.spent("train") == (30, 28)
    assert run.spent("audit") == (0, 0)  # finished: what comes after begins afresh
    run.log("afresh", stages=["train"], forget=["epoch"])
    assert run.spent("train") == (0, 0)
