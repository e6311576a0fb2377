"""How often a map's peak lies on the true opacity of a phantom, and how the checks of every method come out.

    python -m benchmarks.maps FOLDER 96 128 > benchmarks/maps.md

FOLDER is new or holds earlier runs of this command, which are then not trained again; the numbers are the sides of the pictures
in pixels.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from resdx.data.phantoms import draw_phantoms
from resdx.evaluation.saliency.explain import METHODS, explain
from resdx.evaluation.saliency.pointing import pointing_game
from resdx.files import read_json
from resdx.metrics.estimate import Estimate
from resdx.models.specs import Net, ResNet
from resdx.recipes.learning import Training
from resdx.recipes.library import get_recipe
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.stages import EVIDENCE
from resdx.studies.study import run
from resdx.transforms.image import Resize

PERSONS, FILM = 800, 128  # two films a person; pixels of a film

RECIPE = replace(
    get_recipe("plain"),
    model=Net(ResNet(18, last_stride=1)),
    learn=Training(epochs=20, batch=16, ema=0.99),
)


def main(folder: Path, size: int) -> None:
    """Train once, explain, print the page of one size."""
    films = folder / "films"
    if not films.exists():
        draw_phantoms(films, persons=PERSONS, size=FILM, variety=0)
    out = folder / f"run-{size}"
    if not (out / "metrics.json").exists():
        run(films.with_name("films-truth.csv"), recipe=replace(RECIPE, prepare=(Resize(size),)), out=out, skip=EVIDENCE)
    done = Run.open(out, quiet=True)
    prepared, started = prepared_of(done), time.perf_counter()
    explain(done, prepared)
    seconds = time.perf_counter() - started
    found = {name: [pointing_game(done, prepared, method=name, only_found=only) for only in (False, True)] for name in METHODS}
    print(page(done, found, seconds, size))


def page(done: Run, found: dict[str, list[Estimate]], seconds: float, size: int) -> str:
    """The page as Markdown."""
    explained = read_json(done.path / "explain.json")
    auroc = Estimate.from_json(done.metrics.to_json()["scores"]["image"]["classes"]["opacity"]["auroc"])
    boxes = [case.boxes[0] for case in done.cases("test") if case.boxes]
    sides = np.array([box.x2 - box.x1 for box in boxes]) / FILM
    test = done.metrics.to_json()["test"]
    h, w = explained["resolution"]
    lines = [
        f"# Maps on phantoms, {size} px\n",
        (
            f"ResNet-18 with `last_stride=1`, {size} px, from scratch on the clean phantoms of {PERSONS} persons (two films "
            f"each, drawn at {FILM} px)."
        ),
        (
            f"Test part: {test['cases']} films of {test['persons']} persons, AUROC {auroc}. Last maps: {h} x {w}, a cell is "
            f"{size / w:.0f} px."
        ),
        f"Opacities: {len(boxes)} films, diameter {sides.min():.2f} to {sides.max():.2f} of the side "
        f"({size * sides.min():.0f} to {size * sides.max():.0f} px of {size}, mean {size * sides.mean():.0f}).\n",
        (
            "Pointing game: share of films whose map for the class opacity peaks in the opacity's box, or outside by no more "
            "than half a cell of that"
        ),
        "method's map. *Found* films are those the model calls opacity.\n",
        "| method | map | all positives | found only | chance |",
        "|---|---|---|---|---|",
    ]
    rows = {row["name"]: row for row in explained["methods"]}
    for name, (every, only) in found.items():
        shape = " x ".join(map(str, rows[name]["resolution"]))
        lines.append(f"| {name} | {shape} | {every} | {only} | {rows[name]['pointing_chance']:.3f} |")
    lines += [
        (
            "\nChecks of the maps for the answered class, as `explain.json` has them. Randomisation and stability are rank "
            "correlations: the first should be"
        ),
        (
            "near 0, the second near 1. Gain is how much better deletion and insertion together are than with a random map as "
            "coarse.\n"
        ),
        "| method | randomisation | stability | deletion | insertion | gain | outside the body |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = ("randomisation", "stability", "deletion", "insertion", "gain", "outside_body")
    lines += [f"| {name} | " + " | ".join(shown(row[key]) for key in keys) + " |" for name, row in rows.items()]
    lines += ["", *(f"- {row['verdict']}" for row in rows.values()), f"- {explained['verdict']}", ""]
    lines.append(f"Explaining took {seconds:.0f} s. Made by `python -m benchmarks.maps FOLDER {size}`.\n")
    return "\n".join(lines)


def shown(figure: dict[str, Any] | None) -> str:
    """A figure with its interval, or a dash."""
    return str(Estimate.from_json(figure)) if figure else "-"


if __name__ == "__main__":
    for side in sys.argv[2:]:
        main(Path(sys.argv[1]), int(side))
