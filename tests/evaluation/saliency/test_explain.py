"""The stage: which cases, what it writes, and that what cannot be had is a sentence."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from resdx.data.cases import Case, Manifest
from resdx.errors import DataError
from resdx.evaluation.saliency.cases import Asked, asked
from resdx.evaluation.saliency.explain import METHODS, explain, to_show
from resdx.evaluation.saliency.pointing import pointed, pointing_game
from resdx.evaluation.saliency.verdicts import failures, overall, verdict
from resdx.files import read_json
from resdx.inference.drawing import overlay
from resdx.metrics.estimate import Estimate
from resdx.runs.prepared import prepared_of
from resdx.transforms.image import Resize


@pytest.fixture(scope="module")
def explained(study, films):
    """The finished run with maps of 3 x 3, which need no other weights, and with boxes, and its explain.json."""
    path = study.run.store / "finer"
    shutil.copytree(study.run.path, path)
    finer = replace(study.run.recipe, prepare=(Resize(48),))
    done = replace(study.run, path=path).changed(recipe=finer)
    known, manifest = Manifest.read(films.with_name("films-truth.csv")).by_id, done.manifest
    cases = tuple(replace(case, boxes=known[case.id].boxes) for case in manifest.cases)
    (path / "manifest.csv").write_text(replace(manifest, cases=cases).to_csv())
    explain(done, prepared_of(done))
    return done, read_json(path / "explain.json")


def test_every_method_has_its_checks(explained):
    _, found = explained
    assert found["resolution"] == [3, 3]
    assert tuple(row["name"] for row in found["methods"]) == METHODS
    for row in found["methods"]:
        for key, lowest in (("randomisation", -1), ("stability", -1), ("deletion", 0), ("insertion", 0)):
            assert lowest <= Estimate.from_json(row[key]).value <= 1
        assert 0 < row["pointing_chance"] < 1
        assert row["verdict"] == verdict(as_estimates(row))
    assert found["verdict"] == overall(found["methods"])


def as_estimates(row):
    return {key: Estimate.from_json(value) if isinstance(value, dict) else value for key, value in row.items()}


def test_pictures_of_right_and_wrong_cases_of_different_persons_are_there(explained):
    done, found = explained
    assert 0 < len(found["shown"]) <= 12
    persons = {case.id: case.group for case in done.cases("test")}
    assert len({persons[one["case"]] for one in found["shown"]}) == len(found["shown"])
    for one in found["shown"]:
        assert one["right"] == (one["truth"] == one["answer"])
        for picture in (one["picture"], *one["maps"].values()):
            with Image.open(done.path / picture) as image:
                assert max(image.size) <= 224
        assert tuple(one["maps"]) == METHODS


def test_the_pointing_game_is_that_of_the_stage(explained):
    done, found = explained
    public = pointing_game(done, prepared_of(done))
    assert public.to_json() == found["methods"][0]["pointing"]
    one_by_one = pointed(done, prepared_of(done))
    assert one_by_one.hit.mean() == public.value and len(set(one_by_one.persons)) <= len(one_by_one.hit)
    positives = sum(bool(case.boxes) for case in done.cases("test"))
    assert f"{positives} cases" in public.note


def test_no_box_means_no_pointing_game(study):
    with pytest.raises(DataError, match="no case of the part has a box"):
        pointed(study.run, prepared_of(study.run))
    found = pointing_game(study.run, prepared_of(study.run))
    assert found.value is None
    assert "no case of the part has a box" in found.note


def test_a_map_without_places_is_a_sentence(resnet_study):
    explain(resnet_study.run, prepared_of(resnet_study.run))
    assert "no map in this graph: the last maps are 1 x 1" in read_json(resnet_study.run.path / "explain.json")["missing"]


def test_before_the_test_part_is_scored_calib_is_explained(twin):
    done = twin("calibrate")
    found = asked(done, prepared_of(done))
    assert found.part == "calib"
    assert {case.id for case in found.cases} <= {case.id for case in done.cases("calib")}


def some(labels, p, right, persons):
    cases = tuple(
        Case(f"c{i}", f"c{i}.png", person, (label,)) for i, (label, person) in enumerate(zip(labels, persons, strict=True))
    )
    n = len(cases)
    return Asked("test", None, cases, np.zeros((n, 2), bool), np.zeros(n, int), np.array(p), np.array(right))


def test_cases_shown_are_the_surest_and_the_least_sure_right_and_wrong_of_each_class():
    labels = ["a"] * 6 + ["b"] * 6
    p = [0.99, 0.8, 0.55, 0.95, 0.7, 0.6] * 2
    cases = some(labels, p, [True, True, True, False, False, False] * 2, [f"p{i}" for i in range(12)])
    assert to_show(cases, ("a", "b"), 8) == [0, 6, 3, 9, 2, 8, 5, 11]


def test_nobody_is_shown_twice():
    cases = some(["a", "a", "b"], [0.9, 0.8, 0.7], [True] * 3, ["p", "p", "q"])
    assert to_show(cases, ("a", "b")) == [0, 2]


def test_heat_gets_lighter_in_greyscale_too():
    picture, heat = np.full((32, 32, 1), 60, np.uint8), np.tile(np.linspace(0, 1, 32), (32, 1))
    grey = np.asarray(overlay(picture, heat).convert("L"), int)[16]
    without_line = np.delete(grey, np.flatnonzero(grey == 255))
    assert (np.diff(without_line) >= -2).all()
    assert without_line[-1] > without_line[0] + 100


def test_a_blank_map_leaves_the_picture():
    assert np.ptp(np.asarray(overlay(np.full((16, 16, 1), 80, np.uint8), np.zeros((16, 16))))) == 0


def row(**changed):
    good = Estimate(0.9, 0.8, 1.0, 20)
    little = Estimate(0.1, 0.05, 0.2, 20)
    return {
        "name": "cam",
        "cases": 20,
        "blank": 0,
        "randomisation": little,
        "gain": little,
        "stability": good,
        "pointing": good,
        "pointing_chance": 0.1,
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"randomisation": Estimate(0.7, 0.6, 0.8, 20)}, "randomised"),
        ({"randomisation": Estimate(0.42, 0.33, 0.5, 20)}, "rank correlation 0.42"),
        ({"pointing": Estimate(0.3, 0.08, 0.6, 20)}, "is not shown"),
        ({"gain": Estimate(0.1, -0.1, 0.2, 20)}, "at random"),
        ({"stability": Estimate(0.3, 0.1, 0.5, 20)}, "JPEG"),
        ({"pointing": Estimate(0.1, 0.05, 0.2, 20)}, "by chance"),
        ({"blank": 11}, "blank"),
    ],
)
def test_a_failed_check_says_do_not_read_it(changed, said):
    assert failures(row()) == []
    assert "90%" in verdict(row())
    failed = verdict(row(**changed))
    assert failed.startswith("Do not read cam")
    assert said in failed


def test_the_overall_verdict_names_what_can_be_read():
    rows = [{"name": "cam", "verdict": verdict(row())}, {"name": "occlusion", "verdict": "Do not read occlusion: ..."}]
    assert overall(rows) == "Of the maps of this run, cam passed the checks; do not read occlusion."
    assert overall(rows[1:]).startswith("Every method failed")
