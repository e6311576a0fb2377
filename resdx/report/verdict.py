"""What a reader should take away: the verdict, what to doubt first, and the limits.

A sentence each, from the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import count
from .format import Json, figure, listed, with_interval

FEW_TEST_PERSONS = 100
DEFAULT_GOAL = "youden"  # of the threshold that decides
OFF = 0.05  # how far a figure of the test part must surely fall short of what calib promised
SURE = 0.05  # p value, over all classes, below which probabilities do not mean what they say
STOP = " But a control says: stop, the class can be told without looking at the disease."
DOUBTS = 6  # shown above the page; the sections say the rest


def verdict(found: Mapping[str, Any]) -> str:
    """The figures that a reader needs first, and what forbids believing them.

    How many were judged, how well, and what the emptiest rule would have reached.
    """
    test = found["test"]
    if "error" in test:
        return "The results of this run cannot be read; its section says why."
    if "missing" in test:
        return "This run has not been scored on its test part yet; the page shows what there is."
    main = test["scores"][test["main"]]
    whom, area = _whom(test), main["overall"]["macro_auroc"]
    if area["value"] is None:
        return f"On {whom}, the AUROC cannot be estimated: {area['note'].removeprefix('not estimable: ') or 'a class is absent'}."
    shown, overall = test["scores"]["shown"], main["overall"]
    what = f"tells {shown[0]} from the rest" if len(shown) == 1 else f"tells its {len(shown)} classes apart"
    text = f"On {whom}, it {what} with an AUROC of {with_interval(area)}"
    if "accuracy" in overall:
        unit = "persons" if test["main"] == "person" else "images"
        text += f"; it is right for {figure(overall['accuracy'])} of {unit}"
        text += f", where always saying the commonest class is right for {figure(overall['majority_rate'])}"
    one = main["classes"][shown[0]]
    if len(shown) == 1 and one["sensitivity"]["value"] is not None and one["specificity"]["value"] is not None:
        where = "Without referral" if test.get("referral") else "At its threshold"
        text += f". {where} it finds {figure(one['sensitivity'])} of those with {shown[0]}"
        text += f" and clears {figure(one['specificity'])} of those without"
    return f"{text}.{STOP if found['controls'].get('stop') else ''}"


def _whom(test: Mapping[str, Any]) -> str:
    main, images = test["scores"][test["main"]], test["scores"]["image"]["cases"]
    seen = "some of whom training may have seen" if test["stamp"] else "whom the model had never seen"
    if not test["named"]:
        return f"{count(images, 'image')} {seen.replace('whom', 'which')}, whose persons are not known"
    if test["main"] == "person":
        return f"{count(main['persons'], 'person')} {seen} ({count(images, 'image')})"
    return f"{count(images, 'image')} of {count(main['persons'], 'person')} {seen}"


def _read(test: Mapping[str, Any]) -> str:
    """How often the test part has been read, and how many of its cases had been read before."""
    who = test["test"]
    text = f"This test part has been read {count(who['reads'], 'time')} in this store"
    before = who.get("before", 0)
    return text + (f", and {before:,} of {count(who['cases'], 'case')} had been read before" if before else "")


def _how_many(test: Mapping[str, Any]) -> str:
    """The test persons, or where they are not known the images that are no near-duplicates of each other."""
    persons = test["test"]["persons"]
    return count(persons, "test person") if test["named"] else f"{count(persons, 'different test image')} of unknown persons"


def doubts(found: Mapping[str, Any]) -> list[Json]:
    """What to doubt first, the worst first: text and the section that says more."""
    out = [*_doubts_of_data(found), *_doubts_of_figures(found)]
    return sorted(out, key=lambda one: one["grade"] != "stop")[:DOUBTS]


def _doubts_of_data(found: Mapping[str, Any]) -> list[Json]:
    out = []
    controls, audit, flow, leak = found["controls"], found["audit"], found["flow"], found["leak"]
    if controls.get("stop"):
        out.append(_doubt(controls["verdict"]["text"], "controls", "stop"))
    for finding in audit.get("findings", ()):
        if finding["grade"] == "stop":
            state = ", accepted without being settled" if finding["accepted"] else ""
            out.append(_doubt(f"The audit found{state}: {finding['text']}", "audit", "stop"))
    if "border" in controls:
        out.append(_doubt(controls["border"], "controls"))
    elif "missing" not in found["test"]:
        tried = controls.get("missing", "").startswith("not estimable")
        why = "No control could be judged" if tried else "No control has been run"
        out.append(_doubt(f"{why}: what a model would reach from the border alone is not known.", "controls"))
    if leak.get("sure"):
        out.append(_doubt(leak["text"], "leak"))
    if "missing" not in flow and not flow["grouped"]:
        out.append(_doubt("Not every image names its person: images of one person may stand in several parts.", "asked"))
    return out


def _bare(test: Mapping[str, Any]) -> bool:
    """Whether the AUROC of a shown class has no interval."""
    classes = test["scores"][test["main"]]["classes"]
    return any(classes[name]["auroc"]["low"] is None for name in test["scores"]["shown"])


def _doubts_of_figures(found: Mapping[str, Any]) -> list[Json]:
    test = found["test"]
    if "missing" in test:
        return []
    out, persons, reads = [], test["test"]["persons"], test["test"]["reads"]
    overall = test["scores"][test["main"]]["overall"]
    low = overall.get("accuracy", {}).get("low")
    if low is not None and overall["majority_rate"]["value"] is not None and low <= overall["majority_rate"]["value"]:
        out.append(_doubt("It is not shown to be right more often than always saying the commonest class.", "results"))
    absent = [name for name in test["scores"]["shown"] if not test["scores"]["image"]["curves"].get(name)]
    if absent:
        out.append(_doubt(f"Not in the test part, or nothing else is: {listed(absent)}. Nothing is known of them.", "results"))
    if text := _miscalibrated(test["calibration"]):
        out.append(_doubt(text, "calibration"))
    out += [_doubt(text, "points") for text in _fallen(found["points"])]
    if persons < FEW_TEST_PERSONS:
        advice = (
            "too few in a class for an interval, so the figures are anecdotes."
            if _bare(test)
            else "read the intervals, not the figures."
        )
        out.append(_doubt(f"{_how_many(test)}: {advice}", "results"))
    if reads > 1 or test["test"].get("before"):
        out.append(_doubt(f"{_read(test)}: later figures are too kind.", "limits"))
    return out


def _miscalibrated(classes: Mapping[str, Mapping[str, Any]]) -> str:
    """The class whose probabilities are the surest to be wrong; empty where none are.

    Tested over all classes.
    """
    tested = {name: one["p"] for name, one in classes.items() if one["p"] is not None}
    if not tested or min(tested.values()) * len(tested) >= SURE:
        return ""
    name = min(tested, key=lambda name: tested[name])
    one = classes[name]
    z = "" if one["z"] is None else f", Spiegelhalter's z {one['z']:.1f}"
    return (
        f"Its probabilities of {name} do not mean what they say here: calibration slope {with_interval(one['slope'])}, "
        f"intercept {with_interval(one['intercept'])}{z}."
    )


def _fallen(points: Mapping[str, Any]) -> list[str]:
    """Default thresholds that promised on calib what they surely do not give on the test part."""
    out = []
    for row in points.get("rows", ()):
        for name in ("sensitivity", "specificity") if row["goal"] == DEFAULT_GOAL else ():
            here = row["test"][name]
            if here["high"] is not None and here["high"] < row[name] - OFF:
                out.append(
                    f"The threshold of {row['of']} does not carry over: {name} {row[name]:.2f} on calib, "
                    f"{with_interval(here)} here."
                )
    return out


def _doubt(text: str, section: str, grade: str = "look") -> Json:
    return {"text": text, "section": section, "grade": grade}


def limits(found: Mapping[str, Any]) -> list[str]:
    """What the reader must know before believing a figure, a sentence each."""
    out = []
    test, settings = found["test"], found["settings"]
    if "missing" not in test:
        who, scores = test["test"], test["scores"]
        again = who["reads"] > 1 or who.get("before")
        out.append(f"{_read(test)}{'; every further reading makes its figures a little too kind' if again else ''}.")
        if who["persons"] < FEW_TEST_PERSONS:
            out.append(f"{_how_many(test)}: below {FEW_TEST_PERSONS} the intervals are wide, and they are what to read.")
        if scores["not_assessed"]:
            out.append(f"{count(scores['not_assessed'], 'test image')} had no known truth and are not scored.")
        if test["mixed"]:
            out.append("Most persons have images of several classes: the class is the image's, so the main figures are by image.")
        out += scores["notes"]
    if settings["protocol"] != "honest":
        out.append("The split is not by person: the figures show what a paper would report, not what a new patient would meet.")
    if settings["accepted"]:
        out.append(f"Findings accepted without being settled: {', '.join(settings['accepted'])}.")
    flow = found["flow"]
    if "missing" not in flow and not flow["grouped"]:
        out.append("Not every image names its person: images of one person may stand in several parts without being noticed.")
    if settings["fold"]:
        out.append(f"This is fold {settings['fold']} of a cross-validation: the figures of one fold are not those of all.")
    out.append(
        "All parts come from the same collection; in another hospital, with other machines and patients, figures are often lower."
    )
    return [*out, "Not a medical device: for research, not for the care of any patient."]
