"""S24: pneumonia in chest radiographs, frozen features of ImageNet networks and classical classifiers.

Paper: Varshni et al. 2019; it was not read. Data: ChestX-ray14 (Wang et al. 2017; licence: terms of the NIH, from memory), of
which the paper is remembered to have used the 1,431 films with pneumonia and as many without a finding. Published: AUROC 0.8002,
from memory, with DenseNet-169 and a support vector machine (C 3.5, gamma 1.9e-5). To doubt: labels are read from reports by a
program; a person has several films, and a split by film lets a classifier know them; the settings are remembered to have been
chosen on the test part.
"""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ...data.cases import Manifest
from ...data.sources.public_sets import KERMANY, KERMANY_CLASSES
from ...data.sources.tables import Table
from ...data.tasks import Classify
from ...models.heads.specs import Forest, HeadSpec, NaiveBayes, Neighbours, Svm
from ...models.specs import Net, Pretrained, ResNet
from ...records import record
from ...transforms.image import Grey, Resize
from ..benchmark import Benchmark
from ..learning import FeatureClassifier
from ..recipe import About, Published, Recipe, on_features


@record
class AsManyOfEach:
    """The cases of a table with one label, of each class as many as the rarest has.

    They are drawn by the hash of their names.
    """

    table: Table

    def scan(self, root: Path) -> Manifest:
        found = self.table.scan(root)
        # the same order on every machine, without a seed
        known = sorted((case for case in found.cases if case.labels), key=lambda case: hashlib.sha256(case.id.encode()).digest())
        counts = Counter(case.label for case in known)
        taken: Counter[str] = Counter()
        kept = set()
        for case in known:
            if taken[case.label] < min(counts.values()):
                taken[case.label] += 1
                kept.add(case.id)
        return replace(found, cases=tuple(case for case in found.cases if case.id in kept))


NETWORKS: dict[str, tuple[str, ResNet | Pretrained]] = {
    "vgg16": ("VGG16", Pretrained("vgg16", weights="imagenet", frozen="all")),
    "xception": ("Xception", Pretrained("legacy_xception", weights="imagenet", frozen="all")),
    "resnet50": ("ResNet-50", ResNet(50, weights="imagenet", frozen="all")),
    "densenet169": ("DenseNet-169", Pretrained("densenet169", weights="imagenet", frozen="all")),
}
HEADS: dict[str, tuple[str, HeadSpec]] = {
    "svm": ("a support vector machine", Svm(c=(0.1, 1.0, 3.5, 10.0), gamma=(0.3, 1.0))),
    "forest": ("a random forest", Forest()),
    "bayes": ("naive Bayes", NaiveBayes()),
    "neighbours": ("nearest neighbours", Neighbours()),
}


def cell(network: str, head: str) -> Recipe:
    """One cell of the comparison of networks and classifiers."""
    (backbone, of), (classifier, spec) = NETWORKS[network], HEADS[head]
    return replace(PLAIN, title=f"{PLAIN.title}, frozen {backbone} features and {classifier}", model=Net(of, spec))


PLAIN = Recipe(
    name="pneumonia_off_the_shelf",
    title="Pneumonia in chest radiographs",
    about=About("S24", "pneumonia", "chest radiograph", "ChestX-ray14", "real data"),
    benchmark=Benchmark(
        "cxr-pneumonia",
        small=("features", *(f"features-{head}" for head in HEADS)),
        source=KERMANY,
        classes=KERMANY_CLASSES,
    ),
    source=AsManyOfEach(
        Table(
            file="Data_Entry_2017.csv",
            path="Image Index",
            label="Finding Labels",
            group="Patient ID",
            age="Patient Age",
            sex="Patient Gender",
            view="View Position",
            patterns=(("NORMAL", "^No Finding$"), ("PNEUMONIA", "Pneumonia")),
            unknown=(r"^(?!No Finding$)(?!.*Pneumonia)",),  # other findings: neither of the two classes
        )
    ),
    classes=("NORMAL", "PNEUMONIA"),
    prepare=(Grey(), Resize(224)),
    task=Classify(positive="PNEUMONIA"),
    learn=FeatureClassifier(),
    differs=(
        "split by person, and every setting chosen without the test part",
        "pooled features, standardised; the paper's are remembered to be as wide as if they were flattened",
        "the kernel's width is counted in units of 1 / features: the remembered 1.9e-5 is about 1 of 50,176; the grids are ours",
        "which films without a finding the paper took is not known: ours are drawn",
        "AlexNet is left out, which the paper compares as well; Xception's weights have to be named with --weights",
    ),
)
RECIPE = replace(cell("densenet169", "svm"), published=(Published("auroc", 0.8002),))
FEATURES = replace(on_features(PLAIN), differs=(*PLAIN.differs, "MobileNet-V2, which is small and has weights at hand"))
VARIANTS = {
    f"{network}-{head}": cell(network, head)
    for network in NETWORKS
    for head in HEADS
    if (network, head) != ("densenet169", "svm")
}
VARIANTS |= {"features": FEATURES} | {
    f"features-{head}": replace(
        FEATURES,
        title=f"{FEATURES.title} and {classifier}",
        model=replace(FEATURES.model, head=spec),
    )
    for head, (classifier, spec) in HEADS.items()
}
