"""Which pictures are the same, or nearly: re-encoded, resized, flipped, turned or cropped.

Three steps. A 256-bit hash of each picture's low frequencies, each bit against the data set's own median, so that what all
films of one anatomy share says nothing. A search in a binary index, over the 8 dihedral views of the whole frame, over
windows of it (a crop of A looks like a window of A) and over its middle turned by up to 15 degrees. Then every candidate pair
is aligned on 64-pixel thumbnails (Lucas and Kanade 1981, affine with gain and offset) and kept only if the fine structure
agrees.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array

from .alignment import (
    BATCH,
    PATCH,
    SIDE,
    Bytes,
    Floats,
    Ints,
    agreement_of_strangers,
    grid,
    sample_places,
    similarity,
    square_motion,
)

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
AT_ONCE = 4096  # pictures whose queries are made at once
TYPICAL = 8192  # pictures whose median a bit is set against
THREADS = 4  # that search at once

# The bits of a hash, dealt to its words at random: neighbouring frequencies go together, and words should not.
EVERY = np.random.default_rng(0).permutation(FREQUENCIES**2)
_ORDER = np.add.outer(np.arange(FREQUENCIES), np.arange(FREQUENCIES)).ravel()
LOW = np.random.default_rng(0).permutation(np.argsort(_ORDER, kind="stable")[1:129])  # slow waves forgive a shift


def thumbnail(image: Floats) -> Bytes:
    """Shrink an image (H, W, C) to (64, 64) grey by area, its own range stretched over 0 to 255."""
    grey = np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image.mean(2), np.float32)
    small = np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX))
    low, high = float(small.min()), float(small.max())
    return np.round((small - low) * (255 / (high - low or 1))).astype(np.uint8)


def spectrum(thumbnails: Bytes) -> Floats:
    """(N, 64, 64) -> (N, 256): low cosine frequencies without the mean, of length 1: a cheap embedding."""
    return np.concatenate(
        [
            _middle(thumbnails[start : start + AT_ONCE].astype(np.float32), 1).reshape(-1, FREQUENCIES**2)
            for start in range(0, max(len(thumbnails), 1), AT_ONCE)
        ]
    )


def portable_hash(thumbnails: Bytes) -> Bytes:
    """Perceptual hash: (N, 64, 64) -> (N, 32), 256 bits an image.

    They do not depend on the other images: each coefficient is compared with the image's own median.
    """
    flat = spectrum(thumbnails)
    # Coefficient 0, the mean, was set to 0 and takes no part in the median.
    return np.packbits(flat > np.median(flat[:, 1:], axis=1)[:, None], axis=1)


def find_duplicates(
    thumbnails: Bytes,
    *,
    aspects: Sequence[float] = (),
    known: Sequence[Sequence[int]] = (),
    same: float = SAME,
) -> tuple[tuple[int, ...], ...]:
    """Clusters of `thumbnails` (N, 64, 64) that show the same image, transitively.

    A cluster holds at least two positions.

    `aspects` are width over height of the pictures (1 where not given), and `known` clusters that are already certain,
    such as byte-identical files. A flat picture matches nothing.
    """
    parent = list(range(len(thumbnails)))
    for cluster in known:
        for one in cluster[1:]:
            parent[_root(parent, one)] = _root(parent, cluster[0])
    if len(thumbnails) > 1:
        shapes = np.array(aspects or np.ones(len(thumbnails)), np.float32)
        for way in WAYS.values():
            _join(parent, thumbnails, candidates(thumbnails, way(shapes)), same)
    clusters: dict[int, list[int]] = {}
    for one in range(len(thumbnails)):
        clusters.setdefault(_root(parent, one), []).append(one)
    return tuple(sorted(tuple(members) for members in clusters.values() if len(members) > 1))


def _root(parent: list[int], one: int) -> int:
    """The member that stands for the cluster of `one`; `parent` leads there, and the way gets shorter."""
    while parent[one] != one:
        parent[one] = parent[parent[one]]
        one = parent[one]
    return one


# Nearest first: indexed picture, queried picture, motion (P, 2, 3) from the first to the second.
Candidates = tuple[Ints, Ints, Floats]

_SIGN = np.where(np.arange(FREQUENCIES) % 2, -1, 1).astype(np.float32)  # of a cosine under a flip
_FLIP_X, _FLIP_Y, _SWAP = (np.array(m, np.float32) for m in ([[-1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]))


def _axis(side: float, offset: float = 0) -> Floats:
    """Low cosine frequencies (16, 64) of a stretch of one axis.

    It is `side` long (1 = whole frame) and centred at `offset`.
    """
    # from -1..1 across the frame to pixel centres 0..63
    places = np.clip((side * grid(PATCH) + offset + 1) * SIDE / 2 - 0.5, 0, SIDE - 1)
    linear = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(SIDE)))  # (32, 64)
    k = np.arange(FREQUENCIES)[:, None]
    # cosine transform (16, 32) of the stretch, resampled (32, 64)
    return np.asarray(np.cos(np.pi * (np.arange(PATCH) + 0.5) * k / PATCH) @ linear, np.float32)


def _unit(coefficients: NDArray[Any]) -> Floats:
    """Coefficients (N, 16, 16), in place, without the mean and divided by their energy.

    A flat picture becomes zeros.
    """
    coefficients[:, 0, 0] = 0
    energy = np.sqrt(np.einsum("nij,nij->n", coefficients, coefficients))
    coefficients *= np.where(energy > 1, 1 / np.maximum(energy, 1), 0).astype(np.float32)[:, None, None]
    return np.asarray(coefficients, np.float32)


def _middle(pictures: Floats, side: float) -> Floats:
    return _unit(_axis(side) @ pictures @ _axis(side).T)


def _turned(pictures: Floats, square: Floats) -> Floats:
    """Coefficients of a turned `square` of `pictures` (N, 64, 64)."""
    at = np.clip((square @ sample_places(PATCH) + 1) * SIDE / 2 - 0.5, 0, SIDE - 1.001)  # (2, 1024) places in pixels
    low = at.astype(int)
    part = (at - low).astype(np.float32)
    corners = ((0, 0), (0, 1), (1, 0), (1, 1))
    # bilinear, over the four corners in turn: (4 * 1024,)
    weight = np.concatenate([np.abs(1 - dx - part[0]) * np.abs(1 - dy - part[1]) for dx, dy in corners])
    pixel = np.concatenate([(low[1] + dy) * SIDE + low[0] + dx for dx, dy in corners])
    sampler = coo_array((weight, (np.tile(np.arange(PATCH**2), 4), pixel)), shape=(PATCH**2, SIDE * SIDE)).tocsr()
    k = np.arange(FREQUENCIES)[:, None]
    cosines = np.cos(np.pi * (np.arange(PATCH) + 0.5) * k / PATCH).astype(np.float32)
    transform = sampler.T @ np.kron(cosines, cosines).T  # (4096, 256)
    return _unit((pictures.reshape(len(pictures), -1) @ transform).reshape(-1, FREQUENCIES, FREQUENCIES))


def _views(coefficients: Floats, motions: Floats, count: int) -> Iterator[tuple[Floats, Floats]]:
    """The first `count` of the 8 dihedral views of patches: coefficients and motions.

    Patches are sampled by `motions` (N, 2, 3).
    """
    for view in range(count):
        out, moved = coefficients, motions.copy()
        if view & 4:
            # transposing a picture transposes its coefficients
            out, moved[:, :, :2] = out.transpose(0, 2, 1), moved[:, :, :2] @ _SWAP
        if view & 1:
            out, moved[:, :, :2] = out * _SIGN, moved[:, :, :2] @ _FLIP_X  # cos(k (pi - t)) = (-1)^k cos(k t)
        if view & 2:
            out, moved[:, :, :2] = out * _SIGN[:, None], moved[:, :, :2] @ _FLIP_Y
        yield out, moved


Views = Iterator[tuple[Floats, Floats]]  # coefficients (N, 16, 16) and motions (2, 3) or (N, 2, 3), made when asked for
Query = Callable[[Floats, slice], Views]  # of some pictures (N, 64, 64), which stand at these rows of all


@dataclass(frozen=True)
class Search:
    """A search for candidate pairs.

    `queries` of each image, in the first `views` flips and turns, are looked up among the middles, `side` long, of all
    images.

    Of the `bits` of two hashes `radius` may differ.
    """

    side: float
    queries: Sequence[Query]
    views: int
    bits: NDArray[np.intp]
    radius: int


def _whole_frame(_aspects: Floats) -> Search:
    def frame(pictures: Floats, _rows: slice) -> Views:
        yield _middle(pictures, 1), square_motion(1)

    return Search(1, [frame], 8, EVERY, WHOLE_RADIUS)


def _turned_middle(aspects: Floats) -> Search:
    """Thumbnails are square whatever the image was.

    So a turn of the image is a turn between two stretches.
    """
    rounded = np.round(np.log(aspects) / ASPECT) * ASPECT

    def turn(degrees: float, pictures: Floats, rows: slice) -> Views:
        coefficients = np.empty((len(pictures), FREQUENCIES, FREQUENCIES), np.float32)
        motions = np.empty((len(pictures), 2, 3), np.float32)
        for value in np.unique(rounded[rows]):
            some, square = rounded[rows] == value, square_motion(MIDDLE, degrees=degrees)
            # a turn of the picture, seen on a thumbnail that was squeezed to a square
            square[0, 1], square[1, 0] = square[0, 1] / np.exp(value), square[1, 0] * np.exp(value)
            coefficients[some], motions[some] = _turned(pictures[some], square), square
        yield coefficients, motions

    return Search(MIDDLE, [partial(turn, degrees) for degrees in TURNS], 2, EVERY, MIDDLE_RADIUS)


def _windows(_aspects: Floats) -> Search:
    def line(side: float, y: float, stretches: NDArray[np.float64], pictures: Floats, _rows: slice) -> Views:
        across = _axis(side, y) @ pictures
        for x in stretches:
            yield _unit(across @ _axis(side, x).T), square_motion(side, x, y)

    lines = [(side, np.linspace(side - 1, 1 - side, positions)) for side, positions in WINDOWS]
    return Search(1, [partial(line, side, y, stretches) for side, stretches in lines for y in stretches], 1, LOW, PART_RADIUS)


Way = Callable[[Floats], Search]
WAYS: Mapping[str, Way] = {
    "the whole picture, mirrored or in quarter turns": _whole_frame,
    "turned by up to 15 degrees": _turned_middle,
    "cropped": _windows,
}


def candidates(thumbnails: Bytes, search: Search) -> Candidates:
    """Pairs of `thumbnails` (N, 64, 64) that a search finds by their hashes, to be aligned next.

    Some pictures at a time, which bounds the memory.
    """
    stretches = [slice(start, start + AT_ONCE) for start in range(0, len(thumbnails), AT_ONCE)]
    some = thumbnails[:: max(1, len(thumbnails) // TYPICAL)]
    median = np.median(_middle(some.astype(np.float32), search.side), 0)
    bases = (_middle(thumbnails[rows].astype(np.float32), search.side) for rows in stretches)
    hashes, there = zip(*((_hash(base, median, search.bits), base.any(axis=(1, 2))) for base in bases), strict=True)
    place = np.flatnonzero(np.concatenate(there))  # a flat picture has no hash
    index = _index(np.concatenate(hashes)[place])

    def ask(job: tuple[slice, Query]) -> list[tuple[Ints, Ints, NDArray[np.int32], Floats]]:
        faiss.omp_set_num_threads(1)  # of this thread: several ask at once
        (rows, query), out = job, []
        own = place[slice(*np.searchsorted(place, (rows.start, rows.stop)))]
        at = own - rows.start
        pictures = thumbnails[rows].astype(np.float32)
        for coefficients, square in query(pictures, rows):
            motions = np.broadcast_to(square, (len(pictures), 2, 3))[at]
            for view, moved in _views(coefficients[at], motions, search.views):
                # faiss returns what is strictly below its radius
                limits, distance, hits = index.range_search(_hash(view, median, search.bits), search.radius + 1)
                asked = np.repeat(np.arange(len(own)), limits[1:].astype(np.int64) - limits[:-1].astype(np.int64))
                apart = place[hits] != own[asked]  # a picture finds itself
                motion = moved[asked[apart]]
                motion[:, :, :2] /= search.side
                out.append((place[hits[apart]], own[asked[apart]], distance[apart], motion))
        return out

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        found = [part for parts in pool.map(ask, product(stretches, search.queries)) for part in parts]
    first, second = (np.concatenate([part[k] for part in found]).astype(np.int64) for k in (0, 1))
    motion = np.concatenate([part[3] for part in found])
    distance = np.concatenate([part[2] for part in found])
    order = np.argsort(distance, kind="stable")
    # A pair that several views found is kept once, with its nearest.
    _, nearest = np.unique(first[order] * len(thumbnails) + second[order], return_index=True)
    order = order[np.sort(nearest)]
    return first[order], second[order], motion[order]


def _index(hashes: Bytes) -> Any:
    """An exact index; for many pictures one in less than quadratic time, exact for the nearest pairs only.

    Of two hashes of 256 bits that differ in fewer than 20, at least one of their 10 words differs in at most one bit, so
    looking up each word and its 24 neighbours at one bit misses none; of pairs further apart it misses some.
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


def _join(parent: list[int], thumbnails: Bytes, candidates: Candidates, same: float) -> None:
    """Merge the clusters of candidates that prove to be the same, nearest first.

    Pairs already in one cluster cost nothing.
    """
    first, second, motion = candidates
    alike = agreement_of_strangers(thumbnails)
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(first), threads * BATCH):
            chunk = range(start, min(start + threads * BATCH, len(first)))
            apart = [i for i in chunk if _root(parent, int(first[i])) != _root(parent, int(second[i]))]
            batches = [apart[at : at + BATCH] for at in range(0, len(apart), BATCH)]
            for batch, score in zip(
                batches, pool.map(lambda i: similarity(thumbnails, first[i], second[i], motion[i], alike), batches), strict=True
            ):
                for i in np.asarray(batch)[score >= same]:
                    parent[_root(parent, int(second[i]))] = _root(parent, int(first[i]))
