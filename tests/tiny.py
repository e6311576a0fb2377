"""The smallest recipe that trains: what many tests run."""

from dataclasses import replace

from resdx.data.sources.folders import FolderPerClass
from resdx.models.specs import Cnn, Net, ResNet
from resdx.recipes.learning import Training
from resdx.recipes.recipe import Recipe
from resdx.transforms.augment import Affine, Flip
from resdx.transforms.image import Resize

TINY = Recipe(
    name="tiny",
    title="Tiny films, for tests",
    source=FolderPerClass(group=r"^(p\d+)"),
    prepare=(Resize(32),),
    augment=(Flip(), Affine(degrees=5)),
    model=Net(Cnn((8, 16, 32, 32))),
    learn=Training(epochs=2, batch=16, ema=0.9),
)

# The same with a residual network, where weights of its own or its stages are what is tested.
TINY_RESNET = replace(TINY, model=Net(ResNet(18)))
