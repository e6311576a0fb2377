"""Electrocardiograms of known rhythm.

Each wave of a beat is a bell curve, as in the model of McSharry et al. 2003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

# Waves of a beat: seconds from the R peak, mV, width in seconds.
NORMAL = ((-0.17, 0.13, 0.025), (-0.028, -0.12, 0.010), (0.0, 1.0, 0.011), (0.03, -0.2, 0.012), (0.26, 0.3, 0.05))
EARLY = ((-0.11, -0.1, 0.020), *NORMAL[1:])  # from elsewhere in the atria: another P wave
VENTRICULAR = ((0.0, 1.25, 0.030), (0.09, -0.5, 0.035), (0.3, -0.35, 0.07))  # broad, without a P wave
WAVES = {"N": NORMAL, "A": EARLY, "V": VENTRICULAR, "F": tuple((at, mv / 2, width) for at, mv, width in (*NORMAL, *VENTRICULAR))}
PREMATURE = {"A": 0.65, "V": 0.6}  # share of the usual distance to the beat before


@dataclass(frozen=True)
class Heart:
    """A person: seconds from beat to beat, height of each wave, and where the leads lie."""

    period: float
    heights: Signal  # factor for each wave
    axis: float

    @classmethod
    def draw(cls, seed: int) -> Heart:
        """Another person for every seed."""
        draws = np.random.default_rng([seed, 4])
        return cls(draws.uniform(0.7, 1.0), draws.uniform(0.75, 1.3, 10), draws.uniform(0.2, 0.8))


def draw_ecg(heart: Heart, kinds: Sequence[str], *, rate: float = 360.0, seed: int = 0) -> tuple[Signal, NDArray[np.int64]]:
    """Two leads (samples, 2) in mV with baseline wander, mains and noise, and the sample of each R peak.

    `kinds` are keys of WAVES.
    """
    draws = np.random.default_rng([seed, 5])
    steps = [heart.period * PREMATURE.get(kind, 1.0) * draws.normal(1, 0.03) for kind in kinds]
    peaks = 0.6 + np.cumsum(steps) - steps[0]
    time = np.arange(round((peaks[-1] + 0.9) * rate)) / rate
    lead = np.zeros(len(time))
    for peak, kind in zip(peaks, kinds, strict=True):
        for (at, height, width), factor in zip(WAVES[kind], heart.heights, strict=False):
            lead += factor * height * np.exp(-(((time - peak - at) / width) ** 2) / 2)
    # breathing, 15 a minute, and mains of 60 Hz
    wander = 0.15 * np.sin(2 * np.pi * 0.25 * time + draws.uniform(0, 6)) + 0.03 * np.sin(2 * np.pi * 60 * time)
    both = np.stack([lead, (1 - 2 * heart.axis) * lead], 1) + wander[:, None]  # mV
    return both + draws.normal(0, 0.02, both.shape), np.round(peaks * rate).astype(np.int64)
