"""Synthetic chest films with known truth: the demo, the tests and the tuning fork of the audit.

A film is drawn from attenuations (soft tissue, air, bone) in body coordinates: x to the right and y downwards, both from
-1 to 1 across the detector, the patient's left on the right as radiologists hang it. Anatomy belongs to a person, whose
films differ in position, breath, exposure and noise. Some persons have one soft round opacity in a lung. What is wrong
with a real collection (the same person under two names, copies, a mark that gives the hospital away, wrong labels) can be planted.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from .cases import Box, Case, Manifest
from .errors import DataError
from .records import write_text

Array = NDArray[np.floating]  # pictures here are drawn in double precision where that is simpler

NORMAL, OPACITY = "normal", "opacity"
RIBS = 8  # posterior ribs that show over a lung
VESSELS = 11  # drawn a lung
GLYPHS = {  # the lead letters that say which side is left, 5 x 4
    "L": ("X...", "X...", "X...", "X...", "XXXX"),
    "R": ("XXX.", "X..X", "XXX.", "X.X.", "X..X"),
}


@dataclass(frozen=True)
class Truth:
    """What was written and what was planted; paths are below the folder.

    `manifest` holds the true person, label, hospital and opacity box of every file. Pairs are (original, planted):
    `leaks` another film of a person under a new id, `copies` the same bytes, `near` the same film smaller and as JPEG.
    `mislabelled` files lie in the other class's folder.
    """

    manifest: Manifest
    leaks: tuple[tuple[str, str], ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    near: tuple[tuple[str, str], ...] = ()
    mislabelled: tuple[str, ...] = ()

    @property
    def boxes(self) -> dict[str, Box]:
        """The opacity of each file that has one, by path."""
        return {case.id: case.boxes[0] for case in self.manifest.cases if case.boxes}


@dataclass(frozen=True)
class _Person:
    """What stays the same from film to film; lengths are in half widths of the detector."""

    seed: int
    label: str
    filed: str  # the folder it lies in, which is not the label when mislabelled
    hospital: int
    chest: float  # half width of the rib cage
    height: float  # from apex to diaphragm, against the average
    heart: float  # half width
    tilt: float  # of the heart, radians
    scoliosis: float
    slope: float  # of the ribs
    pitch: float  # between ribs, against the average
    dome: float  # how much lower the diaphragm lies
    phase: float  # where the first rib lies
    soft: float  # soft tissue, against the average
    breast: float
    bubble: float  # half width of the air in the stomach
    lesion: tuple[float, float, float, float]  # x, y, radius, density


@dataclass(frozen=True)
class _Shot:
    """What differs from film to film."""

    dx: float
    dy: float
    turn: float  # radians
    zoom: float
    breath: float  # how far the diaphragm goes down
    exposure: float
    noise: float


def draw_phantoms(
    folder: Path,
    *,
    persons: int = 60,
    images: int = 2,
    size: int = 96,
    prevalence: float = 0.4,
    sources: int = 2,
    leak: int = 0,
    copies: int = 0,
    near: int = 0,
    shortcut: float = 0.0,
    label_noise: float = 0.0,
    seed: int = 0,
) -> Truth:
    """Write films as `folder/normal/pNNN_K.png` and `folder/opacity/pNNN_K.png`, and the truth as `<folder>-truth.csv` beside it.

    Args:
        persons: persons, each with `images` films of `size` x `size` pixels; a share `prevalence` has an opacity.
        sources: hospitals, which differ in tone and in the lead letter in the corner.
        leak: films of known persons that go under a new id; `copies` and `near` do so with copies and near-duplicates.
        shortcut: share of persons whose hospital follows from the class (0 independent, 1 the hospital tells all).
        label_noise: share of persons in the wrong folder.

    Raises:
        DataError: the folder is not empty, or a number makes no sense.
    """
    _check(folder, persons=persons, images=images, size=size, sources=sources, shares=(prevalence, shortcut, label_noise))
    people = _people(persons, prevalence, sources, shortcut, label_noise, seed)
    cases: list[Case] = []
    for number, person in enumerate(people):
        for k in range(images):
            cases.append(_write(folder, person, f"p{number:03d}", f"p{number:03d}_{k}.png", k, size))
    pairs = _plant(folder, people, cases, ("leak",) * leak + ("copy",) * copies + ("near",) * near, size, seed)
    truth = Truth(
        Manifest(folder, tuple(cases), licence="synthetic: no rights"),
        leaks=tuple(pairs["leak"]),
        copies=tuple(pairs["copy"]),
        near=tuple(pairs["near"]),
        mislabelled=tuple(case.id for case in cases if case.id.split("/")[0] != case.label),
    )
    write_text(folder.with_name(f"{folder.name}-truth.csv"), _beside(truth.manifest).to_csv())
    return truth


def _plant(
    folder: Path, people: list[_Person], cases: list[Case], kinds: tuple[str, ...], size: int, seed: int
) -> dict[str, list[tuple[str, str]]]:
    """File films of known persons under new ids, append them to `cases` and give back the pairs (original, planted) by kind."""
    rng = np.random.default_rng((seed, 1))
    pairs: dict[str, list[tuple[str, str]]] = {"leak": [], "copy": [], "near": []}
    originals = tuple(cases)
    for number, kind in enumerate(kinds, len(people)):
        original = originals[int(rng.integers(len(originals)))]
        name = f"p{number:03d}_0"
        if kind == "leak":
            case = _write(folder, people[int(original.group[1:])], original.group, f"{name}.png", len(cases), size)
        else:
            case = _copy(folder, original, name, smaller=kind == "near")
        cases.append(case)
        pairs[kind].append((original.id, case.id))
    return pairs


def _check(folder: Path, *, persons: int, images: int, size: int, sources: int, shares: tuple[float, ...]) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; phantoms go into a new folder")
    if min(persons, images, sources) < 1 or size < 32:
        raise DataError(f"phantoms need persons, images and sources of at least 1 and a size of at least 32 pixels, not {size}")
    if not all(0 <= share <= 1 for share in shares):
        raise DataError("prevalence, shortcut and label_noise are shares between 0 and 1")
    for name in (NORMAL, OPACITY):
        (folder / name).mkdir(parents=True, exist_ok=True)


def _people(persons: int, prevalence: float, sources: int, shortcut: float, label_noise: float, seed: int) -> list[_Person]:
    """Draw anatomy; exact shares, in random order, so that neither the id nor the place in the list tells anything."""
    rng = np.random.default_rng((seed, 0))
    ill = rng.permutation(persons) < round(prevalence * persons)
    wrong = rng.permutation(persons) < round(label_noise * persons)
    follows = rng.permutation(persons) < round(shortcut * persons)
    hospital = np.where(follows, np.where(ill, min(1, sources - 1), 0), rng.permutation(persons) % sources)
    people = []
    for i in range(persons):
        label, other = (OPACITY, NORMAL) if ill[i] else (NORMAL, OPACITY)
        people.append(_person(int(rng.integers(2**31)), label, other if wrong[i] else label, int(hospital[i])))
    return people


def _person(seed: int, label: str, filed: str, hospital: int) -> _Person:
    rng = np.random.default_rng(seed)
    side, radius = (-1 if rng.uniform() < 0.5 else 1), rng.uniform(0.11, 0.20)
    # Persons must differ at least as much as real ones, or the search for duplicates rightly takes two of them for one.
    chest, height = rng.uniform(0.64, 0.84), rng.uniform(0.86, 1.06)
    lesion = (side * rng.uniform(0.54, 0.66) * chest, rng.uniform(-0.45, 0.12) * height, radius, rng.uniform(0.6, 1.0))
    return _Person(
        seed=seed,
        label=label,
        filed=filed,
        hospital=hospital,
        chest=chest,
        height=height,
        heart=rng.uniform(0.24, 0.42),
        tilt=rng.uniform(0.1, 1.0),
        scoliosis=rng.normal(0, 0.035),
        slope=rng.uniform(0.0, 0.32),
        pitch=rng.uniform(0.80, 1.20),
        dome=rng.normal(0, 0.05),
        phase=rng.uniform(0, 1),
        soft=rng.uniform(0.75, 1.35),
        breast=(rng.uniform() < 0.5) * rng.uniform(0.1, 0.3),
        bubble=rng.uniform(0.08, 0.22),
        lesion=lesion,
    )


def _shot(rng: np.random.Generator) -> _Shot:
    return _Shot(
        dx=rng.normal(0, 0.035),
        dy=rng.normal(0, 0.035),
        turn=rng.normal(0, 0.03),
        zoom=rng.uniform(0.93, 1.07),
        breath=rng.normal(0, 0.03),
        exposure=rng.uniform(0.85, 1.15),
        noise=rng.uniform(0.010, 0.022),
    )


def _write(folder: Path, person: _Person, group: str, name: str, k: int, size: int) -> Case:
    rng = np.random.default_rng((person.seed, k))
    shot = _shot(rng)
    pixels = np.round(255 * _film(person, shot, size, rng)).astype(np.uint8)
    path = f"{person.filed}/{name}"
    (folder / path).write_bytes(_encoded(Image.fromarray(pixels), "PNG"))
    boxes = (_box(person, shot, size),) if person.label == OPACITY else ()
    return Case(path, path, group, (person.label,), boxes=boxes, source=f"hospital {person.hospital + 1}")


def _film(person: _Person, shot: _Shot, size: int, rng: np.random.Generator) -> Array:
    """Draw one film: float32 (size, size) in [0, 1], dense tissue bright."""
    x, y = _grid(shot, size)
    x = x - person.scoliosis * np.sin(3 * y)  # the spine bends and takes the chest with it
    lung = _lungs(person, shot, x, y)
    bone = _bones(person, x, y, np.random.default_rng(person.seed + 1))
    soft = _soft_tissue(person, x, y)
    centre = _centre(person, shot, x, y)
    inside = lung * (1 - 0.97 * centre)
    vessels = _vessels(x, y, np.random.default_rng(person.seed + 2)) * inside
    lx, ly, radius, density = person.lesion
    nodule = density * _edge(radius - np.hypot(x - lx, y - ly), 0.16 * radius) if person.label == OPACITY else np.zeros_like(x)
    body = _body(x, y)
    bubble = _edge(1 - np.hypot((x - 0.40) / person.bubble, (y - 0.74 - shot.breath) / 0.09), 0.15)  # air in the stomach
    soft = soft * (1 - 0.55 * bubble * (1 - lung))
    dense = body * (soft * (1.45 - 1.13 * inside) + 0.36 * centre + 0.40 * bone + 0.42 * vessels + 0.55 * nodule * lung)
    exposed = gaussian_filter(1 - np.exp(-shot.exposure * dense), 0.004 * size)
    return _finish(exposed, shot, person.hospital, size, rng)


def _grid(shot: _Shot, size: int) -> tuple[Array, Array]:
    """Body coordinates of each pixel's centre, under the shot's position."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    x, y = (line[None] - shot.dx) / shot.zoom, (line[:, None] - shot.dy) / shot.zoom
    cos, sin = np.cos(shot.turn), np.sin(shot.turn)
    return (cos * x + sin * y).astype(np.float32), (cos * y - sin * x).astype(np.float32)


def _edge(distance: Array, width: float) -> Array:
    """1 where the distance to an outline is positive, 0 where it is negative, soft over `width`."""
    return np.asarray(expit(distance / width), np.float32)


def _body(x: Array, y: Array) -> Array:
    """1 in the body, 0 in the air: neck, shoulders, sides of the chest."""
    half = 0.30 + 0.78 * _edge(y + 0.84 + 0.10 * np.abs(x), 0.055) - 0.16 * _edge(y + 0.05, 0.12)
    return _edge(half - np.abs(x), 0.02)


def _soft_tissue(person: _Person, x: Array, y: Array) -> Array:
    """Thickness of muscle and fat: most at the sides, the shoulders and below the diaphragm; breasts low in the lungs."""
    sides = 0.30 * _edge(np.abs(x) - 0.80, 0.05) + 0.20 * _edge(-0.62 - y, 0.06)
    breast = person.breast * sum(np.exp(-(((x - s * 0.48) / 0.26) ** 2) - ((y - 0.38) / 0.18) ** 2) for s in (-1, 1))
    return person.soft * (0.86 + sides + 0.18 * _edge(y - 0.55, 0.1)) + breast


def _lungs(person: _Person, shot: _Shot, x: Array, y: Array) -> Array:
    """1 in the two lungs: the cage outside, the mediastinum inside, domes below; the right dome stands higher."""
    up = (y - 0.12) / (0.90 * person.height)
    cage = person.chest * (1 - np.clip(-up, 0, 1) ** 2.6) ** 0.62 * (1 + 0.05 * np.clip(up, -1, 1))
    away = np.abs(x)
    floor = (
        0.50 * person.height
        + person.dome
        + shot.breath
        + 0.06 * (x > 0)
        + 1.15 * (away - 0.36) ** 2
        + 0.55 * np.clip(away - 0.52, 0, 1)
    )
    outer = _edge(cage - away, 0.018)
    inner = _edge(away - 0.13 - 0.03 * y, 0.02)
    return outer * inner * _edge(floor - y, 0.016)


def _centre(person: _Person, shot: _Shot, x: Array, y: Array) -> Array:
    """1 in the heart, the great vessels and the aortic knob, less in the windpipe."""
    hx, hy = x - 0.12, y - 0.29 - 0.8 * shot.breath
    cos, sin = np.cos(person.tilt), np.sin(person.tilt)
    along, across = cos * hx + sin * hy, cos * hy - sin * hx
    heart = _edge(1 - np.hypot(along / (1.18 * person.heart), across / (0.90 * person.heart)), 0.06)
    knob = _edge(1 - np.hypot((x - 0.13) / 0.10, (y + 0.30) / 0.11), 0.12)
    band = _edge(0.14 + 0.16 * np.clip(y + 0.35, 0, 0.7) - np.abs(x - 0.03), 0.025) * _edge(y + 0.75, 0.1)
    below = _edge(y + 0.22, 0.02)
    split = np.abs(np.abs(x) - np.clip(0.9 * (y + 0.22), 0, 0.2))  # the two main bronchi leave at the carina
    airway = np.where(below > 0.5, np.exp(-((split / 0.035) ** 2)) * (y < 0.0), np.exp(-((x / 0.05) ** 4)))
    return np.asarray(np.maximum(np.maximum(heart, 0.95 * knob), 0.85 * band) * (1 - 0.6 * airway))


def _bones(person: _Person, x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Ribs (brighter at their edges), collar bones, vertebrae."""
    away = np.abs(x)
    out = np.clip(away / person.chest, 0, 1.05)
    pitch = 1.42 * person.height * person.pitch / RIBS
    cage = _edge(person.chest + 0.035 - away, 0.015) * _edge(away - 0.07, 0.02) * _edge(y + 0.80, 0.04)
    behind = y - person.slope * out - 0.24 * (1 - np.sqrt(np.clip(1.12 - out**2, 0, 1)))
    front = y + 0.40 * out**0.8 - 0.20 * out**4
    ribs = _bars(behind, pitch, person.phase, 0.30)
    ribs += 0.45 * _bars(front, 1.12 * pitch, person.phase + 0.4, 0.26) * _edge(away - 0.3, 0.05)  # end before the breastbone
    ribs *= cage * _edge(0.72 - y, 0.1)
    lift = rng.uniform(0.05, 0.16)
    collar = y + 0.56 + lift * np.clip(away - 0.08, 0, 1) + 0.05 * np.sin(6 * away)
    collars = np.exp(-((collar / 0.036) ** 4)) * _edge(away - 0.08, 0.02) * _edge(0.86 - away, 0.03)
    spine = np.exp(-((x / 0.10) ** 6)) * (0.55 + 0.25 * np.tanh(4 * np.cos(2 * np.pi * (y / 0.155 + person.phase))))
    return np.asarray(ribs + 1.3 * collars + spine)


def _bars(position: Array, pitch: float, phase: float, share: float) -> Array:
    """Parallel tubes `pitch` apart that fill `share` of it; a tube's wall takes more than its middle."""
    from_middle = np.abs((position / pitch + phase) % 1 - 0.5) / (share / 2)
    wall = np.clip(from_middle, 0, 1) ** 2
    return np.asarray((0.62 + 0.38 * wall) * _edge(1 - from_middle, 0.10))


def _vessels(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """The hila and the vessels that leave them, thinner and paler outwards."""
    out = np.zeros_like(x)
    for side in (-1, 1):
        hx, hy = side * 0.20 + 0.03, -0.02 - 0.03 * side
        out += 0.7 * np.exp(-(((x - hx) / 0.08) ** 2) - ((y - hy) / 0.17) ** 2)
        for angle in np.linspace(-1.35, 1.4, VESSELS) + rng.normal(0, 0.12, VESSELS):
            cos, sin, bend = side * float(np.cos(angle)), float(np.sin(angle)), rng.normal(0, 0.5)
            sx, sy = x - hx - rng.normal(0, 0.02), y - hy - 0.12 * sin - rng.normal(0, 0.03)
            along = cos * sx + sin * sy
            across = cos * sy - sin * sx + bend * along**2
            width = 0.028 - 0.020 * np.clip(along / 0.6, 0, 0.9)
            out += _edge(along - 0.03, 0.015) * np.exp(-((across / width) ** 2) - (along / 0.40) ** 2) * rng.uniform(0.25, 0.6)
    return out


def _finish(exposed: Array, shot: _Shot, hospital: int, size: int, rng: np.random.Generator) -> Array:
    """Window, tone of the hospital, quantum noise, and the lead letter."""
    dark, bright = np.float32(0.10), np.quantile(exposed, 0.995)  # the scanner sets its window by the densest part
    tone = np.clip((exposed - dark) / (bright - dark), 0, 1) ** (1.15 + 0.3 * (hospital % 2))
    picture = 0.04 + 0.88 * tone
    grain = gaussian_filter(rng.standard_normal((size, size), np.float32), 0.6) * 2
    return np.clip(_letter(picture + shot.noise * grain * (1.3 - picture), hospital), 0, 1)


def _letter(picture: Array, hospital: int) -> Array:
    """Put the lead letter in the upper corner: L at the patient's left in odd hospitals, R at the right in even ones."""
    size = len(picture)
    shape = np.array([[pixel == "X" for pixel in row] for row in GLYPHS["LR"[hospital % 2]]])
    letter = np.kron(shape, np.ones((max(1, size // 64),) * 2))
    h, w = letter.shape
    top, left = size // 20, size // 20 if hospital % 2 else size - size // 20 - w
    marked = picture.copy()
    marked[top : top + h, left : left + w] = np.where(letter > 0, 0.97, picture[top : top + h, left : left + w])
    return marked


def _box(person: _Person, shot: _Shot, size: int) -> Box:
    """The square around the opacity, in pixels of the file."""
    x, y, radius, _ = person.lesion
    x = x + person.scoliosis * np.sin(3 * y)
    cos, sin = np.cos(shot.turn), np.sin(shot.turn)
    px = ((cos * x - sin * y) * shot.zoom + shot.dx + 1) * size / 2
    py = ((cos * y + sin * x) * shot.zoom + shot.dy + 1) * size / 2
    r = radius * shot.zoom * size / 2
    return Box(OPACITY, *(round(float(np.clip(v, 0, size)), 1) for v in (px - r, py - r, px + r, py + r)))


def _copy(folder: Path, original: Case, name: str, *, smaller: bool) -> Case:
    """File a film again under a new id: the same bytes, or four fifths of the size and as JPEG."""
    path = f"{original.id.split('/')[0]}/{name}{'.jpg' if smaller else '.png'}"
    stored = (folder / original.path).read_bytes()
    if not smaller:
        (folder / path).write_bytes(stored)
        return replace(original, id=path, path=path)
    image = Image.open(io.BytesIO(stored))
    size = round(0.8 * image.width)
    (folder / path).write_bytes(_encoded(image.resize((size, size)), "JPEG"))
    scale = size / image.width
    boxes = tuple(Box(box.label, *(scale * v for v in (box.x1, box.y1, box.x2, box.y2))) for box in original.boxes)
    return replace(original, id=path, path=path, boxes=boxes)


def _encoded(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, quality=75)
    return out.getvalue()


def _beside(manifest: Manifest) -> Manifest:
    """The same cases for a table that lies beside the folder."""
    cases = tuple(replace(case, path=f"{manifest.root.name}/{case.path}") for case in manifest.cases)
    return replace(manifest, root=manifest.root.parent, cases=cases)
