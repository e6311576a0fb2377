"""S30: brain tumour or none in magnetic resonance slices, cut to the head by contours, ResNet-50.

Paper: Rathore et al. 2023; it was not read. Its data are unknown; here the public layout of two folders, yes and no, of 253
slices (Chakrabarty 2019) or of Br35H (licence: none is stated, from memory). Published: "high accuracy", by a review. To doubt:
pictures from the web with copies among them, and no person is named, so near-duplicates are kept together; tumours and healthy
heads come from other sources. The review names "image processing" alone: blur, threshold, erosion and the box of the largest
contour are a common way, chosen by us. Measured on the folders of Bhuvaji et al. 2020, three tumours taken together.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...data.tasks import Classify
from ...models.heads.specs import Linear
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import ContourCrop, Grey, Rescale, Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="brain_tumour_crop",
    title="Brain tumour or none in magnetic resonance slices, cut to the head",
    about=About("S30", "brain tumour", "magnetic resonance", "253 slices or Br35H", "real data"),
    benchmark=Benchmark(
        "mri-brain",
        source=FolderPerClass(
            rename=(
                ("no_tumor", "no tumour"),
                *((f"{kind}_tumor", "tumour") for kind in ("glioma", "meningioma", "pituitary")),
            )
        ),
    ),
    source=FolderPerClass(rename=(("no", "no tumour"), ("yes", "tumour"))),
    classes=("no tumour", "tumour"),
    prepare=(Grey(), ContourCrop(), Rescale(0, 100), Resize(224)),  # cut first, so that the air does not set the grey values
    augment=(Flip(), Affine(degrees=15, scale=0.1, shift=0.05), ColorJitter()),
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    task=Classify(positive="tumour"),
    learn=Training(epochs=20, head_epochs=1, lr_decay=0.7),
    differs=("the paper's data, image processing, split, sizes and rates were not seen: all are ours",),
)
WHOLE = replace(
    RECIPE,
    title="Brain tumour or none in magnetic resonance slices, uncut",
    prepare=(Grey(), Rescale(0, 100), Resize(224)),
    differs=(*RECIPE.differs, "slices are not cut to the head, to see what the crop is worth"),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    "uncut": WHOLE,
    "uncut-features": on_features(WHOLE),
}
