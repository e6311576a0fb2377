"""Frozen features and a classifier that is fitted to them and becomes the network's own head.

The result is a network like any other: the same weights file, prediction, maps and export.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import TaskID
from torch import nn

from ..data.cases import Case
from ..data.persons import count_persons
from ..data.split import grouped_folds
from ..errors import DataError, RecipeError
from ..inference.logits import cached_embeddings, head_logits, predict_run
from ..inference.ood import fit_ood_score
from ..models.backbones.wrappers import fit_inputs
from ..models.forward import default_device, three_channels, to_tensor
from ..models.heads.fitted import FittedHead
from ..models.heads.specs import Mlp
from ..models.heads.trained import Head
from ..models.network import Network, build
from ..models.specs import Cells
from ..models.weights import save_state
from ..recipes.learning import FeatureClassifier
from ..runs.partition import Part, tune_score
from ..runs.prepared import Prepared
from ..runs.run import Run, Scores
from ..transforms.augment import apply
from .sklearn_heads import Floats, Floats32, Setting, fit_head, settings_of

FOLDS = 5  # of the persons of train, for out-of-fold scores; fewer where there are fewer persons
PATIENCE = 2  # weaker penalties that did no better, after which still weaker ones, slow to fit, are not tried

Fit = Callable[[Setting, Floats, Floats32], nn.Module]  # setting, features (N, E), targets (N, outputs) -> head


def fit_features(run: Run, prepared: Prepared, train: Part, tune: Part) -> Network:
    """Fit the head on frozen features, with the setting that does best on the validation set.

    Raises:
        RecipeError: the head is one that is trained, or nothing gives the backbone its weights.
    """
    learn, network = cast(FeatureClassifier, run.recipe.learn), _start(run, prepared, train)
    features = training_features(run, network, prepared, train, learn.views)
    targets = np.tile(train.targets, (learn.views, 1))  # (V * N, outputs): every view has its case's
    tuning = predict_run(run, prepared, tune.rows, network=network).embeddings
    heads: list[nn.Module] = []
    scores: list[float] = []
    for setting in settings_of(run.recipe.model.head, learn):
        heads.append(fitter(run)(setting, features, targets))
        scores.append(tune_score(run, tune, head_logits(heads[-1], tuning)))
        _report(run, setting, scores[-1], "tune")
        if _choice(scores, patience(setting))[1]:
            break
    return _store(run, network, heads[_choice(scores, patience(setting))[0]])


def fitter(run: Run) -> Fit:
    """How the run fits its head."""
    recipe, learn = run.recipe, cast(FeatureClassifier, run.recipe.learn)
    return partial(fit_head, recipe.model.head, learn=learn, task=recipe.task, seed=run.settings.seed)


def chosen_setting(run: Run) -> Setting | None:
    """The setting that did best where the run tried several, of equal ones the first.

    None before it was trained.
    """
    tried = [({"penalty": entry["penalty"]}, entry["tune_score"]) for entry in run.events("penalty")]
    tried += [(entry["setting"], entry["tune_score"]) for entry in run.events("trial")]
    return max(tried, key=lambda one: one[1])[0] if tried else None


def is_cross_fitted(run: Run) -> bool:
    """True where the split has train and test alone.

    Out-of-fold scores of train take the place of validation and calibration set.
    """
    return not run.cases("tune") and not run.cases("calib")


def cross_fit(run: Run, prepared: Prepared, train: Part) -> Scores:
    """Out-of-fold answers to all of train.

    The network that is kept is fitted on all of it, with the setting best over the folds.

    Raises:
        RecipeError: as for `fit_features`.
        DataError: fewer than three persons.
    """
    learn, network = cast(FeatureClassifier, run.recipe.learn), _start(run, prepared, train)
    features = training_features(run, network, prepared, train, learn.views)
    plain = predict_run(run, prepared, train.rows, network=network).embeddings
    by_id = {case.id: case for case in run.cases("train")}
    cases = [by_id[case] for case in train.ids]
    fold = train_folds(run, cases)

    def score(rows: NDArray[np.bool_], logits: Floats32) -> float:
        return tune_score(run, replace(train, truth=train.truth[rows]), logits)

    settings = settings_of(run.recipe.model.head, learn)
    logits, chosen, means = out_of_fold(features, plain, train.targets, fold, score=score, settings=settings, fit=fitter(run))
    for setting, mean in zip(settings, means, strict=False):
        _report(run, setting, mean, "out-of-fold")
    run.log("cross-fitting", persons=count_persons(cases), folds=len(chosen) - 1, settings=chosen)
    run.say(f"train: cross-fitted out-of-fold scores of {count_persons(cases)} persons, {len(chosen) - 1} folds")
    _store(run, network, fitter(run)(chosen[-1], features, np.tile(train.targets, (learn.views, 1))))
    return Scores(train.ids, logits, plain)


def train_folds(run: Run, cases: Sequence[Case]) -> NDArray[np.int64]:
    """The fold of each case of train, persons whole; the same whenever a run is asked.

    Raises DataError for two persons.
    """
    unit = np.unique([case.group for case in cases], return_inverse=True)[1].tolist()
    if (count := len(set(unit))) < 3:
        raise DataError(f"{count} persons in train cannot be cross-fitted, which takes 3; use more data")
    return grouped_folds(cases, unit, min(FOLDS, count), run.settings.seed)


def out_of_fold(
    features: Floats,
    plain: Floats32,
    targets: Floats32,
    fold: NDArray[np.int64],
    *,
    score: Callable[[NDArray[np.bool_], Floats32], float],
    settings: Sequence[Setting],
    fit: Fit,
) -> tuple[Floats32, list[Setting], list[float]]:
    """Out-of-fold logits (N, outputs): each case by a fit that saw nothing of its fold.

    The setting is chosen without the fold too.

    The setting for a fold is the one that answers the other folds best, each of them left out as well; a fit without two
    folds serves the choice of both, so that nesting costs 10 fits a setting with 5 folds, not 20.

    Args:
        features: (V * N, E) learnt from, every case plain and then varied; `plain` (N, E) those that are answered.
        score: what a mask (N,) of cases and their logits are worth; higher is better.
        settings: what is tried, in this order.

    Returns:
        The logits; the setting for each fold, then the one for a fit on all; and the mean score of each setting tried.
    """
    numbers = np.unique(fold)
    views = len(features) // len(fold)
    every, wanted = np.tile(fold, views), np.tile(targets, (views, 1))

    def answer(setting: Setting, rows: NDArray[np.bool_], *without: int) -> Floats32:
        seen = ~np.isin(every, without)  # (V * N,)
        return head_logits(fit(setting, features[seen], wanted[seen]), plain[rows])

    choosers: list[list[float]] = [[] for _ in range(len(numbers) + 1)]  # mean scores by setting: of each fold, then of all
    found: list[Floats32] = []
    for setting in settings:
        # inner[i, j]: the score on fold j of fits without i and j, which chooses for i; on the diagonal, of fits without i
        # alone.
        inner, outer = np.zeros((len(numbers), len(numbers))), np.zeros((len(plain), targets.shape[1]), np.float32)
        for i, j in combinations(range(len(numbers)), 2):
            pair = np.isin(fold, numbers[[i, j]])
            both = answer(setting, pair, numbers[i], numbers[j])
            for chooses, judged in ((i, j), (j, i)):
                rows = fold == numbers[judged]
                inner[chooses, judged] = score(rows, both[rows[pair]])  # rows[pair]: the places of fold j within the pair
        for i, number in enumerate(numbers):
            rows = fold == number
            outer[rows] = answer(setting, rows, number)
            inner[i, i] = score(rows, outer[rows])
        found.append(outer)
        for i, chooser in enumerate(choosers[:-1]):
            chooser.append(float(np.delete(inner[i], i).mean()))  # what is left out does not choose for itself
        choosers[-1].append(float(inner.diagonal().mean()))
        if all(_choice(chooser, patience(setting))[1] for chooser in choosers):
            break
    places = [_choice(chooser, patience(setting))[0] for chooser in choosers]
    # Each case by the setting that was chosen without its fold.
    logits = np.stack([found[places[i]][k] for k, i in enumerate(np.searchsorted(numbers, fold))])
    return logits, [settings[k] for k in places], choosers[-1]


def out_of_fold_distance(embeddings: Floats32, fold: NDArray[np.int64]) -> Floats:
    """Out-of-fold OOD scores (N,): how unlike the cases of the other folds each case is."""
    out = np.zeros(len(fold))
    for number in np.unique(fold):
        out[fold == number] = fit_ood_score(embeddings[fold != number]).distance(embeddings[fold == number])
    return out


def _start(run: Run, prepared: Prepared, train: Part) -> Network:
    """The network with the backbone's weights. Raises RecipeError when its features cannot be learnt from."""
    recipe = run.recipe
    if isinstance(recipe.model.head, Mlp):
        raise RecipeError(f"{recipe.name}: FeatureClassifier fits a Linear(), Svm() ... head, not {recipe.model.head}")
    if not (recipe.model.backbone.weights or run.settings.weights or isinstance(recipe.model.backbone, Cells)):
        raise RecipeError(
            f"{recipe.name}: features of an untrained backbone say nothing; set model.backbone.weights or use Training()"
        )
    weights = Path(run.settings.weights) if run.settings.weights else None
    network = build(recipe.model, train.targets.shape[1], weights=weights)
    fit_inputs(network.backbone, prepared.images, train.rows)
    return network.to(default_device())


def patience(setting: Setting) -> float:
    """How many settings may do no better before the search stops.

    Only penalties have an order, and become slow to fit.
    """
    return PATIENCE if "penalty" in setting else math.inf


def _choice(scores: Sequence[float], patience: float = PATIENCE) -> tuple[int, bool]:
    """The place of the best score, of equal ones the first.

    And whether `patience` later ones did no better, after which none counts.
    """
    best = 0
    for k, score in enumerate(scores):
        best = k if score > scores[best] else best
        if k - best >= patience:
            return best, True
    return best, False


def _report(run: Run, setting: Setting, score: float, cases_name: str) -> None:
    if "penalty" in setting:
        run.log("penalty", penalty=setting["penalty"], tune_score=score)
    else:
        run.log("trial", setting=setting, tune_score=score)
    words = ", ".join(f"{name}={value:g}" for name, value in setting.items())
    run.say(f"{words}: {cases_name} AUROC {score:.3f}")


def _store(run: Run, network: Network, head: nn.Module) -> Network:
    network.head = cast(Head | FittedHead, head.float().to(default_device()))
    save_state(network, run.path / "best.safetensors")
    return network


def training_features(run: Run, network: Network, prepared: Prepared, train: Part, views: int) -> Floats:
    """(views * N, E) pooled features: every case plain, then varied `views - 1` times."""
    out = [cached_embeddings(run, network, prepared)[train.rows]]
    with run.progress("varied features", (views - 1) * len(train.ids)) as bar:
        network.eval()
        for view in range(1, views):
            for start in range(0, len(train.ids), 64):
                rows = slice(start, start + 64)
                images = to_tensor(prepared.images[train.rows[rows]], network.device)
                images = apply(run.recipe.augment, images, train.keys[rows], seed=run.settings.seed, epoch=view)
                with torch.inference_mode():
                    out.append(network.embed(three_channels(images)).cpu().numpy())
                bar.advance(TaskID(0), len(images))
    return np.concatenate(out).astype(np.float64)
