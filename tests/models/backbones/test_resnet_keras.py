"""The residual network in Keras's form, against the counts Keras prints."""

import copy

import pytest
import torch
from torch import nn

from resdx.errors import RecipeError
from resdx.models.backbones.resnet import ResidualNetwork
from resdx.models.backbones.resnet_keras import build_backbone
from resdx.models.heads.specs import Mlp
from resdx.models.network import build
from resdx.models.specs import KerasResNet, Net, ResNet
from resdx.recipes.library import get_recipe


def trained_and_fixed(module: nn.Module) -> tuple[int, int]:
    norms = [one for one in module.modules() if isinstance(one, nn.BatchNorm2d)]
    return sum(p.numel() for p in module.parameters()), sum(2 * norm.num_features for norm in norms)


def test_without_a_head_it_has_the_count_keras_prints():
    with torch.device("meta"):
        trained, fixed = trained_and_fixed(build_backbone(KerasResNet(), weights=""))
    assert (trained, fixed, trained + fixed) == (23_534_592, 53_120, 23_587_712)


def test_the_covid_network_has_the_count_its_notebook_prints():
    with torch.device("meta"):
        network = build(get_recipe("covid_ct").model, 2)
    trained, fixed = trained_and_fixed(network)
    assert (trained, fixed, trained + fixed) == (24_064_342, 57_728, 24_122_070)
    assert trained_and_fixed(network.head.hidden[0])[0] == 2 * 2048
    parts = [84, 23_587_712, 8_192, 524_544, 1_024, 514]
    assert sum(parts) == 24_122_070


def test_biases_and_statistics_apart_it_is_our_network_with_the_stride_in_the_1x1():
    backbone = build_backbone(KerasResNet(), weights="").eval()
    ours = ResidualNetwork(ResNet(50, stride="1x1")).eval()
    state = {key: value for key, value in backbone.state_dict().items() if key in ours.state_dict()}
    ours.load_state_dict(state)
    assert set(backbone.state_dict()) - set(state) == {
        f"{name}.bias" for name, one in backbone.named_modules() if isinstance(one, nn.Conv2d)
    }
    for norm in (one for one in ours.modules() if isinstance(one, nn.BatchNorm2d)):
        norm.eps = 1.001e-5
    x = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(backbone.features(x), ours.features(x))


def test_batch_statistics_move_by_a_hundredth_and_pictures_are_taken_as_they_are():
    network = build(Net(KerasResNet(recolour=True), Mlp(8, norm=True)), 2)
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.01}
    assert {norm.eps for norm in norms} == {1.001e-5, 1e-3}
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(network.normalise(x), x)


def test_recolour_is_part_of_the_stem():
    backbone = build_backbone(KerasResNet(recolour=True, frozen="stem"), weights="")
    assert not any(parameter.requires_grad for parameter in backbone.conv1.parameters())
    whole = copy.deepcopy(backbone)
    whole.conv1 = backbone.conv1[1]
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval().features(x), whole.eval().features(backbone.conv1[0](x)))


def test_wrong_settings_are_refused_with_what_would_be_right():
    with pytest.raises(RecipeError, match=r"KerasResNet\.depth cannot be 18: it takes 50 or 101"):
        KerasResNet(18)
    with pytest.raises(RecipeError, match="no imagenet weights for KerasResNet"):
        KerasResNet(weights="imagenet")
