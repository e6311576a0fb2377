"""A model card.

What the model is for, what it learnt from, how it was judged, for whom it fails, and how to use it. After Mitchell 2019 (doi
10.1145/3287560.3287596). What the run knows is filled in; what only a person can know is marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import count
from .format import Json, figure, interval, listed, with_interval

Found = Mapping[str, Any]
FEW_SHOWN = 4  # subgroups that the card names


def card(found: Found) -> list[Json]:
    """Headings with their lines; a line with `write` is for a person."""
    headings = {
        "What it is for": _purpose(found),
        "What it learnt from": _learnt(found),
        "How it was judged": _judged(found),
        "For whom it fails": _failures(found),
        "How to use it": _use(found),
        "Who answers for it": [_write("Name, address and licence of whoever gives this model away.")],
    }
    return [{"heading": heading, "lines": lines} for heading, lines in headings.items()]


def _says(text: str, section: str = "") -> Json:
    return {"text": text, "section": section, "write": False}


def _write(text: str) -> Json:
    return {"text": text, "section": "", "write": True}


def _purpose(found: Found) -> list[Json]:
    kinds = {
        "Classify": "to say which one class an image belongs to",
        "MultiLabel": "to say which of several findings an image shows",
        "Ordinal": "to say which grade an image has",
    }
    recipe = found["recipe"]
    text = f"Made {kinds.get(recipe['task'], recipe['task'])}: {listed(recipe['classes'], 20) or 'classes as found in the data'}."
    return [
        _says(text, "asked"),
        _says("For research. Not a medical device, and not for the care of any patient.", "limits"),
        _write("Who is to use it, for which patients, at which step of their care, and what it must not be used for."),
    ]


def _learnt(found: Found) -> list[Json]:
    flow, asked, recipe = found["flow"], found["asked"], found["recipe"]
    if "missing" in flow or not flow["parts"]:
        return [_says("The data are not divided into parts yet.", "flow"), _write("Where, when and from whom the images came.")]
    train = flow["parts"]["train"]
    classes = ", ".join(f"{name} {train['classes'].get(name, 0):,}" for name in flow["classes"])
    source = f" from {listed(asked['sources'])}" if asked.get("sources") else ""
    licence = f"; licence {asked['licence']}" if asked.get("licence") else ""
    whose = count(train["persons"], "person") if flow["grouped"] else "unknown persons"
    named = f"{count(train['cases'], 'image')} of {whose}{source}: {classes}{licence}."
    return [
        _says(named, "flow"),
        _says(f"Network: {recipe['network']}.", "asked"),
        _write("Where, when and with which machines the images were taken, and who labelled them how."),
    ]


def _judged(found: Found) -> list[Json]:
    test = found["test"]
    if "missing" in test:
        return [_says("It has not been judged yet.", "results")]
    lines = [_says(found["verdict"], "results")]
    if "missing" not in found["points"]:
        for point in [point for point in found["points"]["rows"] if point["goal"] == "youden"][:FEW_SHOWN]:
            both = (f"{key} {with_interval(point['test'][key])}" for key in ("sensitivity", "specificity"))
            lines.append(_says(f"{point['of']} at threshold {point['threshold']:.3f}, by image: {', '.join(both)}.", "points"))
    if "border" in found["controls"]:
        lines.append(_says(found["controls"]["border"], "controls"))
    return [*lines, _write("Whether it was tried in another hospital, and what came of it.")]


def _failures(found: Found) -> list[Json]:
    test = found["test"]
    if "missing" in test:
        return [_says("Not known: it has not been judged yet.", "subgroups")]
    known, unknown = [], []
    for kind, members in test["scores"]["subgroups"].items():
        for value, one in members.items():
            for name, scores in one["classes"].items():
                if "note" in scores:
                    unknown.append(f"{kind} {value}")
                elif scores["auroc"]["value"] is not None:
                    known.append((scores["auroc"]["value"], f"{kind} {value}", name, scores["auroc"], one["persons"]))
    lines = [_weakest(known)] if known else []
    if unknown:
        lines.append(_says(f"Too few persons to say anything of {listed(dict.fromkeys(unknown))}.", "subgroups"))
    if not test["scores"]["subgroups"]:
        lines.append(
            _says("The data name no source, sex, age or view that differs: for whom it fails is not known.", "subgroups")
        )
    referred = test["scores"]["image"]["abstention"]["referred"]
    if referred["value"] is not None:
        lines.append(_says(f"It refers {100 * referred['value']:.0f} % of test images to a person.", "abstention"))
    return [*lines, _write("Groups that the collection leaves out, and what a wrong answer would do to a patient.")]


def _weakest(known: list[tuple[float, str, str, Json, int]]) -> Json:
    """The subgroup with the lowest AUROC; where no subgroup has an error, how few persons that rests on."""
    value, group, name, area, persons = min(known, key=lambda row: row[0])
    if value == 1:
        fewest = min(row[4] for row in known)
        text = f"No error of ranking was seen in any subgroup that could be judged; the smallest has {count(fewest, 'person')}"
        return _says(f"{text}, so this says little.", "subgroups")
    between = f" ({interval(area)})" if interval(area) else ""
    text = f"Of the subgroups that could be judged, AUROC is lowest for {group}: {figure(area)}{between} for {name}"
    return _says(f"{text}, {count(persons, 'person')}. The lowest of several is partly chance.", "subgroups")


def _use(found: Found) -> list[Json]:
    return [
        _says("`resdx predict RUN FILES` gives calibrated probabilities, a label or a referral, and the reasons for one."),
        _says("A referral is an answer: where it is not sure, or the image is unlike what it learnt from, a person must look."),
        _says("Before use elsewhere: judge it on your own cases, and calibrate it again.", "calibration"),
    ]
