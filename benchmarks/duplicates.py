"""Recall and false pairs of the duplicate search on planted copies of phantoms and of real pictures, and its time on many hashes.

    python -m benchmarks.duplicates [DATA/us-breast ...] --write benchmarks/duplicates.md
    python -m benchmarks.duplicates DATA/cxr-pneumonia --many 100000 > benchmarks/many.md

Of the phantoms and of each folder up to --planted pictures are copied in every way below and searched among all the pictures.
A false pair is a pair in one cluster, neither planted nor found among the pictures before planting.
"""

from __future__ import annotations

import argparse
import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resdx.data.audit.near_duplicates import WAYS, candidates, find_duplicates, thumbnail
from resdx.data.phantoms import draw_phantoms
from resdx.data.sources.listing import list_images
from resdx.transforms.readers.image import ReadImage

PERSONS = 60  # phantoms, two pictures each
NOTE = """\
Found: the share of the planted copies that came into one cluster with their original. Phantoms are drawn alike, which may be \
why they have false
pairs; this was not tested. Mirrored crops are not searched for: the search turns and mirrors the whole frame and cuts windows \
out of
it, but does not do both. A picture turned on a larger canvas is not found either."""
SCALE = """\
# Search by hashes in many pictures

From thumbnails to the pairs that are aligned next. Thumbnails are mixed from two films each, with noise, so a film stands in \
many of them and there are more pairs than in any set of as many films. Memory is
what the search added, at its peak, to what making the thumbnails took at its own. "Whole" asks for eight views of each picture.
Made by `python -m benchmarks.duplicates DATA/cxr-pneumonia --many 20000 100000 1000000`.

| pictures | from | looked for | seconds | seconds of processor | more memory, GB | pairs |
|---|---|---|---|---|---|---|"""
MOST = 100_000  # pictures up to which all ways are timed
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def crop(share: float) -> Change:
    """Cut `share` of each side away, at a random place."""

    def change(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
        width, height = (round(side * (1 - share)) for side in picture.size)
        x, y = draw.integers(picture.width - width + 1), draw.integers(picture.height - height + 1)
        return picture.crop((x, y, x + width, y + height))

    return change


def turn(degrees: float, *, expand: bool = False, fill: int = 0) -> Change:
    """Turn one way or the other and fill the corners."""

    def change(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
        return picture.rotate(degrees * draw.choice([-1, 1]), Image.Resampling.BILINEAR, expand=expand, fillcolor=fill)

    return change


def encode(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    """JPEG at quality 40."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=40)
    return Image.open(out)


CHANGES: dict[str, Change] = {
    "re-encoded, JPEG quality 40": encode,
    "half the size": lambda p, _: p.resize((p.width // 2, p.height // 2), Image.Resampling.BICUBIC),
    "stretched 1.2 times in height": lambda p, _: p.resize((p.width, p.height * 6 // 5), Image.Resampling.BICUBIC),
    "gamma 1.5": lambda p, _: p.point([round(255 * (v / 255) ** 1.5) for v in range(256)]),
    "mirrored": lambda p, _: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "quarter turn": lambda p, _: p.transpose(Image.Transpose.ROTATE_90),
    "crop 10 %": crop(0.1),
    "crop 15 %": crop(0.15),
    "crop 20 %": crop(0.2),
    "crop 25 %": crop(0.25),
    "crop 20 %, mirrored": lambda p, d: crop(0.2)(p.transpose(Image.Transpose.FLIP_LEFT_RIGHT), d),
    "turn 5 degrees": turn(5),
    "turn 15 degrees": turn(15),
    "turn 15 degrees, white corners": turn(15, fill=255),
    "turn 15 degrees, larger canvas": turn(15, expand=True),
}


def shrink(picture: Image.Image) -> NDArray[np.uint8]:
    """The thumbnail of a grey picture."""
    return thumbnail(np.asarray(picture.convert("L"), np.float32)[:, :, None] / 255)


def pairs(clusters: Sequence[Sequence[int]]) -> set[tuple[int, int]]:
    """All pairs within clusters."""
    return {(a, b) for cluster in clusters for a in cluster for b in cluster if a < b}


def measure(folder: Path, planted: int) -> list[str]:
    """Rows of the table for one folder."""
    read = ReadImage()
    pictures = [
        Image.fromarray(np.round(read(f"{folder}/{file}").mean(2) * 255).astype(np.uint8)) for file in list_images(folder)[0]
    ]
    own = np.stack([shrink(picture) for picture in pictures])
    shapes = [picture.width / picture.height for picture in pictures]
    start = time.perf_counter()
    before = pairs(find_duplicates(own, aspects=shapes))
    seconds = time.perf_counter() - start
    related: dict[int, set[int]] = {}
    for a, b in before:
        related.setdefault(a, {a}).add(b)
        related.setdefault(b, {b}).add(a)
    rows = [f"| {folder.name} | (as it is) | {len(own)} | {len(before)} pairs in {seconds:.1f} s | |"]
    picked = np.sort(np.random.default_rng(0).permutation(len(own))[:planted])
    for name, change in CHANGES.items():
        draw = np.random.default_rng(1)
        changed = [change(pictures[i], draw) for i in picked]
        copies = np.stack([shrink(picture) for picture in changed])
        aspects = [*shapes, *(picture.width / picture.height for picture in changed)]
        after = pairs(find_duplicates(np.concatenate([own, copies]), aspects=aspects))
        hit = sum((int(i), len(own) + k) in after for k, i in enumerate(picked))
        source = np.concatenate([np.arange(len(own)), picked])
        false = sum(int(source[b]) not in related.get(int(source[a]), {int(source[a])}) for a, b in after)
        rows.append(f"| {folder.name} | {name} | {len(picked)} | {100 * hit / len(picked):.1f} % | {false} |")
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def speed(folder: Path, count: int) -> list[str]:
    """Time and memory of each search by hashes for `count` thumbnails.

    They are made from those of a folder by mixing two and adding noise.
    """
    read = ReadImage()
    own = np.stack([thumbnail(read(f"{folder}/{file}")) for file in list_images(folder)[0]]).astype(np.float32)
    draw = np.random.default_rng(0)
    one, two = draw.integers(len(own), size=(2, count))
    share = draw.uniform(0.5, 0.8, (count, 1, 1)).astype(np.float32)
    mixed = np.empty((count, 64, 64), np.uint8)
    for at in range(0, count, 4096):
        part = slice(at, at + 4096)
        noise = draw.normal(0, 4, mixed[part].shape)
        mixed[part] = np.clip(own[one[part]] * share[part] + own[two[part]] * (1 - share[part]) + noise, 0, 255)
    del own
    rows = []
    for name, way in WAYS.items():
        if count > MOST and name != next(iter(WAYS)):
            continue
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, cpu = time.perf_counter(), time.process_time()
        pairs_, *_ = candidates(mixed, way(np.ones(count, np.float32)))
        took, busy = time.perf_counter() - start, time.process_time() - cpu
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
        rows.append(f"| {count:,} | {folder.name} | {name} | {took:.1f} | {busy:.1f} | {more:.2f} | {len(pairs_):,} |")
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Measure and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--planted", type=int, default=300)
    parser.add_argument(
        "--many", type=int, nargs="*", default=(), help="only time so many thumbnails made from those of the first folder"
    )
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.many:
        if not options.folders:
            parser.error("--many needs a folder of films")
        print(SCALE)
        for count in options.many:
            print("\n".join(speed(options.folders[0], count)))
        return
    command = " ".join(["python -m benchmarks.duplicates", *(f"DATA/{folder.name}" for folder in options.folders)])
    command += f" --planted {options.planted}"
    lines = ["# Duplicate search", "", __doc__.split("\n")[0], "", f"    {command}", "", NOTE, ""]
    lines += ["| set | planted | pictures | found | false pairs |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as place:
        draw_phantoms(phantoms := Path(place) / "phantoms", persons=PERSONS, size=224, variety=0)
        for folder in (phantoms, *options.folders):
            lines += measure(folder, options.planted)
    page = "\n".join(lines) + "\n"
    if options.write:
        options.write.write_text(page)
    else:
        print(page)


if __name__ == "__main__":
    main()
