"""Random steps: their matrices in closed form, one resampling for all, and draws that depend on the case alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from resdx.errors import RecipeError
from resdx.transforms.augment import (
    Affine,
    ChannelJitter,
    ColorJitter,
    Flip,
    RandomErasing,
    RandomResizedCrop,
    apply,
    case_keys,
    compose,
    move_boxes,
    resize,
    uniforms,
)

torch.manual_seed(0)
IMAGES = torch.rand(6, 3, 32, 32) * 0.9 + 0.05
KEYS = case_keys([f"case {k}" for k in range(6)])


def draws(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def move(images: Tensor, matrix: Tensor) -> Tensor:
    """The reference: one resampling by one matrix."""
    grid = torch.nn.functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, align_corners=False)


# Closed forms

IDENTITY = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])


@pytest.mark.parametrize("step", [Flip(vertical=True), Affine(30, 0.2, 0.1, 10)])
def test_middle_draws_leave_geometry_alone(step):
    torch.testing.assert_close(step.matrix(torch.full((1, step.draws), 0.5)), IDENTITY)


@pytest.mark.parametrize("step", [ColorJitter(), ChannelJitter(), RandomErasing()])
def test_middle_draws_leave_colour_alone(step):
    torch.testing.assert_close(step.colour(IMAGES, torch.full((6, step.draws), 0.5)), IMAGES)


@pytest.mark.parametrize("step", [Affine(0, 0, 0), Flip(horizontal=False), RandomResizedCrop(1)])
def test_step_without_range_is_the_identity(step):
    torch.testing.assert_close(step.matrix(torch.rand(5, step.draws)), IDENTITY.expand(5, 2, 3))


def test_flip_mirrors_what_it_may():
    matrix = Flip(vertical=True).matrix(draws((0.1, 0.9), (0.9, 0.1), (0.1, 0.1)))
    expected = [IMAGES[0].flip(2), IMAGES[1].flip(1), IMAGES[2].flip(1, 2)]
    torch.testing.assert_close(move(IMAGES[:3], matrix), torch.stack(expected), atol=1e-5, rtol=0)
    torch.testing.assert_close(Flip().matrix(draws((0.9, 0.1))), IDENTITY)


@pytest.mark.parametrize(("turn", "quarters"), [(1.0, 1), (0.0, -1)])
def test_turning_by_90_degrees_is_rot90(turn, quarters):
    matrix = Affine(degrees=90, scale=0, shift=0).matrix(draws((turn, 0.5, 0.5, 0.5, 0.5)))
    torch.testing.assert_close(move(IMAGES[:1], matrix), IMAGES[:1].rot90(quarters, (2, 3)), atol=1e-4, rtol=0)


def test_shift_is_a_share_of_the_side():
    matrix = Affine(degrees=0, scale=0, shift=0.25).matrix(draws((0.5, 0.5, 1.0, 0.5, 0.5), (0.5, 0.5, 0.5, 1.0, 0.5)))
    moved = move(IMAGES[:2], matrix)
    torch.testing.assert_close(moved[0, :, :, :24], IMAGES[0, :, :, 8:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[1, :, :24], IMAGES[1, :, 8:], atol=1e-5, rtol=0)
    assert (moved[0, :, :, 24:] == 0).all() and (moved[1, :, 24:] == 0).all()


def test_scale_changes_area_both_ways_alike():
    matrix = Affine(degrees=45, scale=0.25, shift=0, shear=20).matrix(torch.rand(4000, 5))
    area = torch.linalg.det(matrix[:, :, :2]).log() / 2  # a shear keeps the area
    assert area.abs().max() <= np.log(1.25) + 1e-5
    assert abs(float(area.mean())) < 0.01
    assert float(area.max()) > 0.95 * np.log(1.25) and float(area.min()) < -0.95 * np.log(1.25)


def test_shear_slants_the_vertical():
    matrix = Affine(degrees=0, scale=0, shift=0, shear=45).matrix(draws((0.5, 0.5, 0.5, 0.5, 1.0)))
    torch.testing.assert_close(matrix, torch.tensor([[[1.0, 1, 0], [0, 1, 0]]]))


def test_a_crop_of_a_quarter_of_the_area_is_a_corner_twice_as_large():
    matrix = RandomResizedCrop(0.25).matrix(draws((0.0, 0.0, 0.0), (0.0, 1.0, 1.0), (1.0, 0.3, 0.8)))
    corners = torch.stack([IMAGES[0, :, :16, :16], IMAGES[1, :, 16:, 16:]])
    grid = torch.nn.functional.affine_grid(matrix[:2], [2, 3, 16, 16], align_corners=False)
    torch.testing.assert_close(torch.nn.functional.grid_sample(IMAGES[:2], grid, align_corners=False), corners, atol=1e-5, rtol=0)
    torch.testing.assert_close(matrix[2:], IDENTITY)


def test_crops_have_all_sizes_alike_and_stay_inside():
    matrix = RandomResizedCrop(0.2).matrix(torch.rand(4000, 3))
    area = torch.linalg.det(matrix[:, :, :2])
    assert kstest(area.numpy(), "uniform", args=(0.2, 0.8)).pvalue > 0.001
    assert (matrix[:, :, 2].abs() + matrix[:, [0, 1], [0, 1]]).max() <= 1 + 1e-6


def test_a_small_crop_of_a_large_picture_keeps_its_detail():
    stripes = (torch.arange(64) % 2).float().expand(200, 3, 64, 64)  # half as large they are grey
    views = apply([RandomResizedCrop(0.25)], stripes, case_keys([str(k) for k in range(200)]), seed=0, epoch=0, size=32)
    assert views.std((1, 2, 3)).max() > 0.3 > 0.1 > resize(stripes[:1], 32).std()


def test_tint_multiplies_each_channel():
    tinted = ChannelJitter(strength=1).colour(IMAGES[:1], draws((1.0, 0.5, 0.0)))
    torch.testing.assert_close(tinted, (IMAGES[:1] * torch.tensor([2.0, 1, 0.5])[:, None, None]).clamp(0, 1))
    torch.testing.assert_close(
        ChannelJitter(strength=1).colour(IMAGES[:1, :1], draws((1.0, 0.5, 0.5)))[:, 1:], IMAGES[:1, [0, 0]]
    )


def test_tone_in_closed_form():
    flat = torch.full((1, 3, 4, 4), 0.25)
    lighter = ColorJitter(brightness=0.1, contrast=0, gamma=0).colour(flat, draws((1.0, 0.5, 0.5)))
    torch.testing.assert_close(lighter, torch.full_like(flat, 0.35))
    darker = ColorJitter(brightness=0, contrast=0, gamma=1).colour(flat, draws((0.5, 0.5, 1.0)))
    torch.testing.assert_close(darker, flat**2)
    wide = ColorJitter(brightness=0, contrast=0.2, gamma=0).colour(IMAGES, torch.tensor([[0.5, 1.0, 0.5]]).expand(6, 3))
    centre = IMAGES.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(wide, (centre + 1.2 * (IMAGES - centre)).clamp(1e-4, 1))


def test_erase_greys_out_one_square_of_the_drawn_area():
    erased = RandomErasing(fraction=0.25).colour(IMAGES[:1], draws((1.0, 0.5, 0.0, 0.0)))
    changed = (erased != IMAGES[:1]).any(1)[0]
    assert changed.sum() == 16 * 16
    assert changed[8:24, :16].all()
    torch.testing.assert_close(erased[0, :, 8:24, :16], IMAGES[0].mean().expand(3, 16, 16))


def test_colours_stay_in_range():
    for step in (ColorJitter(0.5, 0.9, 2), ChannelJitter(2), RandomErasing(0.5)):
        out = step.colour(IMAGES, torch.rand(6, step.draws))
        assert 0 <= out.min() <= out.max() <= 1


@pytest.mark.parametrize(("field", "value"), [("scale", 1.0), ("scale", -0.1), ("shift", 1.0)])
def test_affine_out_of_range_fails_when_written(field, value):
    with pytest.raises(RecipeError, match=f"Affine.{field} cannot be {value}: it takes a number from 0 to below 1"):
        Affine(**{field: value})


@pytest.mark.parametrize("least", [0, 1.1])
def test_a_crop_of_nothing_or_of_more_fails_when_written(least):
    with pytest.raises(RecipeError, match="above 0 and up to 1"):
        RandomResizedCrop(least)


# Many steps, one resampling


def test_composed_matrix_is_one_move_after_the_other():
    # Quarter turns, mirrors and whole-pixel shifts resample exactly, so two resamplings equal one.
    first = Affine(degrees=90, scale=0, shift=0).matrix(draws((1.0, 0.5, 0.5, 0.5, 0.5)))
    second = Affine(degrees=0, scale=0, shift=0.25).matrix(draws((0.5, 0.5, 1.0, 0.0, 0.5)))
    third = Flip().matrix(draws((0.1, 0.5)))
    once = move(IMAGES[:1], compose(compose(first, second), third))
    torch.testing.assert_close(once, move(move(move(IMAGES[:1], first), second), third), atol=1e-4, rtol=0)


def test_apply_equals_its_steps_by_hand():
    steps = (Flip(vertical=True), Affine(20, 0.2, 0.1, 5), ColorJitter(), RandomErasing())
    uniform = torch.from_numpy(uniforms(KEYS, seed=3, epoch=5, count=14))
    matrix = compose(steps[0].matrix(uniform[:, :2]), steps[1].matrix(uniform[:, 2:7]))
    expected = steps[3].colour(steps[2].colour(move(IMAGES, matrix), uniform[:, 7:10]), uniform[:, 10:])
    torch.testing.assert_close(apply(steps, IMAGES, KEYS, seed=3, epoch=5), expected)


def test_no_steps_change_nothing():
    assert torch.equal(apply((), IMAGES, KEYS, seed=0, epoch=0), IMAGES)
    assert torch.equal(
        apply((Flip(horizontal=False),), IMAGES, KEYS, seed=0, epoch=0).round(decimals=4), IMAGES.round(decimals=4)
    )


@pytest.mark.parametrize("steps", [(), (Affine(),), (ColorJitter(),)])
def test_result_has_the_size_that_was_asked(steps):
    out = apply(steps, IMAGES, KEYS, seed=0, epoch=0, size=16)
    assert out.shape == (6, 3, 16, 16)
    assert 0 <= out.min() <= out.max() <= 1


def test_resize_averages_when_it_shrinks():
    flat = torch.full((1, 1, 32, 32), 0.3)
    torch.testing.assert_close(resize(flat, 20), torch.full((1, 1, 20, 20), 0.3))
    torch.testing.assert_close(resize(IMAGES, 8).mean(), IMAGES.mean(), atol=0.01, rtol=0)
    assert resize(IMAGES, 32) is IMAGES


# Draws


def test_draws_depend_on_the_case_and_not_on_its_batch():
    steps = (Flip(), Affine(), ColorJitter(), RandomErasing())
    whole = apply(steps, IMAGES, KEYS, seed=1, epoch=2)
    order = [4, 0, 5]
    torch.testing.assert_close(apply(steps, IMAGES[order], KEYS[order], seed=1, epoch=2), whole[order])
    torch.testing.assert_close(apply(steps, IMAGES[2:3], KEYS[2:3], seed=1, epoch=2), whole[2:3])


def test_seed_epoch_stream_and_case_each_change_the_draws():
    same = uniforms(KEYS, seed=1, epoch=2, count=4)
    assert np.array_equal(uniforms(KEYS, seed=1, epoch=2, count=4), same)
    others = [
        uniforms(KEYS, seed=2, epoch=2, count=4),
        uniforms(KEYS, seed=1, epoch=3, count=4),
        uniforms(KEYS, seed=1, epoch=2, count=4, stream="mix"),
        uniforms(KEYS[::-1], seed=1, epoch=2, count=4),
    ]
    assert not any((other == same).any() for other in others)


def test_more_draws_leave_the_first_ones_alone():
    assert np.array_equal(uniforms(KEYS, seed=1, epoch=2, count=9)[:, :4], uniforms(KEYS, seed=1, epoch=2, count=4))


@pytest.mark.parametrize("epoch", [0, 1])
def test_draws_are_uniform_and_independent(epoch):
    table = uniforms(case_keys([f"{k}.png" for k in range(4000)]), seed=0, epoch=epoch, count=5)
    assert table.dtype == np.float32 and table.min() >= 0 and table.max() < 1
    assert min(kstest(column, "uniform").pvalue for column in table.T) > 1e-3
    assert np.abs(np.corrcoef(table.T) - np.eye(5)).max() < 0.06
    assert abs(np.corrcoef(table[:-1, 0], table[1:, 0])[0, 1]) < 0.06
    earlier = uniforms(case_keys([f"{k}.png" for k in range(4000)]), seed=0, epoch=epoch + 1, count=5)
    assert abs(np.corrcoef(table[:, 0], earlier[:, 0])[0, 1]) < 0.06


def test_half_of_the_cases_are_mirrored():
    uniform = torch.from_numpy(uniforms(case_keys([str(k) for k in range(4000)]), seed=0, epoch=0, count=2))
    assert abs(float((Flip().matrix(uniform)[:, 0, 0] < 0).float().mean()) - 0.5) < 0.03


# Boxes


@pytest.mark.parametrize(
    "steps", [(Flip(),), (Flip(vertical=True),), (Affine(0, 0.3, 0.2),), (Flip(), Affine(0, 0.2, 0.1), ColorJitter())]
)
def test_boxes_move_as_their_pictures_do(steps):
    pictures, boxes = torch.zeros(6, 1, 96, 96), torch.full((6, 2, 5), torch.nan)
    for k in range(6):
        pictures[k, :, 30 + k : 50 + k, 36:66] = 1
        boxes[k, 1] = torch.tensor([2, 36 / 96, (30 + k) / 96, 66 / 96, (50 + k) / 96])
    shown = apply([step for step in steps if hasattr(step, "matrix")], pictures, KEYS, seed=3, epoch=2)
    moved = move_boxes([step for step in steps if hasattr(step, "matrix")], boxes, KEYS, seed=3, epoch=2)
    assert torch.isnan(moved[:, 0]).all() and (moved[:, 1, 0] == 2).all()
    for picture, box in zip(shown[:, 0], moved[:, 1], strict=True):
        rows, columns = torch.nonzero(picture > 0.5, as_tuple=True)
        seen = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 96
        torch.testing.assert_close(box[1:], seen, atol=1.1 / 96, rtol=0)


def test_boxes_draw_what_their_pictures_draw_also_where_steps_change_colours():
    boxes = torch.tensor([[[0, 0.2, 0.3, 0.4, 0.6]]])
    every = move_boxes((Flip(), ColorJitter(), Affine(0, 0.2, 0.1)), boxes, KEYS[:1], seed=0, epoch=0)
    grid = torch.linspace(0, 1, 64).repeat(1, 1, 64, 1)
    shown = apply((Flip(), ColorJitter(0, 0, 0), Affine(0, 0.2, 0.1)), grid, KEYS[:1], seed=0, epoch=0)
    centre = every[0, 0, 1:].reshape(2, 2).mean(0)
    row, column = int(centre[1] * 64), int(centre[0] * 64)
    assert abs(float(shown[0, 0, row, column]) - 0.3) < 0.03  # what was at 0.3 of the width is now in the middle of the box


def test_the_rectangle_around_a_turned_box_holds_its_corners():
    boxes = torch.tensor([[[1, 0.4, 0.4, 0.6, 0.5]]]).repeat(6, 1, 1)
    moved = move_boxes((Affine(30, 0, 0),), boxes, KEYS, seed=0, epoch=0)[:, 0]
    area = (moved[:, 3:] - moved[:, 1:3]).prod(1)
    assert (area > 0.2 * 0.1 - 1e-6).all() and (area > 0.021).any()


def test_a_box_that_leaves_the_picture_is_gone_and_one_that_stays_in_part_is_cut():
    boxes = torch.tensor([[[0, 0.9, 0.1, 1.0, 0.3], [0, 0.4, 0.4, 0.6, 0.6]]]).repeat(40, 1, 1)
    keys = case_keys([f"case {k}" for k in range(40)])
    moved = move_boxes((Affine(0, 0, 0.3),), boxes, keys, seed=0, epoch=0)
    assert torch.isnan(moved[:, 0, 1]).any() and not torch.isnan(moved[:, 1, 1]).any()
    kept = moved[~torch.isnan(moved[:, :, 1])]
    assert (kept[:, 1:] >= 0).all() and (kept[:, 1:] <= 1).all() and (kept[:, 3:] > kept[:, 1:3]).all()
    torch.testing.assert_close(move_boxes((ColorJitter(),), boxes, keys, seed=0, epoch=0), boxes)
