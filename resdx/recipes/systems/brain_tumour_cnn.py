"""S04: brain tumours in magnetic resonance slices, a small network of its own for each task.

Paper: Irmak 2021, of which the abstract was read. Three tasks: tumour or none; normal, glioma, meningioma, pituitary or
metastatic; grades II to IV. Published: accuracy 0.9933, 0.9266 and 0.9814, seen in the abstract, with settings found by grid
search. Data of the paper: slices of several public archives (from memory). To doubt: slices of a person stand on both sides of
a random split, classes come from different archives, and settings were chosen on the pool they were scored on. Here: the four
folders of Bhuvaji et al. 2020 (licence: MIT, from memory), which have neither metastases nor grades: the third task cannot be
judged on them, and the second only with four of its five classes.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...data.tasks import Classify
from ...models.heads.specs import Mlp
from ...models.specs import Cnn, Net
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Grey, Rescale, Resize
from ..benchmark import Benchmark
from ..learning import Search, Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

TUMOURS = (("glioma_tumor", "glioma"), ("meningioma_tumor", "meningioma"), ("pituitary_tumor", "pituitary tumour"))
DIFFERS = (
    "another data set: four folders without metastases and without grades",
    "blocks, filters and the dense layer are ours: the paper's were not seen; maps are pooled where it probably flattens them",
    "sizes, augmentation and rates are ours; the grid search is the variant `search`, and its grid is ours",
    "no file names its person, so near-duplicate slices are kept together instead of persons",
)

TRAINING = Training(epochs=40, optimiser="sgd", lr=0.01, weight_decay=1e-4, class_weights="balanced", patience=10)
RECIPE = Recipe(
    name="brain_tumour_cnn",
    title="Brain tumour or none in magnetic resonance slices, a small network",
    about=About("S04", "brain tumour", "magnetic resonance", "Bhuvaji", "real data"),
    benchmark=Benchmark("mri-brain", small=("features", "")),  # learns from scratch, as the paper's network does
    source=FolderPerClass(rename=(("no_tumor", "no tumour"), *((folder, "tumour") for folder, _ in TUMOURS))),
    classes=("no tumour", "tumour"),
    prepare=(Grey(), Rescale(0, 100), Resize(128)),  # grey values of magnetic resonance have no unit
    augment=(Flip(), Affine(degrees=15, scale=0.1, shift=0.05), ColorJitter()),
    model=Net(Cnn((32, 64, 128, 256)), Mlp(hidden=256, dropout=0.5)),
    task=Classify(positive="tumour"),
    learn=TRAINING,
    published=(Published("accuracy", 0.9933, seen=True),),
    differs=DIFFERS,
)
TYPES = replace(
    RECIPE,
    title="Type of a brain tumour, or none, in magnetic resonance slices, a small network",
    source=FolderPerClass(rename=(("no_tumor", "no tumour"), *TUMOURS)),
    classes=("no tumour", "glioma", "meningioma", "pituitary tumour"),
    task=Classify(),
    published=(Published("accuracy", 0.9266, seen=True),),
    differs=("the paper's fifth class, metastatic, is in no folder", *DIFFERS),
)
# 2 x 2 x 2 x 3 x 2 = 48 combinations
GRID = (
    ("model.trunk.channels", ("32,64,128", "32,64,128,256")),
    ("model.trunk.kernel", ("3", "5")),
    ("model.head.dropout", ("0.3", "0.5")),
    ("learn.lr", ("0.003", "0.01", "0.03")),
    ("learn.weight_decay", ("1e-4", "1e-3")),
)
VARIANTS = {
    "search": replace(
        RECIPE,
        title=f"{RECIPE.title} found by a search",
        learn=Search(TRAINING, GRID, draws=12, epochs=10),
        differs=(*DIFFERS, "twelve of 48 combinations are tried, drawn at random"),
    ),
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    "types": TYPES,
    "types-features": on_features(TYPES),
}
