"""Grid search: a training for each combination of values, judged on the tune part.

Calib and test are not looked at.

Trials lie in RUN/search while they last, so that a search which was stopped goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from sklearn.model_selection import ParameterGrid, ParameterSampler

from ..recipes.learning import Search
from ..recipes.recipe import Recipe
from ..runs.partition import Part
from ..runs.prepared import Prepared
from ..runs.run import Run
from .loop import fit


def search(run: Run, prepared: Prepared, train: Part, tune: Part) -> Run:
    """Try what the recipe's `learn` asks for, and settle the run's recipe on the best.

    Of equal ones the first.

    Raises:
        RecipeError: some values do not go together.
        RunError: a training cannot go on.
    """
    recipe, wanted = run.recipe, combinations(cast(Search, run.recipe.learn), seed=run.settings.seed)
    # trials that were done before it was stopped
    scores = {_key(entry["setting"]): float(entry["tune_score"]) for entry in run.events("trial")}
    for number, setting in enumerate(wanted):
        if _key(setting) in scores:
            continue
        folder = run.path / "search" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        trial = replace(run, path=folder, recipe=shortened(recipe, setting))
        fit(trial, prepared, train, tune)
        # the best epoch, which is the one a training keeps
        scores[_key(setting)] = max(entry["tune_score"] for entry in trial.events("epoch"))
        run.log("trial", setting=setting, tune_score=scores[_key(setting)])
        said = ", ".join(f"{name}={value}" for name, value in setting.items())
        run.say(f"search: {number + 1} of {len(wanted)}, {said}: tune AUROC {scores[_key(setting)]:.3f}")
        shutil.rmtree(folder)
    best = max(wanted, key=lambda setting: scores[_key(setting)])
    shutil.rmtree(run.path / "search", ignore_errors=True)
    return run.changed(recipe=recipe.tried(best))


def combinations(learn: Search, *, seed: int) -> list[Mapping[str, str]]:
    """What is tried: all combinations, or `draws` of them at random."""
    grid = {name: list(values) for name, values in learn.grid}
    every = ParameterGrid(grid)
    return list(ParameterSampler(grid, learn.draws, random_state=seed) if 0 < learn.draws < len(every) else every)


def shortened(recipe: Recipe, setting: Mapping[str, str]) -> Recipe:
    """The recipe of a trial."""
    learn, trial = cast(Search, recipe.learn), recipe.tried(setting)
    return trial.set("learn.epochs", str(learn.epochs)) if learn.epochs else trial


def _key(setting: Mapping[str, str]) -> str:
    return json.dumps(setting, sort_keys=True)
