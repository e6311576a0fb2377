"""Is a planted leak found and no other: python -m benchmarks.leak WORK --weights FILE > benchmarks/leak.md

Phantoms of which some persons lie in the wrong folder with all their films: such a label cannot be told from the picture, only be
remembered with the person. So other films of a test person in training are worth something. The null: one film of each of as many
persons as there are films, labels right, and films of one class named after one person at random, so that nobody can be
remembered. Runs that are done in WORK are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from resdx import __version__
from resdx.data.phantoms import draw_phantoms
from resdx.evaluation.diagnostics.leakage import leak_worth
from resdx.files import read_json
from resdx.metrics.estimate import Estimate
from resdx.runs.prepared import prepared_of
from resdx.runs.run import Run
from resdx.studies.stages import repeat
from resdx.studies.start import start

PERSONS, FILMS, SIZE = 150, 4, 96
NOISE = 0.3  # share of the persons whose films all lie in the wrong folder


def manifest(work: Path, name: str, *, noise: float, shuffled: bool, seed: int) -> Path:
    """Draw the films and write their table: labels by folder, persons true or dealt at random among the films of a folder."""
    films, table = work / f"films-{name}", work / f"{name}.csv"
    if table.exists():
        return table
    persons, images = (PERSONS * FILMS, 1) if shuffled else (PERSONS, FILMS)
    truth = draw_phantoms(
        films, persons=persons, images=images, size=SIZE, prevalence=0.5, contrast=0.7, label_noise=noise, variety=0, seed=seed
    )
    rng = np.random.default_rng(seed)
    rows = [(case.id, case.group, f"{films.name}/{case.path}", case.id.split("/")[0]) for case in truth.manifest.cases]
    if shuffled:
        for label in {row[3] for row in rows}:
            at = rng.permutation([i for i, row in enumerate(rows) if row[3] == label]).tolist()
            for place, i in enumerate(at):
                rows[i] = (rows[i][0], f"{label} {place // FILMS}", *rows[i][2:])
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("id", "group", "path", "labels"), *rows])
    return table


def worth(run: Run, seeds: int) -> dict[str, Any]:
    """What leak-worth.json says of a run, trained where it is not yet."""
    if not (run.path / "leak-worth.json").exists():
        print(f"{time.strftime('%H:%M:%S')} {run.path.name} ...", file=sys.stderr, flush=True)
        leak_worth(run, prepared_of(run), seeds=seeds)
    return dict(read_json(run.path / "leak-worth.json"))


def trained(data: Path, out: Path, recipe: str, size: str, weights: Path | None) -> Run:
    """A run that has been trained, on frozen features; one that is there already is opened."""
    if not (out / "run.json").exists():
        started = start(data, recipe=recipe, out=out, changes=[("size", size)], weights=str(weights or ""), quiet=True)
        for stage in ("scan", "audit", "split", "train"):
            repeat(Run.open(started.path, quiet=True), stage)
    return Run.open(out, quiet=True)


def row(name: str, found: dict[str, Any]) -> str:
    """One line of the table."""
    if "missing" in found:
        return f"| {name} | {found['missing']} | | | | |"
    shown = [str(Estimate.from_json(found[key])) for key in ("worth", "with_leak", "without")]
    return f"| {name} | {' | '.join(shown)} | {found['exchanged']} | {found['test_persons']} |"


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder for phantoms and runs")
    parser.add_argument(
        "--weights", type=Path, help="MobileNet-V2 ImageNet weights for frozen features (default: as the recipe finds them)"
    )
    parser.add_argument("--data", type=Path, help="folder with public sets, to measure malaria-cells too")
    parser.add_argument("--seeds", type=int, default=6)
    asked = parser.parse_args()
    work = asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    print("# The leakage effect of a planted leak\n")
    print(
        f"resdx {__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; frozen MobileNet-V2 features at "
        f"{SIZE} px and a logistic regression, {asked.seeds} seeds."
    )
    print(f"{PERSONS} persons with {FILMS} films each. Made by `python -m benchmarks.leak WORK --data FOLDER`.\n")
    print("| set | leakage effect (AUROC) | with the leak | without | images exchanged | test persons |")
    print("|---|---|---|---|---|---|")
    sets = {
        f"planted: {NOISE:.0%} of the persons in the wrong folder": ("planted", NOISE, False, 0),
        "null: persons named at random": ("null-0", 0.0, True, 1),
        "null, other films": ("null-1", 0.0, True, 2),
        "null, other films again": ("null-2", 0.0, True, 3),
    }
    for name, (short, noise, shuffled, seed) in sets.items():
        table = manifest(work, short, noise=noise, shuffled=shuffled, seed=seed)
        run = trained(table, work / f"run-{short}", "plain:features", str(SIZE), asked.weights)
        print(row(name, worth(run, asked.seeds)), flush=True)
    if asked.data:
        run = trained(asked.data / "malaria-cells", work / "run-malaria", "malaria:features", str(SIZE), asked.weights)
        print(row("malaria-cells (63 persons)", worth(run, asked.seeds)))


if __name__ == "__main__":
    main()
