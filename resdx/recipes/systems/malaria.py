"""S12: malaria parasites in single cells of thin blood smears, ResNet-50 among other networks.

Paper: Nayak, Kumar and Jangid 2019; it was not read. Data: NIH cell images, 27,558 cells of 201 slides or persons
(licence: public domain, from memory). Published: accuracy 0.975504 as reported by a review. To doubt: cells of one
slide share stain and camera, and a random split lets a network know them; a slide's cells are often of one class.
Files are named by slide (C39P4thin..., C201Thin...).
"""

from ...data.sources.folders import FolderPerClass
from ...data.tasks import Classify
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="malaria",
    title="Malaria in single cells of thin blood smears",
    about=About("S12", "malaria", "blood smear", "NIH cells", "the paper's data"),
    benchmark=Benchmark("malaria-cells"),
    # the slide, as in C33P1thinF_IMG_20150619_114756a_cell_179.png
    source=FolderPerClass(group=r"^(C\d+)", rename=(("Parasitized", "parasitised"), ("Uninfected", "uninfected"))),
    classes=("uninfected", "parasitised"),
    prepare=(Resize(96),),
    augment=(Flip(vertical=True), Affine(degrees=180, scale=0.1, shift=0.05), ColorJitter()),  # a cell has no way up
    model=Net(ResNet(50)),
    task=Classify(positive="parasitised"),
    learn=Training(epochs=10, start_size=64),
    published=(Published("accuracy", 0.975504),),
    differs=(
        "split by slide instead of at random",
        (
            "how the paper divides was not seen; its figure is 5376 of 5511 cells, and 5511 is a fifth of 27,558: cells at "
            "random are the assumed protocol"
        ),
        "the paper's sizes, augmentation and rates were not seen: all are ours",
    ),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE)}
