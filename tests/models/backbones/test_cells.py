"""Heat maps: cells are read exactly, standardised by training cases alone, and shown to the backbone below as a picture."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from resdx.errors import RecipeError
from resdx.models.backbones.wrappers import cells_of, fit_inputs
from resdx.models.network import build
from resdx.models.specs import Cells, Cnn, Net, Standardised
from resdx.models.weights import load_state, save_state


def maps(count, rows=3, columns=6, seed=0):
    """(values (N, rows, columns) of 0 to 255, pictures (N, 12, 12, 1))."""
    values = np.random.default_rng(seed).integers(0, 256, (count, rows, columns)).astype(np.uint8)
    return values, np.kron(values, np.ones((1, 12 // rows, 12 // columns), np.uint8))[..., None]


def tensor(pictures):
    return torch.from_numpy(np.repeat(pictures, 3, 3)).permute(0, 3, 1, 2).float() / 255


def test_cells_are_the_greys():
    values, pictures = maps(5)
    assert cells_of(tensor(pictures), 3, 6).numpy() == pytest.approx(values / 255, abs=1e-6)
    network = build(Net(Cells(3, 6)), 2).eval()
    assert network.embed(tensor(pictures)).numpy() == pytest.approx(values.reshape(5, 18) / 255, abs=1e-6)
    assert not list(network.backbone.parameters())


def test_backbone_below_sees_what_scikit_learn_makes_of_the_training_cases():
    values, pictures = maps(40)
    values[:, 1, 2], pictures[:, 4:8, 4:6] = 7, 7  # one cell that never differs
    network = build(Net(Standardised(Cnn((4,)), 3, 6, limit=2.0)), 2).eval()
    train = np.arange(5, 30)
    fit_inputs(network.backbone, pictures, train)
    scaler = StandardScaler().fit(values[train].reshape(25, 18) / 255)
    want = np.clip(scaler.transform(values.reshape(40, 18) / 255), -2, 2).reshape(40, 3, 6) / 4 + 0.5
    shown = network.backbone.shown(tensor(pictures)) * network.backbone.inner_std + network.backbone.inner_mean
    assert shown.shape == (40, 3, 12, 12)
    assert shown[:, 0, ::4, ::2].numpy() == pytest.approx(want, abs=1e-5)
    assert (shown == shown[:, :1]).all()


def test_what_was_fitted_is_kept_with_the_weights(tmp_path):
    _, pictures = maps(10)
    network = build(Net(Standardised(Cnn((4,)), 3, 6)), 2).eval()
    fit_inputs(network.backbone, pictures, np.arange(10))
    save_state(network, tmp_path / "w.safetensors")
    again = build(Net(Standardised(Cnn((4,)), 3, 6)), 2, start=False).eval()
    load_state(again, tmp_path / "w.safetensors")
    with torch.inference_mode():
        assert torch.equal(again(tensor(pictures)), network(tensor(pictures)))
    stages = list(network.backbone.stages())
    with torch.inference_mode():
        by_stage = network.run_stages(network.normalise(tensor(pictures)), stages[0])
        assert torch.allclose(by_stage, network.maps(tensor(pictures)), atol=1e-6)


def test_other_networks_have_nothing_to_fit():
    network = build(Net(Cnn((4,))), 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fit_inputs(network.backbone, maps(4)[1], np.arange(4))
    assert all((value == before[name]).all() for name, value in network.state_dict().items())


def test_grids_and_limits_are_checked():
    with pytest.raises(RecipeError, match=r"Cells\.rows cannot be 0: it takes a whole number from 1 to 512"):
        Cells(rows=0)
    with pytest.raises(
        RecipeError, match=r"Standardised\.limit cannot be 0(\.0)?: it takes a number above 0 and up to 100 deviations"
    ):
        Standardised(limit=0)
