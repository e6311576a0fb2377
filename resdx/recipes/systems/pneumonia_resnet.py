"""S28: pneumonia in children's chest radiographs.

ResNet-50 with augmentation and two-stage fine-tuning.

Paper: Chhabra and Kumar 2022. Data: Kermany et al. 2018, chest X-rays of children, with the test part it ships
(licence: CC BY 4.0, from memory). Published: accuracy 0.966 as reported by a review; the paper itself was not read.
To doubt: the data set names persons only in its file names, and its test part has another class balance than the
rest.
"""

from dataclasses import replace

from ...data.sources.public_sets import KERMANY, KERMANY_CLASSES
from ...models.heads.specs import Linear
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter
from ...transforms.image import Grey, Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="pneumonia_resnet",
    title="Pneumonia in children's chest radiographs",
    about=About("S28", "pneumonia", "chest radiograph", "Kermany", "real data"),
    benchmark=Benchmark("cxr-pneumonia"),
    source=KERMANY,
    classes=KERMANY_CLASSES,
    prepare=(Grey(), Resize(112)),
    augment=(Affine(degrees=10, scale=0.15, shift=0.07), ColorJitter(brightness=0.15, contrast=0.3, gamma=0.3)),
    model=Net(ResNet(50), Linear(dropout=0.2)),
    learn=Training(epochs=12, batch=32, lr=1e-3, start_size=80),
    published=(Published("accuracy", 0.966),),
    differs=(
        "the paper's split, sizes and rates were not seen: all are ours",
        "trained from scratch in one stage; the variant two-stage starts from ImageNet weights and trains the head first",
    ),
)
STAGED = replace(
    RECIPE.set("size", "224"),
    title="Pneumonia in children's chest radiographs, in two stages",
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    learn=Training(epochs=12, head_epochs=4, lr_decay=0.7),
    differs=(
        "the paper's split, sizes and rates were not seen: all are ours",
        "four epochs for the head, eight for the whole network at lower rates",
    ),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE), "two-stage": STAGED}
