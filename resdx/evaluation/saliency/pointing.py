"""The pointing game: whether a map peaks where the disease is known to be (Zhang et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data.box_geometry import prepared_box
from ...data.cases import Box
from ...errors import DataError
from ...metrics.estimate import Estimate
from ...metrics.intervals import proportion
from ...runs.prepared import Prepared
from ...runs.run import Run
from ...transforms.readers.protocol import keeps_places
from .cases import Asked, Floats, asked
from .checks import hits
from .setting import Setting

POINTED = 400  # cases whose known place quick methods must find


@dataclass(frozen=True)
class Pointed:
    """N cases with a known place: hits of the pointing game.

    Whether the map peaks there, whose they are, the fraction of cells that would be hits, and the map's size.
    """

    hit: NDArray[np.bool_]
    persons: tuple[str, ...]
    chance: Floats
    shape: tuple[int, ...]


def pointing_game(run: Run, prepared: Prepared, *, method: str = "cam", only_found: bool = False) -> Estimate:
    """Share of cases with a known place whose map's peak lies there (Zhang et al. 2018), over persons.

    The note has the chance level.

    A hit is a peak whose cell lies in a box of its class with its centre, or misses it by no more than half a cell.
    Chance is the share of cells that would be hits. `only_found` takes the cases alone that the run calls by the box's class.

    Raises:
        RunError: the run is not trained or calibrated yet.
    """
    return pointing_row(Setting.open(run), asked(run, prepared), method, only_found=only_found)[0]


def pointed(run: Run, prepared: Prepared, *, method: str = "cam", only_found: bool = False) -> Pointed:
    """The pointing game case by case, as `pointing_game` counts it.

    Raises DataError where no case has a place that is known.
    """
    found = pointed_by(Setting.open(run), asked(run, prepared), method, only_found, POINTED)
    if isinstance(found, str):
        raise DataError(f"{run.path}: {found}; give the places as `boxes` in a table")
    return found


def pointing_row(
    setting: Setting, everything: Asked | None, method: str, *, only_found: bool = False, limit: int = POINTED
) -> tuple[Estimate, float | None]:
    """The pointing game, and its chance level."""
    found = pointed_by(setting, everything, method, only_found, limit)
    if isinstance(found, str):
        return Estimate(None, None, None, 0, f"not estimable: {found}"), None
    share, chance = proportion(found.hit, found.persons), float(found.chance.mean())
    resolution = f"map of {found.shape[0]} x {found.shape[1]}, tolerance half a cell"
    return replace(share, note=f"chance {chance:.3f}; {len(found.hit)} cases; {resolution}; {share.note}"), chance


def pointed_by(setting: Setting, everything: Asked | None, method: str, only_found: bool, limit: int) -> Pointed | str:
    """The hits, or why there are none to be had."""
    if not keeps_places(setting.run.recipe.read):
        return f"boxes cannot be followed through {type(setting.run.recipe.read).__name__}"
    if method not in setting.methods:
        return f"{method} needs a gradient, which the head has none of; ask for occlusion"
    places = list(islice(_places(setting.run, everything, only_found), limit)) if everything else []
    if not places or everything is None:
        return no_place(setting.run, everything)
    some = everything.of([i for i, _, _ in places])
    heat = setting.methods[method](setting.network, some.images, np.array([k for _, k, _ in places]))
    cells = [hits(heat.shape[1:], some.images.shape[1], boxes) for _, _, boxes in places]
    # a flat map points nowhere
    hit = np.array([bool(mask.flat[one.argmax()]) and one.max() > 0 for mask, one in zip(cells, heat, strict=True)])
    return Pointed(hit, some.persons, np.array([mask.mean() for mask in cells]), heat.shape[1:])


def _places(run: Run, asked: Asked, only_found: bool) -> Iterator[tuple[int, int, list[Box]]]:
    """(case, class, its boxes in pixels of the prepared picture) for each class that a case has boxes of."""
    for i, case in enumerate(asked.cases):
        named = {box.label for box in case.boxes} & set(run.recipe.classes)
        # in class order, as the probabilities
        called = [k for k, name in enumerate(run.recipe.classes) if name in named and (asked.chosen[i, k] or not only_found)]
        if not called:
            continue
        shape = run.recipe.read(str(Path(run.settings.data) / case.path)).shape
        for k in called:
            moved = [prepared_box(box, shape, run.recipe.prepare) for box in case.boxes if box.label == run.recipe.classes[k]]
            if kept := [box for box in moved if box is not None]:
                yield i, k, kept


def no_place(run: Run, asked: Asked | None) -> str:
    boxes = any(case.boxes for case in asked.cases) if asked else False
    if not boxes:
        return "no case of the part has a box"
    steps = ", ".join(type(step).__name__ for step in run.recipe.prepare)
    return f"no box has the name of a class and can be followed through {steps}"
