"""Leaks looked for on purpose: nothing that is fitted or varied may see a case of another part."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from resdx.data.audit.audit import Audit
from resdx.data.audit.file_facts import Facts, from_columns
from resdx.data.cases import Box, Case, Manifest
from resdx.data.split import PARTS, split
from resdx.data.tasks import Detect, class_weights
from resdx.files import write_json
from resdx.models.backbones.wrappers import fit_inputs
from resdx.models.heads.specs import Linear, Yolo
from resdx.models.network import build
from resdx.models.specs import Cnn, Net, ResNet, Standardised
from resdx.models.weights import save_state
from resdx.recipes.learning import Dcgan, FeatureClassifier
from resdx.recipes.recipe import Recipe
from resdx.runs.partition import part_of
from resdx.runs.prepared import prepare
from resdx.runs.run import Run
from resdx.runs.settings import Settings
from resdx.training.detection import settle_anchors
from resdx.training.frozen_features import cross_fit, out_of_fold, out_of_fold_distance, train_folds
from resdx.training.sklearn_heads import fit_head, settings_of
from resdx.training.synthesis import enlarge
from resdx.transforms.augment import Affine, ColorJitter, Flip, RandomErasing, apply
from resdx.transforms.image import Rescale, Resize

RECIPE = Recipe(
    name="tiny",
    title="Tiny",
    classes=("sick", "well"),
    prepare=(Rescale(), Resize(16)),
    augment=(Flip(), Affine(), ColorJitter(), RandomErasing(0.2)),
)


def draw(folder, count, seed):
    """Noisy pictures of two a person, alternately sick and well."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for k in range(count):
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(folder / f"{k}.png")
    return tuple(Case(f"{k}", f"{k}.png", group=f"P{k // 2}", labels=(("sick", "well")[k // 2 % 2],)) for k in range(count))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that is split and prepared."""
    root = tmp_path_factory.mktemp("leakage")
    cases = draw(root / "data", 120, 0)
    return fill(root / "store", Manifest(root / "data", cases))


def fill(store, manifest, divided=None):
    run = Run.create(store / "run", RECIPE, Settings(data=str(manifest.root)), quiet=True)
    (run.path / "manifest.csv").write_text(manifest.to_csv())
    (run.path / "split.csv").write_text((divided or split(manifest, ())).to_csv())
    content = {case.id: hashlib.sha256((manifest.root / case.path).read_bytes()).hexdigest() for case in manifest.cases}
    return run, prepare(manifest, RECIPE, store / "cache", content=content)


def test_parts_share_no_case_no_person_and_no_picture(made):
    parts = {name: part_of(*made, name) for name in PARTS}
    for field in ("ids", "groups", "rows", "keys"):
        seen = [set(np.asarray(getattr(part, field)).tolist()) for part in parts.values()]
        assert sum(map(len, seen)) == len(set.union(*seen)), field
    assert sum(len(part.ids) for part in parts.values()) == 120


def test_row_of_a_part_is_the_picture_of_its_case(made):
    run, prepared = made
    for name in PARTS:
        part = part_of(run, prepared, name)
        for case, row in zip(part.ids, part.rows, strict=True):
            expected = np.asarray(Image.open(f"{run.settings.data}/{case}.png"))
            assert np.corrcoef(prepared.images[row].ravel(), expected.ravel())[0, 1] > 0.999


def test_truth_of_a_part_is_that_of_its_own_cases(made):
    for name in PARTS:
        part = part_of(*made, name)
        assert part.truth.argmax(1).tolist() == [int(case) // 2 % 2 for case in part.ids]


def test_class_weights_come_from_train_alone(made):
    train = part_of(*made, "train")
    positives = np.array([(train.truth.argmax(1) == k).sum() for k in (0, 1)])
    np.testing.assert_allclose(class_weights(RECIPE.task, train.targets), len(train.ids) / (2 * positives), rtol=1e-6)


@pytest.mark.parametrize("part", ["tune", "calib", "test"])
def test_train_stays_as_it_is_whatever_other_parts_show(made, tmp_path, part):
    run, prepared = made
    manifest = run.manifest
    other = draw(tmp_path / "data", 120, 0)
    for case in part_of(run, prepared, part).ids:
        Image.new("L", (16, 16), 255).save(tmp_path / "data" / f"{case}.png")
    assert other == manifest.cases
    twin, changed = fill(tmp_path / "store", Manifest(tmp_path / "data", other), split(manifest, ()))
    before, after = part_of(run, prepared, "train"), part_of(twin, changed, "train")
    assert before.ids == after.ids
    assert (prepared.images[before.rows] == changed.images[after.rows]).all()
    assert (prepared.images[part_of(run, prepared, part).rows] != changed.images[part_of(twin, changed, part).rows]).any()


def test_labels_of_the_test_part_do_not_move_it(made):
    run, _ = made
    cases = [replace(case, part="test" if int(case.id) < 30 else "") for case in run.manifest.cases]
    turned = [replace(case, labels=("well",)) if case.part else case for case in cases]
    first, second = (split(Manifest(run.manifest.root, tuple(some)), ()) for some in (cases, turned))
    assert first.parts == second.parts


def test_a_picture_is_varied_alike_whoever_is_in_its_batch(made):
    train = part_of(*made, "train")
    images = torch.from_numpy(made[1].images[train.rows[:8]]).permute(0, 3, 1, 2) / 255
    alone = apply(RECIPE.augment, images[:1], train.keys[:1], seed=0, epoch=1)
    together = apply(RECIPE.augment, images, train.keys[:8], seed=0, epoch=1)
    torch.testing.assert_close(alone, together[:1])


def test_unreadable_case_is_in_no_part(made, tmp_path):
    run, _ = made
    cases = draw(tmp_path / "data", 120, 0)
    (tmp_path / "data" / "7.png").write_bytes(b"x")
    twin, prepared = fill(tmp_path / "store", Manifest(tmp_path / "data", cases), split(run.manifest, ()))
    parts = [part_of(twin, prepared, name).ids for name in PARTS]
    assert "7" not in {case for ids in parts for case in ids}
    assert sum(map(len, parts)) == 119


# Out-of-fold scores


def answered(x, y, fold, person=None, turn=False):
    """Out-of-fold logits of cases, after the labels of one person were exchanged."""
    y = np.where(person, 1 - y, y) if turn else y
    learn = FeatureClassifier(penalties=(0.001, 0.01, 0.1, 1.0))
    logits, penalties, _ = out_of_fold(
        x,
        x[: len(y)],
        np.eye(2, dtype=np.float32)[y],
        fold,
        score=lambda rows, z: roc_auc_score(y[rows], z[:, 1]),
        settings=settings_of(Linear(), learn),
        fit=partial(fit_head, Linear(), learn=learn, task=RECIPE.task),
    )
    return logits, penalties


@pytest.fixture(scope="module")
def people():
    """Noisy features of two varied views, labels, folds and persons; persons whole in their fold."""
    rng = np.random.default_rng(0)
    person = np.arange(120) // 3
    y = person % 2
    x = rng.normal(size=(240, 30)) + 0.4 * np.tile(y, 2)[:, None]
    return x, y, person // 2 % 5, person


@pytest.mark.parametrize("who", [0, 7, 23])
def test_out_of_fold_answer_knows_nothing_of_the_labels_of_its_person(people, who):
    x, y, fold, person = people
    (before, penalties), (after, others) = (answered(x, y, fold, person == who, turn) for turn in (False, True))
    own = fold[person == who][0]
    assert (before[fold == own] == after[fold == own]).all() and penalties[own] == others[own]
    assert (before[fold != own] != after[fold != own]).any()  # the others have learnt from that person


def test_out_of_fold_answer_knows_nothing_of_other_pictures_of_its_person(people):
    x, y, fold, person = people
    other = x.copy()
    mine = np.flatnonzero(person == 5)
    other[np.concatenate([mine[1:], mine + len(y)])] += 100  # all but the one picture that is answered
    assert (answered(x, y, fold)[0][mine[0]] == answered(other, y, fold)[0][mine[0]]).all()


@pytest.mark.slow
def test_labels_that_mean_nothing_are_not_told_out_of_fold():
    rng = np.random.default_rng(1)
    areas = []
    for _ in range(6):
        x, y = rng.normal(size=(100, 200)), rng.permutation(100) % 2
        areas.append(roc_auc_score(y, answered(x, y, np.arange(100) % 5)[0][:, 1]))
    assert abs(np.mean(areas) - 0.5) < 0.08  # a fit that saw them would reach 1


def test_distance_out_of_fold_sees_the_other_folds_alone(people):
    x, y, fold, _ = people
    moved = x[: len(y)].copy()
    moved[1] += 50
    before, after = (out_of_fold_distance(some.astype(np.float32), fold) for some in (x[: len(y)], moved))
    alike = before == after
    assert alike[fold == fold[1]].sum() == (fold == fold[1]).sum() - 1 and not alike[1]
    assert not alike[fold != fold[1]].any()


def test_run_with_train_and_test_alone_answers_each_person_out_of_fold(tmp_path):
    cases = draw(tmp_path / "data", 120, 0)
    manifest = Manifest(tmp_path / "data", cases)
    run, prepared = fill(tmp_path / "store", manifest, split(manifest, [("0", "4")], cross_fit=True))
    assert run.cases("tune") == run.cases("calib") == ()
    backbone = Net(ResNet(18))
    torch.manual_seed(0)
    save_state(build(backbone, 2), tmp_path / "start.safetensors")
    learn = FeatureClassifier(penalties=(0.01, 0.1))
    run = run.changed(recipe=replace(RECIPE, model=backbone, learn=learn), weights=str(tmp_path / "start.safetensors"))
    train = part_of(run, prepared, "train")
    scores = cross_fit(run, prepared, train)
    fold = train_folds(run, run.cases("train"))
    assert scores.ids == train.ids and len(set(fold)) == 5
    together = {person: {f for f, group in zip(fold, train.groups, strict=True) if group == person} for person in train.groups}
    assert all(len(folds) == 1 for folds in together.values())
    assert len({who for case, who in zip(train.ids, train.groups, strict=True) if case in "0145"}) <= 1  # joined by the cluster
    (event,) = run.events("cross-fitting")
    assert event["folds"] == 5 and event["persons"] == len(set(train.groups)) and len(event["settings"]) == 6


# Whatever is fitted, by one rule: other pictures and other boxes outside train give the same


def generators(run, prepared, train):
    how = Dcgan(steps=20, size=16, width=4, latent=8, batch=16, keep=0.4)
    pictures, _ = enlarge(
        replace(run, recipe=replace(run.recipe, generator=how)), prepared, train, part_of(run, prepared, "tune")
    )
    return np.array(pictures.images[len(prepared.images) :])


def scaler(run, prepared, train):
    standardised = Net(Standardised(Cnn((4,)), 4, 4))
    network = build(standardised, 2)
    fit_inputs(network.backbone, prepared.images, train.rows)
    return torch.cat([network.backbone.centre, network.backbone.deviation]).numpy()


def anchors(run, prepared, train):
    finds = replace(run.recipe, task=Detect(), model=Net(Cnn((4,)), Yolo(count=2)))
    settled = settle_anchors(run := replace(run, recipe=finds), part_of(run, prepared, "train"), part_of(run, prepared, "tune"))
    return np.array(settled.recipe.model.head.anchors)


@pytest.fixture(scope="module")
def boxed(made, tmp_path_factory):
    """A function: the run with other pictures, and boxes of another shape, in train or everywhere else, or as it was."""
    run, prepared = made
    draws = np.random.default_rng(5)
    sides = {case.id: draws.uniform(2, 6, 2) for case in run.manifest.cases}
    trained = set(part_of(run, prepared, "train").ids)
    facts = [{"case": case.id, "width": 16, "height": 16} for case in run.manifest.cases]

    def other(where):
        changed = {case for case in sides if where and (case in trained) == (where == "train")}
        cases = [
            replace(case, boxes=(Box(case.label, 1, 1, 1 + wide * (2 if case.id in changed else 1), 1 + high),))
            for case in run.manifest.cases
            for wide, high in [sides[case.id]]
        ]
        twin = replace(run, path=tmp_path_factory.mktemp("boxed"))
        (twin.path / "manifest.csv").write_text(Manifest(run.manifest.root, tuple(cases)).to_csv())
        (twin.path / "split.csv").write_bytes((run.path / "split.csv").read_bytes())
        columns = {field.name: [fact.get(field.name, "") for fact in facts] for field in fields(Facts)}
        blank = Audit(facts=from_columns(columns), unreadable=(), clusters=(), findings=())
        write_json(twin.path / "audit.json", blank.to_json())
        images = np.array(prepared.images)
        rows = prepared.rows(sorted(changed))
        images[rows] = 255 - images[rows] // 2
        return twin, replace(prepared, images=images)

    return other


@pytest.mark.parametrize("fitted", [generators, scaler, anchors])
def test_what_is_fitted_comes_from_train_alone(boxed, fitted):
    found = {}
    for where in ("", "elsewhere", "train"):
        run, prepared = boxed(where)
        found[where] = fitted(run, prepared, part_of(run, prepared, "train"))
    assert np.array_equal(found[""], found["elsewhere"])
    assert found[""].shape != found["train"].shape or not np.array_equal(found[""], found["train"])
