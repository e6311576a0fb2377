"""Frozen features and a penalised logistic regression on them, folded into the network's own linear head.

The result is a network like any other: the same weights file, prediction, maps and export. scikit-learn does the fitting.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import TaskID
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from . import __version__
from .data import Prepared
from .engines.torch import device, infer, three_channels, to_tensor
from .errors import RecipeError
from .models.net import Network, build
from .models.specs import Linear
from .models.weights import save_state
from .parts import Part, tune_score
from .recipe import FeatureClassifier
from .records import to_record, write_bytes
from .runs import Run
from .steps.random import apply
from .tasks import Classify

PATIENCE = 2  # weaker penalties that did no better, after which still weaker ones, slow to fit, are not tried

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]


def fit_features(run: Run, prepared: Prepared, train: Part, tune: Part) -> Network:
    """Fit the head on frozen features, with the penalty that does best on the tune part, and keep the network.

    Raises:
        RecipeError: the head is not linear, or nothing gives the trunk its weights.
    """
    recipe, learn = run.recipe, cast(FeatureClassifier, run.recipe.learn)
    if not isinstance(recipe.model.head, Linear):
        raise RecipeError(f"{recipe.name}: FeatureClassifier fits a Linear() head, not {recipe.model.head}")
    if not (recipe.model.trunk.weights or run.settings.weights):
        raise RecipeError(f"{recipe.name}: features of an untrained trunk say nothing; set model.trunk.weights or use Training()")
    weights = Path(run.settings.weights) if run.settings.weights else None
    network = build(recipe.model, train.targets.shape[1], weights=weights).to(device())
    features = training_features(run, network, prepared, train, learn.views)
    targets = np.tile(train.targets, (learn.views, 1))
    _, tuning = answers(run, network, prepared, tune.rows)
    best, chosen, worse = -math.inf, learn.penalties[0], 0
    for penalty in sorted(learn.penalties):  # the stronger penalty (smaller C) wins a draw
        weight, bias = fit_linear(features, targets, penalty, learn, recipe.task)
        score = tune_score(run, tune, (tuning @ weight.T + bias).astype(np.float32))
        run.log("penalty", penalty=penalty, tune_score=score)
        run.say(f"penalty C={penalty:g}: tune AUROC {score:.3f}")
        best, chosen, worse = (score, penalty, 0) if score > best else (best, chosen, worse + 1)
        if worse == PATIENCE:
            break
    # The tune part has made its choice: the final fit may learn from it too, since calib and test stay untouched.
    everything = np.concatenate([features, tuning.astype(np.float64)])
    weight, bias = fit_linear(everything, np.concatenate([targets, tune.targets]), chosen, learn, recipe.task)
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
