"""S11: normal or abnormal mammograms, VGG16 against ResNet-50.

Paper: Ismail and Sovuthy 2019; it was not read. Its data are patches of IRMA, a collection of several sources whose layout was
not seen. Here: mini-MIAS, one of those sources (licence: research only), 322 films of 161 women; films 2n - 1 and 2n are one
woman's breasts. Published: accuracy 0.94 of VGG16 and 0.917 of ResNet-50, from memory. To doubt: IRMA's sources may decide the
class; in a test of 100 patches the two figures cannot be told apart.
"""

from dataclasses import replace

from ...data.sources.public_sets import MiniMias
from ...data.tasks import Classify
from ...models.heads.specs import Linear
from ...models.specs import Net, Pretrained, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import CropForeground, Grey, Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="mammograms",
    title="Normal or abnormal mammograms",
    about=About("S11", "breast tumour", "mammogram", "mini-MIAS", "real data"),
    benchmark=Benchmark("mammo-mias", source=MiniMias("labels")),
    source=MiniMias(),
    classes=("normal", "abnormal"),
    prepare=(Grey(), CropForeground(above=0.1), Resize(224, keep="pad")),  # no stretching: the breast keeps its form
    augment=(Flip(), Affine(degrees=15, scale=0.1, shift=0.05), ColorJitter()),
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    task=Classify(positive="abnormal"),
    learn=Training(epochs=20, head_epochs=1, lr_decay=0.7),
    published=(Published("accuracy", 0.917),),
    differs=("whole films of mini-MIAS, not patches of IRMA", "the paper's split, sizes and rates were not seen: all are ours"),
)
VGG = replace(
    RECIPE,
    title=f"{RECIPE.title}, VGG16",
    model=Net(Pretrained("vgg16", weights="imagenet"), Linear(dropout=0.2)),
    published=(Published("accuracy", 0.94),),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE), "vgg16": VGG}
