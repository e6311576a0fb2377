"""S05: COVID-19 in computed tomography or chest radiographs, an ensemble of networks.

Paper: Shrivastava et al. 2021; it was not read. Its data, members, vote, split and training are unknown here, and so is its
score; a review shows images with and without COVID-19 of both kinds. Data: two folders of slices, as SARS-CoV-2 CT-scan of
Soares et al. 2020 or COVID-CT of Zhao et al. 2020 have them, or three folders of radiographs as those of Ozturk et al. 2020
(licence: research use, from memory; one for each image of the radiographs). To doubt: no person is named, so slices of one scan
may stand on both sides of the split; each class may come from sources of its own; and who fits the weights of an ensemble on the
test part reports what he chose.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass
from ...data.sources.public_sets import JOURNAL_CT
from ...data.tasks import Classify
from ...models.heads.specs import Linear, Svm
from ...models.specs import Net, Pretrained
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Grey, Resize
from ..benchmark import Benchmark
from ..learning import Ensemble, FeatureClassifier, Member, Training
from ..recipe import About, Recipe

TUNED = Training(epochs=15, head_epochs=2, lr=3e-4, lr_decay=0.7, class_weights="balanced")
RECIPE = Recipe(
    name="ensemble_covid",
    title="COVID-19 in tomography or radiographs, three networks together",
    # A slice of COVID-CT is named by its publication, page and figure, a film of NIH by its person and visit.
    about=About("S05", "COVID-19", "computed tomography, chest radiograph", "SARS-CoV-2 CT-scan", "real data"),
    benchmark=Benchmark("ct-covid", source=JOURNAL_CT),
    source=FolderPerClass(
        group=r"^(.+?)(?:-p\d|%|_\d{3}\.|\.\w+$)",
        rename=(
            *(("COVID", "covid"), ("CT_COVID", "covid"), ("Covid-19", "covid")),
            *(("non-COVID", "other"), ("CT_NonCOVID", "other"), ("No_findings", "other"), ("Pneumonia", "other")),
        ),
    ),
    classes=("other", "covid"),
    prepare=(Grey(), Resize(224)),
    augment=(Flip(), Affine(degrees=8, scale=0.1, shift=0.05), ColorJitter()),
    model=Net(Pretrained("vgg16", weights="imagenet"), Linear(dropout=0.2)),
    task=Classify(positive="covid"),
    learn=Ensemble(
        (
            Member("vgg16", TUNED),
            Member("resnet50", TUNED, Net(Pretrained("resnet50", weights="imagenet"), Linear(dropout=0.2))),
            Member("densenet121", TUNED, Net(Pretrained("densenet121", weights="imagenet"), Linear(dropout=0.2))),
        )
    ),
    differs=(
        "the paper's data, members, vote, split and training were not seen: all are ours",
        "weights and stacking are never fitted on calib or test",
        "images of one publication count as those of one person, and so do images of one number, since the files name no person",
    ),
)
WEIGHTED, MAJORITY = (
    RECIPE.set("learn.vote", vote).set("title", f"{RECIPE.title}, {vote} vote") for vote in ("weighted", "majority")
)
# Out-of-fold answers would train fifteen networks more.
STACKING = replace(
    RECIPE.set("learn.vote", "stacking").set("learn.stack_on", "tune"),
    title=f"{RECIPE.title}, stacking",
    differs=(
        *RECIPE.differs,
        "stacking is fitted on the tune part, not on out-of-fold answers, which would train five times as many networks",
    ),
)
WIDE = Pretrained("mobilenetv2_100", weights="imagenet", frozen="all")
FEATURES = replace(
    RECIPE,
    title=f"{RECIPE.title}, frozen MobileNet-V2 features",
    model=Net(WIDE),
    learn=Ensemble(
        (
            Member("wide", FeatureClassifier()),
            Member("narrow", FeatureClassifier(), Net(Pretrained("mobilenetv2_035", weights="imagenet", frozen="all"))),
            Member("vectors", FeatureClassifier(), Net(WIDE, Svm())),
        ),
        vote="stacking",
    ),
    differs=(
        *RECIPE.differs,
        (
            "two regressions and a support vector machine on frozen features of MobileNet-V2 of two widths, stacked on "
            "out-of-fold answers, instead of three trained networks"
        ),
    ),
)
VARIANTS = {"weighted": WEIGHTED, "majority": MAJORITY, "stacking": STACKING, "features": FEATURES}
