"""Maps drawn over pictures, for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from ..data.cases import Box

SIDE = 448  # pixels of a picture that is written for somebody to look at
CAPTION = 18  # pixels of the line below it
FOUND, THERE = "#e69f00", "#56b4e9"  # of boxes
LETTERS = 14  # pixels of their names
DASH = 5  # pixels of a dash of their line


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.floating]) -> Image.Image:
    """A map (h, w) over a dimmed grey picture (S, S, C); a line runs at half of the peak.

    The map is enlarged so that the centre of a cell stays where it was. The colours are matplotlib's inferno, whose lightness
    grows evenly
    with the heat: it reads in greyscale and for colour-blind readers.
    """
    side = (picture.shape[1], picture.shape[0])
    large = np.asarray(Image.fromarray(np.asarray(heat, np.float32)).resize(side, Image.Resampling.BILINEAR))
    grey = np.repeat(picture.mean(2, keepdims=True), 3, 2) / 255
    share = large / large.max() if large.max() > 0 else np.zeros_like(large)
    cover = 0.8 * share[..., None] ** 1.5
    mixed = (1 - cover) * 0.75 * grey + cover * colormaps["inferno"](share)[..., :3]
    inside = share >= 0.5
    mixed[inside & ~binary_erosion(inside, border_value=1)] = 1  # the outline of what is at least half the peak
    return Image.fromarray(np.round(255 * mixed).astype(np.uint8))


def boxed(picture: NDArray[np.uint8], found: Sequence[Box], there: Sequence[Box] = ()) -> Image.Image:
    """A prepared picture (S, S, C) with boxes in fractions of it.

    Those found are orange with name and score, those that are there a broken blue line. The colours are told apart by
    colour-blind readers, and the lines by anybody (Okabe and Ito).
    """
    scale = max(1, SIDE // picture.shape[1])
    side = scale * picture.shape[1]
    page = Image.fromarray(np.repeat(picture, 3 // picture.shape[2], 2)).resize((side, side), Image.Resampling.BICUBIC)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(LETTERS)
    for box in there:
        _broken(pen, *(side * value for value in (box.x1, box.y1, box.x2, box.y2)))
    for box in found:
        corners = tuple(side * value for value in (box.x1, box.y1, box.x2, box.y2))
        pen.rectangle(corners, outline=FOUND, width=2)
        text = f"{box.label} {box.score:.2f}"
        left, top = corners[0], max(0.0, corners[1] - LETTERS - 3)
        pen.rectangle(pen.textbbox((left, top), text, font=font), fill=FOUND)
        pen.text((left, top), text, fill="black", font=font)
    return page


def _broken(pen: ImageDraw.ImageDraw, x1: float, y1: float, x2: float, y2: float) -> None:
    """A rectangle of dashes."""
    for x in np.arange(x1, x2, 2 * DASH):
        for y in (y1, y2):
            pen.line((x, y, min(x + DASH, x2), y), fill=THERE, width=2)
    for y in np.arange(y1, y2, 2 * DASH):
        for x in (x1, x2):
            pen.line((x, y, x, min(y + DASH, y2)), fill=THERE, width=2)


def captioned(drawn: Image.Image, text: str) -> Image.Image:
    """The picture at a size to look at, with a line of text below it."""
    scale = max(1, SIDE // drawn.width)
    page = Image.new("RGB", (scale * drawn.width, scale * drawn.height + CAPTION), "white")
    page.paste(drawn.resize((scale * drawn.width, scale * drawn.height), Image.Resampling.BICUBIC))
    ImageDraw.Draw(page).text((4, page.height - CAPTION + 3), text, fill="black")
    return page


def short_name(name: str) -> str:
    """A file's name that fits where names may have 255 bytes, with a number before it and a suffix."""
    return name.encode()[:200].decode(errors="ignore")
