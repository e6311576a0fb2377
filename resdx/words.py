"""What a type takes, in words, and that a value is none of it.

These are the sentences of settings that do not fit.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, Unit

SHOWN = 80  # characters of a wrong value in a message
NOUNS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("a string", "strings"),
    Any: ("any value", "values"),
}


def refusal(place: str, value: Any, kind: Any, *, inside: bool = False) -> str:
    """That a field cannot be `value`, with the nearest choice.

    Where `value` stands `inside` a tuple, that the field cannot hold it.
    """
    choices = [choice for choice in choices_of(kind) if isinstance(choice, str) and choice]
    near = difflib.get_close_matches(value, choices, 1) if isinstance(value, str) else []
    shown = value if len(value := repr(value)) <= SHOWN else f"{value[:SHOWN]}..."
    if near:
        return f"{place} cannot be {shown}; did you mean {near[0]!r}? ({together(choices)})"
    return f"{place} cannot {'hold' if inside else 'be'} {shown}: it takes {words(kind)}"


def choices_of(kind: Any) -> list[Any]:
    """The values of the literals in a type."""
    inner = typing.get_args(kind)
    return list(inner) if typing.get_origin(kind) is Literal else [value for one in inner for value in choices_of(one)]


def words(kind: Any, many: bool = False) -> str:
    """What a type takes, in words: "a whole number from 16 to 4096 pixels".

    Of `many`: "whole numbers from 16 to 4096 pixels".
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _with_range(inner[0], inner[1:], many)
    if origin in (types.UnionType, typing.Union):
        return together([words(one, many) for one in inner])
    if origin is Literal:
        return together(list(map(repr, inner)))
    if origin is tuple and inner[1:] == (...,):
        return f"{'tuples' if many else 'a tuple'} of {words(inner[0], True)}"
    if origin is tuple:
        noun = {1: "one value", 2: "pairs" if many else "a pair"}.get(len(inner), f"{len(inner)} values")
        alike = len(set(inner)) == 1
        return f"{noun} of {words(inner[0], True) if alike else together([words(one) for one in inner], 'and')}"
    if kind in NOUNS:
        return NOUNS[kind][many]
    name = "None" if kind is type(None) else getattr(kind, "__name__", str(kind))
    return f"{name}()" if dataclasses.is_dataclass(kind) else name


def _with_range(kind: Any, limits: tuple[Any, ...], many: bool) -> str:
    """The words of a type with its range and unit, or with how many values a tuple holds."""
    least = next((limit for limit in limits if isinstance(limit, Ge | Gt)), None)
    most = next((limit for limit in limits if isinstance(limit, Le | Lt)), None)
    unit = "".join(f" {limit.unit}" for limit in limits if isinstance(limit, Unit))
    fewest = next((limit.min_length for limit in limits if isinstance(limit, MinLen)), 0)
    largest = next((limit.max_length for limit in limits if isinstance(limit, MaxLen)), None)
    if fewest or largest:
        noun = words(typing.get_args(kind)[0], True) if kind is not str else "characters"
        whole = "string" if kind is str else "tuple"
        often = _how_many(fewest, largest)
        return f"{whole}s of {often} {noun}" if many else f"a {whole} of {often} {noun}"
    return f"{words(kind, many)}{_range(least, most)}{unit}"


def _how_many(fewest: int, largest: int | None) -> str:
    if largest:
        return f"{fewest} to {largest}" if fewest else f"up to {largest}"
    return "one or more" if fewest == 1 else f"{fewest} or more"


def _range(least: Any, most: Any) -> str:
    open_below = isinstance(least, Gt)
    low = "" if least is None else f"{least.gt if open_below else least.ge:g}"
    high = "" if most is None else f"{most.lt if isinstance(most, Lt) else most.le:g}"
    below = "below " if isinstance(most, Lt) else ""
    if low and high:
        return f" above {low} and {below or 'up to '}{high}" if open_below else f" from {low} to {below}{high}"
    if low:
        return f" above {low}" if open_below else f" of at least {low}"
    return f" {below or 'of at most '}{high}" if high else ""


def together(names: list[str], word: str = "or") -> str:
    """ "a, b or c"."""
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
