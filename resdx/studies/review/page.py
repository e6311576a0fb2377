"""The pages of the review, written from cells alone.

A table, and what speaks for and against each system, derived from its figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import count
from ...files import read_json, write_text
from ...metrics.paired_tests import holm
from ...recipes.library import get_recipe, recipe_names, variants_of
from ...report.format import figure, interval, named
from ...report.render import p_value, render
from .benchmark_sets import DEFECTS, defect_of
from .cells import SEEDS, Trial, cells, trials

Json = dict[str, Any]
Figure = Mapping[str, Any]

ALPHA = 0.05
PAPERS = "the paper's data"
NONE: Json = {"value": None, "low": None, "high": None}
GOOD, CALIBRATED, SMALL, SPREAD, CARRIES, FEW = 0.9, 0.05, 5e6, 0.03, 0.5, 100


def write_pages(out: Path) -> Path:
    """Write review.md and review.html into `out` from the cells there, and give the path of the second."""
    found = reviewed(out)
    write_text(out / "review.md", markdown(found))
    write_text(out / "review.html", render("review.html", found))
    return out / "review.html"


def reviewed(out: Path) -> Json:
    """What the pages show: a row a system and variant, a row a data set, and the pairs that were compared."""
    groups: dict[tuple[str, str, str], list[Json]] = {}
    known = recipe_names()
    for cell in cells(out):
        if cell["system"] not in known or cell["variant"] not in ("", *variants_of(cell["system"])):
            continue  # a recipe that was removed since
        groups.setdefault((cell["data"], cell["system"], cell["variant"]), []).append(cell)
    kept = [cell for members in groups.values() for cell in members]
    sets = {one["data"]: one for one in _all(out, "set-")}
    answers = {_name(cell): _answers(cell) for cell in kept if (cell["protocol"], cell["seed"]) == ("honest", 0)}
    found = {one["data"]: distinct(one["pairs"], answers) for one in _all(out, "pairs-")}
    pairs = [pair | {"data": data} for data, (some, _) in found.items() for pair in some]
    same = {name: to for _, names in found.values() for name, to in names.items()}
    rows = [row(members, sets.get(key[0]), pairs, same) for key, members in sorted(groups.items())]
    asked = {one.name for one in trials(known, budget="small", seeds=SEEDS)}
    names = {Trial(*(cell[key] for key in ("system", "variant", "protocol", "seed", "data"))).name for cell in kept}
    reads = Counter[str]()
    for cell in kept:
        reads[cell["data"]] = max(reads[cell["data"]], cell["test"].get("reads", 1))
    return {
        "rows": rows,
        "sets": [about(one) | {"reads": reads[one["data"]]} for one in sets.values()],
        "pairs": pairs,
        "cells": len(kept),
        "asked": len(asked),
        "missing": len(asked - names),
    }


def distinct(pairs: Sequence[Json], answers: Mapping[str, Any]) -> tuple[list[Json], dict[str, str]]:
    """Pairs of different models, with Holm's adjustment over those of one test part.

    And which system is the same model as which.

    Systems that differ in what the small budget leaves out give the same `answers`; counted apart, they would pad the family.
    """
    names = sorted({name for one in pairs for name in one["pair"]})

    def joined(which: Sequence[Json]) -> dict[str, str]:
        return {name: min([name, *(other for one in which if name in one["pair"] for other in one["pair"])]) for name in names}

    same = joined([one for one in pairs if len({answers.get(name, name) for name in one["pair"]}) == 1])
    family = joined(pairs)  # each with every other on its test part
    kept = [one for one in pairs if all(same[name] == name for name in one["pair"])]
    out = []
    for head in dict.fromkeys(family[one["pair"][0]] for one in kept):
        members = [one for one in kept if family[one["pair"][0]] == head]
        adjusted = holm({str(k): one["p"] for k, one in enumerate(members) if one["p"] is not None})
        out += [one | {"p_holm": adjusted.get(str(k))} for k, one in enumerate(members)]
    return out, {name: to for name, to in same.items() if name != to}


def _name(cell: Json) -> str:
    return f"{cell['system']}:{cell['variant']}" if cell["variant"] else str(cell["system"])


def _answers(cell: Json) -> tuple[Any, ...]:
    """Test part and all figures of a cell to the last digit.

    The calibration error alone differs where any answer does.
    """
    figures = {"auroc": cell["auroc"], **cell["metrics"]}
    return (cell["data"], cell["test"]["hash"], *((key, one["value"]) for key, one in sorted(figures.items())))


def row(members: Sequence[Json], about_set: Json | None, pairs: Sequence[Json], same: Mapping[str, str]) -> Json:
    """One system and variant.

    Its honest seeds, those under the paper's own protocol, and what follows from them.
    """
    first = members[0]
    recipe = get_recipe(":".join(filter(None, (first["system"], first["variant"]))))
    honest = [cell for cell in members if cell["protocol"] == "honest"]
    own = [cell for cell in members if cell["protocol"] != "honest"]
    name = _name(first)
    out: Json = {
        "name": name,
        "number": recipe.about.system,
        "title": recipe.title,
        "data": first["data"],
        "defect": defect_of(first["system"], first["data"]),
        "other": "" if recipe.model == get_recipe(first["system"]).model else " (of another network)",
        "state": recipe.about.state,
        "same": same.get(name, ""),
        "persons_known": not about_set or "no-person-id" not in {one["code"] for one in about_set["findings"]},
        "published": [{"metric": one.metric, "value": one.value, "seen": one.seen} for one in recipe.published],
        "metric": next((one for one in (*(one.metric for one in recipe.published), "accuracy") if _metric(first, one)), "auroc"),
        "seeds": len(honest),
        "own_seeds": len(own),
        "protocol": own[0]["protocol"] if own else "",
        "class": first["class"],
        "parameters": first["parameters"],
        "size_text": size_text(first["parameters"]),
        "size": first["size"],
        "minutes": float(np.median([cell["seconds"] for cell in members])) / 60,
        "rate": float(np.median([cell["images_per_second"] for cell in members])),
        "persons": honest[0]["test"]["persons"] if honest else 0,
        "cases": honest[0]["test"]["cases"] if honest else 0,
        "honest": over_seeds([cell["auroc"] for cell in honest]),
        "own": over_seeds([cell["auroc"] for cell in own]),
    }
    for key, side in (("honest_metric", honest), ("own_metric", own)):
        out[key] = over_seeds([one for cell in side if (one := _metric(cell, out["metric"]))])
    out["merits"] = merits(out, honest, pairs)
    out["demerits"] = demerits(out, honest, about_set, pairs)
    return out


def over_seeds(estimates: Sequence[Figure]) -> Json | None:
    """The mean over seeds.

    Its interval is the mean of the seeds' own ends, which is that of one such model, not of the system.
    """
    known = [one for one in estimates if one["value"] is not None]
    if not known:
        return None
    ends = {
        end: float(np.mean([one[end] for one in known])) if all(one[end] is not None for one in known) else None
        for end in ("low", "high")
    }
    return {
        "value": float(np.mean([one["value"] for one in known])),
        **ends,
        "n": known[0]["n"],
        "note": known[0].get("note", ""),
    }


def merits(row: Json, honest: Sequence[Json], pairs: Sequence[Json]) -> list[str]:
    """What speaks for a system, each with the figure that says so."""
    out = []
    area = row["honest"]
    if area and area["low"] is not None and area["low"] >= GOOD and row["persons_known"]:
        what = "its classes apart" if row["class"] == "macro" else row["class"]
        out.append(f"tells {what} with AUROC {_shown(area)} on test images that share no person or near-duplicate with training")
    if better := _against(row["same"] or row["name"], pairs, sign=1):
        out.append(f"its model of seed 0 is better than that of {', '.join(better)} on the same test images, Holm's adjustment")
    error = over_seeds([cell["metrics"]["ece"] for cell in honest if "ece" in cell["metrics"]])
    if error and error["high"] is not None and error["high"] <= CALIBRATED:
        out.append(f"its probabilities mean what they say: calibration error {_shown(error)}")
    if row["parameters"] <= SMALL:
        out.append(f"small: {size_text(row['parameters'])} parameters")
    published = _published(row)
    ours = row["honest_metric"]
    if published and ours and ours["low"] is not None and ours["low"] <= published["value"] <= ours["high"]:
        out.append(f"{_claim(row, published)} lies within our interval {_shown(ours)}")
    return out


def demerits(row: Json, honest: Sequence[Json], about_set: Json | None, pairs: Sequence[Json]) -> list[str]:
    """What speaks against a system or its data, each with the figure that says so."""
    out = []
    published = _published(row)
    ours = row["honest_metric"]
    if published and ours and ours["high"] is not None and published["value"] > ours["high"]:
        out.append(f"{_claim(row, published)} lies above our interval {_shown(ours)}")
    if row["state"] in ("stand-in", "no data"):
        out.append(f"judged on a stand-in, {row['data']}: its published figure says nothing of that set")
    elif row["published"] and row["state"] != PAPERS:
        out.append(f"{row['data']} is not known to be the paper's data: its published figure says nothing of that set")
    out.append(f"its data: {row['defect']}")
    if row["same"]:
        out.append(f"in the small budget it is the same model as {row['same']}")
    if honest:
        right, rate = (
            over_seeds([cell["metrics"].get(key, NONE) for cell in honest]) for key in ("accuracy", "majority_rate")
        )  # several labels have neither
        if right and rate and (right["value"] if right["low"] is None else right["low"]) <= rate["value"]:
            out.append(f"not shown to be right more often than always saying the commonest class ({rate['value']:.3f})")
        values = [cell["auroc"]["value"] for cell in honest if cell["auroc"]["value"] is not None]
        if values and max(values) - min(values) > SPREAD:
            each = ", each with a split of its own" if len({cell["test"]["hash"] for cell in honest}) > 1 else ""
            out.append(f"its AUROC differs by {max(values) - min(values):.3f} from seed to seed{each}")
        if (states := len({cell.get("manifest") for cell in honest})) > 1:
            out.append(f"its seeds were measured on {states} states of the data set")
    if not honest:
        out.append("not measured under the honest protocol")
    elif row["persons"] < FEW:
        out.append(f"judged on {persons_text(row)} only")
    if worse := _against(row["same"] or row["name"], pairs, sign=-1):
        out.append(f"its model of seed 0 is worse than that of {', '.join(worse)} on the same test images, Holm's adjustment")
    if about_set:
        out += about(about_set)["against"]
    return out


def persons_text(row: Json) -> str:
    """Whom a system was judged on, in words."""
    if row["persons"] == row["cases"]:
        return count(row["persons"], "test image")
    return count(row["persons"], "test person" if row["persons_known"] else "cluster of like test images, persons unknown,")


def size_text(parameters: int) -> str:
    """A number of parameters, "2.2 million", "24 thousand" or "300"."""
    if parameters < 1e3:
        return f"{parameters}"
    return f"{parameters / 1e6:.1f} million" if parameters >= 1e5 else f"{parameters / 1e3:.0f} thousand"


def about(one: Json) -> Json:
    """What a data set's cell says in words."""
    against = [f"{finding['code']}: {finding['text']}" for finding in one["findings"] if finding["grade"] == "stop"]
    share = one["controls"].get("border_share")
    if share and share["low"] is not None and share["low"] > CARRIES:
        against.append(f"the border alone carries {_shown(share)} of the signal that a small probe finds")
    worth = one["leak"].get("worth")
    if worth and worth["low"] is not None and worth["low"] > 0:
        against.append(f"images of test persons in training would be worth {_shown(worth)} of AUROC to {one['by']}")
    return {
        "data": one["data"],
        "defect": DEFECTS.get(one["data"], one["defect"]),
        "by": one["by"],
        "border": _shown(share) if share else one["controls"].get("missing", "not measured"),
        "leak": _shown(worth) if worth else one["leak"].get("missing", "not estimable"),
        "found": [finding["code"] for finding in one["findings"]],
        "against": against,
    }


def markdown(found: Json) -> str:
    """The table as Markdown."""
    lines = [
        HEAD.format(
            cells=found["cells"],
            missing=f"; {found['missing']} of {found['asked']} that the small budget asks for are missing"
            if found["missing"]
            else "",
        )
    ]
    lines += [
        (
            "| system | data | published | figure | own protocol | honest | honest AUROC | seeds | persons | parameters | "
            "minutes | images/s |"
        ),
        "|---" * 12 + "|",
    ]
    for one in found["rows"]:
        published = "; ".join(
            f"{named(p['metric']).lower()} {p['value']:g}{'' if p['seen'] else ' (not seen)'}" for p in one["published"]
        )
        own = f"{one['protocol']}: {_shown(one['own_metric'])}" if one["own_metric"] else "-"
        cells_ = (
            f"{one['number']} `{one['name']}`".strip(), one["data"], published or "-", named(one["metric"]).lower(), own,
            _shown(one["honest_metric"]), _shown(one["honest"]), f"{one['seeds']} + {one['own_seeds']}",
            f"{one['persons']}{'' if one['persons_known'] else ' c'}",
            one["size_text"], f"{one['minutes']:.1f}", f"{one['rate']:.0f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells_) + " |")
    lines += ["\n## For and against\n", "Derived from the figures, by fixed rules.\n"]
    for one in found["rows"]:
        lines.append(f"**`{one['name']}`** ({one['data']}): {one['title']}\n")
        lines += [f"- for: {text}" for text in one["merits"]] + [f"- against: {text}" for text in one["demerits"]] + [""]
    lines += [
        "## The data sets\n",
        "| set | border carries | leak worth | by | audit found | reads of a test part | known defect |",
        "|---" * 7 + "|",
    ]
    lines += [
        (
            f"| {s['data']} | {s['border']} | {s['leak']} | `{s['by']}` | {', '.join(s['found']) or '-'} | "
            f"{s['reads'] or '-'} | {s['defect']} |"
        )
        for s in found["sets"]
    ]
    return "\n".join([*lines, *_pairs(found["pairs"])]) + "\n"


def _pairs(pairs: Sequence[Json]) -> list[str]:
    """The lines of the table of systems on the same test images; none where there is no pair."""
    if not pairs:
        return []
    return [
        "\n## Systems on the same test images\n",
        (
            "Models of seed 0: two models are compared, not two systems. Systems that are the same model in the small "
            "budget stand once. Intervals are not adjusted, p values are.\n"
        ),
        "| data | first | second | difference in AUROC | p (Holm) | test |",
        "|---" * 6 + "|",
        *(
            (
                f"| {p['data']} | `{p['pair'][0]}` | `{p['pair'][1]}` | {_shown(p['difference'])} | "
                f"{'-' if p['p_holm'] is None else p_value(p['p_holm']).removeprefix('= ')} | {p['test']} |"
            )
            for p in pairs
        ),
    ]


def _published(row: Json) -> Json | None:
    """The figure of the paper that ours is held against; none where ours are of other data."""
    figures = row["published"] if row["state"] == PAPERS else ()
    return next((one for one in figures if one["metric"] == row["metric"]), None)


def _claim(row: Json, published: Json) -> str:
    known = "" if published["seen"] else " (not seen)"
    return f"the published {named(row['metric']).lower()} {published['value']:.3f}{known}{row['other']}"


def _metric(cell: Json, metric: str) -> Figure | None:
    """The figure of a cell by the name a paper uses."""
    if metric == "auroc":
        return dict(cell["auroc"])
    if metric in cell["metrics"]:
        return dict(cell["metrics"][metric])
    only = cell["classes"].get(cell["class"], {})
    return dict(only[metric]) if metric in only else None


def _against(name: str, pairs: Sequence[Json], *, sign: int) -> list[str]:
    """The systems that this one is better (sign 1) or worse (-1) than."""
    out = []
    for one in pairs:
        value = one["difference"]["value"]
        if name in one["pair"] and one["p_holm"] is not None and one["p_holm"] < ALPHA and value:
            first = one["pair"][0] == name
            if (value > 0) == (first == (sign > 0)):
                out.append(one["pair"][1] if first else one["pair"][0])
    return sorted(out)


def _shown(estimate: Figure | None) -> str:
    if estimate is None:
        return "-"
    between = interval(estimate)
    return f"{figure(estimate)} ({between})" if between else figure(estimate)


def _all(out: Path, start: str) -> list[Json]:
    return [read_json(path) for path in sorted((out / "cells").glob(f"{start}*.json"))]


HEAD = """# The living review

Every system on real data, under the protocol of its paper (published; or assumed where the paper is silent: images at \
random, whoever they show) and
under an honest one: persons and near-duplicates apart. "Figure" is what the paper tells, or accuracy. Figures are \
means over seeds ("3 + 3": honest and own
protocol); an interval is the mean of the seeds' own 95 % intervals over persons, or over clusters of like images where \
no person is known (marked c). Each
run reads its test part once; systems that are judged on one set read the same part, and how often stands below. The \
published figure was reached on other images with another
split: the difference to ours is not the worth of either system, and the worth of a leak is measured apart, on \
identical test images ("leak worth" below, in AUROC).
Minutes are the median run's. Written by `resdx review` from {cells} measured cells{missing}.
"""
