"""S19: grades of diabetic retinopathy in fundus photographs.

Circular crop, difference from the blur, contrast, ResNet-50.

Paper: Abbood et al. 2022; it was not read. Data: EyePACS, two eyes a person (licence: competition terms, from memory); the
variants messidor (MESSIDOR-2 with adjudicated grades; research only, from memory) and aptos read the other two. Published:
accuracy about 0.936 on EyePACS and 0.919 on MESSIDOR, from weak memory. To doubt: about 73 % of EyePACS has grade 0, so accuracy
misleads, and the quadratic kappa of grades stands beside it; whether the test part chose the enhancement is unknown. The review
names blur, contrast and a circular crop; the form here is that of public solutions, and `graham` is the one of Graham 2015.
MESSIDOR and APTOS name no person. Validate one set on another with `resdx evaluate RUN --on OTHER`.
"""

from dataclasses import replace
from typing import Any

from ...data.sources.tables import Table
from ...data.tasks import Classify, Ordinal
from ...models.heads.specs import Linear
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import CircularCrop, CropForeground, EyeRadius, Resize, SubtractBlur
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Published, Recipe, fine_tuned, on_features

GRADES = ("none", "mild", "moderate", "severe", "proliferative")
NAMES = tuple((str(k), grade) for k, grade in enumerate(GRADES))
REFERABLE = tuple((str(k), "referable" if k >= 2 else "not referable") for k in range(5))
EYEPACS = Table(file="trainLabels.csv", folder="train", path="image", label="level", group_pattern=r"^(\d+)_", rename=NAMES)
MESSIDOR = Table(file="messidor_data.csv", folder="IMAGES", path="image_id", label="adjudicated_dr_grade", rename=NAMES)
APTOS = Table(file="train.csv", folder="train_images", path="id_code", label="diagnosis", rename=NAMES)

RECIPE = Recipe(
    name="retinopathy",
    title="Grades of diabetic retinopathy in fundus photographs",
    about=About("S19", "diabetic retinopathy", "fundus photograph", "EyePACS, MESSIDOR, APTOS", "real data"),
    benchmark=Benchmark(
        "fundus-aptos",
        source=Table(
            file="labels.csv",
            header=False,
            path="1",
            label="2",
            folder="images",
            rename=tuple((str(k), grade) for k, grade in enumerate(("none", "mild", "moderate", "severe", "proliferative"))),
        ),
    ),
    source=EYEPACS,
    classes=GRADES,
    prepare=(CropForeground(), Resize(224, keep="pad"), SubtractBlur(sigma=10, gain=4), CircularCrop(0.9)),
    augment=(Flip(vertical=True), Affine(degrees=180, scale=0.1, shift=0.03), ColorJitter()),
    model=Net(ResNet(50, weights="imagenet"), Linear(dropout=0.2)),
    task=Ordinal(),
    learn=Training(epochs=20, head_epochs=1, lr_decay=0.7, sampling="balanced"),
    published=(Published("accuracy", 0.936),),
    differs=("the paper's set sizes, split, filters' numbers and rates were not seen: all are ours",),
)
# Graham 2015: sigma is a thirtieth of the radius
GRAHAM = (EyeRadius(112), SubtractBlur(sigma=112 / 30, gain=4), CircularCrop(0.9), Resize(224, keep="crop"))
OTHERS: dict[str, dict[str, Any]] = {
    "messidor": {"source": MESSIDOR, "published": (Published("accuracy", 0.919),)},
    "aptos": {"source": APTOS, "published": ()},
    "graham": {"prepare": GRAHAM},
    "plain": {"prepare": (CropForeground(), Resize(224, keep="pad"))},
    "referable": {"source": replace(EYEPACS, rename=REFERABLE), "classes": ("not referable", "referable"), "task": Classify()},
}
VARIANTS = {name: replace(RECIPE, title=f"{RECIPE.title}, {name}", **fields) for name, fields in OTHERS.items()}
VARIANTS |= {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE), "aptos-features": on_features(VARIANTS["aptos"])}
