"""S09: tuberculosis in chest radiographs.

Three ways of enhancing the film before ResNet or EfficientNet-B4.

Paper: Munadi et al. 2020 (doi 10.1109/access.2020.3041867); its abstract was read. Data: Shenzhen, 662 films of as many persons,
the class in the last digit of the name (licence: free use with citation, from memory); Montgomery's films have the same form and
serve for external validation (point at their CXR_png folder, since masks bear the names of films). Published: accuracy 0.899 at
best (seen in the abstract), AUC 0.948 (from memory), both said to be of EfficientNet-B4 with the unsharp mask. To doubt: one
hospital; a test of some 120 films cannot tell filters apart; whether the test part chose the filter is unknown. Radius 5 and
amount 2, shares 0.5 and 0.75 and cut-off 70 come from public code of the same filters and from memory. No film of tuberculosis
was at hand: not judged.
"""

from dataclasses import replace

from ...data.sources.folders import FilenamePattern
from ...data.sources.public_sets import KERMANY, KERMANY_CLASSES
from ...data.tasks import Classify
from ...models.heads.specs import Linear
from ...models.specs import BackboneSpec, Net, Pretrained, ResNet
from ...transforms.augment import Affine, ColorJitter
from ...transforms.image import (
    Clahe,
    Equalise,
    Grey,
    HighEmphasis,
    Resize,
    UnsharpMask,
)
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

FILTERS = {
    "unsharp": (UnsharpMask(sigma=5, amount=2),),
    "emphasis": (HighEmphasis(cutoff=70, keep=0.5, gain=0.75), Equalise()),
    "clahe": (Clahe(),),
}
NETWORKS: dict[str, BackboneSpec] = {
    "resnet18": ResNet(18, weights="imagenet"),
    "efficientnet": Pretrained("efficientnet_b4", weights="imagenet"),
}

RECIPE = Recipe(
    name="tuberculosis_cxr",
    title="Tuberculosis in chest radiographs",
    about=About("S09", "tuberculosis", "chest radiograph", "Shenzhen, Montgomery", "no data"),
    benchmark=Benchmark(
        "cxr-pneumonia",
        defect="pneumonia of children, no tuberculosis",
        source=KERMANY,
        classes=KERMANY_CLASSES,
        task=Classify("PNEUMONIA"),
    ),
    source=FilenamePattern(
        r"(?P<group>(?P<source>CHN|MCU)CXR_\d+)_(?P<label>[01])\.", rename=(("0", "normal"), ("1", "tuberculosis"))
    ),
    classes=("normal", "tuberculosis"),
    prepare=(Grey(), Resize(224)),
    augment=(Affine(degrees=8, scale=0.1, shift=0.05), ColorJitter()),  # no mirroring: the heart has a side
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    task=Classify(positive="tuberculosis"),
    learn=Training(epochs=20, head_epochs=1, lr_decay=0.7),
    differs=(
        "the paper's split, sizes, augmentation and rates were not seen: all are ours",
        "filters work on films of 224 px, so that their radius and cut-off have one meaning",
        "CLAHE by tiles; the public code of the same filters slides a window of 100 px",
    ),
)
ENHANCED = {
    name: replace(RECIPE, title=f"{RECIPE.title}, {name}", prepare=(*RECIPE.prepare, *steps)) for name, steps in FILTERS.items()
}
OTHERS = {
    f"{net}{f'-{name}' if name else ''}": replace(one, title=f"{one.title}, {net}", model=Net(backbone, Linear(dropout=0.2)))
    for net, backbone in NETWORKS.items()
    for name, one in {"": RECIPE, **ENHANCED}.items()
}
OTHERS["efficientnet-unsharp"] = replace(
    OTHERS["efficientnet-unsharp"], published=(Published("accuracy", 0.899, seen=True), Published("auroc", 0.948))
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE), **ENHANCED, **OTHERS}
