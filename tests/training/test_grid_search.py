"""Grid search: every combination is judged on tune alone, the best is trained anew, and a search that was stopped goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from resdx.errors import RecipeError
from resdx.recipes.learning import Search, Training
from resdx.recipes.recipe import Recipe
from resdx.records import from_record, to_record
from resdx.report.sections import training
from resdx.runs.partition import part_of
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.stages import repeat
from resdx.training import grid_search as room
from resdx.training.grid_search import combinations, search, shortened

GRID = (("learn.lr", ("1e-7", "0.003")), ("model.head.dropout", ("0", "0.2")))
LEARN = Search(Training(epochs=2, batch=16, ema=0.0), (("learn.lr", ("1e-7", "0.003")),), epochs=1)


def test_every_combination_is_tried_or_as_many_as_are_drawn():
    every = combinations(Search(grid=GRID), seed=0)
    assert len(every) == 4 and {"learn.lr": "1e-7", "model.head.dropout": "0.2"} in every
    some = combinations(Search(grid=GRID, draws=2), seed=0)
    assert len(some) == 2 and all(one in every for one in some) and some[0] != some[1]
    assert combinations(Search(grid=GRID, draws=9), seed=0) == every


def test_trial_is_the_training_with_its_values_and_its_epochs():
    recipe = Recipe("own", "", learn=Search(Training(epochs=8), GRID, epochs=3))
    trial = shortened(recipe, {"learn.lr": "0.003", "model.head.dropout": "0.2"})
    assert trial.learn == Training(epochs=3, lr=0.003) and trial.model.head.dropout == 0.2
    assert recipe.tried({"learn.lr": "0.003"}).learn == Training(epochs=8, lr=0.003)
    assert from_record(json.loads(json.dumps(to_record(recipe)))) == recipe


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({}, "Search needs a grid of fields and their values"),
        ({"grid": (("learn.lr", ()),)}, "Search needs a grid of fields and their values"),
        (
            {"grid": (("size", ("64", "96")),)},
            "Search tries fields of learn, model, augment, not size: pictures are prepared once",
        ),
        ({"grid": (("model.backbone.weights", ("", "imagenet")),)}, "Search tries no starting weights; make a run with each"),
        ({"grid": GRID, "draws": -1}, "Search.draws cannot be -1: it takes a whole number of at least 0"),
    ],
)
def test_search_checks_itself(fields, what):
    with pytest.raises(RecipeError, match=what):
        Search(**fields)


def test_wrong_field_or_value_is_told_when_the_recipe_is_written():
    with pytest.raises(RecipeError, match=r"no field 'learn\.rate'; there are learn\.epochs"):
        Recipe("own", "", learn=Search(grid=(("learn.rate", ("1",)),)))
    with pytest.raises(RecipeError, match=r"Training\.lr cannot be -1\.0: it takes a number above 0"):
        Recipe("own", "", learn=Search(grid=(("learn.lr", ("0.001", "-1")),)))


@pytest.fixture
def begun(twin):
    run = twin("prepare")
    return run.changed(recipe=replace(run.recipe, learn=LEARN))


def test_run_is_settled_on_the_values_that_did_best_on_tune(begun):
    prepared = prepared_of(begun)
    settled = search(begun, prepared, *(part_of(begun, prepared, name) for name in ("train", "tune")))
    tried = begun.events("trial")
    assert [entry["setting"] for entry in tried] == [{"learn.lr": "1e-7"}, {"learn.lr": "0.003"}]
    best = max(tried, key=lambda entry: entry["tune_score"])["setting"]["learn.lr"]
    assert settled.recipe.learn == replace(LEARN.training, lr=float(best))
    assert Run.open(begun.path).recipe == settled.recipe
    assert not (begun.path / "search").exists()


def test_stopped_search_goes_on_with_what_is_left_and_the_best_is_trained_as_long_as_it_should(begun, monkeypatch):
    begun.log("trial", setting={"learn.lr": "1e-7"}, tune_score=2.0)  # better than any AUROC
    trained = []
    fit = room.fit

    def counted(run, *rest):
        trained.append(run.recipe.learn)
        return fit(run, *rest)

    monkeypatch.setattr(room, "fit", counted)
    repeat(begun, "train")
    assert trained == [Training(epochs=1, batch=16, ema=0.0, lr=0.003)]
    done = Run.open(begun.path)
    assert done.recipe.learn.lr == 1e-7 and len(done.events("epoch")) == 2
    told = training(done)
    assert told["chosen"] == "learn.lr 1e-7" and [one["setting"] for one in told["trials"]] == ["learn.lr 1e-7", "learn.lr 0.003"]
