"""Which pictures are the same, or nearly: re-encoded, resized, flipped, turned or cropped.

Three steps. A 256-bit hash of each picture's low frequencies, each bit against the data set's own median, so that what all
films of one anatomy share says nothing. A search in a binary index, over the 8 dihedral views of the whole frame, over windows
of it (a crop of A looks like a window of A) and over its middle turned by up to 15 degrees. Then every candidate pair is aligned on
64-pixel thumbnails (Lucas and Kanade 1981, affine with gain and offset) and kept only if the fine structure agrees.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.cluster.hierarchy import DisjointSet
from scipy.ndimage import gaussian_filter1d

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

SIDE = 64  # pixels of a thumbnail
PATCH = 32  # samples a side of the patch a hash or a comparison looks at
FREQUENCIES = 16  # a side: 16 x 16 coefficients, one bit each
SAME = 0.88  # correlation of the aligned fine structure from which two pictures count as one
WHOLE_RADIUS = 48  # bits of 256 that may differ over the whole frame
MIDDLE_RADIUS = 40  # bits of 256 that may differ between a picture's middle and the turned middle of another
PART_RADIUS = 26  # bits of the 128 lowest frequencies that may differ between a picture and a window of another
MIDDLE = 0.8  # side of the middle that survives a turn by 15 degrees whatever fills the corners
TURNS = (-15, -10, -5, 0, 5, 10, 15)  # degrees
WINDOWS = ((0.9, 3), (0.83, 4), (0.76, 6))  # (side, positions along each axis)
ASPECT = 0.1  # step of the logarithm of width over height to which turns are worked out
EXACT = 20_000  # pictures up to which every hash is compared with every other
WORD = 24  # bits of a hash that are looked up at once beyond that
BATCH = 256  # pairs aligned at once
# of the alignment: blur in pixels of the thumbnail, samples a side, steps, and the agreement below which it is not worth it
ALIGNMENT = ((2.0, 16, 6, -1.0), (1.2, 32, 3, 0.5))
NOISE = 1.0  # squared grey levels of a thumbnail (of 255) that are noise, so that an outline alone does not decide
SEEN = 0.4  # least share of the frame that both pictures show

# The bits of a hash, dealt to its words at random: neighbouring frequencies go together, and words should not.
EVERY = np.random.default_rng(0).permutation(FREQUENCIES**2)
_ORDER = np.add.outer(np.arange(FREQUENCIES), np.arange(FREQUENCIES)).ravel()
LOW = np.random.default_rng(0).permutation(np.argsort(_ORDER, kind="stable")[1:129])  # slow waves forgive a shift


def thumbnail(image: Floats) -> Bytes:
    """Shrink a picture (H, W, C) to (64, 64) grey by area, whatever its shape, with its own range stretched over 0 to 255."""
    grey = np.ascontiguousarray(image.mean(2), np.float32)
    small = np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX))
    low, high = float(small.min()), float(small.max())
    return np.round((small - low) * (255 / (high - low or 1))).astype(np.uint8)


def spectrum(thumbnails: Bytes) -> Floats:
    """(N, 64, 64) -> (N, 256): low cosine frequencies without the mean, of length 1: a cheap embedding."""
    return np.concatenate(
        [
            _middle(thumbnails[start : start + 4096].astype(np.float32), 1).reshape(-1, FREQUENCIES**2)
            for start in range(0, max(len(thumbnails), 1), 4096)
        ]
    )


def portable_hash(thumbnails: Bytes) -> Bytes:
    """(N, 64, 64) -> (N, 32): 256 bits that do not depend on the other pictures (each against the picture's own median)."""
    flat = spectrum(thumbnails)
    return np.packbits(flat > np.median(flat[:, 1:], axis=1)[:, None], axis=1)


def find_duplicates(
    thumbnails: Bytes, *, aspects: Sequence[float] = (), known: Sequence[Sequence[int]] = (), same: float = SAME
) -> tuple[tuple[int, ...], ...]:
    """Clusters (positions, at least two) of `thumbnails` (N, 64, 64) that show the same picture, transitively.

    `aspects` are width over height of the pictures (1 where not given), and `known` clusters that are already certain,
    such as byte-identical files. A flat picture matches nothing.
    """
    clusters = DisjointSet(range(len(thumbnails)))
    for cluster in known:
        for one in cluster[1:]:
            clusters.merge(cluster[0], one)
    if len(thumbnails) > 1:
        pictures = thumbnails.astype(np.float32)
        shapes = np.array(aspects or np.ones(len(thumbnails)), np.float32)
        for search in (_whole_frame, _turned_middle, _windows):
            _join(clusters, thumbnails, search(pictures, shapes), same)
    return tuple(sorted(tuple(sorted(c)) for c in clusters.subsets() if len(c) > 1))


# Nearest first: indexed picture, queried picture, motion (P, 2, 3) from the first to the second.
Candidates = tuple[Ints, Ints, Floats]

_SIGN = np.where(np.arange(FREQUENCIES) % 2, -1, 1).astype(np.float32)  # of a cosine under a flip
_FLIP_X, _FLIP_Y, _SWAP = (np.array(m, np.float32) for m in ([[-1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]))


def _grid(side: int) -> Floats:
    """Centres of `side` samples over [-1, 1]."""
    return ((np.arange(side) + 0.5) * 2 / side - 1).astype(np.float32)


def _axis(side: float, offset: float = 0) -> Floats:
    """(16, 64): the low cosine frequencies of a stretch of one axis, `side` long (1 = whole frame) and centred at `offset`."""
    places = np.clip((side * _grid(PATCH) + offset + 1) * SIDE / 2 - 0.5, 0, SIDE - 1)
    linear = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(SIDE)))  # (32, 64)
    k = np.arange(FREQUENCIES)[:, None]
    return np.asarray(np.cos(np.pi * (np.arange(PATCH) + 0.5) * k / PATCH) @ linear, np.float32)


def _unit(coefficients: NDArray[Any]) -> Floats:
    """Coefficients (N, 16, 16) without the mean, divided by their energy; a flat picture becomes zeros."""
    coefficients[:, 0, 0] = 0
    energy = np.linalg.norm(coefficients, axis=(1, 2), keepdims=True)
    return np.asarray(np.where(energy > 1, coefficients / np.maximum(energy, 1), 0), np.float32)


def _square(side: float, x: float = 0, y: float = 0, degrees: float = 0) -> Floats:
    """The motion (2, 3) onto a square of `side` (1 = whole frame) at (x, y), turned; coordinates run from -1 to 1, x first."""
    c, s = side * np.cos(np.radians(degrees)), side * np.sin(np.radians(degrees))
    return np.array([[c, -s, x], [s, c, y]], np.float32)


def _middle(pictures: Floats, side: float) -> Floats:
    return _unit(_axis(side) @ pictures @ _axis(side).T)


def _turned(pictures: Floats, square: Floats) -> Floats:
    """Coefficients of a turned `square` of `pictures` (N, 64, 64)."""
    at = np.clip((square @ _places(PATCH) + 1) * SIDE / 2 - 0.5, 0, SIDE - 1.001)
    low = at.astype(int)
    part = (at - low).astype(np.float32)
    sampler = np.zeros((PATCH**2, SIDE * SIDE), np.float32)
    for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = (low[1] + dy) * SIDE + low[0] + dx
        sampler[np.arange(PATCH**2), corner] += np.abs(1 - dx - part[0]) * np.abs(1 - dy - part[1])
    k = np.arange(FREQUENCIES)[:, None]
    cosines = np.cos(np.pi * (np.arange(PATCH) + 0.5) * k / PATCH).astype(np.float32)
    transform = np.kron(cosines, cosines) @ sampler  # (256, 4096)
    return _unit((pictures.reshape(len(pictures), -1) @ transform.T).reshape(-1, FREQUENCIES, FREQUENCIES))


def _views(coefficients: Floats, motions: Floats, count: int) -> Iterator[tuple[Floats, Floats]]:
    """The first `count` of the 8 flips and quarter turns of patches sampled by `motions` (N, 2, 3): coefficients and motions."""
    for view in range(count):
        out, moved = coefficients, motions.copy()
        if view & 4:
            out, moved[:, :, :2] = out.transpose(0, 2, 1), moved[:, :, :2] @ _SWAP
        if view & 1:
            out, moved[:, :, :2] = out * _SIGN, moved[:, :, :2] @ _FLIP_X
        if view & 2:
            out, moved[:, :, :2] = out * _SIGN[:, None], moved[:, :, :2] @ _FLIP_Y
        yield out, moved


def _whole_frame(pictures: Floats, _aspects: Floats) -> Candidates:
    base = _middle(pictures, 1)
    return _search(base, 1, [(base, _square(1))], 8, EVERY, WHOLE_RADIUS)


def _turned_middle(pictures: Floats, aspects: Floats) -> Candidates:
    """Thumbnails are square whatever the picture was, so a turn of the picture is a turn between two stretches."""
    rounded = np.round(np.log(aspects) / ASPECT) * ASPECT

    def queries() -> Iterator[tuple[Floats, Floats]]:
        for degrees in TURNS:
            coefficients = np.empty((len(pictures), FREQUENCIES, FREQUENCIES), np.float32)
            motions = np.empty((len(pictures), 2, 3), np.float32)
            for value in np.unique(rounded):
                rows, square = rounded == value, _square(MIDDLE, degrees=degrees)
                square[0, 1], square[1, 0] = square[0, 1] / np.exp(value), square[1, 0] * np.exp(value)
                coefficients[rows], motions[rows] = _turned(pictures[rows], square), square
            yield coefficients, motions

    return _search(_middle(pictures, MIDDLE), MIDDLE, queries(), 2, EVERY, MIDDLE_RADIUS)


def _windows(pictures: Floats, _aspects: Floats) -> Candidates:
    def queries() -> Iterator[tuple[Floats, Floats]]:
        for side, positions in WINDOWS:
            stretches = np.linspace(side - 1, 1 - side, positions)
            for y in stretches:
                rows = _axis(side, y) @ pictures
                for x in stretches:
                    yield _unit(rows @ _axis(side, x).T), _square(side, x, y)

    return _search(_middle(pictures, 1), 1, queries(), 1, LOW, PART_RADIUS)


def _search(
    base: Floats, side: float, queries: Iterable[tuple[Floats, Floats]], views: int, bits: NDArray[np.intp], radius: int
) -> Candidates:
    """Pairs where the hash of the middle `side` of one picture (`base`) is within `radius` of the `bits` of a query of the other."""
    median = np.median(base, 0)
    place = np.flatnonzero(base.any(axis=(1, 2)))  # a flat picture has no hash
    index = _index(_hash(base[place], median, bits))
    found = []
    for coefficients, square in queries:
        motions = np.broadcast_to(square, (len(base), 2, 3))[place]
        for view, moved in _views(coefficients[place], motions, views):
            limits, distance, hits = index.range_search(_hash(view, median, bits), radius + 1)
            query = np.repeat(np.arange(len(place)), limits[1:].astype(np.int64) - limits[:-1].astype(np.int64))
            apart = hits != query
            motion = moved[query[apart]]
            motion[:, :, :2] /= side
            found.append((place[hits[apart]], place[query[apart]], distance[apart], motion))
    first, second = (np.concatenate([part[k] for part in found]).astype(np.int64) for k in (0, 1))
    motion = np.concatenate([part[3] for part in found])
    distance = np.concatenate([part[2] for part in found])
    order = np.argsort(distance, kind="stable")
    _, nearest = np.unique(first[order] * len(base) + second[order], return_index=True)
    order = order[np.sort(nearest)]
    return first[order], second[order], motion[order]


def _index(hashes: Bytes) -> Any:
    """An exact index; for many pictures one in less than quadratic time, exact for the nearest pairs only.

    Of two hashes of 256 bits that differ in fewer than 20, at least one of their 10 words differs in at most one bit, so looking up
    each word and its 24 neighbours at one bit misses none; of pairs further apart it misses some.
    """
    width = 8 * hashes.shape[1]
    index: Any = faiss.IndexBinaryFlat(width)
    if len(hashes) > EXACT:
        index = faiss.IndexBinaryMultiHash(width, width // WORD, WORD)
        index.nflip = 1
    index.add(hashes)
    return index


def _hash(coefficients: Floats, median: Floats, bits: NDArray[np.intp]) -> Bytes:
    return np.packbits((coefficients > median).reshape(-1, FREQUENCIES**2)[:, bits], axis=1)


def _join(clusters: DisjointSet, thumbnails: Bytes, candidates: Candidates, same: float) -> None:
    """Merge the clusters of candidates that prove to be the same, nearest first; pairs already in one cluster cost nothing."""
    first, second, motion = candidates
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(first), threads * BATCH):
            apart = [
                i for i in range(start, min(start + threads * BATCH, len(first))) if not clusters.connected(first[i], second[i])
            ]
            batches = [apart[at : at + BATCH] for at in range(0, len(apart), BATCH)]
            for batch, score in zip(
                batches, pool.map(lambda i: _similarity(thumbnails, first[i], second[i], motion[i]), batches), strict=True
            ):
                for i in np.asarray(batch)[score >= same]:
                    clusters.merge(first[i], second[i])


def _blur(pictures: Floats, width: float) -> Floats:
    """Gaussian blur of (N, 64, 64), `width` in pixels of the thumbnail, as two products of matrices."""
    kernel = gaussian_filter1d(np.eye(SIDE, dtype=np.float32), width, axis=0, mode="nearest")
    return np.asarray(kernel @ pictures @ kernel.T, np.float32)


def _fine(pictures: Floats) -> Floats:
    """The fine structure that decides, divided by the local contrast, which undoes gamma and windowing."""
    fine = _blur(pictures, 0.7) - _blur(pictures, 2)
    local = _blur(fine**2, 4)
    return np.asarray(fine / np.sqrt(local + NOISE), np.float32)


def _similarity(thumbnails: Bytes, first: Ints, second: Ints, motion: Floats) -> Floats:
    """Move `second` onto `first`, starting at `motion`, and correlate the fine structure where both are seen."""
    needed, at = np.unique(np.concatenate([first, second]), return_inverse=True)
    first, second = at[: len(first)], at[len(first) :]
    pictures = thumbnails[needed].astype(np.float32)
    fine = _fine(pictures)
    score = _agreement(fine, first, second, motion)
    for width, side, steps, least in ALIGNMENT:
        hopeful = np.flatnonzero(score > least)
        if not len(hopeful):
            break
        one, two = first[hopeful], second[hopeful]
        motion[hopeful] = _align(_blur(pictures, width), one, two, motion[hopeful], side=side, steps=steps)
        score[hopeful] = np.maximum(score[hopeful], _agreement(fine, one, two, motion[hopeful]))
    return score


def _agreement(fine: Floats, first: Ints, second: Ints, motion: Floats) -> Floats:
    """Correlation of the fine structure; -1 where the two show too little in common."""
    places = _places(PATCH)
    one = _read(fine, first, np.broadcast_to(_square(1), motion.shape), places)[0]
    other, inside = _read(fine, second, motion, places)
    return np.asarray(np.where(inside.mean(1) > SEEN, _correlation(one, other, inside), -1), np.float32)


def _align(smooth: Floats, first: Ints, second: Ints, motion: Floats, *, side: int, steps: int) -> Floats:
    """The affine motions (P, 2, 3) that bring `second` nearest to `first`, with a gain and an offset of brightness."""
    places = _places(side)
    target = _read(smooth, first, np.broadcast_to(_square(1), motion.shape), places)[0]
    for _ in range(steps):
        moved, inside = _read(smooth, second, motion, places)
        dy, dx = (g.reshape(moved.shape) * (side / 2) for g in np.gradient(moved.reshape(-1, side, side), axis=(1, 2)))
        columns = np.stack(
            [dx * places[0], dx * places[1], dx, dy * places[0], dy * places[1], dy, moved, np.ones_like(moved)], 1
        )
        weighted = columns * inside[:, None]
        normal = weighted @ columns.transpose(0, 2, 1)  # (P, 8, 8)
        normal += np.eye(8, dtype=np.float32) * (1e-4 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 8 + 1e-3)
        answer = np.linalg.solve(normal, weighted @ target[:, :, None])[:, :, 0]
        gain = np.where(np.abs(answer[:, 6:7]) > 0.2, answer[:, 6:7], 1)  # target = gain * (moved + gradient . step) + offset
        step = np.clip(answer[:, :6] / gain, -0.1, 0.1).reshape(-1, 2, 3)
        turn, shift = motion[:, :, :2], motion[:, :, 2:]
        motion = np.concatenate([turn + turn @ step[:, :, :2], turn @ step[:, :, 2:] + shift], 2)
    return motion


def _places(side: int) -> Floats:
    """(3, side * side): x, y and 1 of each sample."""
    x, y = np.meshgrid(_grid(side), _grid(side))
    return np.stack([x.ravel(), y.ravel(), np.ones(x.size, np.float32)])


def _read(pictures: Floats, which: Ints, motion: Floats, places: Floats) -> tuple[Floats, Floats]:
    """Bilinear samples (P, 1024) of pictures `which` at `motion` of `places`, and 1 where that is inside the frame.

    Corners count as outside: a turn fills them with something else.
    """
    at = (motion @ places + 1) * (SIDE / 2) - 0.5  # (P, 2, 1024)
    inside = ((at >= -0.5) & (at <= SIDE - 0.5)).all(1) & ((places[:2] ** 2).sum(0) <= 1)
    at = np.clip(at, 0, SIDE - 1.001)
    low = at.astype(np.int32)
    px, py = (at - low).transpose(1, 0, 2)
    flat = pictures.reshape(-1)
    corner = which[:, None] * (SIDE * SIDE) + low[:, 1] * SIDE + low[:, 0]
    top = flat[corner] * (1 - px) + flat[corner + 1] * px
    bottom = flat[corner + SIDE] * (1 - px) + flat[corner + SIDE + 1] * px
    return (top * (1 - py) + bottom * py).astype(np.float32), inside.astype(np.float32)


def _correlation(one: Floats, other: Floats, weight: Floats) -> Floats:
    total = weight.sum(1, keepdims=True) + 1e-6
    one = (one - (one * weight).sum(1, keepdims=True) / total) * weight
    other = (other - (other * weight).sum(1, keepdims=True) / total) * weight
    return np.asarray((one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1) + 1e-6), np.float32)
