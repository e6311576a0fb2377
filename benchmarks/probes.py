"""benchmarks/probes.md: frozen ImageNet MobileNet-V2 features against a plain logistic regression on the same network's features.

    python -m benchmarks.probes --data FOLDER [--only us-breast]

Each set is cross-validated over 5 grouped folds with the variant "features" of its recipe (cxr-pneumonia: its shipped test part), through
the whole flow: audit, split by person and duplicate cluster, calibration. The plain probe beside it was measured once without any of that: all
images of the other folds, no tune and no calib part, and groups only where the set names persons.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.sets import SETS
from resdx.cross import cross_validate
from resdx.metrics import Estimate
from resdx.recipe import Recipe
from resdx.records import read_json, write_json

HERE = Path(__file__).parent
FIGURES = HERE / "figures"


@dataclass(frozen=True)
class Probe:
    """A set and the plain probe to stand beside: AUROC and balanced accuracy (accuracy on a shipped test part)."""

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


def recipe_of(probe: Probe) -> Recipe:
    """The features variant for a probe; two of the fundus labels make a question of one class a case."""
    recipe = SETS[probe.data].recipe_of("features")
    if not probe.classes:
        return recipe
    source: Any = recipe.source
    patterns = tuple(pair for pair in source.patterns if pair[0] in probe.classes)
    others = "|".join(f"(?:{pattern})" for name, pattern in source.patterns if name not in probe.classes)
    task: Any = SETS["us-breast"].recipe_of("features").task
    return replace(
        recipe, source=replace(source, patterns=patterns, unknown=(*source.unknown, others)), classes=probe.classes, task=task
    )


def main() -> None:
    """Measure what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--only", nargs="*", help="these sets only")
    asked = parser.parse_args()
    FIGURES.mkdir(exist_ok=True)
    for probe in PROBES:
        kept = FIGURES / f"probe-{probe.data}.json"
        if not kept.exists() and (not asked.only or probe.data in asked.only):
            out = HERE / "runs" / f"probe-{probe.data}"
            write_json(kept, cross_validate(asked.data / probe.data / probe.below, out=out, recipe=recipe_of(probe)))
    rows = [
        row(probe, read_json(FIGURES / f"probe-{probe.data}.json"))
        for probe in PROBES
        if (FIGURES / f"probe-{probe.data}.json").exists()
    ]
    (HERE / "probes.md").write_text(TEXT + "\n".join(rows) + "\n")


def row(probe: Probe, found: dict[str, Any]) -> str:
    """One line of the table."""
    figures = found["figures"]
    single = [name for name in figures if name.startswith("auroc ")]
    auroc = Estimate.from_json(figures[single[0] if len(single) == 1 else "macro_auroc"])
    balanced = Estimate.from_json(figures["balanced_accuracy"])
    return f"| {probe.data} | {found['cases']} / {found['persons']} | {auroc} | {probe.auroc:.3f} | {balanced} | {probe.balanced:.3f} |"


TEXT = f"""# Frozen features: resdx against a plain probe

`python -m benchmarks.probes --data FOLDER`. {(__doc__ or "").split("[--only us-breast]")[1].strip()}

| data set | cases / persons | AUROC, resdx | plain probe | balanced accuracy, resdx | plain probe |
|---|---|---|---|---|---|
"""

if __name__ == "__main__":
    main()
