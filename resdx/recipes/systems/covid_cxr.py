"""S07: COVID-19 in chest radiographs, ResNet-50.

Paper: Karhan and Akal 2020; it was not read. Its data, sizes, split and training are unknown here, and so is its
score. Data: the COVID-19 image collection of Cohen et al. 2020 (licence: one for each image, in its table; CC BY, CC
BY-NC-SA and others). To doubt: most films come from publications and web pages, a hospital often shows one finding
only, and films without COVID-19 show other lung diseases of few persons: no one here is healthy. The variant `talo`
reads the three folders of Ozturk et al. 2020 (licence: terms of the NIH, and one for each image of COVID-19; from
memory), where each class comes from its own source, so that size and colour tell the class: its score says nothing
about the disease.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...data.sources.tables import Table
from ...data.tasks import Classify
from ...models.heads.specs import Linear
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter
from ...transforms.image import Grey, Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="covid_cxr",
    title="COVID-19 in chest radiographs",
    about=About("S07", "COVID-19", "chest radiograph", "Cohen", "real data"),
    benchmark=Benchmark("cxr-covid-cohen"),
    source=Table(
        file="metadata.csv",
        folder="images",
        path="filename",
        label="finding",
        group="patientid",
        source="location",  # the hospital
        age="age",
        sex="sex",
        view="view",
        where=(("modality", "X-ray"), ("view", "PA", "AP", "AP Supine")),  # no lateral films, no CT
        patterns=(("covid", "^COVID-19"), ("other", "^(?!COVID-19)")),
        unknown=("^todo$", "^Unknown$"),  # not assessed, which is not "other"
    ),
    classes=("other", "covid"),
    prepare=(Grey(), Resize(128)),
    augment=(Affine(degrees=8, scale=0.1, shift=0.05), ColorJitter()),  # no mirroring: the heart has a side
    model=Net(ResNet(50), Linear(dropout=0.2)),
    task=Classify(positive="covid"),
    learn=Training(epochs=30, class_weights="balanced"),
    differs=(
        "the paper's data, sizes, split and training were not seen: all are ours",
        "COVID-19 against other findings, not against healthy chests",
        "lateral films and findings marked todo or Unknown are left out",
    ),
)
TALO = replace(
    RECIPE,
    title="COVID-19, pneumonia or neither in chest radiographs",
    # NIH names films by person and visit; films of other names are a person each, as far as the names tell.
    source=FolderPerClass(
        group=r"^(\d{8})_\d{3}\.|^(.+)\.\w+$",
        rename=(("Covid-19", "covid"), ("No_findings", "no finding"), ("Pneumonia", "pneumonia")),
    ),
    classes=("no finding", "pneumonia", "covid"),
    task=Classify(),
    differs=(
        "the paper's data, sizes, split and training were not seen: all are ours",
        "another group's folders, in which the class decides the source",
    ),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE), "talo": TALO, "talo-features": on_features(TALO)}
