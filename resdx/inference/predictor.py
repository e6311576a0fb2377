"""From files to answers: the one path for the command line, Python and every later front end."""

from __future__ import annotations

import importlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, tee
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.box_geometry import BoxTransform, box_transform, in_file
from ..data.cases import Box, Prediction
from ..errors import DataError, ResdxError, RunError, count
from ..files import digest, read_json
from ..models.heads.boxes import predicted_boxes
from ..transforms.compose import prepare_image
from .bundle import EXPORTED, can_load, read_bundle
from .calibration import Boxing, Calibration
from .drawing import boxed, captioned, overlay, short_name
from .engines import Engine, Outputs
from .given import Given, named, read_given
from .ood import OodScore

if TYPE_CHECKING:
    from ..runs.run import Scores
    from ..runs.settings import Refer

AHEAD = 64  # files read ahead: memory stays the same for any number of files
ENGINES = ("int8", "bf16", "openvino", "onnx", "torch")  # the fastest first
MADE_OF = ("best.safetensors", "calibration.json")  # of a run, which an export is no longer of when they change
Picture = tuple[NDArray[np.uint8], tuple[int, int]]  # prepared, and height and width of what was read


class Batch(NamedTuple):
    """Files that are answered together: their prepared pictures, height and width of what was read,
    and the place of each among all files, from 1.
    """

    paths: list[str]
    images: NDArray[np.uint8]
    shapes: list[tuple[int, int]]
    places: list[int]


@dataclass(frozen=True)
class Predictor:
    """A trained and calibrated model, ready to answer.

    A run, an exported folder, or the runs of all folds, which answer together.

    Folds: the mean of their logits, then the calibration of their parent, which was fitted on what single networks said to
    persons they had not seen. The mean of several is, if anything, better than one: its probabilities are, if anything, too
    near to each other. How unlike training a case is: the mean of the distances from each network's own training cases.
    """

    name: str
    read: Callable[[str], Any]
    prepare: tuple[Callable[[Any], Any], ...]
    engines: tuple[Engine, ...]
    calibration: Calibration
    ood_scores: tuple[OodScore, ...]

    @classmethod
    def open(cls, run: str | PathLike[str], *, engine: str = "auto", recipe: str | Path = "", quiet: bool = False) -> Predictor:
        """Open a run directory, the directory that `resdx run --folds` left, or an exported folder.

        Args:
            engine: of a run that was exported too: torch, onnx, openvino, bf16, int8, or the fastest of them ("auto").
            recipe: your own .py file where it defines steps that the run uses.

        Raises:
            RunError: the run is not trained or calibrated yet, was not exported for this engine, or a file of it has changed.
        """
        if engine not in (*ENGINES, "auto"):
            raise RunError(f"there is no engine {engine!r}; there are auto, {', '.join(ENGINES)}")
        path = Path(run)
        folder = path if (path / EXPORTED).exists() else None if engine == "torch" else _exported_of(path, engine)
        if folder:
            if recipe:
                _opening().know_steps(recipe)
            return cls(*read_bundle(folder, engine))
        return cast(Predictor, _opening().open_trained(path, recipe=recipe, quiet=quiet))

    def referring(self, alpha: float | None = None, refer: Refer | None = None) -> Predictor:
        """The predictor with another level of referral, or with none.

        As of `Calibration.referring`. Raises RunError.
        """
        try:
            return replace(self, calibration=self.calibration.referring(alpha, refer))
        except DataError as error:
            raise RunError(f"{self.name}: {error}") from error

    @property
    def ood_score(self) -> OodScore:
        """The OOD score of a single run; of folds that of the first."""
        return self.ood_scores[0]

    def calibrate(self, scores: Scores) -> list[Prediction]:
        """Calibrated predictions from raw outputs of a single run."""
        return self._calibrate(scores.ids, scores.logits, self.ood_score.distance(scores.embeddings))

    def _calibrate(self, ids: Sequence[str], logits: NDArray[np.float32], distance: NDArray[np.float64]) -> list[Prediction]:
        probabilities = self.calibration.probabilities(logits)
        sets = self.calibration.sets(probabilities)
        decisions = self.calibration.decide(probabilities, distance, logits=logits)
        return [
            Prediction(case, dict(zip(self.calibration.classes, map(float, row), strict=True)), label, kept, flags, run=self.name)
            for case, row, kept, (label, flags) in zip(ids, probabilities, sets, decisions, strict=True)
        ]

    def predict(
        self,
        files: Iterable[Given],
        *,
        maps: Path | None = None,
        boxes: Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[list[Prediction], list[tuple[str, str]]]:
        """Answers in order, and (file, reason) for those that could not be read.

        `files`, `maps` and `boxes` as for `stream`.
        """
        failures: list[tuple[str, str]] = []
        answers = list(self.stream(files, failures, maps=maps, boxes=boxes, progress=progress))
        return answers, failures

    def stream(
        self,
        files: Iterable[Given],
        failures: list[tuple[str, str]],
        *,
        maps: Path | None = None,
        boxes: Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Prediction]:
        """Answers one by one, in order, while later files are still being read.

        Memory does not grow with their number.

        `files` are paths, or what stands in their place (given.read_given), called `images[n]` by its place n from 0.
        (file, reason) of
        those that could not be read are added to `failures`; `progress` is called with the files done. Each picture is
        written into the
        folder `maps` with the class activation map of its most probable class, or into `boxes` with the boxes that are found.

        Raises:
            RunError: maps or boxes are asked for, and the network has none.
        """
        found = self.calibration.boxes
        if boxes and not found:
            raise RunError(f"{self.name} was not trained to find boxes; leave out --boxes")
        if maps and found:
            raise RunError(f"{self.name} finds boxes and draws no maps; write --boxes FOLDER instead of --maps")
        for batch, answers, outputs in self._answered(files, failures):
            if found and (grids := outputs[0].maps) is not None:
                answers = [
                    replace(answer, boxes=self._boxes(found, *one))
                    for answer, *one in zip(answers, grids, batch.shapes, strict=True)
                ]
            if boxes:
                self._draw_boxes(boxes, batch, answers)
            if maps:
                self._draw(maps, batch, answers, [one.maps for one in outputs])
            yield from answers
            if progress:
                progress(batch.places[-1])

    def explain(
        self, files: Iterable[Given], failures: list[tuple[str, str]]
    ) -> Iterator[tuple[Prediction, NDArray[np.uint8], NDArray[np.float32]]]:
        """Answers as of `stream`, each with its picture and its maps.

        The prepared picture is (S, S, 3), the class activation maps are (K, h, w), 0 and above.

        Raises:
            RunError: the network has no maps.
        """
        for batch, answers, outputs in self._answered(files, failures):
            yield from zip(answers, batch.images, self._heat([one.maps for one in outputs]), strict=True)

    def _answered(
        self, files: Iterable[Given], failures: list[tuple[str, str]]
    ) -> Iterator[tuple[Batch, list[Prediction], tuple[Outputs, ...]]]:
        """Each batch with its answers, and what each engine gave."""
        waiting: deque[Batch] = deque()
        batches = tee(self._batches(named(files), failures, waiting), len(self.engines))  # every engine sees every batch
        for outputs in zip(*(engine.predict(mine) for engine, mine in zip(self.engines, batches, strict=True)), strict=True):
            batch = waiting.popleft()
            distances = [known.distance(one.embeddings) for known, one in zip(self.ood_scores, outputs, strict=True)]
            logits = np.mean([one.logits for one in outputs], axis=0)  # (B, outputs), the mean over folds
            yield batch, self._calibrate(batch.paths, logits, np.mean(distances, axis=0)), outputs

    def _heat(self, heat: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32]:
        """(B, K, h, w) mean maps of the engines."""
        drawn = [one for one in heat if one is not None]
        if len(drawn) < len(heat) or self.calibration.boxes:
            raise RunError(
                f"{self.name} has no map in its graph (grades, boxes, a head that is not linear, or an ensemble); "
                f"leave out --maps"
            )
        return np.asarray(np.mean(drawn, axis=0))

    def _boxes(self, found: Boxing, grid: NDArray[np.float32], shape: tuple[int, int]) -> tuple[Box, ...]:
        """The boxes that are shown, in pixels of a file of that shape."""
        place = box_transform(shape, self.prepare)
        said = predicted_boxes(grid, found.anchors, min_score=found.limits)
        return in_file(said, self.calibration.classes, place) if place else ()

    def _draw_boxes(self, folder: Path, batch: Batch, answers: Sequence[Prediction]) -> None:
        for i, (picture, one) in enumerate(zip(batch.images, answers, strict=True)):
            place = cast(BoxTransform, box_transform(batch.shapes[i], self.prepare))
            page = captioned(
                boxed(picture, place.to_fractions(one.boxes)),
                f"{count(len(one.boxes), 'box', 'boxes')}; for research, not for diagnosis",
            )
            _save(page, folder, batch, i, "--boxes")

    def _draw(
        self, folder: Path, batch: Batch, answers: Sequence[Prediction], heat: Sequence[NDArray[np.float32] | None]
    ) -> None:
        maps = self._heat(heat)
        for i, (picture, one) in enumerate(zip(batch.images, answers, strict=True)):
            name, chance = max(one.probabilities.items(), key=lambda item: item[1])
            k = self.calibration.classes.index(name)
            page = captioned(
                overlay(picture, maps[i, k]),
                f"{name} {chance:.2f}; for research, not for diagnosis",
            )
            _save(page, folder, batch, i, "--maps")

    def _batches(
        self, files: Iterator[tuple[str, Given]], failures: list[tuple[str, str]], waiting: deque[Batch]
    ) -> Iterator[NDArray[np.uint8]]:
        size, some = max(engine.batch for engine in self.engines), list[tuple[str, NDArray[np.uint8], tuple[int, int], int]]()
        for place, (path, read) in enumerate(self._read_ahead(files), 1):
            if isinstance(read, str):
                failures.append((path, read))
                continue
            image, shape = read
            # Grey and colour files may stand side by side: three channels hold both.
            some.append((path, np.broadcast_to(image, (*image.shape[:2], 3)), shape, place))
            if len(some) == size:
                waiting.append(_batch(some))
                yield waiting[-1].images
                some = []
        if some:
            waiting.append(_batch(some))
            yield waiting[-1].images

    def _read_ahead(self, files: Iterator[tuple[str, Given]]) -> Iterator[tuple[str, Picture | str]]:
        """Each file's prepared picture, or why there is none, in order; the next ones are read meanwhile."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ahead = deque((path, pool.submit(self._prepared, path, one)) for path, one in islice(files, AHEAD))
            while ahead:
                path, found = ahead.popleft()
                yield path, found.result()
                ahead += [(path, pool.submit(self._prepared, path, one)) for path, one in islice(files, 1)]

    def _prepared(self, path: str, given: Given) -> Picture | str:
        try:
            image = read_given(path, given, self.read)
            return prepare_image(path, lambda _: image, self.prepare), image.shape[:2]
        except ResdxError as error:
            return str(error)
        except OSError as error:
            return f"{path} cannot be read ({error.strerror or error}); copy it again or leave it out"
        except Exception as error:  # one odd picture, or a step of the user's own, does not stop the others
            return f"{path} cannot be prepared ({type(error).__name__}: {error}); look at it, or leave it out"


def _batch(some: Sequence[tuple[str, NDArray[np.uint8], tuple[int, int], int]]) -> Batch:
    paths, images, shapes, places = zip(*some, strict=True)
    return Batch(list(paths), np.stack(images), list(shapes), list(places))


def _save(page: Image.Image, folder: Path, batch: Batch, i: int, option: str) -> None:
    """Write what was drawn of a picture of a batch. Raises RunError where it cannot be written."""
    path = folder / f"{batch.places[i]:05d}-{short_name(Path(batch.paths[i]).stem)}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.save(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror or error}); choose another folder for {option}") from error


def _exported_of(run: Path, engine: str) -> Path | None:
    """The folder of an export of a run.

    It is the one asked for, or the fastest there is that was made of the run as it is.
    """
    for name in ENGINES if engine == "auto" else (engine,):
        folder = run / f"export-{name}"
        if (folder / EXPORTED).exists():
            if _is_current(run, folder) and (engine != "auto" or can_load(name)):
                return folder
            if engine != "auto":
                raise RunError(f"{run} has changed since {folder.name} was made; run `resdx export {run} --to {engine}` again")
    if engine != "auto" and (run / "folds.json").exists():
        raise RunError(f"{run} holds folds, which answer together with PyTorch only; leave out --engine")
    if engine != "auto" and (run / "run.json").exists():
        raise RunError(f"{run} was not exported for {engine} yet; run `resdx export {run} --to {engine}` first")
    return None


def _is_current(run: Path, folder: Path) -> bool:
    """Whether a run still has the weights and the calibration that an export was made of.

    None of both where only exports were kept.
    """
    if not (run / "run.json").exists():
        return True
    about = read_json(folder / EXPORTED)
    made_of = about.get("made_of") if isinstance(about, dict) else None
    return isinstance(made_of, dict) and all(
        (run / file).exists() and made_of.get(file) == digest(run / file) for file in MADE_OF
    )


def _opening() -> ModuleType:
    """The module that opens runs, loaded when one is opened.

    An exported model answers on machines that have no PyTorch.
    """
    return importlib.import_module(".opening", __package__)
