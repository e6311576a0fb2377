"""Maps of some answers of a run, and whether they can be read: explain.json and explain/*.png.

The cases are those of the test part once it has been scored, else of calib; nothing is chosen on what the maps show.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...data.box_geometry import prepared_box
from ...data.cases import Box, Case
from ...data.tasks import Detect, truth
from ...errors import DataError
from ...files import write_json
from ...inference.drawing import overlay
from ...inference.opening import calibration_of_run, load_network
from ...metrics.estimate import Estimate
from ...metrics.intervals import mean_of_persons, proportion
from ...models.forward import DTYPES, three_channels, to_tensor
from ...models.network import Network
from ...models.specs import ResNet
from ...runs.prepared import Prepared
from ...runs.run import Run
from ...training.frozen_features import is_cross_fitted
from ...transforms.readers.protocol import keeps_places
from . import methods as maps
from .checks import (
    body_mask,
    curves,
    hits,
    randomised,
    rank_correlation,
    reencoded,
    share_within,
)

SHOWN = 12  # cases shown, each of another person
CHECKED = 64  # cases, each of another person, that quick methods are checked on
FEW = 12  # the same for slow methods, and persons whose boxes they must find
POINTED = 400  # cases whose known place quick methods must find
CURVES = 24  # cases that deletion and insertion are measured on
SLOW = frozenset(("occlusion", "integrated-gradients"))
DRAWS = 4  # random networks; each is compared on its share of the cases, so that one odd draw does not decide
BATCH = 16
SIDE = 224  # pixels of a shown picture, at most
ALIKE = 0.5  # rank correlation from which two maps are much the same
LEFT = 0.3  # rank correlation, by the lower end of its interval, that a map may keep when the weights are randomised
FLAT = 3  # a map of fewer cells along a side shows no place
METHODS = ("cam", "grad-cam", "grad-cam++", "occlusion", "integrated-gradients")

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Draw = Callable[[Network, NDArray[np.uint8], NDArray[np.int64]], Floats32]  # network, pictures, targets -> (B, h, w)


@dataclass(frozen=True)
class Asked:
    """N cases of one subset with the run's outputs.

    The class that is explained (`targets`), its probability, right or not.
    """

    part: str
    prepared: Prepared
    cases: tuple[Case, ...]
    chosen: NDArray[np.bool_]  # (N, K), every class that was answered
    targets: NDArray[np.int64]
    p: Floats
    right: NDArray[np.bool_]

    def of(self, rows: Sequence[int] | NDArray[np.intp]) -> Asked:
        """Some of the cases."""
        at = np.asarray(rows, np.intp)
        some = (getattr(self, name)[at] for name in ("chosen", "targets", "p", "right"))
        return Asked(self.part, self.prepared, tuple(self.cases[i] for i in at), *some)

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """The prepared pictures (N, S, S, C)."""
        return np.asarray(self.prepared.images[self.prepared.rows([case.id for case in self.cases])])

    @property
    def persons(self) -> tuple[str, ...]:
        """The person of each case."""
        return tuple(case.group for case in self.cases)


@dataclass(frozen=True)
class Pointed:
    """N cases with a known place: hits of the pointing game.

    Whether the map peaks there, whose they are, the fraction of cells that would be hits, and the map's size.
    """

    hit: NDArray[np.bool_]
    persons: tuple[str, ...]
    chance: Floats
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """A network and how its maps are drawn."""

    run: Run
    network: Network

    @classmethod
    def open(cls, run: Run) -> Setting:
        """The run's network, its weights held fast."""
        network = load_network(run).eval().requires_grad_(False)
        return cls(run, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    @cached_property
    def methods(self) -> Mapping[str, Draw]:
        """Each method by name.

        All of METHODS, or occlusion alone for a head that answers in steps, which has no gradient.

        Grad-CAM is taken one stage before the last: on the last it is the class activation map.
        """
        stages, score = list(self.network.backbone.stages()), maps.score_of(self.run.recipe.task)
        known = {
            "cam": partial(maps.class_activation, score=score),
            "grad-cam": partial(maps.grad_cam, score=score, stage=stages[-2] if len(stages) > 1 else stages[-1]),
            "grad-cam++": partial(maps.grad_cam_plus_plus, score=score),
            "occlusion": partial(maps.occlusion, score=score),
            "integrated-gradients": partial(maps.integrated_gradients, score=score),
        }
        return {
            name: partial(_draw, method, self.dtype if name == "occlusion" else "float32")
            for name, method in known.items()
            if self.network.head.smooth or name == "occlusion"
        }

    @property
    def dtype(self) -> str:
        """The number format for passes that need no gradient: what training found faster."""
        return str(self.run.settings.choices.get("dtype", "float32"))

    def probability(self, targets: NDArray[np.int64]) -> Callable[[Tensor], Tensor]:
        """A function (B, 3, S, S) -> probability (B,) of the targets, before calibration.

        A blurred image is no case for the calibrator.
        """

        def answer(images: Tensor) -> Tensor:
            with torch.no_grad(), torch.autocast(images.device.type, DTYPES[self.dtype], enabled=self.dtype != "float32"):
                logits = self.network(images).float().cpu().numpy()
            return torch.from_numpy(self.run.recipe.task.probabilities(logits)[np.arange(len(targets)), targets])

        return answer


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


def pointing_game(run: Run, prepared: Prepared, *, method: str = "cam", only_found: bool = False) -> Estimate:
    """Share of cases with a known place whose map's peak lies there (Zhang et al. 2018), over persons.

    The note has the chance level.

    A hit is a peak whose cell lies in a box of its class with its centre, or misses it by no more than half a cell.
    Chance is the share of cells that would be hits. `only_found` takes the cases alone that the run calls by the box's class.

    Raises:
        RunError: the run is not trained or calibrated yet.
    """
    return _pointing(Setting.open(run), asked(run, prepared), method, only_found=only_found)[0]


def pointed(run: Run, prepared: Prepared, *, method: str = "cam", only_found: bool = False) -> Pointed:
    """The pointing game case by case, as `pointing_game` counts it.

    Raises DataError where no case has a place that is known.
    """
    found = _pointed(Setting.open(run), asked(run, prepared), method, only_found, POINTED)
    if isinstance(found, str):
        raise DataError(f"{run.path}: {found}; give the places as `boxes` in a table")
    return found


def asked(run: Run, prepared: Prepared) -> Asked | None:
    """What the run says of its test part once that has been scored, else of what it was calibrated on.

    None where no case is left.
    """
    part = "test" if (run.path / "scores-test.npz").exists() else "calib"
    calibration = calibration_of_run(run)
    scores = run.scores(part)
    place = "train" if part == "calib" and is_cross_fitted(run) else part
    by_id = {case.id: case for case in run.cases(place) if case.id in prepared.row and case.labels is not None}
    kept = [i for i, case in enumerate(scores.ids) if case in by_id]
    if not kept:
        return None
    cases = tuple(by_id[scores.ids[i]] for i in kept)
    known = truth(run.recipe.task, run.recipe.classes, cases)
    probability = calibration.probabilities(scores.logits[kept])
    chosen = calibration.choose(probability)
    targets = np.where(chosen, probability, probability - 1).argmax(1)  # of the classes answered the most probable one
    right = ((chosen == known) | np.isnan(known)).all(1)
    return Asked(part, prepared, cases, chosen, targets, probability[np.arange(len(cases)), targets], right)


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
    some = everything.of(_one_a_person(everything, run.settings.seed))
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


def _one_a_person(asked: Asked, seed: int) -> list[int]:
    order = np.random.default_rng(seed).permutation(len(asked.cases))
    return list({asked.persons[i]: int(i) for i in order}.values())[:CHECKED]


def _draw(method: Any, dtype: str, network: Network, images: NDArray[np.uint8], targets: NDArray[np.int64]) -> Floats32:
    device = network.device
    out = []
    for start in range(0, len(images), BATCH):
        some = slice(start, start + BATCH)
        pictures = three_channels(to_tensor(images[some], device))
        with torch.autocast(device.type, DTYPES[dtype], enabled=dtype != "float32"):
            out.append(method(network, pictures, torch.from_numpy(targets[some]).to(device)).float().cpu().numpy())
    return np.concatenate(out)


def _checked(setting: Setting, others: Sequence[Network], name: str, some: Asked, everything: Asked) -> dict[str, Any]:
    """One row of explain.json's methods."""
    draw = setting.methods[name]
    heat = draw(setting.network, some.images, some.targets)
    again = np.stack([reencoded(picture) for picture in some.images])
    outside, note = _outside(heat, some)
    pointing, chance = _pointing(setting, everything, name, limit=FEW if name in SLOW else POINTED)
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
        rows = np.arange(k, len(heat), len(others))
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
    blank = large.reshape(len(large), -1).max(1) == 0
    shares = np.array([share_within(one, mask) for one, mask in zip(large, air, strict=True)])[~blank]
    persons = [some.persons[i] for i, empty in zip(seen, blank, strict=True) if not empty]
    found = mean_of_persons(shares, persons)
    level = f"the outside is {np.mean(air):.2f} of the area, seen in {len(seen)} of {len(masks)} pictures"
    return replace(found, note=f"{level}; {found.note}"), ""


def _pointing(
    setting: Setting, everything: Asked | None, method: str, *, only_found: bool = False, limit: int = POINTED
) -> tuple[Estimate, float | None]:
    """The pointing game, and its chance level."""
    found = _pointed(setting, everything, method, only_found, limit)
    if isinstance(found, str):
        return Estimate(None, None, None, 0, f"not estimable: {found}"), None
    share, chance = proportion(found.hit, found.persons), float(found.chance.mean())
    resolution = f"map of {found.shape[0]} x {found.shape[1]}, tolerance half a cell"
    return replace(share, note=f"chance {chance:.3f}; {len(found.hit)} cases; {resolution}; {share.note}"), chance


def _pointed(setting: Setting, everything: Asked | None, method: str, only_found: bool, limit: int) -> Pointed | str:
    """The hits, or why there are none to be had."""
    if not keeps_places(setting.run.recipe.read):
        return f"boxes cannot be followed through {type(setting.run.recipe.read).__name__}"
    if method not in setting.methods:
        return f"{method} needs a gradient, which the head has none of; ask for occlusion"
    places = list(islice(_places(setting.run, everything, only_found), limit)) if everything else []
    if not places or everything is None:
        return _no_place(setting.run, everything)
    some = everything.of([i for i, _, _ in places])
    heat = setting.methods[method](setting.network, some.images, np.array([k for _, k, _ in places]))
    cells = [hits(heat.shape[1:], some.images.shape[1], boxes) for _, _, boxes in places]
    hit = np.array([bool(mask.flat[one.argmax()]) and one.max() > 0 for mask, one in zip(cells, heat, strict=True)])
    return Pointed(hit, some.persons, np.array([mask.mean() for mask in cells]), heat.shape[1:])


def _places(run: Run, asked: Asked, only_found: bool) -> Iterator[tuple[int, int, list[Box]]]:
    """(case, class, its boxes in pixels of the prepared picture) for each class that a case has boxes of."""
    for i, case in enumerate(asked.cases):
        named = {box.label for box in case.boxes} & set(run.recipe.classes)
        called = [k for k, name in enumerate(run.recipe.classes) if name in named and (asked.chosen[i, k] or not only_found)]
        if not called:
            continue
        shape = run.recipe.read(str(Path(run.settings.data) / case.path)).shape
        for k in called:
            moved = [prepared_box(box, shape, run.recipe.prepare) for box in case.boxes if box.label == run.recipe.classes[k]]
            if kept := [box for box in moved if box is not None]:
                yield i, k, kept


def _no_place(run: Run, asked: Asked | None) -> str:
    boxes = any(case.boxes for case in asked.cases) if asked else False
    if not boxes:
        return "no case of the part has a box"
    steps = ", ".join(type(step).__name__ for step in run.recipe.prepare)
    return f"no box has the name of a class and can be followed through {steps}"


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


def verdict(row: Mapping[str, Any]) -> str:
    """What the checks of one method mean, in a sentence."""
    if failed := failures(row):
        return f"Do not read {row['name']}: {'; '.join(failed)}."
    pointing = row["pointing"]
    place = f"; its peak lies on the known place in {pointing.value:.0%} of cases" if pointing is not None else ""
    return f"{row['name']} passed the checks{place}: it shows where the network looked, not that it was right to."


def failures(row: Mapping[str, Any]) -> list[str]:
    """The checks that a method failed."""
    said = []
    left = row["randomisation"]
    if (left.value if left.low is None else left.low) > LEFT:
        said.append(f"it keeps much of its shape when the network's weights are randomised (rank correlation {left.value:.2f})")
    if not (row["gain"].low if row["gain"].low is not None else row["gain"].value) > 0:
        said.append("blurring what it marks changes the answer no more than blurring at random (or too few cases tell)")
    if row["stability"].value < ALIKE:
        said.append("it changes when the picture is merely saved as JPEG")
    place = row["pointing"]
    if place is not None and (place.value if place.low is None else place.low) <= row["pointing_chance"]:
        said.append("that its peak lies on the known place more often than by chance is not shown")
    if 2 * row["blank"] > row["cases"]:
        said.append("it is blank in most cases")
    return said


def overall(rows: Sequence[Mapping[str, Any]]) -> str:
    """One sentence over all methods."""
    good = [row["name"] for row in rows if not row["verdict"].startswith("Do not")]
    bad = [row["name"] for row in rows if row["name"] not in good]
    if not good:
        return "Every method failed a check: do not read the maps of this run."
    rest = f"; do not read {', '.join(bad)}" if bad else ""
    return f"Of the maps of this run, {', '.join(good)} passed the checks{rest}."
