"""Sustained vowels of known speakers: pulses of the vocal folds through the resonances of an /a/.

In the ill they are less even and breathier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

FORMANTS = ((730.0, 90.0), (1090.0, 110.0), (2440.0, 160.0))  # Hz and width in Hz, of an /a/ (Peterson and Barney 1952)


def draw_voice(
    speaker: int, take: int, *, ill: bool, rate: int = 24000, seconds: float = 0.6, seed: int = 0
) -> NDArray[np.float64]:
    """(samples,) from -1 to 1; another voice for every speaker, another recording for every take."""
    own, draws = np.random.default_rng([seed, speaker, 6]), np.random.default_rng([seed, speaker, take, 7])
    pitch, size = own.uniform(95, 230), own.uniform(0.92, 1.1)
    jitter, shimmer, breath = (0.02, 0.2, 0.06) if ill else (0.004, 0.05, 0.015)
    source, at = np.zeros(round(rate * seconds)), 0.0
    while at < len(source):
        source[int(at)] += 1 + shimmer * draws.normal()  # a pulse of the vocal folds; its height shimmers
        at += max(0.3, 1 + jitter * draws.normal()) * rate / pitch  # samples to the next one; its period jitters
    voice = source + breath * own.uniform(0.7, 1.3) * draws.normal(size=len(source))
    for frequency, width in FORMANTS:
        # A resonator with two poles: the width of the formant sets their radius, its frequency their angle (Klatt 1980).
        radius, angle = np.exp(-np.pi * width / rate), 2 * np.pi * frequency * size / rate
        voice = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], voice)
    loud: NDArray[np.float64] = draws.uniform(0.2, 0.6) * voice / np.abs(voice).max()
    return loud
