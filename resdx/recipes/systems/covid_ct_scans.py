"""S06: COVID-19 and other pneumonia in scans of computed tomography.

A multi-scale ResNet-50, four classifiers of persons, one over the four.

Paper: Garg et al. 2021, of which the abstract was read. Data: COVID-CT-MD (Afshar et al. 2021; licence: CC BY 4.0, from memory),
305 scans as DICOM, in a folder a person: COVID-19, community-acquired pneumonia, normal. Published, as seen in the abstract:
accuracy .949 of 98 persons of the validation part (100, 89.47 and 94.55 % of normal, CAP and COVID-19: 24 of 24, 17 of 19, 52 of
55), .8889 of 90 of the test part.
To doubt: the third level is fitted on what the second was fitted on; scans of CAP are from 2018 and 2019, those of COVID-19 from
2020, so scanner and year are a cue; 80 of 90 leaves .81 to .94.

Here level 1 looks at 16 slices of a scan, cut to the lungs, and taps the four stages of the network; a scan's features are the
means over all slices and over the 1 and the 4 where a feature is highest. Level 2 is four classifiers of scans, level 3 a
regression on their out-of-fold answers. For a fixed window of Hounsfield units use `ReadScan(read=ReadDicom(low=-1000,
high=400), each=(LungCrop(above=0.43),))`.
"""

from dataclasses import replace

from ...data.sources.folders import FolderPerClass, Scans
from ...data.sources.public_sets import JOURNAL_CT
from ...data.tasks import Classify
from ...models.heads.specs import Boosting, Forest, HeadSpec, Linear, Svm
from ...models.specs import Net, Pretrained, ResNet, Tiled
from ...transforms.image import Grey, Resize
from ...transforms.lung import LungCrop
from ...transforms.readers.volume import ReadScan
from ..benchmark import Benchmark
from ..learning import Ensemble, FeatureClassifier, Member
from ..recipe import About, Published, Recipe

SHEET = ReadScan(rows=4, columns=4, side=128, each=(Grey(), LungCrop()))  # 4 x 4 slices of 128 px
LEVEL2: dict[str, HeadSpec] = {"regression": Linear(), "vectors": Svm(), "forest": Forest(), "boosting": Boosting()}


def levels(backbone: ResNet | Pretrained) -> dict[str, object]:
    """`model` and `learn` of the recipe with the slices' features of a network."""
    # means over all slices, over the highest and the 4 highest
    tiles = Tiled(backbone, rows=SHEET.rows, columns=SHEET.columns, top=(1, 4))
    members = tuple(Member(name, FeatureClassifier(), Net(tiles, head)) for name, head in LEVEL2.items())
    return {"model": Net(tiles), "learn": Ensemble(members, vote="stacking")}


RECIPE = Recipe(
    name="covid_ct_scans",
    title="COVID-19 and other pneumonia in scans of computed tomography",
    about=About("S06", "COVID-19, pneumonia", "computed tomography", "COVID-CT-MD", "stand-in"),
    benchmark=Benchmark(
        "ct-covid",
        defect=(
            "journal figures, a few slices of a person and no whole scan, two classes; file format, size and colour tell "
            "something of the class"
        ),
        source=Scans(JOURNAL_CT),
        classes=("other", "covid"),
    ),
    source=Scans(
        FolderPerClass(
            group=r"([^/]+)/[^/]+$",  # the folder of a person
            rename=(("Covid-19 Cases", "covid"), ("Cap Cases", "pneumonia"), ("Normal Cases", "normal")),
        )
    ),
    classes=("normal", "pneumonia", "covid"),
    read=SHEET,
    prepare=(Resize(SHEET.rows * SHEET.side),),  # the sheet as it is
    **levels(ResNet(50, multi_scale=True, weights="imagenet", frozen="all")),  # type: ignore[arg-type]
    task=Classify(),
    published=(Published("accuracy", 0.8889, seen=True),),
    differs=(
        "the paper's scales, four classifiers, pooling of slices and training were not seen: all are ours",
        (
            "level 1 is frozen: only some persons of the set have labelled slices, and out-of-fold features would train a "
            "network a fold"
        ),
        "the regression over the four learns from out-of-fold answers",
        "raw images are not cleaned by hand",
        "the figure is that of the test part; the validation part gave .949",
    ),
)
FEATURES = replace(
    RECIPE,
    title=f"{RECIPE.title}, frozen MobileNet-V2 features",
    **levels(Pretrained("mobilenetv2_100", weights="imagenet", frozen="all")),  # type: ignore[arg-type]
    differs=(*RECIPE.differs, "MobileNet-V2, of which one stage is tapped, instead of a multi-scale ResNet-50"),
)
VARIANTS = {"features": FEATURES}
