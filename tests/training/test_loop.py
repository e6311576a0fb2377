"""Training: killed and resumed to the same bits, rates and sizes as their formulas say, and clear about what went wrong."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from tiny import TINY_RESNET

from resdx.errors import RecipeError, RunError
from resdx.inference.logits import predict_logits
from resdx.models.heads.specs import Mlp
from resdx.models.network import Network, build
from resdx.recipes.learning import Training
from resdx.runs.partition import Part, part_of
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.stages import repeat
from resdx.studies.start import start
from resdx.training.checkpoint import Progress
from resdx.training.loop import (
    _optimiser,
    bench_of,
    ema_update,
    fit,
    order_of,
    rate_at,
    run_epoch,
    size_at,
    steps_of,
)


def trained(run: Run, **learn: object) -> Network:
    """Train a run that is prepared, with other settings of learning."""
    run = run.changed(recipe=replace(run.recipe, learn=replace(run.recipe.learn, **learn)))
    prepared = prepared_of(run)
    return fit(run, prepared, *(part_of(run, prepared, name) for name in ("train", "tune")))


def progress_of(run: Run) -> dict[str, float]:
    with safe_open(run.path / "state.safetensors", "pt") as file:
        return json.loads(file.metadata()["state"])["progress"]


def part(truth: list[list[float]]) -> Part:
    ids = tuple(map(str, range(len(truth))))
    known = np.array(truth, np.float32)
    return Part(ids, ids, np.arange(len(ids)), np.arange(len(ids), dtype=np.uint64), known, known)


def test_killed_training_goes_on_to_the_same_bits(study, twin):
    run = twin("prepare")
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-m", "resdx", "train", str(run.path)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": threads}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 600
    while not run.events("epoch") and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(run.events("epoch")) == 1 and not (run.path / "scores-tune.npz").exists()
    repeat(run, "train")
    assert [event["epoch"] for event in run.events("epoch")] == [1, 2]
    for name in ("best.safetensors", "scores-tune.npz", "scores-calib.npz"):
        assert (run.path / name).read_bytes() == (study.run.path / name).read_bytes(), name


def test_head_phase_leaves_the_backbone_as_it_started(twin):
    run = twin("prepare")
    trained(run, epochs=1, head_epochs=1, ema=0.0)
    torch.manual_seed(run.settings.seed)
    start = build(run.recipe.model, 2).state_dict()
    end = load_file(run.path / "best.safetensors")
    assert all(torch.equal(end[key], value) for key, value in start.items() if key.startswith("trunk."))
    assert not torch.equal(end["head.linear.weight"], start["head.linear.weight"])


def test_a_head_may_begin_as_a_regression_on_what_the_backbone_makes(twin):
    run = twin("prepare")
    learn = replace(run.recipe.learn, head_penalty=0.1, class_weights="balanced")
    prepared = prepared_of(run)
    train = part_of(run, prepared, "train")
    bench = bench_of(run, learn, prepared, train)
    for network in (bench.network, bench.average):
        logits, features, _ = predict_logits(network, prepared.images, train.rows)
        answer = train.targets.argmax(1)
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500)
        x = features.astype(np.float64)
        x = (x - x.mean(0)) / np.maximum(x.std(0), 0.3 * np.sqrt(x.var(0).mean()))
        wanted = model.fit(x, answer).predict_log_proba(x)
        np.testing.assert_allclose(logits - logits[:, :1], wanted - wanted[:, :1], atol=5e-3)
    with pytest.raises(RecipeError, match=r"learn\.head_penalty begins a Linear\(\) head, not Mlp\(\); leave it out"):
        replace(run.recipe, learn=learn, model=replace(run.recipe.model, head=Mlp()))
    with pytest.raises(RecipeError, match=r"Training\.head_penalty cannot be -1: it takes a number of at least 0"):
        replace(learn, head_penalty=-1)


@pytest.mark.parametrize(("field", "value"), [("head_penalty", "0.01"), ("freeze_batchnorm", "true")])
def test_what_starts_from_features_needs_weights_that_know_something(field, value, films, tmp_path):
    change = (f"learn.{field}", value)
    with pytest.raises(
        RecipeError, match=rf"learn\.{field} keeps what the starting weights know, and there are none; .*--weights"
    ):
        start(films, recipe=TINY_RESNET, changes=[change], out=tmp_path / "run")
    assert start(films, recipe=TINY_RESNET, changes=[change], weights="resdx", out=tmp_path / "run").path.exists()


def test_frozen_norms_keep_the_statistics_they_start_with(twin):
    run = twin("prepare")
    prepared = prepared_of(run)
    train = part_of(run, prepared, "train")
    for frozen in (True, False):
        bench = bench_of(run, replace(run.recipe.learn, freeze_batchnorm=frozen), prepared, train)
        started = {name: value.clone() for name, value in bench.network.state_dict().items()}
        run_epoch(bench, train, Progress(), lambda: None)
        for name, value in bench.network.state_dict().items():
            if name.endswith(("running_mean", "running_var")):
                assert torch.equal(value, started[name]) == frozen
        weight = next(name for name in started if name.endswith("running_mean")).replace("running_mean", "weight")
        assert not torch.equal(bench.network.state_dict()[weight], started[weight])  # they learn all the same


def test_plateau_halves_the_rate_after_three_epochs_without_a_better_score(twin):
    run = twin("prepare")
    trained(run, epochs=4, head_epochs=4, schedule="plateau", lr=1e-12, weight_decay=0.0, ema=0.0)  # nothing can get better
    assert progress_of(run)["factor"] == 0.5
    assert progress_of(run)["waited"] == 3


def test_plateau_has_the_factor_patience_and_floor_it_is_given(twin):
    run = twin("prepare")
    settings = {"schedule": "plateau", "plateau_factor": 0.3, "plateau_patience": 1, "min_lr": 2e-13}
    trained(run, epochs=3, head_epochs=3, lr=1e-12, weight_decay=0.0, ema=0.0, **settings)
    assert (progress_of(run)["waited"], progress_of(run)["factor"]) == (2, pytest.approx(0.2))  # .09 would be below the floor


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_first_step_of_adam_is_its_gradient_over_its_size_and_epsilon(optimiser, study):
    network = build(study.run.recipe.model, 2)
    made = _optimiser(Training(lr=0.1, optimiser=optimiser, epsilon=0.1, weight_decay=0.0), network)
    bias = network.head.linear.bias
    bias.grad = torch.tensor([0.3, -0.02])
    before = bias.detach().clone()
    made.step()
    torch.testing.assert_close(before - bias.detach(), torch.tensor([0.1 * 0.3 / 0.4, 0.1 * -0.02 / 0.12]))


def test_patience_ends_the_training(twin):
    run = twin("prepare")
    trained(run, epochs=9, head_epochs=9, patience=1, lr=1e-12, weight_decay=0.0, ema=0.0)
    assert [event["epoch"] for event in run.events("epoch")] == [1, 2]


def test_loss_that_is_not_finite_is_an_error_and_keeps_nothing(twin):
    run = twin("prepare")
    with pytest.raises(RunError, match=r"the loss is not finite in epoch 1; lower learn\.lr \(now 1e\+30\) and train again"):
        trained(run, epochs=1, lr=1e30)
    assert not (run.path / "best.safetensors").exists() and not (run.path / "state.safetensors").exists()


def test_broken_or_foreign_checkpoint_is_an_error(twin):
    run = twin("prepare")
    trained(run, epochs=1)
    state = run.path / "state.safetensors"
    whole = state.read_bytes()
    for broken in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        state.write_bytes(broken)
        with pytest.raises(
            RunError, match=r"state\.safetensors is no checkpoint of this run \(.+\); delete it to train from the start"
        ):
            trained(run, epochs=3)
    for meta in (None, {"state": "{}"}, {"state": '{"progress": {"mood": 1}, "threads": 1}'}):
        save_file({"x": torch.zeros(2)}, state, meta)
        with pytest.raises(RunError, match="is no checkpoint of this run"):
            trained(run, epochs=3)


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0.1, lambda share: 1.0),
        ("plateau", 0.1, lambda share: 1.0),
        ("cosine", 0.0, lambda share: (1 + math.cos(math.pi * share)) / 2),
        ("cosine", 0.5, lambda share: 0.04 + 1.92 * share if share < 0.5 else (1 - math.cos(2 * math.pi * share)) / 2),
        (
            "onecycle",
            0.0,
            lambda share: (
                0.04 + 0.48 * (1 - math.cos(math.pi * share / 0.3))
                if share < 0.3
                else (1 + math.cos(math.pi * (share - 0.3) / 0.7)) / 2
            ),
        ),
    ],
)
def test_rate_follows_its_formula_after_the_head_phase(schedule, warmup, expected):
    learn = Training(epochs=6, head_epochs=2, schedule=schedule, warmup=warmup)
    rates = [rate_at(learn, step, 10) for step in range(60)]
    assert rates[:20] == [1.0] * 20
    np.testing.assert_allclose(rates[20:], [expected(k / 40) for k in range(40)], atol=1e-12)


def test_size_grows_in_steps_of_sixteen_and_ends_at_the_full_size():
    learn = Training(epochs=10, start_size=64)
    assert [size_at(learn, 128, epoch) for epoch in range(10)] == [64, 80, 80, 96, 112, 112, 128, 128, 128, 128]
    assert [size_at(learn, 100, epoch) for epoch in (0, 6, 9)] == [64, 100, 100]
    assert size_at(Training(), 128, 0) == size_at(Training(start_size=200), 128, 0) == 128


def test_last_batch_of_one_is_left_out():
    learn = Training(batch=8)
    assert [steps_of(learn, cases) for cases in (1, 8, 9, 10, 16, 17)] == [1, 1, 1, 2, 2, 2]


def test_natural_order_is_a_permutation_of_its_own_for_each_epoch():
    cases = part([[1, 0]] * 50)
    first, again, other = (order_of(Training(), cases, 3, epoch) for epoch in (0, 0, 1))
    assert sorted(first) == list(range(50))
    assert (first == again).all() and (first != other).any()


def test_balanced_order_draws_every_class_equally_often():
    cases = part([[1, 0, 0]] * 3600 + [[0, 1, 0]] * 360 + [[0, 0, 1]] * 40)
    drawn = cases.truth[order_of(Training(sampling="balanced"), cases, 0, 0)].sum(0)
    assert drawn.sum() == 4000
    np.testing.assert_allclose(drawn / 4000, 1 / 3, atol=4 * math.sqrt(2 / 9 / 4000))


def test_case_without_any_label_counts_as_a_frequent_one():
    cases = part([[1, 0]] * 900 + [[0, 1]] * 50 + [[0, 0]] * 25 + [[np.nan, 0]] * 25)
    drawn = np.bincount(order_of(Training(sampling="balanced"), cases, 0, 0), minlength=1000)
    np.testing.assert_allclose(drawn[950:].sum() / 1000, 50 / 900 / (2 + 50 / 900), atol=4 * math.sqrt(0.027 / 1000))


def test_average_follows_by_the_formula_of_the_moving_average():
    torch.manual_seed(0)
    average, network = (torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)) for _ in range(2))
    network(torch.randn(8, 3))  # gives BatchNorm statistics
    before, theirs = ({k: v.clone() for k, v in one.state_dict().items()} for one in (average, network))
    ema_update(average, network, 0.75)
    for key, value in average.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * before[key] + 0.25 * theirs[key])
        else:
            assert torch.equal(value, before[key])


def test_rates_fall_with_the_distance_from_the_head_and_norms_are_not_decayed():
    network = build(TINY_RESNET.model, 2)
    optimiser = _optimiser(Training(lr=0.1, lr_decay=0.5, weight_decay=0.3), network)
    settings = {
        parameter: (group["base"], group["weight_decay"]) for group in optimiser.param_groups for parameter in group["params"]
    }
    assert len(settings) == len(list(network.parameters()))
    for away, name in enumerate(("head", "layer4", "layer3", "layer2", "layer1", "conv1")):
        module = network.head if name == "head" else getattr(network.backbone, name)
        for parameter in module.parameters():
            assert settings[parameter] == (0.1 * 0.5**away, 0.3 if parameter.ndim > 1 else 0.0)
