"""How often the map of a mammogram peaks in the circle that a radiologist drew: mini-MIAS.

    python -m benchmarks.mias FOLDER WORK > benchmarks/mias.md

FOLDER holds the films mdb001 ... (images/*.jpg) and the list `labels`, whose circles are in pixels of 1,024, counted from the
bottom left corner; films 2n - 1 and 2n are of one woman. Frozen features of ImageNet MobileNet-V2 tell abnormal from normal in 5
folds by woman; nothing is tuned.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from resdx.data.persons import count_persons
from resdx.data.sources.public_sets import MiniMias
from resdx.evaluation.saliency.explain import METHODS, SLOW
from resdx.evaluation.saliency.pointing import pointed
from resdx.metrics.estimate import Estimate
from resdx.metrics.intervals import proportion
from resdx.recipes.library import get_recipe
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.cross_validation import cross_validate

SIZE = 448  # pixels of the prepared film


def main(folder: Path, work: Path) -> None:
    """Cross-validate, point, print the page."""
    work.mkdir(parents=True, exist_ok=True)
    whole, table = MiniMias("labels").scan(folder), work / "films.csv"
    table.write_text(
        replace(whole, cases=tuple(replace(case, path=str(folder.resolve() / case.path)) for case in whole.cases)).to_csv()
    )
    recipe = get_recipe("plain:features").set("size", str(SIZE))
    figures = cross_validate(table, out=work / "folds", recipe=recipe)["figures"]
    runs = [Run.open(path, quiet=True) for path in sorted((work / "folds").glob("fold-*"))]
    area = next(Estimate.from_json(figure) for name, figure in figures.items() if name.startswith("auroc"))
    lines = [
        "# Maps on mammograms\n",
        (
            f"mini-MIAS, {len(whole)} films of {count_persons(whole.cases)} women, "
            f"{sum(bool(case.boxes) for case in whole.cases)} with a circle."
        ),
        "Its defect: small, digitised film of 1994, here at 448 px of 1,024.",
        f"Frozen ImageNet MobileNet-V2 at {SIZE} px, 5 folds by woman; AUROC of abnormal {area}.\n",
        (
            "Pointing game: share of films whose map for the class abnormal peaks in the box around a circle, or outside by "
            "no more than half a cell.\n"
        ),
        "| method | map | all films with a circle | called abnormal only | chance |",
        "|---|---|---|---|---|",
    ]
    for method in (name for name in METHODS if name not in SLOW):
        row = []
        for only_found in (False, True):
            found = [pointed(run, prepared_of(run), method=method, only_found=only_found) for run in runs]
            row.append(proportion(np.concatenate([one.hit for one in found]), [who for one in found for who in one.persons]))
        chance = np.concatenate([one.chance for one in found]).mean()
        lines.append(f"| {method} | {' x '.join(map(str, found[0].shape))} | {row[0]} | {row[1]} | {chance:.3f} |")
    lines.append("\nMade by `python -m benchmarks.mias FOLDER WORK > benchmarks/mias.md`.")
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
