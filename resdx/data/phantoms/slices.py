"""Slices and an eye of known shape, for steps that look for an organ.

Float32 (S, S, C) in [0, 1] and where the organ is, (S, S).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


def draw_chest_slice(seed: int, *, size: int = 256, opacity: bool = True) -> tuple[Array, Mask]:
    """An axial CT slice in a lung window, and its lungs; with `opacity` a part of one lung is clouded."""
    rng = np.random.default_rng([seed, 1])
    x, y = _grid(size)
    body = _ellipse(x, y, 0, 0, 0.88, 0.66)
    wide, tall = rng.uniform(0.26, 0.32), rng.uniform(0.38, 0.46)
    lungs = _ellipse(x, y, -0.4, -0.05, wide, tall) | _ellipse(x, y, 0.4, -0.05, wide, tall)
    heart = _ellipse(x, y, 0.12, -0.16, rng.uniform(0.2, 0.26), 0.24)
    lungs &= ~heart
    picture = np.where(body, rng.uniform(0.6, 0.7), 0.02)
    picture[lungs] = 0.12
    for _ in range(60):  # vessels, seen end on
        at = rng.uniform((-0.65, -0.45), (0.65, 0.35))
        picture[_ellipse(x, y, *at, *rng.uniform(0.006, 0.02, 2)) & lungs] = 0.45
    if opacity:
        side = rng.choice((-1, 1))
        cloud = gaussian_filter(rng.normal(size=(size, size)), size / 40)
        place = _ellipse(x, y, side * 0.45, 0.1, 0.18, 0.2) & lungs
        picture[place] += np.clip(0.22 + 6 * cloud[place], 0, 0.5)
    picture[_ellipse(x, y, 0, 0.5, 0.09, 0.11) & body] = 0.95  # the spine
    return _finished(picture, rng, noise=0.02), lungs


def draw_head_slice(seed: int, *, size: int = 256, tumour: bool = True) -> tuple[Array, Mask]:
    """An axial MR slice, off the middle of a dark picture, and its head; with `tumour` a bright round one."""
    rng = np.random.default_rng([seed, 2])
    x, y = _grid(size)
    dx, dy, wide, tall = rng.uniform(-0.15, 0.15), rng.uniform(-0.1, 0.1), rng.uniform(0.5, 0.58), rng.uniform(0.62, 0.7)
    head = _ellipse(x, y, dx, dy, wide, tall)
    picture = np.where(head, 0.75, 0.01)  # the scalp
    picture[_ellipse(x, y, dx, dy, 0.92 * wide, 0.93 * tall)] = 0.08  # the skull
    brain = _ellipse(x, y, dx, dy, 0.84 * wide, 0.86 * tall)
    folds = gaussian_filter(rng.normal(size=(size, size)), size / 60)
    picture[brain] = np.clip(0.42 + 2.2 * folds[brain], 0.2, 0.7)
    for side in (-1, 1):
        picture[_ellipse(x, y, dx + side * 0.09, dy, 0.05, 0.16)] = 0.15  # the ventricles
    if tumour:
        at = rng.choice((-1, 1)) * rng.uniform(0.2, 0.28), rng.uniform(-0.3, 0.2)
        picture[_ellipse(x, y, dx + at[0], dy + at[1], 0.1, 0.1)] = 0.95
    return _finished(picture, rng, noise=0.015), head


def draw_eye(seed: int, *, size: int = 256, lesions: bool = True) -> tuple[Array, Mask]:
    """A fundus photograph in colour, lit unevenly, and the disc of the eye.

    With `lesions` dark red dots and bright spots.
    """
    rng = np.random.default_rng([seed, 3])
    x, y = _grid(size)
    eye = np.hypot(x, y) < 0.92
    light = 0.75 + 0.25 * (rng.uniform(-1, 1) * x + rng.uniform(-1, 1) * y)
    picture = np.array([0.78, 0.36, 0.16]) * light[..., None]
    side = rng.choice((-1, 1))
    for k in range(10):  # vessels leave the optic disc as curves
        t = np.linspace(0, 1, 4 * size)
        angle, bend = k * np.pi / 5 + rng.normal(0, 0.2), rng.normal(0, 0.8)
        at = np.clip(np.stack([side * 0.45 - t * np.cos(angle + bend * t), t * np.sin(angle + bend * t)]), -0.999, 0.999)
        columns, rows = ((at + 1) / 2 * size).astype(int)
        picture[rows, columns] *= 0.45
    picture = gaussian_filter(picture, (size / 250, size / 250, 0))
    disc = _ellipse(x, y, side * 0.45, 0, 0.13, 0.15)
    picture[disc] = np.array([0.95, 0.75, 0.45])
    for colour, count in (((0.4, 0.08, 0.05), 14), ((0.98, 0.85, 0.5), 8)) if lesions else ():
        for _ in range(count):
            picture[_ellipse(x, y, *rng.uniform(-0.6, 0.6, 2), *rng.uniform(0.008, 0.022, 2))] = colour
    picture[~eye] = 0
    return _finished(picture, rng, noise=0.01), eye


def _grid(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x to the right and y down, from -1 to 1."""
    line = (np.arange(size) + 0.5) / size * 2 - 1
    return np.meshgrid(line, line)


def _ellipse(x: NDArray[np.float64], y: NDArray[np.float64], at_x: float, at_y: float, wide: float, tall: float) -> Mask:
    return ((x - at_x) / wide) ** 2 + ((y - at_y) / tall) ** 2 < 1


def _finished(picture: NDArray[np.float64], rng: np.random.Generator, *, noise: float) -> Array:
    """Blurred a little, noisy, with a last axis of channels."""
    whole = picture if picture.ndim == 3 else picture[..., None]
    blurred = gaussian_filter(whole, (whole.shape[0] / 300, whole.shape[0] / 300, 0))
    return np.clip(blurred + rng.normal(0, noise, whole.shape), 0, 1).astype(np.float32)
