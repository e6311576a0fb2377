"""Maps drawn over pictures, for people."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

SIDE = 448  # pixels of a picture that is written for somebody to look at
CAPTION = 18  # pixels of the line below it


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.floating]) -> Image.Image:
    """A map (h, w) over a dimmed grey picture (S, S, C); a line runs at half of the peak.

    The map is enlarged so that the centre of a cell stays where it was. The colours are matplotlib's inferno, whose lightness grows evenly
    with the heat: it reads in greyscale and for colour-blind readers.
    """
    side = (picture.shape[1], picture.shape[0])
    large = np.asarray(Image.fromarray(np.asarray(heat, np.float32)).resize(side, Image.Resampling.BILINEAR))
    grey = np.repeat(picture.mean(2, keepdims=True), 3, 2) / 255
    share = large / large.max() if large.max() > 0 else np.zeros_like(large)
    cover = 0.8 * share[..., None] ** 1.5
    mixed = (1 - cover) * 0.75 * grey + cover * colormaps["inferno"](share)[..., :3]
    inside = share >= 0.5
    mixed[inside & ~binary_erosion(inside, border_value=1)] = 1
    return Image.fromarray(np.round(255 * mixed).astype(np.uint8))


def captioned(drawn: Image.Image, text: str) -> Image.Image:
    """The picture at a size to look at, with a line of text below it."""
    scale = max(1, SIDE // drawn.width)
    page = Image.new("RGB", (scale * drawn.width, scale * drawn.height + CAPTION), "white")
    page.paste(drawn.resize((scale * drawn.width, scale * drawn.height), Image.Resampling.BICUBIC))
    ImageDraw.Draw(page).text((4, page.height - CAPTION + 3), text, fill="black")
    return page
