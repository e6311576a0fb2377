"""What a run's own stages say, as plain data: one reader a section, each from its own files.

A section whose stage has not been run is `{"missing": why}`. One that fails, for a broken file or a bug, is `{"missing": why,
"error": what}`: the other sections stand, and `report` raises when all are written.
"""

from __future__ import annotations

import platform
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..data.persons import count_persons
from ..data.tasks import MultiLabel, Ordinal, positive_class, truth
from ..errors import AbsentResultError, ResdxError, count
from ..files import read_json
from ..inference.opening import calibration_of_run, votes_of
from ..metrics import classification as metrics
from ..metrics import intervals
from ..metrics.intervals import estimates
from ..recipes.learning import Ensemble
from ..records import to_record
from ..runs.run import Run
from ..training.sklearn_heads import named
from .format import Json

GRADES = ("stop", "look", "note")
MIXED = 0.2  # share of persons with images of several classes from which on the class is the image's, not the person's
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pillow", "pydicom")


def section(read: Callable[[], Json], folder: Path) -> Json:
    """What `read` gives, or why it gives nothing.

    `missing` where a stage has not been run, `error` as well where anything else goes wrong. `folder` is the run's: a page
    that is sent to others says its name, not where it lies.
    """
    try:
        return read()
    except AbsentResultError as error:
        return {"missing": _without_path(error, folder)}
    except Exception as error:  # a broken file or a bug: shown and raised by `report`, after the sections that can be made
        what = (
            _without_path(error, folder) if isinstance(error, ResdxError) else f"{type(error).__name__}: {error}{_place(error)}"
        )
        return {"missing": what, "error": what}


def failed(found: Mapping[str, Any]) -> dict[str, str]:
    """Names of the sections that went wrong, each with its error."""
    return {name: str(one["error"]) for name, one in found.items() if isinstance(one, Mapping) and "error" in one}


def _without_path(error: ResdxError, folder: Path) -> str:
    return str(error).replace(f"{folder} has no", "This run has no").replace(str(folder), folder.name)


def _place(error: Exception) -> str:
    """Where the code failed: " (sections.py, line 12)"."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({Path(last.filename).name}, line {last.lineno})"


def asked(run: Run) -> Json:
    manifest = run.manifest
    named = sum(bool(case.group) for case in manifest.cases)
    return {
        "data": Path(run.settings.data).name,
        "licence": optional(run, "scan.json").get("licence", ""),
        "images": len(manifest),
        "named": named,
        "sources": sorted({case.source for case in manifest.cases if case.source}),
        "manifest": manifest.sha256,
    }


def flow(run: Run) -> Json:
    manifest, audit, split = run.manifest, optional(run, "audit.json"), optional(run, "split.json")
    unreadable = {case for case, _ in audit.get("unreadable", ())}
    silent = [case for case in manifest.cases if case.labels is None and case.id not in unreadable]
    parts = split.get("counts", {})
    used = sum(part["cases"] for part in parts.values())
    return {
        "found": len(manifest),
        "persons": count_persons(manifest.cases),
        "grouped": manifest.grouped,
        "unreadable": len(unreadable),
        "not_assessed": len(silent),
        "left_out": len(manifest) - len(unreadable) - len(silent) - used if parts else None,
        "parts": parts,
        "classes": list(run.recipe.classes or manifest.classes),
        "rule": split.get("rule", ""),
        "seed": split.get("seed"),
    }


def audit(run: Run) -> Json:
    audit = read_json(run.need("audit.json", "audit"))
    findings = [*audit["findings"], *optional(run, "split.json").get("findings", ())]
    findings.sort(key=lambda finding: GRADES.index(finding["grade"]))
    accepted = set(run.settings.accepted)
    return {
        "findings": [{**finding, "accepted": finding["code"] in accepted} for finding in findings],
        "grades": {grade: sum(finding["grade"] == grade for finding in findings) for grade in GRADES},
        "unreadable": audit["unreadable"],
    }


def training(run: Run) -> Json:
    """How the run was trained, in words.

    The epochs, the penalties of a regression on frozen features, and the other settings that were tried; of an ensemble, its
    members.
    """
    if run.members:
        return _training_together(run)
    epochs = {entry["epoch"]: entry for entry in run.events("epoch")}  # a resumed epoch counts once, as it was last
    tried = {
        entry["penalty"]: {"penalty": entry["penalty"], "tune_score": entry["tune_score"]} for entry in run.events("penalty")
    }
    told = [(_setting(entry["setting"]), entry["tune_score"]) for entry in run.events("trial")]
    trials = [{"setting": setting, "tune_score": score} for setting, score in dict(told).items()]
    if not (epochs or tried or trials):
        raise AbsentResultError(f"No step of learning is logged yet; run `resdx train {run.path}` first.")
    seconds = [entry["seconds"] for entry in run.events("stage") if entry["stage"] == "train"]
    found: Json = {"epochs": [], "penalties": [], "trials": trials, "members": [], "seconds": seconds[-1] if seconds else 0.0}
    found["generated"] = run.read("generated.json", "train") if run.recipe.generator else None
    found["chosen"] = max(trials, key=lambda one: float(one["tune_score"]))["setting"] if trials else ""
    if not epochs:
        penalties = [tried[penalty] for penalty in sorted(tried)]
        best = max(penalties, key=lambda one: one["tune_score"] or 0.0)["penalty"] if penalties else None
        classifier = named(run.recipe.model.head)
        return found | {"penalties": penalties, "best": best, "classifier": classifier}
    rows = [
        {key: epochs[number].get(key) for key in ("epoch", "loss", "tune_score", "seconds", "size")} for number in sorted(epochs)
    ]
    scored = [(float(row["tune_score"]), -int(row["epoch"] or 0)) for row in rows if row["tune_score"] is not None]
    best = -max(scored)[1] if scored else None  # of equal ones the first, which training keeps
    return found | {"epochs": rows, "best": best, "seconds": sum(row["seconds"] or 0 for row in rows)}


def _setting(values: Mapping[str, float | str]) -> str:
    return ", ".join(f"{name} {value}" if isinstance(value, str) else f"{name} {value:g}" for name, value in values.items())


def _training_together(run: Run) -> Json:
    """How each member of an ensemble learnt, its best score on tune and its weight in the vote."""
    votes, seconds = votes_of(run), [entry["seconds"] for entry in run.events("stage") if entry["stage"] == "train"]
    members = []
    for member, weight in zip(run.members, votes.weights, strict=True):
        own = training(member)
        rows = own["epochs"] or own["penalties"] or own["trials"]
        what = "epochs" if own["epochs"] else "penalties" if own["penalties"] else "settings"
        members.append(
            {
                "name": member.path.name,
                "network": network(member.recipe.model.backbone),
                "learnt": (
                    f"{own['classifier'] + ': ' if 'classifier' in own else ''}{len(rows)} {what}, "
                    f"{own['chosen'] or format(own['best'], 'g')} was best"
                ),
                "tune_score": max((row["tune_score"] for row in rows if row["tune_score"]), default=None),
                "weight": None if votes.vote == "stacking" else weight,
            }
        )
    together = {"vote": votes.vote, "stack_on": cast(Ensemble, run.recipe.learn).stack_on, "members": members}
    found: Json = {"epochs": [], "penalties": [], "trials": [], "chosen": "", "best": None}
    return found | {"seconds": seconds[-1] if seconds else 0.0, **together}


def test(run: Run) -> Json:
    """metrics.json, and which of its two levels is the main one.

    That is the person, unless nobody knows who is who (a cluster of near-duplicates is no person), or the class belongs to
    the image: cells of one slide, findings of one patient that differ. There the person's truth would be nearly the same for
    all; images are the cases then, and persons remain what intervals draw.
    """
    found = run.metrics.to_json()
    scores = found["scores"]
    kept = {key: found[key] for key in ("protocol", "stamp", "test", "scores", "prior_corrected", "seconds")}
    named = run.manifest.grouped
    mixed = not isinstance(run.recipe.task, MultiLabel) and scores["mixed_persons"] > MIXED * scores["persons"]
    return {
        **kept,
        "members": found.get("members", []),
        "referral": found.get("referral", []),
        "calibration": found.get("calibration", {}),
        "boxes": {**found["boxes"], "anchors": optional(run, "anchors.json")} if "boxes" in found else None,
        "main": "image" if mixed or not named or not scores["person"]["cases"] else "person",
        "named": named,
        "mixed": mixed,
        "one_each": scores["person"]["cases"] == scores["cases"],
    }


def folds(run: Run) -> Json:
    """The figures over all folds, where this run is one of them."""
    if run.settings.fold is None:
        raise AbsentResultError("This run is no fold of a cross-validation.")
    return dict(read_json(run.store / "folds.json")) if (run.store / "folds.json").exists() else _unfinished_folds(run)


def _unfinished_folds(run: Run) -> Json:
    done = sum((run.store / f"fold-{fold}" / "metrics.json").exists() for fold in range(run.settings.folds))
    raise AbsentResultError(
        f"{done} of {run.settings.folds} folds are scored; the figures over all folds come with the last one."
    )


def calibration(run: Run) -> Json:
    found = calibration_of_run(run)
    names = ("method", "scale", "bias", "level", "persons", "cases", "notes", "figures")
    kept = {name: to_record(getattr(found, name)) for name in names}
    judged = zip(found.classes, found.class_persons, found.present, strict=True)
    kept |= {"promises": found.promises(), "alpha": found.referral.alpha if found.referral else None, "refers": found.refers}
    return kept | {"classes": [{"name": name, "persons": persons, "limit": limit} for name, persons, limit in judged]}


def points(run: Run) -> Json:
    """Each operating point with what it gave on calib and what it gives on test, by images."""
    calibration, cases = calibration_of_run(run), {case.id: case for case in run.cases("test")}
    rows = [row for row in run.predictions if row["case"] in cases]
    tested = [cases[row["case"]] for row in rows]
    known = truth(run.recipe.task, calibration.classes, tested)
    out = []
    for point in calibration.points:
        column = known[:, calibration.classes.index(point.of)]
        assessed = ~np.isnan(column)
        said = np.array([float(row[f"p_{point.of}"]) >= point.threshold for row in rows]).astype(int)
        groups = [case.group or f"case {case.id}" for case in tested]
        shares = {"sensitivity": metrics.sensitivity, "specificity": metrics.specificity}
        kept = [group for group, is_known in zip(groups, assessed, strict=True) if is_known]
        found = estimates(shares, column[assessed].astype(int), said[assessed], kept)
        out.append({**to_record(point), "test": {name: one.to_json() for name, one in found.items()}})
    return {"rows": out, "why": "" if out else _no_points(run)}


def _no_points(run: Run) -> str:
    if isinstance(run.recipe.task, Ordinal):
        return "The answer is the grade in the middle of the probabilities; grades have no thresholds."
    if not isinstance(run.recipe.task, MultiLabel) and len(run.recipe.classes) > 2:
        return "With more than two classes the answer is the most probable one; there is no threshold to choose."
    return "Calib had too few persons to choose a threshold; 0.5 is used."


def answers(run: Run) -> Json:
    """What became of the test images.

    The leaves of the flow, why images were referred, and how large the conformal sets are.
    """
    rows = run.predictions
    flags = Counter(flag for row in rows for flag in row["flags"].split("|") if flag)
    sizes = Counter(len([name for name in row["conformal"].split("|") if name]) for row in rows)
    several, classes = isinstance(run.recipe.task, MultiLabel), run.recipe.classes
    said = ["answered" if several and row["label"] else row["label"] for row in rows]  # empty: referred to a person
    leaves = []
    for name in [*(["answered"] if several else classes), ""]:
        true = Counter(row["truth"] for row, answer in zip(rows, said, strict=True) if answer == name and row["truth"])
        leaves.append(
            {"answer": name, "cases": said.count(name), "truth": {} if several else {one: true[one] for one in classes}}
        )
    return {
        "cases": len(rows),
        "leaves": leaves,
        "positive": positive_class(run.recipe.task, classes) if len(classes) == 2 else "",
        "flags": dict(flags.most_common()),
        "sizes": {str(size): sizes[size] for size in sorted(sizes)},
        "held": {} if several else {name: _held(rows, name) for name in classes},
    }


def _held(rows: Sequence[Mapping[str, str]], name: str) -> Json:
    """The share of the cases of a class whose conformal set holds it."""
    those = [row for row in rows if row["truth"] == name]
    return intervals.proportion(
        np.array([name in row["conformal"].split("|") for row in those]), [row["person"] for row in those]
    ).to_json()


def recipe(run: Run) -> Json:
    recipe = run.recipe
    return {
        "name": recipe.name,
        "title": recipe.title,
        "task": type(recipe.task).__name__,
        "classes": list(recipe.classes),
        "steps": [
            ("Read", repr(recipe.read)),
            ("Prepare", ", ".join(map(repr, recipe.prepare))),
            ("Vary while training", ", ".join(map(repr, recipe.augment)) or "nothing"),
            ("Network", "; ".join(repr(one.model) for one in recipe.members)),
            ("Task", repr(recipe.task)),
            ("Learn", repr(recipe.learn)),
            (
                "Answer for a person",
                f"the {'mean' if recipe.pool == 'mean' else 'highest'} of their images, over {count(recipe.views, 'view')} each",
            ),
        ],
        "network": "; ".join(dict.fromkeys(network(one.model.backbone) for one in recipe.members)),
        "published": [{"metric": one.metric, "value": one.value, "seen": one.seen} for one in recipe.published],
        "differs": list(recipe.differs),
        "fingerprint": recipe.fingerprint(),
    }


def network(backbone: object) -> str:
    """A backbone in a few words.

    "ResNet-50 from random weights", "mobilenetv2_100 from imagenet weights, frozen: all".
    """
    name = getattr(backbone, "name", "") or f"{type(backbone).__name__}-{getattr(backbone, 'depth', '')}".rstrip("-")
    start = f"from {Path(weights).name} weights" if (weights := getattr(backbone, "weights", "")) else "from random weights"
    frozen = getattr(backbone, "frozen", "")
    return f"{name} {start}" + (f", frozen: {frozen}" if frozen else "")


def settings(run: Run) -> Json:
    settings = run.settings
    return {
        "protocol": settings.protocol,
        "seed": settings.seed,
        "accepted": list(settings.accepted),
        "folds": settings.folds,
        "fold": None if settings.fold is None else f"{settings.fold + 1} of {settings.folds}",
        "weights": Path(settings.weights).name if settings.weights else "",
        "created": settings.created,
        "choices": {key: str(value) for key, value in settings.choices.items()},
    }


def made_with(run: Run) -> Json:
    versions = {"resdx": run.settings.version or _version("resdx"), "python": platform.python_version()}
    return versions | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def optional(run: Run, name: str) -> Json:
    """A JSON file of the run; empty where its stage has not been run."""
    return dict(read_json(run.path / name)) if (run.path / name).exists() else {}


# The sections that the stages of a run fill, in the order of the page.
STAGES: dict[str, Callable[[Run], Json]] = {
    read.__name__: read for read in (asked, flow, audit, training, test, folds, calibration, points, answers)
}
