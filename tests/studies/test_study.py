"""A study in Python: the figures as records, the predictions as a table, and everything that can be asked of a finished run."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TINY

import resdx
from resdx.errors import AuditStop, DataError, RecipeError, RunError
from resdx.metrics.estimate import Estimate
from resdx.models.heads.specs import Linear, Mlp
from resdx.runs.scorecard import Scorecard
from resdx.studies.results import Comparison, ExternalScorecard
from resdx.studies.start import changed_recipe
from resdx.studies.study import open_study
from resdx.transforms.image import Resize

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def paths(films):
    return sorted(films.rglob("*.png"))[:4]


@pytest.fixture(scope="module")
def exported():
    return open_study(GOLDEN / "export", quiet=True)


def test_figures_are_records(study):
    metrics = study.metrics
    assert isinstance(metrics, Scorecard) and metrics.protocol == "honest"
    one = metrics.classes["opacity"]
    assert isinstance(one.auroc, Estimate) and one.auroc is one["auroc"] and one.auroc.n == metrics.test.persons
    assert metrics.overall["accuracy"] == metrics.scores.image.overall["accuracy"]
    assert metrics.persons.cases == metrics.test.persons and metrics.subgroups == metrics.scores.subgroups
    assert (one.positive.cases + one.negative.cases, one.sensitivity.n) == (metrics.test.cases, one.positive.persons)


@pytest.mark.parametrize("name", sorted(path.parent.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("metrics.json")))
def test_metrics_of_before_come_back_as_they_were(name):
    run = resdx.open(GOLDEN / name, quiet=True).run
    assert run.metrics.to_json() == run.read("metrics.json", "evaluate")
    assert run.metrics is run.metrics  # read once


def test_predictions_are_a_table(study):
    table = study.predictions
    assert len(table) == study.metrics.test.cases == len(list(table)) and table.columns[:4] == (
        "case",
        "person",
        "truth",
        "label",
    )
    assert all(0 <= row["p_opacity"] <= 1 and isinstance(row["p_opacity"], float) for row in table)
    told = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [row["case"] for row in told] == table.column("case")
    frame = table.to_pandas()
    assert list(frame.columns) == list(table.columns) and frame["p_opacity"].tolist() == table.column("p_opacity")
    with pytest.raises(KeyError, match="no column 'age'; there are case"):
        table.column("age")


def test_predictions_keep_their_place_and_what_cannot_be_read_says_why(study, paths):
    given = [paths[0], np.asarray(Image.open(paths[1])), "gone.png", Image.open(paths[2])]
    found = study.predict(given)
    assert [bool(one.error) for one in found] == [False, False, True, False]
    assert (found[2].label, found[2].probabilities, found[2].case) == (None, {}, "gone.png")
    alone = study.predict(str(paths[0]))
    assert len(alone) == 1 and alone[0].probabilities == pytest.approx(found[0].probabilities, abs=1e-6)
    rows = study.predict_proba([given[0], given[1]])
    assert rows.shape == (2, 2) and rows.dtype == np.float64 and study.predict_proba([]).shape == (0, 2)
    assert rows[:, study.classes.index("opacity")] == pytest.approx([one.probabilities["opacity"] for one in found[:2]], abs=1e-6)
    with pytest.raises(DataError, match=r"1 of 4 images have no probabilities; the first: gone\.png is not there"):
        study.predict_proba(given)


def test_maps_are_arrays_and_drawn_where_a_folder_is_named(study, paths, tmp_path):
    found = study.explain([paths[0], "gone.png", paths[1]], of="opacity", to=tmp_path)
    assert [bool(one.error) for one in found] == [False, True, False]
    for one in (found[0], found[2]):
        assert one.of == "opacity" and one.heat.ndim == 2 and one.heat.min() >= 0 and one.picture.shape == (32, 32, 3)
        assert Image.open(one.path).size[0] > 0
    assert study.explain(paths[0])[0].path is None
    with pytest.raises(DataError, match="knows no class 'lung'; there are normal, opacity"):
        study.explain(paths[0], of="lung")


def test_network_recipe_and_the_rest_of_a_run(study):
    network = study.network
    assert network is study.network and sum(one.numel() for one in network.parameters()) > 1000
    assert study.recipe.classes == study.classes == ("normal", "opacity")
    assert {case for part in ("train", "test") for case in study.split.ids(part)} <= {fact.case for fact in study.audit.facts}
    assert study.calibration.classes == study.classes
    assert study.report().name == "report.html" and study.path == study.run.path


def test_study_is_opened_by_its_path(study):
    again = resdx.open(study.path, quiet=True)
    assert again == replace(study, quiet=True) and again.metrics == study.metrics
    with pytest.raises(RunError, match=r"has no run\.json"):
        resdx.open(study.path.parent)


def test_exported_folder_predicts_and_nothing_else(exported):
    films = sorted((GOLDEN / "films").rglob("*.png"))[:2]
    assert exported.predict_proba(films).shape == (2, len(exported.classes))
    for ask in (lambda: exported.metrics, lambda: exported.report(), lambda: exported.network, lambda: exported.evaluate_on("x")):
        with pytest.raises(RunError, match="is an exported model, which predicts and nothing else; open a run for that"):
            ask()


def test_audit_and_split_need_no_run(films, study):
    found = resdx.audit(films, recipe=TINY, processes=1, quiet=True)
    assert found.findings == study.audit.findings and found.facts == study.audit.facts
    divided = resdx.split(films, recipe=TINY, quiet=True)
    assert divided == study.split
    with pytest.raises(RunError, match="ghosts names no finding that can be accepted"):
        resdx.split(films, recipe=TINY, accept=["ghosts"])


def test_split_stops_where_the_audit_does(films, tmp_path):
    for kind in ("normal", "opacity"):
        (tmp_path / kind).mkdir()
        for k, path in enumerate(sorted((films / "normal").glob("*.png"))[:12]):
            shutil.copy(path, tmp_path / kind / f"p{k:03d}.png")
    with pytest.raises(AuditStop, match=r"go on with accept=\['copies-across-classes'"):
        resdx.split(tmp_path, recipe=TINY, quiet=True)


def test_external_validation_gives_records(twin, films, tmp_path):
    draw = resdx.draw_phantoms(tmp_path / "there", persons=24, size=48, seed=5)
    assert len(draw.manifest) == 48
    found = open_study(twin("evaluate").path, quiet=True).evaluate_on(tmp_path / "there", name="there")
    assert isinstance(found, ExternalScorecard) and found.name == "there" and found.test.cases == 48
    assert found.changes[found.main].external == found.scores.image.classes["opacity"].auroc
    assert set(found.calibration["opacity"]["external"]) == {"intercept", "slope"}


def test_studies_are_compared(study, twin):
    other = open_study(twin("evaluate").changed(seed=7).path, quiet=True)
    found = study.compare(other)
    assert isinstance(found, Comparison) and len(found.pairs) == 1 and found.main in found.pairs[0].figures
    assert found.pairs[0].figures[found.main].difference.value == 0
    assert len(found.models) == 2


def test_export_lands_where_it_is_asked_and_answers_alike(twin, paths, tmp_path):
    study = open_study(twin("evaluate").path, quiet=True)
    expected = study.predict_proba(paths, engine="torch")
    folder = study.export(tmp_path / "model", to="onnx")
    assert folder == tmp_path / "model"
    assert resdx.open(folder).predict_proba(paths) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(RunError, match="is there already; choose another folder"):
        study.export(folder, to="onnx")


def test_changes_take_values_of_any_kind():
    asked = {"learn.epochs": 3, "learn.lr": 0.01, "model.backbone.weights": "", "views": 2, "size": 64, "model.head": Mlp()}
    found = changed_recipe(TINY, asked)
    assert (found.learn.epochs, found.learn.lr, found.views, found.size, found.model.head) == (3, 0.01, 2, 64, Mlp())
    assert changed_recipe(TINY, [("learn.epochs", "3")]) == changed_recipe(TINY, {"learn.epochs": 3})
    assert changed_recipe(TINY, {"classes": ("a", "b")}).classes == ("a", "b")
    assert changed_recipe(TINY, {"prepare": [Resize(48)]}).prepare == (Resize(48),)
    assert changed_recipe(TINY, {"prepare.0": Resize(48)}).size == 48
    for field, value, reason in (
        ("learn.epochs", 2.5, "learn.epochs cannot be '2.5'"),
        ("learn.epoch", 3, "no field 'learn.epoch'; did you mean learn.epochs"),
        ("model.hat", Linear(), "no field 'model.hat'"),
    ):
        with pytest.raises(RecipeError, match=reason):
            changed_recipe(TINY, {field: value})
