"""Whether two pictures are one: thumbnails aligned (Lucas and Kanade 1981,
affine with gain and offset), their fine structure compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

BATCH = 256  # pairs aligned at once
GLANCE = (2.0, 16, 2)  # at the coarse structure of a pair: blur in pixels of the thumbnail, samples a side, steps of alignment
STRANGERS = 256  # pairs that say what agreement means nothing
FEW = 0.98  # share of them that agree less than it takes to be worth an alignment
ALIKE = 0.95  # coarse agreement that always is


# Of the alignment: blur, samples a side, steps, and the agreement of the fine structure below which it is not worth it.
ALIGNMENT = ((2.0, 16, 6, -1.0), (1.2, 32, 3, 0.5))
NOISE = 1.0  # squared grey levels of a thumbnail (of 255) that are noise, so that an outline alone does not decide
SEEN = 0.4  # least share of the frame that both pictures show


def blur(pictures: Floats, width: float) -> Floats:
    """Gaussian blur of (N, 64, 64), `width` in pixels of the thumbnail, as two products of matrices."""
    # (64, 64): what the blur makes of each single pixel
    kernel = gaussian_filter1d(np.eye(SIDE, dtype=np.float32), width, axis=0, mode="nearest")
    return np.asarray(kernel @ pictures @ kernel.T, np.float32)


def fine_structure(pictures: Floats) -> Floats:
    """The fine structure that decides, divided by the local contrast, which undoes gamma and windowing."""
    fine = blur(pictures, 0.7) - blur(pictures, 2)  # a difference of Gaussians keeps widths of about a pixel
    local = blur(fine**2, 4)
    return np.asarray(fine / np.sqrt(local + NOISE), np.float32)


def similarity(thumbnails: Bytes, first: Ints, second: Ints, motion: Floats, alike: float) -> Floats:
    """Move `second` onto `first`, starting at `motion`, and correlate where both are seen.

    Only the fine structure is compared.

    A pair whose coarse structure does not agree by `alike` is given up at once.
    """
    needed, at = np.unique(np.concatenate([first, second]), return_inverse=True)  # each picture once
    first, second = at[: len(first)], at[len(first) :]
    pictures = thumbnails[needed].astype(np.float32)
    hopeful = _glance(blur(pictures, GLANCE[0]), first, second, motion, alike)
    score = np.full(len(first), -1, np.float32)
    if not len(hopeful):
        return score
    fine = fine_structure(pictures)
    score[hopeful] = _agreement(fine, first[hopeful], second[hopeful], motion[hopeful], PATCH)
    for width, side, steps, least in ALIGNMENT:
        hopeful = hopeful[score[hopeful] > least]
        if not len(hopeful):
            break
        one, two = first[hopeful], second[hopeful]
        motion[hopeful] = align(blur(pictures, width), one, two, motion[hopeful], side=side, steps=steps)
        score[hopeful] = np.maximum(score[hopeful], _agreement(fine, one, two, motion[hopeful], PATCH))
    return score


def _glance(smooth: Floats, first: Ints, second: Ints, motion: Floats, least: float) -> Ints:
    """Places of the pairs whose coarse structure agrees by `least` after two steps of alignment."""
    _, side, steps = GLANCE
    motion = align(smooth, first, second, motion, side=side, steps=steps)
    return np.flatnonzero(_agreement(smooth, first, second, motion, side) > least)


def agreement_of_strangers(thumbnails: Bytes) -> float:
    """Coarse agreement that few pairs of strangers reach: high for films of one anatomy, low for textures."""
    width, side, _ = GLANCE
    one, two = np.random.default_rng(0).integers(len(thumbnails), size=(2, STRANGERS))
    still = np.broadcast_to(square_motion(1), (STRANGERS, 2, 3))
    smooth = blur(thumbnails[np.concatenate([one, two])].astype(np.float32), width)
    agreement = _agreement(smooth, np.arange(STRANGERS), np.arange(STRANGERS) + STRANGERS, still, side)
    return min(ALIKE, float(np.quantile(agreement[one != two], FEW))) if (one != two).any() else -1


def _agreement(pictures: Floats, first: Ints, second: Ints, motion: Floats, side: int) -> Floats:
    """Correlation of `side` x `side` samples; -1 where the two show too little in common."""
    other, inside = _read(pictures, second, motion, sample_places(side))
    one = _at_rest(pictures, side)[first]
    return np.asarray(np.where(inside.mean(1) > SEEN, _correlation(one, other, inside), -1), np.float32)


def align(smooth: Floats, first: Ints, second: Ints, motion: Floats, *, side: int, steps: int) -> Floats:
    """The affine motions (P, 2, 3) that bring `second` nearest to `first`.

    With a gain and an offset of brightness.
    """
    places = sample_places(side)
    target = _at_rest(smooth, side)[first]
    for _ in range(steps):
        moved, inside = _read(smooth, second, motion, places)
        # a sample is 2 / side wide
        dy, dx = (g.reshape(moved.shape) * (side / 2) for g in np.gradient(moved.reshape(-1, side, side), axis=(1, 2)))
        # Lucas and Kanade 1981: how the samples change with each of the six numbers of the motion, with the gain and the
        # offset.
        columns = np.stack(
            [dx * places[0], dx * places[1], dx, dy * places[0], dy * places[1], dy, moved, np.ones_like(moved)], 1
        )
        weighted = columns * inside[:, None]
        normal = weighted @ columns.transpose(0, 2, 1)  # (P, 8, 8)
        # a small ridge, where a flat picture says nothing
        normal += np.eye(8, dtype=np.float32) * (1e-4 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 8 + 1e-3)
        answer = np.linalg.solve(normal, weighted @ target[:, :, None])[:, :, 0]
        gain = np.where(np.abs(answer[:, 6:7]) > 0.2, answer[:, 6:7], 1)  # target = gain * (moved + gradient . step) + offset
        step = np.clip(answer[:, :6] / gain, -0.1, 0.1).reshape(-1, 2, 3)
        turn, shift = motion[:, :, :2], motion[:, :, 2:]
        # the step comes before the motion so far
        motion = np.concatenate([turn + turn @ step[:, :, :2], turn @ step[:, :, 2:] + shift], 2)
    return motion


def sample_places(side: int) -> Floats:
    """(3, side * side): x, y and 1 of each sample."""
    x, y = np.meshgrid(grid(side), grid(side))
    return np.stack([x.ravel(), y.ravel(), np.ones(x.size, np.float32)])


def _at_rest(pictures: Floats, side: int) -> Floats:
    """What `_read` gives without a motion, (N, side * side): samples lie in the middle of four pixels."""
    step = SIDE // side
    near, far = slice(step // 2 - 1, None, step), slice(step // 2, None, step)
    four = pictures[:, near, near] + pictures[:, near, far] + pictures[:, far, near] + pictures[:, far, far]
    return np.asarray(four.reshape(len(pictures), -1) / 4, np.float32)


def _read(pictures: Floats, which: Ints, motion: Floats, places: Floats) -> tuple[Floats, Floats]:
    """Bilinear samples (P, 1024) of images `which` at `motion` of `places`, and 1 where inside the frame.

    Corners count as outside: a turn fills them with something else.
    """
    at = (motion @ places + 1) * (SIDE / 2) - 0.5  # (P, 2, 1024)
    # in the frame, and in the circle that fills it
    inside = ((at >= -0.5) & (at <= SIDE - 0.5)).all(1) & ((places[:2] ** 2).sum(0) <= 1)
    at = np.clip(at, 0, SIDE - 1.001)
    low = at.astype(np.int32)
    px, py = (at - low).transpose(1, 0, 2)
    flat = pictures.reshape(-1)
    corner = which[:, None] * (SIDE * SIDE) + low[:, 1] * SIDE + low[:, 0]  # (P, 1024): the upper left of the four pixels
    top = flat[corner] * (1 - px) + flat[corner + 1] * px
    bottom = flat[corner + SIDE] * (1 - px) + flat[corner + SIDE + 1] * px
    return (top * (1 - py) + bottom * py).astype(np.float32), inside.astype(np.float32)


def _correlation(one: Floats, other: Floats, weight: Floats) -> Floats:
    total = weight.sum(1, keepdims=True) + 1e-6
    one = (one - (one * weight).sum(1, keepdims=True) / total) * weight
    other = (other - (other * weight).sum(1, keepdims=True) / total) * weight
    # Pearson's, over what both show
    return np.asarray((one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1) + 1e-6), np.float32)


Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
SIDE = 64  # pixels of a thumbnail
PATCH = 32  # samples a side of the patch a hash or a comparison looks at


def grid(side: int) -> Floats:
    """Centres of `side` samples over [-1, 1]."""
    return ((np.arange(side) + 0.5) * 2 / side - 1).astype(np.float32)


def square_motion(side: float, x: float = 0, y: float = 0, degrees: float = 0) -> Floats:
    """The motion (2, 3) onto a square of `side` (1 = whole frame) at (x, y), turned.

    Coordinates run from -1 to 1, x first.
    """
    c, s = side * np.cos(np.radians(degrees)), side * np.sin(np.radians(degrees))
    return np.array([[c, -s, x], [s, c, y]], np.float32)
