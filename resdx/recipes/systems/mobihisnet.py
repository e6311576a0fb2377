"""S20: MobiHisNet, breast tumours in tissue by a MobileNet of half the width, for small devices.

Paper: Kumar et al. 2021 (doi 10.1109/jiot.2021.3119520); its abstract was read: MobileNet with a width of 0.5 and 16-bit weights
was the best trade between accuracy, time and memory, on a Raspberry Pi and three telephones. Data: BreakHis, 7,909 pictures of
82 persons at four magnifications (from memory that the paper used it; licence: CC BY 4.0, from memory). Published: no figure was
seen. To doubt: many papers on BreakHis split by picture, and a figure over persons is another one than over pictures. `resdx
export --to int8` or bf16 makes a small model and measures what it costs. BreakHis was not at hand: measured on a stand-in.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...data.sources.public_sets import BREAKHIS, BREAKHIS_CLASSES, LUNG_TISSUE
from ...data.tasks import Classify
from ...models.heads.specs import Linear
from ...models.specs import BackboneSpec, MobileNetV1, Net, Pretrained, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

OTHERS: dict[str, BackboneSpec] = {
    **{f"width-{width:g}": MobileNetV1(width=width) for width in (0.25, 0.75, 1.0)},
    "v2": Pretrained("mobilenetv2_050"),
    "resnet50": ResNet(50),
}

RECIPE = Recipe(
    name="mobihisnet",
    title="MobiHisNet: breast tumours in tissue",
    about=About("S20", "breast cancer", "histology", "BreakHis", "stand-in"),
    benchmark=Benchmark("histo-lung", source=FolderPerClass(), classes=LUNG_TISSUE, task=Classify()),
    source=BREAKHIS,
    classes=BREAKHIS_CLASSES,
    prepare=(Resize(224),),
    augment=(Flip(vertical=True), Affine(degrees=180, scale=0.1, shift=0.05), ColorJitter()),  # tissue has no way up
    model=Net(MobileNetV1(width=0.5), Linear(dropout=0.2)),
    task=Classify(positive="malignant"),
    learn=Training(epochs=20),
    differs=(
        "MobileNet of half the width, from random weights; which MobileNet and which head the paper used was not seen",
        "the paper's split, sizes, augmentation and rates were not seen: all are ours",
    ),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    **{
        name: replace(RECIPE, title=f"{RECIPE.title}, {name}", model=Net(backbone, Linear(dropout=0.2)))
        for name, backbone in OTHERS.items()
    },
}
