"""The stages from a folder of images to a report: each reads and writes the run directory, and can be repeated.

    scan -> audit -> split -> prepare -> train -> calibrate -> evaluate -> report

Repeating a stage removes what later stages made from its old result.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

if sys.platform != "win32":
    import resource

from . import __version__
from . import audit as audits
from . import split as splits
from .calibrate import fit_calibration
from .cases import Case, Finding, Prediction, count_persons
from .data import Prepared, content_hashes, prepare
from .errors import AuditStop, DataError, RunError
from .evaluate import evaluate
from .familiarity import fit_familiarity
from .features import answers, cross_fit, fit_features, is_cross_fitted, out_of_fold_distance, train_folds
from .metrics import Estimate
from .parts import part_of
from .predict import Predictor, load_familiarity, load_network
from .recipe import FeatureClassifier, Recipe
from .recipes import get_recipe
from .records import to_record, write_bytes, write_json, write_text
from .report import report
from .runs import Protocol, Run, Scores, Settings, resolve_data
from .sources import detect
from .tasks import truth
from .train import fit

FAMILIAR = 2000  # train cases whose embeddings say what is familiar; more changes nothing
RUNS = Path("runs")  # where a run without --out goes


def scan(run: Run) -> None:
    """List the cases of the data and settle the recipe's classes; writes manifest.csv and scan.json."""
    asked = run.settings.asked or run.settings.data
    manifest = (run.recipe.source or detect(Path(asked))).scan(Path(asked))
    # Classes of an earlier scan say nothing about what lies there now; those of the recipe hold.
    recipe = replace(run.recipe, classes=()) if run.settings.found else run.recipe
    found = () if recipe.classes else manifest.classes
    run = run.changed(recipe=recipe.with_classes(manifest.classes), data=str(manifest.root), asked=asked, found=found)
    write_json(
        run.path / "scan.json", {"findings": [finding.to_json() for finding in manifest.findings], "licence": manifest.licence}
    )
    write_text(run.path / "manifest.csv", manifest.to_csv())
    assessed = [case for case in manifest.cases if case.labels is not None]
    counts = Counter(label for case in assessed for label in case.labels or ())
    persons = f"{count_persons(assessed)} persons" if manifest.grouped else "no person ids"
    run.say(f"scan: {len(manifest)} cases, {persons}: " + ", ".join(f"{name} {counts[name]}" for name in run.recipe.classes))


def audit(run: Run) -> None:
    """Look for what would make the result wrong; writes audit.json and failures.csv.

    Raises:
        AuditStop: a finding of grade "stop" has not been accepted.
    """
    manifest = run.manifest
    scanned = tuple(Finding.from_json(item) for item in run.read("scan.json", "scan")["findings"])
    with run.progress("audit", len(manifest)) as bar:
        found = audits.audit(manifest, run.recipe.read, progress=lambda done, total: bar.update(bar.task_ids[0], completed=done))
    found = replace(found, findings=(*scanned, *found.findings))
    run.write_failures(found.unreadable)
    write_json(run.path / "audit.json", found.to_json())
    for finding in found.findings:
        if finding.grade != "note":
            run.say(f"audit: {finding.grade.upper()} {finding.code}: {finding.text}")
    settle(run)


def settle(run: Run) -> None:
    """Raise AuditStop while a finding of grade "stop" is neither mended nor accepted."""
    found = audits.Audit.from_json(run.read("audit.json", "audit"))
    if stops := audits.open_stops(found, run.settings.accepted):
        codes = " ".join(f"--accept {finding.code}" for finding in stops)
        raise AuditStop(f"{stops[0].text} Mend the data, or go on with: resdx resume {run.path} {codes}")


def split(run: Run) -> None:
    """Divide the persons into train, tune, calib and test; writes split.csv and split.json."""
    settle(run)
    found = audits.Audit.from_json(run.read("audit.json", "audit"))
    manifest, settings = run.manifest, run.settings
    divided = splits.split(
        manifest,
        found.clusters,
        exclude=[case for case, _ in found.unreadable],
        protocol=settings.protocol,
        published=run.recipe.published_split,
        seed=settings.seed,
        fold=settings.fold,
        folds=settings.folds,
        cross_fit=isinstance(run.recipe.learn, FeatureClassifier),
    )
    write_text(run.path / "split.csv", divided.to_csv())
    counts = {part: _counts(run.cases(part)) for part in splits.PARTS}
    findings = [finding.to_json() for finding in divided.findings]
    write_json(
        run.path / "split.json",
        {"rule": divided.rule, "seed": divided.seed, "fold": divided.fold, "findings": findings, "counts": counts},
    )
    run.say(
        "split: " + ", ".join(f"{part} {count['cases']} cases of {count['persons']} persons" for part, count in counts.items())
    )
    for finding in divided.findings:
        run.say(f"split: {finding.text}")


def prepared_of(run: Run) -> Prepared:
    """Read and prepare the pictures once a data set; opens them when that is done already."""
    manifest, unreadable = run.manifest, audits.Audit.from_json(run.read("audit.json", "audit")).unreadable
    with run.progress("prepare", len(manifest)) as bar:
        prepared = prepare(
            manifest,
            run.recipe,
            run.store / "cache",
            content=content_hashes(run),
            skip=[case for case, _ in unreadable],
            progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    run.write_failures((*unreadable, *prepared.failures))
    return prepared


def prepare_stage(run: Run) -> None:
    """Fill the cache."""
    started = time.perf_counter()
    prepared = prepared_of(run)
    shape = "x".join(map(str, prepared.images.shape[1:]))
    run.say(
        f"prepare: {len(prepared.row)} pictures of {shape} in {time.perf_counter() - started:.0f} s, {len(prepared.failures)} failed"
    )


def train(run: Run) -> None:
    """Train, then write the answers to tune and calib (or the out-of-fold ones to train) and what training cases look like."""
    settle(run)
    prepared, judged = prepared_of(run), () if is_cross_fitted(run) else ("tune", "calib")
    parts = {name: part_of(run, prepared, name) for name in ("train", *judged)}
    if not (run.path / "scores-calib.npz").exists():
        if judged:
            work = fit_features if isinstance(run.recipe.learn, FeatureClassifier) else fit
            work(run, prepared, parts["train"], parts["tune"])
        else:
            run.write_scores("calib", cross_fit(run, prepared, parts["train"]))
    some = np.sort(np.random.default_rng(run.settings.seed).permutation(len(parts["train"].ids))[:FAMILIAR])
    network = load_network(run)
    _, embeddings = answers(run, network, prepared, parts["train"].rows[some])
    for name in judged:
        run.write_scores(name, Scores(parts[name].ids, *answers(run, network, prepared, parts[name].rows)))
    write_bytes(run.path / "familiarity.safetensors", save(fit_familiarity(embeddings).to_arrays()))


def calibrate(run: Run) -> None:
    """Fit calibrator, operating points, conformal limits and the familiarity threshold on calib; writes calibration.json."""
    scores, crossed = run.scores("calib"), is_cross_fitted(run)
    cases = {case.id: case for case in run.cases("train" if crossed else "calib")}
    chosen = [cases[case] for case in scores.ids]
    distance = (
        out_of_fold_distance(scores.embeddings, train_folds(run, chosen))
        if crossed
        else load_familiarity(run).distance(scores.embeddings)
    )
    calibration = fit_calibration(
        run.recipe.task,
        run.recipe.classes,
        scores.logits,
        truth(run.recipe.task, run.recipe.classes, chosen),
        [case.group for case in chosen],
        balanced_training=run.recipe.learn.rebalances,
        distance=distance,
        cross_fitted=crossed,
    )
    write_json(run.path / "calibration.json", to_record(calibration))
    for note in calibration.notes:
        run.say(f"calibrate: {note}")


def evaluate_stage(run: Run) -> None:
    """Score the test part once and say the main figures."""
    result = evaluate(run, prepared_of(run))
    run.say("\n".join(headline(result)))


def report_stage(run: Run) -> None:
    """Write report.html and report.json."""
    run.say(f"report: {report(run)}")


@dataclass(frozen=True)
class Stage:
    """One step of the flow and the files it makes, by which a run knows whether it is done."""

    name: str
    work: Callable[[Run], None]
    makes: tuple[str, ...]


STAGES = (
    Stage("scan", scan, ("scan.json", "manifest.csv")),
    Stage("audit", audit, ("audit.json",)),
    Stage("split", split, ("split.csv", "split.json")),
    Stage("prepare", prepare_stage, ()),  # the cache belongs to the store; every later stage opens or refills it
    Stage(
        "train",
        train,
        ("state.safetensors", "best.safetensors", "scores-tune.npz", "scores-calib.npz", "familiarity.safetensors"),
    ),
    Stage("calibrate", calibrate, ("calibration.json",)),
    Stage("evaluate", evaluate_stage, ("scores-test.npz", "predictions.csv", "metrics.json")),
    Stage("report", report_stage, ("report.json", "report.html")),
)
NAMES = tuple(stage.name for stage in STAGES)


def is_done(run: Run, stage: Stage) -> bool:
    """True when the last file the stage makes is there."""
    return not stage.makes or (run.path / stage.makes[-1]).exists()


def repeat(run: Run, name: str) -> None:
    """Run one stage. Where it was finished it starts afresh, and what later stages made is removed; else it goes on.

    Raises:
        RunError: an earlier stage is missing.
    """
    at = NAMES.index(name)
    if missing := [stage.name for stage in STAGES[:at] if not is_done(run, stage)]:
        raise RunError(
            f"{run.path}: {name} needs {missing[0]} first; run `resdx {missing[0]} {run.path}` or `resdx resume {run.path}`"
        )
    finished = is_done(run, STAGES[at]) and bool(STAGES[at].makes)
    with run.alone():
        if STAGES[at].makes:
            _remove(run, STAGES[at + (not finished) :])
        _timed(run, STAGES[at])


def _remove(run: Run, stages: Sequence[Stage]) -> None:
    """Remove what stages made, last first: killed in between, nothing is left that rests on something gone."""
    for stage in reversed(stages):
        for file in reversed(stage.makes):
            (run.path / file).unlink(missing_ok=True)
    names = [stage.name for stage in stages]
    if (run.path / "log.jsonl").exists():
        run.log("afresh", stages=names, forget=["epoch", "penalty"] if "train" in names else [])


def adopt(run: Run, other: Run) -> None:
    """Scan, and take the audit over from a run of the same data instead of reading every file again.

    Raises:
        RunError: the other run has other cases.
    """
    repeat(run, "scan")
    if Run.open(run.path).manifest.sha256 != other.manifest.sha256:
        raise RunError(f"{other.path} has other cases than {run.path}; run `resdx audit {run.path}`")
    for name in ("audit.json", "failures.csv"):
        write_bytes(run.path / name, (other.path / name).read_bytes())


def resume(run: Run) -> None:
    """Run every stage from the first that is not finished; nothing where all are."""
    if all(is_done(run, stage) for stage in STAGES):
        return
    with run.alone():
        first = [is_done(run, stage) for stage in STAGES].index(False)
        _remove(run, STAGES[first + 1 :])  # what was made from an older result of that stage
        for stage in STAGES[first:]:
            _timed(Run.open(run.path, quiet=run.quiet), stage)  # a stage may settle recipe or settings


def accepting(run: Run, codes: Sequence[str]) -> Run:
    """The run with more findings accepted, stored."""
    return run.changed(accepted=tuple(dict.fromkeys((*run.settings.accepted, *codes)))) if codes else run


def result_of(run: Run, name: str) -> Any:
    """The JSON a stage left behind; for those that write none, the files they made."""
    stage = STAGES[NAMES.index(name)]
    written = next((file for file in reversed(stage.makes) if file.endswith(".json")), None)
    if written and (run.path / written).exists():
        return run.read(written, name)
    return {"run": str(run.path), "made": [file for file in stage.makes if (run.path / file).exists()]}


def changed_recipe(recipe: str | Recipe, changes: Iterable[tuple[str, str]]) -> Recipe:
    """A recipe by name, path or value, with fields set."""
    found = get_recipe(recipe) if isinstance(recipe, str) else recipe
    for field, text in changes:
        found = found.set(field, text)
    return found


def default_folder(data: str | Path, recipe: str | Recipe) -> Path:
    """Where a run goes that was not told: runs/DATA-RECIPE-TIME."""
    name = recipe.name if isinstance(recipe, Recipe) else Path(recipe).stem
    return RUNS / f"{resolve_data(data).stem}-{name.replace(':', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"


def start(
    data: str | Path,
    *,
    recipe: str | Recipe = "plain",
    out: str | Path | None = None,
    changes: Iterable[tuple[str, str]] = (),
    seed: int = 0,
    protocol: Protocol = "honest",
    accept: Sequence[str] = (),
    weights: str | Path = "",
    fold: int | None = None,
    folds: int = 5,
    quiet: bool = False,
) -> Run:
    """Make the run directory for `data`; no stage is run yet. With `fold`, one of `folds` grouped folds is the test part."""
    asked = changed_recipe(recipe, changes)
    folder = Path(out) if out else default_folder(data, asked)
    file = str(Path(weights).resolve()) if weights else ""
    settings = Settings(str(resolve_data(data)), seed, protocol, tuple(accept), fold, folds, file, __version__)
    return Run.create(folder, asked, settings, quiet=quiet)


@dataclass(frozen=True)
class Study:
    """A finished run as Python sees it."""

    run: Run

    @property
    def metrics(self) -> dict[str, Any]:
        """What `evaluate` found, as in metrics.json."""
        return self.run.metrics

    @property
    def report(self) -> Path:
        """The page to read."""
        return self.run.need("report.html", "report")

    def predict(self, files: str | Path | Sequence[str | Path]) -> list[Prediction]:
        """Answers for image files. Raises DataError naming the first file that cannot be read."""
        paths = [files] if isinstance(files, (str, Path)) else files
        answers, failures = Predictor.open(self.run).predict(paths)
        if failures:
            raise DataError(f"{len(failures)} of {len(paths)} files have no answer; first: {failures[0][1]}")
        return answers


def run(
    data: str | Path,
    *,
    recipe: str | Recipe = "plain",
    out: str | Path | None = None,
    changes: Iterable[tuple[str, str]] = (),
    seed: int = 0,
    protocol: Protocol = "honest",
    accept: Sequence[str] = (),
    weights: str | Path = "",
    quiet: bool = False,
) -> Study:
    """Everything from scan to report.

    Args:
        data: a folder, a CSV table or a DICOM folder
        recipe: a name, "name:variant", the path of a .py file, or a Recipe
        out: the run directory (default: a new one below `runs`)
        changes: (field, text) pairs for `Recipe.set`, such as ("learn.epochs", "3")
        protocol: honest (by person), published (the paper's split) or assumed (random images)
        accept: codes of audit findings that shall not stop the run
        weights: a file that takes the place of the recipe's starting weights

    Raises:
        ResdxError: with one sentence that says what, where and what to do.
    """
    started = start(
        data, recipe=recipe, out=out, changes=changes, seed=seed, protocol=protocol, accept=accept, weights=weights, quiet=quiet
    )
    resume(started)
    return Study(Run.open(started.path, quiet=quiet))


def open_study(path: str | Path, *, recipe: str | Path = "", quiet: bool = False) -> Study:
    """A run directory that was finished before; `recipe` as for `Run.open`."""
    return Study(Run.open(path, recipe=recipe, quiet=quiet))


def headline(result: dict[str, Any]) -> list[str]:
    """The few lines a person wants first: AUROC, accuracy beside the majority rate, how many were referred."""
    level, test = result["scores"]["image"], result["test"]
    lines = [result["stamp"]] if result["stamp"] else []
    lines.append(f"test: {test['cases']} cases of {test['persons']} persons, read {test['reads']} times by runs of this store")
    for name, figures in level["classes"].items():
        lines.append(f"  {name}: AUROC {_shown(figures['auroc'])}")
    for name in ("accuracy", "majority_rate", "balanced_accuracy"):
        if name in level["overall"]:
            lines.append(f"  {name.replace('_', ' ')}: {_shown(level['overall'][name])}")
    return lines


def _shown(figure: dict[str, Any]) -> str:
    return str(Estimate.from_json(figure))


def _timed(run: Run, stage: Stage) -> None:
    """Run a stage and log what it took, with the sessions in which it was stopped before."""
    seconds, core = run.spent(stage.name)
    seconds, core = seconds - time.perf_counter(), core - time.process_time()
    run.log("begin", stage=stage.name)
    stop = None
    try:
        stage.work(run)
    except AuditStop as error:
        if not is_done(run, stage):
            raise
        stop = error  # the audit is finished, although a person has to decide before the run goes on
    seconds, core = seconds + time.perf_counter(), core + time.process_time()
    run.log("stage", stage=stage.name, seconds=round(seconds, 1), core_seconds=round(core, 1), peak_gb=_peak_gb())
    if stop:
        raise stop


def _peak_gb() -> float | None:
    """The most memory this process has held, in GB; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


def _counts(cases: Sequence[Case]) -> dict[str, Any]:
    classes = Counter(label for case in cases for label in case.labels or ())
    return {"cases": len(cases), "persons": count_persons(cases), "classes": dict(sorted(classes.items()))}
