"""Published systems, one file each.

`recipes/systems/<name>.py` holds `RECIPE` and, where a paper compares, `VARIANTS`.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from ..errors import RecipeError
from ..records import is_stored, json_schema, stored_name, to_record
from .recipe import Recipe

SYSTEMS = Path(__file__).parent / "systems"  # one file a published system


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes that come with resdx, found by file name."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(SYSTEMS)])))


def get_recipe(name: str) -> Recipe:
    """The recipe `name`, a variant as `name:variant`, or a user's own file as a path that ends in `.py`.

    Raises:
        RecipeError: no such recipe or variant (the nearest name is suggested), or a file that raises an error or holds no RECIPE.
    """
    base, _, variant = name.partition(":")
    if base.endswith(".py"):
        module = _from_file(Path(base))
    elif base in recipe_names():
        module = system_module(base)
    else:
        near = difflib.get_close_matches(base, recipe_names(), 1)
        raise RecipeError(
            f"no recipe {base!r}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(recipe_names())}")
        )
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"{base} holds no RECIPE = Recipe(...)")
    if not variant:
        return recipe
    variants: dict[str, Recipe] = getattr(module, "VARIANTS", {})
    if variant not in variants:
        raise RecipeError(f"{base} has no variant {variant!r}; there are {', '.join(sorted(variants)) or 'none'}")
    return variants[variant]


def system_module(name: str) -> ModuleType:
    """The file of a system; the one place where systems are imported, by name alone,
    so that deleting the file deletes the system.
    """
    return importlib.import_module(f"{__package__}.{SYSTEMS.name}.{name}")


def recipe_titles() -> dict[str, str]:
    """Name -> title of every recipe, and of every variant as "name:variant"."""
    out = {}
    for name in recipe_names():
        module = system_module(name)
        out[name] = module.RECIPE.title
        out |= {f"{name}:{variant}": recipe.title for variant, recipe in getattr(module, "VARIANTS", {}).items()}
    return out


def variants_of(name: str) -> tuple[str, ...]:
    """Names of the variants of a shipped recipe."""
    return tuple(getattr(system_module(name), "VARIANTS", {}))


def recipe_list() -> list[dict[str, Any]]:
    """What `resdx recipes --json` prints: name, title, facts (see About) and the titles of the variants,
    by number of the system.
    """
    titles = recipe_titles()
    rows = [
        {
            "name": name,
            "title": titles[name],
            **asdict(get_recipe(name).about),
            "variants": {other: title for other, title in titles.items() if other.startswith(f"{name}:")},
        }
        for name in recipe_names()
    ]
    return sorted(rows, key=lambda row: (row["system"] or "~", row["name"]))  # those without a paper come last


def recipe_table() -> str:
    """The list as a table, the variants of a recipe below it."""
    columns = ("system", "name", "disease", "modality", "data", "state")
    rows = [dict(zip(columns, columns, strict=True)), *recipe_list()]
    width = {column: max(len(row[column]) for row in rows) + 2 for column in columns}
    lines = []
    for row in rows:
        lines.append("".join(f"{row[column] or '-':{width[column]}}" for column in columns).rstrip())
        if variants := row.get("variants"):
            lines.append(f"{'':{width['system']}}:{', :'.join(name.partition(':')[2] for name in variants)}")
    return "\n".join(lines)


def recipe_facts(name: str) -> dict[str, Any]:
    """What `resdx recipes NAME` tells: title, facts (see About), what its file says, published figures,
    what is ours, and variants.

    Raises:
        RecipeError: as `get_recipe`.
    """
    recipe, base = get_recipe(name), name.partition(":")[0]
    own = base.endswith(".py")
    text = ast.get_docstring(ast.parse(Path(base).read_bytes())) if own else inspect.getdoc(system_module(base))
    return {
        "name": name,
        "title": recipe.title,
        **asdict(recipe.about),
        "text": text or "",
        "published": [asdict(one) for one in recipe.published],
        "differs": list(recipe.differs),
        "variants": {other: title for other, title in recipe_titles().items() if other.startswith(f"{base}:")},
    }


def recipe_text(facts: Mapping[str, Any]) -> str:
    """What `recipe_facts` found, for a person to read."""
    lines = [f"{facts['name']}: {facts['title']}"]
    lines += [f"  {key:10}{facts[key]}" for key in ("system", "disease", "modality", "data", "state") if facts[key]]
    lines += ["", facts["text"]] if facts["text"] else []
    figures = [f"{one['metric']} {one['value']:g} ({'seen' if one['seen'] else 'not seen'})" for one in facts["published"]]
    for head, told in (("Published", figures), ("What the paper does not say, and we chose", facts["differs"])):
        lines += ["", f"{head}:", *(f"- {one}" for one in told)] if told else []
    if facts["variants"]:
        lines += ["", "Variants:", *(f"  {name}  {title}" for name, title in facts["variants"].items())]
    return "\n".join(lines)


def recipe_schema(name: str) -> dict[str, Any]:
    """The JSON schema of a recipe as run.json stores it, with what the recipe `name` says as defaults.

    Raises:
        RecipeError: as `get_recipe`.
    """
    recipe, schema = get_recipe(name), json_schema(Recipe)
    for field in filter(is_stored, fields(recipe)):
        schema["properties"][stored_name(field)]["default"] = to_record(getattr(recipe, field.name))
    return schema | {"title": f"Recipe {name}"}


def know_steps_of(name: str) -> None:
    """Import the shipped recipe `name`, so that a run can rebuild steps that are written in its file.

    Nothing where there is none.
    """
    if name in recipe_names():
        system_module(name)


def _from_file(path: Path) -> object:
    if not path.is_file():
        raise RecipeError(f"{path} is no file; give the path of a recipe or one of {', '.join(recipe_names())}")
    name = f"resdx_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file may raise
        del sys.modules[name]
        reason = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        kind = "" if isinstance(error, RecipeError) else f"{type(error).__name__}: "
        raise RecipeError(f"{path}, line {_line(error, path)}: {kind}{reason}; correct the recipe file") from error
    cloudpickle.register_pickle_by_value(module)  # workers cannot import a file they do not know
    return module


def _line(error: Exception, path: Path) -> int:
    """The line of the recipe file that an error comes from."""
    if isinstance(error, SyntaxError):
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path.resolve()]
    return (lines and lines[-1]) or 1
