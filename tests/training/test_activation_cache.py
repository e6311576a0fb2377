"""A frozen part that is run once.

The same weights as running it anew, in a fraction of the disk that was said, and gone afterwards.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from resdx.errors import RecipeError, RunError
from resdx.runs.partition import part_of
from resdx.runs.prepared import prepared_of
from resdx.training import activation_cache as frozen
from resdx.training.activation_cache import cache_activations
from resdx.training.loop import bench_of, fit


def trained(run, stage, dtype, **learn):
    """The weights after training with a frozen part."""
    model = replace(run.recipe.model, backbone=replace(run.recipe.model.backbone, frozen=stage))
    recipe = replace(run.recipe, model=model, learn=replace(run.recipe.learn, epochs=3, cached_views=2, **learn))
    run = run.changed(recipe=recipe, choices={"dtype": dtype})
    prepared = prepared_of(run)
    fit(run, prepared, *(part_of(run, prepared, name) for name in ("train", "tune")))
    return load_file(run.path / "best.safetensors")


@pytest.mark.parametrize("stage", ["block3", "all"])
def test_training_on_what_was_kept_gives_the_same_weights(twin, stage):
    kept, anew = (trained(twin("prepare"), stage, "float32", cache_gb=limit) for limit in (8.0, 0.0))
    assert kept.keys() == anew.keys()
    for name, value in kept.items():
        torch.testing.assert_close(value, anew[name], rtol=1e-4, atol=1e-5, msg=name)


def test_bfloat16_keeps_what_autocast_computes(twin):
    kept, anew = (trained(twin("prepare"), "block3", "bfloat16", cache_gb=limit) for limit in (8.0, 0.0))
    for name in ("head.linear.weight", "trunk.block4.0.weight"):
        torch.testing.assert_close(kept[name], anew[name], rtol=0.05, atol=2e-3)


def frozen_to_layer1(resnet_twin, views):
    """A run whose first stages are frozen, with what `keep` asks for."""
    run = resnet_twin("prepare")
    model = replace(run.recipe.model, backbone=replace(run.recipe.model.backbone, frozen="layer1"))
    learn = replace(run.recipe.learn, cached_views=views)
    run = run.changed(recipe=replace(run.recipe, model=model, learn=learn), choices={"dtype": "float32"})
    prepared = prepared_of(run)
    part = part_of(run, prepared, "train")
    return run, prepared, part, bench_of(run, learn, prepared, part).network


def test_what_is_kept_is_the_frozen_part_of_each_view(resnet_twin):
    run, prepared, part, network = frozen_to_layer1(resnet_twin, 2)
    kept = cache_activations(run, network, prepared, part, "float32", views=2)
    assert kept.values.shape == (2 * len(part.ids), 64, 8, 8) and kept.stage == "layer2"
    assert not np.array_equal(kept.values[0], kept.values[len(part.ids)])  # another variation
    at = np.array([3, 1])
    images = frozen.to_tensor(prepared.images[part.rows[at]], torch.device("cpu"))
    images = frozen.apply(run.recipe.augment, images, part.keys[at], seed=run.settings.seed, epoch=1)
    with torch.no_grad():
        expected = network.eval().run_stages(network.normalise(frozen.three_channels(images)), "stem", last="layer1")
    torch.testing.assert_close(kept.batch(at, 1, torch.device("cpu")), expected, rtol=1e-4, atol=1e-5)
    again = cache_activations(run, network, prepared, part, "float32", views=2)
    assert np.array_equal(again.values, kept.values)


def test_other_pictures_of_the_same_names_are_run_anew(resnet_twin, tmp_path):
    run, prepared, part, network = frozen_to_layer1(resnet_twin, 1)
    kept = cache_activations(run, network, prepared, part, "float32", views=1)
    other = replace(prepared, folder=tmp_path / "other", images=255 - np.asarray(prepared.images))
    assert not np.array_equal(cache_activations(run, network, other, part, "float32", views=1).values, kept.values)
    both = sum(path.stat().st_size for path in run.path.glob("activations-*")) / 1e9
    tight = replace(run, recipe=replace(run.recipe, learn=replace(run.recipe.learn, cache_gb=0.9 * both)))
    third = replace(prepared, folder=tmp_path / "third")
    assert cache_activations(tight, network, third, part, "float32", views=1) is None  # all that is kept counts


def test_nothing_is_left_on_the_disk_and_the_limit_is_said(twin, capsys):
    run = replace(twin("prepare"), quiet=False)
    trained(run, "block3", "float32", cache_gb=1e-6)
    (run.path / "state.safetensors").unlink()  # else there is nothing left to train
    trained(run, "block3", "float32")
    said = (run.path / "log.txt").read_text()
    assert "more than learn.cache_gb=1e-06; they are run anew in every epoch" in said
    assert "block1 to block3 are frozen: 2 x" in said and "are run once and kept in 0.0 GB" in said
    assert not list(run.path.glob("*activations*"))


def test_a_disk_that_is_full_is_said_and_keeps_nothing(twin, monkeypatch):
    def full(path, shape, kind):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frozen, "reserve", full)
    run = twin("prepare")
    with pytest.raises(RunError, match=r"No space left on device.*lower learn\.cache_gb"):
        trained(run, "block3", "float32")
    assert not list(run.path.glob("*activations*"))


def test_settings_that_contradict_are_refused(study):
    recipe = study.run.recipe
    with pytest.raises(RecipeError, match=r"set model\.backbone\.frozen"):
        replace(recipe, learn=replace(recipe.learn, cached_views=2))
    with pytest.raises(RecipeError, match="neither mixup nor start_size"):
        replace(recipe.learn, cached_views=2, mixup=0.2)
