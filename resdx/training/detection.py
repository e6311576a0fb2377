"""Detection: anchors from the training set, predicted boxes, and mean average precision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, count
from ..files import write_json
from ..inference.logits import predict_logits
from ..inference.opening import load_network
from ..metrics.detection import (
    Matches,
    ap50,
    compare_boxes,
)
from ..models.heads.boxes import find_anchors, predicted_boxes
from ..models.heads.specs import Yolo
from ..models.network import Detector
from ..recipes.recipe import Recipe
from ..runs.partition import Part
from ..runs.run import Run

Floats = NDArray[np.float64]
Predicted = list[list[tuple[Floats, Floats]]]  # of each picture and class: boxes (D, 4) as fractions of it, scores (D,)
Json = dict[str, Any]

CURVE = 12  # anchors, up to which the mean IoU is reported
FOUND = "anchors"  # the choice of a run whose anchors are not those of the recipe that was asked for


def settle_anchors(run: Run, train: Part, tune: Part) -> Run:
    """The run with anchors found among the boxes of the training set where its recipe names none.

    Writes anchors.json.

    Raises:
        DataError: train has no boxes, or fewer different ones than anchors.
    """
    head = unsettled(run).model.head
    if not isinstance(head, Yolo) or head.anchors or (FOUND in run.settings.choices and (run.path / "anchors.json").exists()):
        return run  # the recipe names them, or this training goes on with those that it found
    boxes = annotated(train.targets).astype(np.float64)
    if not len(boxes):
        raise DataError(f"{run.path}: no case of train has a box; give boxes as XML files beside the pictures, or in the table")
    if not len(annotated(tune.targets)):
        raise DataError(f"{run.path}: no case of tune has a box, so no epoch could be chosen; use more data")
    sides = boxes[:, 3:] - boxes[:, 1:3]  # (D, 2): width and height
    most = min(CURVE, len(np.unique(sides, axis=0)))
    tried = {k: find_anchors(sides, k, seed=run.settings.seed) for k in {*range(1, most + 1), head.count}}
    anchors, mean_iou = tried[head.count]
    curve = [tried[k][1] for k in range(1, most + 1)]
    found = tuple((float(wide), float(high)) for wide, high in anchors)
    run.say(f"train: {count(head.count, 'anchor')} from {len(boxes):,} boxes; mean IoU with the best one {mean_iou:.2f}")
    write_json(run.path / "anchors.json", {"anchors": found, "overlap": mean_iou, "curve": curve, "boxes": len(boxes)})
    recipe = replace(run.recipe, model=replace(run.recipe.model, head=replace(head, anchors=found)))
    return run.changed(recipe=recipe, choices={**run.settings.choices, FOUND: head.count})


def unsettled(run: Run) -> Recipe:
    """The recipe as it was asked for, without the anchors that the training found."""
    head = run.recipe.model.head
    if not isinstance(head, Yolo) or FOUND not in run.settings.choices:
        return run.recipe
    return replace(run.recipe, model=replace(run.recipe.model, head=replace(head, anchors=())))


def find_boxes(
    network: Detector, images: NDArray[np.uint8], rows: NDArray[np.int64], *, dtype: str = "float32", min_score: float = 0.01
) -> Predicted:
    """Predicted boxes of each image of `images[rows]` (N, S, S, C) and class, of at least `min_score`."""
    anchors, grids = network.head.anchors.tolist(), predict_logits(network, images, rows, dtype=dtype, maps=True).maps
    return [] if grids is None else [predicted_boxes(one, anchors, min_score=min_score) for one in grids]


def mean_ap50(predicted: Predicted, targets: NDArray[np.float32]) -> float:
    """Mean over the classes that occur of the average precision at an IoU of 0.5; 0 where none does."""
    kinds = np.unique(annotated(targets)[:, 0]).astype(int).tolist()
    return float(np.mean([ap50(compared(predicted, targets, k)) for k in kinds])) if kinds else 0.0


def compared(predicted: Predicted, targets: NDArray[np.float32], k: int) -> Matches:
    """The predicted boxes of class k matched with the annotated ones (N, M, 5)."""
    return compare_boxes([one[k] for one in predicted], [row[row[:, 0] == k, 1:].astype(np.float64) for row in targets])


def detector_of(run: Run) -> Detector:
    return cast(Detector, load_network(run))


def annotated(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """All boxes (D, 5) of targets (N, M, 5)."""
    return np.asarray(targets[~np.isnan(targets[..., 0])])
