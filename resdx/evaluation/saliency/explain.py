"""Maps of some answers of a run, and whether they can be read: explain.json and explain/*.png.

The cases are those of the test part once it has been scored, else of calib; nothing is chosen on what the maps show.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...data.tasks import Detect
from ...files import write_json
from ...inference.drawing import overlay
from ...metrics.estimate import Estimate
from ...metrics.intervals import mean_of_persons
from ...models.forward import three_channels, to_tensor
from ...models.network import Network
from ...models.specs import ResNet
from ...runs.prepared import Prepared
from ...runs.run import Run
from . import methods as maps
from .cases import CHECKED, Asked, Floats, Floats32, asked, one_a_person
from .checks import (
    body_mask,
    curves,
    randomised,
    rank_correlation,
    reencoded,
    share_within,
)
from .pointing import POINTED, pointing_row
from .setting import BATCH, Draw, Setting
from .verdicts import overall, verdict

SHOWN = 12  # cases shown, each of another person
FEW = 12  # the same for slow methods, and persons whose boxes they must find
CURVES = 24  # cases that deletion and insertion are measured on
SLOW = frozenset(("occlusion", "integrated-gradients"))
DRAWS = 4  # random networks; each is compared on its share of the cases, so that one odd draw does not decide
SIDE = 224  # pixels of a shown picture, at most
FLAT = 3  # a map of fewer cells along a side shows no place
METHODS = ("cam", "grad-cam", "grad-cam++", "occlusion", "integrated-gradients")


def explain(run: Run, prepared: Prepared) -> None:
    """Draw maps of up to 12 cases and check every method; write explain.json and explain/*.png.

    What cannot be had is written as {"missing": sentence}.

    Raises:
        RunError: the run is not trained or calibrated yet.
    """
    if run.members or isinstance(run.recipe.task, Detect):
        text = "an ensemble has no map of its own; `resdx resume` on a member draws those of its network"
        if not run.members:
            text = "a network that finds boxes says where it looks: see boxes/ and boxes.csv"
        write_json(run.path / "explain.json", {"missing": text})
        return
    folder = run.path / "explain"
    shutil.rmtree(folder, ignore_errors=True)
    with run.progress("maps", 2 * len(METHODS)) as bar:
        found = _explained(run, prepared, folder, lambda: bar.advance(bar.task_ids[0]))
    write_json(run.path / "explain.json", found)


def to_show(asked: Asked, classes: Sequence[str], count: int = SHOWN) -> list[int]:
    """Up to `count` cases, each of another person.

    Of each true class the surest right and wrong ones, then the least sure.
    """
    true = [case.label if case.label in classes else "" for case in asked.cases]
    order = np.argsort(-asked.p, kind="stable")
    queues = [
        [i for i in (order if sure else order[::-1]) if asked.right[i] == right and true[i] == name]
        for sure, right in ((True, True), (True, False), (False, True), (False, False))
        for name in (*classes, "")
    ]
    taken: list[int] = []
    seen: set[str] = set()
    while any(queues) and len(taken) < count:
        for queue in queues:
            while queue and asked.persons[queue[0]] in seen:
                queue.pop(0)
            if queue and len(taken) < count:
                taken.append(int(queue.pop(0)))
                seen.add(asked.persons[taken[-1]])
    return taken


def _explained(run: Run, prepared: Prepared, folder: Path, advance: Callable[[], None]) -> dict[str, Any]:
    everything = asked(run, prepared)
    if everything is None:
        return {
            "missing": "There are no maps: no case of the test or calib part is both labelled and readable; see failures.csv."
        }
    setting = Setting.open(run)
    one = everything.of([0])
    shape = next(iter(setting.methods.values()))(setting.network, one.images, one.targets).shape[1:]
    if min(shape) < FLAT:
        text = f"the last maps are {shape[0]} x {shape[1]}"
        instead = "model.backbone.last_stride=1" if isinstance(run.recipe.model.backbone, ResNet) else "another network"
        return {"missing": f"There is no map in this graph: {text}; use larger pictures or {instead}."}
    showing = everything.of(to_show(everything, run.recipe.classes))
    some = everything.of(one_a_person(everything, run.settings.seed))
    others, rows = _random_networks(setting, some), []
    for name in setting.methods:
        few = some.of(range(min(len(some.cases), FEW if name in SLOW else CHECKED)))
        rows.append(_checked(setting, others, name, few, everything))
        advance()
    shown = _shown(setting, showing, folder, advance)
    notes = [
        f"Maps explain the answered class of each case of the {everything.part} part, by its log-odds before calibration.",
        f"Grad-CAM on the last stage is the class activation map, {shape[0]} x {shape[1]}; the row grad-cam is one stage earlier."
        if setting.network.head.smooth
        else "The head answers in steps and has no gradient, so occlusion alone draws its maps.",
        (
            f"Checked on one case a person: up to {CHECKED} for quick methods, {FEW} for {' and '.join(sorted(SLOW))}; curves on "
            f"{CURVES}."
        ),
    ]
    if run.recipe.views > 1:
        notes.append(f"The answer is the mean over {run.recipe.views} views of a picture; the map is of the plain view.")
    return {
        "resolution": list(shape),
        "size": prepared.images.shape[1],
        "methods": rows,
        "shown": shown,
        "verdict": overall(rows),
        "notes": notes,
    }


def _checked(setting: Setting, others: Sequence[Network], name: str, some: Asked, everything: Asked) -> dict[str, Any]:
    """One row of explain.json's methods."""
    draw = setting.methods[name]
    heat = draw(setting.network, some.images, some.targets)
    again = np.stack([reencoded(picture) for picture in some.images])
    outside, note = _outside(heat, some)
    pointing, chance = pointing_row(setting, everything, name, limit=FEW if name in SLOW else POINTED)
    row = {
        "name": name,
        "resolution": list(heat.shape[1:]),
        "cases": len(some.cases),
        "blank": int((heat.reshape(len(heat), -1).max(1) == 0).sum()),
        "randomisation": mean_of_persons(_against(others, draw, some, heat), some.persons, lowest=-1),
        **_curves(setting, some.of(range(min(CURVES, len(some.cases)))), heat),
        "stability": mean_of_persons(rank_correlation(heat, draw(setting.network, again, some.targets)), some.persons, lowest=-1),
        "outside_body": outside,
        "outside_note": note,
        "pointing": None if chance is None else pointing,
        "pointing_chance": chance,
        "pointing_note": pointing.note,
    }
    row["verdict"] = verdict(row)
    return {key: value.to_json() if isinstance(value, Estimate) else value for key, value in row.items()}


def _random_networks(setting: Setting, some: Asked) -> list[Network]:
    batch = three_channels(to_tensor(some.images[:BATCH], next(setting.network.parameters()).device))
    seed = setting.run.settings.seed
    return [randomised(setting.network, batch, seed=seed + k) for k in range(min(DRAWS, len(some.cases)))]


def _against(others: Sequence[Network], draw: Draw, some: Asked, heat: Floats32) -> Floats:
    """Rank correlation of each map with that of a random network; the networks share the cases among them."""
    found = np.zeros(len(heat))
    for k, other in enumerate(others[: len(heat)]):
        rows = np.arange(k, len(heat), len(others))  # every one has its share of the cases
        found[rows] = rank_correlation(heat[rows], draw(other, some.images[rows], some.targets[rows]))
    return found


def _curves(setting: Setting, some: Asked, heat: Floats32) -> dict[str, Estimate]:
    """Areas under the curves of the method and of a random map as coarse, and the gain between them."""
    random = np.random.default_rng(setting.run.settings.seed).random(heat.shape, np.float32)
    device = next(setting.network.parameters()).device
    areas: dict[str, list[Floats]] = {"ours": [], "random": []}
    for start in range(0, len(some.cases), BATCH):
        part = slice(start, min(start + BATCH, len(some.cases)))
        images = three_channels(to_tensor(some.images[part], device))
        answer = setting.probability(some.targets[part])
        for name, one in (("ours", heat), ("random", random)):
            areas[name].append(np.stack(curves(answer, images, torch.from_numpy(one[part]).to(device))))
    (deletion, insertion), (random_deletion, random_insertion) = (np.concatenate(areas[name], 1) for name in areas)
    # A good map falls faster by deletion and rises faster by insertion than a random one.
    gain = (insertion - deletion - random_insertion + random_deletion) / 2
    return {
        "deletion": mean_of_persons(deletion, some.persons),
        "insertion": mean_of_persons(insertion, some.persons),
        "deletion_random": mean_of_persons(random_deletion, some.persons),
        "insertion_random": mean_of_persons(random_insertion, some.persons),
        "gain": mean_of_persons(gain, some.persons, lowest=-1),
    }


def _outside(heat: Floats32, some: Asked) -> tuple[Estimate | None, str]:
    """Share of the maps outside the body, where at least half of the pictures show where that is."""
    masks = [body_mask(picture) for picture in some.images]
    seen = [i for i, mask in enumerate(masks) if mask is not None]
    if 2 * len(seen) < len(masks):
        return None, f"the body has a dark border around it in {len(seen)} of {len(masks)} pictures only"
    large = maps.enlarge(torch.from_numpy(heat[seen]), some.images.shape[1]).numpy()
    air = [~mask for mask in masks if mask is not None]
    blank = large.reshape(len(large), -1).max(1) == 0  # a blank map has no share anywhere
    shares = np.array([share_within(one, mask) for one, mask in zip(large, air, strict=True)])[~blank]
    persons = [some.persons[i] for i, empty in zip(seen, blank, strict=True) if not empty]
    found = mean_of_persons(shares, persons)
    level = f"the outside is {np.mean(air):.2f} of the area, seen in {len(seen)} of {len(masks)} pictures"
    return replace(found, note=f"{level}; {found.note}"), ""


def _shown(setting: Setting, showing: Asked, folder: Path, advance: Callable[[], None]) -> list[dict[str, Any]]:
    """Write the pictures of the cases shown, and what explain.json says of them."""
    folder.mkdir(parents=True, exist_ok=True)
    shown: list[dict[str, Any]] = []
    for i, case in enumerate(showing.cases):
        answer = [name for name, is_in in zip(setting.run.recipe.classes, showing.chosen[i], strict=True) if is_in]
        shown.append(
            {
                "case": case.id,
                "truth": "|".join(case.labels or ()) or "none",
                "answer": "|".join(answer) or "none",
                "explained": setting.run.recipe.classes[showing.targets[i]],
                "p": float(showing.p[i]),
                "right": bool(showing.right[i]),
                "picture": _save(
                    Image.fromarray(np.repeat(showing.images[i], 3 // showing.images.shape[3], 2)), folder, f"{i + 1}"
                ),
                "maps": {},
            }
        )
    for name, draw in setting.methods.items():
        for i, one in enumerate(draw(setting.network, showing.images, showing.targets)):
            shown[i]["maps"][name] = _save(overlay(showing.images[i], one), folder, f"{i + 1}-{name}")
        advance()
    return shown


def _save(picture: Image.Image, folder: Path, name: str) -> str:
    scale = max(1, SIDE // picture.width)
    side = min(SIDE, scale * picture.width)
    drawn = picture.resize((side, side), Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS)
    drawn.quantize(128).save(folder / f"{name}.png", optimize=True)
    return f"{folder.name}/{name}.png"
