"""S33: COVID-19 in computed tomography slices, the network and settings of a public repository.

Source: ChittyAbhiram, Transfer-Learning-Based-Covid-Diseases-Detection-Using-ResNet50 (2022), code and report, and a notebook of
the same project with its outputs; both were read. Data: SARS-CoV-2 CT-scan, 2,481 slices (Soares et al. 2020; licence: CC
BY-NC-SA 4.0, from memory), two folders of PNG files that name no person. Published: accuracy 0.8954 in the last epoch, seen in
the notebook's output (the report's conclusion says 0.845). To doubt: validation and test are the same fifth of the slices, dealt
at random, so that slices of a person stand on both sides; one epoch earlier the accuracy was 0.7545; a chest is turned full
circle and mirrored. It starts from Keras's ImageNet weights, whose file is not read here.

As there: 64 px, values from 0 to 1, a 3x3 convolution of the colours before a ResNet-50 of version 1, all layers trained, two
BatchNorm and dropout layers around 256 units (24,122,070 numbers, 24,064,342 of them trained), Adam with a rate of 0.003 and an
epsilon of 0.1, batches of 64, 50 epochs, the rate times 0.7 after 5 epochs without a better score and not below 1e-4.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...data.sources.public_sets import JOURNAL_CT
from ...data.split import RandomImages
from ...data.tasks import Classify
from ...models.heads.specs import Mlp
from ...models.specs import KerasResNet, Net
from ...transforms.augment import Affine, Flip
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="covid_ct",
    title="COVID-19 in computed tomography slices",
    about=About("S33", "COVID-19", "computed tomography", "SARS-CoV-2 CT-scan", "real data"),
    benchmark=Benchmark(
        "ct-covid", small=("features", ""), source=JOURNAL_CT
    ),  # learns from scratch, as the paper's network does
    source=FolderPerClass(rename=(("COVID", "covid"), ("non-COVID", "other"))),
    classes=("other", "covid"),
    prepare=(Resize(64),),
    augment=(Flip(vertical=True), Affine(degrees=180, scale=0.2, shift=0.2)),
    model=Net(KerasResNet(50, recolour=True), Mlp(hidden=256, dropout=0.5, norm=True)),
    task=Classify(positive="covid"),
    learn=Training(
        epochs=50,
        batch=64,
        optimiser="adam",
        lr=0.003,
        epsilon=0.1,
        weight_decay=0.0,
        schedule="plateau",
        plateau_factor=0.7,
        plateau_patience=5,
        min_lr=1e-4,
        ema=0.0,
    ),
    published_split=RandomImages(0.2, seed=42),
    published=(Published("accuracy", 0.8954, seen=True),),
    differs=(
        (
            "random starting weights, unless --weights names a file of this network: the published run starts from Keras's "
            "ImageNet weights"
        ),
        (
            "the epoch with the best tune AUROC is kept and the plateau is that of tune; published is the last epoch, with "
            "the plateau of the accuracy on the test slices"
        ),
        "the published fifth is drawn with the same share and seed, but not by the same generator: other slices",
        (
            "colours in the order RGB, there BGR; pictures shrink by a triangle instead of a box; gradients are clipped to a "
            "norm of 5"
        ),
        "no file names its person, so near-duplicate slices are kept together in the honest split",
    ),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    "224": replace(RECIPE.set("size", "224"), title=f"{RECIPE.title} of 224 px"),
}
