"""S10: Parkinson's disease by the voice.

Spectrogram, pictures made by a generator (S-DCGAN) for training, ResNet-50.

Paper: Xu et al. 2020, of which the abstract was read. Data: Sakar et al. 2013 (licence: CC BY 4.0, from memory), 20 persons with
Parkinson's disease and 20 without, 26 recordings each, and 28 more with the disease as a test part. Published, as seen in the
abstract: accuracy .9125, specificity .925, which fit 36 of 40 and 37 of 40; so sensitivity .90.
To doubt: whether the generator has seen the speakers that are tested; made pictures are kept for being like real ones, so near
copies are; 26 recordings a speaker.

Here generators learn from the train part alone, one a class; copies of training pictures are dropped, and what is kept of the
rest is most like real ones by SSIM and PSNR. The variant "without" is the same network without made pictures, "dcgan" the
generator without spectral normalisation and feature matching.
"""

from dataclasses import replace

from ...data.sources.public_sets import SPEAKER
from ...data.sources.voice import Voices
from ...data.tasks import Classify
from ...models.specs import Net, Pretrained, ResNet
from ...transforms.image import Resize
from ...transforms.readers.voice import ReadSpectrogram
from ..benchmark import Benchmark
from ..learning import Dcgan, FeatureClassifier, Training
from ..recipe import About, Published, Recipe

RECIPE = Recipe(
    name="voice_spectrogram",
    title="Parkinson's disease by the voice, spectrogram and generated pictures",
    about=About("S10", "Parkinson's disease", "voice", "Sakar 2013", "stand-in"),
    benchmark=Benchmark(
        "voice-parkinson", small=("features", "features-without"), source=Voices(SPEAKER), classes=("control", "parkinson")
    ),
    source=Voices(),
    classes=("control", "parkinson"),
    read=ReadSpectrogram(),
    prepare=(Resize(128),),
    model=Net(ResNet(50, weights="imagenet")),
    task=Classify("parkinson"),
    learn=Training(epochs=30, batch=32, lr=3e-4),
    generator=Dcgan(),
    published=(Published("accuracy", 0.9125, seen=True),),
    differs=(
        "windows of the spectrogram, layers of the generator and its training were not seen: all are ours",
        "half a second of a sustained vowel instead of words and numbers",
        "near copies of training pictures are dropped before those most like real ones are kept",
        "which network has spectral normalisation was not seen: here the judge",
    ),
)
WITHOUT = replace(RECIPE, title="Parkinson's disease by the voice, spectrogram", generator=None)
FEATURES = {
    "model": Net(Pretrained("mobilenetv2_100", weights="imagenet", frozen="all")),
    "learn": FeatureClassifier(),
    "differs": (*RECIPE.differs, "frozen MobileNet-V2 features and a logistic regression, instead of training the network"),
}
VARIANTS = {
    "features": replace(
        RECIPE,
        title=f"{RECIPE.title}, frozen MobileNet-V2 features",
        generator=Dcgan(steps=400, batch=16, width=12),  # minutes on a processor
        **FEATURES,  # type: ignore[arg-type]
    ),
    "features-without": replace(
        WITHOUT,
        title=f"{WITHOUT.title}, frozen MobileNet-V2 features",
        **FEATURES,  # type: ignore[arg-type]
    ),
    "without": WITHOUT,
    "dcgan": replace(RECIPE, title=f"{RECIPE.title}, plain generator", generator=Dcgan(spectral=False, matching=0.0)),
}
