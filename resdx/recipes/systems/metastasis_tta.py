"""S32: metastases in tiles of lymph nodes.

Answered by the mean over eight views, ResNet-50 against VGG.

Paper: Zheng et al. 2021 (doi 10.1109/ICCECE51280.2021.9342346); its abstract was read: a network after ResNet with test-time
augmentation on Kaggle's PCam, compared with VGG16 and VGG19. Data: that form of PCam, 220,025 tiles of 96 px without copies
(licence: CC0, from memory); a tile is positive where its middle 32 px hold tumour. Published: no figure was seen. To doubt: the
file names no slide, so tiles of one slide stand on both sides of any split; PCam's own split is by slide, but needs its HDF5
files. Which views the paper took is unknown: the eight turns and mirrorings are ours. No tile of a lymph node was at hand:
metastases cannot be judged here, and other tissue stands in for the run alone.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...data.sources.public_sets import LUNG_TISSUE
from ...data.sources.tables import Table
from ...data.tasks import Classify
from ...models.heads.specs import Linear
from ...models.specs import Net, Pretrained, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="metastasis_tta",
    title="Metastases in tiles of lymph nodes, eight views",
    about=About("S32", "breast cancer", "histology", "PCam (Kaggle)", "stand-in"),
    benchmark=Benchmark("histo-lung", source=FolderPerClass(), classes=LUNG_TISSUE, task=Classify()),
    source=Table(
        file="train_labels.csv", folder="train", path="id", label="label", rename=(("0", "no tumour"), ("1", "metastasis"))
    ),
    classes=("no tumour", "metastasis"),
    prepare=(Resize(96),),
    augment=(Flip(vertical=True), Affine(degrees=180, scale=0.1, shift=0.03), ColorJitter()),  # tissue has no way up
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    task=Classify(positive="metastasis"),
    learn=Training(epochs=10, head_epochs=1, lr_decay=0.7),
    views=8,  # quarter turns, each mirrored too
    differs=(
        "ResNet-50; the paper's depth, head, split, sizes, rates and views were not seen: all are ours",
        "split by tile, since the file names no slide",
    ),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    "one-view": replace(RECIPE, title="Metastases in tiles of lymph nodes, one view", views=1),
    **{
        name: replace(
            RECIPE, title=f"{RECIPE.title}, {name}", model=Net(Pretrained(name, weights="imagenet"), Linear(dropout=0.2))
        )
        for name in ("vgg16", "vgg19")
    },
}
