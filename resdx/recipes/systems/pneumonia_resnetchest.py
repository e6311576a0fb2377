"""S15: ResNetChest, pneumonia in children's chest radiographs, with offline augmentation.

Paper: Youssef et al. 2020; it was not read. Data: Kermany et al. 2018 (licence: CC BY 4.0, from memory), 5,856 films with a test
part. Published: accuracy above 0.9765, by a review; no usual share of 5,856 gives it. To doubt: copies made before a split stand
on both sides of it, and so do films of one child; the shipped test part has another class balance. The review names a
convolution, batch normalisation, dropout and a dense layer on top of ResNet-50, in no order or size; here the head is batch
normalisation, dropout and a hidden layer, without the convolution. Whether the paper made its copies before it split is unknown:
the variant copies-first does, and `--protocol assumed` then splits them at random; the recipe itself varies films of the train
part alone, while it trains.
"""

from dataclasses import replace

from ...data.sources.folders import Copies
from ...data.sources.public_sets import KERMANY, KERMANY_CLASSES
from ...models.heads.specs import Mlp
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine
from ...transforms.image import Grey, Resize
from ...transforms.readers.copies import ReadCopy
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="pneumonia_resnetchest",
    title="ResNetChest: pneumonia in children's chest radiographs",
    about=About("S15", "pneumonia", "chest radiograph", "Kermany", "the paper's data"),
    benchmark=Benchmark("cxr-pneumonia"),
    source=KERMANY,
    classes=KERMANY_CLASSES,
    prepare=(Grey(), Resize(224)),
    augment=(Affine(degrees=10, scale=0.1, shift=0.1),),  # no mirroring: the heart has a side
    model=Net(ResNet(50, weights="imagenet"), Mlp(hidden=256, dropout=0.5, norm=True)),
    learn=Training(epochs=20, head_epochs=1, lr_decay=0.7, weight_decay=1e-4),
    published=(Published("accuracy", 0.9765),),
    differs=(
        "the paper's split, sizes, rates and the layers of its head were not seen: all are ours, and the head has no convolution",
        "films are varied while the network trains, and only those of the train part",
    ),
)
COPIES = replace(
    RECIPE,
    title=f"{RECIPE.title}, copies made before the split",
    source=Copies(KERMANY, copies=4),
    read=ReadCopy(degrees=10, shift=0.1, zoom=0.1),
    augment=(),
    differs=(
        "the paper's split, sizes, rates and the layers of its head were not seen: all are ours, and the head has no convolution",
        "four copies of each film, made before the split: our assumption, to measure what it leaks",
    ),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    "copies-first": COPIES,
    "copies-first-features": on_features(COPIES),
}
