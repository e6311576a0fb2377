"""From files to answers: the one path for the command line, Python and every later front end."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import joblib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from safetensors import SafetensorError
from safetensors.numpy import load_file

from .calibration import Calibration
from .cases import Prediction
from .engines.torch import device, infer
from .errors import DataError, ResdxError, RunError
from .familiarity import Familiarity
from .listing import list_images
from .models.net import Network, build
from .models.weights import load_state
from .records import from_record, read_json
from .runs import Run, Scores
from .steps.chain import prepare_image

CHUNK = 64  # files read ahead at a time: memory stays the same for any number of files


@dataclass(frozen=True)
class Predictor:
    """A trained and calibrated run, ready to answer; or the runs of all folds, which answer together.

    Folds: the mean of their logits, then the calibration of their parent, which was fitted on what single networks said to
    persons they had not seen. The mean of several is, if anything, better than one: its probabilities are, if anything, too
    near to each other. How unlike training a case is: the mean of the distances from each network's own training cases.
    """

    run: Run
    networks: tuple[Network, ...]
    calibration: Calibration
    familiarities: tuple[Familiarity, ...]

    @classmethod
    def open(cls, run: Run | str | Path, *, recipe: str | Path = "", quiet: bool = False) -> Self:
        """Load weights and calibration of a run, its directory, or the directory that `resdx run --folds` left.

        Raises:
            RunError: the run is not trained or calibrated yet, or a fold is missing.
        """
        if not isinstance(run, Run) and (Path(run) / "folds.json").exists():
            return cls._open_folds(Path(run), recipe, quiet)
        one = run if isinstance(run, Run) else Run.open(run, recipe=recipe, quiet=quiet)
        calibration = from_record(read_json(one.need("calibration.json", "calibrate")))
        return cls(one, (load_network(one),), calibration, (load_familiarity(one),))

    @classmethod
    def _open_folds(cls, parent: Path, recipe: str | Path, quiet: bool) -> Self:
        if not (parent / "calibration.json").exists():
            raise RunError(
                f"{parent} has no calibration.json; repeat `resdx run DATA --folds N --out {parent}`, which keeps its runs"
            )
        count = read_json(parent / "folds.json")["folds"]
        runs = [Run.open(parent / f"fold-{k}", recipe=recipe, quiet=quiet) for k in range(count)]
        networks, familiarities = tuple(map(load_network, runs)), tuple(map(load_familiarity, runs))
        return cls(replace(runs[0], path=parent), networks, from_record(read_json(parent / "calibration.json")), familiarities)

    @property
    def network(self) -> Network:
        """The network of a single run; of folds the first."""
        return self.networks[0]

    @property
    def familiarity(self) -> Familiarity:
        """What is familiar to the network of a single run; of folds to the first."""
        return self.familiarities[0]

    def answer(self, scores: Scores) -> list[Prediction]:
        """Calibrated answers from raw ones of a single run."""
        return self._answer(scores.ids, scores.logits, self.familiarity.distance(scores.embeddings))

    def _answer(self, ids: Sequence[str], logits: NDArray[np.float32], distance: NDArray[np.float64]) -> list[Prediction]:
        probabilities = self.calibration.probabilities(logits)
        sets = self.calibration.sets(probabilities)
        decisions = self.calibration.decide(probabilities, distance)
        return [
            Prediction(
                case,
                dict(zip(self.calibration.classes, map(float, row), strict=True)),
                label,
                kept,
                flags,
                run=self.run.path.name,
            )
            for case, row, kept, (label, flags) in zip(ids, probabilities, sets, decisions, strict=True)
        ]

    def predict(
        self, files: Sequence[str | Path], *, progress: Callable[[int], None] | None = None
    ) -> tuple[list[Prediction], list[tuple[str, str]]]:
        """Answers for image files in their order, and (file, reason) for those that could not be read."""
        answers: list[Prediction] = []
        failures: list[tuple[str, str]] = []
        paths = [str(file) for file in files]
        with joblib.Parallel(n_jobs=-1, prefer="threads") as pool:
            for start in range(0, len(paths), CHUNK):
                chunk = paths[start : start + CHUNK]
                images = pool(joblib.delayed(_read)(path, self) for path in chunk)
                failures += [(path, image) for path, image in zip(chunk, images, strict=True) if isinstance(image, str)]
                good = [(path, image) for path, image in zip(chunk, images, strict=True) if not isinstance(image, str)]
                answers += self._answer_images(good)
                if progress:
                    progress(start + len(chunk))
        return answers, failures

    def _answer_images(self, good: Sequence[tuple[str, NDArray[np.uint8]]]) -> list[Prediction]:
        if not good:
            return []
        # Grey and colour files may stand side by side: three channels hold both.
        images = np.stack([np.broadcast_to(image, (*image.shape[:2], 3)) for _, image in good])
        said = [infer(network, images, np.arange(len(good)), views=self.run.recipe.views) for network in self.networks]
        distances = [known.distance(seen) for known, (_, seen) in zip(self.familiarities, said, strict=True)]
        logits = np.mean([logits for logits, _ in said], axis=0)
        return self._answer([path for path, _ in good], logits, np.mean(distances, axis=0))


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


def predict_files(
    run: Run | str | Path, files: Sequence[str | Path], *, recipe: str | Path = "", quiet: bool = False
) -> tuple[list[Prediction], list[tuple[str, str]]]:
    """Answers for image files and for all images of folders, with a progress bar; failures as (file, reason).

    `run`, `recipe` and `quiet` are those of `Predictor.open`.

    Raises:
        DataError: a folder holds no images.
    """
    paths = [path for file in files for path in _below(Path(file))]
    predictor = Predictor.open(run, recipe=recipe, quiet=quiet)
    with predictor.run.progress("predict", len(paths)) as bar:
        return predictor.predict(paths, progress=lambda done: bar.update(bar.task_ids[0], completed=done))


def _below(file: Path) -> list[str]:
    if not file.is_dir():
        return [str(file)]
    if not (names := list_images(file)[0]):
        raise DataError(f"{file} holds no images; name image files, or folders that hold some")
    return [str(file / name) for name in names]


def to_csv(predictions: Sequence[Prediction]) -> str:
    """One row a case: case, label (empty = refer to a person), conformal set, flags, a probability a class."""
    classes = list(predictions[0].probabilities) if predictions else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["case", "label", "conformal", "flags", *(f"p_{name}" for name in classes)])
    for one in predictions:
        values = [f"{one.probabilities[name]:.5f}" for name in classes]
        writer.writerow([one.case, label_text(one), "|".join(one.conformal), "|".join(one.flags), *values])
    return out.getvalue()


def to_json(predictions: Sequence[Prediction]) -> str:
    """A JSON list with the fields of Prediction."""
    return json.dumps([asdict(one) for one in predictions], indent=1) + "\n"


def to_table(predictions: Sequence[Prediction]) -> str:
    """A table for the terminal: the answer, its probability, and why a case is referred."""
    table = Table(
        Column("case", overflow="fold"), "answer", "probabilities", "why", title="For research, not for diagnosis of patients"
    )
    for one in predictions:
        chances = sorted(one.probabilities.items(), key=lambda item: -item[1])[:3]
        shown = ", ".join(f"{name} {chance:.3f}" for name, chance in chances)
        table.add_row(Text(one.case), Text(label_text(one) or "refer to a person"), Text(shown), Text(", ".join(one.flags)))
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def label_text(prediction: Prediction) -> str:
    """The label, or several with "|" between; empty when the case is referred to a person."""
    if prediction.label is None or isinstance(prediction.label, str):
        return prediction.label or ""
    return "|".join(prediction.label) or "none"


def _read(path: str, predictor: Predictor) -> NDArray[np.uint8] | str:
    try:
        return prepare_image(path, predictor.run.recipe.read, predictor.run.recipe.prepare)
    except ResdxError as error:
        return str(error)
