"""What the living review says of phantoms whose films share persons, and of films that share nothing but a name.

    python -m benchmarks.phantom_leak WORK > benchmarks/phantom_leak.md

Films of phantoms with faint opacities, four a person. "shared" names the persons as they are; in "unrelated" each film is of a
person of its own, and every four of one class, dealt at random, are called one, so that a split by image leaks nothing that
helps. Both go through the review as any data set does, by frozen features: the cells, the matched-leak experiment and the
sentences of the page are its own.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from resdx.data.cases import Case, Manifest
from resdx.data.phantoms import draw_phantoms
from resdx.files import write_json
from resdx.report import figure, interval
from resdx.studies.review import reviewed
from resdx.studies.review.cells import Trial, about_set, measure

PERSONS, FILMS, CONTRAST = 120, 4, 0.35
NAMES = ("shared", "unrelated")


def collection(folder: Path, name: str) -> None:
    """Films in a folder with a manifest that names their persons."""
    persons, films = (PERSONS, FILMS) if name == "shared" else (PERSONS * FILMS, 1)
    truth = draw_phantoms(
        folder, persons=persons, images=films, size=96, prevalence=0.5, contrast=CONTRAST, variety=0, seed=3
    ).manifest
    cases = truth.cases if name == "shared" else tuple(dealt(truth.cases))
    (folder / "manifest.csv").write_text(Manifest(folder, cases).to_csv())


def dealt(cases: tuple[Case, ...]) -> list[Case]:
    """The cases with new persons: FILMS films of one class each, at random."""
    out, draws = [], np.random.default_rng(0)
    for label in sorted({case.label for case in cases}):
        some = [case for case in cases if case.label == label]
        for place, i in enumerate(draws.permutation(len(some))):
            out.append(replace(some[i], group=f"{label} {place // FILMS}"))
    return sorted(out, key=lambda case: case.id)


def main(work: Path) -> None:
    """Draw, run, print the page."""
    rows = []
    for name in NAMES:
        out = work / name  # a review of its own: runs are called by system, not by set
        (out / "cells").mkdir(parents=True, exist_ok=True)
        if not (work / "data" / name).exists():
            collection(work / "data" / name, name)
        for protocol in ("honest", "assumed"):
            trial = Trial("plain", "features", protocol, 0, name)
            write_json(out / "cells" / f"{trial.name}.json", measure(trial, work / "data", out, quiet=True))
        about_set(name, out)
        found = reviewed(out)
        row, about = found["rows"][0], found["sets"][0]
        areas = (f"{figure(row[key])} ({interval(row[key]) or 'no interval'})" for key in ("own", "honest"))
        said = "; ".join(about["against"]) or "nothing"
        rows.append(f"| {name} | {' | '.join(areas)} | {about['leak']} | {said} |")
    print(PAGE.format(rows="\n".join(rows), persons=PERSONS, films=FILMS))


PAGE = """# What the review says of a leak that was planted

{persons} phantoms of faint opacities, {films} films each; frozen features of ImageNet MobileNet-V2. "shared": the persons as \
they are. "unrelated": as many films, each of another person, and each four of one class at random called one. AUROC with 95 % \
intervals by
person (in "unrelated" by what is called one). The leakage effect is that of the matched-leak experiment, on identical images; \
what speaks against the set is the review's own sentence.

| collection | images at random | persons apart | leakage effect | against the set, says the review |
|---|---|---|---|---|
{rows}

Made by `python -m benchmarks.phantom_leak WORK`.
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
