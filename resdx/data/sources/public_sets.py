"""How public data sets that several recipes read are laid out: their classes and their persons."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from PIL import Image

from ...errors import DataError
from ...records import record
from ..cases import Box, Case, Manifest
from .folders import FilenamePattern, FolderPerClass
from .listing import close, list_images
from .tables import Table

# Kermany et al. 2018, chest radiographs of children (licence: CC BY 4.0, from memory), with the test part it ships. A
# number names a child only within
# its kind: person1_bacteria and person1_virus are two children.
KERMANY = FolderPerClass(group=r"^(person\d+_[a-z]+)|^((?:NORMAL2-)?IM-\d+)")
KERMANY_CLASSES = ("NORMAL", "PNEUMONIA")

# BreakHis, Spanhol et al. 2016, breast tumours at four magnifications (licence: CC BY 4.0, from memory). Letters after the
# number of a slide are further
# slides of one person, as far as names tell: SOB_B_A-14-22549AB-40-001.png shows 14-22549.
BREAKHIS = FilenamePattern(
    r"SOB_(?P<label>[BM])_[A-Z]+-(?P<group>\d+-\d+)[A-Z]*-(?P<view>\d+)-", rename=(("B", "benign"), ("M", "malignant"))
)
BREAKHIS_CLASSES = ("benign", "malignant")

# COVID-CT, Yang et al. 2020, figures of journals (licence: not stated), with a table of persons for each class.
JOURNAL_CT = FolderPerClass(
    rename=(("CT_COVID", "covid"), ("CT_NonCOVID", "other")),
    tables=(
        Table(file="COVID-CT-MetaInfo.csv", path="File name", group="Patient ID", folder="CT_COVID"),
        Table(file="NonCOVID-CT-MetaInfo.csv", path="image name", group="patient id", folder="CT_NonCOVID"),
    ),
)

# HAM10000, Tschandl et al. 2018, skin lesions (licence: CC BY-NC 4.0, from memory), with all pictures in one folder;
# persons are told by lesion.
HAM10000 = Table(
    file="HAM10000_metadata.csv", folder="images", path="image_id", label="dx", group="lesion_id", age="age", sex="sex"
)

# LC25000, Borkowski et al. 2019 (licence: CC BY 4.0, from memory): folders of lung tissue, which stand in for other tissues.
LUNG_TISSUE = ("lung_n", "lung_aca", "lung_scc")

# GITA, Orozco et al. 2014 (licence: on request): the speaker in the name of a recording, AVPEPUDEA0001a1.wav; C is for controls.
SPEAKER = r"(AVPEPUDEAC?\d+)"

MIAS_LINE = re.compile(r"^(mdb(\d+))\s+[FGD]\s+([A-Z]{4})(?:\s+[BM]\s+(\d+)\s+(\d+)\s+(\d+))?", re.MULTILINE)
MIAS_SIDE = 1024  # pixels of a film in which the list gives its circles


@record
class MiniMias:
    """mini-MIAS, Suckling et al. 1994 (licence: research only): films mdb001 ...

    In any folder and the list `file`, one line a
    finding.

    Films 2n - 1 and 2n are one woman's. A film is "normal" or "abnormal", with a box around each circle of the list (x, y from
    the bottom, radius).
    """

    file: str = "Info.txt"

    def scan(self, root: Path) -> Manifest:
        files, ignored = list_images(root)
        films = {Path(file).stem: file for file in files}
        try:
            lines = MIAS_LINE.findall((root / self.file).read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise DataError(
                f"{root / self.file} cannot be read ({error.strerror or error}); it is the list that mini-MIAS comes with"
            ) from error
        cases: dict[str, Case] = {}
        for name, number, finding, *circle in lines:
            if name in films:
                label, woman = "normal" if finding == "NORM" else "abnormal", (int(number) + 1) // 2
                case = cases.setdefault(name, Case(films[name], films[name], f"woman {woman}", (label,)))
                boxes = (_around(root / case.path, *map(int, circle)),) if all(circle) else ()
                cases[name] = replace(case, boxes=(*case.boxes, *boxes))
        return close(root, list(cases.values()), ignored)


def _around(film: Path, x: int, y: int, radius: int) -> Box:
    """The box around a circle of the list, in pixels of the file.

    Raises DataError for a film that is no picture.
    """
    try:
        with Image.open(film) as picture:
            scale = picture.width / MIAS_SIDE
    except OSError as error:
        raise DataError(f"{film} cannot be read as an image ({error}); copy it again or remove it") from error
    x1, y1 = x - radius, MIAS_SIDE - y - radius
    return Box("abnormal", *(scale * place for place in (x1, y1, x1 + 2 * radius, y1 + 2 * radius)))
