"""Pictures with boxes in the layout of PASCAL VOC: an XML a picture."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from ...errors import DataError, count
from ...records import record
from ..cases import Box, Case, Finding, Manifest
from .listing import close, list_images, some

ANNOTATED = "annotated_size"  # the column that keeps the size of the picture that the XML speaks of
Pairs = tuple[tuple[str, str], ...]


@record
class Voc:
    """The XML files below a folder, each with the picture it names.

    The classes of a case are those of its boxes.

    Corners count from 1 and lie inside the box, so 1 is taken from the first. Boxes without an area or outside the picture are
    left out and named, as are those that are cut to it. `only` names the objects that are kept, as `rename` calls them (default:
    all); `difficult` keeps those that are marked so. A picture whose XML names nothing is one of a case without any class; one
    without an XML is left out and counted.
    """

    rename: Pairs = ()
    only: tuple[str, ...] = ()
    difficult: bool = True

    def scan(self, root: Path) -> Manifest:
        if not root.is_dir():
            raise DataError(f"{root} is {'a file, not a folder' if root.exists() else 'not there'}")
        notes = sorted(path for path in root.rglob("*") if path.suffix.lower() == ".xml" and not path.name.startswith("."))
        if not notes:
            raise DataError(
                f"{root} holds no XML files; resdx reads boxes in the layout of PASCAL VOC (Annotations/1.xml, JPEGImages/1.jpg)"
            )
        pictures = list_images(root)[0]
        called, named = _by(pictures, lambda path: path.stem), _by(pictures, lambda path: path.name)
        cases, gone, odd, shortened, others = [], list[str](), list[tuple[str, str]](), list[str](), Counter[str]()
        for note in notes:
            name, boxes, wrong, cut, size = self._boxes(note)
            path = _picture(root, note, (called.get(_plain(note.stem), []), named.get(_plain(name), [])))
            if not path:
                gone.append(note.name)
                continue
            others.update(box.label for box in boxes if self.only and box.label not in self.only)
            boxes = [box for box in boxes if not self.only or box.label in self.only]
            odd += [(path, what) for what in wrong]
            shortened += [path] * cut
            labels = tuple(sorted({box.label for box in boxes}))
            cases.append(Case(path, path, labels=labels, boxes=tuple(boxes), extra={ANNOTATED: size} if size else {}))
        if twice := [case for case, often in Counter(case.id for case in cases).items() if often > 1]:
            raise DataError(f"{root}: {twice[0]} has several XML files; leave one")
        if self.only and not any(case.boxes for case in cases):
            raise DataError(
                f"{root}: no object is called {' or '.join(self.only)}; there are {', '.join(sorted(others)) or 'none'}"
            )
        alone = sorted(set(pictures) - {case.path for case in cases})
        boxes_there = sum(len(case.boxes) for case in cases) + len(odd)
        like = {_letters(name) for name in (*self.only, *dict(self.rename))}
        near = [name for name in others if _letters(name) in like]
        return close(root, cases, _findings(gone, alone, odd, shortened, others, near, boxes_there))

    def _boxes(self, note: Path) -> tuple[str, list[Box], list[str], int, str]:
        """What one annotation says of its picture.

        The picture's file name, the boxes that can be used, what is wrong with the others, how many were cut to the picture,
        and its size.
        """
        try:
            root = ElementTree.parse(note).getroot()
            if root.tag != "annotation":
                raise ValueError(f"it is about <{root.tag}>")
            width, height = (float(root.findtext(f"size/{name}") or 0) for name in ("width", "height"))
            found, wrong, rename, cut = [], [], dict(self.rename), 0
            for thing in root.iter("object"):
                name = (thing.findtext("name") or "").strip()
                corners = [float(thing.findtext(f"bndbox/{key}") or "nan") for key in ("xmin", "ymin", "xmax", "ymax")]
                if not self.difficult and (thing.findtext("difficult") or "0").strip() == "1":
                    continue
                box = _box(rename.get(name, name), corners, width, height)
                if isinstance(box, str):
                    wrong.append(box)
                elif min(corners[:2]) < 0 or (width and height and (corners[2] > width or corners[3] > height)):
                    cut += 1
                    found.append(box)
                else:
                    found.append(box)
        except (ElementTree.ParseError, ValueError, OSError) as error:
            raise DataError(f"{note} cannot be read as an annotation of PASCAL VOC ({error}); mend it or take it away") from error
        size = f"{width:.0f}x{height:.0f}" if width and height else ""
        return (root.findtext("filename") or "").strip(), found, wrong, cut, size


def _plain(name: str) -> str:
    """A name as one system writes it: some take letters and their accents apart."""
    return unicodedata.normalize("NFC", name)


def _letters(name: str) -> str:
    """What two spellings of a name have in common."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _by(pictures: Sequence[str], key: Callable[[Path], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in pictures:
        found.setdefault(_plain(key(Path(path))), []).append(path)
    return found


def _picture(root: Path, note: Path, found: Sequence[Sequence[str]]) -> str:
    """The picture of an XML, of those that are called like it, else of those that it names.

    Empty where there is none.

    Of several the one in the same folder, else in one of the same name (Annotations/train, JPEGImages/train), else beside it.

    Raises:
        DataError: several could be meant.
    """
    home = note.parent.relative_to(root)
    near = {home, home.parent} if note.parent != root else {home}
    for candidates in found:
        folders = [(path, Path(path).parent) for path in candidates]
        for some_of in (
            [path for path, folder in folders if folder == home],
            [path for path, folder in folders if folder.name == home.name],
            [path for path, folder in folders if {folder, folder.parent} & near],
            candidates,
        ):
            if len(some_of) == 1:
                return some_of[0]
            if some_of:
                raise DataError(f"{note} could be about {some_of[0]} or {some_of[1]}; put it beside its picture")
    return ""


def _box(name: str, corners: list[float], width: float, height: float) -> Box | str:
    """The box in pixels from 0, or what is wrong with it."""
    x1, y1, x2, y2 = corners[0] - 1, corners[1] - 1, corners[2], corners[3]
    if not name:
        return "a box without a name"
    if width and height:
        x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    else:
        x1, y1 = max(x1, 0), max(y1, 0)
    if not all(map(math.isfinite, corners)):
        return f"a box of {name} with a corner that is no number"
    if corners[2] < corners[0] or corners[3] < corners[1]:
        return f"a box of {name} whose corners are the wrong way round"
    if not (x2 - x1 > 1 and y2 - y1 > 1):  # of one pixel or none
        outside = corners[2] - corners[0] > 1 and corners[3] - corners[1] > 1
        return f"a box of {name} outside the picture" if outside else f"a box of {name} without an area"
    return Box(name, x1, y1, x2, y2)


def _findings(
    gone: list[str],
    alone: list[str],
    odd: list[tuple[str, str]],
    shortened: list[str],
    others: Counter[str],
    near: list[str],
    boxes: int,
) -> list[Finding]:
    out = []
    if alone:
        text = (
            f"{count(len(alone), 'picture')} without an XML file, left out: {some(alone)}. Where nothing is in them, an XML "
            f"without objects takes them in"
        )
        out.append(Finding("pictures-without-boxes", "look", text, figures={"files": len(alone)}))
    if others:
        each = ", ".join(f"{name} {number:,}" for name, number in others.most_common())
        text = f"{count(others.total(), 'box', 'boxes')} of other objects, left out: {each}"
        text += f". Is {' or '.join(near)} another spelling of an object that is kept? Then rename it" if near else ""
        out.append(Finding("other-objects", "look" if near else "note", text, figures={"boxes": others.total()}))
    if gone:
        text = f"{count(len(gone), 'XML file')} without the picture that they name, left out: {some(gone)}"
        out.append(Finding("boxes-without-picture", "look", text, figures={"files": len(gone)}))
    if odd:
        said = "; ".join(f"{path}: {what}" for path, what in odd[:3]) + (" ..." if len(odd) > 3 else "")
        text = f"{len(odd)} of {boxes} boxes cannot be used and are left out: {said}"
        out.append(Finding("bad-boxes", "look", text, tuple(dict.fromkeys(path for path, _ in odd)), {"boxes": len(odd)}))
    if shortened:
        paths = tuple(dict.fromkeys(shortened))
        text = f"{count(len(shortened), 'box reaches', 'boxes reach')} out of their picture and are cut to it: {some(paths)}"
        out.append(Finding("boxes-cut", "note", text, paths, {"boxes": len(shortened)}))
    return out
