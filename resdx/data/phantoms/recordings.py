"""Layouts of public sets of recordings: electrocardiograms, vowels and tables of voice features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.io import wavfile

from ...transforms.readers import wfdb
from ..cases import Case
from ..sources.ecg import DS1, DS2
from .heart import Heart, draw_ecg
from .sheet import Sheet, hash_of
from .voice import draw_voice


def parkinson_speech(sheet: Sheet) -> list[Case]:
    """UCI 470: three rows a speaker, 752 features under a line of groups.

    With 252 persons the table has its full 756 rows.
    """
    groups = [(group, name) for group, names in speech_features().items() for name in names]
    first = [group if not k or groups[k - 1][0] != group else "" for k, (group, _) in enumerate(groups)]
    rows: list[Sequence[object]] = [("", "", *first, ""), ("id", "gender", *(name for _, name in groups), "class")]
    cases: list[Case] = []
    rng = np.random.default_rng((sheet.seed, 470))
    shift = 0.8 * (rng.permutation(len(groups)) < 60)  # a few features tell the class
    for i, ill in sheet.turn(2):
        voice = rng.normal(size=len(groups))
        for _ in range(3):
            values = voice + ill * shift + 0.3 * rng.normal(size=len(groups))
            place = f"pd_speech_features.csv#{len(cases)}"
            rows.append((i, i // 2 % 2, *(f"{value:.5f}" for value in values), ill))
            cases.append(Case(place, place, str(i), (str(ill),)))
    sheet.table("pd_speech_features.csv", rows)
    return cases


def speech_features() -> dict[str, list[str]]:
    """Group -> names of the UCI 470 features.

    The names of the vocal fold and wavelet features are numbers here.
    """
    bands = ("", "delta_", "delta_delta_")
    orders = ("0th", "1st", "2nd", "3rd", *(f"{k}th" for k in range(4, 13)))
    shapes = "energy entropy_shannon entropy_log TKEO_mean TKEO_std medianValue meanValue stdValue minValue maxValue"
    shapes += " skewnessValue kurtosisValue"
    jitter = "PPE DFA RPDE numPulses numPeriodsPulses meanPeriodPulses stdDevPeriodPulses locPctJitter locAbsJitter rapJitter"
    jitter += " ppq5Jitter ddpJitter locShimmer locDbShimmer apq3Shimmer apq5Shimmer apq11Shimmer ddaShimmer"
    jitter += " meanAutoCorrHarmonicity meanNoiseToHarmHarmonicity meanHarmToNoiseHarmonicity"
    cepstrum = []
    for kind in ("mean", "std"):
        for band in bands:
            cepstrum.append(f"{kind}_{band or ''}log_energy" if band else f"{kind}_Log_energy")
            cepstrum += [f"{kind}_{order}_{band[:-1]}" if band else f"{kind}_MFCC_{order}_coef" for order in orders]
    return {
        "Baseline Features": jitter.split(),
        "Intensity Parameters": ["minIntensity", "maxIntensity", "meanIntensity"],
        "Formant Frequencies": [f"f{k}" for k in range(1, 5)],
        "Bandwidth Parameters": [f"b{k}" for k in range(1, 5)],
        "Vocal Fold": [f"vocal_fold_{k}" for k in range(1, 23)],
        "MFCC": cepstrum,
        "Wavelet Features": [f"wavelet_{k}" for k in range(1, 183)],
        "TQWT Features": [f"tqwt_{shape}_dec_{k}" for shape in shapes.split() for k in range(1, 37)],
    }


def mitbih(sheet: Sheet) -> list[Case]:
    """MIT-BIH Arrhythmia Database: WFDB records of both divisions in turn, 24 beats each.

    Some beats are paced, which are in no AAMI class.
    """
    cases = []
    for i, name in zip(range(sheet.persons), [record for pair in zip(DS1, DS2, strict=True) for record in pair], strict=False):
        draws = np.random.default_rng([sheet.seed, i])
        symbols = [*draws.permutation(["N"] * 14 + ["A"] * 3 + ["V"] * 4 + ["F"] * 2).tolist(), "N"]
        signal, peaks = draw_ecg(Heart.draw(hash_of(sheet.seed, i)), symbols, seed=hash_of(sheet.seed, i))
        symbols[-1] = "/"
        wfdb.write(sheet.folder, name, signal, 360, ("MLII", "V1"), beats=peaks, symbols=symbols, comments=(f"{50 + i} M",))
        places = [f"{name}.hea#{peak / 360:.4f}" for peak in peaks]
        part = "train" if name in DS1 else "test"
        cases += [
            Case(place, place, name, (symbol,), age=50.0 + i, sex="M", part=part, extra={"kind": symbol})
            for place, symbol in zip(places[:-1], symbols, strict=False)
        ]
    return cases


def vowels(sheet: Sheet) -> list[Case]:
    """Sustained vowels in two folders, three takes a speaker.

    The file's name begins with the speaker's number and group.
    """
    cases = []
    for i, ill in sheet.turn(2):
        name, folder = f"AVPEPUDEA{'' if ill else 'C'}{i + 1:04d}", ("control", "parkinson")[ill]
        for take in range(1, 4):
            path = f"{folder}/{name}a{take}_shortened.wav"
            (sheet.folder / folder).mkdir(exist_ok=True)
            voice = draw_voice(i, take, ill=bool(ill), seconds=0.48, seed=sheet.seed)
            wavfile.write(sheet.folder / path, 24000, np.round(32767 * voice).astype(np.int16))
            cases.append(Case(path, path, name, (folder,)))
    return cases
