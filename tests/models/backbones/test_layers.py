"""Dense layers as links of a chain of maps, against PyTorch's own."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from resdx.errors import RecipeError, WeightsError
from resdx.models.backbones.layers import Dense, he_start, sized
from resdx.models.network import build
from resdx.models.specs import Cnn, LeNet, Net
from resdx.models.weights import save_state


def test_dense_layer_on_a_map_of_its_size_is_flatten_and_linear():
    layer, x = Dense(4, 3, 5), torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(layer(x)[..., 0, 0], layer.linear(x.flatten(1)))
    assert layer(x).shape == (2, 5, 1, 1)


def test_dense_layer_on_a_larger_map_answers_at_each_place_as_on_that_place_alone():
    layer, x = Dense(4, 3, 5), torch.randn(2, 4, 6, 4)
    answer = layer(x)
    assert answer.shape == (2, 5, 4, 2)
    torch.testing.assert_close(answer[:, :, 2:3, 1:2], layer(x[:, :, 2:5, 1:4]))
    torch.testing.assert_close(answer, conv2d(x, layer.linear.weight.view(5, 4, 3, 3), layer.linear.bias))


def test_dense_layer_enlarges_a_smaller_map():
    layer = Dense(2, 4, 3)
    flat = torch.tensor([0.3, -0.7]).view(1, 2, 1, 1)
    torch.testing.assert_close(layer(flat), layer(flat.expand(1, 2, 4, 4)))
    assert layer(torch.randn(1, 2, 3, 6)).shape == (1, 3, 1, 3)


def test_a_map_of_the_right_size_is_left_alone():
    x = torch.randn(1, 2, 5, 7)
    assert sized(x, 5, 7) is x


def test_convolutions_start_with_the_variance_he_gives_for_fan_out_and_without_bias():
    torch.manual_seed(0)
    for groups, fan_out in ((1, 128 * 9), (64, 2 * 9)):
        convolution = nn.Conv2d(64, 128, 3, groups=groups)
        he_start(nn.Sequential(convolution))
        assert convolution.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        assert not convolution.bias.any()


def test_weights_of_a_run_start_the_same_network_and_no_other(tmp_path):
    donor = build(Net(Cnn((4, 8))), 2)
    save_state(donor, tmp_path / "best.safetensors")
    network = build(Net(Cnn((4, 8), weights=str(tmp_path / "best.safetensors"))), 3)
    for one, other in zip(network.backbone.parameters(), donor.backbone.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(WeightsError, match="belongs to another network"):
        build(Net(LeNet()), 2, weights=tmp_path / "best.safetensors")


@pytest.mark.parametrize("weights", ["imagenet", "resdx"])
def test_published_weights_that_do_not_exist_are_refused(weights):
    with pytest.raises(RecipeError, match=f"there are no {weights} weights for LeNet; use weights=''"):
        LeNet(weights=weights)
