"""S22: COVID-19 and other lung disease in chest radiographs.

A network of its own, ResNet-50 and VGG-19.

Paper: Shukla et al. 2022; it was not read. Its data, sizes, split and training are unknown here. Published: accuracy 0.993
as reported by a review, which does not say of which network. Data: the three folders of Ozturk et al. 2020 (licence: terms of the
NIH, and one for each image of COVID-19; from memory). To doubt: each class comes from its own source, so that size and colour
tell the class, and a score says nothing about the disease.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...models.heads.specs import Linear, Mlp
from ...models.specs import Cnn, Net, Pretrained, ResNet
from ...transforms.augment import Affine, ColorJitter
from ...transforms.image import Grey, Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="covid_lung_nets",
    title="COVID-19 and lung disease in chest radiographs, three networks: a small one",
    # NIH names films by person and visit; films of other names are a person each, as far as the names tell.
    about=About("S22", "COVID-19, pneumonia", "chest radiograph", "Ozturk", "real data"),
    benchmark=Benchmark("cxr-covid-talo", defect="the source determines the class"),
    source=FolderPerClass(
        group=r"^(\d{8})_\d{3}\.|^(.+)\.\w+$",
        rename=(("Covid-19", "covid"), ("No_findings", "no finding"), ("Pneumonia", "pneumonia")),
    ),
    classes=("no finding", "pneumonia", "covid"),
    prepare=(Grey(), Resize(128)),
    augment=(Affine(degrees=8, scale=0.1, shift=0.05), ColorJitter()),  # no mirroring: the heart has a side
    model=Net(Cnn(), Mlp(hidden=128, dropout=0.5)),
    learn=Training(epochs=40, class_weights="balanced", patience=10),
    published=(Published("accuracy", 0.993),),
    differs=(
        "the paper's data, sizes, split and training were not seen: all are ours",
        "the layers of the small network are ours",
        "another group's folders, in which the class decides the source",
    ),
)
VARIANTS = {
    "features": on_features(RECIPE),
    "fine-tuned": fine_tuned(RECIPE),
    "resnet50": replace(
        RECIPE, title="COVID-19 and lung disease in chest radiographs, three networks: ResNet-50", model=Net(ResNet(50), Linear())
    ),
    "vgg19": replace(
        RECIPE,
        title="COVID-19 and lung disease in chest radiographs, three networks: VGG-19",
        model=Net(Pretrained("vgg19"), Mlp(hidden=256, dropout=0.5)),
    ),
}
