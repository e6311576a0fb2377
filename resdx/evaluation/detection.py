"""How well a detector finds the boxes of the test set: boxes.csv, pictures and average precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from ..data.box_geometry import box_transform, in_file
from ..data.cases import Box
from ..data.tasks import Detect
from ..files import write_text
from ..inference.calibration import Boxing, Calibration
from ..inference.drawing import boxed
from ..metrics.detection import (
    Matches,
    ap50,
    ap50_95,
    best_threshold,
    log_average_miss_rate,
    precision_at,
    recall_at,
    voc_ap50,
)
from ..metrics.intervals import weighted
from ..models.heads.boxes import MAX_BOXES
from ..models.heads.specs import Yolo
from ..runs.partition import Part, part_of, shapes
from ..runs.prepared import Prepared
from ..runs.run import Run
from ..runs.scorecard import BoxScores, ClassBoxes, DrawnBoxes
from ..training.detection import Floats, Predicted, compared, detector_of, find_boxes


def judge_boxes(run: Run, prepared: Prepared, calibration: Calibration) -> BoxScores | None:
    """How well the run finds the boxes of its test part, with intervals over persons.

    Writes boxes.csv and boxes/. None where it finds none.

    Of each class the average precision at an overlap of 0.5 (as COCO and as PASCAL VOC count) and over 0.50 to 0.95, and the
    log-average miss rate; of the boxes that are shown, how many are right (precision) and how many of those that are there
    are found (recall).
    """
    if not isinstance(run.recipe.task, Detect) or not calibration.boxes:
        return None
    part, limits = part_of(run, prepared, "test"), calibration.boxes.limits
    predicted, names = find_boxes(detector_of(run), prepared.images, part.rows), run.recipe.classes
    found = {name: compared(predicted, part.targets, k) for k, name in enumerate(names)}
    ask = partial(weighted, groups=part.groups, replicates=DRAWS, seed=run.settings.seed)
    classes = {}
    for (name, one), limit in zip(found.items(), limits, strict=True):
        wanted = {key: partial(figure, one) for key, figure in FIGURES.items()} | {"recall": partial(recall_at, one, limit)}
        shown_in = np.bincount(one.picture[one.score >= limit], minlength=len(one.observed)) > 0  # what precision rests on
        found_of = ask(wanted, one.observed > 0) | ask({"precision": partial(precision_at, one, limit)}, shown_in)
        classes[name] = ClassBoxes(int(one.observed.sum()), int((one.observed > 0).sum()), limit, found_of)
    occur = [one for one in found.values() if one.observed.any()]
    # (N, classes that occur): pictures with something to find
    there = np.stack([one.observed > 0 for one in occur], 1) if occur else np.zeros((len(part.ids), 1), bool)
    means = ask({key: partial(_mean, FIGURES[key], occur) for key in ("ap50", "ap50_95")}, there)
    shown = [[_from(*pair) for pair in zip(each, limits, strict=True)] for each in predicted]
    _write(run, part, shown)
    return BoxScores(classes, means, _draw(run, prepared, part, shown), MAX_BOXES)


def _mean(figure: Callable[..., float], found: list[Matches], weights: Floats | None = None) -> float:
    """Over classes; one that a draw of persons lacks is left out of it."""
    values = [figure(one, weights) for one in found]
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _from(predicted: tuple[Floats, Floats], limit: float) -> tuple[Floats, Floats]:
    return predicted[0][predicted[1] >= limit], predicted[1][predicted[1] >= limit]  # (D, 4) and (D,) of what is shown


def _write(run: Run, part: Part, shown: Predicted) -> None:
    """boxes.csv: the boxes that are shown, in pixels of the files."""
    out, known = io.StringIO(), shapes(run)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["case", "label", "score", "x1", "y1", "x2", "y2"])
    for case, predicted in zip(part.ids, shown, strict=True):
        if place := box_transform(known[case], run.recipe.prepare):
            for box in in_file(predicted, run.recipe.classes, place):
                corners = (box.x1, box.y1, box.x2, box.y2)
                writer.writerow([case, box.label, f"{box.score:.4f}", *(f"{value:.1f}" for value in corners)])
    write_text(run.path / "boxes.csv", out.getvalue())


def _draw(run: Run, prepared: Prepared, part: Part, shown: Predicted) -> tuple[DrawnBoxes, ...]:
    """Draw boxes/1.png and so on: up to SHOWN images of different persons, in random order.

    With the annotated and the predicted boxes.
    """
    folder, drawn, seen = run.path / "boxes", list[DrawnBoxes](), set[str]()
    folder.mkdir(parents=True, exist_ok=True)
    for i in np.random.default_rng(run.settings.seed).permutation(len(part.ids)).tolist():
        person = part.groups[i] or part.ids[i]
        if person in seen or len(drawn) == SHOWN:
            continue
        seen.add(person)
        there = [(part.targets[i][part.targets[i][:, 0] == k, 1:].astype(np.float64), np.ones(0)) for k in range(len(shown[i]))]
        path = Path("boxes") / f"{len(drawn) + 1}.png"
        boxed(prepared.images[prepared.row[part.ids[i]]], *(_named(one, run.recipe.classes) for one in (shown[i], there))).save(
            run.path / path, optimize=True
        )
        sides = (sum(len(one[0]) for one in side) for side in (there, shown[i]))
        drawn.append(DrawnBoxes(part.ids[i], str(path), *sides))
    return tuple(drawn)


def _named(predicted: list[tuple[Floats, Floats]], classes: tuple[str, ...]) -> list[Box]:
    """Boxes in shares of the picture."""
    return [
        Box(name, *map(float, corners), *([float(scores[i])] if len(scores) else []))
        for name, (boxes, scores) in zip(classes, predicted, strict=True)
        for i, corners in enumerate(boxes)
    ]


DRAWS = 1000  # of persons: each takes an average precision at ten overlaps
SHOWN = 12  # pictures that are drawn


FIGURES: Mapping[str, Callable[..., float]] = {
    "ap50": ap50,
    "ap50_95": ap50_95,
    "voc_ap50": voc_ap50,
    "log_average_miss_rate": log_average_miss_rate,
}


def fit_boxing(run: Run, prepared: Prepared) -> Boxing:
    """The run's anchors, and for each class the score threshold above which a box is shown.

    That of the best F1 on the calibration set; 0.5 where it has no box of the class.
    """
    part = part_of(run, prepared, "calib")
    predicted = find_boxes(detector_of(run), prepared.images, part.rows)
    limits = tuple(best_threshold(compared(predicted, part.targets, k)) for k in range(len(run.recipe.classes)))
    return Boxing(cast(Yolo, run.recipe.model.head).anchors, limits)
