"""S31: pneumonia, tuberculosis, COVID-19 or none in chest radiographs, ResNet-50.

Paper: Chetan Reddy et al.; it is in no list of references and was not read. Its data are unknown; here the folders NORMAL,
PNEUMONIA, COVID19 and TURBERCULOSIS of a public collection put together from several (licence: one for each source; names of
folders and files from memory). Published: accuracy 0.9845, by a review. To doubt: everything. Each disease comes from another
archive and age group (pneumonia of children of one hospital, tuberculosis of adults of another), so the network need only tell
archives apart, and a figure says nothing about the diseases. No film of tuberculosis was at hand, so that class cannot be judged
at all; the stand-in without it has one source a class, too.
"""

from ...data.sources.folders import FolderPerClass
from ...models.heads.specs import Linear
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter
from ...transforms.image import Grey, Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="respiratory_cxr",
    title="Pneumonia, tuberculosis, COVID-19 or none in chest radiographs",
    about=About("S31", "respiratory diseases", "chest radiograph", "a collection of several", "stand-in"),
    benchmark=Benchmark(
        "cxr-covid-talo",
        defect="no tuberculosis; the source determines the class",
        source=FolderPerClass(
            r"^(\d{8})_\d{3}\.|^(.+)\.\w+$",  # the number of an NIH person, or the name of a file of another set
            rename=(("Covid-19", "covid"), ("No_findings", "none"), ("Pneumonia", "pneumonia")),
        ),
        classes=("none", "pneumonia", "covid"),
    ),
    source=FolderPerClass(
        # Names of Kermany tell a child, names of NIH a person and visit; a film of any other name is a person of its own.
        group=r"^(person\d+_[a-z]+)_|^((?:NORMAL2-)?IM-\d+)|^(\d{8})_\d{3}\.|^(.+)\.\w+$",
        rename=(
            *(("NORMAL", "none"), ("PNEUMONIA", "pneumonia"), ("COVID19", "covid")),
            *(("TURBERCULOSIS", "tuberculosis"), ("TUBERCULOSIS", "tuberculosis")),
        ),
    ),
    classes=("none", "pneumonia", "tuberculosis", "covid"),
    prepare=(Grey(), Resize(224)),
    augment=(Affine(degrees=8, scale=0.1, shift=0.05), ColorJitter()),  # no mirroring: the heart has a side
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    learn=Training(epochs=20, head_epochs=1, lr_decay=0.7, class_weights="balanced"),
    published=(Published("accuracy", 0.9845),),
    differs=("the paper's data, split, sizes and rates were not seen: all are ours",),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE)}
