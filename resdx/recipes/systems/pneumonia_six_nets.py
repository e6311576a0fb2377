"""S21: pneumonia in chest radiographs, six networks under one protocol.

Paper: Militante et al. 2020, of which a copy of the abstract was read that breaks off before the results. Seen there:
28,000 images of 224 px, the six networks, Adam with a rate of 1e-4 that is adjusted, 500 epochs, batches of 32 and 64. Published:
GoogLeNet 0.98, LeNet 0.98, VGG-16 0.97, AlexNet 0.96, StridedNet 0.96, ResNet-50 0.80, all weakly remembered and not seen. To
doubt: LeNet at the top and ResNet-50 at the bottom point to a fault of training or an easy cue in the data, and no part held out
is named. The source of the images is unknown. Here: Kermany et al. 2018, children's chest X-rays (licence: CC BY 4.0, from
memory).
"""

from dataclasses import replace

from ...data.sources.public_sets import KERMANY, KERMANY_CLASSES
from ...data.tasks import Classify
from ...models.heads.specs import Linear
from ...models.specs import (
    AlexNet,
    BackboneSpec,
    LeNet,
    Net,
    Pretrained,
    ResNet,
    StridedNet,
)
from ...transforms.augment import Affine, ColorJitter
from ...transforms.image import Grey, Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

SIZE = 224  # px
NETS: dict[str, tuple[str, BackboneSpec, float]] = {  # title, backbone, figure
    "googlenet": ("GoogLeNet", Pretrained("googlenet"), 0.98),
    "lenet": ("LeNet", LeNet(SIZE), 0.98),
    "vgg16": ("VGG-16", Pretrained("vgg16"), 0.97),
    "alexnet": ("AlexNet", AlexNet(SIZE), 0.96),
    "stridednet": ("StridedNet", StridedNet(SIZE), 0.96),
}

RECIPE = Recipe(
    name="pneumonia_six_nets",
    title="Pneumonia in chest radiographs, six networks: ResNet-50",
    about=About("S21", "pneumonia", "chest radiograph", "Kermany", "real data"),
    benchmark=Benchmark("cxr-pneumonia", small=("features", "lenet")),  # learns from scratch, as the paper's network does
    source=KERMANY,
    classes=KERMANY_CLASSES,
    prepare=(Grey(), Resize(SIZE)),
    augment=(Affine(degrees=10, scale=0.1, shift=0.05), ColorJitter()),  # no mirroring: the heart has a side
    model=Net(ResNet(50), Linear()),
    task=Classify(positive="PNEUMONIA"),
    learn=Training(epochs=60, batch=32, optimiser="adam", lr=1e-4, weight_decay=0.0, schedule="plateau", ema=0.0, patience=10),
    published=(Published("accuracy", 0.80),),
    differs=(
        "another data set: that of the paper is not named in what was read",
        "60 epochs at most, stopped on tune, in place of 500; how the rate is adjusted is ours",
        "all networks start from random weights, with pooled maps below a linear head; the paper's start was not seen",
        "augmentation is ours",
    ),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE)} | {
    name: replace(
        RECIPE,
        title=f"Pneumonia in chest radiographs, six networks: {title}",
        model=Net(backbone, Linear()),
        published=(Published("accuracy", figure),),
    )
    for name, (title, backbone, figure) in NETS.items()
}
