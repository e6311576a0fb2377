"""Boxes: overlaps and suppression by hand, anchors with known answers, and average precision against pycocotools."""

import contextlib
import io
from itertools import pairwise

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from resdx.errors import DataError
from resdx.metrics.detection import (
    ap50,
    ap50_95,
    average_precision,
    best_threshold,
    compare_boxes,
    iou,
    log_average_miss_rate,
    precision_at,
    recall_at,
    voc_ap50,
)
from resdx.models.heads.boxes import find_anchors, nms, shape_iou


def boxes(*rows):
    return np.array(rows, float).reshape(-1, 4)


def drawn(pictures=40, seed=0):
    """Boxes that are there, and boxes and scores that are said: most are near, some twice, some are wrong."""
    draws = np.random.default_rng(seed)
    truth, said = [], []
    for _ in range(pictures):
        low = draws.uniform(0, 80, (draws.integers(0, 6), 2))
        there = np.hstack([low, low + draws.uniform(8, 40, low.shape)])
        near = np.repeat(there, 2, 0) + draws.normal(0, 4, (2 * len(there), 4))
        low = draws.uniform(0, 80, (draws.integers(0, 4), 2))
        wrong = np.hstack([low, low + draws.uniform(8, 40, low.shape)])
        answer = np.concatenate([near[draws.random(len(near)) < 0.7], wrong])
        answer[:, 2:] = np.maximum(answer[:, 2:], answer[:, :2] + 1)
        truth.append(there)
        said.append((answer, draws.random(len(answer))))
    return said, truth


def by_coco(said, truth):
    """AP50:95 and AP50 of pycocotools."""

    def one(box):
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    notes = [
        {"id": 0, "image_id": i, "category_id": 1, "bbox": one(box), "area": (box[2] - box[0]) * (box[3] - box[1]), "iscrowd": 0}
        for i, there in enumerate(truth)
        for box in there
    ]
    notes = [{**note, "id": k + 1} for k, note in enumerate(notes)]
    answers = [
        {"image_id": i, "category_id": 1, "bbox": one(box), "score": float(score)}
        for i, (found, scores) in enumerate(said)
        for box, score in zip(found, scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        whole = COCO()
        whole.dataset = {"images": [{"id": i} for i in range(len(truth))], "annotations": notes, "categories": [{"id": 1}]}
        whole.createIndex()
        judge = COCOeval(whole, whole.loadRes(answers), "bbox")
        judge.params.maxDets = [1, 10, 1000]
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, 0, 0, -1]
    return precision.mean(), precision[0].mean()


def test_overlap_by_hand():
    found = iou(boxes([0, 0, 4, 4], [10, 10, 12, 12], [3, 3, 3, 3]), boxes([2, 0, 6, 4], [0, 0, 4, 4], [3, 3, 3, 3]))
    assert found == pytest.approx(np.array([[8 / 24, 1, 0], [0, 0, 0], [0, 0, 0]]))


def test_the_best_of_overlapping_boxes_stands():
    found = nms(
        boxes([0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 5, 10, 15]),
        np.array([0.5, 0.9, 0.2, 0.4]),
        iou_threshold=0.45,
    )
    assert found.tolist() == [1, 3, 2]
    assert nms(boxes(), np.zeros(0)).tolist() == []
    assert nms(boxes([0, 0, 1, 1], [0, 0, 1, 1]), np.array([0.5, 0.5])).tolist() == [0]


# anchors


def test_as_many_anchors_as_shapes_fit_perfectly():
    shapes = np.array([[10, 20], [40, 40], [5, 5], [80, 30]], float).repeat([3, 9, 1, 4], axis=0)
    anchors, mean = find_anchors(shapes, 4)
    assert mean == pytest.approx(1) and sorted(map(tuple, anchors)) == [(5, 5), (10, 20), (40, 40), (80, 30)]
    assert anchors.prod(1).tolist() == sorted(anchors.prod(1))
    with pytest.raises(DataError, match="4 different boxes cannot make 5 anchors; ask for fewer"):
        find_anchors(shapes, 5)


def test_one_anchor_of_one_shape_and_two_by_hand():
    assert find_anchors(np.array([[4.0, 8.0]]), 1)[0].tolist() == [[4, 8]]
    assert shape_iou(np.array([[2.0, 4.0]]), np.array([[4.0, 2.0], [2.0, 8.0]])) == pytest.approx(np.array([[4 / 12, 0.5]]))


def test_more_anchors_are_never_worse_and_scale_does_not_matter():
    shapes = np.exp(np.random.default_rng(0).normal(3, 0.6, (300, 2)))
    means = [find_anchors(shapes, k)[1] for k in range(1, 9)]
    assert all(later >= earlier - 0.002 for earlier, later in pairwise(means))
    anchors, mean = find_anchors(7 * shapes, 5)
    assert anchors == pytest.approx(7 * find_anchors(shapes, 5)[0]) and mean == pytest.approx(means[4])


# figures


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_that_of_pycocotools(seed):
    said, truth = drawn(seed=seed)
    found = compare_boxes(said, truth)
    whole, half = by_coco(said, truth)
    assert ap50_95(found) == pytest.approx(whole, abs=1e-9)
    assert ap50(found) == pytest.approx(half, abs=1e-9)


def test_average_precision_by_hand():
    truth = [boxes([0, 0, 10, 10], [20, 0, 30, 10]), boxes([0, 0, 10, 10])]
    said = [
        (boxes([0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]), np.array([0.9, 0.8, 0.5])),
        (boxes([1, 0, 11, 10]), np.array([0.7])),
    ]
    found = compare_boxes(
        said, truth
    )  # right, wrong (twice), right, wrong: precision 1, 1/2, 2/3, 1/2 at recall 1/3, 1/3, 2/3, 2/3
    assert voc_ap50(found) == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert ap50(found) == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)
    assert np.isnan(ap50(compare_boxes([(boxes(), np.zeros(0))], [boxes()])))
    assert ap50(compare_boxes([(boxes(), np.zeros(0))], [boxes([0, 0, 1, 1])])) == 0


def test_perfect_answers_miss_nothing():
    _, truth = drawn()
    perfect = compare_boxes([(there, np.ones(len(there))) for there in truth], truth)
    assert ap50(perfect) == ap50_95(perfect) == voc_ap50(perfect) == pytest.approx(1)
    assert log_average_miss_rate(perfect) == pytest.approx(1e-10)
    nothing = compare_boxes([(boxes(), np.zeros(0)) for _ in truth], truth)
    assert log_average_miss_rate(nothing) == 1


def test_miss_rate_by_hand():
    truth = [boxes([0, 0, 10, 10])] * 4
    said = (
        [(boxes([0, 0, 10, 10]), np.array([0.9]))] * 2 + [(boxes([50, 50, 60, 60]), np.array([0.8]))] + [(boxes(), np.zeros(0))]
    )
    said[3] = (boxes([0, 0, 10, 10]), np.array([0.1]))
    rates = [0.5 if at < 0.25 else 0.25 for at in np.logspace(-2, 0, 9)]  # one wrong box in four pictures
    assert log_average_miss_rate(compare_boxes(said, truth)) == pytest.approx(np.exp(np.mean(np.log(rates))))


def test_weights_are_pictures_counted_again():
    said, truth = drawn(12, seed=3)
    weights = np.random.default_rng(0).integers(0, 4, 12)
    again = [i for i, often in enumerate(weights) for _ in range(often)]
    whole = compare_boxes([said[i] for i in again], [truth[i] for i in again])
    found = compare_boxes(said, truth)
    for figure in (ap50_95, voc_ap50, log_average_miss_rate):
        assert figure(found, weights.astype(float)) == pytest.approx(figure(whole), abs=0.02)
    assert average_precision(found, found.voc, np.ones(12), every=True) == voc_ap50(found)


def test_weights_that_are_no_whole_numbers_cost_nothing_and_equal_scores_have_no_order():
    _, truth = drawn(10, seed=4)
    perfect = compare_boxes([(there, np.ones(len(there))) for there in truth], truth)
    assert ap50(perfect, np.full(10, 0.1)) == pytest.approx(1)
    right, wrong = (boxes([0, 0, 10, 10]), np.array([0.5])), (boxes([50, 50, 60, 60]), np.array([0.5]))
    there, nothing = boxes([0, 0, 10, 10]), boxes()
    one, other = (compare_boxes(*pair) for pair in (([right, wrong], [there, nothing]), ([wrong, right], [nothing, there])))
    assert ap50(one) == ap50(other) == pytest.approx(0.5)
    assert np.isnan(log_average_miss_rate(compare_boxes([wrong], [nothing])))


# Boxes that are shown


def test_precision_and_recall_of_shown_boxes_by_hand():
    there = [boxes((0, 0, 10, 10), (20, 0, 30, 10)), boxes((0, 0, 10, 10))]
    said = [(boxes((0, 0, 10, 10), (50, 50, 60, 60)), np.array([0.9, 0.8])), (boxes((0, 0, 10, 9)), np.array([0.3]))]
    found = compare_boxes(said, there)
    assert precision_at(found, 0.5) == 0.5 and recall_at(found, 0.5) == pytest.approx(1 / 3)
    assert precision_at(found, 0.2) == pytest.approx(2 / 3) and recall_at(found, 0.2) == pytest.approx(2 / 3)
    assert np.isnan(precision_at(found, 0.95)) and recall_at(found, 0.95) == 0
    assert recall_at(found, 0.2, np.array([0.0, 2.0])) == 1 and precision_at(found, 0.2, np.array([1.0, 0.0])) == 0.5
    assert np.isnan(recall_at(compare_boxes(said[:1], [boxes()]), 0.5))


def test_the_limit_is_the_score_of_the_best_f1():
    said, there = drawn()
    found = compare_boxes(said, there)

    def f1(limit):
        precision, recall = precision_at(found, limit), recall_at(found, limit)
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    best = best_threshold(found)
    assert f1(best) == pytest.approx(max(f1(limit) for limit in found.score)) and f1(best) > f1(0.99)
    assert best not in found.score  # half way to the next lower one
    assert best_threshold(compare_boxes([(boxes((0, 0, 1, 1)), np.ones(1))], [boxes()])) == 0.5


def test_equal_scores_have_no_order():
    said, there = drawn()
    said = [(where, np.round(score, 1)) for where, score in said]
    for figure in (ap50, ap50_95, log_average_miss_rate):
        assert figure(compare_boxes(said, there)) == pytest.approx(figure(compare_boxes(said[::-1], there[::-1])))
