"""What stands against a model, as plain data.

Controls, leakage effect, maps, neighbours, label issues, learning curve; and their pictures. Each part reads the file that
its stage writes. A file that says `{"missing": why}` is passed on: it is an answer too.
"""

from __future__ import annotations

import base64
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.cases import Case
from ..errors import AbsentResultError, ResdxError, count
from ..runs.run import Run
from ..transforms.compose import prepare_image
from .format import Json, interval, with_interval

Picture = Callable[[Case], NDArray[np.uint8]]  # (S, S, C), C = 1 or 3

SAMPLES = 6  # pictures a class
SAMPLED_CLASSES = 20
SIDE = 144  # pixels of a sample on the page
MAP_SIDE = 192  # of a map
BOX_SIDE = 416  # of boxes, whose names are to be read
MAPPED = 4  # cases with maps, of right and of wrong ones
SUSPECTS = 48  # on the contact sheet
POINTS = 1500  # of the embedding map
INPUTS = {
    "full": "Full image",
    "border": "Border alone",
    "centre-black": "Centre blacked out",
    "border in place": "Border, pixel by pixel",
    "permuted": "Labels shuffled by person",
}
TABLES = {"source": "Source", "file": "File facts", "size": "Image size"}
GAIN = 0.01  # AUROC, what the price of a better model is told for


def controls(run: Run) -> Json:
    """controls.json with a sentence on what the border carries."""
    found = run.read("controls.json", "controls")
    if "missing" in found:
        return dict(found)
    share = found["border_share"]
    inputs = [{**one, "name": INPUTS.get(one["name"], one["name"])} for one in found["inputs"]]
    tables = [{**one, "name": TABLES.get(one["name"], one["name"])} for one in found["tables"]]
    return {**found, "inputs": inputs, "tables": tables, "stop": found["verdict"]["grade"] == "stop", "border": border(share)}


def border(share: Mapping[str, Any] | None) -> str:
    """What every page says of the border: "The border alone carries 0.76 (0.60–0.91) of the signal."."""
    if share is None or share["value"] is None:
        why = f": {share['note']}" if share and share["note"] else ", because the probe learnt nothing from full images"
        return f"What the border alone carries cannot be told{why.removeprefix(': not estimable')}."
    between = f" ({share['low']:.2f}–{share['high']:.2f})" if interval(share) else ""
    return f"The border alone carries {share['value']:.2f}{between} of the signal that a small probe finds in full images."


def leak(run: Run) -> Json:
    """leak-worth.json with its reading in words."""
    found = run.read("leak-worth.json", "leak-worth")
    if "missing" in found:
        return dict(found)
    worth = found["worth"]
    sure = worth["low"] is not None and worth["low"] > 0
    text = f"Letting training see other images of the test persons is worth {with_interval(worth)} of AUROC"
    return {**found, "sure": sure, "text": f"{text}{'' if sure else '; no gain is shown'}."}


def maps(run: Run) -> Json:
    """explain.json with the cases to show, a few of the right and of the wrong answers."""
    found = run.read("explain.json", "explain")
    if "missing" in found:
        return dict(found)
    scored = (run.path / "predictions.csv").exists()
    referred = {row["case"] for row in (run.predictions if scored else ()) if not row["label"]}
    shown = [{**one, "referred": one["case"] in referred} for one in found["shown"]]
    sides = {side: [one for one in shown if one["right"] == side][:MAPPED] for side in (True, False)}
    return {**found, "right": sides[True], "wrong": sides[False]}


def embedding(run: Run) -> Json:
    """embedding.json with as many points as the page draws, evenly taken from all."""
    found = run.read("embedding.json", "embedding")
    if "missing" in found:
        return dict(found)
    total = len(found["points"])
    if not total:
        raise AbsentResultError("No case has an embedding to draw.")
    kept = sorted({int(place) for place in np.linspace(0, total - 1, min(total, POINTS))})
    names = [name for name in run.recipe.classes if name in found["classes"]]
    names += sorted(set(found["classes"]) - set(names))
    return {
        **{key: found[key] for key in ("method", "perplexity", "neighbours", "note")},
        "chance": found.get("chance"),
        "total": total,
        "names": names,
        "points": [found["points"][place] for place in kept],
        "marks": [names.index(found["classes"][place]) for place in kept],
        "parts": dict(Counter(found["parts"])),
    }


def suspects(run: Run) -> Json:
    """suspects.json, the most suspicious first."""
    found = run.read("suspects.json", "suspects")
    return dict(found) if "missing" in found else {**found, "shown": found["suspects"][:SUSPECTS]}


def growth(run: Run) -> Json:
    """learning-curve.json with the price of a better model in words."""
    found = run.read("learning-curve.json", "learning-curve")
    if "missing" in found:
        return dict(found)
    if not found["points"]:
        raise AbsentResultError("The learning curve has no point yet.")
    return {**found, "price": price(found["points"][-1]["persons"], found["slope"], found["per_person"])}


def price(persons: int, slope: Mapping[str, Any], each: Mapping[str, Any]) -> str:
    """What more persons would buy, in words; nothing is promised where the interval holds 0."""
    if slope["value"] is None or each["value"] is None:
        return f"What more persons would buy cannot be told: {slope['note'] or each['note'] or 'too few points'}."
    doubled = f"Twice as many persons would bring {with_interval(slope)} of AUROC"
    if each["low"] is None or each["low"] <= 0:
        return f"{doubled}: not told apart from nothing, so more of the same persons may not help."
    needed, most = GAIN / each["value"], GAIN / each["low"]
    return (
        f"{doubled}. At {count(persons, 'person')}, one more is worth {each['value']:.5f} "
        f"({each['low']:.5f}–{each['high']:.5f}): about {needed:,.0f} more persons for {GAIN} of AUROC, and up to {most:,.0f}."
    )


def samples(run: Run, picture: Picture) -> Json:
    """A few training pictures a class as data URLs, each of another person where there are enough.

    And how many could not be
    read.
    """
    pictures: dict[str, list[str]] = {}
    failed = 0
    cases = run.cases("train")
    for name in run.recipe.classes[:SAMPLED_CLASSES]:
        pictures[name] = []
        for case in _one_each([case for case in cases if name in (case.labels or ())]):
            try:
                image = picture(case)
                pictures[name].append(_data_url(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), SIDE))
            except ResdxError:
                failed += 1
    return {"classes": pictures, "failed": failed, "made": _made(run)}


def _made(run: Run) -> dict[str, list[str]]:
    """A few pictures a class that a generator made, as data URLs; none where the run has no generator."""
    if not (run.path / "generated.npz").exists():
        return {}
    with np.load(run.path / "generated.npz", allow_pickle=False) as kept:
        images, labels = kept["pictures"], kept["labels"]
    shown = {name: images[labels == name][:SAMPLES] for name in run.recipe.classes[:SAMPLED_CLASSES]}
    return {
        name: [_data_url(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), SIDE) for image in some]
        for name, some in shown.items()
    }


def from_file(run: Run) -> Picture:
    """Pictures as the steps of the recipe prepare them, read from the data again."""
    root = run.manifest.root
    return lambda case: prepare_image(os.path.join(root, case.path), run.recipe.read, run.recipe.prepare)


def stored_pictures(run: Run, found: Mapping[str, Any]) -> dict[str, str]:
    """Data URLs of the pictures of the run that the page shows, by their name.

    One that cannot be read is left out.
    """
    mapped = [*found["maps"].get("right", ()), *found["maps"].get("wrong", ())]
    wanted = {name: MAP_SIDE for one in mapped for name in (one["picture"], *one["maps"].values())}
    wanted |= {one["picture"]: SIDE for one in found["suspects"].get("shown", ())}
    wanted |= {one["picture"]: BOX_SIDE for one in (found["test"].get("boxes") or {}).get("pictures", ())}
    out = {}
    for name, side in wanted.items():
        if url := _stored(run.path, name, side):
            out[name] = url
    return out


def _stored(folder: Path, name: str, side: int) -> str:
    """A picture below `folder` as a data URL; empty where it is none, or lies elsewhere."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        return ""
    try:
        with Image.open(path) as image:
            return _data_url(image.convert("L" if image.mode in ("L", "1", "I;16") else "RGB"), side)
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""


def _one_each(cases: Iterable[Case]) -> Sequence[Case]:
    """The first case of each person, then second ones, as many as the page shows."""
    nth: Counter[str] = Counter()
    order: list[tuple[int, int, Case]] = []
    for case in cases:
        person = case.group or case.id
        order.append((nth[person], len(order), case))
        nth[person] += 1
    return [case for _, _, case in sorted(order, key=lambda item: item[:2])[:SAMPLES]]


def _data_url(image: Image.Image, side: int) -> str:
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


# The sections of evidence, in the order of the page.
EVIDENCE: dict[str, Callable[[Run], Json]] = {read.__name__: read for read in (controls, leak, maps, embedding, suspects, growth)}
