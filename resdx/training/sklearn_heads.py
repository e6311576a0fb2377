"""Classifiers on frozen features: what scikit-learn fits becomes the head of a network.

    Linear      a penalised logistic regression, multinomial or one a label, its scaling folded into the weights
    the others  as their specs say (models.specs), in the form of models.classical

Heads come in float64, so that they answer as scikit-learn does; a network keeps them in float32.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight
from torch import nn

from ..data.tasks import Classify
from ..models.heads.specs import (
    Boosting,
    Fitted,
    Forest,
    HeadSpec,
    Linear,
    NaiveBayes,
    Neighbours,
    Svm,
)
from ..models.heads.trained import Head, build_head
from ..recipes.learning import FeatureClassifier

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]
Setting = Mapping[str, float]  # what was tried, by name: {"penalty": 0.01}, {"c": 1.0, "gamma": 0.3}
Arrays = dict[str, NDArray[Any]]


NAMES: Mapping[type, str] = {
    Linear: "a logistic regression",
    Svm: "a support vector machine",
    Forest: "a random forest",
    Boosting: "gradient boosting",
    NaiveBayes: "naive Bayes",
    Neighbours: "nearest neighbours",
}


def named(head: HeadSpec) -> str:
    """What fits a head, in words."""
    return NAMES[type(head)]


def settings_of(head: HeadSpec, learn: FeatureClassifier) -> list[Setting]:
    """What is tried: the penalties, the strongest first, or the grid of all the tuples of a head's spec."""
    if isinstance(head, Linear):
        return [{"penalty": penalty} for penalty in sorted(learn.penalties)]
    fields = {field.name: getattr(head, field.name) for field in dataclasses.fields(head)}
    return list(ParameterGrid({name: values for name, values in fields.items() if isinstance(values, tuple)}))


def fit_head(
    head: HeadSpec,
    setting: Setting,
    features: Floats,
    targets: Floats32,
    *,
    learn: FeatureClassifier,
    task: object,
    seed: int = 0,
) -> nn.Module:
    """A head of float64 tensors, fitted to features (N, E) and targets (N, outputs).

    With one of `settings_of`; targets are NaN where not known.
    """
    made = build_head(head, features.shape[1], targets.shape[1]).double().eval()
    if isinstance(made, Head):
        weight, bias = fit_linear(features, targets, setting["penalty"], task, balanced=learn.class_weights == "balanced")
        with torch.no_grad():
            made.linear.weight.copy_(torch.from_numpy(weight))
            made.linear.bias.copy_(torch.from_numpy(bias))
        return made
    data = Data(features, targets, isinstance(task, Classify), learn.class_weights == "balanced", seed)
    for name, values in FITS[type(head)](cast(Fitted, head), setting, data).items():
        setattr(made, name, torch.from_numpy(np.ascontiguousarray(values)))
    return made


@dataclasses.dataclass(frozen=True)
class Data:
    """What a classifier is fitted to: features (N, E) and targets (N, outputs).

    `exclusive` says whether one class excludes the others.
    """

    features: Floats
    targets: Floats32
    exclusive: bool
    balanced: bool
    seed: int

    def questions(self) -> Iterator[tuple[Ints, Ints, int]]:
        """The rows, classes and number of classes of each question.

        One of all classes, or one a label where that is known.
        """
        if self.exclusive:
            yield np.arange(len(self.features)), self.targets.argmax(1), self.targets.shape[1]
            return
        for column in self.targets.T:
            rows = known_rows(column)
            yield rows, np.nan_to_num(column[rows]).astype(np.int64), 2

    def weights(self, classes: Ints) -> Floats | None:
        """The weight of each case, where rare answers shall count as much as frequent ones."""
        return compute_sample_weight("balanced", classes) if self.balanced else None

    def standard(self) -> tuple[Floats, Arrays]:
        """The features with mean 0 and spread 1, and how they came to it."""
        scaler = StandardScaler().fit(self.features)
        return scaler.transform(self.features), {"mean": scaler.mean_, "spread": scaler.scale_}


def known_rows(column: Floats32) -> Ints:
    """Where a label is known; of a label that is known nowhere, as if the first case lacked it."""
    rows = np.flatnonzero(~np.isnan(column))
    return rows if len(rows) else np.zeros(1, np.int64)


def base_rates(classes: Ints, count: int) -> Floats:
    """(count,) logs of the shares of the answers, each as if half a case more had it."""
    return np.log((np.bincount(classes, minlength=count) + 0.5) / max(len(classes), 1))


def _svm(head: Svm, setting: Setting, data: Data) -> Arrays:
    x, scaling = data.standard()
    gamma = setting["gamma"] / x.shape[1]
    two = data.exclusive and data.targets.shape[1] == 2
    columns = data.targets.T[1:] if two else data.targets.T  # two exclusive classes are one question
    weights, bias = np.zeros((len(x), len(columns))), np.zeros(len(columns))
    for k, column in enumerate(columns):
        rows = known_rows(column)
        classes = np.nan_to_num(column[rows]).astype(np.int64)
        if len(np.unique(classes)) < 2:  # nobody, or everybody, has it: its base rate
            bias[k] = base_rates(classes, 2) @ [-1, 1]
            continue
        model = SVC(C=setting["c"], gamma=gamma, cache_size=500).fit(x[rows], classes, data.weights(classes))
        # Dual coefficients at the support vectors, back in the places of the cases; 0 elsewhere.
        weights[rows[model.support_], k], bias[k] = model.dual_coef_[0], model.intercept_[0]
    if two:  # two logits whose difference is the one decision value
        weights, bias = np.concatenate([-weights, weights], 1) / 2, np.concatenate([-bias, bias]) / 2
    support = (weights != 0).any(1)
    support[0] |= not support.any()  # an empty tensor would read as "not fitted"
    return {**scaling, "vectors": x[support], "weights": weights[support], "bias": bias, "gamma": np.array([gamma])}


def _forest(head: Forest, setting: Setting, data: Data) -> Arrays:
    grown, votes = [], []
    for rows, classes, count in data.questions():
        model = RandomForestClassifier(head.trees, max_depth=int(setting["depth"]), random_state=data.seed, n_jobs=-1)
        model.fit(data.features[rows], classes, data.weights(classes))
        trees = [tree.tree_ for tree in model.estimators_]
        # (nodes, classes): fractions of the cases in each node
        fractions = [tree.value[:, 0] / tree.value[:, 0].sum(1, keepdims=True) for tree in trees]
        grown.append(trees)
        votes.append([_placed(one, model.classes_, count) for one in fractions])
    return complete(grown, votes)


def _boosting(head: Boosting, setting: Setting, data: Data) -> Arrays:
    grown, steps, bias = [], [], []
    for rows, classes, count in data.questions():
        start = base_rates(classes, count)
        if len(occurring := np.unique(classes)) < 2:  # one class alone: a tree whose steps are 0
            trees = RandomForestClassifier(1, max_depth=1).fit(data.features[rows], classes).estimators_
            grown.append([tree.tree_ for tree in trees])
            steps.append([np.zeros((tree.tree_.node_count, count)) for tree in trees])
            bias.append(start)
            continue
        model = GradientBoostingClassifier(
            n_estimators=head.stages,
            learning_rate=head.rate,
            max_depth=int(setting["depth"]),
            max_features="sqrt",
            random_state=data.seed,
        )
        model.fit(data.features[rows], classes, data.weights(classes))
        start[occurring] = np.log(model.init_.class_prior_)  # where scikit-learn's stages start from
        stages = [[tree.tree_ for tree in stage] for stage in model.estimators_]
        # Two answers share one tree a stage, whose step is the log-odds of the second.
        parts = [np.array([-0.5, 0.5])] if len(occurring) == 2 else list(np.eye(len(occurring)))
        grown.append([tree for stage in stages for tree in stage])
        steps.append(
            [
                _placed(head.rate * tree.value[:, 0] * part, occurring, count)
                for stage in stages
                for tree, part in zip(stage, parts, strict=True)
            ]
        )
        bias.append(start)
    return {**complete(grown, steps), "bias": np.stack(bias)}


def _naive_bayes(head: NaiveBayes, setting: Setting, data: Data) -> Arrays:
    x, scaling = data.standard()
    found: dict[str, list[Floats]] = {"centre": [], "variance": [], "prior": []}
    for rows, classes, count in data.questions():
        # An answer that nobody has spreads as all cases do.
        centre, variance, prior = np.zeros((count, x.shape[1])), np.ones((count, x.shape[1])), base_rates(classes, count)
        if len(occurring := np.unique(classes)) > 1:
            model = GaussianNB(var_smoothing=setting["smoothing"]).fit(x[rows], classes, data.weights(classes))
            centre[occurring], variance[occurring], prior[occurring] = model.theta_, model.var_, np.log(model.class_prior_)
        for name, values in (("centre", centre), ("variance", variance), ("prior", prior)):
            found[name].append(values)
    return {**scaling, **{name: np.stack(values) for name, values in found.items()}}


def _neighbours(head: Neighbours, setting: Setting, data: Data) -> Arrays:
    x, scaling = data.standard()
    questions = list(data.questions())
    classes = np.zeros((len(questions), len(x), questions[0][2]))
    for known, (rows, own, _) in zip(classes, questions, strict=True):
        known[rows, own] = 1
    count = min(int(setting["count"]), *(len(rows) for rows, _, _ in questions))  # no more than are known
    return {**scaling, "cases": x, "answers": classes, "voices": np.ones(max(count, 1))}


FITS: Mapping[type, Callable[[Any, Setting, Data], Arrays]] = {
    Svm: _svm,
    Forest: _forest,
    Boosting: _boosting,
    NaiveBayes: _naive_bayes,
    Neighbours: _neighbours,
}


def complete(grown: Sequence[Sequence[Any]], values: Sequence[Sequence[Floats]]) -> Arrays:
    """Trees of scikit-learn, one list a question, as complete binary trees of one depth.

    `values` (nodes, C) of each.
    """
    most = max(len(trees) for trees in grown)
    depth = max(1, *(tree.max_depth for trees in grown for tree in trees))
    shape, width = (len(grown), most, 2**depth - 1), values[0][0].shape[1]  # a complete tree has 2^depth - 1 inner nodes
    feature, threshold, value = np.zeros(shape, np.int64), np.zeros(shape), np.zeros((*shape[:2], 2**depth, width))
    for q, trees in enumerate(grown):
        for t, tree in enumerate(trees):
            feature[q, t], threshold[q, t], reached = _level_by_level(tree, depth)
            value[q, t] = values[q][t][reached]
    return {"feature": feature, "threshold": threshold, "value": value}


def _level_by_level(tree: Any, depth: int) -> tuple[Ints, Floats, Ints]:
    """Feature and threshold of each node, first level first, and the node behind each leaf.

    A leaf above the bottom is its own children.
    """
    at, features, thresholds = np.zeros(1, np.int64), [], []
    for _ in range(depth):
        ends = tree.children_left[at] < 0  # scikit-learn's mark of a leaf: -1
        features.append(np.where(ends, 0, tree.feature[at]))
        thresholds.append(np.where(ends, 0, tree.threshold[at]))
        # (2 x nodes,): left, right, left ...
        at = np.stack([np.where(ends, at, tree.children_left[at]), np.where(ends, at, tree.children_right[at])], 1).ravel()
    exact = np.concatenate(thresholds)
    # The largest float32 that is not above it: then no float32 feature changes sides.
    rounded = exact.astype(np.float32)
    rounded = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return np.concatenate(features), rounded.astype(np.float64), at


def _placed(values: Floats, classes: Ints, count: int) -> Floats:
    """Columns of the classes that were there, among `count`."""
    out = np.zeros((len(values), count))
    out[:, classes] = values
    return out


def fit_linear(
    features: Floats,
    targets: NDArray[np.float32],
    penalty: float,
    task: object,
    *,
    balanced: bool = False,
    min_spread: float = 0.0,
) -> tuple[Floats, Floats]:
    """Weights (outputs, E) and biases (outputs,) of a penalised logistic regression.

    Multinomial for Classify, else one binary regression an output.

    The features are standardised for the fit, so that one penalty suits them all; the scaling is folded into the weights.
    `balanced` lets rare answers count as much as frequent ones. What varies less than `least` times as much as the features
    do on average (root mean square) is scaled as if it varied so much.
    """
    mean, spread = features.mean(0), features.std(0) + 1e-6  # constant features must not divide by 0
    spread = np.maximum(spread, min_spread * np.sqrt(np.square(spread).mean()))
    weight, bias = _fit_standard((features - mean) / spread, targets, penalty, task, balanced)
    # w (x - mean) / spread + b, written as one layer on x
    weight = weight / spread
    return weight, bias - weight @ mean


def _fit_standard(
    features: Floats, targets: NDArray[np.float32], penalty: float, task: object, balanced: bool
) -> tuple[Floats, Floats]:
    model = LogisticRegression(C=penalty, class_weight="balanced" if balanced else None, max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a weak penalty is judged on tune like any other
        if isinstance(task, Classify):
            if (
                len(occurring := np.unique(targets.argmax(1))) == 1
            ):  # of few persons all may be of one class: its base rate, no slope
                bias = np.full(targets.shape[1], np.log(0.5 / len(features)))
                bias[occurring] = 0
                return np.zeros((targets.shape[1], features.shape[1])), bias
            model.fit(features, targets.argmax(1))
            weight, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
            if len(weight) == 1:  # two classes: two logits whose difference is the one of scikit-learn
                weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
            # A class that nobody in train has gets no slope and a bias as if half a case had it.
            every = np.zeros((targets.shape[1], features.shape[1])), np.full(targets.shape[1], np.log(0.5 / len(features)))
            every[0][model.classes_], every[1][model.classes_] = weight, bias
            return every
        rows = [_binary(model, features, column) for column in targets.T]
    return np.stack([row[0] for row in rows]), np.array([row[1] for row in rows])


def _binary(model: LogisticRegression, features: Floats, column: NDArray[np.float32]) -> tuple[Floats, float]:
    known = ~np.isnan(column)
    if len(np.unique(column[known])) < 2:  # a label nobody (or everybody) in train has: its base rate, no slope
        rate = (column[known].sum() + 0.5) / (known.sum() + 1)
        return np.zeros(features.shape[1]), float(np.log(rate / (1 - rate)))
    model.fit(features[known], column[known])
    return np.asarray(model.coef_[0]), float(model.intercept_[0])
