"""S27: brain tumours in T1-weighted magnetic resonance slices, ResNet-50.

Paper: D. S., Padma Suresh and John 2020; it was not read. Data of the paper: Cheng (figshare 1512427), 3,064 slices
of 233 persons with glioma, meningioma or pituitary tumour, as .mat files. Published: accuracy 0.987 as reported by a
review, called the maximum. To doubt: about 13 slices a person and probably split by slice; no usual share of 3,064
slices gives the figure. Here: the four folders of Bhuvaji et al. 2020 (licence: MIT, from memory), whose files name
no person; its Testing part repeats slices of its Training part, and its gliomas there look unlike the others. So the
vote of a person's slices, which `pool` takes where persons are known, cannot be judged on this set.
"""

from ...data.sources.folders import FolderPerClass
from ...data.tasks import Classify
from ...models.heads.specs import Linear
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Grey, Rescale, Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="brain_tumour_mri",
    title="Brain tumours in magnetic resonance slices",
    about=About("S27", "brain tumour", "magnetic resonance", "Bhuvaji", "real data"),
    benchmark=Benchmark("mri-brain"),
    source=FolderPerClass(
        rename=(
            ("no_tumor", "no tumour"),
            ("glioma_tumor", "glioma"),
            ("meningioma_tumor", "meningioma"),
            ("pituitary_tumor", "pituitary tumour"),
        ),
    ),
    classes=("no tumour", "glioma", "meningioma", "pituitary tumour"),
    prepare=(Grey(), Rescale(0, 100), Resize(128)),  # grey values of magnetic resonance have no unit
    augment=(Flip(), Affine(degrees=15, scale=0.1, shift=0.05), ColorJitter()),
    model=Net(ResNet(50), Linear(dropout=0.2)),
    task=Classify(),
    learn=Training(epochs=20),
    published=(Published("accuracy", 0.9867),),
    differs=(
        (
            "another data set: four folders with a class without tumour; the paper's .mat files (HDF5) need a reader that "
            "resdx does not have"
        ),
        "no file names its person, so near-duplicate slices are kept together instead of persons",
        "the paper's split, sizes and rates were not seen: all are ours",
    ),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE)}
