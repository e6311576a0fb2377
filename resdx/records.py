"""Settings as data: frozen dataclasses that turn into plain JSON and back, by class name.

A run stores `{"is": "Resize", "size": 128}`, never code. Only fields that differ from their default are written, with
the class's `version` where it has one, so a new field with a default does not invalidate an old run.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, overload

from .errors import RecipeError, RunError

T = TypeVar("T")
Record = dict[str, Any]

_KNOWN: dict[str, type] = {}
TAG = "__record__"  # the attribute of a class that holds the name it is stored under
STORED = "stored"  # in the metadata of a field: the name it is stored under, where that is not its own


@overload
def record(known_as: type[T]) -> type[T]: ...


@overload
def record(known_as: str) -> Callable[[type[T]], type[T]]: ...


def record(known_as: type[T] | str) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class known by its name, so that a run can rebuild it; a decorator above `@dataclass(frozen=True)`.

    `@record("Until")` makes it known by the name that runs stored before the class had its present one.
    """
    if isinstance(known_as, str):
        return partial(_know, known_as)
    return _know(known_as.__name__, known_as)


def _know(tag: str, cls: type[T]) -> type[T]:
    known = _KNOWN.get(tag)
    if known is not None and known.__module__ != cls.__module__:
        raise RecipeError(f"two classes are named {tag}: {known.__module__} and {cls.__module__}; rename one")
    _KNOWN[tag] = cls
    setattr(cls, TAG, tag)
    return cls


def to_record(value: Any) -> Any:
    """Turn a registered dataclass (and tuples, mappings and plain values inside it) into JSON-ready data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if TAG not in vars(type(value)):
            raise RecipeError(f"{type(value).__name__} is not a registered record and cannot be stored in a run")
        out: Record = {"is": getattr(type(value), TAG)}
        if (version := getattr(value, "version", None)) is not None:
            out["version"] = version
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if item != _default(field):
                out[stored_name(field)] = to_record(item)
        return out
    if isinstance(value, Mapping):
        return {str(key): to_record(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_record(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise RecipeError(f"a {type(value).__name__} cannot be stored in a run: {value!r}")


def stored_name(field: dataclasses.Field[Any]) -> str:
    """The name a field is stored under."""
    return str(field.metadata.get(STORED, field.name))


def not_finite(data: Any, at: str = "") -> str:
    """The dotted place of the first number in a record that is NaN or infinite; empty where all are finite."""
    if isinstance(data, float):
        return "" if math.isfinite(data) else at
    parts = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    return next(filter(None, (not_finite(item, f"{at}.{key}" if at else str(key)) for key, item in parts)), "")


def from_record(data: Any) -> Any:
    """Rebuild what `to_record` wrote; lists come back as tuples. Raises RunError for an unknown class, field or version."""
    if isinstance(data, Mapping):
        if "is" not in data:
            return {key: from_record(item) for key, item in data.items()}
        name = data["is"]
        cls = _KNOWN.get(name)
        if cls is None:
            raise RunError(
                f"the run uses {name!r}, which this version of resdx does not know; if your own recipe file defines it, name the file: "
                "--recipe FILE.py, or Run.open(path, recipe=FILE) from Python; else open the run with the version that wrote it"
            )
        version = getattr(cls, "version", None)
        if data.get("version") != version:
            raise RunError(
                f"the run used version {data.get('version')} of {name}, this resdx has version {version}; "
                "open it with the version that wrote it"
            )
        known = {stored_name(field): field.name for field in dataclasses.fields(cls)}
        given = {key: from_record(item) for key, item in data.items() if key not in ("is", "version")}
        if unknown := sorted(given.keys() - known.keys()):
            raise RunError(f"the run sets {name}.{unknown[0]}, which this version of resdx does not know")
        return cls(**{known[key]: item for key, item in given.items()})
    if isinstance(data, list):
        return tuple(from_record(item) for item in data)
    return data


def set_field(value: T, dotted: str, text: str) -> T:
    """Give back `value` with the field at `dotted` ("learn.epochs", "prepare.0.size") parsed from `text` by its type.

    Raises:
        RecipeError: there is no such field (the nearest name is suggested), or the text does not fit its type.
    """
    return typing.cast(T, _set(value, dotted.split("."), text, dotted))


def _set(value: Any, keys: list[str], text: str, dotted: str) -> Any:
    key, *rest = keys
    if isinstance(value, tuple) and key.isdigit() and int(key) < len(value):
        items = list(value)
        if not rest:
            raise RecipeError(f"{dotted} names a whole step; set one of its fields, such as {dotted}.size")
        items[int(key)] = _set(items[int(key)], rest, text, dotted)
        return tuple(items)
    if not dataclasses.is_dataclass(value):
        raise RecipeError(f"no field {dotted!r}: {'.'.join(dotted.split('.')[: -len(keys)])} has no parts")
    names = [field.name for field in dataclasses.fields(value)]
    key = {stored_name(field): field.name for field in dataclasses.fields(value)}.get(
        key, key
    )  # a stored search names its fields so
    prefix = ".".join(dotted.split(".")[: -len(keys)])
    if key not in names:
        raise RecipeError(f"no field {dotted!r}; {_suggest(key, names, prefix)}")
    old = getattr(value, key)
    if rest:
        new = _set(old, rest, text, dotted)
    else:
        new = _parse(text, typing.get_type_hints(type(value))[key], dotted)
    return dataclasses.replace(typing.cast(Any, value), **{key: new})


def _suggest(key: str, names: list[str], prefix: str) -> str:
    near = difflib.get_close_matches(key, names, 1)
    dot = f"{prefix}." if prefix else ""
    return f"did you mean {dot}{near[0]}?" if near else f"there are {', '.join(dot + name for name in names)}"


def _parse(text: str, kind: Any, dotted: str) -> Any:
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union else (kind,)
    if type(None) in kinds and text.lower() in ("none", ""):
        return None
    for one in kinds:
        origin = typing.get_origin(one) or one
        try:
            if origin is bool:
                return {"true": True, "false": False, "yes": True, "no": False}[text.lower()]
            if origin in (int, float, str):
                return origin(text)
            if origin is typing.Literal and text in typing.get_args(one):
                return text
            if origin is tuple:
                inner = (typing.get_args(one) or (str,))[0]
                return tuple(_parse(part.strip(), inner, dotted) for part in text.split(",") if part.strip())
        except (KeyError, ValueError):
            continue
    raise RecipeError(f"{dotted} cannot be {text!r}: it takes {_kind_name(kind)}")


def _kind_name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(repr(arg) for arg in typing.get_args(kind))
    plain = {int: "a whole number", float: "a number", bool: "true or false"}
    if kind in plain:
        return plain[kind]
    return getattr(kind, "__name__", None) or str(kind).replace("typing.", "")


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return dataclasses.MISSING
