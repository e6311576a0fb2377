"""Fitted heads: the tensors answer as scikit-learn does, for one class, several labels and classes that nobody has."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file
from scipy.special import expit, softmax
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from resdx.data.tasks import Classify, MultiLabel
from resdx.errors import RecipeError, WeightsError
from resdx.evaluation.saliency.methods import class_activation, grad_cam
from resdx.inference.logits import head_logits
from resdx.models.heads.fitted import leaves
from resdx.models.heads.specs import (
    Boosting,
    Forest,
    Linear,
    NaiveBayes,
    Neighbours,
    Svm,
)
from resdx.models.heads.trained import build_head
from resdx.models.network import build
from resdx.models.specs import Net, ResNet
from resdx.models.weights import load_state, save_state
from resdx.recipes.learning import FeatureClassifier, Training
from resdx.recipes.recipe import Recipe
from resdx.training.sklearn_heads import fit_head, fit_linear, settings_of

LEARN = FeatureClassifier()
BALANCED = FeatureClassifier(class_weights="balanced")
HEADS = (Svm(), Forest(trees=7), Boosting(stages=5), NaiveBayes(), Neighbours())
NAMES = [type(head).__name__ for head in HEADS]
E = 6


def features(count=200, seed=0):
    """Features of different scale and mean, as a network gives them: float32."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, E)) * [1e-1, 0.1, 1, 1, 10, 30] + [5, 0, -1, 2, 40, 0]
    return x.astype(np.float32).astype(np.float64)


def labelled(x, classes, seed=1):
    """Classes that depend on the features, with noise."""
    standard = (x - x.mean(0)) / x.std(0)
    rng = np.random.default_rng(seed)
    return (standard @ rng.normal(size=(E, classes)) + rng.normal(size=(len(x), classes))).argmax(1)


def one_hot(y, classes):
    return np.eye(classes, dtype=np.float32)[y]


def answered(head, x, targets, new, learn=LEARN, task=None, at=-1):
    """Logits with one of the settings that are tried."""
    setting = settings_of(head, learn)[at]
    return head_logits(fit_head(head, setting, x, targets, learn=learn, task=task or Classify()), new)


def scaled(model):
    return make_pipeline(StandardScaler(), model)


X, NEW = features(), features(seed=7)


def wide(count=200, seed=0):
    """Features of very different scale and mean."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 6)) * [1e-3, 0.1, 1, 1, 10, 300] + [5, 0, -1, 2, 40, 0]


def reference(x, y, penalty, balance=None):
    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, class_weight=balance, max_iter=500)).fit(x, y)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("balance", ["none", "balanced"])
def test_regression_on_exclusive_classes_answers_as_scikit_learn(classes, balance):
    x, new = wide(), wide(seed=7)
    y = labelled(x, classes)
    weight, bias = fit_linear(x, one_hot(y, classes), 0.1, Classify(), balanced=balance == "balanced")
    expected = reference(x, y, 0.1, None if balance == "none" else balance).predict_proba(new)
    assert_allclose(softmax(new @ weight.T + bias, axis=1), expected, atol=1e-3)
    assert weight.shape == (classes, 6) and bias.shape == (classes,)


def test_what_hardly_varies_gets_no_large_weight():
    x = wide()
    x[:, 0] *= 1e-3  # of little use once it is scaled as what varies usually
    y = labelled(x, 2)
    usual = 0.5 * np.sqrt(x.var(0).mean())
    weight, bias = fit_linear(x, one_hot(y, 2), 0.1, Classify(), min_spread=0.5)
    spread = np.maximum(x.std(0), usual)
    assert spread[0] == usual < spread.max()
    model = LogisticRegression(C=0.1, max_iter=500).fit((x - x.mean(0)) / spread, y)
    assert_allclose((x @ weight.T + bias) @ [-1, 1], model.decision_function((x - x.mean(0)) / spread), atol=1e-3)
    assert np.abs(weight[:, 0]).max() < 0.1 * np.abs(fit_linear(x, one_hot(y, 2), 0.1, Classify())[0][:, 0]).max()


def test_regressions_on_labels_answer_as_scikit_learn_on_the_cases_where_each_is_known():
    x, new = wide(), wide(seed=7)
    targets = np.stack([labelled(x, 2, seed) for seed in (1, 2, 3)], axis=1).astype(np.float32)
    targets[:40, 1] = np.nan
    weight, bias = fit_linear(x, targets, 0.1, MultiLabel())
    scaler = StandardScaler().fit(x)
    for k, column in enumerate(targets.T):
        known = ~np.isnan(column)
        one = LogisticRegression(C=0.1, max_iter=500).fit(scaler.transform(x)[known], column[known])
        expected = one.predict_proba(scaler.transform(new))[:, 1]
        assert_allclose(expit(new @ weight[k] + bias[k]), expected, atol=1e-3)


def test_regression_on_a_label_that_nobody_has_is_answered_with_its_base_rate():
    targets = np.zeros((200, 2), np.float32)
    targets[:90, 0] = 1
    weight, bias = fit_linear(wide(), targets, 0.1, MultiLabel())
    assert (weight[1] == 0).all()
    assert expit(bias[1]) == pytest.approx(0.5 / 201)


@pytest.mark.parametrize("occurring", [(0, 2), (0, 1, 3)])
def test_regression_on_a_class_that_nobody_has_is_hardly_ever_the_answer(occurring):
    x = wide()
    y = np.array(occurring)[labelled(x, len(occurring))]
    weight, bias = fit_linear(x, one_hot(y, 4), 0.1, Classify())
    p = softmax(x @ weight.T + bias, axis=1)
    absent = [k for k in range(4) if k not in occurring]
    assert p.shape == (200, 4) and p[:, absent].max() < 0.05
    known = p[:, occurring] / p[:, occurring].sum(1, keepdims=True)
    assert_allclose(known, reference(x, y, 0.1).predict_proba(x), atol=1e-3)


def test_regression_with_a_constant_feature_does_no_harm():
    x = np.concatenate([wide(), np.full((200, 1), 3.0)], axis=1)
    weight, bias = fit_linear(x, one_hot(labelled(wide(), 2), 2), 0.1, Classify())
    assert np.isfinite(weight).all() and np.isfinite(bias).all()
    assert_allclose(weight[:, -1] * 1e-6, 0, atol=1e-6)


def test_regression_on_one_class_answers_with_it():
    weight, bias = fit_linear(wide(), one_hot(np.ones(200, int), 3), 0.1, Classify())
    assert (weight == 0).all() and softmax(bias).argmax() == 1 and softmax(bias)[1] > 0.99


def test_tuples_of_a_head_are_a_grid_and_penalties_come_strongest_first():
    assert settings_of(Svm(c=(1.0, 2.0), gamma=(0.5,)), LEARN) == [{"c": 1.0, "gamma": 0.5}, {"c": 2.0, "gamma": 0.5}]
    assert settings_of(Forest(depth=(2, 4), trees=9), LEARN) == [{"depth": 2}, {"depth": 4}]
    assert settings_of(Linear(), FeatureClassifier(penalties=(0.1, 0.01))) == [{"penalty": 0.01}, {"penalty": 0.1}]


def test_support_vectors_of_two_classes_differ_by_the_decision_value_of_scikit_learn():
    y = labelled(X, 2)
    logits = answered(Svm(c=(2.0,), gamma=(1.0,)), X, one_hot(y, 2), NEW)
    expected = scaled(SVC(C=2.0, gamma=1 / E)).fit(X, y).decision_function(NEW)
    assert_allclose(logits[:, 1] - logits[:, 0], expected, atol=1e-5)
    assert_allclose(logits.sum(1), 0, atol=1e-6)


def test_support_vectors_of_more_classes_are_those_of_each_against_the_rest():
    y = labelled(X, 4)
    logits = answered(Svm(c=(2.0,), gamma=(0.5,)), X, one_hot(y, 4), NEW)
    expected = scaled(OneVsRestClassifier(SVC(C=2.0, gamma=0.5 / E))).fit(X, y).decision_function(NEW)
    assert_allclose(logits, expected, atol=1e-5)


def test_weights_of_rare_classes_are_those_of_scikit_learn():
    y = (labelled(X, 4) == 0).astype(int)
    logits = answered(Svm(c=(2.0,), gamma=(1.0,)), X, one_hot(y, 2), NEW, BALANCED)
    expected = scaled(SVC(C=2.0, gamma=1 / E, class_weight="balanced")).fit(X, y).decision_function(NEW)
    assert_allclose(logits[:, 1] - logits[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_forest_answers_with_the_shares_of_scikit_learn_and_one_vote_more(classes):
    y = labelled(X, classes)
    logits = answered(Forest(depth=(5,), trees=20), X, one_hot(y, classes), NEW)
    fractions = RandomForestClassifier(20, max_depth=5, random_state=0).fit(X, y).predict_proba(NEW)
    assert_allclose(softmax(logits, axis=1), (20 * fractions + 1 / classes) / 21, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_boosting_answers_with_the_probabilities_of_scikit_learn(classes):
    y = labelled(X, classes)
    logits = answered(Boosting(depth=(3,), stages=15), X, one_hot(y, classes), NEW)
    model = GradientBoostingClassifier(n_estimators=15, max_depth=3, max_features="sqrt", random_state=0).fit(X, y)
    assert_allclose(softmax(logits, axis=1), model.predict_proba(NEW), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_naive_bayes_has_the_log_likelihoods_of_scikit_learn_over_the_number_of_features(classes):
    y = labelled(X, classes)
    logits = answered(NaiveBayes(smoothing=(0.01,)), X, one_hot(y, classes), NEW)
    scaler = StandardScaler().fit(X)
    expected = GaussianNB(var_smoothing=0.01).fit(scaler.transform(X), y).predict_joint_log_proba(scaler.transform(NEW))
    assert_allclose(logits, expected / E, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_neighbours_answer_with_the_shares_of_scikit_learn_and_one_vote_more(classes):
    y = labelled(X, classes)
    logits = answered(Neighbours(count=(7,)), X, one_hot(y, classes), NEW)
    fractions = scaled(KNeighborsClassifier(7)).fit(X, y).predict_proba(NEW)
    assert_allclose(softmax(logits, axis=1), (7 * fractions + 1 / classes) / 8, atol=1e-5)


@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_each_label_is_learnt_where_it_is_known_alone(head):
    """Two labels are two questions, each answered as a classification of the cases in which it is known."""
    targets = np.stack([labelled(X, 2, seed) for seed in (1, 2)], axis=1).astype(np.float32)
    targets[:60, 1] = np.nan
    both = answered(head, X, targets, NEW, task=MultiLabel())
    alone = answered(head, X, targets[:, :1], NEW, task=MultiLabel())
    assert_allclose(both[:, :1], alone, atol=1e-5)
    exclusive = answered(head, X, one_hot(targets[:, 0].astype(int), 2), NEW)
    assert_allclose(both[:, 0], exclusive[:, 1] - exclusive[:, 0], atol=1e-5)
    moved = X.copy()
    moved[:60] = moved[:60][::-1]  # where the second label is not known
    assert_allclose(answered(head, moved, targets, NEW, task=MultiLabel())[:, 1], both[:, 1], atol=1e-5)


@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_class_that_nobody_in_train_has_is_hardly_ever_the_answer(head):
    y = np.array([0, 2])[labelled(X, 2)]
    p = softmax(answered(head, X, one_hot(y, 3), X), axis=1)
    assert (p.argmax(1) == 1).mean() < 0.02
    assert (p.argmax(1) == y).mean() > 0.7


@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_train_of_one_class_is_answered_with_it(head):
    logits = answered(head, X, one_hot(np.ones(200, int), 3), NEW)
    assert (logits.argmax(1) == 1).mean() > 0.95 and np.isfinite(logits).all()
    labels = np.stack([np.zeros(200), np.full(200, np.nan)], 1).astype(np.float32)
    logits = answered(head, X, labels, NEW, task=MultiLabel())
    assert (logits[:, 0] < 0).mean() > 0.95 and np.isfinite(logits).all()


def test_complete_tree_is_walked_as_it_is_written():
    feature = torch.tensor([[[0, 1, 1]]])
    threshold = torch.tensor([[[0.5, 0.2, 0.7]]])
    value = torch.tensor([[[[1.0], [2.0], [3.0], [4.0]]]])
    x = torch.tensor([[0.5, 0.2], [0.5, 0.3], [0.6, 0.7], [0.6, 0.8]])
    assert leaves(x, feature, threshold, value).flatten().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_network_with_a_fitted_head_is_stored_and_opened_again(head, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 512)).astype(np.float32).astype(np.float64)
    y = (x[:, 0] > 0).astype(int)
    network = build(Net(ResNet(18), head), 2).eval()
    network.head = fit_head(head, settings_of(head, LEARN)[0], x, one_hot(y, 2), learn=LEARN, task=Classify()).float()
    save_state(network, tmp_path / "net.safetensors")
    again = build(Net(ResNet(18), head), 2, start=False).eval()
    load_state(again, tmp_path / "net.safetensors")
    images = torch.rand(3, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(again(images), network(images)) and torch.isfinite(again(images)).all()
    assert all(torch.equal(value, load_file(tmp_path / "net.safetensors")[key]) for key, value in again.state_dict().items())
    other = build(Net(ResNet(50), head), 2, start=False)
    with pytest.raises(WeightsError, match="belongs to another network"):
        load_state(other, tmp_path / "net.safetensors")


def test_head_that_is_not_fitted_yet_answers_nothing():
    for head in HEADS:
        assert (build(Net(ResNet(18), head), 3).eval()(torch.rand(2, 3, 32, 32)) == 0).all()


@pytest.mark.parametrize("head", HEADS, ids=NAMES)
def test_float32_head_answers_as_the_float64_one_it_was_fitted_as(head):
    made = fit_head(head, settings_of(head, LEARN)[0], X, one_hot(labelled(X, 3), 3), learn=LEARN, task=Classify())
    before = head_logits(made, NEW)
    assert_allclose(head_logits(made.float(), NEW), before, atol=1e-3)


@pytest.mark.parametrize("head", [Svm(), NaiveBayes(smoothing=(0.1,))], ids=["Svm", "NaiveBayes"])
def test_smooth_head_has_a_class_activation_map(head):
    torch.manual_seed(0)
    network = build(Net(ResNet(18), head), 2).eval().requires_grad_(False)
    y = np.arange(12) % 2
    images = torch.rand(12, 3, 64, 64)
    images[1::2, :, :32] *= 0.5
    x = network.embed(images).numpy().astype(np.float64)
    network.head = fit_head(head, settings_of(head, LEARN)[-1], x, one_hot(y, 2), learn=LEARN, task=Classify()).float()
    heat = class_activation(network, images, torch.from_numpy(y))
    slope = grad_cam(network, images, torch.from_numpy(y)) * heat[0].numel()  # of the mean over the map
    torch.testing.assert_close(heat, slope, rtol=1e-3, atol=1e-3 * float(heat.max()))
    assert heat.max() > 0


def test_exported_heads_answer_as_pytorch_does():
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    y = one_hot(labelled(X, 3), 3)
    made = [fit_head(head, settings_of(head, LEARN)[0], X, y, learn=LEARN, task=Classify()).float() for head in HEADS]
    some = torch.from_numpy(NEW[:2].astype(np.float32))
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(Together(made), (some,), dynamo=True, verbose=False, dynamic_shapes=shapes)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (NEW[:1], NEW[:7]):
        said = session.run(None, {session.get_inputs()[0].name: batch.astype(np.float32)})
        for head, logits in zip(made, said, strict=True):
            assert_allclose(logits, head_logits(head, batch), atol=1e-4)


class Together(torch.nn.Module):
    """All heads in one graph."""

    def __init__(self, heads):
        super().__init__()
        self.heads = torch.nn.ModuleList(heads)

    def forward(self, x):
        return tuple(head(x) for head in self.heads)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Svm(c=()), r"Svm.c cannot be \(\): it takes a tuple of one or more numbers above 0"),
        (lambda: Svm(gamma=(1.0, -1.0)), "Svm.gamma cannot hold -1.0: it takes a tuple of one or more numbers above 0"),
        (
            lambda: Forest(depth=(4, 40)),
            "Forest.depth cannot hold 40: it takes a tuple of one or more whole numbers from 1 to 12",
        ),
        (lambda: Boosting(rate=2.0), "Boosting.rate cannot be 2.0: it takes a number above 0 and up to 1"),
        (
            lambda: NaiveBayes(smoothing=(float("nan"),)),
            "NaiveBayes.smoothing cannot hold nan: it takes a tuple of one or more numbers above 0",
        ),
        (
            lambda: Neighbours(count=(0,)),
            "Neighbours.count cannot hold 0: it takes a tuple of one or more whole numbers of at least 1",
        ),
    ],
)
def test_heads_check_themselves(make, what):
    with pytest.raises(RecipeError, match=what):
        make()


def test_fitted_head_is_not_trained_and_neighbours_have_no_weights():
    with pytest.raises(
        RecipeError, match=r"own: Svm\(\) is fitted to frozen features, not trained; set learn=FeatureClassifier\(\)"
    ):
        Recipe(name="own", title="", model=Net(ResNet(18), Svm()), learn=Training())
    with pytest.raises(RecipeError, match=r"own: Neighbours\(\) knows no class weights; set learn\.class_weights=none"):
        Recipe(name="own", title="", model=Net(ResNet(18), Neighbours()), learn=BALANCED)
    tried = Recipe(name="own", title="", model=Net(ResNet(18), Svm()), learn=LEARN).set("model.head.c", "1,3.5")
    assert tried.model.head == Svm(c=(1.0, 3.5))


def test_no_features_give_no_logits():
    head = build_head(Svm(), 4, 3)
    assert head_logits(head, np.zeros((0, 4))).shape == (0, 3)
