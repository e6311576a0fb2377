"""Where a layout is drawn: its folder, persons and films, and random numbers of their own for each."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...files import write_text
from ..cases import Box
from .film import NORMAL, OPACITY, Pixels, draw_film, draw_person


@dataclass(frozen=True)
class Sheet:
    """Draws the persons of one set: person `number` with or without an opacity, film by film."""

    folder: Path
    persons: int
    seed: int

    def film(self, number: int, ill: bool, k: int = 0) -> tuple[Pixels, Box | None]:
        """Pixels (64, 64) and the box of the opacity."""
        return draw_film(draw_person(hash_of(self.seed, number), OPACITY if ill else NORMAL), k, SIZE)

    def picture(self, path: str, number: int, ill: bool, k: int = 0, *, tint: str = "") -> str:
        """Write a film as a picture, in colour where a tint is named; gives back the path."""
        pixels, _ = self.film(number, ill, k)
        whole = (pixels[..., None] * np.array(TINTS[tint])).astype(np.uint8) if tint else pixels
        return self.save(path, whole)

    def save(self, path: str, pixels: Pixels) -> str:
        """Write pixels as a picture below the folder; gives back the path."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(self.folder / path)
        return path

    def table(self, path: str, rows: Iterable[Sequence[object]]) -> None:
        """Write a CSV below the folder."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(rows)
        self.text(path, out.getvalue())

    def text(self, path: str, text: str) -> None:
        """Write a text below the folder."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / path, text)

    def turn(self, kinds: int) -> list[tuple[int, int]]:
        """(number from 0, kind) of every person; the kinds come in turn."""
        return [(i, i % kinds) for i in range(self.persons)]


def hash_of(*key: int) -> int:
    """A seed that differs for every key."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big")


SIZE = 64  # pixels
TINTS = {"stain": (1.0, 0.7, 0.9), "fundus": (1.0, 0.55, 0.3)}
