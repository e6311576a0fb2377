"""A packed backbone: rounding in closed form, the way into a network, and what the file says it has seen."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from resdx.errors import WeightsError
from resdx.models.network import build
from resdx.models.packed import Seen, pack, read_seen, unpack
from resdx.models.specs import Net, ResNet

SEEN = Seen({"sets": ["films"]}, np.arange(64, dtype=np.uint8).reshape(2, 32), np.full((2, 32), 7, np.uint8))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A backbone, its packed copy, and the file."""
    torch.manual_seed(0)
    network = build(Net(ResNet(18)), 2)
    batches = [network.normalise(torch.rand(8, 3, 32, 32)) for _ in range(4)]
    small, data = pack(network.backbone, batches, SEEN)
    path = tmp_path_factory.mktemp("packed") / "weights.safetensors"
    path.write_bytes(data)
    return network, small, path


def test_a_rounded_weight_is_off_by_half_a_step_of_its_channel_at_most(packed):
    network, _, path = packed
    back = unpack(load_file(path))
    for name, value in network.backbone.named_parameters():
        if value.ndim > 1:
            step = value.detach().flatten(1).abs().amax(1) / 127
            assert ((back[name] - value).flatten(1).abs().amax(1) <= step * 0.5001).all()


def test_a_network_that_starts_from_the_file_computes_what_the_packed_copy_does(packed):
    _, small, path = packed
    again = build(Net(ResNet(18)), 2, weights=path).eval()
    x = torch.rand(2, 3, 48, 48)
    assert torch.equal(again.backbone.eval()(x), small.eval()(x))


def test_batchnorm_has_the_plain_average_of_the_batches(packed):
    _, small, _ = packed
    torch.manual_seed(0)
    network = build(Net(ResNet(18)), 2)
    batches = [network.normalise(torch.rand(8, 3, 32, 32)) for _ in range(4)]
    seen = torch.stack([small.conv1(batch).mean((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(small.bn1.running_mean, seen, rtol=1e-4, atol=1e-5)


def test_the_file_is_a_quarter_as_large_and_says_what_it_has_seen(packed):
    _, _, path = packed
    assert path.stat().st_size < 11.5e6  # 11.2 million weights
    found = read_seen(path)
    assert dict(found.sources) == {"sets": ["films"]}
    np.testing.assert_array_equal(found.sha256, SEEN.sha256)
    np.testing.assert_array_equal(found.perceptual, SEEN.perceptual)


def test_a_file_of_someone_else_says_nothing(tmp_path):
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert read_seen(tmp_path / "other.safetensors") is None
    assert read_seen(tmp_path / "other.pth") is None


def test_a_file_without_its_sources_or_scales_is_refused(tmp_path, packed):
    _, _, path = packed
    tensors = load_file(path)
    save_file({key: value for key, value in tensors.items() if key.startswith("seen.")}, tmp_path / "bare.safetensors")
    with pytest.raises(WeightsError, match="fetch it again"):
        read_seen(tmp_path / "bare.safetensors")
    with pytest.raises(WeightsError, match=r"no scale\.conv1\.weight"):
        unpack({key: value for key, value in tensors.items() if key != "scale.conv1.weight"})


def test_sources_are_json_with_sorted_keys(packed):
    _, _, path = packed
    head = path.read_bytes()[8:2000].decode("latin-1")
    assert json.dumps(json.dumps({"sets": ["films"]}))[1:-1] in head
