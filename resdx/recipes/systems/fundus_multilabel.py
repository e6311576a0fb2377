"""Eye diseases in fundus photographs, several labels an eye, ResNet-50.

No paper stands behind this recipe. Data: ODIR 2019 (licence: research use, from memory), both eyes of each person
with the doctors' keywords. To doubt: the set's own label columns are given a person, not an eye, and contradict the
eye's keywords in one photograph of eight; so labels are read from the keywords. Photographs of low quality count as
not assessed, a speck on the lens as normal.
"""

from ...data.sources.tables import Table
from ...data.tasks import MultiLabel
from ...models.heads.specs import Linear
from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

# A keyword (between commas, some of them Chinese) that is none of the named diseases.
OTHER = (
    r"(^|[,，])\s*(?!normal fundus|lens dust|hypertensive)"
    r"(?![^,，]*(proliferative ret|diabetic ret|glaucoma|cataract|age-related|myopi[ac]))[a-z]"
)

RECIPE = Recipe(
    name="fundus_multilabel",
    title="Eye diseases in fundus photographs",
    about=About("", "eye diseases", "fundus photograph", "ODIR", "real data"),
    benchmark=Benchmark("fundus-odir"),
    source=Table(
        file="full_df.csv",
        folder="images",
        group="ID",
        age="Patient Age",
        sex="Patient Sex",
        sides=(("Left-Fundus", "Left-Diagnostic Keywords"), ("Right-Fundus", "Right-Diagnostic Keywords")),
        patterns=(
            ("normal", r"^((^|[,，])\s*(normal fundus|lens dust)\s*)+$"),
            ("retinopathy", "proliferative retinopathy|diabetic retinopathy"),
            ("glaucoma", "glaucoma"),
            ("cataract", "cataract"),
            ("amd", "age-related macular degeneration"),
            ("hypertension", "hypertensive retinopathy"),
            ("myopia", "myopi[ac]"),
            ("other", OTHER),
        ),
        # of this eye, all classes: not assessed
        unknown=("low image quality|no fundus image|photographically invisible|anterior segment|image offset|^lens dust$",),
    ),
    classes=("normal", "retinopathy", "glaucoma", "cataract", "amd", "hypertension", "myopia", "other"),
    prepare=(Resize(128),),
    augment=(Flip(), Affine(degrees=15, scale=0.1, shift=0.05), ColorJitter()),  # a mirrored left eye is a right eye
    model=Net(ResNet(50), Linear(dropout=0.2)),
    task=MultiLabel(),
    learn=Training(epochs=20),
    differs=(
        "all settings are ours",
        "labels are read from each eye's keywords, not from the set's columns, which are given a person",
    ),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE)}
