"""Do the controls give the right verdict: python -m benchmarks.controls WORK --data FOLDER > benchmarks/controls.md

Phantoms in two hospitals whose hospital follows the class with a known strength; clean phantom sets, in which nothing but the
opacity tells the class; a public set in which the class is the source; and the time for 2,000 cases. Each row is kept in
WORK/controls.json as soon as it is there, and is not computed again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from resdx import __version__
from resdx.data.audit.audit import Audit
from resdx.data.phantoms import draw_phantoms
from resdx.errors import AuditStop
from resdx.evaluation.diagnostics.controls import ask_about, controls, stops_of, tables_of
from resdx.evaluation.diagnostics.probe import STEPS, cases_of
from resdx.files import read_json, write_json
from resdx.metrics.estimate import Estimate
from resdx.runs.prepared import Prepared, prepared_of
from resdx.runs.run import Run
from resdx.studies.stages import repeat
from resdx.studies.start import start

STRENGTHS = (0.0, 0.3, 0.6, 1.0)
CLEAN = 20  # sets
PERSONS = 500  # whose hospital or letter follows the class; fewer do not teach the probe the opacity
STOPS = ("one-source-class", "source-determines-class", "file-determines-class")
ALL = ("strengths", "versions", "clean", "talo", "time")


def split_run(data: Path, out: Path, recipe: str = "plain", size: str = "96") -> Run:
    """A run as far as its split, whatever the audit says; one that is there already is opened."""
    if not (out / "run.json").exists():
        run = start(data, recipe=recipe, out=out, changes=[("size", size)], accept=STOPS, quiet=True)
        for stage in ("scan", "audit", "split"):
            try:
                repeat(Run.open(run.path, quiet=True), stage)
            except AuditStop as stop:  # a stop that STOPS does not name: no figure can be trusted
                sys.exit(str(stop))
    return Run.open(out, quiet=True)


def phantoms(work: Path, name: str, *, seed: int = 0, persons: int = PERSONS, strength: float = 0.0) -> Run:
    """A run on phantoms at 96 px, two films a person, hospitals named in the table."""
    films = work / f"films-{name}"
    if not films.with_name(f"{films.name}-truth.csv").exists():
        draw_phantoms(films, persons=persons, images=2, size=96, prevalence=0.5, shortcut=strength, variety=0, seed=seed)
    return split_run(work / f"films-{name}-truth.csv", work / f"run-{name}")


def measured(run: Run, steps: int) -> dict[str, Any]:
    """What controls.json says."""
    controls(run, prepared_of(run), steps=steps)
    return dict(read_json(run.path / "controls.json"))


def stopped(run: Run) -> bool:
    """Whether the verdict is a stop: the audit and the tables decide that, so no picture is looked at and no probe trained."""
    rows = {case.id: row for row, case in enumerate(run.manifest.cases)}
    unseen = Prepared(run.path, np.zeros((len(rows), 1, 1, 1), np.uint8), rows, ())
    cases = cases_of(run, unseen)
    question = ask_about(run, unseen, cases)
    if isinstance(question, str):
        sys.exit(f"{run.path}: {question}")
    return bool(stops_of(run, tables_of(run, cases, question)))


def versions(work: Path, name: str, prepared: Prepared, **drawn: Any) -> dict[str, Prepared]:
    """The same films without their organ, and with the lower left corner, where the letter P is burnt in, black."""
    films = work / f"films-{name}-out"
    if not films.with_name(f"{films.name}-truth.csv").exists():
        draw_phantoms(films, organ=False, **drawn)
    out = prepared_of(split_run(work / f"films-{name}-out-truth.csv", work / f"run-{name}-out"))
    images = np.array(prepared.images)
    side = images.shape[1]
    images[:, -side // 5 :, : side // 5] = 0
    return {"organ out": out, "corner mark removed": replace(prepared, images=images)}


def with_versions(work: Path, strength: float, steps: int) -> dict[str, Any]:
    """controls.json of films whose letter P follows the class with a strength, with the two further versions."""
    drawn: dict[str, Any] = {
        "persons": PERSONS,
        "images": 2,
        "size": 96,
        "prevalence": 0.5,
        "cue": "corner",
        "shortcut": strength,
        "variety": 0,
    }
    name = f"corner-{strength}"
    if not (work / f"films-{name}-truth.csv").exists():
        draw_phantoms(work / f"films-{name}", **drawn)
    run = split_run(work / f"films-{name}-truth.csv", work / f"run-{name}")
    prepared = prepared_of(run)
    controls(run, prepared, others=versions(work, name, prepared, **drawn), steps=steps)
    return dict(read_json(run.path / "controls.json"))


def kept(work: Path, key: str, compute: Callable[[], Any]) -> Any:
    """What an earlier call stored under `key`, or what `compute` gives now."""
    path = work / "controls.json"
    rows = read_json(path) if path.exists() else {}
    if key not in rows:
        print(f"{time.strftime('%H:%M:%S')} {key} ...", file=sys.stderr, flush=True)
        found = compute()
        rows = read_json(path) if path.exists() else {}
        write_json(path, {**rows, key: found})
        return found
    return rows[key]


def row(name: str, found: dict[str, Any]) -> str:
    """One line of the table of verdicts."""
    areas = {one["name"]: Estimate.from_json(one["auroc"]) for one in (*found["inputs"], *found["tables"])}
    share = "nothing can be said" if found["border_share"] is None else str(Estimate.from_json(found["border_share"]))
    shown = [str(areas[key]) for key in ("source", "file", "full", "border", "centre-black", "permuted")]
    return f"| {name} | {' | '.join(shown)} | {share} | {found['verdict']['code']} | {found['seconds']:.0f} |"


HEAD = """
| set | source alone | file alone | full | border | corners | labels exchanged | X of the border | verdict | s |
|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder for phantoms, runs and rows that are done")
    parser.add_argument("--data", type=Path, help="folder with the public sets (cxr-covid-talo)")
    parser.add_argument("--parts", nargs="+", default=ALL, choices=ALL)
    parser.add_argument("--steps", type=int, default=STEPS, help="of one training of the probe")
    asked = parser.parse_args()
    work, steps = asked.work.resolve(), asked.steps
    work.mkdir(parents=True, exist_ok=True)
    print("# Verdicts of the controls\n")
    print(
        f"resdx {__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {steps} steps a training, each half "
        f"of the persons judged"
    )
    print("by a probe that learnt from the other. Made by `benchmarks/controls.py`.")
    if "strengths" in asked.parts:
        print(
            f"\n## Phantoms whose hospital follows the class\n\n{PERSONS} persons with two films each, half with an "
            f"opacity; a share of the persons"
        )
        print(f"(the strength) has the hospital that its class decides. A stop is right at strength 1 alone.\n{HEAD}")
        for strength in STRENGTHS:
            run = phantoms(work, f"strength-{strength}", strength=strength)
            print(
                row(f"strength {strength}", kept(work, f"strength {strength} {steps}", lambda run=run: measured(run, steps))),
                flush=True,
            )
    if "versions" in asked.parts:
        print(
            "\n## Other versions of the same films\n\nThe letter P in the lower left corner follows the class with a "
            "strength. Without the organ the opacity is gone, the"
        )
        print(
            "letter stays; with the corner black the letter is gone.\n\n| strength | full | organ out | corner mark "
            "removed | border | border, pixel by pixel |\n|---|---|---|---|---|---|"
        )
        for strength in (0.0, 1.0):
            found = kept(work, f"corner {strength} {steps}", lambda strength=strength: with_versions(work, strength, steps))
            areas = {one["name"]: str(Estimate.from_json(one["auroc"])) for one in found["inputs"]}
            shown = [areas[key] for key in ("full", "organ out", "corner mark removed", "border", "border in place")]
            print(f"| {strength} | {' | '.join(shown)} |", flush=True)
    if "clean" in asked.parts:
        wrong = sum(
            kept(work, f"clean {seed}", lambda seed=seed: stopped(phantoms(work, f"clean-{seed}", seed=seed + 1, persons=60)))
            for seed in range(CLEAN)
        )
        print(
            f"\n## Clean phantoms\n\n{wrong} of {CLEAN} sets of 60 persons (hospital at random) are stopped; none should "
            f"be. The audit and the tables"
        )
        print("alone decide a stop, so no probe was trained for this count.")
    if "talo" in asked.parts and asked.data:
        run = split_run(asked.data / "cxr-covid-talo", work / "run-talo", "covid_cxr:talo", "128")
        found = run.read_as("audit.json", "audit", Audit.from_json).findings
        print(
            f"\n## cxr-covid-talo: the class is the source\n\nStops of the audit: "
            f"{', '.join(f.code for f in found if f.grade == 'stop')}.\n{HEAD}"
        )
        print(row("cxr-covid-talo", kept(work, f"talo {steps}", lambda: measured(run, steps))))
    if "time" in asked.parts:
        run = phantoms(work, "2000", persons=1200)
        found = kept(work, f"time {steps}", lambda: measured(run, steps))
        print(
            f"\n## Time\n\n{found['probe']['cases']} cases at 96 px, number format {found['probe']['dtype']}: "
            f"{found['seconds']:.0f} s; at most 360 s is the aim on 2 free cores."
        )


if __name__ == "__main__":
    main()
