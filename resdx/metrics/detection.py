"""Boxes: overlap, shapes to begin with (anchors), what is said twice, and how well they are found (average precision, miss rate).

A box is x1, y1, x2, y2 with x2 and y2 just outside. Figures take the weight of each picture, so that they can be resampled over persons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

Floats = NDArray[np.float64]

THRESHOLDS = tuple(float(value) for value in np.round(np.arange(0.5, 1.0, 0.05), 2))  # of the overlap, as COCO averages over
MISSED_AT = np.logspace(-2, 0, 9)  # false positives a picture (Dollár et al. 2012)
RECALLS = np.linspace(0, 1, 101)  # where COCO reads precision
ROUNDS, RESTARTS = 100, 8


def overlap(first: Floats, second: Floats) -> Floats:
    """Intersection over union of boxes (N, 4) and (M, 4), (N, M); 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = np.prod(np.clip(high - low, 0, None), axis=2)
    whole = _area(first)[:, None] + _area(second)[None] - inside
    out: Floats = np.divide(inside, whole, out=np.zeros_like(inside), where=whole > 0)
    return out


def _area(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


# --- anchors


# --- figures


@dataclass(frozen=True)
class Found:
    """What was said of one class in N pictures: the picture and score of every box that was said, and at each overlap of THRESHOLDS whether it is one that is there.

    `there` (N,) counts the boxes that are there in each picture; `voc` are the hits at 0.5 by the rule of PASCAL VOC.
    """

    picture: NDArray[np.int64]  # (D,)
    score: Floats  # (D,)
    hit: NDArray[np.bool_]  # (D, thresholds)
    voc: NDArray[np.bool_]  # (D,)
    there: NDArray[np.int64]  # (N,)


def compare_boxes(said: Sequence[tuple[Floats, Floats]], truth: Sequence[Floats]) -> Found:
    """Match boxes and scores of each picture with the boxes that are there.

    Best score first, each takes the box that is there, is not yet taken and overlaps it most (COCO); by the rule of VOC a box whose best one is taken is wrong.
    """
    if not truth:
        raise DataError("there are no pictures to compare boxes in")
    pictures, scores, hits, voc = [], [], [], []
    for number, ((boxes, score), there) in enumerate(zip(said, truth, strict=True)):
        order = np.argsort(-score, kind="stable")
        over = overlap(boxes[order], there)
        hits.append(np.stack([_matched(over, threshold) for threshold in THRESHOLDS], 1))
        voc.append(_matched_once(over, 0.5))
        pictures.append(np.full(len(order), number))
        scores.append(score[order])
    return Found(
        np.concatenate(pictures).astype(np.int64),
        np.concatenate(scores),
        np.concatenate(hits),
        np.concatenate(voc),
        np.array([len(there) for there in truth], np.int64),
    )


def _matched(over: Floats, threshold: float) -> NDArray[np.bool_]:
    free, out = np.ones(over.shape[1], bool), np.zeros(len(over), bool)
    for i, row in enumerate(over):
        if free.any():
            best = int(np.where(free, row, -1).argmax())
            if row[best] >= threshold:
                out[i], free[best] = True, False
    return out


def _matched_once(over: Floats, threshold: float) -> NDArray[np.bool_]:
    free, out = np.ones(over.shape[1], bool), np.zeros(len(over), bool)
    for i, row in enumerate(over):
        if len(row) and row[best := int(row.argmax())] >= threshold and free[best]:
            out[i], free[best] = True, False
    return out


def precision_and_recall(found: Found, hit: NDArray[np.bool_], weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Precision and recall at each score, best first; `weights` (N,) of pictures."""
    right, all_said = _so_far(found, hit, weights)
    total = float((_weights(found, weights) * found.there).sum())
    precision = np.divide(right, all_said, out=np.zeros_like(right), where=all_said > 0)
    return precision, right / total if total else np.full_like(right, np.nan)


def precision_at(found: Found, limit: float, weights: Floats | None = None) -> float:
    """Share of the boxes with a score of at least `limit` that are right; NaN where there are none."""
    shown = (found.score >= limit) * _weights(found, weights)[found.picture]
    return float((shown * found.hit[:, 0]).sum() / shown.sum()) if shown.sum() else float("nan")


def recall_at(found: Found, limit: float, weights: Floats | None = None) -> float:
    """Share of the boxes that are there which are found with a score of at least `limit`; NaN where nothing is there."""
    weight = _weights(found, weights)
    right = ((found.score >= limit) * found.hit[:, 0] * weight[found.picture]).sum()
    total = (weight * found.there).sum()
    return float(right / total) if total else float("nan")


def best_limit(found: Found) -> float:
    """The score from which boxes have the best F1 at an overlap of 0.5; 0.5 where no box is there or none is found.

    Half way to the next lower score, so that rounding on another machine drops no box.
    """
    if not found.there.sum() or not found.hit[:, 0].any():
        return 0.5
    precision, recall = precision_and_recall(found, found.hit[:, 0])
    limits = np.unique(found.score)[::-1]
    both = precision + recall
    best = int(np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0).argmax())
    return float((limits[best] + limits[min(best + 1, len(limits) - 1)]) / 2)


def _so_far(found: Found, hit: NDArray[np.bool_], weights: Floats | None) -> tuple[Floats, Floats]:
    """At each score, best first, the weight of the boxes up to there that are right, and of all of them."""
    order = np.argsort(-found.score, kind="stable")
    each = _weights(found, weights)[found.picture[order]]
    last = np.append(np.diff(found.score[order]) != 0, True)[: len(order)]  # of equal scores none comes before the other
    return np.cumsum(each * hit[order])[last], np.cumsum(each)[last]


def _weights(found: Found, weights: Floats | None) -> Floats:
    return np.ones(len(found.there)) if weights is None else weights


def average_precision(found: Found, hit: NDArray[np.bool_], weights: Floats | None = None, *, every: bool = False) -> float:
    """The mean precision over recall: at 101 recalls (COCO), or under `every` step of the curve (VOC since 2010). NaN where nothing is there."""
    precision, recall = precision_and_recall(found, hit, weights)
    if not _weights(found, weights) @ found.there:
        return float("nan")
    falling = np.maximum.accumulate(precision[::-1])[::-1]  # the best that is reached with that recall or more
    if every:
        return float((np.diff(recall, prepend=0) * falling).sum())
    at = np.searchsorted(recall, RECALLS - 1e-9, side="left")  # sums of weights are rounded
    return float(np.append(falling, 0.0)[at].mean())


def ap50(found: Found, weights: Floats | None = None) -> float:
    """Average precision at an overlap of 0.5, as COCO counts."""
    return average_precision(found, found.hit[:, 0], weights)


def ap50_95(found: Found, weights: Floats | None = None) -> float:
    """The mean of the average precisions at overlaps of 0.50, 0.55 ... 0.95."""
    return float(np.mean([average_precision(found, hit, weights) for hit in found.hit.T]))


def voc_ap50(found: Found, weights: Floats | None = None) -> float:
    """Average precision at an overlap of 0.5 as PASCAL VOC counts since 2010."""
    return average_precision(found, found.voc, weights, every=True)


def log_average_miss_rate(found: Found, weights: Floats | None = None) -> float:
    """The geometric mean of the share that is missed at 0.01 to 1 false boxes a picture (Dollár et al. 2012); at least 1e-10."""
    weight = _weights(found, weights)
    if not weight @ found.there:
        return float("nan")
    right, all_said = _so_far(found, found.hit[:, 0], weights)
    wrong = np.concatenate([[0.0], all_said - right]) / weight.sum()
    missed = 1 - np.concatenate([[0.0], right]) / (weight * found.there).sum()
    at = np.searchsorted(wrong, MISSED_AT, side="right") - 1
    return float(np.exp(np.log(np.maximum(missed[at], 1e-10)).mean()))
