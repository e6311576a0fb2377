"""S14: lung cancer in slices of computed tomography.

A filter, the lungs cut out by threshold, morphology and watershed, ResNet-50.

Paper: Rajguru et al. 2023; it was not read, and its "various datasets" are not named. Here: IQ-OTH/NCCD, slices of 110 persons
as pictures, in three folders (licence: CC BY 4.0, from memory). Published: "potentially 95 %", by a review, which reads as a
hope and not as a test. To doubt: neighbouring slices of one person; no file names its person, so slices that look alike are kept
together instead, and every split leaks. Pictures hold grey values of an unknown window; for DICOM or NIfTI slices use
`read=ReadDicom(low=-1000, high=400)` and `LungMask(above=0.43)`, which is -400 Hounsfield units.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...models.heads.specs import Linear
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Grey, Resize, Smooth
from ...transforms.lung import LungCrop, LungMask
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

FILTERS = {"gaussian": Smooth("gaussian", 1), "wiener": Smooth("wiener", 3)}

RECIPE = Recipe(
    name="lung_ct",
    title="Lung cancer in slices of computed tomography",
    about=About("S14", "lung cancer", "computed tomography", "IQ-OTH/NCCD", "real data"),
    benchmark=Benchmark("ct-lung", defect="no person ids; a window of bones, in which few slices show the lungs"),
    source=FolderPerClass(
        rename=(
            ("Bengin cases", "benign"),
            ("Benign cases", "benign"),
            ("Malignant cases", "malignant"),
            ("Normal cases", "normal"),
        )
    ),
    classes=("normal", "benign", "malignant"),
    # no stretching: the lungs keep their form
    prepare=(Grey(), Smooth("median", 3), LungMask(), LungCrop(), Resize(224, keep="pad")),
    augment=(Flip(), Affine(degrees=10, scale=0.1, shift=0.05), ColorJitter()),
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    learn=Training(epochs=20, head_epochs=1, lr_decay=0.7, class_weights="balanced"),
    differs=(
        "the paper's data, filters, thresholds, split and rates were not seen: all are ours",
        "the lungs are cut out, not single nodules, of which the set marks none",
        "a slice without lungs that can be found stays whole",
    ),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    "whole": replace(RECIPE, title=f"{RECIPE.title}, whole slices", prepare=(Grey(), Resize(224, keep="pad"))),
    **{
        name: replace(RECIPE, title=f"{RECIPE.title}, {name} filter", prepare=(Grey(), step, *RECIPE.prepare[2:]))
        for name, step in FILTERS.items()
    },
}
