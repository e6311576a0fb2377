"""Finding boxes: anchors from the train part, what a network says of pictures, and how well it finds what is there, with intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from .boxes import (
    MOST_SAID,
    Found,
    ap50,
    ap50_95,
    best_limit,
    compare_boxes,
    find_anchors,
    log_average_miss_rate,
    precision_at,
    recall_at,
    said_boxes,
    voc_ap50,
)
from .calibration import Boxing, Calibration
from .cases import Box
from .data import Prepared
from .engines.torch import DTYPES, batch_of, three_channels, to_tensor
from .errors import DataError, count
from .intervals import weighted
from .models.head_specs import Yolo
from .models.net import Detector
from .overlays import boxed
from .parts import Part, part_of, shapes
from .places import in_file, placing
from .recipe import Recipe
from .records import write_json, write_text
from .runs import Run
from .tasks import Detect
from .trained import load_network

Floats = NDArray[np.float64]
Said = list[list[tuple[Floats, Floats]]]  # of each picture and class: boxes (D, 4) in shares of the picture, scores (D,)
Json = dict[str, Any]

CURVE = 12  # anchors, up to which the mean overlap is told
DRAWS = 1000  # of persons: each takes an average precision at ten overlaps
SHOWN = 12  # pictures that are drawn
FOUND = "anchors"  # the choice of a run whose anchors are not those of the recipe that was asked for
FIGURES: Mapping[str, Callable[..., float]] = {
    "ap50": ap50,
    "ap50_95": ap50_95,
    "voc_ap50": voc_ap50,
    "log_average_miss_rate": log_average_miss_rate,
}


def settle_anchors(run: Run, train: Part, tune: Part) -> Run:
    """The run, with the anchors of its recipe found among the boxes of train where it names none; writes anchors.json.

    Raises:
        DataError: train has no boxes, or fewer different ones than anchors.
    """
    head = unsettled(run).model.head
    if not isinstance(head, Yolo) or head.anchors or (FOUND in run.settings.choices and (run.path / "anchors.json").exists()):
        return run  # the recipe names them, or this training goes on with those that it found
    boxes = _there(train.targets).astype(np.float64)
    if not len(boxes):
        raise DataError(f"{run.path}: no case of train has a box; give boxes as XML files beside the pictures, or in the table")
    if not len(_there(tune.targets)):
        raise DataError(f"{run.path}: no case of tune has a box, so no epoch could be chosen; use more data")
    sides = boxes[:, 3:] - boxes[:, 1:3]
    most = min(CURVE, len(np.unique(sides, axis=0)))
    tried = {k: find_anchors(sides, k, seed=run.settings.seed) for k in {*range(1, most + 1), head.count}}
    anchors, overlap = tried[head.count]
    curve = [tried[k][1] for k in range(1, most + 1)]
    found = tuple((float(wide), float(high)) for wide, high in anchors)
    run.say(
        f"train: {count(head.count, 'anchor')} from {len(boxes):,} boxes; the best one overlaps a box by {overlap:.2f} in the mean"
    )
    write_json(run.path / "anchors.json", {"anchors": found, "overlap": overlap, "curve": curve, "boxes": len(boxes)})
    recipe = replace(run.recipe, model=replace(run.recipe.model, head=replace(head, anchors=found)))
    return run.changed(recipe=recipe, choices={**run.settings.choices, FOUND: head.count})


def unsettled(run: Run) -> Recipe:
    """The recipe as it was asked for, without the anchors that the training found."""
    head = run.recipe.model.head
    if not isinstance(head, Yolo) or FOUND not in run.settings.choices:
        return run.recipe
    return replace(run.recipe, model=replace(run.recipe.model, head=replace(head, anchors=())))


def find_boxes(
    network: Detector, images: NDArray[np.uint8], rows: NDArray[np.int64], *, dtype: str = "float32", least: float = 0.01
) -> Said:
    """What the network says of `images[rows]`, of each picture and class, from a score of `least`."""
    network.eval()
    where, size = network.where, batch_of(network.where, images.shape[1])
    anchors, out = network.head.anchors.tolist(), Said()
    with torch.inference_mode(), torch.autocast(where.type, DTYPES[dtype], enabled=dtype != "float32"):
        for start in range(0, len(rows), size):
            grids = network(three_channels(to_tensor(images[rows[start : start + size]], where)))
            out += [said_boxes(one, anchors, least=least) for one in grids.float().cpu().numpy()]
    return out


def mean_ap50(said: Said, targets: NDArray[np.float32]) -> float:
    """The mean over the classes that occur of the average precision at an overlap of 0.5; 0 where none does."""
    kinds = np.unique(_there(targets)[:, 0]).astype(int).tolist()
    return float(np.mean([ap50(compared(said, targets, k)) for k in kinds])) if kinds else 0.0


def compared(said: Said, targets: NDArray[np.float32], k: int) -> Found:
    """What was said of class k beside the boxes (N, M, 5) that are there."""
    return compare_boxes([one[k] for one in said], [row[row[:, 0] == k, 1:].astype(np.float64) for row in targets])


def fit_boxing(run: Run, prepared: Prepared) -> Boxing:
    """The run's anchors, and for each class the score from which a box is shown: the one of the best F1 on calib, 0.5 where calib has none."""
    part = part_of(run, prepared, "calib")
    said = find_boxes(_detector(run), prepared.images, part.rows)
    limits = tuple(best_limit(compared(said, part.targets, k)) for k in range(len(run.recipe.classes)))
    return Boxing(cast(Yolo, run.recipe.model.head).anchors, limits)


def judge_boxes(run: Run, prepared: Prepared, calibration: Calibration) -> Json | None:
    """How well the run finds the boxes of its test part, with intervals over persons; writes boxes.csv and boxes/. None where it finds none.

    Of each class the average precision at an overlap of 0.5 (as COCO and as PASCAL VOC count) and over 0.50 to 0.95, and the log-average miss rate; of the boxes that are shown, how many
    are right (precision) and how many of those that are there are found (recall).
    """
    if not isinstance(run.recipe.task, Detect) or not calibration.boxes:
        return None
    part, limits = part_of(run, prepared, "test"), calibration.boxes.limits
    said, names = find_boxes(_detector(run), prepared.images, part.rows), run.recipe.classes
    found = {name: compared(said, part.targets, k) for k, name in enumerate(names)}
    ask = partial(weighted, groups=part.groups, draws=DRAWS, seed=run.settings.seed)
    classes = {}
    for (name, one), limit in zip(found.items(), limits, strict=True):
        wanted = {key: partial(figure, one) for key, figure in FIGURES.items()} | {"recall": partial(recall_at, one, limit)}
        shown_in = np.bincount(one.picture[one.score >= limit], minlength=len(one.there)) > 0  # what precision rests on
        found_of = ask(wanted, one.there > 0) | ask({"precision": partial(precision_at, one, limit)}, shown_in)
        figures = {key: value.to_json() for key, value in found_of.items()}
        classes[name] = {"boxes": int(one.there.sum()), "pictures": int((one.there > 0).sum()), "limit": limit, **figures}
    occur = [one for one in found.values() if one.there.any()]
    there = np.stack([one.there > 0 for one in occur], 1) if occur else np.zeros((len(part.ids), 1), bool)
    means = ask({key: partial(_mean, FIGURES[key], occur) for key in ("ap50", "ap50_95")}, there)
    shown = [[_from(*pair) for pair in zip(each, limits, strict=True)] for each in said]
    _write(run, part, shown)
    return {
        "classes": classes,
        "mean": {key: value.to_json() for key, value in means.items()},
        "pictures": _draw(run, prepared, part, shown),
        "most": MOST_SAID,
    }


def _mean(figure: Callable[..., float], found: list[Found], weights: Floats | None = None) -> float:
    """Over classes; one that a draw of persons lacks is left out of it."""
    values = [figure(one, weights) for one in found]
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _there(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """All boxes (D, 5) of targets (N, M, 5)."""
    return np.asarray(targets[~np.isnan(targets[..., 0])])


def _detector(run: Run) -> Detector:
    return cast(Detector, load_network(run))


def _from(said: tuple[Floats, Floats], limit: float) -> tuple[Floats, Floats]:
    return said[0][said[1] >= limit], said[1][said[1] >= limit]


def _write(run: Run, part: Part, shown: Said) -> None:
    """boxes.csv: the boxes that are shown, in pixels of the files."""
    out, known = io.StringIO(), shapes(run)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["case", "label", "score", "x1", "y1", "x2", "y2"])
    for case, said in zip(part.ids, shown, strict=True):
        if place := placing(known[case], run.recipe.prepare):
            for box in in_file(said, run.recipe.classes, place):
                corners = (box.x1, box.y1, box.x2, box.y2)
                writer.writerow([case, box.label, f"{box.score:.4f}", *(f"{value:.1f}" for value in corners)])
    write_text(run.path / "boxes.csv", out.getvalue())


def _draw(run: Run, prepared: Prepared, part: Part, shown: Said) -> list[Json]:
    """boxes/1.png and so on: up to SHOWN pictures of different persons, in an order by chance, with what is there and what was found."""
    folder, drawn, seen = run.path / "boxes", list[Json](), set[str]()
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
        drawn.append(
            {
                "case": part.ids[i],
                "picture": str(path),
                "there": sum(len(one[0]) for one in there),
                "found": sum(len(one[0]) for one in shown[i]),
            }
        )
    return drawn


def _named(said: list[tuple[Floats, Floats]], classes: tuple[str, ...]) -> list[Box]:
    """Boxes in shares of the picture."""
    return [
        Box(name, *map(float, corners), *([float(scores[i])] if len(scores) else []))
        for name, (boxes, scores) in zip(classes, said, strict=True)
        for i, corners in enumerate(boxes)
    ]
