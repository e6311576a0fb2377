"""The pages of the review, written from cells alone: a table, and what speaks for and against each system, derived from its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import count
from ..pages import render
from ..recipes import get_recipe, recipe_names, variants_of
from ..records import read_json, write_text
from ..report.words import figure, interval, named
from ..sets import SETS, defect_of
from .cells import cells

Json = dict[str, Any]
Figure = Mapping[str, Any]

ALPHA = 0.05
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
    sets = {one["data"]: one for one in _all(out, "set-")}
    pairs = [pair | {"data": one["data"]} for one in _all(out, "pairs-") for pair in one["pairs"]]
    rows = [row(members, sets.get(key[0]), pairs) for key, members in sorted(groups.items())]
    return {"rows": rows, "sets": [about(one) for one in sets.values()], "pairs": pairs, "cells": sum(map(len, groups.values()))}


def row(members: Sequence[Json], about_set: Json | None, pairs: Sequence[Json]) -> Json:
    """One system and variant: its honest seeds, those under the paper's own protocol, and what follows from them."""
    first = members[0]
    recipe = get_recipe(":".join(filter(None, (first["system"], first["variant"]))))
    honest = [cell for cell in members if cell["protocol"] == "honest"]
    own = [cell for cell in members if cell["protocol"] != "honest"]
    name = f"{first['system']}:{first['variant']}" if first["variant"] else first["system"]
    out: Json = {
        "name": name,
        "number": recipe.about.system,
        "title": recipe.title,
        "data": first["data"],
        "defect": defect_of(first["system"], first["data"]),
        "other": "" if recipe.model == get_recipe(first["system"]).model else " (of another network)",
        "stand_in": recipe.about.state != "real data",
        "published": [{"metric": one.metric, "value": one.value, "seen": one.seen} for one in recipe.published],
        "metric": next((one.metric for one in recipe.published if _metric(first, one.metric)), "accuracy"),
        "seeds": len(honest),
        "protocol": own[0]["protocol"] if own else "",
        "class": first["class"],
        "parameters": first["parameters"],
        "size": first["size"],
        "minutes": float(np.mean([cell["seconds"] for cell in members])) / 60,
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
    """The mean over seeds; its interval is the mean of the seeds' own ends, which is that of one such model, not of the system."""
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
    if area and area["low"] is not None and area["low"] >= GOOD:
        what = "its classes apart" if row["class"] == "macro" else row["class"]
        out.append(f"tells {what} with AUROC {_shown(area)} on test images that share no person or near-duplicate with training")
    if better := _against(row["name"], pairs, sign=1):
        out.append(f"better than {', '.join(better)} on the same test images, Holm's adjustment")
    error = over_seeds([cell["metrics"]["ece"] for cell in honest if "ece" in cell["metrics"]])
    if error and error["value"] <= CALIBRATED:
        out.append(f"its probabilities mean what they say: calibration error {_shown(error)}")
    if row["parameters"] <= SMALL:
        out.append(f"small: {row['parameters'] / 1e6:.1f} million parameters, {row['rate']:.0f} images/s")
    published = _published(row)
    ours = row["honest_metric"]
    if published and ours and ours["low"] is not None and ours["low"] <= published["value"] <= ours["high"]:
        out.append(
            f"the published {named(row['metric']).lower()} {published['value']:.3f}{row['other']} lies within our interval {_shown(ours)}"
        )
    return out


def demerits(row: Json, honest: Sequence[Json], about_set: Json | None, pairs: Sequence[Json]) -> list[str]:
    """What speaks against a system or its data, each with the figure that says so."""
    out = []
    published = _published(row)
    ours = row["honest_metric"]
    if published and ours and ours["high"] is not None and published["value"] > ours["high"]:
        out.append(
            f"the published {named(row['metric']).lower()} {published['value']:.3f}{row['other']} lies above our interval {_shown(ours)}"
        )
    if row["stand_in"]:
        out.append(f"judged on a stand-in, {row['data']}: its published figure says nothing of that set")
    out.append(f"its data: {row['defect']}")
    if honest:
        least, rate = (
            honest[0]["metrics"].get(key, NONE) for key in ("accuracy", "majority_rate")
        )  # several labels have neither
        if least["low"] is not None and rate["value"] is not None and least["low"] <= rate["value"]:
            out.append(f"not shown to be right more often than always saying the commonest class ({rate['value']:.3f})")
        values = [cell["auroc"]["value"] for cell in honest if cell["auroc"]["value"] is not None]
        if values and max(values) - min(values) > SPREAD:
            out.append(f"its seeds differ by {max(values) - min(values):.3f} of AUROC")
    if row["persons"] < FEW:
        of = "test image" if row["persons"] == row["cases"] else "test person"
        out.append(f"judged on {count(row['persons'], of)} only")
    if worse := _against(row["name"], pairs, sign=-1):
        out.append(f"worse than {', '.join(worse)} on the same test images, Holm's adjustment")
    if about_set:
        out += about(about_set)["against"]
    return out


def about(one: Json) -> Json:
    """What a data set's cell says in words."""
    against = [f"{finding['code']}: {finding['text']}" for finding in one["findings"] if finding["grade"] == "stop"]
    share = one["controls"].get("border_share")
    if share and share["low"] is not None and share["low"] > CARRIES:
        against.append(f"the border alone carries {_shown(share)} of the signal that a small probe finds")
    worth = one["leak"].get("worth")
    if worth and worth["low"] is not None and worth["low"] > 0:
        against.append(f"images of test persons in training would be worth {_shown(worth)} of AUROC")
    return {
        "data": one["data"],
        "defect": SETS[one["data"]].defect if one["data"] in SETS else one["defect"],
        "by": one["by"],
        "border": _shown(share) if share else one["controls"].get("missing", "not measured"),
        "leak": _shown(worth) if worth else one["leak"].get("missing", "not estimable"),
        "found": [finding["code"] for finding in one["findings"]],
        "against": against,
    }


def markdown(found: Json) -> str:
    """The table as Markdown."""
    lines = [HEAD.format(cells=found["cells"])]
    lines += [
        "| system | data | published | figure | own protocol | honest | honest AUROC | persons | parameters | minutes | images/s |",
        "|---" * 11 + "|",
    ]
    for one in found["rows"]:
        published = "; ".join(
            f"{named(p['metric']).lower()} {p['value']:g}{'' if p['seen'] else ' (not seen)'}" for p in one["published"]
        )
        own = f"{one['protocol']}: {_shown(one['own_metric'])}" if one["own_metric"] else "-"
        cells_ = (
            f"{one['number']} `{one['name']}`".strip(), one["data"], published or "-", named(one["metric"]).lower(), own,
            _shown(one["honest_metric"]), _shown(one["honest"]), str(one["persons"]), f"{one['parameters'] / 1e6:.1f} M", f"{one['minutes']:.1f}", f"{one['rate']:.0f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells_) + " |")
    lines += ["\n## For and against\n", "Derived from the figures, by fixed rules.\n"]
    for one in found["rows"]:
        lines.append(f"**`{one['name']}`** ({one['data']}): {one['title']}\n")
        lines += [f"- for: {text}" for text in one["merits"]] + [f"- against: {text}" for text in one["demerits"]] + [""]
    lines += ["## The data sets\n", "| set | border carries | leak worth | audit found | known defect |", "|---" * 5 + "|"]
    lines += [
        f"| {s['data']} | {s['border']} | {s['leak']} | {', '.join(s['found']) or '-'} | {s['defect']} |" for s in found["sets"]
    ]
    if found["pairs"]:
        lines += [
            "\n## Systems on the same test images\n",
            "| data | first | second | difference in AUROC | p (Holm) | test |",
            "|---" * 6 + "|",
        ]
        lines += [
            f"| {p['data']} | `{p['pair'][0]}` | `{p['pair'][1]}` | {_shown(p['difference'])} | {'-' if p['p_holm'] is None else format(p['p_holm'], '.3f')} | {p['test']} |"
            for p in found["pairs"]
        ]
    return "\n".join(lines) + "\n"


def _published(row: Json) -> Json | None:
    """The figure of the paper that ours is held against; none where ours are of another disease or organ."""
    figures = () if row["stand_in"] else row["published"]
    return next((one for one in figures if one["metric"] == row["metric"]), None)


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

Every system on real data, under the protocol of its paper (published, or assumed where the paper is silent: images at random, whoever they show) and
under an honest one: persons and near-duplicates apart, test read once. Figures are means over seeds; an interval is the mean of the seeds' own 95 %
intervals over persons. The published figure was reached on other images with another split: the difference to ours is not the worth of either system,
and the worth of a leak is measured apart, on identical test images ("leak worth" below, in AUROC). Written by `resdx review` from {cells} measured cells.
"""
