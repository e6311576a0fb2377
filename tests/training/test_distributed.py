"""Several processes come to what one process does."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from resdx.errors import RunError
from resdx.models.backbones import timm_zoo
from resdx.models.network import build
from resdx.recipes.learning import FeatureClassifier
from resdx.runs.partition import part_of
from resdx.runs.prepared import prepared_of
from resdx.studies.stages import repeat, resume
from resdx.studies.start import start
from resdx.training import distributed as ranks
from resdx.training.checkpoint import Progress
from resdx.training.distributed import shard, sync_batchnorm
from resdx.training.loop import bench_of, run_epoch


@pytest.fixture
def exact(twin):
    """A run done up to prepare whose training keeps rounding small: float32, and steps in proportion to the gradient."""
    run = twin("prepare")
    learn = replace(run.recipe.learn, epochs=1, optimiser="sgd", mixup=0.2, class_weights="balanced", label_smoothing=0.1)
    return run.changed(recipe=replace(run.recipe, learn=learn), choices={"dtype": "float32"})


@pytest.mark.slow
def test_two_processes_come_to_the_weights_of_one(exact):
    other = replace(exact, path=exact.path.with_name(f"{exact.path.name}-together"))
    shutil.copytree(exact.path, other.path)
    repeat(exact, "train")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [*torchrun, "-m", "resdx", "train", str(other.path), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["made"][0] == "best.safetensors"  # said once
    assert len(other.events("epoch")) == 1  # and written once
    assert exact.events("epoch")[0]["loss"] == pytest.approx(other.events("epoch")[0]["loss"], rel=1e-4)
    one, two = (load_file(run.path / "best.safetensors") for run in (exact, other))
    start = build(exact.recipe.model, 2).state_dict()
    assert one.keys() == two.keys() and any("running_var" in key for key in one)
    for key, value in one.items():
        if value.is_floating_point() and "running" in key:
            assert torch.allclose(value, two[key], rtol=1e-3, atol=1e-5), key
    moved = torch.cat([(one[key] - start[key]).flatten() for key in one if "weight" in key])
    apart = torch.cat([(one[key] - two[key]).flatten() for key in one if "weight" in key])
    assert apart.norm() < 1e-3 * moved.norm()
    np.testing.assert_allclose(exact.scores("calib").logits, other.scores("calib").logits, atol=1e-3)


def test_what_several_processes_cannot_do_is_said(twin, films, tmp_path, monkeypatch):
    run = twin("train")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for work in (lambda: repeat(run, "evaluate"), lambda: resume(run), lambda: start(films, out=tmp_path / "run")):
        with pytest.raises(RunError, match="several processes can train together, and do nothing else"):
            work()
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(RunError, match="tiny trains no one network, so one process is enough"):
        repeat(replace(run, recipe=replace(run.recipe, learn=FeatureClassifier())), "train")


@pytest.mark.parametrize("cases", [1, 2, 7, 32])
def test_shares_make_the_whole_batch(cases, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for number in range(3):
        monkeypatch.setenv("RANK", str(number))
        shares += range(cases)[shard(cases)]
    assert shares == [*range(cases)]


def test_one_process_keeps_torchs_own_batchnorm():
    network = nn.Sequential(nn.BatchNorm2d(2))
    sync_batchnorm(network)
    assert type(network[0]) is nn.BatchNorm2d and torch.equal(network[0](torch.zeros(2, 2, 1, 1)), torch.zeros(2, 2, 1, 1))


PROGRAM = """
import copy, sys
import torch
from torch import nn
from resdx.training import distributed as ranks

torch.manual_seed(0)
body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
x, y = torch.randn(5, 1, 8, 8), torch.tensor([0, 1, 1, 0, 1])
alone = copy.deepcopy(body)
ranks.join()
ranks.sync_batchnorm(body)
for cases in (5, 2):  # the second leaves a process without any
    for network, share in ((body, ranks.shard(cases)), (alone, slice(cases))):
        network.zero_grad()
        said = network(x[:cases][share])
        loss = nn.functional.cross_entropy(ranks.all_gather(said, cases) if network is body else said, y[:cases])
        loss.backward()
    ranks.all_reduce_gradients(body)
    for one, other in zip(body.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
for one, other in zip(body.buffers(), alone.buffers(), strict=True):
    torch.testing.assert_close(one, other)
assert ranks.broadcast(7 if not ranks.rank() else None) == 7
ranks.leave()
"""


@pytest.mark.slow
def test_three_processes_have_the_gradients_of_one_also_where_a_share_is_empty(tmp_path):
    (tmp_path / "three.py").write_text(PROGRAM)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "3",
        str(tmp_path / "three.py"),
    ]
    told = subprocess.run(torchrun, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("learn", [{"mixup": 0.2}, {}], ids=["mixup", "plain"])
def test_a_last_batch_smaller_than_the_processes_is_learnt_from(twin, monkeypatch, learn):
    run = twin("prepare")
    run = run.changed(
        recipe=replace(run.recipe, learn=replace(run.recipe.learn, epochs=1, batch=len(run.cases("train")) - 2, **learn)),
        choices={"dtype": "float32"},
    )
    prepared = prepared_of(run)
    part = part_of(run, prepared, "train")
    bench = bench_of(run, run.recipe.learn, prepared, part)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "0")  # whose share of the last two is empty
    monkeypatch.setattr(ranks, "all_gather", lambda share, cases: torch.zeros(cases, 2) + share.sum())
    monkeypatch.setattr(ranks, "all_reduce_gradients", lambda network: None)
    assert np.isfinite(run_epoch(bench, part, Progress(), lambda: None))


@pytest.mark.slow
def test_a_training_that_is_finished_lets_the_other_processes_go(twin):
    run = twin("train")
    (run.path / "familiarity.safetensors").unlink()  # killed before its last file
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "resdx", "train", str(run.path)]
    told = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200)
    assert told.returncode == 0, told.stderr
    assert (run.path / "familiarity.safetensors").exists()


def test_the_activation_of_timms_batchnorm_is_kept(monkeypatch):
    norm = timm_zoo.timm().layers.BatchNormAct2d(3).train()
    images = torch.randn(4, 3, 5, 5)
    expected = norm(images)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks._Sum, "apply", staticmethod(lambda share: share))  # the other process has nothing
    sync_batchnorm(norm)
    assert type(norm) is ranks._SyncBatchNormAct
    torch.testing.assert_close(norm(images), expected)
