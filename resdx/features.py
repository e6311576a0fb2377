"""Frozen features and a penalised logistic regression on them, folded into the network's own linear head.

The result is a network like any other: the same weights file, prediction, maps and export. scikit-learn does the fitting.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import TaskID
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from . import __version__
from .cases import Case, count_persons
from .data import Prepared
from .engines.torch import device, infer, three_channels, to_tensor
from .errors import DataError, RecipeError
from .familiarity import fit_familiarity
from .models.net import Network, build
from .models.specs import Linear
from .models.weights import save_state
from .parts import Part, tune_score
from .recipe import FeatureClassifier
from .records import to_record, write_bytes
from .runs import Run, Scores
from .split import grouped_folds
from .steps.random import apply
from .tasks import Classify

FOLDS = 5  # of the persons of train, for out-of-fold scores; fewer where there are fewer persons
PATIENCE = 2  # weaker penalties that did no better, after which still weaker ones, slow to fit, are not tried

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


def fit_features(run: Run, prepared: Prepared, train: Part, tune: Part) -> Network:
    """Fit the head on frozen features of train, with the penalty that does best on the tune part, and keep the network.

    Raises:
        RecipeError: the head is not linear, or nothing gives the trunk its weights.
    """
    learn, network = cast(FeatureClassifier, run.recipe.learn), _start(run, train)
    features = training_features(run, network, prepared, train, learn.views)
    targets = np.tile(train.targets, (learn.views, 1))
    _, tuning = answers(run, network, prepared, tune.rows)
    fits: list[tuple[Floats, Floats]] = []
    scores: list[float] = []
    for penalty in sorted(learn.penalties):  # the stronger penalty (smaller C) wins a draw
        weight, bias = fit_linear(features, targets, penalty, learn, run.recipe.task)
        fits.append((weight, bias))
        scores.append(tune_score(run, tune, (tuning @ weight.T + bias).astype(np.float32)))
        _tell(run, penalty, scores[-1], "tune")
        if _choice(scores)[1]:
            break
    return _keep(run, network, *fits[_choice(scores)[0]])


def is_cross_fitted(run: Run) -> bool:
    """True where the split has train and test alone: out-of-fold scores of train take the place of tune and calib."""
    return not run.cases("tune") and not run.cases("calib")


def cross_fit(run: Run, prepared: Prepared, train: Part) -> Scores:
    """Out-of-fold answers to all of train; the network that is kept is fitted on all of it, with the penalty best over the folds.

    Raises:
        RecipeError: as for `fit_features`.
        DataError: fewer than three persons.
    """
    learn, network = cast(FeatureClassifier, run.recipe.learn), _start(run, train)
    features = training_features(run, network, prepared, train, learn.views)
    _, plain = answers(run, network, prepared, train.rows)
    by_id = {case.id: case for case in run.cases("train")}
    cases = [by_id[case] for case in train.ids]
    fold = train_folds(run, cases)

    def score(rows: NDArray[np.bool_], logits: Floats) -> float:
        return tune_score(run, replace(train, truth=train.truth[rows]), logits.astype(np.float32))

    logits, chosen, means = out_of_fold(
        features, plain.astype(np.float64), train.targets, fold, score=score, learn=learn, task=run.recipe.task
    )
    for penalty, mean in means.items():
        _tell(run, penalty, mean, "out-of-fold")
    run.log("cross-fitting", persons=count_persons(cases), folds=len(chosen) - 1, penalties=chosen)
    run.say(f"train: cross-fitted out-of-fold scores of {count_persons(cases)} persons, {len(chosen) - 1} folds")
    targets = np.tile(train.targets, (learn.views, 1))
    _keep(run, network, *fit_linear(features, targets, chosen[-1], learn, run.recipe.task))
    return Scores(train.ids, logits.astype(np.float32), plain)


def train_folds(run: Run, cases: Sequence[Case]) -> NDArray[np.int64]:
    """The fold of each case of train, persons whole; the same whenever a run is asked. Raises DataError for two persons."""
    unit = np.unique([case.group for case in cases], return_inverse=True)[1].tolist()
    if (count := len(set(unit))) < 3:
        raise DataError(f"{count} persons in train cannot be cross-fitted, which takes 3; use more data")
    return grouped_folds(cases, unit, min(FOLDS, count), run.settings.seed)


def out_of_fold(
    features: Floats,
    plain: Floats,
    targets: Floats32,
    fold: NDArray[np.int64],
    *,
    score: Callable[[NDArray[np.bool_], Floats], float],
    learn: FeatureClassifier,
    task: object,
) -> tuple[Floats, list[float], dict[float, float]]:
    """Logits (N, outputs) of each case by a fit, its penalty included, that saw nothing of the case's fold.

    The penalty for a fold is the one that answers the other folds best, each of them left out as well; a fit without two
    folds serves the choice of both, so that nesting costs 10 fits a penalty with 5 folds, not 20.

    Args:
        features: (V * N, E) learnt from, every case plain and then varied; `plain` (N, E) those that are answered.
        score: what a mask (N,) of cases and their logits are worth; higher is better.

    Returns:
        The logits; the penalty for each fold, then the one for a fit on all; and the mean score of each penalty tried.
    """
    numbers = np.unique(fold)
    views = len(features) // len(fold)
    every, wanted = np.tile(fold, views), np.tile(targets, (views, 1))

    def answer(penalty: float, *without: int) -> Floats:
        seen = ~np.isin(every, without)
        weight, bias = fit_linear(features[seen], wanted[seen], penalty, learn, task)
        return plain @ weight.T + bias

    choosers: list[list[float]] = [[] for _ in range(len(numbers) + 1)]  # mean scores by penalty: of each fold, then of all
    found: list[Floats] = []
    for penalty in (penalties := sorted(learn.penalties)):
        inner, outer = np.zeros((len(numbers), len(numbers))), np.zeros((len(plain), targets.shape[1]))
        for i, j in combinations(range(len(numbers)), 2):
            both = answer(penalty, numbers[i], numbers[j])
            for chooses, judged in ((i, j), (j, i)):
                rows = fold == numbers[judged]
                inner[chooses, judged] = score(rows, both[rows])
        for i, number in enumerate(numbers):
            rows = fold == number
            outer[rows] = answer(penalty, number)[rows]
            inner[i, i] = score(rows, outer[rows])
        found.append(outer)
        for i, chooser in enumerate(choosers[:-1]):
            chooser.append(float(np.delete(inner[i], i).mean()))
        choosers[-1].append(float(inner.diagonal().mean()))
        if all(_choice(chooser)[1] for chooser in choosers):
            break
    places = [_choice(chooser)[0] for chooser in choosers]
    logits = np.stack([found[places[i]][k] for k, i in enumerate(np.searchsorted(numbers, fold))])
    return logits, [penalties[k] for k in places], dict(zip(penalties, choosers[-1], strict=False))


def out_of_fold_distance(embeddings: Floats32, fold: NDArray[np.int64]) -> Floats:
    """(N,) how unlike the cases of the other folds each case is: what `Familiarity.distance` says of new cases."""
    out = np.zeros(len(fold))
    for number in np.unique(fold):
        out[fold == number] = fit_familiarity(embeddings[fold != number]).distance(embeddings[fold == number])
    return out


def _start(run: Run, train: Part) -> Network:
    """The network with the trunk's weights. Raises RecipeError when its features cannot be learnt from."""
    recipe = run.recipe
    if not isinstance(recipe.model.head, Linear):
        raise RecipeError(f"{recipe.name}: FeatureClassifier fits a Linear() head, not {recipe.model.head}")
    if not (recipe.model.trunk.weights or run.settings.weights):
        raise RecipeError(f"{recipe.name}: features of an untrained trunk say nothing; set model.trunk.weights or use Training()")
    weights = Path(run.settings.weights) if run.settings.weights else None
    return build(recipe.model, train.targets.shape[1], weights=weights).to(device())


def _choice(scores: Sequence[float]) -> tuple[int, bool]:
    """The place of the best score, of equal ones the first; and whether PATIENCE later ones did no better, after which none counts."""
    best = 0
    for k, score in enumerate(scores):
        best = k if score > scores[best] else best
        if k - best == PATIENCE:
            return best, True
    return best, False


def _tell(run: Run, penalty: float, score: float, where: str) -> None:
    run.log("penalty", penalty=penalty, tune_score=score)
    run.say(f"penalty C={penalty:g}: {where} AUROC {score:.3f}")


def _keep(run: Run, network: Network, weight: Floats, bias: Floats) -> Network:
    with torch.no_grad():
        network.head.linear.weight.copy_(torch.from_numpy(weight))
        network.head.linear.bias.copy_(torch.from_numpy(bias))
    save_state(network, run.path / "best.safetensors")
    return network


def answers(run: Run, network: Network, prepared: Prepared, rows: NDArray[np.int64]) -> tuple[Floats32, Floats32]:
    """Logits and embeddings of prepared pictures; a trunk that is frozen as a whole is run once for all runs of a store."""
    views = run.recipe.views
    if run.recipe.model.trunk.frozen == "all" and views == 1:
        embeddings = frozen_embeddings(run, network, prepared)[rows]
        network.eval()
        with torch.inference_mode():
            logits = network.head(torch.from_numpy(embeddings).to(next(network.parameters()).device)).cpu().numpy()
        return logits, embeddings
    with run.progress("answers", len(rows)) as bar:
        return infer(network, prepared.images, rows, views=views, progress=lambda count: bar.advance(TaskID(0), count))


def frozen_embeddings(run: Run, network: Network, prepared: Prepared) -> Floats32:
    """(N, E) embeddings of every prepared picture, kept beside them under the hash of the trunk's tensors."""
    path = prepared.folder / f"embeddings-{_fingerprint(run, network)}.npy"
    if not path.exists():
        with run.progress("features", len(prepared.images)) as bar:
            rows = np.arange(len(prepared.images))
            found = infer(network, prepared.images, rows, progress=lambda count: bar.advance(TaskID(0), count))[1]
        out = io.BytesIO()
        np.save(out, found)
        write_bytes(path, out.getvalue())
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def training_features(run: Run, network: Network, prepared: Prepared, train: Part, views: int) -> Floats:
    """(views * N, E) pooled features: every case plain, then varied `views - 1` times."""
    out = [frozen_embeddings(run, network, prepared)[train.rows]]
    with run.progress("varied features", (views - 1) * len(train.ids)) as bar:
        network.eval()
        for view in range(1, views):
            for start in range(0, len(train.ids), 64):
                rows = slice(start, start + 64)
                images = to_tensor(prepared.images[train.rows[rows]], next(network.parameters()).device)
                images = apply(run.recipe.augment, images, train.keys[rows], seed=run.settings.seed, epoch=view)
                with torch.inference_mode():
                    out.append(network.embed(three_channels(images)).cpu().numpy())
                bar.advance(TaskID(0), len(images))
    return np.concatenate(out).astype(np.float64)


def _fingerprint(run: Run, network: Network) -> str:
    """Everything an embedding follows from beside the picture: the form of the trunk, its normalisation and its tensors."""
    form = {key: value for key, value in to_record(run.recipe.model.trunk).items() if key not in ("weights", "frozen")}
    digest = hashlib.sha256(json.dumps([form, network.trunk.mean, network.trunk.std, __version__]).encode())
    for name, value in cast(torch.nn.Module, network.trunk).state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def fit_linear(
    features: Floats, targets: NDArray[np.float32], penalty: float, learn: FeatureClassifier, task: object
) -> tuple[Floats, Floats]:
    """Weights (outputs, E) and biases (outputs,) of multinomial (Classify) or one binary regression an output.

    The features are standardised for the fit, so that one penalty suits them all; the scaling is folded into the weights.
    """
    mean, spread = features.mean(0), features.std(0) + 1e-6
    weight, bias = _fit_standard((features - mean) / spread, targets, penalty, learn, task)
    weight = weight / spread
    return weight, bias - weight @ mean


def _fit_standard(
    features: Floats, targets: NDArray[np.float32], penalty: float, learn: FeatureClassifier, task: object
) -> tuple[Floats, Floats]:
    balance = "balanced" if learn.class_weights == "balanced" else None
    model = LogisticRegression(C=penalty, class_weight=balance, max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a weak penalty is judged on tune like any other
        if isinstance(task, Classify):
            if len(there := np.unique(targets.argmax(1))) == 1:  # of few persons all may be of one class: its base rate, no slope
                bias = np.full(targets.shape[1], np.log(0.5 / len(features)))
                bias[there] = 0
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
