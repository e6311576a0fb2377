"""MobileNet V1 against its published counts and against timm's."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from resdx.errors import RecipeError
from resdx.models.backbones.mobilenet import build_backbone
from resdx.models.specs import MobileNetV1


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def statistics(module: nn.Module) -> int:
    return sum(2 * norm.num_features for norm in module.modules() if isinstance(norm, nn.BatchNorm2d))


def test_whole_width_has_the_count_keras_prints():
    backbone = build_backbone(MobileNetV1(), weights="")
    assert count(backbone) == 3_206_976
    assert count(backbone) + statistics(backbone) + (1024 + 1) * 1000 == 4_253_864


@pytest.mark.parametrize("width", [0.25, 0.5])
def test_width_multiplies_channels_and_so_all_but_squares_the_count(width):
    backbone = build_backbone(MobileNetV1(width), weights="")
    wide = [int(channels * width) for channels in (32, 64, *[128] * 2, *[256] * 2, *[512] * 6, *[1024] * 2)]
    pairs = list(pairwise(wide))
    assert count(backbone) == 27 * wide[0] + 2 * wide[0] + sum(9 * i + 2 * i + i * o + 2 * o for i, o in pairs)
    assert backbone.channels == 1024 * width


def test_equals_timm_with_the_same_weights():
    zoo = pytest.importorskip("resdx.models.backbones.timm_zoo")
    theirs = zoo.timm().create_model("mobilenetv1_100", pretrained=False, num_classes=0).eval()
    ours = build_backbone(MobileNetV1(), weights="").eval()
    tensors = theirs.state_dict()
    assert [value.shape for value in ours.state_dict().values()] == [value.shape for value in tensors.values()]
    ours.load_state_dict(dict(zip(ours.state_dict(), tensors.values(), strict=True)))
    assert count(ours) == count(theirs)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours.features(x), theirs.forward_features(x), atol=1e-4, rtol=1e-4)


def test_a_stage_ends_where_the_map_is_halved_next():
    backbone, x = build_backbone(MobileNetV1(0.125), weights=""), torch.randn(2, 3, 64, 64)
    sides = []
    with torch.no_grad():
        for name in backbone.names:
            x = backbone.stage(name, x)
            sides.append(x.shape[2])
    assert sides == [32, 32, 16, 8, 4, 2]


def test_a_width_out_of_range_is_refused():
    with pytest.raises(RecipeError, match=r"MobileNetV1\.width cannot be 0\.01: it takes a number from 0\.125 to 2"):
        MobileNetV1(0.01)
