"""Random steps for training, drawn for a whole batch at once and applied on the model's device.

A geometric step turns its draws into (B, 2, 3) matrices, a photometric one maps (B, C, H, W). `apply` composes all the
matrices of a batch and resamples once. Draws come from (seed, epoch, case), never from a generator's state: the same
case in the same epoch is varied alike in any order, batch size or resumed run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from ..records import FractionAbove0, FractionBelow1, record

LEFT = 0.3  # share of a box that must stay in a varied picture


@runtime_checkable
class RandomStep(Protocol):
    """What `apply` calls: `draws` uniform numbers in [0, 1) a case, and one of `matrix` and `colour`."""

    draws: ClassVar[int]


@record
class Flip:
    """Mirror left-right, and up-down where `vertical`, each in half of the cases.

    For organs with a side (heart, liver) a mirrored picture is another finding: leave it out of chest recipes.
    """

    draws: ClassVar[int] = 2
    horizontal: bool = True
    vertical: bool = False

    def matrix(self, uniform: Tensor) -> Tensor:
        """(B, 2) draws -> (B, 2, 3)."""
        sign = torch.where(uniform < 0.5, -1.0, 1.0)  # (B, 2)
        on = torch.tensor([self.horizontal, self.vertical], device=uniform.device)
        return torch.cat([torch.diag_embed(torch.where(on, sign, 1.0)), torch.zeros_like(sign)[..., None]], -1)


@record
class Affine:
    """Turn by up to `degrees`, scale by up to `scale`, shift by up to `shift` (both shares of the side),
    shear by up to `shear` degrees.
    """

    draws: ClassVar[int] = 5
    degrees: float = 7.0
    scale: FractionBelow1 = 0.1
    shift: FractionBelow1 = 0.05
    shear: float = 0.0

    def matrix(self, uniform: Tensor) -> Tensor:
        """(B, 5) draws -> (B, 2, 3)."""
        turn, zoom, dx, dy, shear = (uniform * 2 - 1).unbind(1)
        angle, slant = torch.deg2rad(turn * self.degrees), torch.deg2rad(shear * self.shear)
        factor = torch.exp(zoom * float(np.log1p(self.scale)))  # as often smaller as larger
        cos, sin = torch.cos(angle) * factor, torch.sin(angle) * factor
        # A turn and a zoom after a shear: [[cos, -sin], [sin, cos]] [[1, tan], [0, 1]].
        first = torch.stack([cos, -sin + cos * torch.tan(slant), 2 * dx * self.shift], 1)  # the side is 2 long
        second = torch.stack([sin, cos + sin * torch.tan(slant), 2 * dy * self.shift], 1)
        return torch.stack([first, second], 1)


@record("Crop")
class RandomResizedCrop:
    """Cut out a square of `min_area` to all of the area anywhere in the picture (Szegedy et al.

    2015), and enlarge it to the whole.
    """

    draws: ClassVar[int] = 3
    min_area: FractionAbove0 = field(default=0.35, metadata={"stored": "least"})

    def matrix(self, uniform: Tensor) -> Tensor:
        """(B, 3) draws -> (B, 2, 3)."""
        side = (self.min_area + (1 - self.min_area) * uniform[:, 0]).sqrt()  # (B,)
        centre = (uniform[:, 1:] * 2 - 1) * (1 - side)[:, None]  # the picture is from -1 to 1
        return torch.cat([torch.diag_embed(side[:, None].expand(-1, 2)), centre[..., None]], -1)


@record("Tone")
class ColorJitter:
    """Vary brightness and contrast by up to these shares and gamma by up to a factor of 1 + `gamma`."""

    draws: ClassVar[int] = 3
    brightness: float = 0.1
    contrast: float = 0.2
    gamma: float = 0.2

    def colour(self, images: Tensor, uniform: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] and (B, 3) draws -> (B, C, H, W) in [0, 1]."""
        light, spread, power = (uniform * 2 - 1)[..., None, None, None].unbind(1)  # (B, 1, 1, 1) each
        centre = images.mean((1, 2, 3), keepdim=True)
        images = (images - centre) * (1 + spread * self.contrast) + centre + light * self.brightness
        return images.clamp(0, 1).clamp_min(1e-4) ** torch.exp(power * float(np.log1p(self.gamma)))


@record("Tint")
class ChannelJitter:
    """Multiply red, green and blue by up to a factor of 1 + `strength` each.

    Another stain or another camera; a grey picture gets a colour.
    """

    draws: ClassVar[int] = 3
    strength: float = 0.3

    def colour(self, images: Tensor, uniform: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) in [0, 1] and (B, 3) draws -> (B, 3, H, W) in [0, 1]."""
        factor = torch.exp((uniform * 2 - 1) * float(np.log1p(self.strength)))  # (B, 3): as often darker as brighter
        return (images * factor[..., None, None]).clamp(0, 1)


@record("Erase")
class RandomErasing:
    """Grey out one rectangle of up to `fraction` of the area in half of the cases (Zhong et al.

    2020), so that no single spot decides.
    """

    draws: ClassVar[int] = 4
    fraction: float = field(default=0.1, metadata={"stored": "share"})

    def colour(self, images: Tensor, uniform: Tensor) -> Tensor:
        """(B, C, H, W) and (B, 4) draws -> (B, C, H, W)."""
        height, width = images.shape[-2:]
        side = (uniform[:, 0] * self.fraction).sqrt() * (uniform[:, 3] < 0.5)  # 0 where nothing is erased
        rows = torch.arange(height, device=images.device) / height
        columns = torch.arange(width, device=images.device) / width
        top, left = uniform[:, 1] * (1 - side), uniform[:, 2] * (1 - side)
        tall = (rows >= top[:, None]) & (rows < (top + side)[:, None])
        wide = (columns >= left[:, None]) & (columns < (left + side)[:, None])
        hole = (tall[:, :, None] & wide[:, None, :])[:, None]  # (B, 1, H, W)
        return torch.where(hole, images.mean((1, 2, 3), keepdim=True), images)


def uniforms(keys: NDArray[np.uint64], *, seed: int, epoch: int, count: int, stream: str = "") -> NDArray[np.float32]:
    """(B,) case keys -> (B, count) uniform numbers in [0, 1).

    They depend on (seed, epoch, stream, case) alone. SplitMix64 (Steele, Lea and Flood 2014) over a counter: no state, so a
    resumed run draws what an unbroken one draws.
    """
    start = np.uint64(int.from_bytes(hashlib.sha256(f"{seed}|{epoch}|{stream}".encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        x = (
            keys[:, None] * np.uint64(0xD1342543DE82EF95)
            # the increment of SplitMix64: 2^64 over the golden ratio
            + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            + start
        )
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return ((x >> np.uint64(40)).astype(np.float32)) / np.float32(1 << 24)  # 24 bits, as many digits as a float32 has


def case_keys(ids: Sequence[str]) -> NDArray[np.uint64]:
    """One 64-bit key a case id."""
    return np.array([int.from_bytes(hashlib.sha256(case.encode()).digest()[:8], "little") for case in ids], np.uint64)


def apply(
    steps: Sequence[RandomStep], images: Tensor, keys: NDArray[np.uint64], *, seed: int, epoch: int, size: int | None = None
) -> Tensor:
    """Vary a batch.

    Every geometric step is composed, pictures are resampled once to `size`, then colours are changed in order.

    Args:
        images: (B, C, H, W) float in [0, 1]
        keys: (B,) from `case_keys`
        size: pixels of the result (default: as it came)

    Returns:
        (B, C, size, size) float in [0, 1]
    """
    size = size or images.shape[-1]
    parts = _drawn(steps, keys, seed, epoch, images.device)
    matrix = _matrix(steps, parts)
    if matrix is None:
        images = resize(images, size)
    else:
        # A sampling grid is inverse to the move of the picture; a random move and its inverse are drawn alike.
        grid = affine_grid(matrix, [len(images), 1, size, size], align_corners=False)
        # the most that a crop enlarges
        enlarged = max((step.min_area**-0.5 for step in steps if isinstance(step, RandomResizedCrop)), default=1.0)
        detail = max(size, min(images.shape[-1], round(size * enlarged)))  # that a crop will show
        images = grid_sample(resize(images, detail), grid, padding_mode="zeros", align_corners=False)
    for step, part in zip(steps, parts, strict=True):
        if hasattr(step, "colour"):
            images = step.colour(images, part)
    return images


def move_boxes(steps: Sequence[RandomStep], boxes: Tensor, keys: NDArray[np.uint64], *, seed: int, epoch: int) -> Tensor:
    """Move boxes (B, M, 5) as `apply` moves their pictures: a class, then x1, y1, x2, y2 in shares.

    NaN for none.

    Of a turned box the rectangle around it. A box of which less than LEFT stays in the picture is gone.
    """
    matrix = _matrix(steps, _drawn(steps, keys, seed, epoch, boxes.device))
    if matrix is None:
        return boxes
    corners = (
        boxes[:, :, [1, 2, 3, 2, 1, 4, 3, 4]].reshape(*boxes.shape[:2], 4, 2) * 2 - 1
    )  # the picture is from -1 to 1, as for affine_grid
    turn, shift = matrix[:, None, None, :, :2], matrix[:, None, None, :, 2]
    # The matrix leads from the varied picture to the plain one, and boxes go the other way.
    moved = torch.linalg.solve(turn, (corners - shift)[..., None])[..., 0] / 2 + 0.5
    whole = torch.cat([moved.amin(2), moved.amax(2)], 2)
    inside = whole.clamp(0, 1)
    area, left = ((one[..., 2:] - one[..., :2]).prod(2, keepdim=True) for one in (whole, inside))
    return torch.where(left >= LEFT * area, torch.cat([boxes[:, :, :1], inside], 2), torch.nan)


def _drawn(
    steps: Sequence[RandomStep], keys: NDArray[np.uint64], seed: int, epoch: int, where: torch.device
) -> tuple[Tensor, ...]:
    """The numbers of each step, (B, draws)."""
    draws = torch.from_numpy(uniforms(keys, seed=seed, epoch=epoch, count=sum(step.draws for step in steps)))
    return torch.split(draws.to(where), [step.draws for step in steps], 1)


def _matrix(steps: Sequence[RandomStep], parts: Sequence[Tensor]) -> Tensor | None:
    """(B, 2, 3) of all geometric steps together, from places in the varied picture to places in the plain
    one; None without any.
    """
    matrix = None
    for step, part in zip(steps, parts, strict=True):
        if hasattr(step, "matrix"):
            matrix = step.matrix(part) if matrix is None else compose(matrix, step.matrix(part))
    return matrix


def compose(first: Tensor, second: Tensor) -> Tensor:
    """(B, 2, 3) after (B, 2, 3): one matrix that does both."""
    return torch.cat([first[:, :, :2] @ second[:, :, :2], first[:, :, :2] @ second[:, :, 2:] + first[:, :, 2:]], -1)


def resize(images: Tensor, size: int) -> Tensor:
    """(B, C, H, W) to `size` by `size`, anti-aliased when it shrinks."""
    if images.shape[-2:] == (size, size):
        return images
    return interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


NAMES = ("Flip", "Affine", "RandomResizedCrop", "ColorJitter", "ChannelJitter", "RandomErasing")
