"""Boxes from a folder to an answer.

A run on discs of three colours, its figures, its page, its files, its exports; anchors from train alone.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from resdx.apps.cli.main import cli
from resdx.data.cases import Box
from resdx.data.phantoms import draw_layout
from resdx.data.tasks import Classify
from resdx.errors import DataError, RecipeError, RunError
from resdx.evaluation.diagnostics.controls import controls
from resdx.inference.files import predict_files, to_csv
from resdx.inference.opening import load_network
from resdx.inference.predictor import Predictor
from resdx.metrics.detection import iou
from resdx.models.heads.specs import Linear, Yolo
from resdx.models.specs import Cnn, Net
from resdx.recipes.learning import FeatureClassifier, Training
from resdx.recipes.library import get_recipe
from resdx.runs.partition import box_targets, part_of
from resdx.runs.prepared import prepared_of
from resdx.studies.cross_validation import cross_validate
from resdx.studies.export import export
from resdx.studies.stages import EVIDENCE, repeat
from resdx.studies.start import refuse_another
from resdx.studies.study import run
from resdx.training.detection import compared, find_boxes, mean_ap50, settle_anchors, unsettled
from resdx.transforms.augment import Affine, Flip
from resdx.transforms.image import CropForeground, Resize

RECIPE = replace(
    get_recipe("face_masks"),
    prepare=(Resize(64, keep="pad"),),
    augment=(Flip(), Affine(degrees=0, scale=0.1, shift=0.1)),
    model=Net(Cnn((16, 32, 64)), Yolo(count=2, width=32, layers=1)),
    learn=Training(epochs=20, batch=8, optimiser="adam", weight_decay=0.0, lr=3e-3, ema=0.9),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The truth of 80 pictures of 64 x 48 with discs, and a finished run on them."""
    root = tmp_path_factory.mktemp("boxes")
    truth = draw_layout("face-mask", root / "set", persons=80)
    return truth, run(root / "set", recipe=RECIPE, out=root / "run", skip=EVIDENCE, quiet=True).run


def afresh(done, path):
    """The run as it was before its training, elsewhere."""
    return replace(done, path=path, recipe=unsettled(done), settings=replace(done.settings, choices={}))


def test_the_discs_are_found(made):
    _, done = made
    boxes = done.metrics.to_json()["boxes"]
    assert list(boxes["classes"]) == ["mask", "no mask", "worn wrongly"]
    assert (boxes["mean"]["ap50"]["value"] > 0.6 and boxes["mean"]["ap50"]["low"] is None) or boxes["mean"]["ap50"]["low"] > 0.2
    for one in boxes["classes"].values():
        assert 0 < one["limit"] < 1 and one["ap50_95"]["value"] <= one["ap50"]["value"]
    scores = done.metrics.to_json()["scores"]["image"]["overall"]
    assert scores["macro_auroc"]["value"] > 0.8  # whether a picture shows a class is answered too
    assert done.predictions[0].keys() >= {"p_mask", "label", "conformal"}


def test_figures_are_those_of_boxes_in_pixels_of_the_files(made):
    """boxes.csv against the truth in the XML files, matched here anew: what prepares pictures and moves boxes takes no part."""
    truth, done = made
    called = dict(RECIPE.source.rename)
    with (done.path / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, one in done.metrics.to_json()["boxes"]["classes"].items():
        right = there = shown = 0
        for case in done.cases("test"):
            wanted = [box for box in truth.by_id[case.id].boxes if called[box.label] == name]
            found = [row for row in rows if (row["case"], row["label"]) == (case.id, name)]
            found.sort(key=lambda row: -float(row["score"]))
            free, there, shown = list(wanted), there + len(wanted), shown + len(found)
            for row in found:
                ours = np.array([[float(row[key]) for key in ("x1", "y1", "x2", "y2")]])
                over = [iou(ours, np.array([[b.x1, b.y1, b.x2, b.y2]]))[0, 0] for b in free]
                if over and max(over) >= 0.5:
                    free.pop(int(np.argmax(over)))
                    right += 1
        assert one["boxes"] == there
        assert one["recall"]["value"] == pytest.approx(right / there, abs=0.01 if there > 99 else 1e-9)
        assert one["precision"]["value"] == pytest.approx(right / shown if shown else 0.0)


def test_anchors_come_from_train_alone(made, tmp_path):
    _, done = made
    prepared, fresh = prepared_of(done), afresh(done, tmp_path)
    train = part_of(done, prepared, "train")
    assert settle_anchors(fresh, train, train).recipe.model.head.anchors == done.recipe.model.head.anchors
    sides = train.targets[..., 3:] - train.targets[..., 1:3]
    assert np.isin(np.float32(done.recipe.model.head.anchors).ravel(), np.nan_to_num(sides).ravel()).mean() > 0.2
    told = json.loads((done.path / "anchors.json").read_text())
    assert told["boxes"] == int((~np.isnan(train.targets[..., 0])).sum()) and told["curve"] == sorted(told["curve"])
    other = replace(train, targets=train.targets * np.float32([1, 1, 1, 2, 2]))
    assert settle_anchors(fresh, other, train).recipe.model.head.anchors != done.recipe.model.head.anchors
    assert settle_anchors(done, other, train).recipe == done.recipe  # a training that goes on keeps its own
    assert unsettled(done) == RECIPE.with_classes(done.recipe.classes)
    refuse_another(done, done.settings.data, {"recipe": RECIPE})  # asked again, it is the same run
    (tmp_path / "anchors.json").unlink()
    assert settle_anchors(replace(done, path=tmp_path), other, train).recipe != done.recipe  # begun afresh it finds them anew


def test_targets_are_the_boxes_in_shares_of_the_prepared_picture(made):
    truth, done = made
    cases = done.cases("train")[:5]
    targets = box_targets(done, cases)
    for row, case in zip(targets, cases, strict=True):
        boxes = truth.by_id[case.id].boxes
        assert (~np.isnan(row[:, 0])).sum() == len(boxes)
        for one, box in zip(row, boxes, strict=False):  # 8 rows of nothing above and below
            np.testing.assert_allclose(one[1:], np.array([box.x1, box.y1 + 8, box.x2, box.y2 + 8]) / 64, rtol=1e-6)


def test_perfect_answers_have_an_average_precision_of_one(made):
    _, done = made
    part = part_of(done, prepared_of(done), "test")
    said = [[(row[row[:, 0] == k, 1:].astype(float), np.ones((row[:, 0] == k).sum())) for k in range(3)] for row in part.targets]
    assert mean_ap50(said, part.targets) == 1.0
    turned = [one[1:] + one[:1] for one in said]
    assert mean_ap50(turned, part.targets) < 0.1
    assert compared(said, part.targets, 0).hit.all()


def test_new_pictures_are_answered_with_boxes_in_their_own_pixels(made, tmp_path):
    truth, done = made
    case = next(case for case in done.cases("test") if len(case.boxes) == 2)
    large = Image.open(truth.root / case.path).resize((320, 240), Image.Resampling.NEAREST)
    large.save(tmp_path / "large.png")
    answers, failures = predict_files(
        done.path, [truth.root / case.path, tmp_path / "large.png"], boxes=tmp_path / "drawn", quiet=True
    )
    small, big = answers
    assert not failures and small.boxes
    for one, other in zip(small.boxes[:1], big.boxes[:1], strict=True):  # the surest; a faint one may pass its limit in one alone
        np.testing.assert_allclose(
            np.array([other.x1, other.y1, other.x2, other.y2]) / 5, [one.x1, one.y1, one.x2, one.y2], atol=3
        )
    with (done.path / "boxes.csv").open() as file:
        kept = [row for row in csv.DictReader(file) if row["case"] == case.id]
    assert sorted(round(box.score, 2) for box in small.boxes) == pytest.approx(
        sorted(float(row["score"]) for row in kept), abs=0.02
    )
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 2
    table = list(csv.DictReader(to_csv(answers).splitlines()))
    assert next(Box(*row) for row in json.loads(table[0]["boxes"])).label == small.boxes[0].label


def test_the_command_writes_pictures_and_json(made, tmp_path):
    truth, done = made
    with (done.path / "boxes.csv").open() as file:
        case = next(csv.DictReader(file))["case"]
    told = CliRunner().invoke(
        cli, ["predict", str(done.path), str(truth.root / case), "--boxes", str(tmp_path / "drawn"), "--json"]
    )
    assert told.exit_code == 0, told.output
    assert {"label", "x1", "y1", "x2", "y2", "score"} == set(json.loads(told.stdout)[0]["boxes"][0])
    assert len(list((tmp_path / "drawn").iterdir())) == 1


def test_an_export_finds_the_same_boxes(made, tmp_path):
    truth, done = made
    told = json.loads((export(done, "onnx")[0] / "export.json").read_text())["parity"]
    assert told["ap50"] == pytest.approx(told["ap50_torch"], abs=1e-3) and told["ap50"] > 0.5
    files = [truth.root / case.path for case in done.cases("test")[:6]]
    ours, theirs = (Predictor.open(done.path, engine=name).predict(files)[0] for name in ("torch", "onnx"))
    for one, other in zip(ours, theirs, strict=True):
        assert [box.label for box in one.boxes] == [box.label for box in other.boxes]
        np.testing.assert_allclose(
            [[b.x1, b.y1, b.x2, b.y2, b.score] for b in one.boxes] or [[0]],
            [[b.x1, b.y1, b.x2, b.y2, b.score] for b in other.boxes] or [[0]],
            atol=1e-2,
        )


def test_int8_keeps_its_boxes_and_answers_in_a_new_process(made):
    truth, done = made
    export(done, "int8", guard=False)
    files = [str(truth.root / case.path) for case in done.cases("test")]
    asked = [sys.executable, "-m", "resdx", "predict", str(done.path), *files, "--engine", "int8", "--json"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    small = sum(len(one["boxes"]) for one in json.loads(told.stdout))
    full = sum(len(one.boxes) for one in Predictor.open(done.path, engine="torch").predict(files)[0])
    assert small > full / 2


def test_folds_of_networks_that_find_boxes_are_refused(made, tmp_path):
    with pytest.raises(RunError, match="leave out --folds"):
        cross_validate(made[0].root, out=tmp_path / "folds", recipe=RECIPE)


def test_labels_and_boxes_that_contradict_each_other_are_told(made):
    _, done = made
    case = done.cases("train")[0]
    with pytest.raises(DataError, match=r"has a box of 'cat', which is not among its labels"):
        box_targets(done, [replace(case, boxes=(Box("cat", 1, 1, 9, 9),))])
    with pytest.raises(DataError, match=r"not among its labels \(none\)"):
        box_targets(done, [replace(case, labels=())])


def test_the_page_shows_boxes_and_their_figures(made):
    _, done = made
    repeat(done, "report")
    page = (done.path / "report.html").read_text()
    assert 'id="boxes"' in page and "AP50:95" in page and "Anchors." in page and "Orange: found" in page
    assert page.count('alt="Boxes in ') == len(list((done.path / "boxes").glob("*.png"))) == 12


@pytest.mark.slow
def test_the_evidence_says_what_it_has_of_a_network_that_finds_boxes(made):
    _, done = made
    done = done.changed(choices={**done.settings.choices, "probe_dtype": "float32"})  # what is measured else
    controls(done, prepared_of(done), steps=4)
    repeat(done, "explain")
    assert json.loads((done.path / "controls.json").read_text())["probe"]["cases"] > 30
    assert "finds boxes" in json.loads((done.path / "explain.json").read_text())["missing"]
    assert "classes" in json.loads((done.path / "run.json").read_text())["recipe"]


def test_the_number_format_changes_boxes_little(made):
    _, done = made
    prepared = prepared_of(done)
    part, network = part_of(done, prepared, "test"), load_network(done)
    full, half = (find_boxes(network, prepared.images, part.rows, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert abs(mean_ap50(full, part.targets) - mean_ap50(half, part.targets)) < 0.1


# What cannot be


def test_maps_and_boxes_are_refused_where_there_are_none(made, study, tmp_path):
    truth, done = made
    with pytest.raises(RunError, match="finds boxes and draws no maps; write --boxes"):
        predict_files(done.path, [truth.root / truth.cases[0].path], maps=tmp_path, quiet=True)
    with pytest.raises(RunError, match="was not trained to find boxes; leave out --boxes"):
        predict_files(study.run.path, [truth.root / truth.cases[0].path], boxes=tmp_path, quiet=True)


def test_boxes_that_cannot_follow_a_step_stop_the_training(made):
    _, done = made
    cut = replace(done, recipe=replace(done.recipe, prepare=(CropForeground(), Resize(64))))
    with pytest.raises(RunError, match="boxes cannot be followed through CropForeground, Resize"):
        box_targets(cut, done.cases("train")[:1])


def test_a_train_part_without_boxes_is_said(made, tmp_path):
    _, done = made
    train = part_of(done, prepared_of(done), "train")
    none = replace(train, targets=np.full_like(train.targets, np.nan))
    fresh = afresh(done, tmp_path)
    with pytest.raises(DataError, match="no case of tune has a box"):
        settle_anchors(fresh, train, none)
    with pytest.raises(DataError, match="no case of train has a box"):
        settle_anchors(fresh, none, train)
    many = replace(RECIPE, model=Net(Cnn(), Yolo(count=500)))
    with pytest.raises(DataError, match="cannot make 500 anchors"):
        settle_anchors(replace(fresh, recipe=many), train, train)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"task": Classify()}, "belong together"),
        ({"model": Net(Cnn(), Linear())}, "belong together"),
        ({"learn": FeatureClassifier()}, "set learn=Training"),
        ({"learn": Training(mixup=0.2)}, "mixup cannot be used"),
        ({"learn": Training(label_smoothing=0.1)}, "label_smoothing cannot be used"),
        ({"learn": Training(sampling="balanced")}, "class weights cannot be used"),
        ({"views": 2}, "views cannot be used"),
    ],
)
def test_the_recipe_checks_itself(fields, what):
    with pytest.raises(RecipeError, match=what):
        replace(RECIPE, **fields)
