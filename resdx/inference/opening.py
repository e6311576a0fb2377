"""What a training left in a run, opened: its network, its OOD score, and both as a Predictor."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..errors import RunError
from ..files import read_json
from ..models.forward import VIEWS, default_device
from ..models.network import Network, build
from ..models.weights import load_state
from ..recipes.library import get_recipe
from ..records import from_record
from ..runs.run import Run
from .calibration import Calibration
from .engines import Engine
from .engines.combined import Together
from .engines.graph import Graph
from .engines.torch import Torch
from .ood import OodScore
from .predictor import Predictor
from .voting import Votes


def open_trained(path: Path, *, recipe: str | Path = "", quiet: bool = False) -> Predictor:
    """A run's directory, or the directory that `resdx run --folds` left, predicting with PyTorch.

    Raises:
        RunError: the run is not trained or calibrated yet, or a fold is missing.
    """
    if (path / "folds.json").exists():
        return _open_folds(path, recipe, quiet)
    run = Run.open(path, recipe=recipe, quiet=quiet)
    found = calibrated(run)
    return replace(found, engines=(engine_of(run, found.calibration),))


def calibrated(run: Run) -> Predictor:
    """A run's calibration and OOD score, for raw outputs that are there already: no network is loaded.

    Raises RunError.
    """
    calibration, recipe = calibration_of_run(run), run.recipe
    return Predictor(run.path.name, recipe.read, recipe.prepare, (), calibration, (load_ood_score(run),))


def calibration_of_run(run: Run) -> Calibration:
    """The calibration of a run. Raises RunError where it has none yet, or the file holds something else."""
    return run.read_as("calibration.json", "calibrate", calibration_of)


def calibration_of(record: Any) -> Calibration:
    """The calibration of a record. Raises TypeError where it is something else."""
    found = from_record(record)
    if not isinstance(found, Calibration):
        raise TypeError("no calibration")
    return found


def _open_folds(parent: Path, recipe: str | Path, quiet: bool) -> Predictor:
    if not (parent / "calibration.json").exists():
        raise RunError(
            f"{parent} has no calibration.json; repeat `resdx run DATA --folds N --out {parent}`, which keeps its runs"
        )
    try:
        count, calibration = (
            int(read_json(parent / "folds.json")["folds"]),
            calibration_of(read_json(parent / "calibration.json")),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{parent}: folds.json or calibration.json is not what resdx writes; repeat `resdx run DATA --folds N --out {parent}`"
        ) from error
    runs = tuple(Run.open(parent / f"fold-{k}", recipe=recipe, quiet=quiet) for k in range(count))
    asked = runs[0].recipe
    engines = tuple(engine_of(run, calibration) for run in runs)
    return Predictor(parent.name, asked.read, asked.prepare, engines, calibration, tuple(map(load_ood_score, runs)))


def engine_of(run: Run, calibration: Calibration) -> Engine:
    """The run's network, or those of its ensemble, ready to run."""
    if members := run.members:
        return Together([engine_of(one, calibration) for one in members], partial(votes_of(run).together, run.recipe.task))
    return Torch(graph_of(run, calibration), run.recipe.size)


def votes_of(run: Run) -> Votes:
    """How the members of an ensemble become one. Raises RunError where that was not fitted yet."""
    return run.read_as("ensemble.json", "train", _votes)


def _votes(record: Any) -> Votes:
    found = from_record(record)
    if not isinstance(found, Votes):
        raise TypeError("no votes")
    return found


def graph_of(run: Run, calibration: Calibration) -> Graph:
    """Network and calibration of a run in one."""
    return Graph(load_network(run), run.recipe.task, calibration.scale, calibration.bias, VIEWS[run.recipe.views])


def load_network(run: Run) -> Network:
    """The trained network of a run, on the device."""
    path = run.need("best.safetensors", "train")
    network = build(run.recipe.model, run.recipe.task.outputs(run.recipe.classes), start=False)
    load_state(network, path)
    return network.to(default_device())


def load_ood_score(run: Run) -> OodScore:
    """What embeddings of training cases look like. Raises RunError when the file is broken."""
    path = run.need("familiarity.safetensors", "train")
    try:
        return OodScore.from_arrays(load_file(path))
    except (SafetensorError, OSError, KeyError) as error:
        raise RunError(f"{path} cannot be loaded ({error}); repeat `resdx train {run.path}`") from error


def know_steps(recipe: str | Path) -> None:
    """Know the steps that a user's own recipe file defines, so that records of them can be read.

    Raises RecipeError.
    """
    get_recipe(str(recipe))
