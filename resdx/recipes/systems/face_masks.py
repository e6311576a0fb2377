"""S13: faces with and without masks, found by a ResNet-50 with the head of YOLOv2.

Paper: Loey et al. 2021; its figure was seen in the abstract. Data: two public sets of photographs (682 and 853 pictures), joined
and cleaned to 1,415; here the second one, Kaggle's face-mask detection (licence: CC0). From memory: 224 px, 23 anchors of mean
overlap .86, batches of 64, 60 epochs, rate 1e-3, ResNet-50 up to its 40th activation, 70/10/20 %.
To doubt: at which overlap the average precision of 81 % was taken; one class, "mask", so that a bare face is background; the
same stock photographs in both sets.

No person is known. A photograph is a case of its own, and those that look alike stay together.
"""

from dataclasses import replace

from ...data.sources.pascal_voc import Voc
from ...data.tasks import Detect
from ...models.heads.specs import Yolo
from ...models.specs import Net, Pretrained, ResNet, Truncated
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe

KINDS = (
    ("with_mask", "mask"),
    ("without_mask", "no mask"),
    ("mask_weared_incorrect", "worn wrongly"),
    ("con_mascarilla", "mask"),
    ("sin_mascarilla", "no mask"),
    ("mascarilla_mal_puesta", "worn wrongly"),
)
LEARN = Training(epochs=40, batch=16, optimiser="adam", weight_decay=0.0, lr=1e-3, lr_decay=0.8)
MOBILENET = Net(Truncated(Pretrained("mobilenetv2_100", weights="imagenet"), "block5"), Yolo())

RECIPE = Recipe(
    name="face_masks",
    title="Face masks in photographs",
    about=About("S13", "none: prevention", "photographs", "face-mask detection (Kaggle)", "the paper's data"),
    benchmark=Benchmark("face-mask", small=("mobilenet",)),  # no frozen features find boxes
    source=Voc(rename=KINDS),
    classes=("mask", "no mask", "worn wrongly"),
    prepare=(Resize(416, keep="pad"),),  # no stretching: faces keep their form
    augment=(Flip(), Affine(degrees=5, scale=0.3, shift=0.1), ColorJitter()),
    model=Net(Truncated(ResNet(50, weights="imagenet"), "layer3"), Yolo()),
    task=Detect(),
    learn=LEARN,
    published=(Published("ap50", 0.81, seen=True),),
    differs=(
        "one of the two sets of pictures, with its three classes",
        "416 px, 5 anchors, 40 epochs and batches of 16 for 224 px, 23 anchors, 60 epochs and 64",
        "its average precision is taken for AP50, which the abstract does not say",
        "persons, splits and rates of the stages are ours",
    ),
)
VARIANTS = {
    "sgd": replace(RECIPE, title=f"{RECIPE.title}, SGD with momentum", learn=replace(LEARN, optimiser="sgd", lr=1e-2)),
    "mobilenet": replace(RECIPE, title=f"{RECIPE.title}, MobileNet-V2", model=MOBILENET),
    "mobilenet-sgd": replace(
        RECIPE,
        title=f"{RECIPE.title}, MobileNet-V2, SGD with momentum",
        model=MOBILENET,
        learn=replace(LEARN, optimiser="sgd", lr=1e-2),
    ),
    "blood-cells": replace(
        RECIPE,
        title="Blood cells, MobileNet-V2",
        source=Voc(),
        classes=("Platelets", "RBC", "WBC"),
        augment=(Flip(vertical=True), Affine(degrees=10, scale=0.2, shift=0.1), ColorJitter()),  # a smear has no way up
        model=MOBILENET,
    ),
}
