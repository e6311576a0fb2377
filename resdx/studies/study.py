"""A study: a run as who asks for it sees it. `run` does everything, `start` only makes the directory, `open_study` opens a finished one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.audit.audit import ACCEPTABLE
from ..data.cases import Prediction
from ..data.sources.detect import detect
from ..errors import DataError, RecipeError, RunError, WeightsError
from ..inference.predictor import Predictor
from ..models.network import check_installed
from ..models.specs import OWN, PUBLISHED, ResNet, innermost
from ..models.weights import starting_file
from ..recipes.learning import Ensemble
from ..recipes.library import get_recipe
from ..recipes.recipe import Recipe
from ..runs.run import Run, resolve_data
from ..runs.settings import Protocol, Settings
from ..training.detection import unsettled
from ..training.distributed import world
from .stages import EVIDENCE, TOGETHER, resume

NAMED = {**{name: name for name in PUBLISHED}, "none": ""}  # starting weights that are no file
KNOWING = ("head_penalty", "freeze_batchnorm")  # of a training that begins with features which are worth something
RUNS = Path("runs")  # where a run without --out goes


def changed_recipe(recipe: str | Recipe, changes: Iterable[tuple[str, str]], data: str | Path | None = None) -> Recipe:
    """A recipe by name, path or value, with fields set; a field of its source, where it has none, in the source of `data`."""
    found = get_recipe(recipe) if isinstance(recipe, str) else recipe
    for field, text in changes:
        if data is not None and found.source is None and field.startswith("source."):
            found = replace(found, source=detect(resolve_data(data)))
        found = found.set(field, text)
    return found


def asked_recipe(
    recipe: str | Recipe, changes: Iterable[tuple[str, str]], weights: str | Path, data: str | Path | None = None
) -> tuple[Recipe, str]:
    """The recipe that was asked for, with starting weights that are named in it; and the path of those that are a file.

    Raises:
        RecipeError: the network has no weights of that name, or needs what is not installed.
        WeightsError: the file is not there, or resdx ships none for this depth.
    """
    found = changed_recipe(recipe, changes, data)
    for one in found.members:
        check_installed(one.model.backbone)  # what is not installed is said before anything is read
    if weights and isinstance(found.learn, Ensemble):
        raise WeightsError(f"{found.name} is an ensemble, whose members start from weights of their own; leave out --weights")
    if weights in NAMED:
        backbone, field = innermost(found.model.backbone)
        if weights in OWN and not isinstance(backbone, ResNet):
            raise WeightsError(f"resdx has weights of its own for ResNet only, not for {backbone}; leave out --weights {weights}")
        found, weights = found.set(field, NAMED[str(weights)]), ""
    if weights and not Path(weights).is_file():
        raise WeightsError(f"the weights file {weights} is not there; check the path")
    for one in found.members:
        if odd := [name for name in KNOWING if getattr(one.learn, name, False) and not (weights or one.model.backbone.weights)]:
            raise RecipeError(f"learn.{odd[0]} keeps what the starting weights know, and there are none; name some (--weights)")
        if isinstance(backbone := innermost(one.model.backbone)[0], ResNet) and backbone.weights in OWN and not weights:
            starting_file(backbone.weights, backbone.depth)
    return found, str(Path(weights).resolve()) if weights else ""


def refuse_another(run: Run, data: str | Path, asked: Mapping[str, Any]) -> None:
    """Raise RunError where a run that is there was asked something else than `asked`, the arguments of `start`."""
    wanted, file = asked_recipe(asked.get("recipe", "plain"), asked.get("changes", ()), asked.get("weights", ""), data)
    wanted = replace(wanted, classes=wanted.classes or run.recipe.classes)
    if "start" in run.settings.choices:  # ImageNet's weights could not be had
        wanted = wanted.set(innermost(wanted.model.backbone)[1], "resdx")
    had = (unsettled(run).fingerprint(), run.settings.weights, run.settings.seed, run.settings.asked or run.settings.data)
    if had != (wanted.fingerprint(), file, asked.get("seed", 0), str(resolve_data(data))):
        raise RunError(
            f"{run.path} was made with other data, another recipe, other weights or another seed; ask the same again or choose another --out"
        )


def default_folder(data: str | Path, recipe: str | Recipe) -> Path:
    """Where a run goes that was not told: runs/DATA-RECIPE-TIME."""
    name = recipe.name if isinstance(recipe, Recipe) else Path(recipe).stem
    return RUNS / f"{resolve_data(data).stem}-{name.replace(':', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"


def start(
    data: str | Path,
    *,
    recipe: str | Recipe = "plain",
    out: str | Path | None = None,
    changes: Iterable[tuple[str, str]] = (),
    seed: int = 0,
    protocol: Protocol = "honest",
    accept: Sequence[str] = (),
    weights: str | Path = "",
    fold: int | None = None,
    folds: int = 5,
    skip: Sequence[str] = (),
    quiet: bool = False,
) -> Run:
    """Make the run directory for `data`; no stage is run yet. With `fold`, one of `folds` grouped folds is the test part.

    Raises:
        RunError: `skip` or `accept` names what cannot be left out or accepted, or the directory cannot be made.
        WeightsError: the weights file is not there.
    """
    if wrong := sorted({*skip} - {*EVIDENCE}):
        raise RunError(f"{wrong[0]} cannot be skipped; what can be left out is {', '.join(EVIDENCE)}")
    if world() > 1:
        raise RunError(TOGETHER)
    _refuse_unknown(accept)
    asked, file = asked_recipe(recipe, changes, weights, data)
    folder = Path(out) if out else default_folder(data, asked)
    settings = Settings(str(resolve_data(data)), seed, protocol, tuple(accept), fold, folds, file, __version__, skip=tuple(skip))
    return Run.create(folder, asked, settings, quiet=quiet)


@dataclass(frozen=True)
class Study:
    """A finished run as Python sees it."""

    run: Run

    @property
    def metrics(self) -> dict[str, Any]:
        """What `evaluate` found, as in metrics.json."""
        return self.run.metrics

    @property
    def report(self) -> Path:
        """The page to read."""
        return self.run.need("report.html", "report")

    def predict(self, files: str | Path | Sequence[str | Path], *, engine: str = "auto") -> list[Prediction]:
        """Answers for image files in their order, `engine` as for Predictor.open.

        Raises:
            DataError: a file cannot be read. `Predictor.open(run).predict(files)` gives the other answers, and the failures beside them.
        """
        paths = [files] if isinstance(files, (str, Path)) else files
        answers, failures = Predictor.open(self.run, engine=engine).predict(paths)
        if failures:
            raise DataError(
                f"{len(failures)} of {len(paths)} files have no answer; first: {failures[0][1]}; resdx.Predictor.open(run).predict(files) gives the others"
            )
        return answers


def run(
    data: str | Path,
    *,
    recipe: str | Recipe = "plain",
    out: str | Path | None = None,
    changes: Iterable[tuple[str, str]] = (),
    seed: int = 0,
    protocol: Protocol = "honest",
    accept: Sequence[str] = (),
    weights: str | Path = "",
    skip: Sequence[str] = (),
    quiet: bool = False,
) -> Study:
    """Everything from scan to report.

    Args:
        data: a folder, a CSV table or a DICOM folder
        recipe: a name, "name:variant", the path of a .py file, or a Recipe
        out: the run directory (default: a new one below `runs`)
        changes: (field, text) pairs for `Recipe.set`, such as ("learn.epochs", "3")
        protocol: honest (by person), published (the paper's split) or assumed (random images)
        accept: codes of audit findings that shall not stop the run
        weights: a file, "resdx", "resdx-views", "imagenet" or "none", in place of the recipe's starting weights
        skip: evidence that is not made: controls, explain, embedding, suspects

    Raises:
        ResdxError: with one sentence that says what, where and what to do.
    """
    asked: dict[str, Any] = {
        "seed": seed,
        "protocol": protocol,
        "accept": accept,
        "weights": weights,
        "skip": skip,
        "quiet": quiet,
    }
    started = start(data, recipe=recipe, out=out, changes=changes, **asked)
    resume(started)
    return Study(Run.open(started.path, quiet=quiet))


def open_study(path: str | Path, *, recipe: str | Path = "", quiet: bool = False) -> Study:
    """A run directory that was finished before; `recipe` as for `Run.open`."""
    return Study(Run.open(path, recipe=recipe, quiet=quiet))


def accepting(run: Run, codes: Sequence[str]) -> Run:
    """The run with more findings accepted, stored. Raises RunError where a code names nothing that can be accepted."""
    _refuse_unknown(codes)
    return run.changed(accepted=tuple(dict.fromkeys((*run.settings.accepted, *codes)))) if codes else run


def _refuse_unknown(codes: Sequence[str]) -> None:
    if wrong := sorted({*codes} - {*ACCEPTABLE}):
        raise RunError(f"--accept {wrong[0]} names no finding that can be accepted; those are {', '.join(ACCEPTABLE)}")
