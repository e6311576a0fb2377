"""LeNet-5, AlexNet and StridedNet against their known counts and shapes."""

import pytest
import torch
from torch import nn

from resdx.errors import RecipeError
from resdx.models.backbones.classics import build_backbone
from resdx.models.specs import AlexNet, LeNet, StridedNet


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def with_head(backbone, classes: int) -> int:
    return count(backbone) + (backbone.channels + 1) * classes


def test_lenet_has_the_count_of_its_layers():
    layers = (3 * 25 + 1) * 6 + (6 * 25 + 1) * 16 + (16 * 25 + 1) * 120 + (120 + 1) * 84
    backbone = build_backbone(LeNet(), weights="")
    assert (count(backbone), with_head(backbone, 10)) == (layers, 62_006)


def test_alexnet_has_the_count_of_its_layers():
    convolutions = (3 * 121 + 1) * 64 + (64 * 25 + 1) * 192 + (192 * 9 + 1) * 384 + (384 * 9 + 1) * 256 + (256 * 9 + 1) * 256
    dense = (256 * 36 + 1) * 4096 + (4096 + 1) * 4096
    with torch.device("meta"):
        backbone = build_backbone(AlexNet(), weights="")
    assert (count(backbone), with_head(backbone, 1000)) == (convolutions + dense, 61_100_840)


def test_stridednet_has_the_count_of_its_layers():
    norms = 2 * (16 + 2 * (32 + 64 + 128) + 512)
    convolutions = (3 * 49 + 1) * 16 + sum(
        (9 * i + 1) * o for i, o in ((16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
    )
    dense = (128 * 6 * 6 + 1) * 512  # 96 px -> 45 -> 23 -> 12 -> 6
    assert count(build_backbone(StridedNet(96), weights="")) == norms + convolutions + dense


@pytest.mark.parametrize(
    ("spec", "size"), [(LeNet(), 32), (LeNet(48), 48), (AlexNet(96), 96), (StridedNet(50), 50), (StridedNet(64), 64)]
)
def test_dense_layers_see_the_whole_of_a_picture_of_their_size(spec, size):
    backbone = build_backbone(spec, weights="").eval()
    x = torch.randn(2, 3, size, size)
    maps = x
    with torch.no_grad():
        for name in backbone.names[: [name.startswith("dense") for name in backbone.names].index(True)]:
            maps = backbone.stage(name, maps)
        dense = next(module for module in backbone.modules() if hasattr(module, "side"))
        assert dense.side == maps.shape[2] == maps.shape[3]
        assert backbone.features(x).shape == (2, backbone.channels, 1, 1)


def test_larger_pictures_give_maps_and_smaller_ones_an_answer():
    backbone = build_backbone(LeNet(), weights="").eval()
    with torch.no_grad():
        assert backbone.features(torch.randn(1, 3, 48, 64)).shape == (1, 84, 5, 9)
        assert backbone.features(torch.randn(1, 3, 16, 16)).shape == (1, 84, 1, 1)
        assert build_backbone(AlexNet(80), weights="").eval().features(torch.randn(1, 3, 63, 63)).shape == (1, 4096, 1, 1)


def test_answer_of_lenet_at_a_place_is_that_of_the_window_below_it():
    backbone = build_backbone(LeNet(), weights="").eval()
    x = torch.randn(1, 3, 40, 36)
    with torch.no_grad():
        torch.testing.assert_close(backbone.features(x)[:, :, 2:3, 1:2], backbone.features(x[:, :, 8:40, 4:36]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LeNet(20), "LeNet.size cannot be 20: it takes a whole number from 28 to 1024 pixels"),
        (lambda: AlexNet(48), "AlexNet.size cannot be 48: it takes a whole number from 63 to 1024"),
        (lambda: AlexNet(dropout=1.0), "AlexNet.dropout cannot be 1.0: it takes a number from 0 to below 1"),
        (lambda: StridedNet(8), "StridedNet.size cannot be 8: it takes a whole number from 16"),
        (lambda: AlexNet(frozen="conv6"), "no stage 'conv6' to freeze up to; choose '', 'conv1', .*'dense2' or 'all'"),
    ],
)
def test_wrong_settings_are_refused_with_what_would_be_right(make, words):
    with pytest.raises(RecipeError, match=words):
        make()
