"""Items of three reporting guidelines, in our own words, and what a run says to each.

Sources: TRIPOD+AI (Collins 2024, doi 10.1136/bmj-2023-078378), CLAIM 2024 (Tejani 2024, doi 10.1148/ryai.240300) and STARD-AI
(Sounderajah 2025, doi 10.1038/s41591-025-03953-8). The numbers are theirs, the words are ours: a journal wants the original form.

An item is (number, what it asks, what of the run answers it, what only a person can add). It is "filled" where the run answers it
and nothing is to be added, "write" where a person must write (all of it, or the rest), "missing" where the run could answer but
does not yet. What answers is a name of ANSWERS, which looks whether the fact is really there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from .format import Json

Found = Mapping[str, Any]
Item = tuple[str, str, str, str]


def _there(section: str) -> Callable[[Found], bool]:
    return lambda found: "missing" not in found[section]


def _subgroups(found: Found) -> bool:
    return "missing" not in found["test"] and bool(found["test"]["scores"]["subgroups"])


def _intervals(found: Found) -> bool:
    test = found["test"]
    return "missing" not in test and test["scores"][test["main"]]["overall"]["macro_auroc"]["low"] is not None


def _robust(found: Found) -> bool:
    return "missing" not in found["maps"] or "missing" not in found["controls"]


# Name -> the section of the page that says it, and whether it does.
ANSWERS: dict[str, tuple[str, Callable[[Found], bool]]] = {
    "asked": ("asked", _there("asked")),
    "audit": ("audit", _there("audit")),
    "flow": ("flow", lambda found: "missing" not in found["flow"] and bool(found["flow"]["parts"])),
    "recipe": ("asked", lambda found: bool(found["recipe"]["steps"])),
    "training": ("training", _there("training")),
    "results": ("results", _intervals),
    "confusion": ("confusion", lambda found: _there("test")(found) and bool(found["test"]["scores"]["image"]["confusion"])),
    "calibration": ("calibration", lambda found: _there("calibration")(found) and _there("test")(found)),
    "points": ("points", lambda found: "missing" not in found["points"] and bool(found["points"]["rows"])),
    "use": ("use", _there("test")),
    "abstention": ("abstention", lambda found: _there("answers")(found) and _there("test")(found)),
    "subgroups": ("subgroups", _subgroups),
    "published": ("published", lambda found: bool(found["recipe"]["published"])),
    "controls": ("controls", _there("controls")),
    "maps": ("maps", _there("maps")),
    "robustness": ("controls", _robust),
    "growth": ("growth", _there("growth")),
    "limits": ("limits", lambda found: bool(found["limits"])),
    "provenance": ("provenance", lambda found: _there("asked")(found) and bool(found["made_with"])),
}

TRIPOD: tuple[Item, ...] = (
    ("1", "Title names the model, the people and what is predicted", "", "the title of your paper"),
    ("2", "Abstract with the parts that TRIPOD+AI asks of one", "", "the abstract"),
    ("3a", "Clinical setting, why a model, and the models there are", "", "the background"),
    ("3b", "For whom, at which step of care, used by whom", "", "the intended use"),
    ("3c", "Known inequalities in health between groups", "", "what is known for this disease"),
    ("4", "Aim: making a model, judging one, or both", "asked", "the aim as a sentence"),
    ("5a", ("Where the data come from, for learning and for judging; how "
"representative"), "asked", "why these data, and whom they stand for"),
    ("5b", "When the people were seen", "", "first and last date of imaging"),
    ("6a", "Setting and number of centres", "", "the hospitals and their kind"),
    ("6b", "Who could take part", "flow", "the rules by which persons came into the collection"),
    ("6c", "Treatments, and how they were dealt with", "", "treatments, or that they do not matter"),
    ("7", "Preparation and quality checks of the data", "audit", ""),
    ("8a", "What is predicted, and how and when it was assessed", "", "how the labels were made"),
    ("8b", "Who assessed it, where it needs judgement", "", "training and number of the readers"),
    ("8c", "Whether that assessment was blinded", "", "what the readers knew"),
    ("9a", "How the predictors were chosen", "recipe", ""),
    ("9b", "What the predictors are, and how they were measured", "recipe", "scanner, view and settings of the images"),
    ("9c", "Who measured them, where it needs judgement", "", "who took and chose the images"),
    ("10", "How the size was arrived at, and whether it suffices", "growth", "the size that was planned"),
    ("11", "Missing data", "flow", ""),
    ("12a", "How the data were divided and used", "flow", ""),
    ("12b", "How predictors were handled", "recipe", ""),
    ("12c", "Kind of model, steps of building, tuning, internal validation", "training", ""),
    ("12d", "Differences between clusters such as hospitals", "subgroups", ""),
    ("12e", "All measures and plots of performance, and why", "results", ""),
    ("12f", "Updating, such as recalibration", "calibration", ""),
    ("12g", "How predictions are computed when judging", "provenance", ""),
    ("13", "Class imbalance: what was done, and recalibration after it", "calibration", ""),
    ("14", "Fairness: what was done about it, and why", "", "what was done; the subgroups of this page are a start"),
    ("15", "What the model gives, and how thresholds were found", "points", ""),
    ("16", "How the data for learning and for judging differ", "flow", "differences in setting, rules and labels"),
    ("17", "Ethics committee and consent", "", "approval or waiver"),
    ("18a", "Funding", "", "funders and their part"),
    ("18b", "Conflicts of interest", "", "those of all authors"),
    ("18c", "Where the protocol is", "", "the protocol, or that there is none"),
    ("18d", "Registration", "", "register and number, or none"),
    ("18e", "Whether the data can be had", "asked", "where, and on what terms"),
    ("18f", "Whether the code can be had", "provenance", "where your run and recipe can be had"),
    ("19", "Part of patients and the public", "", "their part, or that there was none"),
    ("20a", "Flow of participants, with and without the outcome", "flow", ""),
    ("20b", "Characteristics, overall and by source", "subgroups", "age, sex and severity of those in each part"),
    ("20c", "Those judged on beside those learnt from", "flow", "their demographics side by side"),
    ("21", "Persons and outcomes in each analysis", "flow", ""),
    ("22", "The full model, so that others can use it", "provenance", "where the weights can be had"),
    ("23a", "Performance with intervals, also of subgroups", "results", ""),
    ("23b", "Differences in performance between clusters", "subgroups", ""),
    ("24", "Results of updating", "calibration", ""),
    ("25", "What it means, fairness included", "", "the interpretation"),
    ("26", "Limits", "limits", "limits that only you know"),
    ("27a", "What to do with poor or absent input", "abstention", ""),
    ("27b", "What users must do and know", "", "who uses it, and their training"),
    ("27c", "Next steps", "", "where it should be tried next"),
)  # fmt: skip

CLAIM: tuple[Item, ...] = (
    ("1", "Title or abstract says that it is AI, and of what kind", "", "the title of your paper"),
    ("2", "Structured abstract", "", "the abstract"),
    ("3", "Background, and the part AI would play in care", "", "the background"),
    ("4", "Aims and hypotheses", "", "the aims"),
    ("5", "Prospective or retrospective", "", "which of the two"),
    ("6", "Goal: a model, feasibility, a comparison", "asked", "the goal as a sentence"),
    ("7", "Sources of data", "asked", "where each source can be had"),
    ("8", "Inclusion and exclusion", "flow", "the rules by which persons came into the collection"),
    ("9", "Preprocessing", "recipe", ""),
    ("10", "Choice of parts of the data or the image", "flow", ""),
    ("11", "De-identification", "", "how names were removed"),
    ("12", "Missing data", "flow", ""),
    ("13", "How the images were acquired", "", "scanner, view and settings"),
    ("14", "Reference standard: what it is", "", "how the labels were made"),
    ("15", "Reference standard: why this one", "", "the reason"),
    ("16", "Who annotated, with what training", "", "the readers"),
    ("17", "How the test part was annotated", "", "how, and with which tool"),
    ("18", "Variation between and within readers", "", "agreement, and how differences were settled"),
    ("19", "How cases were dealt into parts", "flow", ""),
    ("20", "At what level the parts are disjoint", "flow", ""),
    ("21", "Size of the test part, and why", "results", "the size that was planned"),
    ("22", "The model in full", "recipe", ""),
    ("23", "Software and versions", "provenance", ""),
    ("24", "Where the first weights come from", "recipe", ""),
    ("25", "Training in full: augmentation, settings, when it stopped", "training", ""),
    ("26", "How the final model was chosen", "training", ""),
    ("27", "Ensembles", "recipe", ""),
    ("28", "Measures of performance", "results", ""),
    ("29", "Measures of uncertainty", "results", ""),
    ("30", "Robustness and sensitivity", "robustness", ""),
    ("31", "Explanation, and whether it was checked", "maps", ""),
    ("32", "Judged on internal data", "results", ""),
    ("33", "Tested on external data", "", "a test elsewhere (`resdx evaluate RUN --on OTHER`), or why not"),
    ("34", "Registration of a clinical trial", "", "the number, or that it is no trial"),
    ("35", "Numbers included and excluded, with a flow", "flow", ""),
    ("36", "Demographics and disease in each part", "flow", "age, sex and severity in each part"),
    ("37", "Performance on each part and subgroup", "subgroups", ""),
    ("38", "Diagnostic accuracy with 95 % intervals", "results", ""),
    ("39", "Failures: where it is wrong", "confusion", "what the wrong cases have in common"),
    ("40", "Limits", "limits", "limits that only you know"),
    ("41", "What it means for practice", "", "the intended use, and what stands in its way"),
    ("42", "Where more technical detail is", "provenance", ""),
    ("43", "Whether software, model and data can be had", "provenance", "where, and on what terms"),
    ("44", "Funding", "", "funders and their part"),
)  # fmt: skip

STARD: tuple[Item, ...] = (
    ("1", "Title or abstract says: accuracy of an AI, with a measure", "", "the title of your paper"),
    ("2", "Structured abstract", "", "the abstract"),
    ("3", "Background, intended use, place in the workflow", "", "the background"),
    ("4", "Aims and hypotheses", "", "the aims"),
    ("5", "Prospective or retrospective", "", "which of the two"),
    ("6", "Ethics committee", "", "approval, or why none is needed"),
    ("7", "Rules of inclusion and exclusion, of persons and of data, in order", "flow", "the rules for persons"),
    ("8", "How persons were found", "", "symptoms, earlier tests or a register"),
    ("9", "Where and when", "", "setting, place and dates"),
    ("10", "Consecutive, random or convenience series", "", "which of the three"),
    ("11", "Source of the data: routine, collected for this, or open", "asked", "which of the three"),
    ("12", "Who annotated, and how", "", "the readers and their way"),
    ("13", "Devices, and software with its version", "provenance", "make and model of the devices"),
    ("14", "Acquisition and preprocessing", "recipe", "how the images were acquired"),
    ("15a", "The index test in full", "recipe", ""),
    ("15b", "How it was made: learning, tuning, judging, with sizes", "flow", ""),
    ("15c", "Thresholds of the index test, set before or after", "points", ""),
    ("15d", "Who is to use it, with what training", "", "the users"),
    ("16a", "The reference standard in full", "", "how the labels were made"),
    ("16b", "Why this reference standard", "", "the reason"),
    ("16c", "Thresholds of the reference standard", "", "its cut-offs, set before or after"),
    ("17a", "What was known when the index test was read", "provenance", ""),
    ("17b", "What was known when the reference standard was read", "", "what the readers knew"),
    ("18", "Methods of estimating accuracy", "results", ""),
    ("19", "Indeterminate results", "abstention", ""),
    ("20", "Missing data", "flow", ""),
    ("21", "Analyses of variability, planned or exploratory", "subgroups", "which were planned"),
    ("22", "Intended size", "growth", "the size that was planned"),
    ("23", "Analysis of errors, bias and fairness", "subgroups", "what was done about it"),
    ("24", "Flow of participants as a diagram", "flow", ""),
    ("25", "Characteristics of those learnt from, tuned on and tested", "flow", "age, sex, severity and devices in each part"),
    ("26a", "Severity among those with the disease", "", "how severe"),
    ("26b", "Other diagnoses among those without it", "", "which"),
    ("27", "Time and treatment between the two tests", "", "the interval"),
    ("28", "Whether the test part stands for the intended people", "results", "whom it stands for; its prevalence is here"),
    ("29", "How an external set differs", "", "a test elsewhere (`resdx evaluate RUN --on OTHER`), or that there is none"),
    ("30", "Index test against reference standard as a table", "confusion", ""),
    ("31", "Accuracy with its precision", "results", ""),
    ("32", "Harm done by either test", "", "any, or none"),
    ("33", "Limits: bias, uncertainty, generalisability", "limits", "limits that only you know"),
    ("34", "What it means for practice", "", "the intended use and role"),
    ("35", "Ethics of use, and fairness", "", "your considerations"),
    ("36", "Registration", "", "register and number"),
    ("37", "Where the protocol is", "", "the protocol"),
    ("38", "Funding", "", "funders and their part"),
    ("39", "Commercial interests", "", "any, or none"),
    ("40a", "Whether data and code can be had", "provenance", "where, and on what terms"),
    ("40b", "Whether outputs are stored and can be audited", "abstention", ""),
)  # fmt: skip

LISTS = (("TRIPOD+AI", "27 items", TRIPOD), ("CLAIM 2024", "44 items", CLAIM), ("STARD-AI", "40 items", STARD))


def filled(found: Found) -> list[Json]:
    """The three lists with the status of each item.

    The status is "filled", "write" or "missing"; with it go the item's section, and what to do.
    """
    out = []
    for name, size, items in LISTS:
        rows = [_row(item, found) for item in items]
        counts = Counter(row["status"] for row in rows)
        out.append(
            {"name": name, "size": size, "items": rows, "counts": {key: counts[key] for key in ("filled", "write", "missing")}}
        )
    return out


def _row(item: Item, found: Found) -> Json:
    number, asks, answer, add = item
    row = {"number": number, "asks": asks, "section": "", "add": add}
    if not answer:
        return row | {"status": "write"}
    section, is_there = ANSWERS[answer]
    if not is_there(found):
        return row | {"status": "missing", "section": section}
    return row | {"status": "write" if add else "filled", "section": section}
