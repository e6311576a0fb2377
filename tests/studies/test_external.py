"""External validation: nothing shared goes unnoticed, nothing is fitted there, and the figures are those of the answers."""

from __future__ import annotations

import html
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from resdx.data.cases import Case, Manifest
from resdx.data.phantoms import draw_phantoms
from resdx.data.tasks import MultiLabel
from resdx.errors import AuditStop, DataError, RunError
from resdx.evaluation.figures import Judged, figures, judge_figures
from resdx.evaluation.outputs import Answers
from resdx.files import read_log
from resdx.inference.predictor import Predictor
from resdx.runs.ledger import LEDGER
from resdx.studies.external import change, external, external_table, relabelled


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Films of 40 other persons, whose ids start again at p000."""
    folder = tmp_path_factory.mktemp("elsewhere") / "hospital C"
    draw_phantoms(folder, persons=40, images=1, size=48, seed=7)
    return folder


@pytest.fixture(scope="module")
def validated(study, elsewhere, tmp_path_factory):
    """A copy of the finished run, scored on them, and what was found."""
    path = study.run.store / "validated"
    shutil.copytree(study.run.path, path)
    run = replace(study.run, path=path)
    return run, external(run, elsewhere, draws=200)


def test_figures_are_those_of_the_answers_to_the_files(validated, elsewhere):
    run, found = validated
    files = sorted(elsewhere.glob("*/*.png"))
    said, _ = Predictor.open(run).predict(files)
    p = [one.probabilities["opacity"] for one in said]
    area = roc_auc_score([file.parent.name == "opacity" for file in files], p)
    assert found["change"]["auroc opacity"]["external"]["value"] == pytest.approx(area)
    referred = np.mean([one.label is None for one in said])
    assert found["referred"]["external"]["value"] == pytest.approx(referred)
    assert found["test"]["cases"] == found["test"]["persons"] == 40


def test_figures_at_home_are_those_of_the_run(validated):
    run, found = validated
    level = run.metrics.to_json()["scores"]["image"]
    assert found["change"]["auroc opacity"]["internal"] == level["classes"]["opacity"]["auroc"]
    assert found["change"]["sensitivity opacity"]["internal"] == level["classes"]["opacity"]["sensitivity"]
    for one in found["change"].values():
        gap = one["external"]["value"] - one["internal"]["value"]
        assert one["change"]["value"] == pytest.approx(gap, abs=1e-6)


def test_ids_that_start_again_are_no_shared_persons(validated):
    _, found = validated
    assert len(found["shared"]["persons"]) == 40 and not found["shared"]["left_out"]
    assert any("numbering is taken to start again" in note for note in found["notes"])


def test_files_are_written_and_the_reading_is_counted(validated):
    run, found = validated
    assert json.loads((run.path / "external-hospital-C.json").read_text()) == json.loads(json.dumps(found))
    page = (run.path / "external-hospital-C.html").read_text()
    assert found["verdict"] in html.unescape(page) and "<script" not in page and page.count("<svg") >= 2
    lines = [line for line in read_log(run.store / LEDGER) if line["test"] == found["test"]["hash"]]
    assert [line["run"] for line in lines] == ["validated"] and found["test"]["reads"] == 1
    assert external_table(found).startswith(found["verdict"])


def test_the_runs_own_films_are_refused_and_named(twin, films):
    with pytest.raises(
        AuditStop, match=r"120 of 120 cases of films are known .*120 byte-identical.*\(.*\.png is .*\.png.*--accept"
    ):
        external(twin("evaluate"), films)


def test_a_run_directory_gives_its_manifest_and_audit(twin, study):
    with pytest.raises(AuditStop, match="120 of 120 cases of run are known"):
        external(twin("evaluate"), study.run.path)


def test_shared_films_are_left_out_with_all_of_their_person(twin, films, elsewhere, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(elsewhere, mixed)
    copied, encoded = sorted(films.glob("opacity/*_0.png"))[:2]
    shutil.copy(copied, mixed / "opacity" / "p900_0.png")
    with Image.open(encoded) as image:
        image.save(mixed / "opacity" / "p901_0.jpg", quality=92)
    shutil.copy(sorted(mixed.glob("opacity/p0*.png"))[0], mixed / "opacity" / "p900_1.png")
    run = twin("evaluate")
    with pytest.raises(AuditStop, match=r"1 byte-identical and 1 nearly identical .*name other data, or leave them out"):
        external(run, mixed)
    with pytest.raises(RunError, match="--accept unreadable names nothing that can be accepted of other data"):
        external(run, mixed, accept=["unreadable"])
    found = external(run, mixed, accept=["shared-with-training"], draws=50)
    gone = set(found["shared"]["left_out"])
    assert {"opacity/p900_0.png", "opacity/p901_0.jpg", "opacity/p900_1.png"} <= gone
    assert found["test"]["cases"] == 43 - len(gone)
    assert any("cases were left out" in note for note in found["notes"])


def test_other_labels_need_a_map_and_then_say_the_same(twin, validated, elsewhere, tmp_path):
    renamed = tmp_path / "renamed"
    shutil.copytree(elsewhere, renamed)
    (renamed / "opacity").rename(renamed / "Pneumonia")
    run = twin("evaluate")
    with pytest.raises(DataError, match=r"has the label Pneumonia, the run knows normal, opacity; .*--map 'Pneumonia=CLASS'"):
        external(run, renamed)
    with pytest.raises(DataError, match="--map names the class 'Opacity', the run knows normal, opacity"):
        external(run, renamed, mapping={"Pneumonia": "Opacity"})
    found = external(run, renamed, mapping={"Pneumonia": "opacity"}, draws=50)
    known = validated[1]["change"]["auroc opacity"]["external"]
    assert found["change"]["auroc opacity"]["external"]["value"] == pytest.approx(known["value"])


def test_an_unfinished_run_is_named_with_its_stage(twin, elsewhere):
    with pytest.raises(RunError, match=r"has no metrics.json yet; run `resdx evaluate"):
        external(twin("calibrate"), elsewhere)


def test_what_no_case_names_was_not_assessed_where_several_labels_may_be(study, tmp_path):
    recipe = replace(study.run.recipe, task=MultiLabel(), classes=("effusion", "nodule", "normal"))
    run = replace(study.run, recipe=recipe)
    cases = (Case("a", "a", labels=("nodule",)), Case("b", "b", labels=()), Case("c", "c", labels=("other",)))
    found = relabelled(Manifest(tmp_path, cases), run, {"other": "?"})
    assert [case.labels for case in found.cases] == [("nodule",), (), None]
    assert found.cases[1].unknown == ("effusion", "normal")


def test_change_adds_the_variances_of_two_sets(study):
    rng = np.random.default_rng(0)
    figure = figures(study.run.recipe)[0]

    def judged(value, spread, n):
        truth = np.eye(2)[np.arange(n) % 2]
        one = Answers(truth, truth, truth, np.ones(n, bool), np.arange(n))
        return Judged("", one, {figure.key: value}, {figure.key: value + spread * rng.normal(size=4000)})

    found = change(study.run, figure, judged(0.9, 0.03, 800), judged(0.7, 0.04, 600))
    assert found.value == pytest.approx(-0.2) and found.n == 1400
    assert (found.high - found.low) / 2 == pytest.approx(1.963 * 0.05, rel=0.03)
    few = change(study.run, figure, judged(0.9, 0.03, 800), judged(0.7, 0.04, 18))
    assert few.low is None and "9 persons" in few.note


def test_calibration_error_of_a_smaller_set_is_no_change(study):
    recipe, rng = study.run.recipe, np.random.default_rng(0)
    figure = next(one for one in figures(recipe) if one.name == "ece")

    def side(n, seed):
        p = rng.random(n)
        truth = (rng.random(n) < p).astype(float)
        both = Answers(*(np.stack([1 - one, one], 1) for one in (truth, p, (p > 0.5) * 1.0)), np.ones(n, bool), np.arange(n))
        return judge_figures("side", recipe, (figure,), both, draws=50, seed=seed)

    found = change(study.run, figure, side(600, 0), side(100, 1))
    assert found.value > 0 and found.low is None and "read slope and intercept instead" in found.note
