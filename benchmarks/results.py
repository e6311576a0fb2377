"""docs/results.md and benchmarks/results.md: measured figures on public data sets.

Each has its interval, its starting weights and the set's defect.

    python -m benchmarks.results --data FOLDER            run what is missing, then write the page
    python -m benchmarks.results --data FOLDER --only us-breast
    python -m benchmarks.results --table                  write the page from the runs that are finished

FOLDER holds the sets of resdx/sets.py under their names. ImageNet MobileNet-V2 is looked for in $RESDX_WEIGHTS. Runs go to
benchmarks/runs and are resumed when killed; the figures of a finished run are kept in benchmarks/figures, from which the page is
written. Nothing is chosen on a test set; a bad figure stays in the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sets import READ_BY, recipe_of
from resdx.files import read_json, write_json
from resdx.metrics.estimate import Estimate
from resdx.runs.run import Run
from resdx.studies.review.benchmark_sets import DEFECTS
from resdx.studies.stages import EVIDENCE, adopt, resume
from resdx.studies.start import start

HERE = Path(__file__).parent
RUNS, FIGURES = HERE / "runs", HERE / "figures"
PAGE = HERE.parent / "docs" / "results.md"
RUN_PAGE = Path(__file__).parent / "results.md"


@dataclass(frozen=True)
class System:
    """One line of the table: a set, a variant of its recipe, and the seeds it is run with.

    With `changes` to the recipe, `variant` only names them.
    """

    data: str
    variant: str
    model: str
    weights: str
    seeds: tuple[int, ...] = (0, 1, 2)
    changes: tuple[tuple[str, str], ...] = ()


SYSTEMS = (
    System("cxr-pneumonia", "", "ResNet-50, all layers", "from scratch"),
    System(
        "cxr-pneumonia",
        "resdx",
        "ResNet-18, all layers",
        "resdx",
        (0,),
        (
            ("model.backbone.depth", "18"),
            ("model.backbone.weights", "resdx"),
            ("learn.lr_decay", "0.7"),
            ("learn.head_penalty", "0.01"),
        ),
    ),
    System("cxr-pneumonia", "fine-tuned", "MobileNet-V2, last three stages", "ImageNet"),
    *(
        System(name, "features", "MobileNet-V2 frozen, logistic regression", "ImageNet")
        for name in (
            "cxr-pneumonia",
            "cxr-covid-cohen",
            "mri-brain",
            "malaria-cells",
            "us-breast",
            "skin-ham10000",
            "fundus-odir",
        )
    ),
)


def name_of(system: System, seed: int) -> str:
    """The name of a line and a seed, of its run and of its figures."""
    return f"{system.data}-{system.variant or 'scratch'}-{seed}"


def measure(system: System, seed: int, folder: Path) -> None:
    """Run, or go on with, one seed of a line, and keep its figures."""
    name = name_of(system, seed)
    if (FIGURES / f"{name}.json").exists():
        return
    path = RUNS / name
    if (path / "run.json").exists():
        run = Run.open(path)
    else:
        recipe = recipe_of(system.data, "" if system.changes else system.variant)
        run = start(folder / system.data, recipe=recipe, changes=system.changes, out=path, seed=seed, skip=EVIDENCE)
        first = RUNS / name_of(system, system.seeds[0])
        if (first / "split.csv").exists():
            adopt(run, Run.open(first))
    resume(Run.open(path))
    FIGURES.mkdir(exist_ok=True)
    write_json(FIGURES / f"{name}.json", summary(Run.open(path)))


def summary(run: Run) -> dict[str, Any]:
    """What the page says about a run, and by what it could be recognised."""
    metrics = read_json(run.path / "metrics.json")
    level, shown = metrics["scores"]["image"], metrics["scores"]["shown"]
    return {
        "test": metrics["test"],
        "shown": shown[0] if len(shown) == 1 else "macro",
        "auroc": level["classes"][shown[0]]["auroc"] if len(shown) == 1 else level["overall"]["macro_auroc"],
        **{name: level["overall"].get(name) for name in ("balanced_accuracy", "accuracy", "majority_rate", "ece")},
        "referred": level["abstention"]["referred"],
        "size": run.recipe.size,
        "seconds": metrics["seconds"],
        "core_seconds": sum(entry.get("core_seconds", 0) for entry in run.events("stage")),
        "peak_gb": max(entry.get("peak_gb") or 0 for entry in run.events("stage")),
        "recipe": run.recipe.fingerprint(),
        "manifest": run.manifest.sha256,
        "version": run.settings.version,
    }


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--only", nargs="*", choices=sorted(READ_BY), help="these sets only")
    parser.add_argument("--variant", choices=sorted({system.variant for system in SYSTEMS}), help="this variant only")
    parser.add_argument("--table", action="store_true", help="write the page from benchmarks/figures")
    asked = parser.parse_args()
    if not asked.table:
        if asked.data is None:
            parser.error("--data FOLDER is needed to measure")
        for system in SYSTEMS:
            if (not asked.only or system.data in asked.only) and asked.variant in (None, system.variant):
                for seed in system.seeds:
                    measure(system, seed, asked.data)
    for path, text in pages().items():
        path.write_text(text)
        print(f"{path} written")


def pages() -> dict[Path, str]:
    """Both pages from the figures of every finished run: the means, and every run."""
    rows, costs, seeds = [], [], []
    for system in SYSTEMS:
        files = {seed: FIGURES / f"{name_of(system, seed)}.json" for seed in system.seeds}
        runs = {seed: read_json(file) for seed, file in files.items() if file.exists()}
        if runs:
            rows.append(row(system, list(runs.values())))
            costs.append(cost(system, list(runs.values())))
            seeds += [seed_row(system, seed, run) for seed, run in runs.items()]
    means = TEXT.format(rows="\n".join(rows), costs="\n".join(costs), defects="\n".join(defects()))
    return {PAGE: means, RUN_PAGE: RUN_TEXT.format(seeds="\n".join(seeds))}


def row(system: System, runs: Sequence[dict[str, Any]]) -> str:
    """One line: means over seeds; an interval is the mean of the seeds' own interval ends."""
    first, test = runs[0], runs[0]["test"]
    cells = [
        system.data,
        f"{test['cases']} / {test['persons']}",
        f"{system.model}, {first['size']} px; {system.weights}",
        str(len(runs)),
        f"{mean_of(runs, 'auroc')} ({first['shown']})",
        mean_of(runs, "balanced_accuracy"),
        mean_of(runs, "accuracy"),
        mean_of(runs, "majority_rate").split(" ")[0],
    ]
    return "| " + " | ".join(cells) + " |"


def cost(system: System, runs: Sequence[dict[str, Any]]) -> str:
    """What a line took: mean minutes, wall and core, and the most memory."""
    minutes = np.mean([sum(run["seconds"].values()) for run in runs]) / 60
    core = [run["core_seconds"] / 60 for run in runs if run.get("core_seconds")]
    memory = max(run.get("peak_gb", 0) for run in runs) or "-"
    return f"| {system.data} | {system.model} | {minutes:.0f} | {f'{np.mean(core):.0f}' if core else '-'} | {memory} |"


def seed_row(system: System, seed: int, run: dict[str, Any]) -> str:
    """One run."""
    figures = [
        str(Estimate.from_json(run[name])) if run[name] else "-" for name in ("auroc", "balanced_accuracy", "ece", "referred")
    ]
    return f"| {name_of(system, seed)} | {' | '.join(figures)} | {run['test']['reads']} | `{run['test']['hash'][:12]}` |"


def mean_of(runs: Sequence[dict[str, Any]], name: str) -> str:
    """The mean over seeds of value, low and high."""
    found = [Estimate.from_json(run[name]) for run in runs if run[name]]
    if not found:
        return "-"
    ends = np.array([[one.value, one.low, one.high] for one in found], float)  # None becomes NaN
    value, low, high = ends.mean(0)
    return str(Estimate(*(None if np.isnan(end) else float(end) for end in (value, low, high)), found[0].n))


def defects() -> list[str]:
    """What is wrong with each set."""
    return [f"- {name}: {DEFECTS[name]}." for name in dict.fromkeys(system.data for system in SYSTEMS)]


TEXT = """# Results

You want to know what to expect on data like yours. These are public sets under the honest protocol: split by person where the \
set names one, near-duplicates together, a test set that is shipped as it is and never learnt from.

Image level, with 95 % intervals over persons. Each figure is the mean over seeds of the value and of the ends of its interval. \
A seed changes the start, and the split too where no test set is shipped. Nothing was chosen on a test set. [Every \
run](../benchmarks/results.md). Repeat with `make results DATA=FOLDER`.

| data set | test cases / persons | model; start | seeds | AUROC | balanced accuracy | accuracy | majority rate |
|---|---|---|---|---|---|---|---|
{rows}

## What is wrong with each set

{defects}

## What it took

On 2 CPU cores, in minutes from scan to report. Seed 0 of `cxr-pneumonia-scratch` had both cores to itself: 22 minutes and 2.99 \
GB. Other work ran beside the others: read their minutes as upper bounds. Those of seeds 1 and 2 of
`cxr-pneumonia-scratch`, which were stopped and resumed, are the sums of their logged epochs.

| data set | model | minutes, wall | minutes, core | peak GB |
|---|---|---|---|---|
{costs}
"""

RUN_TEXT = """# Every run of the results

Behind the means of [the results](../docs/results.md). The last two columns are the test-read ledger: how often runs of that \
folder had read this test set (by hash) when the run was scored.

| run, seed last | AUROC | balanced accuracy | calibration error | referred | reads | test set |
|---|---|---|---|---|---|---|
{seeds}
"""

if __name__ == "__main__":
    main()
