"""Pre-training from folders.

Each is scanned, audited and prepared as a run of its own, and all are learnt from together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..data.sources.detect import detect
from ..data.sources.folders import Unlabelled
from ..errors import AuditStop, DataError, RunError
from ..recipes.library import get_recipe
from ..recipes.recipe import Recipe
from ..runs.run import Run, resolve_data
from ..training.pretraining.corpus import Member
from ..training.pretraining.loop import Parts, _check, pretrain, pretraining_recipe
from .stages import repeat
from .start import changed_recipe, start


def pretrain_sets(
    sets: Sequence[str],
    *,
    out: str,
    recipes: Sequence[tuple[str, str]] = (),
    licences: Sequence[tuple[str, str]] = (),
    weight: Sequence[tuple[str, str]] = (),
    target: Sequence[str] = (),
    depth: str = "50",
    size: int = 112,
    labels: float = 0,
    views: float = 1,
    teacher: float = 0,
    changes: Sequence[tuple[str, str]] = (),
    seed: int = 0,
    quiet: bool = False,
) -> Path:
    """`pretrain` as the command line asks for it.

    Sets are "DATA" or "NAME=DATA", where DATA may be a run that is audited. Data that is no run is scanned and audited in
    `out`/sets/NAME; without labels to learn, that may be any folder of pictures. Raises RunError where an option names a set
    that is not there.
    """
    named = dict(_named(text) for text in sets)
    for pairs in (recipes, licences, weight):
        if strange := [name for name, _ in pairs if name not in named]:
            raise RunError(f"there is no set {strange[0]!r}; the sets are {', '.join(named)}")
    if len(named) < len(sets):
        raise RunError("two sets have the same name; name them NAME=DATA")
    by_name, text_of = dict(recipes), dict(licences)
    often = {name: positive_number(text, f"--weight {name}") for name, text in weight}
    parts, recipe = Parts(labels, views, teacher), changed_recipe(pretraining_recipe(int(depth), size), changes)
    _check(recipe)
    members = []
    for name, data in named.items():
        asked = get_recipe(by_name[name]) if name in by_name else _plain_recipe(Path(data), labels > 0)
        run = _audited(Path(data), Path(out) / "sets" / name, asked, quiet)
        members.append(Member(run, name, text_of.get(name, ""), often.get(name, 1.0)))
    targets = [Run.open(path, quiet=True) for path in target]
    return pretrain(members, out, recipe=recipe, parts=parts, targets=targets, seed=seed, quiet=quiet)


def _named(text: str) -> tuple[str, str]:
    """Name and place of a set; a path that is there is a path, whatever it holds."""
    name, told, data = text.partition("=")
    if Path(text).exists() or not told:
        name, data = re.sub(r"[^\w.-]+", "-", Path(text).resolve().stem), text
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise RunError(f"{name!r} cannot be the name of a set; use letters, digits, '-' and '_', as in chest={data}")
    return name, data


def _plain_recipe(data: Path, labels: bool) -> Recipe:
    """How a set that names no recipe is read: by its layout.

    Without `labels`, any folder of pictures will do.
    """
    recipe = get_recipe("plain")
    if data.is_dir() and not (data / "run.json").exists():
        try:
            detect(data)
        except DataError as error:
            if labels:
                raise DataError(f"{error}; or learn without labels, from any folder of pictures: --labels 0") from error
            if any(data.glob("*.csv")):  # may know persons and parts
                raise
            return replace(recipe, source=Unlabelled())
    return recipe


def _audited(data: Path, place: Path, recipe: Recipe, quiet: bool) -> Run:
    """The run of a set, audited.

    A finding that stops a training does not stop this one, which judges nothing.
    """
    path = data if (data / "run.json").exists() else place
    if not (path / "run.json").exists():
        start(data, recipe=recipe, out=path, quiet=quiet)
    run = Run.open(path, quiet=quiet)
    if path == place and (run.recipe.name, Path(run.settings.asked or run.settings.data)) != (
        recipe.name,
        resolve_data(data),
    ):
        raise RunError(f"{path} holds another set under this name; choose another name or another --out")
    for name in ("scan", "audit"):
        run = Run.open(path, quiet=quiet)
        if not (path / f"{name}.json").exists():
            with suppress(AuditStop):
                repeat(run, name)
    return Run.open(path, quiet=quiet)


def positive_number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < math.inf:
        raise RunError(f"{what} is {text!r}; it must be a number above 0")
    return value
