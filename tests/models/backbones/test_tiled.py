"""A backbone on each tile of a sheet, against the same backbone on the tiles one by one."""

import numpy as np
import pytest
import torch

from resdx.errors import RecipeError
from resdx.models.freeze import freeze
from resdx.models.network import build, pool
from resdx.models.specs import Cnn, Net, ResNet, Tiled

SPEC = Tiled(Cnn((4, 8)), rows=2, columns=3, top=(1, 2))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build(Net(SPEC), 2).eval()


@pytest.fixture(scope="module")
def tiles():
    """(B, tiles, 3, 16, 16)."""
    return torch.rand(2, 6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def sheet(tiles):
    """(B, 6, 3, h, w) -> (B, 3, 2 h, 3 w), laid with a loop."""
    return torch.stack([torch.cat([torch.cat(list(row), 2) for row in (one[:3], one[3:])], 1) for one in tiles])


def test_embedding_is_mean_maximum_and_mean_of_the_two_highest_over_the_tiles(network, tiles):
    with torch.no_grad():
        alone = torch.stack([pool(network.backbone.inner.features(network.normalise(one))) for one in tiles])  # (B, 6, 8)
        ordered = alone.sort(1, descending=True).values
        expected = torch.cat([alone.mean(1), ordered[:, 0], ordered[:, :2].mean(1)], 1)
        torch.testing.assert_close(network.embed(sheet(tiles)), expected)
    assert network.channels == expected.shape[1] == 24


def test_maps_of_a_tile_lie_where_the_tile_lies(network, tiles):
    with torch.no_grad():
        maps = network.maps(sheet(tiles))
        own = network.backbone.inner.features(network.normalise(tiles[1]))
    assert maps.shape == (2, 24, 8, 12)
    torch.testing.assert_close(maps[1, :8, 4:, 4:8], own[4])
    shown = maps[1, 8:16].unflatten(1, (2, 4)).unflatten(3, (3, 4)).abs().sum((2, 4)) > 0  # (8, 2, 3): where the maximum stands
    assert (shown.sum((1, 2)) == 1).all()


def test_order_of_the_slices_does_not_matter(network, tiles):
    with torch.no_grad():
        torch.testing.assert_close(network(sheet(tiles)), network(sheet(tiles[:, [5, 2, 0, 4, 1, 3]])))


def test_stages_one_by_one_are_the_whole(network, tiles):
    x = network.normalise(sheet(tiles))
    with torch.no_grad():
        kept = network.run_stages(x, "block1", last="block1")
        torch.testing.assert_close(network.run_stages(kept, "block2"), network.backbone.features(x))


def test_what_is_left_over_of_a_sheet_is_dropped(network, tiles):
    wide = torch.nn.functional.pad(sheet(tiles), (0, 2, 0, 1), value=0.5)
    with torch.no_grad():
        torch.testing.assert_close(network(wide), network(sheet(tiles)))


def test_equal_tiles_share_what_is_highest(network, tiles):
    same = tiles[:, :1].expand(-1, 6, -1, -1, -1)
    with torch.no_grad():
        mean, most, two = network.embed(sheet(same)).chunk(3, 1)
    torch.testing.assert_close(most, mean)
    torch.testing.assert_close(two, mean)


def test_freezing_and_starting_weights_are_those_of_the_backbone_below():
    network = build(Net(Tiled(ResNet(18, frozen="layer2"))), 2).train()
    names = [name for name, _ in network.parameter_groups()]
    assert names == ["layer3", "layer4", "head"] and network.backbone.frozen == "layer2"
    freeze(network.backbone, "")
    assert len(network.parameter_groups()) == 6
    assert Tiled(ResNet(50, weights="imagenet", frozen="all")).weights == "imagenet"


def test_gradients_reach_the_first_layer(network, tiles):
    network.train()
    network(sheet(tiles)).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    network.eval()


def test_exported_graph_gives_the_same_for_any_number_of_sheets(network, tiles, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    x, batch = sheet(tiles), torch.export.Dim("batch", min=1)
    program = torch.onnx.export(network, (x,), dynamo=True, verbose=False, input_names=["x"], dynamic_shapes=({0: batch},))
    program.save(str(tmp_path / "tiles.onnx"))
    said = onnxruntime.InferenceSession(tmp_path / "tiles.onnx").run(None, {"x": x[:1].numpy()})[0]
    np.testing.assert_allclose(said, network(x[:1]).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"rows": 0}, "Tiled.rows cannot be 0: it takes a whole number of at least 1"),
        ({"top": (17,)}, "between 1 and 16 tiles, not 17"),
        ({"top": (0,)}, "not 0"),
    ],
)
def test_tiles_check_themselves(fields, what):
    with pytest.raises(RecipeError, match=what):
        Tiled(**fields)
