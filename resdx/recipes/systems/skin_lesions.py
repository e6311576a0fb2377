"""S29: skin lesions in dermoscopic images: a plain network, recurrent ones, ResNet-50 and Xception.

Paper: Singh, Kumar and Bhatia 2022; it was not read, and no figure of it was seen: a review says "high accuracy". Its data is
unknown. Data: HAM10000 (Tschandl et al. 2018), 10,015 images of 7,470 lesions (licence: CC BY-NC 4.0, from memory), with its
metadata table. To doubt: several images a lesion, and two thirds are nevi. How the paper lets a recurrent network see an image
is unknown: here it reads rows of the picture (`rnn`), or of a small network's map (`cnn-rnn`).
"""

from dataclasses import replace

from ...data.sources.public_sets import HAM10000
from ...data.sources.tables import Table
from ...models.heads.specs import Linear, Mlp
from ...models.specs import Cnn, Net, Pretrained, ResNet, RowsRnn
from ...transforms.augment import Affine, ColorJitter, Flip
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

SIZE = 128  # px

RECIPE = Recipe(
    name="skin_lesions",
    title="Skin lesions in dermoscopic images: ResNet-50",
    about=About("S29", "skin lesions", "dermoscopy", "HAM10000", "real data"),
    benchmark=Benchmark("skin-ham10000", source=HAM10000),
    source=Table(file="HAM10000_metadata.csv", path="image_id", label="dx", group="lesion_id", age="age", sex="sex"),
    classes=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    prepare=(Resize(SIZE),),
    augment=(Flip(vertical=True), Affine(degrees=180, scale=0.1, shift=0.05), ColorJitter()),  # a lesion has no way up
    model=Net(ResNet(50), Linear(dropout=0.2)),
    learn=Training(epochs=30, class_weights="balanced", patience=10),
    differs=(
        "the paper's data, sizes, split and training were not seen: all are ours",
        (
            "layers of the plain and of the recurrent networks are ours; a recurrent network reads rows from the top, and the "
            "head sees the mean state"
        ),
        "split by lesion",
    ),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE)} | {
    name: replace(RECIPE, title=f"Skin lesions in dermoscopic images: {title}", model=model)
    for name, title, model in (
        ("cnn", "a plain network", Net(Cnn(), Mlp(hidden=128, dropout=0.5))),
        ("rnn", "a recurrent network on rows", Net(RowsRnn(SIZE), Linear(dropout=0.2))),
        ("cnn-rnn", "a recurrent network on a map", Net(RowsRnn(SIZE, channels=(32, 64, 128)), Linear(dropout=0.2))),
        ("xception", "Xception", Net(Pretrained("legacy_xception"), Linear(dropout=0.2))),
    )
}
