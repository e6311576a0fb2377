"""What can go wrong, as a tree; every message is one sentence that says what, where and what to do.

ResdxError
├── DataError      a file, table or folder of the user cannot be used as it is
├── RecipeError    a recipe, step, model or setting is wrong
├── WeightsError   starting weights are absent, foreign or do not fit
├── RunError       a run directory is missing a stage, is of another version or cannot be written
│   └── AbsentResultError   a stage that comes first has not been run yet
└── AuditStop      the audit found something that must be settled or accepted first
"""

from __future__ import annotations

import importlib
from types import ModuleType


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 person", "2 persons", "1,200 images", "2 classes": a number and its noun, for a sentence."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


class ResdxError(Exception):
    """The root: catching it catches everything resdx raises on purpose."""


class DataError(ResdxError):
    """A file, table or folder of the user cannot be used as it is."""


class RecipeError(ResdxError):
    """A recipe, step, model or setting is wrong."""


class WeightsError(ResdxError):
    """Starting weights are absent, foreign or do not fit."""


class RunError(ResdxError):
    """A run directory misses a stage, is of another version or cannot be written."""


class AbsentResultError(RunError):
    """A stage that would write what is needed has not been run yet, so there is nothing to read."""


class AbsentWeightsError(WeightsError):
    """Published weights are neither here nor to be fetched."""


class AuditStop(ResdxError):
    """The audit found something that must be settled, or accepted by its code, before training."""


def optional(library: str, *, extra: str, what: str, error: type[ResdxError] = DataError) -> ModuleType:
    """Import a library of an extra at its first use.

    Those who do not need it neither install nor load it.

    Args:
        library: what to import, such as "nibabel".
        extra: the name behind `pip install "resdx[...]"`.
        what: what needs it, as a sentence begins: "reading NIfTI files".
        error: what to raise where it is absent.

    Raises:
        ResdxError: of the kind `error`, with the command that installs it.
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as absent:
        raise error(f'{what} needs {absent.name}, which is not installed; run: pip install "resdx[{extra}]"') from absent
