"""Settings as data: frozen, checked records that turn into plain JSON and back, by class name.

A run stores `{"is": "Resize", "size": 128}`, never code. Only fields that differ from their default are written, with
the class's `version` where it has one, so a new field with a default does not invalidate an old run.

A range is part of a field's type, `size: Annotated[int, Ge(16), Le(4096), Unit("pixels")]`, or has a name here (`Count`,
`Fraction`). Values of
another type, choice or range are refused whoever builds the record, in one sentence.
"""

from __future__ import annotations

import copyreg
import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform, overload

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import ArgsKwargs

from .errors import RecipeError, RunError, count
from .words import refusal, together, words

T = TypeVar("T")
Record = dict[str, Any]

Natural = Annotated[int, Ge(0)]
Count = Annotated[int, Ge(1)]
NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
FractionAbove0 = Annotated[float, Gt(0), Le(1)]
FractionBelow1 = Annotated[float, Ge(0), Lt(1)]
FractionBetween = Annotated[float, Gt(0), Lt(1)]

AnyRecord = WithJsonSchema({"type": "object", "properties": {"is": {"type": "string"}}, "required": ["is"]})
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
TAG = "__record__"  # the attribute of a class that holds the name it is stored under
STORED = "stored"  # in the metadata of a field: the name it is stored under, where that is not its own; None: it is not stored

_KNOWN: dict[str, type] = {}

# A record of a recipe file travels to workers with its class, whose fields without a default must be known there by the
# same MISSING.
copyreg.pickle(type(dataclasses.MISSING), lambda _: "MISSING")


@overload
def record(known_as: type[T]) -> type[T]: ...


@overload
def record(known_as: str) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def record(known_as: type[T] | str) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass whose values are checked.

    It is known by its name, so that a run can rebuild it. Numbers must be finite, whole numbers do for fractional ones,
    NumPy's scalars become Python's, and nothing else is converted. A check that spans several fields is a `__post_init__`.
    `@record("Until")` makes a class known by the name that runs stored before it had its present one.

    Raises:
        RecipeError: another class has the name, or the class is a dataclass already; a record raises it for a value that
            does not fit.
    """
    if isinstance(known_as, str):
        return functools.partial(_know, known_as)
    return _know(known_as.__name__, known_as)


def _know(tag: str, cls: type[T]) -> type[T]:
    known = _KNOWN.get(tag)
    if known is not None and known.__module__ != cls.__module__:
        raise RecipeError(f"two classes are named {tag}: {known.__module__} and {cls.__module__}; rename one")
    if "__dataclass_fields__" in vars(cls):
        raise RecipeError(f"{cls.__name__} is a dataclass already; leave out @dataclass, which @record brings along")
    _KNOWN[tag] = cls = dataclasses.dataclass(frozen=True)(cls)
    setattr(cls, TAG, tag)
    setattr(cls, "__pydantic_config__", STRICT)  # noqa: B010 - what pydantic reads of a dataclass; no type knows it
    setattr(cls, "__init__", _checked(cls.__init__))  # noqa: B010
    return cls


def _checked(init: Callable[..., None]) -> Callable[..., None]:
    """The `__init__` of a record.

    It is pydantic's, with its errors as one sentence and values as they were written.
    """

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        cls: Any = type(self)
        args, kwargs = _plain(args), _plain(kwargs)
        try:
            adapter(cls).validator.validate_python(ArgsKwargs(args, kwargs), self_instance=self)
        except ValidationError as error:
            raise RecipeError(_sentence(cls, len(args), error)) from None
        names = [field.name for field in dataclasses.fields(self) if field.init]
        for name, given in (*zip(names, args, strict=False), *kwargs.items()):
            vars(self)[name] = _as_written(given, vars(self)[name])
            if isinstance(given, bool) and not isinstance(vars(self)[name], bool):  # a choice of 1 or 2 would take True for 1
                raise RecipeError(refusal(f"{cls.__name__}.{name}", given, _kinds(cls)[name]))

    return __init__


@functools.cache
def adapter(cls: Any) -> TypeAdapter[Any]:
    """What checks the values of a record; made when the first one is built, which keeps imports fast."""
    return TypeAdapter(cls)


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's: a record is stored as JSON and prints as its own source."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is tuple:
        return tuple(_plain(item) for item in value)
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    return value


def _as_written(given: Any, checked: Any) -> Any:
    """Whole numbers stay whole where pydantic made them fractional.

    What is stored, and its fingerprint, is what was written.
    """
    if isinstance(checked, float) and isinstance(given, int):
        return given
    if isinstance(checked, tuple) and isinstance(given, tuple) and len(checked) == len(given):
        return tuple(map(_as_written, given, checked))
    if isinstance(checked, dict) and isinstance(given, Mapping):
        return {key: _as_written(given.get(key), item) for key, item in checked.items()}
    return checked


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
            # What has its default is left out, so that a field that comes later changes no fingerprint.
            if item != _default(field) and is_stored(field):
                out[stored_name(field)] = to_record(item)
        return out
    if isinstance(value, Mapping):
        return {str(key): to_record(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_record(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise RecipeError(f"a {type(value).__name__} cannot be stored in a run: {value!r}")


def is_stored(field: dataclasses.Field[Any]) -> bool:
    """False for a field that is told of a record and changes nothing that is done."""
    return field.metadata.get(STORED, field.name) is not None


def stored_name(field: dataclasses.Field[Any]) -> str:
    """The name a field is stored under."""
    return str(field.metadata.get(STORED, field.name))


def from_record(data: Any) -> Any:
    """Rebuild what `to_record` wrote; lists come back as tuples.

    Raises RunError for an unknown class, field or version.
    """
    if isinstance(data, Mapping):
        if "is" not in data:
            return {key: from_record(item) for key, item in data.items()}
        name = data["is"]
        cls = _KNOWN.get(name)
        if cls is None:
            raise RunError(
                f"the run uses {name!r}, which this version of resdx does not know; if your own recipe file "
                f"defines it, name the file: "
                "--recipe FILE.py, or Run.open(path, recipe=FILE) from Python; else open the run with the version that wrote it"
            )
        version = getattr(cls, "version", None)
        if data.get("version") != version:
            raise RunError(
                f"the run used version {data.get('version')} of {name}, this resdx has version {version}; "
                "open it with the version that wrote it"
            )
        known = {stored_name(field): field.name for field in dataclasses.fields(cls) if is_stored(field)}
        given = {key: from_record(item) for key, item in data.items() if key not in ("is", "version")}
        if unknown := sorted(given.keys() - known.keys()):
            raise RunError(f"the run sets {name}.{unknown[0]}, which this version of resdx does not know")
        try:
            return cls(**{known[key]: item for key, item in given.items()})
        except RecipeError as error:
            raise RunError(
                f"the run does not fit this version of resdx: {error}; open it with the version that wrote it"
            ) from error
    if isinstance(data, list):
        return tuple(from_record(item) for item in data)
    return data


def json_schema(cls: Any) -> Record:
    """The JSON schema (2020-12) of what `to_record` makes of a record of this class.

    Types, choices, ranges and defaults of all that is in it.
    """
    schema: Record = adapter(cls).json_schema()
    known = {one.__name__: one for one in _KNOWN.values()}
    for name, part in ((cls.__name__, schema), *schema.get("$defs", {}).items()):
        part |= _as_stored(known[name], part)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _as_stored(cls: Any, schema: Record) -> Record:
    """What the schema of one class becomes with the names, defaults and tag that are stored."""
    tags = {"is": getattr(cls, TAG)} | ({"version": cls.version} if hasattr(cls, "version") else {})
    properties: Record = {key: {"const": tag} for key, tag in tags.items()}
    required = list(tags)
    for field in filter(is_stored, dataclasses.fields(cls)):
        default = _default(field)
        stored = {} if default is dataclasses.MISSING else {"default": to_record(default)}
        properties[stored_name(field)] = schema["properties"][field.name] | stored
        required += [] if stored else [stored_name(field)]
    return {"properties": properties, "required": required}


def set_field(value: T, dotted: str, text: str) -> T:
    """Give back `value` with the field at `dotted` parsed from `text` by its type.

    Such a field is "learn.epochs" or "prepare.0.size".

    Raises:
        RecipeError: there is no such field (the nearest name is suggested), or the text does not fit its type.
    """
    return typing.cast(T, _set(value, dotted.split("."), text, dotted))


def _set(value: Any, keys: list[str], text: str, dotted: str) -> Any:
    key, *rest = keys
    prefix = ".".join(dotted.split(".")[: -len(keys)])
    if isinstance(value, tuple) and key.isdigit() and int(key) < len(value):
        items = list(value)
        if not rest:
            raise RecipeError(f"{dotted} names a whole step; set one of its fields, such as {dotted}.size")
        items[int(key)] = _set(items[int(key)], rest, text, dotted)
        return tuple(items)
    if not dataclasses.is_dataclass(value):
        raise RecipeError(f"no field {dotted!r}: {prefix} has no parts")
    cls: Any = type(value)
    key = _by_stored_name(cls).get(key, key)  # a stored search names its fields so
    kinds = _kinds(cls)
    if key not in kinds:
        raise RecipeError(f"no field {dotted!r}; {_suggest(key, list(kinds), prefix)}")
    new = _set(getattr(value, key), rest, text, dotted) if rest else _parse(text, kinds[key], dotted)
    return dataclasses.replace(typing.cast(Any, value), **{key: new})


def _parse(text: str, kind: Any, place: str) -> Any:
    kinds = [_bare(one) for one in _parts(kind)]
    if type(None) in kinds and text.lower() in ("none", ""):
        return None
    for one in kinds:
        origin = typing.get_origin(one) or one
        try:
            if origin is bool:
                return {"true": True, "false": False, "yes": True, "no": False}[text.lower()]
            if origin in (int, float, str):
                return origin(text)
            if origin is Literal:
                return {str(choice): choice for choice in typing.get_args(one)}[text]
            if origin is tuple:
                inner = (typing.get_args(one) or (str,))[0]
                return tuple(_parse(part.strip(), inner, place) for part in text.split(",") if part.strip())
        except (KeyError, ValueError):
            continue
    raise RecipeError(refusal(place, text, kind))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return dataclasses.MISSING


@functools.cache
def _kinds(cls: Any) -> dict[str, Any]:
    """The type of each field that is set, with its range."""
    kinds = typing.get_type_hints(cls, include_extras=True)
    return {field.name: kinds[field.name] for field in dataclasses.fields(cls) if field.init}


def _by_stored_name(cls: type) -> dict[str, str]:
    return {stored_name(field): field.name for field in dataclasses.fields(cls) if is_stored(field)}


def _bare(kind: Any) -> Any:
    """A type without its range."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


def _parts(kind: Any) -> tuple[Any, ...]:
    """The types that a union allows; of another type itself."""
    return typing.get_args(kind) if typing.get_origin(kind) in (types.UnionType, typing.Union) else (kind,)


def _sentence(cls: type, placed: int, error: ValidationError) -> str:
    """What is wrong with the values of a record, of which `placed` were given by position."""
    kinds = _kinds(cls)
    every = error.errors(include_url=False)
    first = next((one for one in every if one["type"] == "unexpected_keyword_argument"), every[0])
    if not first["loc"]:
        return f"{cls.__name__}: {first['msg'].removeprefix('Value error, ')}"
    at, *inner = first["loc"]
    if first["type"] == "unexpected_positional_argument":
        return f"{cls.__name__} takes {together(list(kinds), 'and') or 'no values'}, not {count(placed, 'value')} by position"
    name = list(kinds)[at] if isinstance(at, int) else at
    if first["type"] == "unexpected_keyword_argument":
        return f"{cls.__name__} has no field {name!r}; {_suggest(_by_stored_name(cls).get(name, name), list(kinds), '')}"
    if first["type"] == "missing" and not inner:
        return f"{cls.__name__}.{name} is missing: it takes {words(kinds[name])}"
    if first["type"] == "multiple_argument_values":
        return f"{cls.__name__}.{name} is given twice, by position and by name; leave one out"
    inside = first["type"] != "missing" and any(isinstance(key, int) for key in inner)
    return refusal(f"{cls.__name__}.{name}", first["input"], kinds[name], inside=inside)


def _suggest(key: str, names: list[str], prefix: str) -> str:
    near = difflib.get_close_matches(key, names, 1)
    dot = f"{prefix}." if prefix else ""
    if near:
        return f"did you mean {dot}{near[0]}?"
    return f"there are {', '.join(dot + name for name in names)}" if names else "it has none"
