"""Comparators from timm: the shared API, the MobileNet-V2 weights, and BatchNorm given back."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from places import REPOSITORY, SHARED
from torch import nn

from resdx.errors import RecipeError, WeightsError
from resdx.models.freeze import freeze
from resdx.models.heads.specs import Mlp
from resdx.models.network import build
from resdx.models.specs import Net, Pretrained

zoo = pytest.importorskip("resdx.models.backbones.timm_zoo")
from resdx.models.batchnorm import rebatchnorm  # noqa: E402

torch.set_num_threads(1)
FOLDER = SHARED / "weights"
shared = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the MobileNet-V2 weights in ../shared/weights")
NAMES = ("mobilenetv2_100", "mobilenetv2_035")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty cache; the shared weights, where they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RESDX_WEIGHTS", raising=False)
    if FOLDER.is_dir():
        monkeypatch.setenv("RESDX_WEIGHTS", str(FOLDER))


def picture(size: int = 96) -> torch.Tensor:
    """Two pictures of a bright disc on a sloping ground, (2, 3, size, size) in [0, 1]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    disc = ((x - 0.4).square() + (y - 0.6).square() < 0.06).float()
    one = torch.stack([0.5 * x + 0.4 * disc, 0.5 * y + 0.2 * disc, 0.3 * x * y])
    return torch.stack([one, one.flip(2)])


@pytest.mark.parametrize(
    ("name", "channels", "parameters", "stages"),
    [
        ("vgg16", 512, 14_714_688, 5),
        ("densenet121", 1024, 6_953_856, 5),
        ("mobilenetv1_100", 1024, 3_206_976, None),
        ("mobilenetv2_100", 1280, 2_223_872, 9),
        ("resnet18", 512, 11_176_512, 1),
        ("googlenet", 1024, 5_599_904, 5),
    ],
)
def test_maps_count_and_stages_of_comparators(name, channels, parameters, stages):
    network = build(Net(Pretrained(name), Mlp(8)), 3).eval()
    backbone = network.backbone
    assert backbone.channels == channels
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters
    held = [parameter for _, group in network.parameter_groups() for parameter in group]
    assert len({id(parameter) for parameter in held}) == len(held) == len(list(network.parameters()))
    assert stages is None or len(backbone.stages()) == stages
    with torch.no_grad():
        maps = network.maps(picture(64))
        assert maps.shape == (2, channels, 2, 2)
        torch.testing.assert_close(network.run_stages(network.normalise(picture(64)), next(iter(backbone.stages()))), maps)
        assert network(picture(64)).shape == (2, 3)


def test_frozen_block_keeps_weights_and_statistics_through_training():
    network = build(Net(Pretrained("mobilenetv2_035", frozen="block3")), 2).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network(picture(64)).square().sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert not any(
        key.startswith(("trunk.body.conv_stem", "trunk.body.bn1", *(f"trunk.body.blocks.{n}." for n in range(3))))
        for key in moved
    )
    assert any(key.startswith("trunk.body.blocks.3.") for key in moved)
    freeze(network.backbone, "all")
    assert [name for name, _ in network.train().parameter_groups()] == ["head"]
    assert not any(module.training for module in network.backbone.modules() if isinstance(module, nn.BatchNorm2d))


def test_unknown_names_and_stages_are_answered_with_known_ones():
    with pytest.raises(RecipeError, match="did you mean vgg16"):
        build(Net(Pretrained("vgg-16")), 2)
    with pytest.raises(RecipeError, match="'block5'"):
        build(Net(Pretrained("mobilenetv2_035", frozen="layer2")), 2)
    with pytest.raises(RecipeError, match="choose a convolutional network"):
        build(Net(Pretrained("vit_tiny_patch16_224")), 2)


def test_a_classifiers_file_loads_strictly_into_its_backbone(tmp_path):
    donor = zoo.timm().create_model("resnet18", pretrained=False)
    torch.save(donor.state_dict(), tmp_path / "donor.pth")
    network = build(Net(Pretrained("resnet18", weights=str(tmp_path / "donor.pth"))), 2)
    assert torch.equal(network.backbone.body.conv1.weight, donor.conv1.weight)
    torch.save({key: value for key, value in donor.state_dict().items() if key != "conv1.weight"}, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match="do not fit resnet18"):
        build(Net(Pretrained("resnet18")), 2, weights=tmp_path / "less.pth")


def test_googlenet_takes_a_classifiers_file_of_torchvision_without_its_classifiers(tmp_path):
    donor = zoo._zoo("torchvision.models", "googlenet").googlenet(weights=None, aux_logits=True, init_weights=False).eval()
    torch.save(donor.state_dict(), tmp_path / "donor.pth")
    network = build(Net(Pretrained("googlenet", weights=str(tmp_path / "donor.pth"))), 2).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        ours = network.backbone.features(x)
        for name, part in donor.named_children():
            x = x if name.startswith(("aux", "avgpool", "dropout", "fc")) else part(x)
    torch.testing.assert_close(ours, x)
    torch.save({"conv1.conv.weight": torch.zeros(3)}, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match="belongs to another network"):
        build(Net(Pretrained("googlenet")), 2, weights=tmp_path / "less.pth")


def test_weights_without_a_hash_are_not_fetched():
    with pytest.raises(WeightsError, match="--weights FILE"):
        build(Net(Pretrained("mobilenetv1_100", weights="imagenet")), 2)


def test_mobilenet_weights_that_are_nowhere_are_asked_for(monkeypatch):
    monkeypatch.delenv("RESDX_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match=r"mobilenet_v2_0\.35_224_notop_fp32\.npz is neither"):
        build(Net(Pretrained("mobilenetv2_035", weights="imagenet")), 2)


def test_another_npz_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", weight=np.zeros(3))
    with pytest.raises(WeightsError, match="is not the published"):
        build(Net(Pretrained("mobilenetv2_035", weights=str(tmp_path / "a.npz"))), 2)


@shared
@pytest.mark.parametrize("name", NAMES)
def test_features_of_imagenet_mobilenets_are_alive(name):
    network = build(Net(Pretrained(name, weights="imagenet")), 2).eval()
    with torch.no_grad():
        embedding = network.embed(picture(224))
    assert torch.isfinite(embedding).all()
    assert 0 <= embedding.min() <= embedding.max() <= 6  # ReLU6
    assert 0.2 < (embedding > 0.05).float().mean() < 0.99
    mirrored, other = torch.cosine_similarity(embedding[:1], torch.stack([embedding[1], network.embed(0 * picture(224))[0]]))
    assert mirrored > 0.9 > other


@shared
@pytest.mark.parametrize("name", NAMES)
def test_ranges_are_those_of_a_trained_network(name):
    """Wrong order or padding of the layers would blow up or kill the maps: each layer's deviation stays within sane bounds."""
    network = build(Net(Pretrained(name, weights="imagenet")), 2).eval()
    spread = []
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.register_forward_hook(lambda _module, _inputs, output: spread.append(output.std().item()))
    with torch.no_grad():
        network(picture(224))
    assert len(spread) == 52
    assert 0.05 < min(spread) < max(spread) < 30


@shared
def test_batchnorm_given_back_leaves_the_outputs_and_normalises():
    network = build(Net(Pretrained("mobilenetv2_100", weights="imagenet")), 3).eval()
    network.head.linear.weight.data.mul_(100)
    assert network.backbone.folded
    with torch.no_grad():
        before = network(picture())
    rebatchnorm(network, [picture(), 1 - picture()])
    assert not network.backbone.folded and not network.training
    with torch.no_grad():
        torch.testing.assert_close(network(picture()), before, atol=1e-4, rtol=1e-4)
        batch = torch.cat([picture(), 1 - picture()])
        calm = network(batch)
        torch.testing.assert_close(copy.deepcopy(network).train()(batch), calm, atol=0.02, rtol=0.02)


def test_measured_statistics_are_mean_and_variance_of_all_pixels():
    torch.manual_seed(0)
    network = build(Net(Pretrained("mobilenetv2_035")), 2).eval()
    rebatchnorm(network, [picture(32)[:1], picture(32)[1:]])
    norm = network.backbone.body.bn1
    with torch.no_grad():
        x = network.backbone.body.conv_stem(network.normalise(picture(32)))
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, x.var((0, 2, 3), correction=0))


def test_timm_is_imported_only_for_a_comparator_and_its_absence_answered_with_the_pip_command():
    code = """
import sys
from resdx.models import Net, Pretrained
from resdx.models.network import build
assert not {"timm", "torchvision"} & set(sys.modules)
sys.modules["timm"] = None
build(Net(Pretrained("vgg16")), 2)
"""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert answer.stderr.rstrip().endswith('needs timm, which is not installed; run: pip install "resdx[zoo]"')
