"""Boxes that a network predicts: decoding, non-maximum suppression (NMS) and anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from ...errors import DataError
from ...metrics.detection import RESTARTS, ROUNDS, Floats, overlap

MOST_SAID = 300  # boxes of a class in a picture
MOST_GROWTH = 4.0  # of the log of a side over its anchor


def kept(boxes: Floats, scores: Floats, *, most: float = 0.45) -> NDArray[np.int64]:
    """Which boxes (N, 4) of one class stand, best first: none overlaps a better one by more than `most` (greedy suppression)."""
    order = np.argsort(-scores, kind="stable")
    over, out = overlap(boxes, boxes) > most, list[int]()
    gone = np.zeros(len(boxes), bool)
    for i in order:
        if not gone[i]:
            out.append(int(i))
            gone |= over[i]
    return np.array(out, np.int64)


def decode(grid: NDArray[np.floating], anchors: Sequence[Sequence[float]]) -> tuple[Floats, Floats]:
    """What YOLOv2 says of the cells of a picture (A, 5 + K, h, w) -> boxes (C, 4) in shares of the picture and scores (C, K), C = A h w.

    A score is the chance that there is a box, times that of the class (Redmon and Farhadi 2017).
    """
    each = np.asarray(grid, np.float64).transpose(0, 2, 3, 1)
    height, width = each.shape[1:3]
    middle = (expit(each[..., :2]) + np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2)) / (width, height)
    half = np.exp(np.minimum(each[..., 2:4], MOST_GROWTH)) * np.asarray(anchors)[:, None, None] / 2
    boxes = np.concatenate([middle - half, middle + half], 3).clip(0, 1)
    scores = expit(each[..., 4:5]) * softmax(each[..., 5:], axis=3)
    return boxes.reshape(-1, 4), scores.reshape(-1, scores.shape[3])


def said_boxes(
    grid: NDArray[np.floating], anchors: Sequence[Sequence[float]], *, least: float | Sequence[float] = 0.01
) -> list[tuple[Floats, Floats]]:
    """For each class the boxes (D, 4), in shares of the picture, and scores (D,) that stand, best first, of what is said of the cells of a picture.

    `least` is the score, of all classes or of each, from which a box is said at all.
    """
    boxes, scores = decode(grid, anchors)
    out = []
    for score, from_here in zip(scores.T, np.broadcast_to(least, scores.shape[1]), strict=True):
        sure = np.flatnonzero(score >= from_here)
        stand = sure[kept(boxes[sure], score[sure])][:MOST_SAID]
        out.append((boxes[stand], score[stand]))
    return out


def shape_overlap(shapes: Floats, anchors: Floats) -> Floats:
    """Intersection over union of widths and heights (N, 2) and (K, 2) around one centre, (N, K)."""
    inside = np.prod(np.minimum(shapes[:, None], anchors[None]), axis=2)
    return np.asarray(inside / (shapes.prod(1)[:, None] + anchors.prod(1)[None] - inside))


def find_anchors(shapes: Floats, count: int, *, seed: int = 0) -> tuple[Floats, float]:
    """`count` widths and heights, smallest area first, that lie near the shapes (N, 2), and the mean overlap of a shape with its best one.

    k-means on 1 - overlap (Redmon and Farhadi 2017), whose centres are medians of their members; the best of several starts.

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
            nearest = shape_overlap(shapes, anchors).argmax(1)
            if last is not None and (nearest == last).all():
                break
            last = nearest
            anchors = np.array(
                [np.median(shapes[nearest == k], axis=0) if (nearest == k).any() else anchors[k] for k in range(count)]
            )
        mean = float(shape_overlap(shapes, anchors).max(1).mean())
        if mean > best:
            best, found = mean, anchors
    return found[np.argsort(found.prod(1), kind="stable")], best


def _spread(shapes: Floats, count: int, draws: np.random.Generator) -> Floats:
    """Starting anchors far from each other (k-means++, Arthur and Vassilvitskii 2007)."""
    chosen = [int(draws.integers(len(shapes)))]
    while len(chosen) < count:
        far = (1 - shape_overlap(shapes, shapes[chosen]).max(1)) ** 2
        far[chosen] = 0
        chosen.append(int(draws.choice(len(shapes), p=far / far.sum())))
    return shapes[chosen]
