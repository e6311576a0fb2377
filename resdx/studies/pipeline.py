"""What each stage does.

It reads what earlier ones wrote into the run directory, and writes its own files there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import save

from ..data import split as splits
from ..data.audit import audit as audits
from ..data.cases import Case, Finding
from ..data.label_corrections import apply_decisions, find_decisions, read_decisions
from ..data.persons import count_persons
from ..data.sources.detect import detect
from ..data.tasks import Detect, truth
from ..errors import AuditStop, ResdxError, RunError, count
from ..evaluation.calibrate import fit_calibration
from ..evaluation.detection import fit_boxing
from ..evaluation.diagnostics.controls import controls
from ..evaluation.diagnostics.embedding import embedding
from ..evaluation.diagnostics.label_issues import suspects
from ..evaluation.diagnostics.leakage import leak_worth
from ..evaluation.diagnostics.learning_curve import learning_curve
from ..evaluation.saliency.explain import explain
from ..evaluation.test_set import evaluate
from ..files import write_bytes, write_json, write_text
from ..inference.logits import predict_part, predict_run
from ..inference.ood import fit_ood_score
from ..inference.opening import load_ood_score
from ..recipes.learning import Ensemble, FeatureClassifier, Search, Training
from ..records import to_record
from ..report import report
from ..runs.ledger import read_once_more
from ..runs.partition import Part, part_of
from ..runs.prepared import Prepared, prepared_of
from ..runs.provenance import learnt_before, refuse_changed_start, seen_at_start, sign, start_hash, starts_of
from ..runs.run import Run
from ..runs.scorecard import Scorecard
from ..training import distributed as ranks
from ..training.detection import settle_anchors
from ..training.ensemble import train_members
from ..training.frozen_features import cross_fit, fit_features, is_cross_fitted, out_of_fold_distance, train_folds
from ..training.grid_search import search
from ..training.loop import fit, run_worker
from ..training.starting_weights import resolve_start
from ..training.synthesis import enlarge

READERS = ("explain", "embedding", "suspects")  # evidence that looks at the scores of test cases
OOD_CASES = 2000  # train cases whose embeddings the OOD score is fitted to; more changes nothing
EVIDENCE: dict[str, Callable[[Run, Prepared], None]] = {
    "controls": controls,
    "explain": explain,
    "embedding": embedding,
    "suspects": suspects,
    "leak-worth": leak_worth,
    "learning-curve": learning_curve,
}


def scan(run: Run) -> None:
    """List the cases of the data and settle the recipe's classes; writes manifest.csv and scan.json."""
    asked = run.settings.asked or run.settings.data
    try:
        manifest = (run.recipe.source or detect(Path(asked))).scan(Path(asked))
    except ResdxError:
        run.remove_unused()
        raise
    # Classes of an earlier scan say nothing about what lies there now; those of the recipe hold.
    recipe = replace(run.recipe, classes=()) if run.settings.found else run.recipe
    found = () if recipe.classes else manifest.classes
    run = run.changed(recipe=recipe.with_classes(manifest.classes), data=str(manifest.root), asked=asked, found=found)
    findings = manifest.findings
    if decided := find_decisions(manifest.root, run.store):
        manifest, more = apply_decisions(manifest, read_decisions(decided))
        findings = (*findings, *more)
    write_json(run.path / "scan.json", {"findings": [finding.to_json() for finding in findings], "licence": manifest.licence})
    write_text(run.path / "manifest.csv", manifest.to_csv())
    assessed = [case for case in manifest.cases if case.labels is not None]
    counts = Counter(label for case in assessed for label in case.labels or ())
    persons = count(count_persons(assessed), "person") if manifest.grouped else "no person ids"
    run.say(
        f"scan: {count(len(manifest), 'case')}, {persons}: "
        + (", ".join(f"{name} {counts[name]}" for name in run.recipe.classes) or "no labels")
    )


def audit(run: Run) -> None:
    """Look for what would make the result wrong; writes audit.json and failures.csv.

    Raises:
        AuditStop: a finding of grade "stop" has not been accepted.
    """
    manifest = run.manifest
    scanned = run.read_as("scan.json", "scan", lambda told: tuple(map(Finding.from_json, told["findings"])))
    with run.progress("audit", len(manifest)) as bar:
        found = audits.audit(manifest, run.recipe.read, progress=lambda done, total: bar.update(bar.task_ids[0], completed=done))
    found = replace(found, findings=(*scanned, *found.findings))
    run.write_failures(found.unreadable)
    write_json(run.path / "audit.json", found.to_json())
    for finding in found.findings:
        if finding.grade != "note":
            run.say(f"audit: {finding.grade.upper()} {finding.code}: {finding.text}")
    notes = [finding.code for finding in found.findings if finding.grade == "note"]
    run.say(
        f"audit: {count(len(notes), 'note')}"
        + (f" ({', '.join(notes)})" if notes else "")
        + f"; all in {run.path / 'audit.json'}"
    )
    settle(run)


def settle(run: Run) -> None:
    """Raise AuditStop while a finding of grade "stop" is neither mended nor accepted."""
    found = run.audit
    if stops := audits.open_stops(found, run.settings.accepted):
        final = [finding for finding in stops if finding.code not in audits.ACCEPTABLE]
        if final:
            raise AuditStop(f"{final[0].text} Then start a new run.")
        codes = " ".join(dict.fromkeys(f"--accept {finding.code}" for finding in stops))
        raise AuditStop(f"{stops[0].text} Mend the data, or go on with: resdx resume {run.path} {codes}")


def split(run: Run) -> None:
    """Divide the persons into train, tune, calib and test; writes split.csv and split.json."""
    settle(run)
    found = run.audit
    manifest, settings = run.manifest, run.settings
    learnt = learnt_before(seen_at_start(run), found.facts)
    run = run.changed(choices={**settings.choices, "start_sha256": start_hash(run)}) if starts_of(run) else run
    divided = splits.split(
        manifest,
        found.clusters,
        exclude=[case for case, _ in found.unreadable],
        protocol=settings.protocol,
        published=run.recipe.published_split,
        seed=settings.seed,
        fold=settings.fold,
        folds=settings.folds,
        cross_fit=isinstance(run.recipe.learn, FeatureClassifier) and not run.recipe.generator,
        learnt=learnt,
    )
    findings = [finding.to_json() for finding in (*divided.findings, *_tested_again(run, divided, learnt))]
    write_text(run.path / "split.csv", divided.to_csv())
    counts = {part: _counts(run.cases(part)) for part in splits.PARTS}
    write_json(
        run.path / "split.json",
        {"rule": divided.rule, "seed": divided.seed, "fold": divided.fold, "findings": findings, "counts": counts},
    )
    run.say(
        "split: "
        + ", ".join(f"{part} {count(n['cases'], 'case')} of {count(n['persons'], 'person')}" for part, n in counts.items())
    )
    for finding in findings:
        run.say(f"split: {finding['text']}")


def prepare_stage(run: Run) -> None:
    """Fill the cache."""
    started = time.perf_counter()
    prepared = prepared_of(run)
    shape = "x".join(map(str, prepared.images.shape[1:]))
    run.say(
        f"prepare: {count(len(prepared.row), 'picture')} of {shape} in {time.perf_counter() - started:.0f} s, "
        f"{len(prepared.failures)} failed"
    )


def train(run: Run) -> None:
    """Train, then write the answers that calibration needs and what training cases look like.

    The answers are those to tune and calib, or the out-of-fold ones to train.
    """
    settle(run)
    refuse_changed_start(run)
    if not isinstance(run.recipe.learn, Ensemble):
        run = resolve_start(run)
    prepared, judged = prepared_of(run), () if is_cross_fitted(run) else ("tune", "calib")
    parts = {name: part_of(run, prepared, name) for name in ("train", *judged)}
    if isinstance(run.recipe.learn, Ensemble):
        train_members(run, train)
    else:
        run = _train_alone(run, prepared, parts)
        sign(run)
    some = np.sort(np.random.default_rng(run.settings.seed).permutation(len(parts["train"].ids))[:OOD_CASES])
    embeddings = predict_run(run, prepared, parts["train"].rows[some]).embeddings
    for name in judged:
        predict_part(run, prepared, name, parts[name])
    write_bytes(run.path / "familiarity.safetensors", save(fit_ood_score(embeddings).to_arrays()))
    (run.path / "state.safetensors").unlink(missing_ok=True)  # four times the size of the weights, and of no more use


def _train_alone(run: Run, prepared: Prepared, parts: Mapping[str, Part]) -> Run:
    """Train one network; a search settles the recipe, and boxes of train the anchors."""
    if (run.path / "scores-calib.npz").exists():  # trained before it was stopped
        ranks.end()
        return run
    if run.recipe.generator and "tune" in parts:
        prepared, more = enlarge(run, prepared, parts["train"], parts["tune"])
        parts = {**parts, "train": more}
    if isinstance(run.recipe.task, Detect):
        run = settle_anchors(run, parts["train"], parts["tune"])
    if isinstance(run.recipe.learn, Search):
        run = search(run, prepared, parts["train"], parts["tune"])
    if "tune" in parts:
        work = fit_features if isinstance(run.recipe.learn, FeatureClassifier) else fit
        work(run, prepared, parts["train"], parts["tune"])
    else:
        run.write_scores("calib", cross_fit(run, prepared, parts["train"]))
    return run


def assist_training(run: Run) -> None:
    """Help the process that leads a training, which alone holds the run and writes."""
    if not isinstance(run.recipe.learn, Training):
        raise RunError(f"{run.recipe.name} trains no one network, so one process is enough: resdx train {run.path}")
    ranks.join()
    if ranks.broadcast(cast(bool | None, None)) is None:
        return ranks.leave()  # what was left to do needs one process
    opened = Run.open(run.path, quiet=True)  # with what the first process has settled
    prepared = prepared_of(opened)
    run_worker(opened, prepared, part_of(opened, prepared, "train"))


def calibrate(run: Run) -> None:
    """Fit calibrator, operating points, conformal limits and the OOD threshold on calib.

    Writes calibration.json.
    """
    for member in run.members:
        calibrate(replace(member, quiet=True))
    scores, crossed = run.scores("calib"), is_cross_fitted(run)
    cases = {case.id: case for case in run.cases("train" if crossed else "calib")}  # out-of-fold answers are to train
    chosen = [cases[case] for case in scores.ids]
    # The OOD score has seen all of train: of its own cases only distances from the other folds are fair.
    distance = (
        out_of_fold_distance(scores.embeddings, train_folds(run, chosen))
        if crossed
        else load_ood_score(run).distance(scores.embeddings)
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
        alpha=run.settings.alpha,
    ).referring(refer=run.settings.refer)
    if isinstance(run.recipe.task, Detect):
        calibration = replace(calibration, boxes=fit_boxing(run, prepared_of(run)))
    write_json(run.path / "calibration.json", to_record(calibration))
    for note in (*calibration.notes, *calibration.promises()):
        run.say(f"calibrate: {note}")


def evaluate_stage(run: Run) -> None:
    """Score the test part once and say the main figures."""
    result = evaluate(run, prepared_of(run))
    run.say("\n".join(headline(result, named=run.manifest.grouped)))


def report_stage(run: Run) -> None:
    """Write report.html and report.json."""
    run.say(f"report: {report(run)}")


def headline(result: Scorecard, *, named: bool = True) -> list[str]:
    """The few lines a person wants first.

    AUROC, accuracy beside the majority rate, how many were referred.
    """
    test = result.test
    lines = [result.stamp] if result.stamp else []
    whose = count(test.persons, "person") if named else "unknown persons"
    seen = f", {test.before:,} of {test.cases:,} cases read before" if test.before else ""
    lines.append(f"test: {count(test.cases, 'case')} of {whose}, read {count(test.reads, 'time')} by runs of this store{seen}")
    lines += [f"  {name}: AUROC by image {one.auroc}" for name, one in result.classes.items()]
    for name, found in (result.boxes.classes if result.boxes else {}).items():
        lines.append(f"  {name}: AP50 of its {count(found.boxes, 'box', 'boxes')} {found.figures['ap50']}")
    for name in ("accuracy", "majority_rate", "balanced_accuracy"):
        if name in result.overall:
            lines.append(f"  {name.replace('_', ' ')}: {result.overall[name]}")
    for level in result.referral:
        lines.append(f"  answered at alpha {level.alpha:g}: {level.answered} of the cases, of which {level.error} wrongly")
    return lines


def _tested_again(run: Run, divided: splits.Split, learnt: Collection[str]) -> list[Finding]:
    """What the test part shares with the starting weights.

    Raises AuditStop where that has not been accepted.
    """
    known = {divided.persons[case] for case in learnt}
    tested = [case for case in divided.ids("test") if divided.persons[case] in known]
    if not tested:
        return []
    text = (
        f"The starting weights have learnt from {count(len(tested), 'case')} of the test part, or from others of the same "
        f"persons, e.g. {tested[0]}."
    )
    if splits.SEEN not in run.settings.accepted:
        raise AuditStop(
            f"{text} Its figures would flatter. Start from other weights, or go on with: resdx resume {run.path} --accept "
            f"{splits.SEEN}"
        )
    return [Finding(splits.SEEN, "stop", text, tuple(tested))]


def _counts(cases: Sequence[Case]) -> dict[str, Any]:
    classes = Counter(label for case in cases for label in case.labels or ())
    return {"cases": len(cases), "persons": count_persons(cases), "classes": dict(sorted(classes.items()))}


def make_evidence(name: str) -> Callable[[Run], None]:
    """The work of a stage of EVIDENCE."""

    def work(run: Run) -> None:
        if name in READERS and (run.path / "metrics.json").exists():
            read_once_more(run, run.metrics.test.hash, by=name)
        EVIDENCE[name](run, prepared_of(run))

    return work
