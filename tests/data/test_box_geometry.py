"""Boxes of a file in the prepared picture and back: by hand, against what the steps do to pixels, and there and back."""

import numpy as np
import pytest

from resdx.data.box_geometry import box_transform, in_file, prepared_box
from resdx.data.cases import Box
from resdx.transforms.augment import Flip
from resdx.transforms.image import Clahe, Grey, Rescale, Resize

BOX = Box("mass", 10, 20, 30, 60)
STEPS = [
    (Resize(50),),
    (Grey(), Resize(100, "pad"), Rescale()),
    (Resize(100), Resize(50)),
    (Resize(64, "pad"), Resize(32, "pad")),
]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((Resize(50),), (5, 5, 15, 15)),  # 200 high and 100 wide, each side to 50
        ((Grey(), Clahe(), Resize(100, "pad"), Rescale()), (30, 10, 40, 30)),
        ((Resize(50, "crop"),), (5, 0, 15, 5)),  # the upper 50 rows are cut off
        ((Resize(100), Resize(50)), (5, 5, 15, 15)),
    ],
)
def test_a_box_goes_where_the_picture_goes(steps, expected):
    found = prepared_box(BOX, (200, 100), steps)
    np.testing.assert_allclose((found.x1, found.y1, found.x2, found.y2), expected)
    if all(isinstance(step, (Grey, Rescale, Resize)) for step in steps):
        picture = np.zeros((200, 100, 1), np.float32)
        picture[20:60, 10:30] = 1
        for step in steps:
            picture = step(picture)
        rows, columns = np.nonzero(picture[..., 0] > 0.5)
        assert abs(rows.min() - found.y1) <= 1
        assert abs(columns.max() + 1 - found.x2) <= 1


def test_a_box_is_lost_when_it_is_cut_off_or_the_step_is_unknown():
    assert prepared_box(Box("mass", 10, 0, 30, 40), (200, 100), (Resize(50, "crop"),)) is None
    assert prepared_box(BOX, (200, 100), (Resize(50), Flip())) is None


@pytest.mark.parametrize("shape", [(50, 101), (101, 50), (33, 60), (60, 33)])
@pytest.mark.parametrize("keep", ["crop", "pad", "stretch"])
def test_odd_sizes_are_halved_as_the_step_halves_them(shape, keep):
    height, width = shape
    picture = np.zeros((height, width, 1), np.float32)
    picture[height // 2 - 8 : height // 2 + 8, width // 2 - 6 : width // 2 + 6] = 1
    step = Resize(4 * (min(shape) if keep == "crop" else max(shape)), keep)
    box = Box("a", width // 2 - 6, height // 2 - 8, width // 2 + 6, height // 2 + 8)
    found = prepared_box(box, shape, (step,))
    rows, columns = np.nonzero(step(picture)[..., 0] > 0.5)
    seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose((found.x1, found.y1, found.x2, found.y2), seen, atol=1)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("shape", [(200, 100), (61, 301)])
def test_boxes_go_there_and_back(steps, shape):
    height, width = shape
    low = np.random.default_rng(0).uniform(0, 0.5, (20, 2)) * (width, height)
    boxes = np.hstack([low, low + 0.4 * np.array([width, height])])
    place = box_transform(shape, steps)
    np.testing.assert_allclose(place.to_file(place.to_prepared(boxes)), boxes, atol=1e-9)


def test_what_reaches_out_of_the_file_is_cut_to_it():
    place = box_transform((50, 100), (Resize(100, "pad"),))  # 25 rows of nothing above and below
    np.testing.assert_allclose(place.to_file(np.array([[-5.0, 0, 120, 100]])), [[0, 0, 100, 50]])


def test_boxes_of_each_class_come_in_pixels_of_the_file_the_surest_first():
    place = box_transform((50, 100), (Resize(200, "pad"),))
    said = [(np.array([[0.1, 0.3, 0.2, 0.5]]), np.array([0.4])), (np.array([[0.5, 0.25, 1, 0.75]]), np.array([0.9]))]
    found = in_file(said, ("a", "b"), place)
    assert [(box.label, box.score) for box in found] == [("b", 0.9), ("a", 0.4)]
    np.testing.assert_allclose([found[1].x1, found[1].y1, found[1].x2, found[1].y2], [10, 5, 20, 25])
    fractions = place.to_fractions(found)
    np.testing.assert_allclose([fractions[0].x1, fractions[0].y1, fractions[0].x2, fractions[0].y2], [0.5, 0.25, 1, 0.75])
    assert [box.score for box in fractions] == [0.9, 0.4]
