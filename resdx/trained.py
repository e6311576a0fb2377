"""What a training left in a run, opened: its network, what is familiar to it, and both as a Predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from .calibration import Calibration
from .engines.graph import Graph
from .engines.torch import VIEWS, Torch, device
from .errors import RunError
from .familiarity import Familiarity
from .models.net import Network, build
from .models.weights import load_state
from .predict import Predictor
from .records import from_record, read_json
from .runs import Run


def open_trained(run: Run | str | Path, *, recipe: str | Path = "", quiet: bool = False) -> Predictor:
    """A run, its directory, or the directory that `resdx run --folds` left, answering with PyTorch.

    Raises:
        RunError: the run is not trained or calibrated yet, or a fold is missing.
    """
    if not isinstance(run, Run) and (Path(run) / "folds.json").exists():
        return _open_folds(Path(run), recipe, quiet)
    one = run if isinstance(run, Run) else Run.open(run, recipe=recipe, quiet=quiet)
    return _predictor(one.path, (one,), one.read_as("calibration.json", "calibrate", from_record))


def _open_folds(parent: Path, recipe: str | Path, quiet: bool) -> Predictor:
    if not (parent / "calibration.json").exists():
        raise RunError(
            f"{parent} has no calibration.json; repeat `resdx run DATA --folds N --out {parent}`, which keeps its runs"
        )
    count = read_json(parent / "folds.json")["folds"]
    runs = tuple(Run.open(parent / f"fold-{k}", recipe=recipe, quiet=quiet) for k in range(count))
    return _predictor(parent, runs, from_record(read_json(parent / "calibration.json")))


def _predictor(path: Path, runs: Sequence[Run], calibration: Calibration) -> Predictor:
    recipe = runs[0].recipe
    engines = tuple(Torch(graph_of(run, calibration), recipe.size) for run in runs)
    return Predictor(path.name, recipe.read, recipe.prepare, engines, calibration, tuple(map(load_familiarity, runs)))


def graph_of(run: Run, calibration: Calibration) -> Graph:
    """Network and calibration of a run in one."""
    return Graph(load_network(run), run.recipe.task, calibration.scale, calibration.bias, VIEWS[run.recipe.views])


def load_network(run: Run) -> Network:
    """The trained network of a run, on the device."""
    path = run.need("best.safetensors", "train")
    network = build(run.recipe.model, run.recipe.task.outputs(run.recipe.classes), start=False)
    load_state(network, path)
    return network.to(device())


def load_familiarity(run: Run) -> Familiarity:
    """What embeddings of training cases look like. Raises RunError when the file is broken."""
    path = run.need("familiarity.safetensors", "train")
    try:
        return Familiarity.from_arrays(load_file(path))
    except (SafetensorError, OSError, KeyError) as error:
        raise RunError(f"{path} cannot be loaded ({error}); repeat `resdx train {run.path}`") from error
