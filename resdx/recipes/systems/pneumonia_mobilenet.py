"""S25: pneumonia in children's chest radiographs, MobileNet among other transferred networks.

Paper: Gupta, Padsala and Saikia 2023; it was not read. Its data are probably those of Kermany et al. 2018 (licence: CC BY 4.0,
from memory), which are used here. Published: MobileNet was the best of several networks, by a review, which gives no figure. To
doubt: the data set names persons only in its file names, and its test part has another class balance than the rest; an accuracy
over train and test together, as others report of this set, says nothing.
"""

from dataclasses import replace

from ...data.sources.public_sets import KERMANY, KERMANY_CLASSES
from ...models.heads.specs import Linear
from ...models.specs import BackboneSpec, Net, Pretrained, ResNet
from ...transforms.augment import Affine, ColorJitter
from ...transforms.image import Grey, Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

OTHERS: dict[str, BackboneSpec] = {
    "resnet50": ResNet(50, weights="imagenet"),
    **{name: Pretrained(name, weights="imagenet") for name in ("vgg16", "densenet121")},
}

RECIPE = Recipe(
    name="pneumonia_mobilenet",
    title="Pneumonia in children's chest radiographs, MobileNet-V2",
    about=About("S25", "pneumonia", "chest radiograph", "Kermany", "real data"),
    benchmark=Benchmark("cxr-pneumonia"),
    source=KERMANY,
    classes=KERMANY_CLASSES,
    prepare=(Grey(), Resize(224)),
    augment=(Affine(degrees=10, scale=0.15, shift=0.07), ColorJitter()),  # no mirroring: the heart has a side
    model=Net(Pretrained("mobilenetv2_100", weights="imagenet"), Linear(dropout=0.2)),
    learn=Training(epochs=12, head_epochs=1, lr_decay=0.7),
    differs=(
        "the paper's data, split, sizes and rates were not seen: all are ours",
        "MobileNet-V2; which MobileNet the paper used is unknown",
        "the networks it is compared with are ours",
    ),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    **{
        name: replace(
            RECIPE, title=f"Pneumonia in children's chest radiographs, {name}", model=Net(backbone, Linear(dropout=0.2))
        )
        for name, backbone in OTHERS.items()
    },
}
