"""Cross-validation by person: every case is tested once, by a model that has not seen its person.

A parent directory holds one run a fold and `folds.json`. What needs scores on one scale (AUROC, average precision) is the mean over
the folds, never the figure of pooled raw scores; decisions and calibrated probabilities may be pooled (STATISTICS section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .calibration import Calibration
from .cases import Case, count_persons
from .errors import RunError
from .intervals import FEWEST, estimate, person_codes, persons_behind, resample, too_few
from .metrics import Array, Estimate, Metric, accuracy, auroc, balanced_accuracy, macro_auroc, majority_rate
from .records import from_record, write_json
from .runs import Run
from .stages import accepting, adopt, changed_recipe, default_folder, resume, start
from .tasks import MultiLabel, positive_class, truth

DRAWS = 2000


def cross_validate(
    data: str | Path, *, out: str | Path | None = None, folds: int = 5, quiet: bool = False, **asked: Any
) -> dict[str, Any]:
    """Run every fold (or go on where it was killed) and give what folds.json says.

    Args:
        out: the parent directory (default: a new one below `runs`)
        asked: recipe, changes, seed, accept, weights as for `resdx.run`

    Raises:
        DataError: fewer persons than folds.
        RunError: the parent holds another number of folds, or another protocol than honest is asked for.
    """
    if (protocol := asked.get("protocol", "honest")) != "honest":
        raise RunError(f"folds are dealt by person, which protocol {protocol} does not do; leave out --protocol or --folds")
    parent = Path(out) if out else default_folder(data, asked.get("recipe", "plain"))
    runs: list[Run] = []
    for fold in range(folds):
        path = parent / f"fold-{fold}"
        if (path / "run.json").exists():
            run = Run.open(path, quiet=quiet)
            if (made := run.settings.folds) != folds:
                raise RunError(f"{parent} holds runs of {made} folds, not {folds}; use --folds {made} or choose another --out")
            _same_question(run, asked)
            run = accepting(run, asked.get("accept", ()))
        else:
            run = start(data, out=path, fold=fold, folds=folds, quiet=quiet, **asked)
            if fold:
                adopt(run, runs[0])
        resume(run)
        runs.append(Run.open(path, quiet=quiet))
    result = summary(runs)
    write_json(parent / "folds.json", result)
    return result


def _same_question(run: Run, asked: dict[str, Any]) -> None:
    """Raise RunError where a fold that is there was asked something else: folds of two questions make no cross-validation."""
    wanted = changed_recipe(asked.get("recipe", "plain"), asked.get("changes", ()))
    wanted = replace(wanted, classes=wanted.classes or run.recipe.classes)
    if wanted != run.recipe or asked.get("seed", 0) != run.settings.seed:
        raise RunError(f"{run.path} was made with another recipe or seed; ask the same again or choose another --out")


def table(result: dict[str, Any]) -> str:
    """The figures for a terminal."""
    lines = [f"{result['folds']} folds, {result['cases']} cases of {result['persons']} persons, each tested once"]
    lines += [f"  {name.replace('_', ' ')}: {Estimate.from_json(figure)}" for name, figure in result["figures"].items()]
    return "\n".join(lines)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Figures over the test parts of all folds, image level."""
    recipe = runs[0].recipe
    cases, known, probability, decided = zip(*(_answers(run) for run in runs), strict=True)
    groups = [[case.group for case in part] for part in cases]
    everyone = [group for part in groups for group in part]
    out = {"folds": len(runs), "cases": len(everyone), "persons": count_persons([case for part in cases for case in part])}
    figures = {"macro_auroc": mean_over_folds(macro_auroc, known, probability, groups)}
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


def mean_over_folds(
    metric: Metric, known: Sequence[Array], answer: Sequence[Array], groups: Sequence[Sequence[str]], *, seed: int = 0
) -> Estimate:
    """Mean of a metric over folds; its interval from drawing persons within each fold."""
    values, draws, few, persons = [], [], 0, 0
    for fold, (true, said, group) in enumerate(zip(known, answer, groups, strict=True)):
        codes = person_codes(group, len(true))
        values.append(float(metric(true, said)))
        draws.append(
            np.concatenate([metric(true, said, weights) for weights in resample(true, codes, draws=DRAWS, seed=seed + fold)])
        )
        few += persons_behind(metric, true, codes)
        persons += len(np.unique(codes))
    value = float(np.mean(values))
    if not np.isfinite(value):
        return Estimate(None, None, None, persons, "not estimable: a fold lacks a class")
    if few < FEWEST:
        return Estimate(value, None, None, persons, too_few(few))
    if value in (0.0, 1.0):
        return Estimate(value, None, None, persons, "all right or all wrong in every fold: drawing persons gives no interval")
    low, high = np.nanquantile(np.mean(draws, axis=0), (0.025, 0.975))
    return Estimate(value, float(low), float(high), persons, f"mean over {len(values)} folds; persons drawn within each fold")


def _answers(run: Run) -> tuple[list[Case], Array, Array, Array]:
    """Test cases of a fold with truth, calibrated probabilities and forced decisions, each (N, K)."""
    scores, calibration = run.scores("test"), from_record(run.read("calibration.json", "calibrate"))
    assert isinstance(calibration, Calibration)
    by_id = {case.id: case for case in run.cases("test")}
    cases = [by_id[case] for case in scores.ids]
    probability = calibration.probabilities(scores.logits)
    known = truth(run.recipe.task, run.recipe.classes, cases)
    return cases, known.astype(np.float64), probability.astype(np.float64), calibration.choose(probability).astype(np.float64)
