"""A collection of phantom films in folders, with persons, hospitals and planted faults of real sets.

Planted are the same person under two names or in two shipped parts, copies, a mark that gives the class away, wrong labels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from ...errors import DataError
from ...files import write_text
from ..cases import Box, Case, Manifest
from .film import (
    NORMAL,
    OPACITY,
    RADIUS,
    Person,
    draw_film,
    draw_person,
)

Cue = Literal["hospital", "corner", "border"]
Pairs = tuple[tuple[str, str], ...]

DARK, BETWEEN, LIGHT = 0.10, 0.17, 0.24  # the two greys of a border that may follow the class, and what parts them
OTHER = {"": "", "train": "test", "test": "train", NORMAL: OPACITY, OPACITY: NORMAL}


@dataclass(frozen=True)
class Truth:
    """What was written and what was planted; paths are below the folder.

    `manifest` holds the true person, label, hospital and opacity box of every file. Pairs are (original, planted):
    `leaks` another film of a person under a new id, `copies` the same bytes, `near` the same film smaller and as JPEG; where
    parts are shipped, the planted one lies in the other part. `across` are persons with films in both shipped parts.
    `mislabelled` files lie in the other class's folder. `marked` files carry the burnt-in letter or the light border.
    """

    manifest: Manifest
    leaks: Pairs = ()
    copies: Pairs = ()
    near: Pairs = ()
    across: tuple[str, ...] = ()
    mislabelled: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()

    @property
    def boxes(self) -> dict[str, Box]:
        """The opacity of each file that has one, by path."""
        return {case.id: case.boxes[0] for case in self.manifest.cases if case.boxes}


@dataclass(frozen=True)
class _Persons:
    """Everyone in the collection, in the order of the ids.

    Of each the shipped part, and whose films are labelled wrongly.
    """

    people: Sequence[Person]
    parts: Sequence[str]
    across: frozenset[int]
    wrong: frozenset[int]
    misfiled: frozenset[int]  # only the first film

    def place(self, number: int, k: int) -> tuple[str, str]:
        """Part and class folder of a person's k-th film."""
        part, label = self.parts[number], self.people[number].label
        astray = number in self.wrong or (number in self.misfiled and k == 0)
        return OTHER[part] if number in self.across and k % 2 else part, OTHER[label] if astray else label


@dataclass(frozen=True)
class _Room:
    """Where films are written, how large, and whether with their organ."""

    folder: Path
    size: int
    organ: bool

    def write(self, person: Person, group: str, k: int, *, place: tuple[str, str], name: str) -> Case:
        """Draw and file a person's k-th film in a part and a class folder."""
        pixels, box = draw_film(person, k, self.size, organ=self.organ)
        boxes, source = (box,) if box else (), f"hospital {person.hospital + 1}"
        return self._file(
            _encoded(Image.fromarray(pixels), "PNG"),
            Case("", "", group, (person.label,), boxes=boxes, source=source),
            place,
            name,
        )

    def copy(self, original: Case, name: str, *, place: tuple[str, str], smaller: bool) -> Case:
        """File a film again under a new id: the same bytes, or four fifths of the size and as JPEG."""
        stored = (self.folder / original.path).read_bytes()
        if not smaller:
            return self._file(stored, original, place, f"{name}.png")
        image = Image.open(io.BytesIO(stored))
        size = round(0.8 * image.width)
        scale = size / image.width
        boxes = tuple(Box(box.label, *(scale * v for v in (box.x1, box.y1, box.x2, box.y2))) for box in original.boxes)
        return self._file(_encoded(image.resize((size, size)), "JPEG"), replace(original, boxes=boxes), place, f"{name}.jpg")

    def _file(self, stored: bytes, case: Case, place: tuple[str, str], name: str) -> Case:
        path = "/".join(filter(None, (*place, name)))
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(stored)
        return replace(case, id=path, path=path, part=place[0])


def draw_phantoms(
    folder: Path,
    *,
    persons: int = 60,
    images: int = 2,
    size: int = 96,
    prevalence: float = 0.4,
    radius: tuple[float, float] = RADIUS,
    contrast: float = 1.0,
    organ: bool = True,
    sources: int = 2,
    test_share: float = 0.0,
    leak: int = 0,
    copies: int = 0,
    near: int = 0,
    across: int = 0,
    cue: Cue = "hospital",
    shortcut: float = 0.0,
    label_noise: float = 0.0,
    misfiled: int = 0,
    variety: float = 1.0,
    seed: int = 0,
) -> Truth:
    """Write films as `folder/<class>/pNNN_K.png`, and the truth as `<folder>-truth.csv` beside it.

    Args:
        persons: with `images` films of `size` x `size` pixels each; a share `prevalence` is `opacity`, the others `normal`.
        radius: smallest and largest of an opacity, in half widths of the film; below 2 / size it is smaller than a pixel.
        contrast: density of the opacities against the usual; 0 hides them.
        organ: False draws the twins without lungs (the same persons, marks and noise, and nothing of the opacity).
        sources: hospitals, which differ in tone and in the lead letter in the corner.
        test_share: share of persons in a shipped test part; the folders are then `train/normal`, `test/normal` ...
        leak: films of known persons that go under a new id; `copies` and `near` do so with copies and near-duplicates.
        across: persons of whom every second film lies in the other shipped part.
        cue: what follows the class: the hospital, a letter P burnt into the lower left corner, or the grey of a border.
        shortcut: share of persons whose cue follows from the class (0 independent, 1 the cue tells all).
        label_noise: share of persons in the wrong folder; `misfiled` are persons of whom the first film alone lies there.
        variety: how much bones differ between persons, breath and beam between films; at 0 many films are near-duplicates.

    Raises:
        DataError: the folder is not empty, or a number makes no sense.
    """
    _check(folder, counts=(persons, images, sources), size=size, shares=(prevalence, shortcut, label_noise, test_share, variety))
    _check_opacity(radius, contrast)
    if cue not in get_args(Cue):
        raise DataError(f"the cue is hospital, corner or border, not {cue!r}")
    if across and (images < 2 or not 0 < test_share < 1):
        raise DataError("persons lie across two shipped parts only with two images each and a test_share between 0 and 1")
    people, wrong = _people(persons, prevalence, sources, label_noise, (cue, shortcut), (radius, contrast), variety, seed)
    everyone = _deal(people, wrong, test_share, across, misfiled, seed)
    room = _Room(folder, size, organ)
    cases = [
        room.write(person, f"p{i:03d}", k, place=everyone.place(i, k), name=f"p{i:03d}_{k}.png")
        for i, person in enumerate(people)
        for k in range(images)
    ]
    pairs = _plant(room, everyone, cases, ("leak",) * leak + ("copy",) * copies + ("near",) * near, seed)
    truth = _truth(room, everyone, cases, pairs)
    write_text(folder.with_name(f"{folder.name}-truth.csv"), _beside(truth.manifest).to_csv())
    return truth


def _check(folder: Path, *, counts: tuple[int, ...], size: int, shares: tuple[float, ...]) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; phantoms go into a new folder")
    if min(counts) < 1 or size < 32:
        raise DataError(f"phantoms need persons, images and sources of at least 1 and a size of at least 32 pixels, not {size}")
    if not all(0 <= share <= 1 for share in shares):
        raise DataError("prevalence, shortcut, label_noise, test_share and variety are between 0 and 1")


def _check_opacity(radius: tuple[float, float], contrast: float) -> None:
    if not 0 < radius[0] <= radius[1] <= 0.5:
        raise DataError(f"the radius of opacities is a range (smallest, largest) above 0 and up to 0.5, not {radius}")
    if contrast < 0:
        raise DataError(f"the contrast of opacities is 0 or more, not {contrast}")


def _people(
    persons: int,
    prevalence: float,
    sources: int,
    label_noise: float,
    cue: tuple[Cue, float],
    opacity: tuple[tuple[float, float], float],
    variety: float,
    seed: int,
) -> tuple[list[Person], frozenset[int]]:
    """Anatomy, and who is labelled wrongly; exact shares, in random order,
    so that neither the id nor the place in the list tells anything.
    """
    kind, strength = cue
    rng, chance = np.random.default_rng((seed, 0)), np.random.default_rng((seed, 2))
    ill = rng.permutation(persons) < round(prevalence * persons)
    wrong = np.flatnonzero(rng.permutation(persons) < round(label_noise * persons))
    follows = rng.permutation(persons) < round(strength * persons)
    hospital = rng.permutation(persons) % sources
    if kind == "hospital":
        hospital = np.where(follows, np.where(ill, min(1, sources - 1), 0), hospital)
    marked = np.where(follows, ill, chance.permutation(persons) % 2 == 1)
    frame = np.where(marked, LIGHT, DARK) + chance.normal(0, 0.01, persons)  # no two machines have quite the same
    people = [
        draw_person(
            int(rng.integers(2**31)),
            OPACITY if ill[i] else NORMAL,
            hospital=int(hospital[i]),
            radius=opacity[0],
            contrast=opacity[1],
            token=kind == "corner" and bool(marked[i]),
            frame=float(frame[i]) if kind == "border" else None,
            variety=variety,
        )
        for i in range(persons)
    ]
    return people, frozenset(wrong.tolist())


def _deal(people: Sequence[Person], wrong: frozenset[int], test_share: float, across: int, misfiled: int, seed: int) -> _Persons:
    """Deal persons to the shipped parts.

    Also chosen are who lies across the parts, and who has one film in the wrong class.
    """
    rng = np.random.default_rng((seed, 3))
    order = rng.permutation(len(people))
    test = set(order[: round(test_share * len(people))].tolist())
    parts = ["" if not test_share else "test" if i in test else "train" for i in range(len(people))]
    torn = rng.permutation(len(people))[:across].tolist()
    right = [i for i in rng.permutation(len(people)).tolist() if i not in wrong]
    return _Persons(people, parts, frozenset(torn), wrong, frozenset(right[:misfiled]))


def _plant(
    room: _Room, everyone: _Persons, cases: list[Case], kinds: tuple[str, ...], seed: int
) -> dict[str, list[tuple[str, str]]]:
    """File films of known persons under new ids.

    They are appended to `cases`; given back are the pairs (original, planted) by kind.
    """
    rng = np.random.default_rng((seed, 1))
    pairs: dict[str, list[tuple[str, str]]] = {"leak": [], "copy": [], "near": []}
    originals = tuple(cases)
    for number, kind in enumerate(kinds, len(everyone.people)):
        original = originals[int(rng.integers(len(originals)))]
        place = OTHER[original.part], original.path.split("/")[-2]
        if kind == "leak":
            person = everyone.people[int(original.group[1:])]
            case = room.write(person, original.group, len(cases), place=place, name=f"p{number:03d}_0.png")
        else:
            case = room.copy(original, f"p{number:03d}_0", place=place, smaller=kind == "near")
        cases.append(case)
        pairs[kind].append((original.id, case.id))
    return pairs


def _truth(room: _Room, everyone: _Persons, cases: list[Case], pairs: dict[str, list[tuple[str, str]]]) -> Truth:
    marked = {f"p{i:03d}" for i, person in enumerate(everyone.people) if person.token or (person.frame or 0) > BETWEEN}
    return Truth(
        Manifest(room.folder, tuple(cases), licence="synthetic: no rights"),
        leaks=tuple(pairs["leak"]),
        copies=tuple(pairs["copy"]),
        near=tuple(pairs["near"]),
        across=tuple(f"p{i:03d}" for i in sorted(everyone.across)),
        mislabelled=tuple(case.id for case in cases if case.id.split("/")[-2] != case.label),
        marked=tuple(case.id for case in cases if case.group in marked),
    )


def _encoded(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, quality=75)
    return out.getvalue()


def _beside(manifest: Manifest) -> Manifest:
    """The same cases for a table that lies beside the folder."""
    cases = tuple(replace(case, path=f"{manifest.root.name}/{case.path}") for case in manifest.cases)
    return replace(manifest, root=manifest.root.parent, cases=cases)
