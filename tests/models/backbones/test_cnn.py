"""Plain networks against counts of their layers, and what a recurrent network on rows can know."""

import pytest
import torch
from torch import nn

from resdx.errors import RecipeError
from resdx.models.backbones.cnn import Rows, build_backbone
from resdx.models.specs import Cnn, RowsRnn


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        (Cnn((8, 16)), 27 * 8 + 16 + 72 * 16 + 32),
        (Cnn((8, 16), norm=False), 27 * 8 + 8 + 72 * 16 + 16),
        (Cnn((8,), kernel=5), 75 * 8 + 16),
        (Cnn((8,), convolutions=3), 27 * 8 + 2 * 72 * 8 + 3 * 16),
    ],
)
def test_count_of_layers(spec, parameters):
    assert count(build_backbone(spec, weights="")) == parameters


@pytest.mark.parametrize(("size", "side"), [(64, 4), (65, 5), (16, 1)])
def test_each_block_halves_the_map_and_rounds_up(size, side):
    with torch.no_grad():
        assert build_backbone(Cnn((2, 2, 2, 2)), weights="")(torch.randn(2, 3, size, size)).shape == (2, 2, side, side)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_recurrent_layer_has_the_gates_of_its_cell(cell, gates):
    backbone = build_backbone(RowsRnn(20, cell, 7), weights="")
    assert count(backbone) == gates * 7 * (3 * 20 + 7 + 2)
    backbone = build_backbone(RowsRnn(20, cell, 7, (4, 5)), weights="")
    assert backbone.stage("block2", backbone.stage("block1", torch.randn(2, 3, 20, 20))).shape == (2, 5, 5, 5)
    assert count(backbone.get_submodule("rows")) == gates * 7 * (5 * 5 + 7 + 2)


def test_a_row_is_a_step_and_its_state_knows_the_rows_above_alone():
    backbone = build_backbone(RowsRnn(16, hidden=6), weights="").eval()
    x = torch.randn(2, 3, 16, 16)
    changed = x.clone()
    changed[:, :, 9:] += 1
    with torch.no_grad():
        before, after = backbone.features(x), backbone.features(changed)
    assert before.shape == (2, 6, 16, 1)
    torch.testing.assert_close(after[:, :, :9], before[:, :, :9])
    assert (after[:, :, 9:] != before[:, :, 9:]).all()


def test_states_are_those_of_pytorchs_cell_step_by_step():
    rows = Rows("gru", 2, 4, 3)
    cell = nn.GRUCell(8, 3)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in rows.rnn.state_dict().items()})
    x, state = torch.randn(2, 2, 4, 4), torch.zeros(2, 3)
    for row in range(4):
        state = cell(x[:, :, row].flatten(1), state)
        torch.testing.assert_close(rows(x)[:, :, row, 0], state)


def test_pictures_of_another_size_are_brought_to_its_own():
    backbone = build_backbone(RowsRnn(16, hidden=6), weights="").eval()
    flat = torch.full((1, 3, 1, 1), 0.4)
    with torch.no_grad():
        torch.testing.assert_close(backbone.features(flat.expand(1, 3, 40, 24)), backbone.features(flat.expand(1, 3, 16, 16)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Cnn(()), r"Cnn.channels cannot be \(\): it takes a tuple of 1 to 8 whole numbers of at least 1"),
        (lambda: Cnn((8, 0)), "Cnn.channels cannot hold 0: it takes a tuple of 1 to 8 whole numbers of at least 1"),
        (lambda: Cnn(kernel=4), "Cnn.kernel cannot be 4: it takes 1, 3, 5, 7, 9 or 11"),
        (lambda: Cnn(convolutions=0), "Cnn.convolutions cannot be 0: it takes a whole number of at least 1"),
        (lambda: Cnn((8, 8), frozen="block3"), "no stage 'block3'"),
        (lambda: RowsRnn(8), "RowsRnn.size cannot be 8: it takes a whole number from 16 to 1024 pixels"),
        (lambda: RowsRnn(cell="rnn"), "RowsRnn.cell cannot be 'rnn': it takes 'lstm' or 'gru'"),
        (lambda: RowsRnn(hidden=0), "RowsRnn.hidden cannot be 0: it takes a whole number of at least 1"),
        (
            lambda: RowsRnn(channels=(0,)),
            "RowsRnn.channels cannot hold 0: it takes a tuple of up to 8 whole numbers of at least 1",
        ),
    ],
)
def test_wrong_settings_are_refused_with_what_would_be_right(make, words):
    with pytest.raises(RecipeError, match=words):
        make()
