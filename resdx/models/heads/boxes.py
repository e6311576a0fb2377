"""Boxes that a network predicts: decoding, non-maximum suppression (NMS) and anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from ...errors import DataError
from ...metrics.detection import RESTARTS, ROUNDS, Floats, iou

MAX_BOXES = 300  # boxes of a class in a picture
MOST_GROWTH = 4.0  # of the log of a side over its anchor


def nms(boxes: Floats, scores: Floats, *, iou_threshold: float = 0.45) -> NDArray[np.int64]:
    """Greedy non-maximum suppression (NMS) of boxes (N, 4) of one class.

    Gives the indices of the boxes that stay, best score first.

    No box that stays has an IoU above `iou_threshold` with a better one.
    """
    order = np.argsort(-scores, kind="stable")
    above, out = iou(boxes, boxes) > iou_threshold, list[int]()  # (N, N)
    gone = np.zeros(len(boxes), bool)
    for i in order:
        if not gone[i]:
            out.append(int(i))
            gone |= above[i]
    return np.array(out, np.int64)


def decode(grid: NDArray[np.floating], anchors: Sequence[Sequence[float]]) -> tuple[Floats, Floats]:
    """Boxes and scores of every cell and anchor of a picture, from the outputs of a YOLOv2 head.

    A score is the probability of a box times that of the class (Redmon and Farhadi 2017).

    Args:
        grid: (A, 5 + K, h, w) outputs of one picture.
        anchors: A widths and heights, as fractions of the picture.

    Returns:
        Boxes (C, 4) as fractions of the picture and scores (C, K) in [0, 1], where C = A h w.
    """
    each = np.asarray(grid, np.float64).transpose(0, 2, 3, 1)  # (A, h, w, 5 + K)
    height, width = each.shape[1:3]
    middle = (expit(each[..., :2]) + np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2)) / (width, height)
    half = np.exp(np.minimum(each[..., 2:4], MOST_GROWTH)) * np.asarray(anchors)[:, None, None] / 2
    boxes = np.concatenate([middle - half, middle + half], 3).clip(0, 1)
    scores = expit(each[..., 4:5]) * softmax(each[..., 5:], axis=3)  # (A, h, w, K)
    return boxes.reshape(-1, 4), scores.reshape(-1, scores.shape[3])


def predicted_boxes(
    grid: NDArray[np.floating], anchors: Sequence[Sequence[float]], *, min_score: float | Sequence[float] = 0.01
) -> list[tuple[Floats, Floats]]:
    """The boxes of each class that stay after the score threshold and NMS, at most MAX_BOXES of a class.

    Args:
        grid: (A, 5 + K, h, w) outputs of one picture.
        anchors: A widths and heights, as fractions of the picture.
        min_score: the score threshold of all classes, or of each.

    Returns:
        For each class boxes (D, 4) as fractions of the picture and their scores (D,), best first.
    """
    boxes, scores = decode(grid, anchors)
    out = []
    for score, threshold in zip(scores.T, np.broadcast_to(min_score, scores.shape[1]), strict=True):
        sure = np.flatnonzero(score >= threshold)
        stand = sure[nms(boxes[sure], score[sure])][:MAX_BOXES]
        out.append((boxes[stand], score[stand]))
    return out


def shape_iou(shapes: Floats, anchors: Floats) -> Floats:
    """IoU of widths and heights (N, 2) and (K, 2) around one centre: (N, K)."""
    inside = np.prod(np.minimum(shapes[:, None], anchors[None]), axis=2)
    return np.asarray(inside / (shapes.prod(1)[:, None] + anchors.prod(1)[None] - inside))


def find_anchors(shapes: Floats, count: int, *, seed: int = 0) -> tuple[Floats, float]:
    """Anchors for the shapes (N, 2), and the mean IoU of a shape with its best anchor.

    `count` widths and heights, smallest area first.

    k-means on 1 - IoU (Redmon and Farhadi 2017), whose centres are medians of their members; the best of several starts.

    Raises:
        DataError: fewer different shapes than anchors.
    """
    different = np.unique(shapes, axis=0)
    if len(different) < count:
        raise DataError(f"{len(different)} different boxes cannot make {count} anchors; ask for fewer")
    best, found = -1.0, different[:count]
    for start in range(RESTARTS):
        draws = np.random.default_rng([seed, start])
        anchors, last = _spread(different, count, draws), None
        for _ in range(ROUNDS):
            nearest = shape_iou(shapes, anchors).argmax(1)
            if last is not None and (nearest == last).all():
                break
            last = nearest
            anchors = np.array(  # an anchor without members stays where it is
                [np.median(shapes[nearest == k], axis=0) if (nearest == k).any() else anchors[k] for k in range(count)]
            )
        mean = float(shape_iou(shapes, anchors).max(1).mean())
        if mean > best:
            best, found = mean, anchors
    return found[np.argsort(found.prod(1), kind="stable")], best


def _spread(shapes: Floats, count: int, draws: np.random.Generator) -> Floats:
    """Starting anchors far from each other (k-means++, Arthur and Vassilvitskii 2007)."""
    chosen = [int(draws.integers(len(shapes)))]
    while len(chosen) < count:
        far = (1 - shape_iou(shapes, shapes[chosen]).max(1)) ** 2  # chance in proportion to the squared distance
        far[chosen] = 0
        chosen.append(int(draws.choice(len(shapes), p=far / far.sum())))
    return shapes[chosen]
