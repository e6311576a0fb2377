"""Checks of maps, each on a case whose answer is known beforehand."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from resdx.data.cases import Box
from resdx.evaluation.saliency.checks import (
    body_mask,
    curves,
    hits,
    randomised,
    rank_correlation,
    reencoded,
    share_within,
)
from resdx.evaluation.saliency.methods import absent
from resdx.models.network import build
from resdx.models.specs import Net, ResNet


def test_rank_correlation_is_spearmans_and_zero_for_a_blank_map():
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 5, (3, 4, 4)), rng.integers(0, 5, (3, 4, 4))
    found = rank_correlation(ours, theirs)
    np.testing.assert_allclose(found, [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(ours, theirs, strict=True)])
    assert rank_correlation(np.zeros((1, 4, 4)), theirs[:1])[0] == 0


def test_a_randomised_network_is_another_one_and_leaves_the_first_alone():
    net, images = build(Net(ResNet(18)), 2).eval(), torch.rand(8, 3, 32, 32)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random, again = randomised(net, images, seed=1), randomised(net, images, seed=1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(random(images), again(images))
    assert not torch.equal(random.backbone.conv1.weight, net.backbone.conv1.weight)
    assert (random(images).std(0) > 1e-4).all()  # it still tells pictures apart
    assert not any(module.training for module in random.modules())


def test_randomising_does_not_move_the_callers_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    randomised(build_outside(), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), seed=3)
    assert torch.equal(torch.rand(3), expected)


def build_outside():
    state = torch.get_rng_state()
    net = build(Net(ResNet(18)), 2)
    torch.set_rng_state(state)
    return net


def test_curves_of_a_map_on_the_only_place_that_counts():
    images = torch.zeros(1, 3, 32, 32)
    images[..., :8, :8] = 1
    blurred = float(absent(images)[0, 0, :8, :8].mean())
    heat = torch.zeros(1, 4, 4)
    heat[0, 0, 0] = 1

    def answer(some):
        return some[:, 0, :8, :8].mean((1, 2))

    deletion, insertion = curves(answer, images, heat)
    worse = curves(answer, images, 1 - heat)
    assert deletion[0] < blurred + 0.1 * (1 - blurred)
    assert insertion[0] > 1 - 0.1 * (1 - blurred)
    assert worse[0][0] > deletion[0] + 0.2
    assert worse[1][0] < insertion[0] - 0.2


def test_curves_of_an_answer_that_never_changes_are_that_answer():
    deletion, insertion = curves(lambda x: torch.full((len(x),), 0.7), torch.rand(2, 3, 16, 16), torch.rand(2, 4, 4))
    np.testing.assert_allclose([*deletion, *insertion], 0.7)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_reencoded_picture_is_nearly_the_same(channels):
    line = np.linspace(0, 255, 64)
    picture = np.repeat(np.add.outer(line, line)[..., None] / 2, channels, 2).astype(np.uint8)
    again = reencoded(picture)
    assert (again.shape, again.dtype) == (picture.shape, np.uint8)
    assert 0 < np.abs(again.astype(int) - picture).mean() < 3


def test_the_body_is_found_with_the_dark_places_inside_it():
    y, x = np.mgrid[:64, :64]
    picture = np.where((x - 32) ** 2 + (y - 32) ** 2 < 24**2, 150, 8).astype(np.uint8)
    whole = picture > 100
    picture[28:36, 28:36] = 0  # a lung, an airway
    found = body_mask(picture[..., None])
    assert (found & whole).sum() / (found | whole).sum() > 0.9
    assert found[32, 32]


def test_no_body_is_claimed_where_the_picture_does_not_tell():
    full = np.full((64, 64, 1), 120, np.uint8)
    assert body_mask(full) is None  # no air at all
    two = np.zeros((64, 64, 1), np.uint8)
    two[8:56, 4:28] = two[8:56, 36:60] = 150
    assert body_mask(two) is None  # two pieces
    assert body_mask(np.zeros((64, 64, 1), np.uint8)) is None


def test_share_within_a_mask():
    heat, mask = np.ones((4, 4)), np.zeros((4, 4), bool)
    mask[0] = True
    assert share_within(heat, mask) == 0.25
    assert share_within(np.zeros((4, 4)), mask) == 0


def test_cells_point_at_a_box_within_half_a_cell():
    cells = hits((8, 8), 64, [Box("mass", 20, 20, 28, 28)])  # centres at 4, 12, 20, 28 ...; half a cell is 4
    assert sorted(map(tuple, np.argwhere(cells))) == [(row, column) for row in (2, 3) for column in (2, 3)]
    assert hits((8, 8), 64, []).sum() == 0
