"""How one phantom film is drawn: a person's anatomy, a film's chances, the attenuations between them.

A film is drawn from attenuations (soft tissue, air, bone) in body coordinates: x to the right and y downwards, both from
-1 to 1 across the detector, the patient's left on the right as radiologists hang it. Anatomy belongs to a person, whose
films differ in position, breath, exposure and noise. A person may have one soft round opacity in a lung.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from ..cases import Box

Array = NDArray[np.floating]  # pictures here are drawn in double precision where that is simpler
Pixels = NDArray[np.uint8]

NORMAL, OPACITY = "normal", "opacity"
RADIUS = (0.11, 0.20)  # of an opacity, in half widths of the detector
GOLDEN = (5**0.5 - 1) / 2
RIBS = 8  # posterior ribs that show over a lung
VESSELS = 11  # drawn a lung
GLYPHS = {  # the lead letters that say which side is left, and the P of a portable machine, 5 x 4
    "L": ("X...", "X...", "X...", "X...", "XXXX"),
    "R": ("XXX.", "X..X", "XXX.", "X.X.", "X..X"),
    "P": ("XXX.", "X..X", "XXX.", "X...", "X..."),
}
WHITE = 0.97  # of letters


@dataclass(frozen=True)
class Person:
    """What stays the same from film to film; lengths are in half widths of the detector.

    `token` is the burnt-in P, `frame` the grey level in [0, 1] of a border that stands for the collimator's (None: no border).
    """

    seed: int
    label: str
    hospital: int
    token: bool
    frame: float | None
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
    arch: float  # of the ribs behind, how far they fall to the side
    fall: float  # of the ribs in front, how far they rise to the side
    spread: float  # between ribs in front, against those behind
    disc: float  # from vertebra to vertebra
    variety: float  # of the films, as draw_person says
    lesion: tuple[float, float, float, float]  # x, y, radius, density


@dataclass(frozen=True)
class Shot:
    """What differs from film to film."""

    dx: float
    dy: float
    turn: float  # radians
    zoom: float
    breath: float  # how far the diaphragm goes down
    exposure: float
    noise: float
    rotation: float  # of the chest about its long axis: how far what lies in front moves against what lies behind
    angle: float  # of the tube: how far the ribs in front move down against those behind
    lift: float  # of the ribs with the breath, added to their slope
    arms: float  # how far the shoulders lift the collar bones


def draw_film(person: Person, k: int, size: int, *, organ: bool = True) -> tuple[Pixels, Box | None]:
    """The person's k-th film, (size, size), and the box of its opacity in pixels.

    `organ=False` draws the twin without lungs: the same body, bones, position, noise and marks, solid where the lungs are, so
    that nothing is left of an opacity.
    """
    rng = np.random.default_rng((person.seed, k))
    shot = _shot(rng, person.variety * _spread(person.seed, k))
    pixels = np.round(255 * _film(person, shot, size, rng, organ)).astype(np.uint8)
    return pixels, _box(person, shot, size) if organ and person.label == OPACITY else None


def draw_person(
    seed: int,
    label: str,
    *,
    hospital: int = 0,
    radius: tuple[float, float] = RADIUS,
    contrast: float = 1.0,
    token: bool = False,
    frame: float | None = None,
    variety: float = 1.0,
) -> Person:
    """Draw anatomy. The opacity has a radius in the range `radius` and `contrast` times the usual density.

    `variety` is how much bones differ from person to person, and breath and direction of the beam from film to film. At 0 some
    films of one person differ by a shift and a turn alone, and are near-duplicates.
    """
    rng = np.random.default_rng(seed)
    side, wide = (-1 if rng.uniform() < 0.5 else 1), rng.uniform(*radius)
    # Persons must differ at least as much as real ones, or the search for duplicates rightly takes two of them for one.
    chest, height = rng.uniform(0.64, 0.84), rng.uniform(0.86, 1.06)
    lesion = (side * rng.uniform(0.54, 0.66) * chest, rng.uniform(-0.45, 0.12) * height, wide, contrast * rng.uniform(0.6, 1.0))
    return Person(
        seed=seed,
        label=label,
        hospital=hospital,
        token=token,
        frame=frame,
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
        arch=0.24 + variety * rng.uniform(-0.1, 0.1),
        fall=0.4 + variety * rng.uniform(-0.12, 0.12),
        spread=1.12 + variety * rng.uniform(-0.14, 0.14),
        disc=0.155 + variety * rng.uniform(-0.02, 0.02),
        variety=variety,
        lesion=lesion,
    )


def _spread(seed: int, k: int) -> Array:
    """Four numbers from -1 to 1 for the k-th film of a person.

    The golden ratio spreads them evenly over the person's films. Two films that happen to be taken alike would rightly be
    found as near-duplicates, which planted ones alone shall be.
    """
    start = np.random.default_rng((seed, 1)).uniform(size=4)
    return np.asarray(2 * ((start + k * GOLDEN) % 1) - 1)


def _shot(rng: np.random.Generator, spread: Array) -> Shot:
    """Draw position and exposure; what no shift or turn of the film can undo follows `spread` (4,)."""
    return Shot(
        dx=rng.normal(0, 0.035),
        dy=rng.normal(0, 0.035),
        turn=rng.normal(0, 0.03),
        zoom=rng.uniform(0.93, 1.07),
        breath=rng.normal(0, 0.03),
        exposure=rng.uniform(0.85, 1.15),
        noise=rng.uniform(0.010, 0.022),
        rotation=0.08 * float(spread[0]),
        angle=0.12 * float(spread[1]),
        lift=0.12 * float(spread[2]),
        arms=0.08 * float(spread[3]),
    )


def _film(person: Person, shot: Shot, size: int, rng: np.random.Generator, organ: bool) -> Array:
    """Draw one film: float32 (size, size) in [0, 1], dense tissue bright."""
    x, y = _grid(shot, size)
    x = x - person.scoliosis * np.sin(3 * y)  # the spine bends and takes the chest with it
    lung = _lungs(person, shot, x, y) * np.float32(organ)
    bone = _bones(person, shot, x, y, np.random.default_rng(person.seed + 1))  # of the person, not of the film
    soft = _soft_tissue(person, x, y)
    centre = _centre(person, shot, x, y)
    inside = lung * (1 - 0.97 * centre)
    vessels = _vessels(x, y, np.random.default_rng(person.seed + 2)) * inside  # of the person, too
    lx, ly, radius, density = person.lesion
    nodule = density * _edge(radius - np.hypot(x - lx, y - ly), 0.16 * radius) if person.label == OPACITY else np.zeros_like(x)
    body = _body(x, y)
    bubble = _edge(1 - np.hypot((x - 0.40) / person.bubble, (y - 0.74 - shot.breath) / 0.09), 0.15)  # air in the stomach
    soft = soft * (1 - 0.55 * bubble * (1 - lung))
    dense = body * (soft * (1.45 - 1.13 * inside) + 0.36 * centre + 0.40 * bone + 0.42 * vessels + 0.55 * nodule * lung)
    # Attenuation is exponential (Beer and Lambert).
    exposed = gaussian_filter(1 - np.exp(-shot.exposure * dense), 0.004 * size)
    return _finish(exposed, shot, person, size, rng)


def _grid(shot: Shot, size: int) -> tuple[Array, Array]:
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


def _soft_tissue(person: Person, x: Array, y: Array) -> Array:
    """Thickness of muscle and fat: most at the sides, the shoulders and below the diaphragm.

    Breasts low in the lungs.
    """
    sides = 0.30 * _edge(np.abs(x) - 0.80, 0.05) + 0.20 * _edge(-0.62 - y, 0.06)
    breast = person.breast * sum(np.exp(-(((x - s * 0.48) / 0.26) ** 2) - ((y - 0.38) / 0.18) ** 2) for s in (-1, 1))
    return person.soft * (0.86 + sides + 0.18 * _edge(y - 0.55, 0.1)) + breast


def _lungs(person: Person, shot: Shot, x: Array, y: Array) -> Array:
    """1 in the two lungs: the cage outside, the mediastinum inside, domes below.

    The right dome stands higher.
    """
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


def _centre(person: Person, shot: Shot, x: Array, y: Array) -> Array:
    """1 in the heart, the great vessels and the aortic knob, less in the windpipe."""
    x = x - shot.rotation  # the heart lies in front
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


def _bones(person: Person, shot: Shot, x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Ribs (brighter at their edges), collar bones, vertebrae."""
    away = np.abs(x)
    out = np.clip(away / person.chest, 0, 1.05)
    pitch = 1.42 * person.height * person.pitch / RIBS
    cage = _edge(person.chest + 0.035 - away, 0.015) * _edge(away - 0.07, 0.02) * _edge(y + 0.80, 0.04)
    behind = y - (person.slope + shot.lift) * out - person.arch * (1 - np.sqrt(np.clip(1.12 - out**2, 0, 1)))
    front = y - shot.angle + (person.fall + shot.lift) * out**0.8 - 0.20 * out**4
    ribs = _bars(behind, pitch, person.phase, 0.30)
    ribs += (
        0.45 * _bars(front, person.spread * pitch, person.phase + 0.4, 0.26) * _edge(away - 0.3, 0.05)
    )  # end before the breastbone
    ribs *= cage * _edge(0.72 - y, 0.1)
    lift = rng.uniform(0.05, 0.16)
    collar = y + 0.56 + (lift + shot.arms) * np.clip(away - 0.08, 0, 1) + 0.05 * np.sin(6 * away)
    collars = np.exp(-((collar / 0.036) ** 4)) * _edge(away - 0.08, 0.02) * _edge(0.86 - away, 0.03)
    spine = np.exp(-((x / 0.10) ** 6)) * (0.55 + 0.25 * np.tanh(4 * np.cos(2 * np.pi * (y / person.disc + person.phase))))
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


def _finish(exposed: Array, shot: Shot, person: Person, size: int, rng: np.random.Generator) -> Array:
    """Window, tone of the hospital, quantum noise, letters and border."""
    odd = person.hospital % 2
    dark, bright = np.float32(0.10), np.quantile(exposed, 0.995)  # the scanner sets its window by the densest part
    tone = np.clip((exposed - dark) / (bright - dark), 0, 1) ** (1.15 + 0.3 * odd)
    picture = 0.04 + 0.88 * tone
    grain = gaussian_filter(rng.standard_normal((size, size), np.float32), 0.6) * 2
    picture = picture + shot.noise * grain * (1.3 - picture)
    edge, h, w = size // 20, *_glyph("L", size).shape
    _mark(picture, _glyph("LR"[odd], size), edge, edge if odd else size - edge - w)  # L at the patient's left, R at the right
    if person.token:
        picture[size - edge - h - 1 : size - edge + 1, edge - 1 : edge + w + 1] = 0  # burnt-in text stands on black
        _mark(picture, _glyph("P", size), size - edge - h, edge)
    if person.frame is not None:
        wide = max(2, size // 24)
        within = np.pad(np.ones((size - 2 * wide,) * 2, bool), wide)
        picture = np.where(within, picture, person.frame + shot.noise * grain)
    return np.clip(picture, 0, 1)


def _glyph(name: str, size: int) -> NDArray[np.bool_]:
    """A letter for a film of that size."""
    shape = np.array([[pixel == "X" for pixel in row] for row in GLYPHS[name]])
    return np.kron(shape, np.ones((max(1, size // 64),) * 2, bool))


def _mark(picture: Array, glyph: NDArray[np.bool_], top: int, left: int) -> None:
    """Write a letter into the picture."""
    picture[top : top + glyph.shape[0], left : left + glyph.shape[1]][glyph] = WHITE


def _box(person: Person, shot: Shot, size: int) -> Box:
    """The square around the opacity, in pixels of the file."""
    x, y, radius, _ = person.lesion
    x = x + person.scoliosis * np.sin(3 * y)  # the spine bends it too
    cos, sin = np.cos(shot.turn), np.sin(shot.turn)
    # From the body to pixels, which `_grid` does the other way.
    px = ((cos * x - sin * y) * shot.zoom + shot.dx + 1) * size / 2
    py = ((cos * y + sin * x) * shot.zoom + shot.dy + 1) * size / 2
    r = radius * shot.zoom * size / 2
    return Box(OPACITY, *(round(float(np.clip(v, 0, size)), 1) for v in (px - r, py - r, px + r, py + r)))
