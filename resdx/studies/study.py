"""A study: a finished run for Python.

Everything that is known of it, and everything that can be asked of it. `run` makes one from data, `open_study` opens the
directory of one; an exported folder answers files, and nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..data.audit.audit import Audit
from ..data.cases import Prediction
from ..data.split import Split
from ..errors import DataError, RunError
from ..inference.bundle import EXPORTED
from ..inference.calibration import Calibration
from ..inference.drawing import captioned, overlay, short_name
from ..inference.files import answer_files, in_order, opened_all
from ..inference.given import Given, one_by_one
from ..inference.opening import calibration_of_run, load_network
from ..inference.predictor import Predictor
from ..recipes.library import get_recipe
from ..recipes.recipe import Recipe
from ..runs.run import Run
from ..runs.scorecard import Scorecard
from ..runs.settings import ALPHA, Protocol, Refer
from .compare import compare
from .export import export
from .external import external
from .results import Comparison, ExternalScorecard
from .stages import repeat, resume
from .start import Changes, start
from .table import PredictionTable, prediction_table

FOLDS = "folds.json"  # what makes a folder the parent of folds


@dataclass(frozen=True)
class Explanation:
    """Where the network looks in one picture.

    `heat` is float32 (h, w), 0 and above: the class activation map of class `of`, in the network's own grid over the
    prepared picture,
    `picture`, uint8 (S, S, 3). `path` is the drawn overlay, where a folder was named. Where the file could not be read,
    `error` says why.
    """

    case: str
    of: str = ""
    heat: NDArray[np.float32] | None = None
    picture: NDArray[np.uint8] | None = None
    path: Path | None = None
    error: str = ""


@dataclass(frozen=True)
class Study:
    """A finished run; or an exported folder, or the parent of folds, which predict and nothing else.

    Made by `resdx.run` and `resdx.open`. `path` is its directory.
    """

    path: Path
    recipe_file: str | Path = ""
    quiet: bool = False
    _opened: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # what was loaded, by its name

    @property
    def run(self) -> Run:
        """The record of the run directory. Raises RunError where `path` is an exported folder or holds folds."""
        if (self.path / EXPORTED).exists() or (self.path / FOLDS).exists():
            what = "an exported model" if (self.path / EXPORTED).exists() else "the parent of folds"
            raise RunError(f"{self.path} is {what}, which predicts and nothing else; open a run for that")
        found: Run = self._once("run", lambda: Run.open(self.path, recipe=self.recipe_file, quiet=self.quiet))
        return found

    @property
    def recipe(self) -> Recipe:
        """The recipe as it was run, its classes settled."""
        return self.run.recipe

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of the columns of `predict_proba`."""
        return self._predictor("auto").calibration.classes

    @property
    def metrics(self) -> Scorecard:
        """What was found on the test set, as records.

        `metrics.classes["ill"].auroc`, `metrics.overall["accuracy"]`. Raises RunError.
        """
        return self.run.metrics

    @property
    def predictions(self) -> PredictionTable:
        """The predictions on the test set, one row a case.

        Raises RunError where the run has not been evaluated.
        """
        return prediction_table(self.run.predictions, self.recipe.classes)

    @property
    def audit(self) -> Audit:
        """What the audit found in the data. Raises RunError where there was none."""
        return self.run.audit

    @property
    def split(self) -> Split:
        """Which case is in which part. Raises RunError where the run has not been split."""
        return self.run.split

    @property
    def calibration(self) -> Calibration:
        """Calibrator, operating points and conformal limits. Raises RunError where the run is not calibrated."""
        return calibration_of_run(self.run)

    @property
    def network(self) -> nn.Module:
        """The trained network, (B, 3, S, S) float32 in [0, 1] -> logits (B, outputs); normalisation is inside.

        Raises:
            RunError: the run is not trained, or is an ensemble, whose members are runs of their own.
        """
        if self.run.members:
            first = self.run.members[0].path
            raise RunError(f"{self.path} is an ensemble of several networks; open a member, such as {first}")
        found: nn.Module = self._once("network", lambda: load_network(self.run))
        return found

    def predict(
        self, images: Given | Iterable[Given], *, engine: str = "auto", alpha: float | None = None, refer: Refer | None = None
    ) -> list[Prediction]:
        """Answers in order, one an image.

        What cannot be read is among them with its `error`, no label and no probabilities.

        Args:
            images: one or several of: paths of files or folders; arrays (H, W) or (H, W, 1 or 3), or (N, H, W, 1 or 3),
                floats in [0, 1],
                uint8 or uint16 by the range of their type; Pillow images; pydicom datasets. All are prepared as the recipe
                prepares a file.
            engine: of a run that was exported too: torch, onnx, openvino, bf16, int8, or the fastest of them ("auto").
            alpha: share of the cases of each class that may be answered wrongly: a level that the calibration holds, .05, .10 or
                .20 and that of the run, which is the default.
            refer: "unsure", or "none" to answer every image; the default is that of the run.

        Returns:
            One Prediction a picture, whose `case` is the path, or `images[n]`.

        Raises:
            DataError: a folder holds nothing that the run reads.
            RunError: the run is not trained and calibrated, was not exported for this engine, or holds no such level.
        """
        predictor = self._predictor(engine).referring(alpha, refer)
        given = opened_all(one_by_one(images), predictor.read)
        return in_order(given, *answer_files(predictor, given, quiet=True))

    def predict_proba(self, images: Given | Iterable[Given], *, engine: str = "auto") -> NDArray[np.float64]:
        """Calibrated probabilities (N, K) in [0, 1], columns as in `classes`.

        Args:
            images: as for `predict`.
            engine: as for `predict`.

        Raises:
            DataError: an image cannot be read; the first of them is named.
            RunError: as for `predict`.
        """
        found = self.predict(images, engine=engine)
        if wrong := [one for one in found if one.error]:
            raise DataError(f"{len(wrong)} of {len(found)} images have no probabilities; the first: {wrong[0].error}")
        return np.array([[one.probabilities[name] for name in self.classes] for one in found]).reshape(-1, len(self.classes))

    def explain(
        self, images: Given | Iterable[Given], *, of: str = "", to: str | Path | None = None, engine: str = "auto"
    ) -> list[Explanation]:
        """Class activation maps, one an image in order; what cannot be read is among them with its `error`.

        Args:
            images: as for `predict`.
            of: the class that is asked about; by default the most probable one of each image.
            to: a folder, into which each picture is drawn with its map.
            engine: as for `predict`.

        Raises:
            DataError: there is no such class.
            RunError: the network has no maps (grades, boxes, a head that is not linear, or an ensemble).
        """
        if of and of not in self.classes:
            raise DataError(f"{self.path} knows no class {of!r}; there are {', '.join(self.classes)}")
        predictor, failures, drawn = self._predictor(engine), list[tuple[str, str]](), dict[int, Explanation]()
        given = opened_all(one_by_one(images), predictor.read)
        for place, (answer, picture, maps) in enumerate(predictor.explain(given, failures)):
            name = of or max(answer.probabilities.items(), key=lambda item: item[1])[0]
            heat = maps[self.classes.index(name)]
            path = _drawn(Path(to), place, answer, name, picture, heat) if to is not None else None
            drawn[place] = Explanation(answer.case, name, heat, picture, path)
        found = in_order(given, [Prediction(one.case, {}, None) for one in drawn.values()], failures)
        ready = iter(drawn.values())
        return [Explanation(one.case, error=one.error) if one.error else next(ready) for one in found]

    def evaluate_on(
        self, other: str | Path, *, mapping: Mapping[str, str] | None = None, accept: Sequence[str] = (), name: str = ""
    ) -> ExternalScorecard:
        """External validation: score the study on cases of another place.

        First it is shown that the study shares none with them.

        Args:
            other: a folder, a table, or a run directory.
            mapping: label there -> class of the study; "?" for "not assessed".
            accept: "shared-with-training" leaves out what the two sets share instead of stopping.
            name: of the result; that of `other` by default.

        Returns:
            Figures there, their change against the study's own test set, and the drift of calibration. The page
            external-NAME.html
            is written into the run.

        Raises:
            AuditStop: pictures or persons are shared.
            DataError: labels that the study does not know, or no case is left.
            RunError: the study is not finished.
        """
        return ExternalScorecard.from_json(external(self.run, other, mapping=mapping, accept=accept, name=name))

    def compare(self, *others: Study) -> Comparison:
        """Which is better on the same test cases, with tests and intervals over persons and seeds.

        Args:
            others: one or more studies of the same data, tested on the same cases.

        Returns:
            A verdict and the differences of every figure for each pair, p values adjusted by Holm.

        Raises:
            RunError: a study is not finished, asks something else, or was tested on other cases.
        """
        return Comparison.from_json(compare([self.run, *(one.run for one in others)]))

    def export(self, folder: str | Path | None = None, *, to: str = "int8", guard: bool = True) -> Path:
        """Write a folder that answers as the study does, without PyTorch and faster, and give its path.

        Args:
            folder: where; a new folder, or by default export-ENGINE in the run.
            to: onnx, openvino, bf16 or int8.
            guard: refuse int8 that loses more than 0.005 of AUROC, or flips more than 1 % and more than 3 decisions.

        Raises:
            RunError: the study is not finished, the engine is not installed, the guard refuses, or the folder is there already.
        """
        place = None if folder is None else Path(folder)
        if place and place.exists():
            raise RunError(f"{place} is there already; choose another folder")
        made = export(self.run, to, guard=guard)[0]
        self._opened.clear()  # the fastest engine may be another one now
        if not place:
            return made
        try:
            return Path(shutil.copytree(made, place))
        except OSError as error:
            raise RunError(f"{place} cannot be written ({error.strerror or error}); choose another folder") from error

    def report(self) -> Path:
        """The page to read, report.html; written where it is not there yet.

        Raises RunError where the run cannot be written.
        """
        if not (self.run.path / "report.html").exists():
            repeat(self.run, "report")
        return self.run.need("report.html", "report")

    def _predictor(self, engine: str) -> Predictor:
        found: Predictor = self._once(
            f"predictor {engine}", lambda: Predictor.open(self.path, engine=engine, recipe=self.recipe_file, quiet=self.quiet)
        )
        return found

    def _once(self, name: str, load: Any) -> Any:
        if name not in self._opened:
            self._opened[name] = load()
        return self._opened[name]


def run(
    data: str | Path,
    *,
    recipe: str | Recipe = "plain",
    out: str | Path | None = None,
    changes: Changes = (),
    seed: int = 0,
    protocol: Protocol = "honest",
    accept: Sequence[str] = (),
    weights: str | Path = "",
    skip: Sequence[str] = (),
    alpha: float = ALPHA,
    refer: Refer = "unsure",
    quiet: bool = False,
) -> Study:
    """Everything from scan to report.

    Args:
        data: a folder, a CSV table or a DICOM folder.
        recipe: a name, "name:variant", the path of a .py file, or a Recipe.
        out: the run directory (default: a new one below `runs`).
        changes: field -> value, such as {"learn.epochs": 3, "model.head": Linear(dropout=0.5)}; or such pairs.
        seed: of split and training, 0 or above.
        protocol: honest (by person), published (the paper's split) or assumed (random images).
        accept: codes of audit findings that shall not stop the run.
        weights: a file, "resdx", "resdx-views", "imagenet" or "none", in place of the recipe's starting weights.
        skip: evidence that is not made: controls, explain, embedding, suspects.
        alpha: share of the cases of each class that may be answered wrongly; other unsure cases are referred to a person.
        refer: "unsure", or "none" to answer every case.
        quiet: say nothing.

    Returns:
        The finished study.

    Raises:
        ResdxError: with one sentence that says what, where and what to do.
    """
    asked: dict[str, Any] = {"seed": seed, "protocol": protocol, "accept": accept, "weights": weights, "skip": skip}
    started = start(data, recipe=recipe, out=out, changes=changes, quiet=quiet, alpha=alpha, refer=refer, **asked)
    resume(started)
    return Study(started.path, quiet=quiet)


def open_study(path: str | PathLike[str], *, recipe: str | Path = "", quiet: bool = False) -> Study:
    """Open a run directory, an exported folder, or the parent that `resdx run --folds` left.

    The last two predict only.

    Args:
        path: the directory.
        recipe: your own .py file where it defines steps that the run uses; no code is run without it.
        quiet: say nothing.

    Returns:
        The study.

    Raises:
        RunError: it is none of the three, or of another version.
        RecipeError: the recipe file cannot be used.
    """
    study = Study(Path(path), recipe, quiet)
    if not any((study.path / name).exists() for name in (EXPORTED, FOLDS)):
        study.run  # noqa: B018 - what is no run is said now
    elif recipe:
        get_recipe(str(recipe))
    return study


def _drawn(
    folder: Path, place: int, answer: Prediction, name: str, picture: NDArray[np.uint8], heat: NDArray[np.float32]
) -> Path:
    """Draw a picture with its map into `folder`. Raises RunError where it cannot be written."""
    path = folder / f"{place + 1:05d}-{short_name(Path(answer.case).stem)}.png"
    page = captioned(overlay(picture, heat), f"{name} {answer.probabilities[name]:.2f}; for research, not for diagnosis")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.save(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror or error}); choose another folder") from error
    return path
