"""S18: cancer in pictures of tissue, several transferred networks.

Paper: Ghadekar et al. 2021; it was not read. Its data, networks and figures are unknown here. Data: BreakHis, 7,909 pictures of
breast tumours of 82 persons at four magnifications (licence: CC BY 4.0, from memory). To doubt: pictures of one slide on both
sides of a split; letters after the number of a slide are taken for further slides of one person, as the names suggest. BreakHis
was not at hand: what was measured so far is a stand-in of other tissue.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...data.sources.public_sets import BREAKHIS, BREAKHIS_CLASSES, LUNG_TISSUE
from ...data.tasks import Classify
from ...models.heads.specs import Linear
from ...models.specs import Net, Pretrained, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

OTHERS = ("vgg16", "densenet121", "mobilenetv2_100")

RECIPE = Recipe(
    name="histology_transfer",
    title="Breast tumours in tissue",
    about=About("S18", "breast cancer", "histology", "BreakHis", "stand-in"),
    benchmark=Benchmark("histo-lung", source=FolderPerClass(), classes=LUNG_TISSUE, task=Classify()),
    source=BREAKHIS,
    classes=BREAKHIS_CLASSES,
    prepare=(Resize(224),),
    augment=(Flip(vertical=True), Affine(degrees=180, scale=0.1, shift=0.05), ColorJitter()),  # tissue has no way up
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    task=Classify(positive="malignant"),
    learn=Training(epochs=12, head_epochs=1, lr_decay=0.7),
    differs=("the paper's data, networks, split, sizes and rates were not seen: all are ours",),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    **{
        name: replace(
            RECIPE, title=f"{RECIPE.title}, {name}", model=Net(Pretrained(name, weights="imagenet"), Linear(dropout=0.2))
        )
        for name in OTHERS
    },
}
