"""Pre-training: the loss of two views in closed form, a killed run, and a run that starts from the result."""

import json
import math
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from tiny import TINY_RESNET as TINY

from resdx.apps.cli.main import cli
from resdx.data.audit.audit import Audit
from resdx.data.audit.file_facts import Facts
from resdx.data.phantoms import draw_phantoms
from resdx.errors import AuditStop, RecipeError, RunError, WeightsError
from resdx.inference.logits import predict_logits
from resdx.models.network import build
from resdx.models.packed import read_seen
from resdx.models.specs import (
    LeNet,
    Net,
    Pretrained,
    ResNet,
    Truncated,
    innermost,
)
from resdx.recipes.learning import Training
from resdx.runs.provenance import learnt_before, seen_by, start_of
from resdx.runs.run import Run
from resdx.studies.external import external
from resdx.studies.stages import EVIDENCE, repeat, resume
from resdx.studies.start import asked_recipe, refuse_another, start
from resdx.training.pretraining.card import reserved_auroc
from resdx.training.pretraining.corpus import Member, gather
from resdx.training.pretraining.loop import Parts, pretrain, pretraining_recipe, vicreg
from resdx.transforms.augment import apply

SMALL = replace(pretraining_recipe(18, 32), learn=Training(epochs=1, batch=8, ema=0.9))


@pytest.fixture(scope="module")
def result(study, tmp_path_factory):
    """Weights that have learnt from the films, with their folder."""
    out = tmp_path_factory.mktemp("pretrained") / "out"
    with pytest.MonkeyPatch.context() as patch:  # which format is faster differs from one timing to the next
        patch.setattr("resdx.training.pretraining.loop._faster", lambda lesson: "float32")
        return pretrain([Member(study.run, "films", "CC0")], out, recipe=SMALL, parts=Parts(labels=1), quiet=True)


def test_equal_views_that_vary_and_do_not_repeat_each_other_cost_nothing():
    z = torch.cat([torch.eye(8), -torch.eye(8)]) * 4  # mean 0, no covariance, variance above 1
    assert float(vicreg(z, z)) == pytest.approx(0, abs=1e-6)
    assert float(vicreg(torch.zeros(4, 8), torch.zeros(4, 8))) == pytest.approx(25 * (1 - 0.01))  # collapsed: no variance


def test_the_loss_of_views_is_that_of_the_paper():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 32, 6))
    spread = np.mean([np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean() for z in (a, b)])
    covariance = sum((np.cov(z.T)[~np.eye(6, dtype=bool)] ** 2).sum() / 6 for z in (a, b))
    wanted = 25 * ((a - b) ** 2).mean() + 25 * spread + covariance
    assert float(vicreg(torch.tensor(a), torch.tensor(b))) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_views_grow_to_full_size_at_the_end(study, tmp_path, monkeypatch):
    sizes = []

    def noted(steps, images, keys, **how):
        sizes.append(how["size"])
        return apply(steps, images, keys, **how)

    monkeypatch.setattr("resdx.training.pretraining.loop.apply", noted)
    monkeypatch.setattr("resdx.training.pretraining.loop._faster", lambda lesson: "float32")
    recipe = replace(SMALL, learn=replace(SMALL.learn, start_size=16))
    pretrain([Member(study.run, "films", "CC0")], tmp_path / "out", recipe=recipe, parts=Parts(0, 1, 0), quiet=True)
    assert set(sizes) == {16, 32} and sizes == sorted(sizes)
    assert sizes.count(32) == pytest.approx(0.3 * len(sizes), abs=2)
    sizes.clear()
    small = recipe.set("learn.start_size", "64")  # larger than the pictures
    pretrain([Member(study.run, "films", "CC0")], tmp_path / "small", recipe=small, parts=Parts(0, 1, 0), quiet=True)
    assert set(sizes) == {32}


@pytest.mark.slow
def test_what_a_teacher_says_is_learnt_from_pictures_alone(study, tmp_path, monkeypatch):
    monkeypatch.setattr("resdx.training.pretraining.loop.TEACHER", Net(ResNet(18)))  # any network can teach
    monkeypatch.setattr("resdx.training.pretraining.loop.STEPS", 2)
    recipe = replace(SMALL, learn=replace(SMALL.learn, lr=3e-3))
    path = pretrain([Member(study.run, "films", "CC0")], tmp_path / "out", recipe=recipe, parts=Parts(0, 0, 1), quiet=True)
    steps = Run.open(path.parent, quiet=True).events("steps")
    assert steps[0]["teacher"] > 0.75 > 0.65 > steps[-1]["teacher"]  # standardised: saying nothing costs 1
    assert steps[-1]["labels"] == steps[-1]["views"] == 0


def test_weights_card_and_corpus_are_written(result, study):
    card = (result.parent / "card.md").read_text()
    assert "| films | CC0 |" in card and "Not a diagnostic model" in card
    rows = json.loads((result.parent / "corpus.json").read_text())["sets"]
    assert rows[0]["cases"] + rows[0]["reserved"] + sum(rows[0]["left_out"].values()) == len(study.run.manifest)
    assert len(read_seen(result).sha256) == rows[0]["cases"]


def test_heads_that_have_not_learnt_are_judged_by_a_regression_on_features(result, study):
    corpus = gather([Member(study.run, "films", "CC0")], 32)
    pool, network = corpus.pools[0], build(Net(ResNet(18)), 2, weights=result)
    found = reserved_auroc(corpus, network, heads=False)["films"]
    x, z = (predict_logits(network, pool.pictures.images, rows).embeddings for rows in (pool.rows, pool.reserved))
    scale = StandardScaler().fit(x.astype(np.float64))
    model = LogisticRegression(C=0.01, max_iter=500).fit(scale.transform(x), pool.targets.argmax(1))
    area = roc_auc_score(pool.reserved_truth[:, 1], model.decision_function(scale.transform(z)))
    assert found.value == pytest.approx(area, abs=0.01)
    logits = predict_logits(network, pool.pictures.images, pool.reserved).logits
    own = roc_auc_score(pool.reserved_truth[:, 1], logits[:, 1] - logits[:, 0])
    assert reserved_auroc(corpus, network, heads=True)["films"].value == pytest.approx(own)


def test_a_killed_run_goes_on_to_the_same_weights(result, study, tmp_path, monkeypatch):
    monkeypatch.setattr("resdx.training.pretraining.loop.STEPS", 3)
    monkeypatch.setattr("resdx.training.pretraining.loop._faster", lambda lesson: "float32")

    def killed(run, text):
        if text.startswith("step 6"):
            raise KeyboardInterrupt

    member = [Member(study.run, "films", "CC0")]
    with monkeypatch.context() as patch:
        patch.setattr(Run, "say", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(member, tmp_path / "out", recipe=SMALL, parts=Parts(labels=1), quiet=True)
    path = pretrain(member, tmp_path / "out", recipe=SMALL, parts=Parts(labels=1), quiet=True)
    ours, theirs = load_file(path), load_file(result)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_another_question_in_the_same_folder_is_refused(result, study):
    with pytest.raises(RunError, match="holds another pre-training"):
        pretrain([Member(study.run, "films", "CC0")], result.parent, recipe=SMALL, parts=Parts(labels=2), quiet=True)


@pytest.mark.parametrize("parts", [(0, 0, 0), (-1, 1, 0), (math.nan, 1, 0), (1, math.inf, 0)])
def test_parts_of_nothing_are_refused(parts):
    with pytest.raises(RunError, match="one of them is not 0"):
        Parts(*parts)


def test_an_honest_split_keeps_what_the_weights_have_seen_in_train(result, films, study):
    run = start(films, recipe=TINY, out=study.run.store / "from-result", weights=result, skip=EVIDENCE, quiet=True)
    for name in ("scan", "audit", "split"):
        repeat(Run.open(run.path, quiet=True), name)
    run = Run.open(run.path, quiet=True)
    facts = run.read_as("audit.json", "audit", Audit.from_json).facts
    seen = set(learnt_before(read_seen(result), facts))
    assert len(seen) > len(facts) / 2
    assert seen <= {case.id for case in run.cases("train")}
    assert len(run.cases("test")) > 0
    codes = [finding["code"] for finding in run.read("split.json", "split")["findings"]]
    assert "seen-in-pretraining" in codes


def test_a_run_that_would_test_on_what_its_weights_have_seen_stops(result, films, study):
    run = start(films, recipe=TINY, out=study.run.store / "stops", weights=result, protocol="assumed", skip=EVIDENCE, quiet=True)
    with pytest.raises(AuditStop, match=r"learnt from \d+ cases of the test part.*--accept seen-in-pretraining"):
        resume(run)


@pytest.fixture(scope="module")
def accepted(result, films, study):
    """A finished run that started from the weights and is tested on what they have seen."""
    asked = {"recipe": TINY, "weights": result, "protocol": "honest", "accept": ["seen-in-pretraining"], "quiet": True}
    run = start(films, out=study.run.store / "accepted", fold=0, folds=3, skip=EVIDENCE, **asked)
    resume(run.changed(choices={"dtype": "float32"}))
    return Run.open(run.path, quiet=True)


def test_what_was_accepted_is_stamped_on_every_page(accepted):
    assert "starting weights have learnt from cases of the test part" in accepted.metrics.stamp
    assert accepted.metrics.stamp in (accepted.path / "report.html").read_text()


def test_weights_of_a_run_have_seen_what_it_learnt_from_and_what_it_began_with(accepted, result, study, tmp_path):
    own = seen_by(study.run.path / "best.safetensors")
    learnt = [case for part in ("train", "tune", "calib") for case in study.run.cases(part)]
    assert len(own.sha256) == len(learnt)
    copied = shutil.copy(accepted.path / "best.safetensors", tmp_path / "renamed.safetensors")
    again = seen_by(Path(copied))
    assert len(again.sha256) > len(read_seen(result).sha256)
    assert again.sources["started from"]["sets"][0]["name"] == "films"


@pytest.mark.slow
def test_an_external_set_that_the_weights_have_seen_is_refused(result, films, study, tmp_path):
    draw_phantoms(tmp_path / "other", persons=40, size=48, seed=9)
    run = start(tmp_path / "other", recipe=TINY, out=study.run.store / "elsewhere", weights=result, skip=EVIDENCE, quiet=True)
    resume(run)
    with pytest.raises(AuditStop, match=r"\d+ pictures that the starting weights have learnt from"):
        external(Run.open(run.path, quiet=True), films)


def test_a_start_that_changes_after_the_split_is_refused(result, films, study, tmp_path):
    shutil.copy(result, tmp_path / "mine.safetensors")
    run = start(
        films, recipe=TINY, out=study.run.store / "changes", weights=tmp_path / "mine.safetensors", skip=EVIDENCE, quiet=True
    )
    for name in ("scan", "audit", "split"):
        repeat(Run.open(run.path, quiet=True), name)
    (tmp_path / "mine.safetensors").write_bytes(result.read_bytes() + b" ")
    with pytest.raises(RunError, match="has changed since the split"):
        repeat(Run.open(run.path, quiet=True), "train")


def test_weights_that_a_comparator_starts_from_are_asked_too(study, tmp_path):
    model = replace(study.run.recipe.model, backbone=Pretrained("mobilenetv2_100", weights=str(tmp_path / "mine.safetensors")))
    run = replace(study.run, recipe=replace(study.run.recipe, model=model))
    assert start_of(run) == tmp_path / "mine.safetensors"
    published = replace(model, backbone=replace(model.backbone, weights="imagenet"))
    assert start_of(replace(run, recipe=replace(run.recipe, model=published))) is None


def test_a_pretraining_has_no_stages_and_keeps_its_checkpoint(result):
    run = Run.open(result.parent, quiet=True)
    for work in (resume, lambda one: repeat(one, "scan")):
        with pytest.raises(RunError, match="the same `resdx pretrain` command goes on"):
            work(run)
    assert (result.parent / "state.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("learn.mixup", "0.2"), "no learn.mixup"),
        (("views", "8"), "has no views"),
        (("model.head.dropout", "0.5"), "has no model.head"),
        (("learn.batch", "2"), "at least 8"),
        (("model.backbone.frozen", "layer1"), "leaves nothing frozen"),
    ],
)
def test_settings_that_a_pretraining_does_not_have_are_refused(study, tmp_path, change, what):
    with pytest.raises(RecipeError, match=what):
        pretrain([Member(study.run, "films")], tmp_path / "out", recipe=SMALL.set(*change), quiet=True)
    assert not (tmp_path / "out").exists()


def test_weights_of_another_stride_are_refused(result):
    with pytest.raises(WeightsError, match="made for stem '7x7', not '3x3'"):
        build(Net(ResNet(18, stem="3x3")), 2, weights=result)


def test_a_flat_picture_is_like_no_other(result):
    seen = read_seen(result)
    flat = Facts("flat", "0" * 64, 8, 8, "PNG", "L", 8, 0.0, "00" * 32)
    assert learnt_before(replace(seen, perceptual=np.zeros_like(seen.perceptual)), [flat]) == {}


@pytest.mark.slow
def test_the_command_line_learns_from_folders(films, tmp_path):
    out = tmp_path / "out"
    asked = ["pretrain", f"one={films}", "--out", out, "--depth", 18, "--size", 32, "--licence", "one=CC0", "--json"]
    small = ["--set", "learn.epochs=1", "--set", "learn.batch=32", "--labels", 1, "--views", 0]
    found = CliRunner().invoke(cli, [str(word) for word in [*asked, *small]])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["sets"][0]["licence"] == "CC0"
    wrong = CliRunner().invoke(cli, [str(word) for word in [*asked, "--weight", "two=3"]])
    assert wrong.exit_code == 1 and "there is no set 'two'; the sets are one" in wrong.stderr


@pytest.mark.slow
def test_without_labels_any_folder_of_pictures_will_do(films, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(films.rglob("*.png"))):
        shutil.copy(path, flat / f"{number}.png")
    asked = [
        "pretrain",
        flat,
        "--out",
        tmp_path / "out",
        "--depth",
        18,
        "--size",
        32,
        "--set",
        "learn.epochs=1",
        "--set",
        "learn.batch=32",
    ]
    wrong = CliRunner().invoke(cli, [str(word) for word in [*asked, "--labels", 1]])
    assert (
        wrong.exit_code == 1 and "no class folders" in wrong.stderr and "from any folder of pictures: --labels 0" in wrong.stderr
    )
    (flat / "cases.csv").write_text("picture,grading,patient\n0.png,2,p0\n")
    wrong = CliRunner().invoke(cli, [str(word) for word in asked])
    assert wrong.exit_code == 1 and "no column is called like a file name (there are picture, grading, patient)" in wrong.stderr
    (flat / "cases.csv").unlink()
    found = CliRunner().invoke(cli, [str(word) for word in asked])
    assert found.exit_code == 0, found.output
    row = json.loads((tmp_path / "out" / "corpus.json").read_text())["sets"][0]
    assert row["cases"] + row["reserved"] == len(list(flat.iterdir())) and row["classes"] == []
    assert start_of(start(films, recipe=TINY, weights=tmp_path / "out" / "weights.safetensors", out=tmp_path / "run", quiet=True))


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Hosts that are asked for, none of which answers; nothing was downloaded before."""
    asked = []

    def refuse(host, *_, **__):
        asked.append(host)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: refuse(address))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RESDX_WEIGHTS", raising=False)
    return asked


@pytest.mark.slow
@pytest.mark.parametrize(
    "around", [lambda backbone: backbone, lambda backbone: Truncated(backbone, "layer3")], ids=["alone", "inside another"]
)
def test_our_own_weights_take_the_place_of_imagenets_and_that_is_said(around, result, films, tmp_path, monkeypatch, calls):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setattr("resdx.models.weights.SHIPPED", shelf)
    recipe = replace(TINY, model=replace(TINY.model, backbone=around(TINY.model.backbone)))
    asked = {"recipe": recipe, "weights": "imagenet", "skip": EVIDENCE, "quiet": True}
    run = start(films, out=tmp_path / "no-imagenet", **asked)
    with joblib.parallel_config(backend="threading"):
        for stage in ("scan", "audit", "split", "prepare"):
            repeat(Run.open(run.path, quiet=True), stage)
    assert not calls  # only training needs the weights
    before = (run.path / "split.csv").read_text()
    with pytest.raises(WeightsError, match=r"cannot be fetched .*no network"):  # nothing is shipped there
        resume(Run.open(run.path, quiet=True))
    assert calls == ["download.pytorch.org"]
    shutil.copy(result, shelf / "resnet18.safetensors")
    with pytest.raises(
        WeightsError, match=r"have learnt from persons of \d+ test cases, .* run `resdx split .*no-imagenet`, which"
    ):
        resume(Run.open(run.path, quiet=True))
    run = Run.open(run.path, quiet=True)
    assert innermost(run.recipe.model.backbone)[0].weights == "resdx"
    assert start_of(run) == shelf / "resnet18.safetensors"
    assert "cannot be had" in run.settings.choices["start"] and "starts from resdx's own" in (run.path / "log.txt").read_text()
    repeat(run, "split")
    assert (run.path / "split.csv").read_text() != before
    repeat(Run.open(run.path, quiet=True), "train")
    assert read_seen(run.path / "best.safetensors").sources["started from"] == read_seen(result).sources
    named, given = (build(run.recipe.model, 2, weights=path).backbone.state_dict() for path in (None, result))
    assert all(torch.equal(value, given[name]) for name, value in named.items())
    refuse_another(run, films, asked)
    with pytest.raises(
        WeightsError, match=r"no ResNet-18 among the weights 'resdx-views' .there are none.; choose another depth"
    ):
        asked_recipe(recipe, (), "resdx-views")


def test_only_a_resnet_starts_from_our_own_weights():
    with pytest.raises(WeightsError, match=r"ResNet only, not for LeNet\(.*leave out --weights resdx-views"):
        asked_recipe(replace(TINY, model=Net(LeNet())), (), "resdx-views")
