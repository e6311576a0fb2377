"""How a run begins: the recipe that was asked for, its starting weights, and the directory.

No stage is run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.sources.detect import detect
from ..errors import RecipeError, RunError, WeightsError
from ..models.network import check_installed
from ..models.specs import OWN, PUBLISHED, ResNet, innermost
from ..models.weights import starting_file
from ..recipes.learning import Ensemble
from ..recipes.library import get_recipe
from ..recipes.recipe import Recipe
from ..runs.run import Run, resolve_data
from ..runs.settings import ALPHA, Protocol, Refer, Settings
from ..training.detection import unsettled
from ..training.distributed import world
from .dataset import refuse_unknown
from .stages import EVIDENCE, TOGETHER

NAMED = {**{name: name for name in PUBLISHED}, "none": ""}  # starting weights that are no file
KNOWING = ("head_penalty", "freeze_batchnorm")  # of a training that begins with features which are worth something
Changes = Mapping[str, Any] | Iterable[tuple[str, Any]]
RUNS = Path("runs")  # where a run without --out goes


def changed_recipe(recipe: str | Recipe, changes: Changes, data: str | Path | None = None) -> Recipe:
    """A recipe by name, path or value, with fields set.

    A field of its source, where it has none, in the source of `data`.

    Args:
        changes: field -> value, such as {"learn.epochs": 3}, or such pairs; a text is read as the command line reads it.

    Raises:
        RecipeError: no such recipe or field (the nearest name is suggested), or a value that does not fit.
    """
    found = get_recipe(recipe) if isinstance(recipe, str) else recipe
    for field, value in changes.items() if isinstance(changes, Mapping) else changes:
        if data is not None and found.source is None and field.startswith("source."):
            found = replace(found, source=detect(resolve_data(data)))
        found = _placed(found, field.split("."), value, field) if _is_record(value) else found.set(field, _as_text(value))
    return found


def _is_record(value: Any) -> bool:
    """Whether a value is a part of a recipe, such as Adam() or (Resize(64),), which no text can say."""
    return is_dataclass(value) or (isinstance(value, (tuple, list)) and any(map(_is_record, value)))


def _as_text(value: Any) -> str:
    """A plain value as the command line writes it."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(_as_text, value))
    return {None: "none", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def _placed(value: Any, keys: list[str], part: Any, dotted: str) -> Any:
    """`value` with a part of its own kind at the place that `keys` name."""
    key, *rest = keys
    if isinstance(value, tuple) and key.isdigit() and int(key) < len(value):
        here = _placed(value[int(key)], rest, part, dotted) if rest else part
        return (*value[: int(key)], here, *value[int(key) + 1 :])
    if not is_dataclass(value) or key not in [one.name for one in fields(value)]:
        raise RecipeError(f"no field {dotted!r}; name a part of the recipe, such as model.head or learn")
    here = _placed(getattr(value, key), rest, part, dotted) if rest else tuple(part) if isinstance(part, list) else part
    return replace(value, **{key: here})  # type: ignore[type-var]


def asked_recipe(
    recipe: str | Recipe, changes: Changes, weights: str | Path, data: str | Path | None = None
) -> tuple[Recipe, str]:
    """The recipe that was asked for, with starting weights that are named in it.

    And the path of those that are a file.

    Raises:
        RecipeError: the network has no weights of that name, or needs what is not installed.
        WeightsError: the file is not there, or resdx ships none for this depth.
    """
    found = changed_recipe(recipe, changes, data)
    for one in found.members:
        check_installed(one.model.backbone)  # what is not installed is said before anything is read
    if weights and isinstance(found.learn, Ensemble):
        raise WeightsError(f"{found.name} is an ensemble, whose members start from weights of their own; leave out --weights")
    if weights in NAMED:
        backbone, field = innermost(found.model.backbone)
        if weights in OWN and not isinstance(backbone, ResNet):
            raise WeightsError(f"resdx has weights of its own for ResNet only, not for {backbone}; leave out --weights {weights}")
        found, weights = found.set(field, NAMED[str(weights)]), ""
    if weights and not Path(weights).is_file():
        raise WeightsError(f"the weights file {weights} is not there; check the path")
    for one in found.members:
        if odd := [name for name in KNOWING if getattr(one.learn, name, False) and not (weights or one.model.backbone.weights)]:
            raise RecipeError(f"learn.{odd[0]} keeps what the starting weights know, and there are none; name some (--weights)")
        if isinstance(backbone := innermost(one.model.backbone)[0], ResNet) and backbone.weights in OWN and not weights:
            starting_file(backbone.weights, backbone.depth)
    return found, str(Path(weights).resolve()) if weights else ""


def refuse_another(run: Run, data: str | Path, asked: Mapping[str, Any]) -> None:
    """Raise RunError where a run that is there was asked something else.

    `asked` are the arguments of `start`.
    """
    wanted, file = asked_recipe(asked.get("recipe", "plain"), asked.get("changes", ()), asked.get("weights", ""), data)
    wanted = replace(wanted, classes=wanted.classes or run.recipe.classes)
    if "start" in run.settings.choices:  # ImageNet's weights could not be had
        wanted = wanted.set(innermost(wanted.model.backbone)[1], "resdx")
    had = (unsettled(run).fingerprint(), run.settings.weights, run.settings.seed, run.settings.asked or run.settings.data)
    if had != (wanted.fingerprint(), file, asked.get("seed", 0), str(resolve_data(data))):
        raise RunError(
            f"{run.path} was made with other data, another recipe, other weights or another seed; ask the same "
            f"again or choose another --out"
        )


def default_folder(data: str | Path, recipe: str | Recipe) -> Path:
    """Where a run goes that was not told: runs/DATA-RECIPE-TIME."""
    name = recipe.name if isinstance(recipe, Recipe) else Path(recipe).stem
    return RUNS / f"{resolve_data(data).stem}-{name.replace(':', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"


def start(
    data: str | Path,
    *,
    recipe: str | Recipe = "plain",
    out: str | Path | None = None,
    changes: Changes = (),
    seed: int = 0,
    protocol: Protocol = "honest",
    accept: Sequence[str] = (),
    weights: str | Path = "",
    fold: int | None = None,
    folds: int = 5,
    skip: Sequence[str] = (),
    alpha: float = ALPHA,
    refer: Refer = "unsure",
    quiet: bool = False,
) -> Run:
    """Make the run directory for `data`; no stage is run yet.

    With `fold`, one of `folds` grouped folds is the test part. `alpha` is the share of the cases of a class that may be answered
    wrongly, `refer` "none" answers every case.

    Raises:
        RunError: `alpha` is no share, `skip` or `accept` names what cannot be left out or accepted, or the directory
            cannot be made.
        WeightsError: the weights file is not there.
    """
    if not 0 < alpha < 1:
        raise RunError(f"alpha, the share of wrong answers, must be above 0 and below 1, not {alpha}")
    if wrong := sorted({*skip} - {*EVIDENCE}):
        raise RunError(f"{wrong[0]} cannot be skipped; what can be left out is {', '.join(EVIDENCE)}")
    if world() > 1:
        raise RunError(TOGETHER)
    refuse_unknown(accept)
    asked, file = asked_recipe(recipe, changes, weights, data)
    folder = Path(out) if out else default_folder(data, asked)
    settings = Settings(
        str(resolve_data(data)),
        seed,
        protocol,
        tuple(accept),
        fold,
        folds,
        file,
        __version__,
        skip=tuple(skip),
        choices={**({"alpha": alpha} if alpha != ALPHA else {}), **({"refer": refer} if refer != "unsure" else {})},
    )
    return Run.create(folder, asked, settings, quiet=quiet)


def accepting(run: Run, codes: Sequence[str]) -> Run:
    """The run with more findings accepted, stored.

    Raises RunError where a code names nothing that can be accepted.
    """
    refuse_unknown(codes)
    return run.changed(accepted=tuple(dict.fromkeys((*run.settings.accepted, *codes)))) if codes else run
