"""benchmarks/probes.md: ImageNet MobileNet-V2 against a plain logistic regression on the same network's features.

    python -m benchmarks.probes --data FOLDER [--only us-breast] [--variant fine-tuned]

Each set is cross-validated over 5 grouped folds with the variant "features" of its recipe, through the whole flow: audit, split
by person and duplicate cluster, calibration. Beside it a plain logistic regression on the same features in the same folds, which
learns from everything outside the fold, its penalty left at scikit-learn's default. Then both in the usual folds: persons apart
only where the set names them, near-duplicates on both sides, everything outside the fold learnt from (resdx: its regression with
its nested choice of the penalty; the plain one was measured once outside resdx). Where the features fall short of that, the last
three stages of the same network were trained in the first kind of folds (variant "fine-tuned"; its settings come from the recipe
and were chosen on no set of this table).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import sets
from resdx.data.tasks import positive_class, truth
from resdx.files import read_json, write_json
from resdx.inference.logits import predict_run
from resdx.metrics.classification import auroc, macro_auroc
from resdx.metrics.estimate import Estimate
from resdx.recipes.recipe import Recipe
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.cross_validation import cross_validate, mean_over_folds
from resdx.training.frozen_features import fitter, out_of_fold, settings_of

HERE = Path(__file__).parent
FIGURES = HERE / "figures"


@dataclass(frozen=True)
class Probe:
    """A set and the plain probe to stand beside: AUROC and balanced accuracy (accuracy on a shipped test set)."""

    data: str
    auroc: float
    balanced: float
    below: str = ""  # a folder of the set
    classes: tuple[str, ...] = ()


PROBES = (
    Probe("us-breast", 0.940, 0.823),
    Probe("ct-covid", 0.855, 0.761),
    Probe("ct-lung", 0.986, 0.909),
    Probe("mri-brain", 0.975, 0.874, below="Training"),
    Probe("skin-ham10000", 0.878, 0.578),
    Probe("fundus-odir", 0.668, 0.603, classes=("normal", "retinopathy")),
)


def recipe_of(probe: Probe, variant: str) -> Recipe:
    """The variant for a probe; two of the fundus labels make a question of one class a case."""
    recipe = sets.recipe_of(probe.data, variant)
    if not probe.classes:
        return recipe
    source: Any = recipe.source
    patterns = tuple(pair for pair in source.patterns if pair[0] in probe.classes)
    others = "|".join(f"(?:{pattern})" for name, pattern in source.patterns if name not in probe.classes)
    task: Any = sets.recipe_of("us-breast", "features").task
    return replace(
        recipe, source=replace(source, patterns=patterns, unknown=(*source.unknown, others)), classes=probe.classes, task=task
    )


def main() -> None:
    """Measure what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", nargs="*", help="these sets only")
    parser.add_argument("--variant", choices=("features", "fine-tuned"), default="features")
    asked = parser.parse_args()
    FIGURES.mkdir(exist_ok=True)
    for probe in PROBES:
        kept = kept_of(probe, asked.variant)
        if not kept.exists() and (not asked.only or probe.data in asked.only):
            out = HERE / "runs" / kept.stem
            found = cross_validate(asked.data / probe.data / probe.below, out=out, recipe=recipe_of(probe, asked.variant))
            if asked.variant == "features":
                runs = [Run.open(path) for path in sorted(out.glob("fold-*"))]
                found |= {"plain": plain(runs).to_json(), "usual": usual(runs[0]).to_json()}
            write_json(kept, found)
    rows = [row(probe) for probe in PROBES if kept_of(probe, "features").exists()]
    (HERE / "probes.md").write_text(TEXT + "\n".join(rows) + "\n")


def plain(runs: Sequence[Run]) -> Estimate:
    """The AUROC of a logistic regression on the pooled features of everything outside each fold."""
    recipe = runs[0].recipe
    prepared = prepared_of(runs[0])
    known, said, groups = [], [], []
    for run in runs:
        inside = {case.id for case in run.cases("test")}
        cases = [case for case in run.manifest.cases if case.labels is not None and case.id in prepared.row]
        features = predict_run(run, prepared, prepared.rows([case.id for case in cases])).embeddings
        test = np.array([case.id in inside for case in cases])
        true = truth(recipe.task, recipe.classes, cases).argmax(1)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features[~test], true[~test])
        known.append(np.eye(len(recipe.classes))[true[test]])
        said.append(model.predict_proba(features[test]))
        groups.append([case.group for case, chosen in zip(cases, test, strict=True) if chosen])
    if positive := positive_class(recipe.task, recipe.classes) if len(recipe.classes) == 2 else "":
        k = recipe.classes.index(positive)
        return mean_over_folds(auroc, [part[:, k] for part in known], [part[:, k] for part in said], groups)
    return mean_over_folds(macro_auroc, known, said, groups)


def usual(run: Run) -> Estimate:
    """The AUROC of resdx's regression in folds that keep apart only what the set itself says belongs together."""
    recipe, prepared = run.recipe, prepared_of(run)
    cases = [case for case in run.manifest.cases if case.labels is not None and case.id in prepared.row]
    features = predict_run(run, prepared, prepared.rows([case.id for case in cases])).embeddings
    known = truth(recipe.task, recipe.classes, cases)
    own = [case.group or case.id for case in cases]
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(features, known.argmax(1), own)
    fold = np.zeros(len(cases), np.int64)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    score = partial(_macro, known)
    settings = settings_of(recipe.model.head, recipe.learn)  # type: ignore[arg-type]
    logits = out_of_fold(features, features, known, fold, score=score, settings=settings, fit=fitter(run))[0]
    said = recipe.task.probabilities(logits.astype(np.float32))
    parts = [fold == number for number in range(5)]
    groups = [[own[i] for i in np.flatnonzero(part)] for part in parts]
    k = recipe.classes.index(positive_class(recipe.task, recipe.classes)) if len(recipe.classes) == 2 else None
    if k is not None:
        return mean_over_folds(auroc, [known[part, k] for part in parts], [said[part, k] for part in parts], groups)
    return mean_over_folds(macro_auroc, [known[part] for part in parts], [said[part] for part in parts], groups)


def _macro(known: NDArray[np.float32], rows: NDArray[np.bool_], logits: NDArray[np.float64]) -> float:
    return float(macro_auroc(known[rows], logits))


def kept_of(probe: Probe, variant: str) -> Path:
    """Where the figures of a set are kept."""
    return FIGURES / f"{'probe' if variant == 'features' else variant}-{probe.data}.json"


def area_of(found: dict[str, Any]) -> Estimate:
    """The AUROC of the positive class, or macro."""
    figures = found["figures"]
    single = [name for name in figures if name.startswith("auroc ")]
    return Estimate.from_json(figures[single[0] if len(single) == 1 else "macro_auroc"])


def row(probe: Probe) -> str:
    """One line of the table."""
    found, tuned = read_json(kept_of(probe, "features")), kept_of(probe, "fine-tuned")
    balanced = Estimate.from_json(found["figures"]["balanced_accuracy"])
    same, habit = (Estimate.from_json(found[name]) for name in ("plain", "usual"))
    areas = (area_of(found), same, habit, f"{probe.auroc:.3f}", area_of(read_json(tuned)) if tuned.exists() else "-")
    return (
        f"| {probe.data} | {found['cases']} / {found['persons']} | "
        + " | ".join(map(str, (*areas, balanced, f"{probe.balanced:.3f}")))
        + " |"
    )


TEXT = f"""# ImageNet features: resdx against a plain probe

`python -m benchmarks.probes --data FOLDER`. {(__doc__ or "").split("[--only us-breast]")[1].strip()}

| data set | cases / persons | AUROC, resdx | plain | resdx, usual folds | plain, usual folds | resdx, fine-tuned | balanced \
accuracy, resdx features | plain, usual folds |
|---|---|---|---|---|---|---|---|---|
"""

if __name__ == "__main__":
    main()
