"""Boxes: intersection over union (IoU), matching, average precision and miss rate.

A box is x1, y1, x2, y2 with x2 and y2 just outside. `sample_weight` (N,) weights each picture, so that figures can be
resampled over persons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

Floats = NDArray[np.float64]

THRESHOLDS = tuple(float(value) for value in np.round(np.arange(0.5, 1.0, 0.05), 2))  # of the IoU, as COCO averages over
MISSED_AT = np.logspace(-2, 0, 9)  # false positives a picture (Dollár et al. 2012)
RECALLS = np.linspace(0, 1, 101)  # where COCO reads precision
ROUNDS, RESTARTS = 100, 8


def iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union of boxes (N, 4) and (M, 4): (N, M) in [0, 1]; 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = np.prod(np.clip(high - low, 0, None), axis=2)  # (N, M); apart boxes have a negative side
    whole = _area(first)[:, None] + _area(second)[None] - inside
    out: Floats = np.divide(inside, whole, out=np.zeros_like(inside), where=whole > 0)
    return out


def _area(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


@dataclass(frozen=True)
class Matches:
    """The D predicted boxes of one class in N images, matched with the annotated ones.

    `hit` holds the match at each IoU of THRESHOLDS, `voc` that at 0.5 by the rule of PASCAL VOC. `observed` counts the
    annotated boxes of each picture.
    """

    picture: NDArray[np.int64]  # (D,)
    score: Floats  # (D,)
    hit: NDArray[np.bool_]  # (D, thresholds)
    voc: NDArray[np.bool_]  # (D,)
    observed: NDArray[np.int64]  # (N,)


def compare_boxes(predicted: Sequence[tuple[Floats, Floats]], y_true: Sequence[Floats]) -> Matches:
    """Match the predicted boxes of each picture with the annotated ones.

    Best score first, each takes the free annotated box of highest IoU (COCO). By the rule of PASCAL VOC a box whose best
    annotated one is already taken is wrong.

    Args:
        predicted: boxes (D, 4) and scores (D,) of each picture.
        y_true: annotated boxes (M, 4) of each picture, in the same units.

    Raises:
        DataError: there is no picture.
    """
    if not y_true:
        raise DataError("there are no pictures to compare boxes in")
    pictures, scores, hits, voc = [], [], [], []
    for number, ((boxes, score), observed) in enumerate(zip(predicted, y_true, strict=True)):
        order = np.argsort(-score, kind="stable")
        overlap = iou(boxes[order], observed)
        hits.append(np.stack([_matched(overlap, threshold) for threshold in THRESHOLDS], 1))  # (D, thresholds)
        voc.append(_matched_once(overlap, 0.5))
        pictures.append(np.full(len(order), number))
        scores.append(score[order])
    return Matches(
        np.concatenate(pictures).astype(np.int64),
        np.concatenate(scores),
        np.concatenate(hits),
        np.concatenate(voc),
        np.array([len(observed) for observed in y_true], np.int64),
    )


def _matched(overlap: Floats, threshold: float) -> NDArray[np.bool_]:
    free, out = np.ones(overlap.shape[1], bool), np.zeros(len(overlap), bool)
    for i, row in enumerate(overlap):
        if free.any():
            best = int(np.where(free, row, -1).argmax())  # of the annotated boxes that are still free
            if row[best] >= threshold:
                out[i], free[best] = True, False
    return out


def _matched_once(overlap: Floats, threshold: float) -> NDArray[np.bool_]:
    free, out = np.ones(overlap.shape[1], bool), np.zeros(len(overlap), bool)
    for i, row in enumerate(overlap):
        # the best one alone is asked for, free or not
        if len(row) and row[best := int(row.argmax())] >= threshold and free[best]:
            out[i], free[best] = True, False
    return out


def precision_and_recall(matches: Matches, hit: NDArray[np.bool_], sample_weight: Floats | None = None) -> tuple[Floats, Floats]:
    """Precision and recall (U,) at each distinct score, best first; recall is NaN without annotations."""
    right, all_predicted = _so_far(matches, hit, sample_weight)
    total = float((_weights(matches, sample_weight) * matches.observed).sum())
    precision = np.divide(right, all_predicted, out=np.zeros_like(right), where=all_predicted > 0)
    return precision, right / total if total else np.full_like(right, np.nan)


def precision_at(matches: Matches, threshold: float, sample_weight: Floats | None = None) -> float:
    """Precision of the boxes with a score of at least `threshold`, at an IoU of 0.5.

    NaN where there are none.
    """
    shown = (matches.score >= threshold) * _weights(matches, sample_weight)[matches.picture]
    return float((shown * matches.hit[:, 0]).sum() / shown.sum()) if shown.sum() else float("nan")


def recall_at(matches: Matches, threshold: float, sample_weight: Floats | None = None) -> float:
    """Recall of boxes that score at least `threshold`, at an IoU of 0.5; NaN without annotations."""
    weight = _weights(matches, sample_weight)
    right = ((matches.score >= threshold) * matches.hit[:, 0] * weight[matches.picture]).sum()
    total = (weight * matches.observed).sum()
    return float(right / total) if total else float("nan")


def best_threshold(matches: Matches) -> float:
    """The score threshold of the best F1 at an IoU of 0.5.

    0.5 where nothing is annotated or nothing is found.

    Half way to the next lower score, so that rounding on another machine drops no box.
    """
    if not matches.observed.sum() or not matches.hit[:, 0].any():
        return 0.5
    precision, recall = precision_and_recall(matches, matches.hit[:, 0])
    thresholds = np.unique(matches.score)[::-1]
    both = precision + recall
    best = int(np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0).argmax())
    return float((thresholds[best] + thresholds[min(best + 1, len(thresholds) - 1)]) / 2)


def _so_far(matches: Matches, hit: NDArray[np.bool_], sample_weight: Floats | None) -> tuple[Floats, Floats]:
    """Weight of the right boxes and of all boxes at or above each distinct score, best first: (U,) each."""
    order = np.argsort(-matches.score, kind="stable")
    each = _weights(matches, sample_weight)[matches.picture[order]]
    last = np.append(np.diff(matches.score[order]) != 0, True)[: len(order)]  # of equal scores none comes before the other
    return np.cumsum(each * hit[order])[last], np.cumsum(each)[last]


def _weights(matches: Matches, sample_weight: Floats | None) -> Floats:
    return np.ones(len(matches.observed)) if sample_weight is None else sample_weight


def average_precision(
    matches: Matches, hit: NDArray[np.bool_], sample_weight: Floats | None = None, *, every: bool = False
) -> float:
    """Mean precision over recall, in [0, 1]; NaN where nothing is annotated.

    Args:
        hit: (D,) which boxes count as right, a column of `matches.hit` or `matches.voc`.
        every: the area under every step of the curve (PASCAL VOC since 2010) instead of 101 recalls (COCO).
    """
    precision, recall = precision_and_recall(matches, hit, sample_weight)
    if not _weights(matches, sample_weight) @ matches.observed:
        return float("nan")
    falling = np.maximum.accumulate(precision[::-1])[::-1]  # the best that is reached with that recall or more
    if every:
        return float((np.diff(recall, prepend=0) * falling).sum())
    # the first point with at least that recall
    at = np.searchsorted(recall, RECALLS - 1e-9, side="left")  # sums of weights are rounded
    # Recalls that are never reached count with a precision of 0 (COCO).
    return float(np.append(falling, 0.0)[at].mean())


def ap50(matches: Matches, sample_weight: Floats | None = None) -> float:
    """Average precision at an IoU of 0.5, as COCO counts."""
    return average_precision(matches, matches.hit[:, 0], sample_weight)


def ap50_95(matches: Matches, sample_weight: Floats | None = None) -> float:
    """The mean of the average precisions at an IoU of 0.50, 0.55 ... 0.95 (COCO)."""
    return float(np.mean([average_precision(matches, hit, sample_weight) for hit in matches.hit.T]))


def voc_ap50(matches: Matches, sample_weight: Floats | None = None) -> float:
    """Average precision at an IoU of 0.5 as PASCAL VOC counts since 2010."""
    return average_precision(matches, matches.voc, sample_weight, every=True)


def log_average_miss_rate(matches: Matches, sample_weight: Floats | None = None) -> float:
    """Geometric mean of the miss rate at 0.01 to 1 false boxes an image (Dollár et al. 2012).

    At least 1e-10.
    """
    weight = _weights(matches, sample_weight)
    if not weight @ matches.observed:
        return float("nan")
    right, all_predicted = _so_far(matches, matches.hit[:, 0], sample_weight)
    # The curve begins at "no box shown": no false positive, everything missed.
    wrong = np.concatenate([[0.0], all_predicted - right]) / weight.sum()
    missed = 1 - np.concatenate([[0.0], right]) / (weight * matches.observed).sum()
    at = np.searchsorted(wrong, MISSED_AT, side="right") - 1  # the last point with at most so many false positives
    return float(np.exp(np.log(np.maximum(missed[at], 1e-10)).mean()))
