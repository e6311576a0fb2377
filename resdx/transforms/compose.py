"""A read step and the prepare steps after it, as one call.

What the workers of `prepare` and `predict` run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ResdxError


@runtime_checkable
class Step(Protocol):
    """What a recipe's `read` and `prepare` take.

    It is a record that turns what it `takes` ("path", "image") into what it `gives`.
    """

    takes: str
    gives: str

    def __call__(self, given: Any, /) -> Any: ...


def prepare_image(path: str, read: Callable[[str], Any], steps: Sequence[Callable[[Any], Any]]) -> NDArray[np.uint8]:
    """One picture as the network gets it: (S, S, C) uint8, rounded.

    Raises DataError when it cannot be read.
    """
    image = read(path)
    for step in steps:
        image = step(image)
    if not np.isfinite(image).all():
        raise DataError(f"{path}: holds values that are not finite after {type(steps[-1]).__name__}; check the file")
    return np.asarray(np.round(image * 255), np.uint8)


def prepare_images(
    paths: Sequence[str], read: Callable[[str], Any], steps: Sequence[Callable[[Any], Any]]
) -> list[NDArray[np.uint8] | str]:
    """Pictures in order; for one that failed the sentence that says why."""
    out: list[NDArray[np.uint8] | str] = []
    for path in paths:
        try:
            out.append(prepare_image(path, read, steps))
        except ResdxError as error:
            out.append(str(error))
    return out
