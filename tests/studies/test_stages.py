"""The flow: in order, resumed where it stopped, repeated without stale results, and clear about what is missing."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from resdx.apps.cli.main import cli
from resdx.data.audit.audit import Audit
from resdx.data.cases import Finding
from resdx.data.split import RandomImages
from resdx.errors import AuditStop, DataError, RecipeError, RunError
from resdx.files import read_log, write_json
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.pipeline import settle
from resdx.studies.stages import EVIDENCE, NAMES, STAGES, is_done, repeat, result_of, resume
from resdx.studies.start import accepting, start
from resdx.studies.study import open_study

FLOW = tuple(stage for stage in STAGES if not stage.evidence)  # what a run that skips the evidence does
ORDER = tuple(stage.name for stage in FLOW)


def test_weights_are_not_lost_unasked(study, twin):
    run = twin("calibrate")
    for name in ("audit", "split", "prepare", "train"):
        said = CliRunner().invoke(cli, [name, str(run.path)])
        assert said.exit_code == 1 and f"is trained: `resdx {name}` would remove its weights and results" in said.output
    assert (run.path / "calibration.json").exists()
    said = CliRunner().invoke(cli, ["split", str(run.path), "--again"])
    assert said.exit_code == 0 and not (run.path / "best.safetensors").exists()


def files(run):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.path.iterdir()}


def test_stages_run_in_their_order(study):
    assert tuple(event["stage"] for event in study.run.events("stage")) == ORDER
    assert all(is_done(study.run, stage) for stage in FLOW)
    absent = [file for stage in FLOW for file in stage.makes if not (study.run.path / file).exists()]
    # A checkpoint is of no use any more, and one network that tells classes has neither made pictures, nor boxes, nor trials,
    # nor members.
    made = ["generators", "generated", "generated.npz", "generated.json"]
    assert absent == [*made, "anchors.json", "search", "state.safetensors", "members", "ensemble.json", "boxes", "boxes.csv"]


def test_finished_run_is_left_alone_by_resume(study):
    before = files(study.run)
    resume(study.run)
    assert files(study.run) == before


def test_finished_run_opens_as_a_study(study, films):
    again = open_study(study.run.path)
    assert again.metrics == study.metrics and again.report().name == "report.html"
    film = next((films / "normal").iterdir())
    (answer,) = again.predict(film)
    assert answer.case == str(film) and answer.run == "run"
    found, gone = again.predict([film, "gone.png"])
    assert found == answer and gone.label is None and not gone.probabilities and "gone.png is not there" in gone.error


@pytest.mark.parametrize("name", ["calibrate", "evaluate", "report"])
def test_repeating_a_stage_gives_the_same_and_removes_what_came_after(study, twin, name):
    run = twin("report")
    ledger = run.store / "test-reads.jsonl"
    before = sum(line["test"] == study.metrics.test.hash and "by" not in line for line in read_log(ledger))
    repeat(run, name)
    at = ORDER.index(name)
    assert [is_done(run, stage) for stage in FLOW] == [k <= at or not stage.makes for k, stage in enumerate(FLOW)]
    assert not [file for stage in FLOW[at + 1 :] for file in stage.makes if (run.path / file).exists()]
    if name == "evaluate":
        assert (run.path / "predictions.csv").read_bytes() == (study.run.path / "predictions.csv").read_bytes()
        assert (run.metrics.to_json()["scores"]) == study.metrics.to_json()["scores"]
        assert run.metrics.test.reads == before + 1  # the ledger does not forget


def test_repeating_the_split_removes_the_training(study, twin):
    run = twin("report")
    (run.path / "state.safetensors").touch()
    repeat(run, "split")
    assert (run.path / "split.csv").read_bytes() == (study.run.path / "split.csv").read_bytes()
    assert not (run.path / "best.safetensors").exists() and not (run.path / "state.safetensors").exists()


def test_stage_before_its_time_names_the_one_that_is_missing(twin, films, tmp_path):
    fresh = start(films, out=tmp_path / "fresh", quiet=True)
    with pytest.raises(RunError, match=r"fresh: evaluate needs scan first; run `resdx scan .*fresh` or `resdx resume .*fresh`"):
        repeat(fresh, "evaluate")
    with pytest.raises(RunError, match="calibrate needs train first"):
        repeat(twin("prepare"), "calibrate")


def put(run, *names):
    """The run as if this evidence had been made."""
    for stage in STAGES:
        if stage.name in names:
            for file in stage.makes:
                if "." in file:
                    write_json(run.path / file, {"missing": "nothing to see"})
                else:
                    (run.path / file).mkdir()
                    (run.path / file / "1.png").write_bytes(b"")


def made(run):
    return {stage.name for stage in STAGES if stage.evidence and is_done(run, stage)}


def test_evidence_stands_side_by_side_and_falls_with_what_it_rests_on(twin):
    run = twin("report")
    put(run, *EVIDENCE, "leak-worth")
    repeat(run, "embedding")
    assert made(run) == {*EVIDENCE, "leak-worth"} and not is_done(run, STAGES[-1])
    assert len(run.read("embedding.json", "embedding")["points"]) > 0
    repeat(run, "evaluate")
    assert not made(run) and not (run.path / "explain").exists()


def test_resume_makes_what_is_missing_but_not_what_was_skipped_or_has_to_be_asked_for(twin):
    run = twin("evaluate")
    assert run.settings.skip == EVIDENCE
    put(run, "controls")
    resume(run.changed(skip=("explain", "suspects")))
    assert made(run) == {"controls", "embedding"}
    assert run.read("controls.json", "controls") == {"missing": "nothing to see"}  # was done, and rests on nothing that changed
    assert is_done(run, STAGES[-1])


def test_what_the_result_rests_on_cannot_be_skipped(films, tmp_path):
    with pytest.raises(RunError, match="split cannot be skipped; what can be left out is controls, explain, embedding, suspects"):
        start(films, out=tmp_path / "run", skip=["split"])


def test_report_of_an_unfinished_run_says_what_is_missing(twin):
    run = twin("audit")
    repeat(run, "report")
    assert "Not here yet" in (run.path / "report.html").read_text()


def test_stop_of_the_audit_holds_until_it_is_accepted(twin):
    run = twin("audit")
    found = run.read_as("audit.json", "audit", Audit.from_json)
    stops = tuple(Finding(code, "stop", f"Something is wrong with {code}.") for code in ("one-source-class", "unreadable"))
    write_json(run.path / "audit.json", replace(found, findings=stops).to_json())
    with pytest.raises(
        AuditStop,
        match=r"^Something .* Mend the data, or go on with: resdx resume .* --accept one-source-class --accept unreadable$",
    ):
        repeat(run, "split")
    run = accepting(run, ["one-source-class"])
    with pytest.raises(AuditStop, match="wrong with unreadable"):
        settle(run)
    run = accepting(run, ["unreadable", "one-source-class"])
    repeat(run, "split")
    assert Run.open(run.path).settings.accepted == ("one-source-class", "unreadable")
    assert is_done(run, STAGES[NAMES.index("split")])


def test_what_nobody_can_answer_for_is_not_accepted(twin, films, tmp_path):
    run = twin("audit")
    for work in (lambda codes: accepting(run, codes), lambda codes: start(films, out=tmp_path / "run", accept=codes)):
        for code in ("nonsense", "too-few-persons"):
            with pytest.raises(RunError, match=f"^--accept {code} names no finding that can be accepted; those are unreadable, "):
                work(["unreadable", code])
    found = run.read_as("audit.json", "audit", Audit.from_json)
    few = Finding("too-few-persons", "stop", "Class 'x' has 1 person: leave it out.")
    write_json(run.path / "audit.json", replace(found, findings=(few,)).to_json())
    with pytest.raises(AuditStop, match=r"^Class 'x' has 1 person: leave it out\. Then start a new run\.$"):
        repeat(run, "split")


def test_classes_that_the_recipe_does_not_know_are_an_error(study, films, tmp_path):
    recipe = replace(study.run.recipe, classes=("ill", "well"))
    with pytest.raises(RecipeError, match="tiny: the data has the label 'normal', 'opacity', the recipe knows ill, well"):
        repeat(start(films, recipe=recipe, out=tmp_path / "run", quiet=True), "scan")


def test_published_protocol_needs_a_published_split(twin):
    run = twin("audit").changed(protocol="published")
    with pytest.raises(DataError, match="the paper does not state its split; use --protocol assumed"):
        repeat(run, "split")
    run = run.changed(recipe=replace(run.recipe, published_split=RandomImages(0.25, 1)))
    repeat(run, "split")
    assert len(run.cases("test")) == 30
    assert run.read("split.json", "split")["rule"].startswith("published: random images 75%/25%, seed 1")


def test_scan_settles_classes_and_keeps_the_run_where_the_data_is(study, films):
    assert study.run.recipe.classes == ("normal", "opacity")
    assert study.run.settings.data == str(films.resolve())


def test_prepared_pictures_are_shared_by_the_runs_of_a_store(study, twin):
    first = prepared_of(study.run)
    written = (first.folder / "images.npy").stat().st_mtime_ns
    again = prepared_of(twin("audit"))
    assert again.images.shape == (120, 32, 32, 1) and again.folder == first.folder
    assert (again.folder / "images.npy").stat().st_mtime_ns == written


def test_result_of_a_stage_is_its_json_or_the_files_it_made(study):
    assert result_of(study.run, "evaluate") == study.metrics.to_json()
    assert result_of(study.run, "train")["made"][0] == "best.safetensors"


def test_existing_run_is_not_started_again(study, films):
    with pytest.raises(RunError, match=r"holds a run already; go on with `resdx resume .*` or choose another --out"):
        start(films, out=study.run.path)


def test_run_that_is_being_worked_on_is_left_alone(twin):
    run = twin("train")
    before = sorted(path.name for path in run.path.iterdir())
    with run.alone():
        for work in (resume, lambda run: repeat(run, "calibrate")):
            with pytest.raises(RunError, match="is being worked on by another process"):
                work(run)
    assert sorted(path.name for path in run.path.iterdir() if path.name != "lock") == before
    repeat(run, "calibrate")


def test_seconds_of_a_stage_that_stopped_are_those_of_all_its_sessions(twin):
    run = twin("train")
    run.log("begin", stage="calibrate")
    time.sleep(0.3)
    run.log("note")  # the last line before it was killed
    repeat(run, "calibrate")
    assert run.events("stage")[-1]["seconds"] >= 0.3
    repeat(run, "calibrate")  # afresh
    assert run.spent("calibrate") == (0, 0)


def test_audit_that_stops_is_timed_all_the_same(films, study, tmp_path):
    table = tmp_path / "two.csv"
    shown = sorted(films.glob("*/*.png"))[::30]
    table.write_text("path,labels,group\n" + "".join(f"{path},{path.parent.name},{path.name[:4]}\n" for path in shown))
    run = start(table, recipe=replace(study.run.recipe, source=None), out=tmp_path / "run", quiet=True)
    with pytest.raises(AuditStop):
        resume(run)
    assert [event["stage"] for event in run.events("stage")] == ["scan", "audit"]


def killed(run, *names):
    """The run as if it was killed before these files were written."""
    for name in names:
        (run.path / name).unlink()
    return Run.open(run.path, quiet=True)


@pytest.mark.parametrize("lost", [("manifest.csv",), ("manifest.csv", "scan.json")])
def test_scan_of_a_table_that_was_killed_goes_on(films, study, tmp_path, lost):
    shutil.copytree(films, tmp_path / "films")
    table = tmp_path / "cases.csv"
    table.write_text(
        "path,labels\n" + "".join(f"films/{path.parent.name}/{path.name},{path.parent.name}\n" for path in films.glob("*/*.png"))
    )
    run = start(table, recipe=replace(study.run.recipe, source=None), out=tmp_path / "run", quiet=True)
    repeat(run, "scan")
    manifest = Run.open(run.path).manifest
    run = killed(run, *lost)
    repeat(run, "scan")
    assert Run.open(run.path).manifest == manifest and manifest.root == tmp_path


def test_class_folder_that_is_new_is_found_when_scanning_afresh(films, study, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(films, data)
    run = start(data, recipe=study.run.recipe.set("classes", ""), out=tmp_path / "run", quiet=True)
    repeat(run, "scan")
    (data / "unclear").mkdir()
    for path in sorted((data / "normal").iterdir())[:4]:
        path.rename(data / "unclear" / path.name)
    repeat(Run.open(run.path, quiet=True), "scan")
    assert Run.open(run.path).recipe.classes == ("normal", "opacity", "unclear")


def test_class_folder_that_the_recipe_does_not_name_stays_an_error(films, study, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(films, data)
    run = start(data, recipe=replace(study.run.recipe, classes=("normal", "opacity")), out=tmp_path / "run", quiet=True)
    repeat(run, "scan")
    (data / "opacity").rename(data / "shadow")
    with pytest.raises(RecipeError, match="the data has the label 'shadow', the recipe knows normal, opacity"):
        repeat(Run.open(run.path, quiet=True), "scan")
