"""The head and loss of YOLOv2: cells and losses by hand, the other decoder as a reference, and boxes that a grid is driven to."""

import numpy as np
import pytest
import torch

from resdx.errors import RecipeError
from resdx.metrics.detection import iou
from resdx.models.heads.boxes import decode, predicted_boxes
from resdx.models.heads.specs import Yolo
from resdx.models.heads.yolo import RARE, YoloHead, places, presence, yolo_loss
from resdx.models.network import Detector, build
from resdx.models.specs import Cnn, Net

ANCHORS = torch.tensor([[0.2, 0.1], [0.5, 0.5]])
NONE = [float("nan")] * 5


def grid(seed=0, pictures=2, classes=3, side=4):
    return torch.randn((pictures, 2, 5 + classes, side, side), generator=torch.Generator().manual_seed(seed))


# By hand


def test_a_cell_without_opinion_says_its_anchor_around_its_middle():
    found = places(torch.zeros(1, 2, 8, 4, 5), ANCHORS)[0]
    x, y = (2 + 0.5) / 5, (3 + 0.5) / 4
    torch.testing.assert_close(found[0, 3, 2], torch.tensor([x - 0.1, y - 0.05, x + 0.1, y + 0.05]))
    torch.testing.assert_close(found[1, 3, 2], torch.tensor([x - 0.25, y - 0.25, x + 0.25, y + 0.25]))


def test_loss_of_one_box_by_hand():
    said = torch.zeros(1, 1, 7, 1, 1)
    said[0, 0, :, 0, 0] = torch.tensor([0.4, -0.3, 0.2, -0.1, 0.7, 1.0, 0.5])
    box, anchor = torch.tensor([1.0, 0.3, 0.2, 0.7, 0.8]), torch.tensor([[0.5, 0.5]])
    x, y = 1 / (1 + np.exp(-0.4)), 1 / (1 + np.exp(0.3))
    wide, high = 0.5 * np.exp(0.2), 0.5 * np.exp(-0.1)
    ours = np.array([[x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]])
    reached = iou(ours, np.array([[0.3, 0.2, 0.7, 0.8]]))[0, 0]
    there = 1 / (1 + np.exp(-0.7))
    wanted = -(reached * np.log(there) + (1 - reached) * np.log(1 - there))
    off = (x - 0.5) ** 2 + (y - 0.5) ** 2 + (0.2 - np.log(0.4 / 0.5)) ** 2 + (-0.1 - np.log(0.6 / 0.5)) ** 2
    kind = -np.log(np.exp(0.5) / (np.exp(1.0) + np.exp(0.5)))
    found = yolo_loss(anchor, said, torch.stack([box, torch.tensor(NONE)])[None])
    assert float(found) == pytest.approx(wanted + 5 * (2 - 0.4 * 0.6) * off + kind, rel=1e-5)


def test_pictures_without_boxes_are_only_told_that_every_cell_is_empty():
    said = grid().requires_grad_()
    loss = yolo_loss(ANCHORS, said, torch.full((2, 3, 5), torch.nan))
    expected = torch.nn.functional.softplus(said[:, :, 4]).sum()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert not said.grad[:, :, :4].any() and not said.grad[:, :, 5:].any() and (said.grad[:, :, 4] > 0).all()


def test_a_cell_that_overlaps_a_box_of_its_neighbour_is_not_told_that_it_is_wrong():
    anchor = torch.tensor([[0.5, 0.5]])
    said = torch.zeros(1, 1, 6, 4, 4)
    said[0, 0, 0, 1, 1] = 9.0  # this cell says a box nearly at its right border, where the next one has a box
    said.requires_grad_()
    box = torch.tensor([[[0.0, 0.26, 0.125, 0.76, 0.625]]])  # its centre lies in the third column of the second row
    yolo_loss(anchor, said, box).backward()
    assert said.grad[0, 0, 4, 1, 1] == 0 and said.grad[0, 0, 4, 1, 2] != 0 and said.grad[0, 0, 4, 3, 3] > 0


def test_a_class_is_there_as_surely_as_its_surest_box():
    said = torch.full((1, 2, 7, 3, 3), -2.0)
    said[0, 1, 4, 2, 0], said[0, 1, 5:, 2, 0] = 1.5, torch.tensor([0.5, 2.5])
    chance = 1 / (1 + np.exp(-1.5)) * np.array([1 / (1 + np.exp(2.0)), 1 / (1 + np.exp(-2.0))])
    chance[0] = max(chance[0], 0.5 / (1 + np.exp(2.0)))  # elsewhere both classes are as likely
    np.testing.assert_allclose(presence(said)[0], np.log(chance / (1 - chance)), rtol=1e-4)


def test_the_head_begins_with_few_boxes_and_needs_anchors():
    head = YoloHead(Yolo(anchors=((0.2, 0.1), (0.5, 0.5)), width=8), 16, 3)
    said = head(torch.zeros(1, 16, 4, 4))
    assert said.shape == (1, 2, 8, 4, 4) and head.outputs == 3
    assert float(said[:, :, 4].detach().sigmoid().mean()) == pytest.approx(RARE, rel=0.05)
    with pytest.raises(RecipeError, match="no anchors yet"):
        YoloHead(Yolo(), 16, 3)


@pytest.mark.parametrize(
    "fields", [{"count": 0}, {"width": 0}, {"layers": -1}, {"anchors": ((0.1, 0.0),)}, {"anchors": ((0.1,),)}]
)
def test_the_spec_checks_itself(fields):
    with pytest.raises(RecipeError, match="Yolo"):
        Yolo(**fields)


# The reference


def test_both_decoders_say_the_same():
    said = grid(1)
    for one in said:
        boxes, scores = decode(one.numpy(), ANCHORS.tolist())
        np.testing.assert_allclose(boxes, places(one[None], ANCHORS).clamp(0, 1).reshape(-1, 4), atol=1e-6)
        chance = one[:, 4:5].sigmoid() * one[:, 5:].softmax(1)
        np.testing.assert_allclose(scores, chance.permute(0, 2, 3, 1).reshape(-1, 3), atol=1e-6)


def test_what_a_picture_shows_is_the_best_score_of_the_other_decoder():
    for one in (said := grid(2)):
        scores = decode(one.numpy(), ANCHORS.tolist())[1].max(0)
        np.testing.assert_allclose(presence(one[None])[0].sigmoid(), scores, atol=1e-6)
    assert said.shape[0] == 2


# Invariance, and that it learns


def test_the_loss_does_not_depend_on_the_order_of_boxes_or_on_how_many_places_are_empty():
    boxes = torch.tensor([[[0, 0.1, 0.1, 0.3, 0.2], [2, 0.5, 0.4, 0.9, 0.9], NONE], [[1, 0.6, 0.1, 0.8, 0.2], NONE, NONE]])
    first = yolo_loss(ANCHORS, grid(), boxes)
    torch.testing.assert_close(yolo_loss(ANCHORS, grid(), boxes[:, [2, 1, 0]]), first)
    torch.testing.assert_close(yolo_loss(ANCHORS, grid(), torch.cat([boxes, torch.full((2, 4, 5), torch.nan)], 1)), first)
    torch.testing.assert_close(yolo_loss(ANCHORS, grid().flip(0), boxes.flip(0)), first)


def test_a_grid_that_follows_the_loss_says_the_boxes_that_are_there():
    boxes = torch.tensor([[[0, 0.1, 0.1, 0.3, 0.2], [2, 0.5, 0.4, 0.9, 0.9]], [[1, 0.6, 0.1, 0.8, 0.2], NONE]])
    said = (grid() / 10).requires_grad_()
    optimiser = torch.optim.Adam([said], 0.1)
    for _ in range(300):
        optimiser.zero_grad()
        yolo_loss(ANCHORS, said, boxes).backward()
        optimiser.step()
    for one, there in zip(said.detach().numpy(), boxes.numpy(), strict=True):
        for k, (found, scores) in enumerate(predicted_boxes(one, ANCHORS.tolist(), min_score=0.5)):
            wanted = there[there[:, 0] == k, 1:].astype(float)
            assert len(found) == len(wanted) and (scores > 0.8).all()
            assert not len(found) or iou(found, wanted).max() > 0.95


def test_limits_of_each_class_say_which_boxes_are_shown():
    said = grid(3)[0].numpy()
    every, some = (
        predicted_boxes(said, ANCHORS.tolist(), min_score=0.0),
        predicted_boxes(said, ANCHORS.tolist(), min_score=(0.9, 0.2, 0.0)),
    )
    assert not len(some[0][0]) and 0 < len(some[1][0]) < len(every[1][0])
    assert (some[1][1] >= 0.2).all() and (np.diff(some[1][1]) <= 0).all()
    np.testing.assert_allclose(some[2][0], every[2][0])


def test_a_network_with_this_head_answers_logits_embedding_and_cells():
    network = build(Net(Cnn((8, 16)), Yolo(anchors=((0.2, 0.1), (0.5, 0.5)), width=8, layers=1)), 3).eval()
    images = torch.rand(2, 3, 32, 32)
    logits, embedding, cells = network.answer(images)
    assert isinstance(network, Detector) and cells.shape == (2, 2, 8, 8, 8) and embedding.shape == (2, 16)
    torch.testing.assert_close(network(images), cells)
    torch.testing.assert_close(logits, presence(cells))
