"""Cross-validation by person: every case is tested once, by a model that has not seen its person.

A parent directory holds one run a fold, `folds.json`, and `calibration.json`, with which the networks of all folds answer new
files together (`resdx predict PARENT FILES`). What needs scores on one scale (AUROC, average precision) is the mean over
the folds, never the figure of pooled raw scores; decisions and calibrated probabilities may be pooled
(docs/methods/evaluation.md, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.persons import count_persons
from ..data.tasks import Detect, MultiLabel, positive_class, truth
from ..errors import RunError
from ..evaluation.calibrate import fit_calibration
from ..evaluation.figures import answers_of
from ..evaluation.scoring import left_out
from ..files import write_json
from ..inference.calibration import Calibration
from ..inference.opening import load_ood_score
from ..metrics.auroc_variance import auroc_by_person, variance_between
from ..metrics.bootstrap import resample
from ..metrics.classification import Array, Metric, accuracy, auroc, balanced_accuracy, macro_auroc, majority_rate
from ..metrics.estimate import Estimate
from ..metrics.intervals import (
    MIN_FOR_AUROC_PERCENTILES,
    MIN_FOR_PERCENTILES,
    MIN_PERSONS,
    effective_sample_size,
    end_bound,
    estimate,
    logit_t_interval,
    person_codes,
    too_few,
)
from ..records import to_record
from ..report import report_folds
from ..runs.run import Run
from ..runs.settings import Refer
from .stages import EVIDENCE, adopt, resume
from .start import accepting, changed_recipe, default_folder, refuse_another, start

DRAWS = 2000


def cross_validate(
    data: str | Path, *, out: str | Path | None = None, folds: int = 5, quiet: bool = False, **asked: Any
) -> dict[str, Any]:
    """Run every fold, fit the parent's calibration, and give what folds.json says.

    Where it was killed it goes on.

    Args:
        out: the parent directory (default: a new one below `runs`)
        asked: recipe, changes, seed, accept, weights as for `resdx.run`

    Raises:
        DataError: fewer persons than folds.
        RunError: the parent holds another number of folds, or another protocol than honest is asked for.
    """
    if (protocol := asked.get("protocol", "honest")) != "honest":
        raise RunError(f"folds are dealt by person, which protocol {protocol} does not do; leave out --protocol or --folds")
    if isinstance(changed_recipe(asked.get("recipe", "plain"), asked.get("changes", ()), data).task, Detect):
        raise RunError(
            "folds answer together, and networks that find boxes, each from shapes of its own, do not; leave out --folds"
        )
    parent = Path(out) if out else default_folder(data, asked.get("recipe", "plain"))
    runs: list[Run] = []
    for fold in range(folds):
        path = parent / f"fold-{fold}"
        if (path / "run.json").exists():
            run = Run.open(path, quiet=quiet)
            if (made := run.settings.folds) != folds:
                raise RunError(f"{parent} holds runs of {made} folds, not {folds}; use --folds {made} or choose another --out")
            refuse_another(run, data, asked)
            run = accepting(run, asked.get("accept", ()))
        else:
            run = start(data, out=path, fold=fold, folds=folds, quiet=quiet, **{**asked, "skip": EVIDENCE})
            if fold:
                adopt(run, runs[0])
        resume(run)
        runs.append(Run.open(path, quiet=quiet))
    result = summary(runs)
    write_json(parent / "calibration.json", to_record(pooled_calibration(runs, asked.get("alpha"), asked.get("refer"))))
    write_json(parent / "folds.json", result)
    report_folds(parent)
    return result


def table(result: dict[str, Any]) -> str:
    """The figures for a terminal."""
    lines = [f"{result['folds']} folds, {result['cases']} cases of {result['persons']} persons, each tested once"]
    lines += [f"  {name.replace('_', ' ')}: {Estimate.from_json(figure)}" for name, figure in result["figures"].items()]
    return "\n".join(lines)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Figures over the test parts of all folds, image level."""
    recipe = runs[0].recipe
    cases, answers = zip(*(answers_of(run) for run in runs), strict=True)
    known, probability, decided = zip(*((one.truth, one.probability, one.decided) for one in answers), strict=True)
    groups = [[case.group for case in part] for part in cases]
    everyone = [group for part in groups for group in part]
    out = {"folds": len(runs), "cases": len(everyone), "persons": count_persons([case for part in cases for case in part])}
    lacking = [left_out(recipe.classes, part) for part in known]
    without = "".join(f"; fold {k} without {', '.join(names)}" for k, names in enumerate(lacking, 1) if names)
    macro = mean_over_folds(macro_auroc, known, probability, groups)
    figures = {"macro_auroc": replace(macro, note=macro.note + without)}
    shown = (positive,) if (positive := positive_class(recipe.task, recipe.classes)) else recipe.classes
    for name in shown:
        k = recipe.classes.index(name)
        assessed = [~np.isnan(part[:, k]) for part in known]
        figures[f"auroc {name}"] = mean_over_folds(
            auroc,
            [part[mask, k] for part, mask in zip(known, assessed, strict=True)],
            [part[mask, k] for part, mask in zip(probability, assessed, strict=True)],
            [list(np.array(part)[mask]) for part, mask in zip(groups, assessed, strict=True)],
        )
    if not isinstance(recipe.task, MultiLabel):
        true, called = (np.concatenate(parts).argmax(1) for parts in (known, decided))
        for label, metric in (("accuracy", accuracy), ("majority_rate", majority_rate), ("balanced_accuracy", balanced_accuracy)):
            figures[label] = estimate(metric, true, called, everyone)
    return out | {"figures": {name: figure.to_json() for name, figure in figures.items()}}


def pooled_calibration(runs: Sequence[Run], alpha: float | None = None, refer: Refer | None = None) -> Calibration:
    """Calibrator, operating points and limits from out-of-fold answers.

    Each fold's network answers its test part, so that every person counts once.
    """
    recipe = runs[0].recipe
    scores = [run.scores("test") for run in runs]
    by_id = {case.id: case for run in runs for case in run.cases("test")}
    cases = [by_id[case] for part in scores for case in part.ids]
    return fit_calibration(
        recipe.task,
        recipe.classes,
        np.concatenate([part.logits for part in scores]),
        truth(recipe.task, recipe.classes, cases),
        [case.group for case in cases],
        balanced_training=recipe.learn.rebalances,
        distance=np.concatenate([load_ood_score(run).distance(part.embeddings) for run, part in zip(runs, scores, strict=True)]),
        cross_fitted=True,
        alpha=alpha or runs[0].settings.alpha,
    ).referring(refer=refer or runs[0].settings.refer)


def mean_over_folds(
    metric: Metric, known: Sequence[Array], answer: Sequence[Array], groups: Sequence[Sequence[str]], *, seed: int = 0
) -> Estimate:
    """Mean over folds of a metric from 0 to 1, with its interval over the persons of each fold.

    Below 40 persons in the smallest class of all folds (200 for an AUROC) a t interval on the logit scale, with the variance
    between persons within folds; above, percentiles of drawing persons within each fold (docs/methods/evaluation.md, section 3).
    """
    if not all(len(true) for true in known):
        return Estimate(None, None, None, len({one for group in groups for one in group}), "not estimable: a fold lacks a class")
    codes = [person_codes(group, len(true)) for group, true in zip(groups, known, strict=True)]
    value = float(np.mean([float(metric(true, said)) for true, said in zip(known, answer, strict=True)]))
    few = sum(effective_sample_size(metric, true, person) for true, person in zip(known, codes, strict=True))
    persons, folds = sum(len(np.unique(person)) for person in codes), len(known)
    if not np.isfinite(value):
        return Estimate(None, None, None, persons, "not estimable: a fold lacks a class")
    if few < MIN_PERSONS:
        return Estimate(value, None, None, persons, too_few(few))
    if value in (0.0, 1.0):
        return end_bound(value, few, persons, 0.0)
    if few <= folds:
        return Estimate(value, None, None, persons, f"no interval: {few} persons in the smallest class of {folds} folds")
    if metric is auroc and few < MIN_FOR_AUROC_PERCENTILES:
        error, freedom = _error_of_area(known, answer, codes)
        note = (
            f"mean over {folds} folds; t interval on the logit scale, variance between persons of a fold, {freedom:.0f} "
            f"degrees of freedom"
        )
        return logit_t_interval(value, error, freedom, persons, (0.0, 1.0), note)
    means = _draws_of_mean(metric, known, answer, codes, seed)
    if few < MIN_FOR_PERCENTILES:
        error, freedom = float(np.nanstd(means)) * (few / (few - folds)) ** 0.5, few - folds
        note = (
            f"mean over {folds} folds; t interval, error from {DRAWS} draws of persons within each fold, {freedom} degrees "
            f"of freedom"
        )
        return logit_t_interval(value, error, freedom, persons, (0.0, 1.0), note)
    low, high = np.nanquantile(means, (0.025, 0.975))
    return Estimate(value, float(low), float(high), persons, f"mean over {folds} folds; persons drawn within each fold")


def _error_of_area(known: Sequence[Array], answer: Sequence[Array], codes: Sequence[NDArray[np.intp]]) -> tuple[float, float]:
    """Standard error of the mean AUROC of folds, which share no person, and its degrees of freedom."""
    folds = len(known)
    moves = [auroc_by_person(*fold)[1:] for fold in zip(known, answer, codes, strict=True)]
    ours, theirs = (np.concatenate([both[side] for both in moves]) / folds for side in (0, 1))
    first = np.cumsum([0, *(len(both[0]) for both in moves)])
    everyone = np.concatenate([person + start for person, start in zip(codes, first, strict=False)])
    variance, freedom = variance_between(np.concatenate(known), everyone, ours, theirs, folds=folds)
    return variance**0.5, freedom


def _draws_of_mean(
    metric: Metric, known: Sequence[Array], answer: Sequence[Array], codes: Sequence[NDArray[np.intp]], seed: int
) -> Array:
    """(DRAWS,) the mean over folds, persons drawn within each."""
    draws = [
        np.concatenate([metric(true, said, weights) for weights in resample(true, person, replicates=DRAWS, seed=seed + fold)])
        for fold, (true, said, person) in enumerate(zip(known, answer, codes, strict=True))
    ]
    return np.asarray(np.mean(draws, axis=0))
