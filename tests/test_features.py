"""Frozen features: the folded head answers as scikit-learn does, and the trunk stays what it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from resdx.errors import RecipeError
from resdx.features import PATIENCE, _choice, _fingerprint, fit_features, fit_linear, out_of_fold
from resdx.models.specs import Mlp
from resdx.parts import part_of
from resdx.recipe import FeatureClassifier
from resdx.stages import prepared_of
from resdx.tasks import Classify, MultiLabel
from resdx.trained import load_network

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


def reference(x, y, penalty, balance=None):
    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, class_weight=balance, max_iter=500)).fit(x, y)


def one_hot(y, classes):
    return np.eye(classes, dtype=np.float32)[y]


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("balance", ["none", "balanced"])
def test_exclusive_classes_answer_as_scikit_learn(classes, balance):
    x, new = features(), features(seed=7)
    y = labelled(x, classes)
    learn = replace(LEARN, class_weights=balance)
    weight, bias = fit_linear(x, one_hot(y, classes), 0.1, learn, Classify())
    expected = reference(x, y, 0.1, None if balance == "none" else balance).predict_proba(new)
    assert_allclose(softmax(new @ weight.T + bias, axis=1), expected, atol=1e-3)
    assert weight.shape == (classes, 6) and bias.shape == (classes,)


def test_labels_answer_as_scikit_learn_on_the_cases_where_each_is_known():
    x, new = features(), features(seed=7)
    targets = np.stack([labelled(x, 2, seed) for seed in (1, 2, 3)], axis=1).astype(np.float32)
    targets[:40, 1] = np.nan
    weight, bias = fit_linear(x, targets, 0.1, LEARN, MultiLabel())
    scaler = StandardScaler().fit(x)
    for k, column in enumerate(targets.T):
        known = ~np.isnan(column)
        one = LogisticRegression(C=0.1, max_iter=500).fit(scaler.transform(x)[known], column[known])
        expected = one.predict_proba(scaler.transform(new))[:, 1]
        assert_allclose(expit(new @ weight[k] + bias[k]), expected, atol=1e-3)


def test_label_that_nobody_has_is_answered_with_its_base_rate():
    targets = np.zeros((200, 2), np.float32)
    targets[:90, 0] = 1
    weight, bias = fit_linear(features(), targets, 0.1, LEARN, MultiLabel())
    assert (weight[1] == 0).all()
    assert expit(bias[1]) == pytest.approx(0.5 / 201)


@pytest.mark.parametrize("there", [(0, 2), (0, 1, 3)])
def test_class_that_nobody_in_train_has_is_hardly_ever_the_answer(there):
    x = features()
    y = np.array(there)[labelled(x, len(there))]
    weight, bias = fit_linear(x, one_hot(y, 4), 0.1, LEARN, Classify())
    p = softmax(x @ weight.T + bias, axis=1)
    absent = [k for k in range(4) if k not in there]
    assert p.shape == (200, 4) and p[:, absent].max() < 0.05
    known = p[:, there] / p[:, there].sum(1, keepdims=True)
    assert_allclose(known, reference(x, y, 0.1).predict_proba(x), atol=1e-3)


def test_constant_feature_does_no_harm():
    x = np.concatenate([features(), np.full((200, 1), 3.0)], axis=1)
    weight, bias = fit_linear(x, one_hot(labelled(features(), 2), 2), 0.1, LEARN, Classify())
    assert np.isfinite(weight).all() and np.isfinite(bias).all()
    assert_allclose(weight[:, -1] * 1e-6, 0, atol=1e-6)


def fitted(run):
    prepared = prepared_of(run)
    return fit_features(run, prepared, *(part_of(run, prepared, name) for name in ("train", "tune")))


def test_fit_chooses_the_penalty_on_tune_and_keeps_the_trunk(study, twin):
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


def test_train_of_one_class_is_answered_with_it():
    weight, bias = fit_linear(features(), one_hot(np.ones(200, int), 3), 0.1, LEARN, Classify())
    assert (weight == 0).all() and softmax(bias).argmax() == 1 and softmax(bias)[1] > 0.99


def test_best_penalty_is_the_first_of_equals_and_stands_when_later_ones_do_no_better():
    assert _choice([0.5]) == (0, False) and _choice([0.5, 0.7, 0.7]) == (1, False)
    assert _choice([0.5, 0.7, 0.7, 0.6, 0.9]) == (1, True) and PATIENCE == 2


def nested(x, y, fold, learn):
    """The slow way: for each fold, its penalty by fits on the others of which one more is left out."""

    def score(rows, z):
        return (z.argmax(1) == y[rows]).mean()

    def answer(seen, rows, penalty):
        weight, bias = fit_linear(x[seen], one_hot(y, 3)[seen], penalty, learn, Classify())
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
    logits, found, means = out_of_fold(x, x, one_hot(y, 3), fold, score=score, learn=learn, task=Classify())
    assert_allclose(logits, expected, atol=1e-6)
    assert found == chosen and list(means) == list(learn.penalties)[: len(means)]


def test_untrained_trunk_is_refused(twin):
    run = twin("prepare")
    run = run.changed(recipe=replace(run.recipe, learn=LEARN))
    with pytest.raises(RecipeError, match=r"tiny: features of an untrained trunk say nothing; set model\.trunk\.weights"):
        fitted(run)


def test_head_with_a_hidden_layer_is_refused(twin):
    run = twin("prepare")
    model = replace(run.recipe.model, head=Mlp(8))
    run = run.changed(recipe=replace(run.recipe, learn=LEARN, model=model))
    with pytest.raises(RecipeError, match=r"tiny: FeatureClassifier fits a Linear\(\) head, not Mlp\(hidden=8"):
        fitted(run)


def test_kept_embeddings_belong_to_one_form_of_the_trunk(study):
    finer = replace(study.run, recipe=study.run.recipe.set("model.trunk.last_stride", "1"))
    network = load_network(study.run)
    assert _fingerprint(study.run, network) == _fingerprint(study.run, network)
    assert _fingerprint(study.run, network) != _fingerprint(finer, network)
