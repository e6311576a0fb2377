"""A run as one page for a sceptical clinician (report.html), and as data (report.json).

Each section reads its own files of the run; one whose stage has not been run says so, and the rest stands.
"""

from __future__ import annotations

import base64
import csv
import io
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from . import charts, metrics
from .calibration import Calibration
from .cases import Case, count_persons
from .errors import ResdxError, RunError
from .intervals import estimates
from .records import from_record, read_json, to_record, write_json, write_text
from .runs import Run
from .split import PARTS
from .steps.chain import prepare_image
from .tasks import truth

Json = dict[str, Any]
Picture = Callable[[Case], NDArray[np.uint8]]  # (S, S, C), C = 1 or 3

SAMPLES = 6  # pictures a class
SAMPLED_CLASSES = 20
SIDE = 144  # pixels of a sample on the page
SHOWN_IDS = 8  # of the cases a finding concerns
FEW_TEST_PERSONS = 100
GRADES = ("stop", "look", "note")
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pillow", "pydicom")
NAMES = {
    "macro_auroc": "AUROC, mean of classes",
    "macro_f1": "F1, mean of classes",
    "accuracy": "Accuracy",
    "majority_rate": "Always the commonest class",
    "balanced_accuracy": "Balanced accuracy",
    "mcc": "Matthews correlation",
    "quadratic_kappa": "Kappa, quadratic weights",
    "brier": "Brier score (lower is better)",
    "ece": "Calibration error (lower is better)",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "prevalence": "Prevalence",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "sensitivity_at_specificity_90": "Sensitivity at specificity 0.90",
    "sensitivity_at_specificity_95": "Sensitivity at specificity 0.95",
    "specificity_at_sensitivity_90": "Specificity at sensitivity 0.90",
    "specificity_at_sensitivity_95": "Specificity at sensitivity 0.95",
    "work_saved": "Work saved at sensitivity 0.99",
}


def report(run: Run, *, picture: Picture | None = None) -> Path:
    """Write report.html and report.json from what the run holds so far, and give back the path of the page.

    Args:
        picture: the prepared picture of a training case, where it is at hand; by default its file is read and prepared again.

    Raises:
        RunError: the pages cannot be written.
    """
    found = facts(run)
    write_json(run.path / "report.json", found)
    path = run.path / "report.html"
    write_text(path, render(found, _section(partial(samples, run, picture or _from_file(run)))))
    return path


def facts(run: Run) -> Json:
    """All that the page says, as plain data; a section without its files is `{"missing": why}`."""
    sections: dict[str, Callable[[Run], Json]] = {
        "asked": _asked,
        "flow": _flow,
        "audit": _audit,
        "training": _training,
        "test": _test,
        "calibration": _calibration,
        "points": _points,
        "answers": _answers,
    }
    found: Json = {name: _section(partial(read, run)) for name, read in sections.items()}
    found |= {"recipe": _recipe(run), "settings": _settings(run), "made_with": _made_with(run)}
    return found | {"verdict": verdict(found), "limits": limits(found)}


def render(found: Mapping[str, Any], pictures: Mapping[str, Any]) -> str:
    """The page: one HTML file that loads nothing; every text of the user is escaped."""
    environment = Environment(
        loader=PackageLoader("resdx"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": figure, "interval": interval, "named": lambda key: NAMES.get(key, key.replace("_", " "))}
    page = environment.get_template("report.html")
    return page.render(found, pictures=pictures, charts=charts, parts=PARTS, shown_ids=SHOWN_IDS)


def figure(estimate: Mapping[str, Any]) -> str:
    """The value of an Estimate, three decimals."""
    return "not estimable" if estimate["value"] is None else f"{estimate['value']:.3f}"


def interval(estimate: Mapping[str, Any]) -> str:
    """The interval of an Estimate, "0.893–0.974"; a minus sign keeps its own dash. Empty where there is none."""
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None:
        return ""
    return f"{low:.3f} to {high:.3f}" if low < 0 else f"{low:.3f}–{high:.3f}"


def verdict(found: Mapping[str, Any]) -> str:
    """One sentence: how many were judged, how well, and what the emptiest rule would have reached."""
    test = found["test"]
    if "missing" in test:
        return "This run has not been scored on its test part yet; the page shows what there is."
    scores, main = test["scores"], test["scores"][test["main"]]
    shown, overall = scores["shown"], main["overall"]
    unit = "persons" if test["main"] == "person" else "images"
    seen = "whom the model had never seen" if not test["stamp"] else "some of whom training may have seen"
    whom = f"{count(main['persons'], 'person')} {seen}" + (
        f" ({count(scores['cases'], 'image')})" if test["main"] == "person" else ""
    )
    area = overall["macro_auroc"]
    if area["value"] is None:
        return f"On {whom}, the AUROC cannot be estimated: {area['note'] or 'a class is absent'}."
    what = f"tells {shown[0]} from the rest" if len(shown) == 1 else f"tells its {len(shown)} classes apart"
    text = f"On {whom}, it {what} with an AUROC of {_with_interval(area)}"
    if "accuracy" in overall:
        text += (
            f"; it is right for {figure(overall['accuracy'])} of {unit}, where always saying the commonest class is right for "
        )
        text += figure(overall["majority_rate"])
    return f"{text}."


def limits(found: Mapping[str, Any]) -> list[str]:
    """What the reader must know before believing a figure, a sentence each."""
    out = []
    test, settings = found["test"], found["settings"]
    if "missing" not in test:
        who, reads, scores = test["test"], test["test"]["reads"], test["scores"]
        kinder = "" if reads <= 1 else "; every further reading makes its figures a little too kind"
        out.append(f"This test part has been read {count(reads, 'time')} in this store{kinder}.")
        if who["persons"] < FEW_TEST_PERSONS:
            out.append(
                f"{count(who['persons'], 'test person')}: below {FEW_TEST_PERSONS} the intervals are wide, and they are what to read."
            )
        if scores["not_assessed"]:
            out.append(f"{count(scores['not_assessed'], 'test image')} had no known truth and are not scored.")
        out += scores["notes"]
    if settings["protocol"] != "honest":
        out.append("The split is not by person: the figures show what a paper would report, not what a new patient would meet.")
    if settings["accepted"]:
        out.append(f"Findings accepted without being settled: {', '.join(settings['accepted'])}.")
    flow = found["flow"]
    if "missing" not in flow and not flow["grouped"]:
        out.append("Not every image names its person: images of one person may stand in several parts without being noticed.")
    out.append(
        "All parts come from the same collection; in another hospital, with other machines and patients, figures are often lower."
    )
    return [*out, "Not a medical device: for research, not for the care of any patient."]


def count(number: int, noun: str) -> str:
    """ "1 person", "2 persons", "1,200 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def samples(run: Run, picture: Picture) -> Json:
    """A few training pictures a class as data URLs, each of another person where there are enough; and how many could not be read."""
    pictures: dict[str, list[str]] = {}
    failed = 0
    cases = run.cases("train")
    for name in run.recipe.classes[:SAMPLED_CLASSES]:
        pictures[name] = []
        for case in _one_each([case for case in cases if name in (case.labels or ())]):
            try:
                pictures[name].append(_data_url(picture(case)))
            except (ResdxError, KeyError):
                failed += 1
    return {"classes": pictures, "failed": failed}


def _section(read: Callable[[], Json]) -> Json:
    """What `read` gives, or why not: a file may be absent, or of another layout than this version writes."""
    try:
        return read()
    except ResdxError as error:
        return {"missing": str(error)}
    except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
        return {"missing": f"A file of this section cannot be understood ({type(error).__name__}: {error}); repeat its stage."}


def _asked(run: Run) -> Json:
    manifest = run.manifest
    named = sum(bool(case.group) for case in manifest.cases)
    return {
        "data": Path(run.settings.data).name,
        "licence": _optional(run, "scan.json").get("licence", ""),
        "images": len(manifest),
        "named": named,
        "sources": sorted({case.source for case in manifest.cases if case.source}),
        "manifest": manifest.sha256,
    }


def _flow(run: Run) -> Json:
    manifest, audit, split = run.manifest, _optional(run, "audit.json"), _optional(run, "split.json")
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


def _audit(run: Run) -> Json:
    audit = read_json(run.need("audit.json", "audit"))
    findings = [*audit["findings"], *_optional(run, "split.json").get("findings", ())]
    findings.sort(key=lambda finding: GRADES.index(finding["grade"]))
    accepted = set(run.settings.accepted)
    return {
        "findings": [{**finding, "accepted": finding["code"] in accepted} for finding in findings],
        "grades": {grade: sum(finding["grade"] == grade for finding in findings) for grade in GRADES},
        "unreadable": audit["unreadable"],
    }


def _training(run: Run) -> Json:
    epochs = {entry["epoch"]: entry for entry in run.events("epoch")}  # a resumed epoch counts once, as it was last
    if not epochs:
        raise RunError("No epoch is logged: the model is not trained yet, or it learns without epochs.")
    rows = [
        {key: epochs[number].get(key) for key in ("epoch", "loss", "tune_score", "seconds", "size")} for number in sorted(epochs)
    ]
    scored = [(float(row["tune_score"]), -int(row["epoch"] or 0)) for row in rows if row["tune_score"] is not None]
    best = -max(scored)[1] if scored else None  # of equal ones the first, which training keeps
    return {"epochs": rows, "best": best, "seconds": sum(row["seconds"] or 0 for row in rows)}


def _test(run: Run) -> Json:
    found = run.metrics
    scores = found["scores"]
    kept = {key: found[key] for key in ("protocol", "stamp", "test", "scores", "prior_corrected", "seconds")}
    return {
        **kept,
        "main": "person" if scores["person"]["cases"] else "image",
        "one_each": scores["person"]["cases"] == scores["cases"],
    }


def _calibration(run: Run) -> Json:
    found = _read_calibration(run)
    names = ("method", "scale", "bias", "level", "persons", "cases", "notes", "figures")
    kept = {name: to_record(getattr(found, name)) for name in names}
    judged = zip(found.classes, found.class_persons, found.present, strict=True)
    return kept | {"classes": [{"name": name, "persons": persons, "limit": limit} for name, persons, limit in judged]}


def _points(run: Run) -> Json:
    """Each operating point with what it gave on calib and what it gives on test, by images."""
    calibration, cases = _read_calibration(run), {case.id: case for case in run.cases("test")}
    rows = [row for row in _predictions(run) if row["case"] in cases]
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
    return {"rows": out}


def _answers(run: Run) -> Json:
    """Why cases were referred: how often each flag was raised, and how many of each set size there are."""
    rows = _predictions(run)
    flags = Counter(flag for row in rows for flag in row["flags"].split("|") if flag)
    sizes = Counter(len([name for name in row["conformal"].split("|") if name]) for row in rows)
    return {"cases": len(rows), "flags": dict(flags.most_common()), "sizes": {str(size): sizes[size] for size in sorted(sizes)}}


def _recipe(run: Run) -> Json:
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
            ("Network", repr(recipe.model)),
            ("Task", repr(recipe.task)),
            ("Learn", repr(recipe.learn)),
            (
                "Answer for a person",
                f"the {'mean' if recipe.pool == 'mean' else 'highest'} of their images, over {count(recipe.views, 'view')} each",
            ),
        ],
        "published": [{"metric": one.metric, "value": one.value, "seen": one.seen} for one in recipe.published],
        "differs": list(recipe.differs),
        "fingerprint": recipe.fingerprint(),
    }


def _settings(run: Run) -> Json:
    settings = run.settings
    return {
        "protocol": settings.protocol,
        "seed": settings.seed,
        "accepted": list(settings.accepted),
        "fold": None if settings.fold is None else f"{settings.fold + 1} of {settings.folds}",
        "weights": Path(settings.weights).name if settings.weights else "",
        "created": settings.created,
        "choices": {key: str(value) for key, value in settings.choices.items()},
    }


def _made_with(run: Run) -> Json:
    versions = {"resdx": run.settings.version or _version("resdx"), "python": platform.python_version()}
    return versions | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _with_interval(estimate: Mapping[str, Any]) -> str:
    between = interval(estimate)
    return figure(estimate) + (f" (95 % interval {between})" if between else "")


def _optional(run: Run, name: str) -> Json:
    """A JSON file of the run; empty where its stage has not been run."""
    return dict(read_json(run.path / name)) if (run.path / name).exists() else {}


def _read_calibration(run: Run) -> Calibration:
    calibration = from_record(read_json(run.need("calibration.json", "calibrate")))
    if not isinstance(calibration, Calibration):
        raise RunError(f"{run.path / 'calibration.json'} holds no calibration; repeat `resdx calibrate {run.path}`")
    return calibration


def _predictions(run: Run) -> list[dict[str, str]]:
    with run.need("predictions.csv", "evaluate").open(newline="") as file:
        return list(csv.DictReader(file))


def _from_file(run: Run) -> Picture:
    root = run.manifest.root
    return lambda case: prepare_image(os.path.join(root, case.path), run.recipe.read, run.recipe.prepare)


def _one_each(cases: Iterable[Case]) -> Sequence[Case]:
    """The first case of each person, then second ones, as many as the page shows."""
    nth: Counter[str] = Counter()
    order: list[tuple[int, int, Case]] = []
    for case in cases:
        person = case.group or case.id
        order.append((nth[person], len(order), case))
        nth[person] += 1
    return [case for _, _, case in sorted(order, key=lambda item: item[:2])[:SAMPLES]]


def _data_url(picture: NDArray[np.uint8]) -> str:
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    image.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
