"""S03, the reference recipe: any folder, table or DICOM export of images, one class a case, ResNet-50.

Paper: Kirandeep, Ramanpreet Kaur and Vijay Dhir 2023, image recognition with ResNet-50; it names no data and no figure was seen.
It comes with no data set: the licence is that of the images you bring.
"""

from ...models.specs import Net, ResNet
from ...transforms.augment import Affine, ColorJitter
from ...transforms.image import Resize
from ..benchmark import Benchmark
from ..learning import Training
from ..recipe import About, Recipe, fine_tuned, on_features

RECIPE = Recipe(
    name="plain",
    title="Image classification with ResNet-50",
    about=About("S03", "any", "any", "yours", "real data"),
    benchmark=Benchmark("us-breast"),  # of any folder, one in three classes
    prepare=(Resize(128),),
    augment=(Affine(degrees=10, scale=0.12, shift=0.06), ColorJitter()),
    model=Net(ResNet(50)),
    learn=Training(epochs=20, start_size=96),
    differs=("the paper states neither data nor training: all settings are ours",),
)
VARIANTS = {"features": on_features(RECIPE), "fine-tuned": fine_tuned(RECIPE)}
