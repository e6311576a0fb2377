"""S17: skin diseases in histopathology images.

A residual attention network with filter response normalisation.

Paper: Jiang, Li and Jin 2021 (DRANet); it was not read. Its data, about 1,167 images of 11 diseases, is its own and not public
(from memory). Published: accuracy 0.868, from memory; a review says only that it competes with fewer parameters. To doubt:
several images a case, small classes, and class activation maps shown as if they proved the reasoning. Any set of folders, one a
class, can be put in place of the paper's; the licence is that of the images you bring. The block layout is unknown: ours is
described in models/attention.py.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...data.sources.public_sets import LUNG_TISSUE
from ...models.heads.specs import Linear
from ...models.specs import Net, Pretrained, ResidualAttention, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="dranet",
    title="Skin diseases in histopathology images, residual attention network",
    about=About("S17", "skin diseases", "histology", "folders of a class", "stand-in"),
    benchmark=Benchmark("histo-lung", source=FolderPerClass(), classes=LUNG_TISSUE),
    source=FolderPerClass(),
    prepare=(Resize(128),),
    augment=(Flip(vertical=True), Affine(degrees=180, scale=0.1, shift=0.05), ColorJitter()),  # tissue has no way up
    model=Net(ResidualAttention(), Linear()),
    learn=Training(epochs=40, lr=1e-3, class_weights="balanced", patience=10),
    published=(Published("accuracy", 0.868),),
    differs=(
        "another data set: the paper's is not public",
        (
            "layout and width of the network are ours; known are residual attention, filter response normalisation and the "
            "pooled linear head"
        ),
        "the paper's split, sizes, augmentation and rates were not seen: all are ours",
        "without a group pattern each image counts as a person: name the case in the file name and set source.group",
    ),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    "resnet50": replace(RECIPE, title=f"{RECIPE.title}: ResNet-50 instead", model=Net(ResNet(50), Linear())),
    "vgg16": replace(RECIPE, title=f"{RECIPE.title}: VGG-16 instead", model=Net(Pretrained("vgg16"), Linear())),
}
