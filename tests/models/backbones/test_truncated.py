"""A backbone that stops early: the same maps as the whole one gives there, nothing of what comes after."""

import pytest
import torch

from resdx.errors import RecipeError
from resdx.models.freeze import freeze
from resdx.models.network import build
from resdx.models.specs import Cnn, Net, Pretrained, ResNet, Truncated

PICTURES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("backbone", "last", "shape"),
    [
        (ResNet(18), "layer3", (2, 256, 4, 4)),
        (Cnn((4, 8, 16)), "block2", (2, 8, 16, 16)),
        (Pretrained("mobilenetv2_035"), "block5", (2, 32, 4, 4)),
    ],
)
def test_maps_are_those_of_the_whole_backbone_at_that_stage(backbone, last, shape):
    torch.manual_seed(0)
    whole = build(Net(backbone), 2).eval()
    torch.manual_seed(0)
    short = build(Net(Truncated(backbone, last)), 2).eval()
    with torch.no_grad():
        maps = short.maps(PICTURES)
        torch.testing.assert_close(
            maps, whole.run_stages(whole.normalise(PICTURES), next(iter(whole.backbone.stages())), last=last)
        )
    assert maps.shape == shape and short.channels == shape[1] and list(short.backbone.stages())[-1] == last


def test_what_comes_after_is_neither_stored_nor_trained():
    short, whole = build(Net(Truncated(ResNet(18), "layer2")), 2), build(Net(ResNet(18)), 2)
    assert not any("layer3" in key or "layer4" in key for key in short.state_dict())
    assert sum(p.numel() for p in short.backbone.parameters()) < sum(p.numel() for p in whole.backbone.parameters()) / 4
    assert [name for name, _ in short.parameter_groups()] == ["stem", "layer1", "layer2", "head"]


def test_stages_are_frozen_as_those_of_the_backbone_below():
    short = build(Net(Truncated(ResNet(18, frozen="layer1"), "layer2")), 2)
    assert [name for name, _ in short.parameter_groups()] == ["layer2", "head"]
    freeze(short.backbone, "")
    assert len(short.parameter_groups()) == 4


@pytest.mark.parametrize("last", ["layer9", "all"])
def test_a_stage_that_is_not_there_is_named(last):
    with pytest.raises(RecipeError, match=f"no stage '{last}' to stop at; choose one of stem, layer1"):
        build(Net(Truncated(ResNet(18), last)), 2)


def test_the_last_stage_must_be_named():
    with pytest.raises(RecipeError, match="last cannot be '': it takes a string of one or more characters"):
        Truncated(ResNet(18), "")
