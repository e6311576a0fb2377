"""The living review: every published system on real data, under its own and an honest protocol.

What was measured is kept as small JSON files, called cells: one a system, variant, protocol and seed, one a data set (what the
audit, the controls and the leak experiment found) and one a pair of systems on the same test part. They name no case. A cell
that is there is not measured again unless its recipe has changed, so the table grows over time and goes on anywhere; the pages
are written from the cells alone.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.audit.audit import ACCEPTABLE
from ...errors import ResdxError, RunError
from ...files import read_json, write_json
from ...inference.logits import predict_logits
from ...inference.opening import load_network
from ...recipes.library import get_recipe, recipe_names, variants_of
from ...recipes.recipe import Recipe
from ...runs.level_scores import to_plain
from ...runs.prepared import prepared_of
from ...runs.run import Run
from ...runs.scorecard import set_to_json
from ...runs.settings import Protocol
from ..compare import compare, make_folder, question_of
from ..stages import EVIDENCE, adopt, repeat, resume
from ..start import refuse_another, start
from .benchmark_sets import defect_of, judged

Json = dict[str, Any]

BUDGETS = ("small", "full")
CELL = {
    "system",
    "variant",
    "protocol",
    "seed",
    "data",
    "test",
    "class",
    "auroc",
    "metrics",
    "classes",
    "parameters",
    "size",
    "seconds",
    "images_per_second",
}
TIMED = 64  # pictures by which the rate of answering is measured
SEEDS = 3


@dataclass(frozen=True)
class Trial:
    """One run of the review."""

    system: str
    variant: str
    protocol: Protocol
    seed: int
    data: str

    @property
    def name(self) -> str:
        """What its cell and its run directory are called."""
        return "--".join((self.system, self.variant or "paper", self.protocol, str(self.seed)))

    @property
    def recipe(self) -> Recipe:
        """The recipe as it is run, fitted to the data set."""
        return judged(self.system, self.variant)


def trials(systems: Sequence[str], *, budget: str, seeds: int) -> Iterator[Trial]:
    """What there is to measure.

    Each system that has a data set, its variants of the budget, both protocols, every seed. The recipe's `benchmark` names
    its set and the variants that are cheap enough for the small budget. The full budget runs the recipe as it is and all its
    variants.

    Raises:
        RunError: no such budget.
    """
    if budget not in BUDGETS:
        raise RunError(f"the budget is {' or '.join(BUDGETS)}, not {budget!r}")
    for system in systems:
        if not (benchmark := get_recipe(system).benchmark):
            continue
        for variant in benchmark.small if budget == "small" else ("", *variants_of(system)):
            recipe = get_recipe(f"{system}:{variant}" if variant else system)
            own: Protocol = "published" if recipe.published_split else "assumed"
            for protocol, seed in [(one, seed) for one in ("honest", own) for seed in range(seeds)]:
                yield Trial(system, variant, protocol, seed, benchmark.data)


def review(
    systems: Sequence[str] = (),
    *,
    data: Path,
    out: Path,
    budget: str = "small",
    seeds: int = SEEDS,
    quiet: bool = False,
) -> Json:
    """Measure the cells that are missing and write review.md and review.html into `out`.

    Args:
        systems: recipe names (default: all)
        data: the folder that holds the data sets under the names of `resdx.sets`
        out: where cells are kept (in `out`/cells), runs are made (in `out`/runs) and the pages go

    Returns:
        What the pages show, and under "failed" the sentence of each trial that could not be run; the others go on.

    Raises:
        RunError: no such recipe or budget, or no folder of data.
    """
    names = recipe_names()
    if strange := sorted(set(systems) - set(names)):
        raise RunError(f"there is no system {strange[0]!r}; there are {', '.join(names)}")
    if not data.is_dir():
        raise RunError(f"{data} is no folder; give the one that holds the data sets, under their names")
    make_folder(out / "cells")
    failed: dict[str, str] = {}
    for trial in trials(systems or names, budget=budget, seeds=seeds):
        if (place := _cell(out, trial.name)).exists() and _read(place).get("asked") == trial.recipe.fingerprint():
            continue
        try:
            write_json(place, measure(trial, data, out, quiet=quiet))
        except ResdxError as error:
            failed[trial.name] = str(error)
    for name in sorted({one["data"] for one in cells(out)}):
        try:
            about_set(name, out)
            about_pairs(name, out)
        except ResdxError as error:
            failed[name] = str(error)
    return {"cells": cells(out), "failed": failed}


def measure(trial: Trial, data: Path, out: Path, *, quiet: bool = False) -> Json:
    """Run a trial, or go on with it, and give its cell.

    Raises:
        ResdxError: whatever stops the run; a data set that is absent among it.
    """
    path, where = out / "runs" / trial.name, data / trial.data
    asked: Json = {"recipe": trial.recipe, "seed": trial.seed}
    if (path / "run.json").exists():
        try:
            refuse_another(Run.open(path, quiet=True), where, asked)
        except RunError:  # the recipe has changed since
            shutil.rmtree(path)
    if not (path / "run.json").exists():
        if not where.exists():
            raise RunError(f"{where} is not there; {trial.system} is judged on it")
        run = start(
            where,
            out=path,
            **asked,
            protocol=trial.protocol,
            accept=ACCEPTABLE,
            skip=EVIDENCE,
            quiet=quiet,
        )
        if first := _audited(trial, out):
            adopt(run, first)
    resume(Run.open(path, quiet=quiet))
    return facts(trial, Run.open(path, quiet=quiet))


def facts(trial: Trial, run: Run) -> Json:
    """The cell of a finished run: what was asked, of how many, and what came out; no case is named."""
    metrics, recipe = run.metrics, run.recipe
    shown, level, boxes = metrics.scores.shown, metrics.scores.image, metrics.boxes
    main = level.classes[shown[0]].auroc if len(shown) == 1 else level.overall["macro_auroc"]
    networks, prepared = [load_network(one) for one in run.members or (run,)], prepared_of(run)
    rows = prepared.rows([case.id for case in run.cases("test")])[:TIMED]
    seconds = 0.0
    for network in networks:  # of an ensemble, which asks one after the other
        predict_logits(network, prepared.images, rows[:2])
        started = time.perf_counter()
        predict_logits(network, prepared.images, rows)
        seconds += time.perf_counter() - started
    rate = len(rows) / seconds
    keys = ("accuracy", "majority_rate", "balanced_accuracy", "macro_f1", "macro_auroc", "quadratic_kappa", "ece")
    return {
        "system": trial.system,
        "variant": trial.variant,
        "protocol": trial.protocol,
        "seed": trial.seed,
        "data": trial.data,
        "manifest": run.manifest.sha256,
        "asked": trial.recipe.fingerprint(),
        "fingerprint": recipe.fingerprint(),
        "version": run.settings.version,
        "test": set_to_json(metrics.test),
        "counts": run.read("split.json", "split")["counts"],
        "class": shown[0] if len(shown) == 1 else "macro",
        "auroc": main.to_json(),
        "metrics": to_plain(
            {key: level.overall[key] for key in keys if key in level.overall} | dict(boxes.mean if boxes else {})
        ),
        "classes": {
            name: to_plain(
                {key: level.classes[name][key] for key in ("sensitivity", "specificity")}
                | ({"ap50": boxes.classes[name].figures["ap50"]} if boxes else {})
            )
            for name in shown
        },
        "parameters": sum(p.numel() for network in networks for p in network.parameters()),
        "size": recipe.size,
        "seconds": sum(metrics.seconds.values()),
        "train_seconds": metrics.seconds.get("train"),
        "images_per_second": rate,
    }


def cells(out: Path) -> list[Json]:
    """All cells of trials in `out`, in the order of their names.

    Raises RunError where a file there is no cell.
    """
    return [_read(path) for path in sorted((out / "cells").glob("*--*.json"))]


def _read(path: Path) -> Json:
    try:
        found = read_json(path)
    except ResdxError as error:
        raise RunError(f"{path} is no cell of the review ({error}); delete it") from error
    if not isinstance(found, dict) or not found.keys() >= CELL:
        raise RunError(f"{path} is no cell of the review; delete it")
    return found


def _cell(out: Path, name: str) -> Path:
    return out / "cells" / f"{name}.json"


def _audited(trial: Trial, out: Path) -> Run | None:
    """A run of the same data, read alike, whose audit can be taken over."""
    for path in sorted((out / "runs").glob(f"{trial.system}--{trial.variant or 'paper'}--*")):
        if (path / "audit.json").exists():
            return Run.open(path, quiet=True)
    return None


def _honest(data: str, out: Path) -> dict[str, Path]:
    """The finished honest runs of seed 0 on a data set: system and variant -> directory."""
    found = {}
    for one in cells(out):
        if (one["data"], one["protocol"], one["seed"]) == (data, "honest", 0):
            name = f"{one['system']}:{one['variant']}" if one["variant"] else one["system"]
            path = out / "runs" / Trial(one["system"], one["variant"], "honest", 0, data).name
            if (path / "metrics.json").exists():
                found[name] = path
    return found


def nameless(text: str, run: Run) -> str:
    """What a finding says, without the cases that it names as examples."""
    names = any(case.id in text or case.path in text for case in run.manifest.cases)
    return text.partition(":")[0] + "." if names else text


def _fingerprint(path: Path) -> str:
    return Run.open(path, quiet=True).recipe.fingerprint()


def about_set(data: str, out: Path) -> None:
    """Write the cell of a data set, by its first honest run in `out`; nothing where there is none.

    It holds what audit, controls and the leak experiment found. It stays while a cell has the fingerprint of the run that it
    was made by, wherever that run lies.
    """
    place, runs = _cell(out, f"set-{data}"), _honest(data, out)
    if not runs or (place.exists() and read_json(place).get("fingerprint") in {one.get("fingerprint") for one in cells(out)}):
        return
    path = next(iter(runs.values()))
    for stage in ("controls", "leak-worth"):
        if not (path / f"{stage}.json").exists():
            repeat(Run.open(path, quiet=True), stage)
    run = Run.open(path, quiet=True)
    findings = [{"code": one.code, "grade": one.grade, "text": nameless(one.text, run)} for one in run.audit.findings]
    write_json(
        place,
        {
            "data": data,
            "defect": defect_of(next(iter(runs)).partition(":")[0], data),
            "by": next(iter(runs)),
            "fingerprint": _fingerprint(path),
            "findings": [one for one in findings if one["grade"] != "note" or one["code"] in ("no-person-id", "near-duplicates")],
            "controls": run.read("controls.json", "controls"),
            "leak": run.read("leak-worth.json", "leak-worth"),
        },
    )


def about_pairs(data: str, out: Path) -> None:
    """The cell of all pairs of systems on a data set, with Holm's adjustment over them.

    Written anew when a system is added.

    It stays where runs that it was made from lie elsewhere, for it would lose their pairs.
    """
    runs = _honest(data, out)
    place = _cell(out, f"pairs-{data}")
    known = {name: _fingerprint(path) for name, path in sorted(runs.items())}
    had = read_json(place)["systems"] if place.exists() else {}
    measured = {one.get("fingerprint") for one in cells(out)}
    if len(runs) < 2 or had == known or any(one in measured for name, one in had.items() if name not in known):
        return
    called = {path.name: name for name, path in runs.items()}
    by_test: dict[tuple[str, ...], list[str]] = {}  # the same pictures, and asked the same
    for name, path in runs.items():
        run = Run.open(path, quiet=True)
        by_test.setdefault((run.metrics.test.hash, *question_of(run.recipe)), []).append(name)
    rows = []
    for members in by_test.values():
        if len(members) > 1:
            found = compare([Run.open(runs[name], quiet=True) for name in members])
            rows += [
                {
                    "pair": [called[one["first"]], called[one["second"]]],
                    "difference": one["figures"][found["main"]]["difference"],
                    "test": one["tests"][0]["test"],
                    "p": one["tests"][0]["p"],
                    "p_holm": one["tests"][0]["p_holm"],
                }
                for one in found["pairs"]
            ]
    write_json(place, {"data": data, "systems": known, "pairs": rows})
