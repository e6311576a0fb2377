"""The residual network against exact counts, against timm's, and what freezing promises."""

import pytest
import torch
from torch import nn

from resdx.errors import RecipeError
from resdx.models.backbones.resnet import MEAN, STD, ResidualNetwork
from resdx.models.freeze import freeze, parameter_groups
from resdx.models.heads.specs import Linear, Mlp
from resdx.models.network import Network, build, pool
from resdx.models.specs import STAGES, Net, ResNet
from resdx.models.weights import save_state

torch.set_num_threads(1)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def lively(backbone: nn.Module) -> None:
    """Give BatchNorm statistics and gammas that are neither 0 nor 1, so that a mistake shows."""
    torch.manual_seed(0)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.4, 0.6)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)


def test_resnet50_has_the_published_counts():
    backbone = ResidualNetwork(ResNet(50))
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 53
    assert sum(conv.out_channels for conv in convolutions) == 26_560
    assert sum(conv.weight.numel() for conv in convolutions) == 23_454_912
    assert count(backbone) == 23_508_032
    assert count(backbone) + 26_560 + 2 * 26_560 == 23_587_712  # Keras counts its convolution biases and BatchNorm statistics too


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)])
def test_parameters_with_a_head_of_1000_classes(depth, parameters):
    with torch.device("meta"):
        backbone = ResidualNetwork(ResNet(depth))
    assert count(backbone) + backbone.channels * 1000 + 1000 == parameters


@pytest.mark.parametrize("depth", [18, 50])
def test_equals_timm_with_the_same_weights(depth):
    zoo = pytest.importorskip("resdx.models.backbones.timm_zoo")
    reference = zoo.timm().create_model(f"resnet{depth}", pretrained=False, num_classes=0).eval()
    ours = ResidualNetwork(ResNet(depth))
    lively(ours)
    reference.load_state_dict(ours.state_dict())
    x = torch.rand(2, 3, 65, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval().features(x), reference.forward_features(x), atol=1e-4, rtol=1e-4)


def test_stride_in_the_1x1_moves_the_stride_but_not_the_counts():
    ours = ResidualNetwork(ResNet(50, stride="1x1"))
    assert count(ours) == 23_508_032
    block = ours.get_submodule("layer2.0")
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    assert ours.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 2048, 2, 2)


@pytest.mark.parametrize(
    ("spec", "size", "side"),
    [
        (ResNet(18), 64, 2),
        (ResNet(18), 224, 7),
        (ResNet(18, last_stride=1), 64, 4),
        (ResNet(18, stem="3x3"), 32, 4),
        (ResNet(50, stem="3x3", last_stride=1), 32, 8),
    ],
)
def test_size_of_the_last_map(spec, size, side):
    backbone = ResidualNetwork(spec).eval()
    with torch.no_grad():
        assert backbone.features(torch.rand(1, 3, size, size)).shape == (1, backbone.channels, side, side)


def test_joined_maps_hold_the_mean_of_every_stage():
    backbone = ResidualNetwork(ResNet(18, multi_scale=True))
    lively(backbone)
    plain = ResidualNetwork(ResNet(18)).eval()
    plain.load_state_dict(backbone.eval().state_dict())
    x, means = torch.rand(2, 3, 64, 96), []
    with torch.no_grad():
        joined = backbone.features(x)
        for name in STAGES:
            x = plain.stage(name, x)
            means += [x.mean((2, 3))] if name != "stem" else []
    assert joined.shape == (2, 64 + 128 + 256 + 512, 2, 3) and backbone.channels == 960
    torch.testing.assert_close(pool(joined), torch.cat(means, 1))
    torch.testing.assert_close(joined[:, -512:], x)


def test_joined_maps_of_odd_sizes_and_of_a_last_stride_of_one_fit():
    for spec, side in ((ResNet(18, multi_scale=True), 3), (ResNet(18, multi_scale=True, last_stride=1), 5)):
        with torch.no_grad():
            assert ResidualNetwork(spec).eval().features(torch.rand(1, 3, 70, 70)).shape == (1, 960, side, side)


def test_extra_convolution_comes_last_and_starts_afresh_above_weights_that_lack_it(tmp_path):
    donor = build(Net(ResNet(18)), 2)
    save_state(donor.backbone, tmp_path / "donor.safetensors")
    backbone = build(Net(ResNet(18, extra=8, frozen="layer4")), 2, weights=tmp_path / "donor.safetensors").backbone
    assert torch.equal(backbone.layer4[1].conv2.weight, donor.backbone.layer4[1].conv2.weight)
    assert count(backbone) == count(donor.backbone) + 512 * 9 * 8 + 2 * 8
    assert (backbone.channels, [name for name, _ in parameter_groups(backbone)]) == (8, ["extra"])
    save_state(backbone, tmp_path / "whole.safetensors")
    again = build(Net(ResNet(18, extra=8)), 2, weights=tmp_path / "whole.safetensors").backbone
    assert torch.equal(again.extra[0].weight, backbone.extra[0].weight)
    with torch.no_grad():
        assert again.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 8, 2, 2)


@pytest.mark.parametrize("depth", [18, 50])
def test_every_block_without_projection_starts_as_the_identity(depth):
    backbone = ResidualNetwork(ResNet(depth))
    blocks = [block for name in STAGES[1:] for block in backbone.get_submodule(name) if block.downsample is None]
    assert len(blocks) == {18: 5, 50: 12}[depth]
    for block in blocks:
        x = torch.rand(2, block.conv1.in_channels, 5, 5)
        torch.testing.assert_close(block.train()(x), x)


def test_convolutions_start_with_the_variance_he_gives_for_fan_out():
    torch.manual_seed(0)
    conv = ResidualNetwork(ResNet(18)).get_submodule("layer4.1.conv1")
    assert conv.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


def test_frozen_part_keeps_weights_and_statistics_through_training():
    backbone = ResidualNetwork(ResNet(18, frozen="layer2")).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimiser = torch.optim.SGD(backbone.parameters(), lr=0.1)
    backbone.features(torch.rand(2, 3, 64, 64)).square().mean().backward()
    optimiser.step()
    moved = {key.split(".")[0] for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"layer3", "layer4"}
    assert not backbone.layer2[0].bn1.training and backbone.layer3[0].bn1.training


def test_frozen_stages_can_be_set_free_later():
    backbone = ResidualNetwork(ResNet(18, frozen="all")).train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
    freeze(backbone, "stem")
    assert [name for name, _ in parameter_groups(backbone)] == ["layer1", "layer2", "layer3", "layer4"]
    freeze(backbone, "")
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert all(module.training for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
    backbone.eval()
    freeze(backbone, "layer1")
    assert not any(module.training for module in backbone.modules())


def test_groups_hold_every_parameter_once_from_stem_to_head():
    network = build(Net(ResNet(18)), 2)
    groups = network.parameter_groups()
    assert [name for name, _ in groups] == [*STAGES, "head"]
    held = [parameter for _, parameters in groups for parameter in parameters]
    assert len(held) == len({id(parameter) for parameter in held}) == len(list(network.parameters()))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"depth": 20}, "ResNet.depth cannot be 20: it takes 18, 34, 50 or 101"),
        ({"depth": 18, "stride": "1x1"}, "depth 50"),
        ({"frozen": "layer5"}, "'layer4'"),
        ({"last_stride": 3}, "1 or 2"),
        ({"extra": -1}, "ResNet.extra cannot be -1: it takes a whole number of at least 0"),
        ({"frozen": "extra"}, "no stage 'extra'"),
        ({"weights": "imagenet", "stem": "3x3"}, "stem='3x3'"),
        ({"weights": "imagenet", "stride": "1x1"}, "stride='1x1'"),
    ],
)
def test_wrong_settings_are_refused_with_what_would_be_right(settings, words):
    with pytest.raises(RecipeError, match=words):
        ResNet(**settings)


def test_freezing_up_to_an_unknown_stage_is_refused():
    with pytest.raises(RecipeError, match="'layer3'"):
        freeze(ResidualNetwork(ResNet(18)), "layer9")


def network(head: Linear | Mlp | None = None) -> Network:
    torch.manual_seed(0)
    made = build(Net(ResNet(18), head or Linear()), 3)
    lively(made)
    return made.eval()


def test_class_activation_maps_average_to_the_logits():
    net = network()
    with torch.no_grad():
        logits, _, maps = net.answer(torch.rand(2, 3, 64, 96))
        activation = torch.einsum("behw,ke->bkhw", maps, net.head.linear.weight)
        torch.testing.assert_close(activation.mean((2, 3)) + net.head.linear.bias, logits)


def test_answer_gives_what_the_single_calls_give():
    net, x = network(Mlp(8)), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        logits, embedding, maps = net.answer(x)
        for given, wanted in ((logits, net(x)), (embedding, net.embed(x)), (maps, net.maps(x)), (embedding, pool(maps))):
            torch.testing.assert_close(given, wanted)
    assert (logits.shape, embedding.shape, maps.shape) == ((2, 3), (2, net.channels), (2, 512, 2, 2))


def test_a_kept_prefix_and_the_rest_give_the_same_as_the_whole():
    net, x = network(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        kept = net.run_stages(net.normalise(x), "stem", last="layer2")
        torch.testing.assert_close(net.head(pool(net.run_stages(kept, "layer3"))), net(x))


def test_mean_colour_of_imagenet_is_normalised_to_zero_and_one_deviation_to_one():
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    x = torch.stack([mean, mean + std]).view(2, 3, 1, 1)
    torch.testing.assert_close(network().normalise(x)[:, 0, 0, 0], torch.tensor([0.0, 1.0]))


def test_head_starts_at_the_given_bias():
    net = build(Net(ResNet(18)), 2, bias=(-0.1, 0.7)).eval()
    assert net.head.linear.bias.tolist() == pytest.approx([-0.1, 0.7])


def test_memory_format_changes_nothing_but_speed():
    net, x = network(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        plain = net(x)
        torch.testing.assert_close(net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last)), plain)
