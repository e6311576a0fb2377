"""External validation: a finished run on cases from elsewhere, which share no picture or person.

Calibrator, thresholds and limits stay as they are. The change against the run's own test part has an interval from persons
of both (two independent samples), and a logistic recalibration says how far the probabilities have drifted (Cox 1958, Van
Calster et al. 2019).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.audit.file_facts import look
from ..data.cases import NOT_ASSESSED, Case, Manifest, Prediction
from ..data.persons import count_persons, persons, units
from ..data.sources.detect import detect
from ..data.split import part_hash
from ..data.tasks import Detect, MultiLabel, truth
from ..errors import AuditStop, DataError, RunError, count
from ..evaluation.figures import (
    DRAWS,
    Figure,
    Judged,
    answers_of,
    between_persons,
    figures,
    judge_figures,
    t_interval,
)
from ..evaluation.outputs import Answers
from ..evaluation.test_set import judge, prior_corrected
from ..files import write_json, write_text
from ..inference.logits import predict_run
from ..inference.opening import calibrated
from ..inference.predictor import Predictor
from ..metrics import classification as metrics
from ..metrics.estimate import Estimate
from ..metrics.intervals import (
    MIN_PERSONS,
    effective_sample_size,
    estimate,
    person_codes,
    proportion,
    too_few,
)
from ..metrics.recalibration import recalibration
from ..report.render import render, shown, signed
from ..runs.ledger import read_once_more, read_set
from ..runs.overlap import Elsewhere, Shared, find_shared
from ..runs.prepared import prepare, prepared_of
from ..runs.provenance import learnt_before, seen_at_start
from ..runs.run import Run, Scores

Json = dict[str, Any]

ACCEPT = "shared-with-training"  # the code that leaves shared cases out
SHOWN = 3  # examples in a sentence


def external(
    run: Run,
    other: str | Path,
    *,
    mapping: Mapping[str, str] | None = None,
    accept: Sequence[str] = (),
    name: str = "",
    draws: int = DRAWS,
) -> Json:
    """Score the finished run on other cases; writes external-NAME.json, its page and a ledger line.

    Args:
        other: a folder, a table, or a run directory (its manifest and its audit)
        mapping: labels there -> classes of the run; "?" for "not assessed"
        accept: "shared-with-training" leaves out what the two sets share instead of stopping
        name: of the files; that of `other` by default

    Raises:
        AuditStop: pictures or persons are shared.
        DataError: labels that the run does not know, or no case is left.
        RunError: the run is not finished (the stage is named), or `accept` names something else.
    """
    run.need("metrics.json", "evaluate")
    if wrong := sorted({*accept} - {ACCEPT}):
        raise RunError(f"--accept {wrong[0]} names nothing that can be accepted of other data; that is {ACCEPT} only")
    with run.alone():
        predictor, own = calibrated(run), prepared_of(run)
        place = read_other(run, Path(other), mapping or {}, name)
        shared = find_shared(run, own, place)
        left_out = _settle(run, place, shared, accept)
        cases = _cases(run, place, shared, left_out)
        key = part_hash([case.id for case in cases], place.content)
        reads, before = read_set(run, key, [place.content.get(case.id, case.id) for case in cases])
        read_once_more(run, run.metrics.test.hash, by="external")  # whose scores at home are compared
        rows = place.prepared.rows([case.id for case in cases])
        scores = Scores(tuple(case.id for case in cases), *predict_run(run, place.prepared, rows)[:2])
        found: Json = {
            "name": place.name,
            "run": run.path.resolve().name,
            "title": run.recipe.title,
            "stamp": run.metrics.stamp,
            "test": {"hash": key, "reads": reads, "cases": len(cases), "persons": count_persons(cases), "before": before},
            "shared": _shared_json(shared, left_out),
            "mapping": dict(mapping or {}),
            **_judged(run, predictor, cases, scores, draws),
        }
        found["notes"] = _notes(run, place, shared, left_out, cases)
        found["verdict"] = verdict(found)
        write_json(run.path / f"external-{place.name}.json", found)
        page = render("external.html", {**found, "internal": run.metrics.scores.image.to_json()})
        write_text(run.path / f"external-{place.name}.html", page)
    return found


def read_other(run: Run, other: Path, mapping: Mapping[str, str], name: str = "") -> Elsewhere:
    """Scan, read and prepare cases of another place as the run's recipe does, into the run's cache."""
    if (other / "run.json").is_file():
        source = Run.open(other, quiet=True)
        audited = source.audit
        manifest = relabelled(source.manifest, run, mapping)
        facts, unreadable = audited.facts, audited.unreadable
    else:
        manifest = relabelled(_scan(run, other), run, mapping)
        paths = {case.id: f"{manifest.root}/{case.path}" for case in manifest.cases}
        with run.progress("audit", len(paths)) as bar:
            seen = look(paths, run.recipe.read, progress=lambda done, total: bar.update(bar.task_ids[0], completed=done))
        facts, unreadable = seen.facts, seen.unreadable
    with run.progress("prepare", len(manifest)) as bar:
        prepared = prepare(
            manifest,
            run.recipe,
            run.store / "cache",
            content={fact.case: fact.sha256 for fact in facts},
            skip=[case for case, _ in unreadable],
            progress=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    label = re.sub(r"[^\w.-]+", "-", name or other.resolve().stem)
    return Elsewhere(label, manifest, facts, unreadable, prepared)


def relabelled(manifest: Manifest, run: Run, mapping: Mapping[str, str]) -> Manifest:
    """The manifest with labels as the run knows them.

    Where a case may have several labels, a class that no case there names was not assessed there, which is not "absent".

    Raises:
        DataError: a label that is neither a class of the run nor mapped to one.
    """
    classes, known = run.recipe.classes, ", ".join(run.recipe.classes)
    if wrong := [target for target in mapping.values() if target not in (*classes, NOT_ASSESSED)]:
        raise DataError(
            f"--map names the class {wrong[0]!r}, the run knows {known}; map to one of these, or to ? for not assessed"
        )
    strange = [label for label in manifest.classes if mapping.get(label, label) not in (*classes, NOT_ASSESSED)]
    if strange:
        asked = " ".join(f"--map '{label}=CLASS'" for label in strange)
        raise DataError(
            f"{manifest.root} has the label{'s' if len(strange) > 1 else ''} {', '.join(strange)}, the run knows {known}; "
            f"say what they are there with {asked} (? for not assessed)"
        )
    seen = {mapping.get(label, label) for label in manifest.classes}
    absent = tuple(name for name in classes if name not in seen) if isinstance(run.recipe.task, MultiLabel) else ()
    return replace(manifest, cases=tuple(_relabelled(case, mapping, absent) for case in manifest.cases))


def change(run: Run, figure: Figure, internal: Judged, elsewhere: Judged) -> Estimate:
    """A figure there less that on the run's own test part: two independent samples of persons."""
    parts, sides = [], []
    for judged in (elsewhere, internal):
        true, _, known = figure.pick(run.recipe, judged.answers)
        few = effective_sample_size(figure.metric, true, judged.answers.person[known])
        sides.append((judged.value[figure.key], few))
        parts.append(between_persons(judged.draws[figure.key], few) if few >= MIN_PERSONS else (0.0, 1.0))
    n = sum(len(np.unique(judged.answers.person)) for judged in (elsewhere, internal))
    gap, few = sides[0][0] - sides[1][0], min(few for _, few in sides)
    if not np.isfinite(gap):
        return Estimate(None, None, None, n, "not estimable: a class has no case")
    if few < MIN_PERSONS:
        return Estimate(gap, None, None, n, too_few(few))
    if figure.metric is metrics.ece:  # of a sample it is too large, and the more so the smaller the sample
        return Estimate(gap, None, None, n, "no interval: it grows as a set gets smaller; read slope and intercept instead")
    return t_interval(gap, parts, n, "draws of persons of both sets")[0]


def verdict(found: Mapping[str, Any]) -> str:
    """One sentence: how good there, how good at home, and whether the difference is shown."""
    main, level = found["main"], found["scores"]["image"]
    one = found["change"][main]
    text = f"On {level['persons']} persons ({level['cases']} images) of {found['name']} the AUROC is {shown(one['external'])}, "
    text += f"on the run's own test part {shown(one['internal'])}"
    gap = one["change"]
    if gap["value"] is None or gap["low"] is None:
        return f"{text}; the difference has no interval: {gap['note'].removeprefix('no interval: ')}."
    if gap["high"] < 0:
        return f"{text}: it is worse there, by {signed(gap)}."
    if gap["low"] > 0:
        return f"{text}: it is better there, by {signed(gap)}."
    return f"{text}: no difference is shown, {signed(gap)}."


def external_table(found: Mapping[str, Any]) -> str:
    """The result for a terminal."""
    lines = [found["verdict"]]
    lines += [f"  {key}: {shown(one['external'])}, change {signed(one['change'])}" for key, one in found["change"].items()]
    for name, sides in found["calibration"].items():
        drift = ", ".join(f"{key} {shown(one)}" for key, one in sides["external"].items())
        lines.append(f"  calibration of {name}: {drift}")
    lines += [f"  referred: {shown(found['referred']['external'])}, at home {shown(found['referred']['internal'])}"]
    return "\n".join([*lines, *found["notes"]])


def _scan(run: Run, other: Path) -> Manifest:
    """With the recipe's source where the place is laid out as it expects, else as found."""
    if run.recipe.source and other.is_dir() and not (other / "manifest.csv").is_file():
        try:
            return run.recipe.source.scan(other)
        except DataError:
            pass  # another layout
    return detect(other).scan(other)


def _relabelled(case: Case, mapping: Mapping[str, str], absent: tuple[str, ...]) -> Case:
    if case.labels is None:
        return case
    labels = tuple(dict.fromkeys(mapping.get(label, label) for label in case.labels))
    unknown = tuple(dict.fromkeys((*(mapping.get(label, label) for label in case.unknown), *absent)))
    return replace(case, labels=None if NOT_ASSESSED in labels else labels, unknown=unknown)


def _settle(run: Run, place: Elsewhere, shared: Shared, accept: Sequence[str]) -> set[str]:
    """Cases to leave out; raises AuditStop where something is shared and that is not accepted."""
    known = () if shared.restarts else shared.persons
    touched = {there for there, _ in (*shared.exact, *shared.near)}
    touched |= {case.id for case in place.manifest.cases if case.group in known}
    learnt = learnt_before(seen_at_start(run), place.facts)
    touched |= {*learnt}
    if not touched:
        return set()
    if ACCEPT not in accept:
        pairs = [*shared.exact, *shared.near]
        text = f"{len(touched)} of {len(place.manifest)} cases of {place.name} are known to {run.path}: "
        text += f"{len(shared.exact)} byte-identical and {len(shared.near)} nearly identical pictures"
        text += f" ({', '.join(f'{there} is {here}' for there, here in pairs[:SHOWN])})" if pairs else ""
        text += (
            f", {count(len(learnt), 'picture')} that the starting weights have learnt from ({', '.join([*learnt][:SHOWN])})"
            if learnt
            else ""
        )
        text += f", {len(known)} person ids ({', '.join(known[:SHOWN])})" if known else ""
        raise AuditStop(f"{text}; that is no external validation: name other data, or leave them out with --accept {ACCEPT}")
    unit = units(place.manifest.cases, shared.clusters)
    gone = {one for case, one in zip(place.manifest.cases, unit, strict=True) if case.id in touched}
    return {case.id for case, one in zip(place.manifest.cases, unit, strict=True) if one in gone}


def _cases(run: Run, place: Elsewhere, shared: Shared, left_out: set[str]) -> list[Case]:
    """The cases that are scored, each with the person that intervals count it to."""
    person = persons(place.manifest.cases, shared.clusters)
    kept = [
        replace(case, group=person[case.id])
        for case in place.manifest.cases
        if case.id in place.prepared.row and case.id not in left_out
    ]
    if not any(case.labels is not None for case in kept):
        raise DataError(f"no readable case of {place.name} with a known label is left to score {run.path} on; name other data")
    return kept


def _judged(run: Run, predictor: Predictor, cases: Sequence[Case], scores: Scores, draws: int) -> Json:
    """Figures there, their change, drift of calibration, referral rates and distances from training."""
    recipe, calibration = run.recipe, predictor.calibration
    said, own_said = predictor.calibrate(scores), predictor.calibrate(run.scores("test"))
    result = judge(run, calibration, cases, scores.logits, said)
    own = answers_of(run)[1]
    probability = calibration.probabilities(scores.logits).astype(np.float64)
    there = Answers(
        truth(recipe.task, recipe.classes, cases).astype(np.float64),
        probability,
        calibration.choose(probability, logits=scores.logits).astype(np.float64),
        np.ones(len(cases), bool),
        person_codes([case.group for case in cases], len(cases)),
    )
    wanted = (*figures(recipe), *(Figure(name, metric, of, decided=True) for of in result.shown for name, metric in _SHARES))
    home, away = (
        judge_figures(which, recipe, wanted, one.where(one.assessed), draws=draws, seed=seed)
        for seed, (which, one) in enumerate((("internal", own), ("external", there)))
    )
    sides = {figure.key: {"internal": run.metrics.scores.image, "external": result.image} for figure in wanted}
    known = np.flatnonzero(there.assessed)
    shifted = prior_corrected(run, calibration, [cases[int(i)] for i in known], scores.logits[known])
    return {
        "main": wanted[0].key,
        "scores": result.to_json(),
        "prior_corrected": shifted and shifted.to_json(),
        "change": {
            figure.key: {
                **{side: figure.of_level(level).to_json() for side, level in sides[figure.key].items()},
                "change": change(run, figure, home, away).to_json(),
            }
            for figure in wanted
        },
        "calibration": {
            of: {"internal": _drift(run, home.answers, of), "external": _drift(run, away.answers, of)} for of in result.shown
        },
        **_ood_shift(run, predictor, scores, (own_said, said), (own.person, there.person)),
    }


_SHARES: tuple[tuple[str, metrics.Metric], ...] = (("sensitivity", metrics.sensitivity), ("specificity", metrics.specificity))


def _drift(run: Run, side: Answers, of: str) -> Json:
    true, probability, known = Figure("", metrics.auroc, of).pick(run.recipe, side)
    found = recalibration(true, probability, side.person[known])
    return {key: one.to_json() for key, one in found.items()}


def _ood_shift(
    run: Run,
    predictor: Predictor,
    scores: Scores,
    said: tuple[Sequence[Prediction], Sequence[Prediction]],
    person: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> Json:
    """How far the cases there lie from training cases, against those at home.

    Fractions referred and flagged at home and there, and how well the distance from training cases tells the two sets apart.
    """
    near, far = (predictor.ood_score.distance(one.embeddings) for one in (run.scores("test"), scores))
    flags = sorted({flag for side in said for one in side for flag in one.flags})
    place = np.repeat([0, 1], [len(near), len(far)])
    groups = np.concatenate([person[0], person[1] + person[0].max() + 1])
    apart = estimate(metrics.auroc, place, np.concatenate([near, far]), groups)

    def shares(flag: str) -> Json:
        return {
            name: proportion(np.array([flag in one.flags if flag else one.label is None for one in side]), who).to_json()
            for name, side, who in zip(("internal", "external"), said, person, strict=True)
        }

    return {
        "referred": shares(""),
        "flags": {flag: shares(flag) for flag in flags},
        "familiarity": {
            "apart": apart.to_json(),
            "median": {"internal": float(np.median(near)), "external": float(np.median(far))},
        },
    }


def _shared_json(shared: Shared, left_out: set[str]) -> Json:
    return {
        "exact": [list(pair) for pair in shared.exact],
        "near": [list(pair) for pair in shared.near],
        "persons": list(shared.persons),
        "likeness": shared.likeness.to_json(),
        "left_out": sorted(left_out),
    }


def _notes(run: Run, place: Elsewhere, shared: Shared, left_out: set[str], cases: Sequence[Case]) -> list[str]:
    failed = len(place.unreadable) + len(place.prepared.failures)
    missing = [name for name in run.recipe.classes if name not in place.manifest.classes]
    nameless = sum(not place.manifest.by_id[case.id].group for case in cases)
    unknown = sum(case.labels is None for case in cases)
    finds = isinstance(run.recipe.task, Detect)
    return [
        *(["Boxes are not judged here: only whether each class is there."] if finds else []),
        *([f"{len(left_out)} cases were left out: they, or others of their person, are known to the run."] if left_out else []),
        *(
            [
                f"{len(shared.persons)} person ids stand in both sets, but their pictures are no more alike than others "
                f"(AUROC {shared.likeness}): the numbering is taken to start again."
            ]
            if shared.persons and shared.restarts
            else []
        ),
        *(
            [
                f"{failed} files could not be read and are left out; the first: "
                f"{[*place.unreadable, *place.prepared.failures][0][1]}"
            ]
            if failed
            else []
        ),
        *([f"{unknown} cases have no known label and are not scored."] if unknown else []),
        *([f"No case of {place.name} is labelled {', '.join(missing)}."] if missing else []),
        *(
            [f"{nameless} cases name no person: each cluster of near-duplicates counts as one, so intervals may be too narrow."]
            if nameless
            else []
        ),
        "Accuracy, average precision and Brier score move with the share of each class, also where it is as good as at home.",
        "Calibrator and thresholds are those of the run; nothing was fitted to these cases, except the prior-corrected figures.",
    ]
