"""S11: normal or abnormal mammograms, VGG16 against ResNet-50.

Paper: Ismail and Sovuthy 2019; it was not read. Its data are patches of IRMA, a collection of several sources whose layout was not seen. Here: mini-MIAS,
one of those sources (licence: research only), 322 films of 161 women; films 2n - 1 and 2n are one woman's breasts. Published: accuracy 0.94 of VGG16 and
0.917 of ResNet-50, from memory. To doubt: IRMA's sources may decide the class; in a test of 100 patches the two figures cannot be told apart.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ..cases import Box, Case, Manifest
from ..listing import close, list_images
from ..models.specs import Linear, Net, Pretrained, ResNet
from ..recipe import About, Published, Recipe, Training, fine_tuned, on_features
from ..records import read_text, record
from ..steps.image import CropDark, Grey, Resize
from ..steps.random import Affine, Flip, Tone
from ..tasks import Classify

LINE = re.compile(r"^(mdb(\d+))\s+[FGD]\s+([A-Z]{4})(?:\s+[BM]\s+(\d+)\s+(\d+)\s+(\d+))?", re.MULTILINE)
DRAWN = 1024  # pixels of a side in which x, y (from the bottom) and radius are given


@record
@dataclass(frozen=True)
class MiniMias:
    """Films mdb001 ... in any folder and the set's list `file`, one line a finding; where a line has a circle, a box around it."""

    file: str = "Info.txt"

    def scan(self, root: Path) -> Manifest:
        files, cases = {Path(file).stem: file for file in list_images(root)[0]}, dict[str, Case]()
        for name, number, finding, *circle in LINE.findall(read_text(root / self.file)):
            if name in files:
                label, woman = "normal" if finding == "NORM" else "abnormal", (int(number) + 1) // 2
                case = cases.setdefault(name, Case(files[name], files[name], f"woman {woman}", (label,)))
                scale = Image.open(root / case.path).width / DRAWN
                x, y, r = (scale * int(text or 0) for text in circle)
                box = Box(label, x - r, scale * DRAWN - y - r, x + r, scale * DRAWN - y + r)
                cases[name] = replace(case, boxes=(*case.boxes, box) if r else case.boxes)
        return close(root, list(cases.values()), [])


RECIPE = Recipe(
    name="mammograms",
    title="Normal or abnormal mammograms",
    about=About("S11", "breast tumour", "mammogram", "mini-MIAS", "real data"),
    source=MiniMias(),
    classes=("normal", "abnormal"),
    prepare=(Grey(), CropDark(above=0.1), Resize(224, keep="pad")),
    augment=(Flip(), Affine(degrees=15, scale=0.1, shift=0.05), Tone()),
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    task=Classify(positive="abnormal"),
    learn=Training(epochs=20, head_epochs=3, lr_decay=0.7),
    published=(Published("accuracy", 0.917),),
    differs=("whole films of mini-MIAS, not patches of IRMA", "the paper's split, sizes and rates were not seen: all are ours"),
)
VGG = replace(RECIPE, title=f"{RECIPE.title}, VGG16", model=Net(Pretrained("vgg16", weights="imagenet"), Linear(dropout=0.2)))
VGG = replace(VGG, published=(Published("accuracy", 0.94),))
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE), "vgg16": VGG}
