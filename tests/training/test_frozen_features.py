"""Frozen features: the folded head answers as scikit-learn does, and the backbone stays what it was."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file

from resdx.data.tasks import Classify
from resdx.errors import RecipeError
from resdx.inference.logits import _fingerprint
from resdx.inference.opening import load_network
from resdx.models.heads.specs import Linear, Mlp, NaiveBayes
from resdx.recipes.learning import FeatureClassifier
from resdx.runs.partition import part_of
from resdx.runs.prepared import prepared_of
from resdx.training.frozen_features import PATIENCE, _choice, chosen_setting, fit_features, out_of_fold, patience
from resdx.training.sklearn_heads import fit_head, fit_linear, settings_of

LEARN = FeatureClassifier()


def features(count=200, width=6, seed=0):
    """Features of very different scale and mean."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) * [1e-3, 0.1, 1, 1, 10, 300][:width] + [5, 0, -1, 2, 40, 0][:width]


def labelled(x, classes, seed=1):
    """Classes that depend on the features, with noise."""
    standard = (x - x.mean(0)) / x.std(0)
    rng = np.random.default_rng(seed)
    return (standard @ rng.normal(size=(x.shape[1], classes)) + rng.normal(size=(len(x), classes))).argmax(1)


def one_hot(y, classes):
    return np.eye(classes, dtype=np.float32)[y]


def fitted(run):
    prepared = prepared_of(run)
    return fit_features(run, prepared, *(part_of(run, prepared, name) for name in ("train", "tune")))


def test_fit_chooses_the_penalty_on_tune_and_keeps_the_backbone(study, twin):
    run = twin("prepare")
    start = study.run.path / "best.safetensors"
    learn = FeatureClassifier(penalties=(0.001, 0.1), views=2)
    run = run.changed(recipe=replace(run.recipe, learn=learn), weights=str(start))
    network = fitted(run)
    tried = run.events("penalty")
    assert [event["penalty"] for event in tried] == [0.001, 0.1]
    before, after = load_file(start), load_network(run).state_dict()
    assert all(torch.equal(after[key].cpu(), value) for key, value in before.items() if key.startswith("trunk."))
    assert not torch.equal(after["head.linear.weight"].cpu(), before["head.linear.weight"])
    assert all(torch.equal(after[key], value) for key, value in network.state_dict().items())


def test_fit_chooses_the_setting_of_another_classifier_on_tune(study, twin):
    run = twin("prepare")
    recipe = replace(run.recipe, model=replace(run.recipe.model, head=NaiveBayes(smoothing=(0.5, 0.001))), learn=LEARN)
    run = run.changed(recipe=recipe, weights=str(study.run.path / "best.safetensors"))
    network = fitted(run)
    tried = run.events("trial")
    assert [event["setting"] for event in tried] == [{"smoothing": 0.5}, {"smoothing": 0.001}]
    assert chosen_setting(run) == max(tried, key=lambda event: event["tune_score"])["setting"]
    assert all(torch.equal(load_network(run).state_dict()[key], value) for key, value in network.state_dict().items())
    assert network.head.centre.shape == (1, 2, 32)


def test_head_learns_from_train_alone(study, twin):
    run = twin("prepare")
    run = run.changed(
        recipe=replace(run.recipe, learn=FeatureClassifier(penalties=(0.01,))), weights=str(study.run.path / "best.safetensors")
    )
    prepared = prepared_of(run)
    train, tune = (part_of(run, prepared, name) for name in ("train", "tune"))
    before = fit_features(run, prepared, train, tune).state_dict()["head.linear.weight"].clone()
    turned = replace(tune, truth=1 - tune.truth, targets=1 - tune.targets)
    assert torch.equal(fit_features(run, prepared, train, turned).state_dict()["head.linear.weight"], before)


def test_best_penalty_is_the_first_of_equals_and_stands_when_later_ones_do_no_better():
    assert _choice([0.5]) == (0, False) and _choice([0.5, 0.7, 0.7]) == (1, False)
    assert _choice([0.5, 0.7, 0.7, 0.6, 0.9]) == (1, True) and PATIENCE == 2


def test_settings_without_an_order_are_all_tried():
    assert _choice([0.5, 0.7, 0.7, 0.6, 0.9], patience({"c": 1.0})) == (4, False)
    assert patience({"penalty": 0.1}) == PATIENCE


def nested(x, y, fold, learn):
    """The slow way: for each fold, its penalty by fits on the others of which one more is left out."""

    def score(rows, z):
        return (z.argmax(1) == y[rows]).mean()

    def answer(seen, rows, penalty):
        weight, bias = fit_linear(x[seen], one_hot(y, 3)[seen], penalty, Classify(), balanced=learn.class_weights == "balanced")
        return x[rows] @ weight.T + bias

    def best(within):
        folds = [k for k in range(4) if k in within]
        means = [
            np.mean([score(fold == k, answer(np.isin(fold, within) & (fold != k), fold == k, penalty)) for k in folds])
            for penalty in learn.penalties
        ]
        return learn.penalties[_choice(means)[0]]

    chosen = [best([k for k in range(4) if k != out]) for out in range(4)]
    logits = np.zeros((len(x), 3))
    for k, penalty in enumerate(chosen):
        logits[fold == k] = answer(fold != k, fold == k, penalty)
    return logits, [*chosen, best(range(4))], score


def test_out_of_fold_answers_are_those_of_nested_cross_validation():
    x, fold = features(160), np.arange(160) % 4
    y = labelled(x, 3)
    learn = FeatureClassifier(penalties=(0.0001, 0.01, 1.0))
    expected, chosen, score = nested(x, y, fold, learn)
    fit = partial(fit_head, Linear(), learn=learn, task=Classify())
    settings = settings_of(Linear(), learn)
    logits, found, means = out_of_fold(x, x, one_hot(y, 3), fold, score=score, settings=settings, fit=fit)
    assert_allclose(logits, expected, atol=1e-5)
    assert [setting["penalty"] for setting in found] == chosen and len(means) <= len(learn.penalties)


def test_untrained_backbone_is_refused(twin):
    run = twin("prepare")
    run = run.changed(recipe=replace(run.recipe, learn=LEARN))
    with pytest.raises(RecipeError, match=r"tiny: features of an untrained backbone say nothing; set model\.backbone\.weights"):
        fitted(run)


def test_head_with_a_hidden_layer_is_refused(twin):
    run = twin("prepare")
    model = replace(run.recipe.model, head=Mlp(8))
    run = run.changed(recipe=replace(run.recipe, learn=LEARN, model=model))
    with pytest.raises(RecipeError, match=r"tiny: FeatureClassifier fits a Linear\(\), Svm\(\) ... head, not Mlp\(hidden=8"):
        fitted(run)


def test_kept_embeddings_belong_to_one_form_of_the_backbone(resnet_study):
    finer = replace(resnet_study.run, recipe=resnet_study.run.recipe.set("model.backbone.last_stride", "1"))
    network = load_network(resnet_study.run)
    assert _fingerprint(resnet_study.run, network) == _fingerprint(resnet_study.run, network)
    assert _fingerprint(resnet_study.run, network) != _fingerprint(finer, network)
