"""S16: Parkinson's disease by the voice.

Statistics of wavelet sub-bands of a sustained vowel as a heat map, ResNet-50.

Paper: El Ariss and Hu 2023; not read. Data: UCI 470 (Sakar et al. 2019; licence: CC BY 4.0, from memory), 188 persons with
Parkinson's disease and 64 without, three recordings of /a/ each, as a table of 752 features, of which 432 are 12 statistics of
36 sub-bands of a tunable Q-factor wavelet transform. Published, as reported by others: accuracy .934.
To doubt: three rows of a speaker on both sides of a split; 188 of 252 speakers have the disease, so an accuracy of .746 says
nothing; men are 57 % of one group and 36 % of the other, and voices tell the sex.

Here a row of the heat map is a statistic and a column a sub-band; each cell is standardised over the training cases, and rows of
one speaker are averaged. The variants "svm" and "boosting" are the plain baselines on the same 432 values. The variants "wav"
and "wav-..." compute the values from one's own recordings, in a folder a class.
"""

from dataclasses import replace

from ...data.sources.public_sets import SPEAKER
from ...data.sources.voice import SpeechTable, Voices
from ...data.tasks import Classify
from ...models.heads.specs import Boosting, HeadSpec, Linear, Svm
from ...models.specs import Cells, Net, Pretrained, ResNet, Standardised
from ...transforms.image import Resize
from ...transforms.readers.voice import ReadSpeechRow, ReadVoice
from ..benchmark import Benchmark
from ..learning import FeatureClassifier, Training
from ..recipe import About, Published, Recipe

RECIPE = Recipe(
    name="voice_heat_map",
    title="Parkinson's disease by the voice, wavelet statistics as a heat map",
    about=About("S16", "Parkinson's disease", "voice", "UCI 470", "stand-in"),
    benchmark=Benchmark(
        "voice-parkinson",
        small=("features", "svm", "boosting"),
        source=Voices(SPEAKER),
        classes=("control", "parkinson"),
        read=ReadVoice(),
    ),
    source=SpeechTable(),
    classes=("control", "parkinson"),
    read=ReadSpeechRow(),
    prepare=(Resize(144),),  # 12 rows of 12 px, 36 columns of 4 px
    model=Net(Standardised(ResNet(50, weights="imagenet"))),
    task=Classify("parkinson"),
    learn=Training(epochs=30, batch=32, lr=3e-4),
    published=(Published("accuracy", 0.934),),
    differs=(
        "how the paper lays out the heat map, trains and splits was not seen: all are ours",
        "values of the table are kept as 256 greys, by their sign and the decades of their size",
        "cells are standardised over the training cases alone",
    ),
)


def classified(backbone: Cells | Standardised, head: HeadSpec, what: str) -> Recipe:
    """The recipe with a classifier on values that nothing is trained for."""
    return replace(
        RECIPE,
        title=f"{RECIPE.title}, {what}",
        model=Net(backbone, head),
        learn=FeatureClassifier(),
        differs=(*RECIPE.differs, f"{what} instead of ResNet-50"),
    )


def of_recordings(recipe: Recipe) -> Recipe:
    """The recipe for WAV files."""
    return replace(
        recipe,
        title=f"{recipe.title}, of recordings",
        source=Voices(),
        read=ReadVoice(),
        differs=(*recipe.differs, "values computed from the middle 0.48 s of a recording at 24 kHz, brought to one loudness"),
    )


TABLE = {
    "features": classified(
        Standardised(Pretrained("mobilenetv2_100", weights="imagenet", frozen="all")), Linear(), "frozen MobileNet-V2 features"
    ),
    "svm": classified(Cells(), Svm(), "support vectors on the values"),
    "boosting": classified(Cells(), Boosting(), "gradient boosting on the values"),
}
VARIANTS = {
    **TABLE,
    "wav": of_recordings(RECIPE),
    **{f"wav-{name}": of_recordings(recipe) for name, recipe in TABLE.items()},
}
