"""The tunable Q-factor wavelet transform of a real signal (Selesnick 2011,
doi 10.1109/TSP.2011.2143711), and statistics of its sub-bands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kurtosis, skew

from ..errors import RecipeError

Signal = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

TINY = 1e-300  # below any energy of a signal


def tqwt(signal: Signal, q: float, redundancy: float, levels: int) -> list[Signal]:
    """`levels` sub-bands from high to low frequencies, and what is below them last.

    The transform is a tight frame: the sum of the squares of all is that of the signal (N,), and `inverse` gives it back.
    `q` is the ratio of a band's centre to its
    width (1 or more), `redundancy` how many more coefficients there are than samples (above 1; 3 and more overlap well).

    Raises:
        RecipeError: the signal has an odd number of samples, or is too short for so many levels.
    """
    low, high = _scales(q, redundancy)
    length = len(signal)
    if length % 2:
        raise RecipeError(f"the transform takes an even number of samples, not {length}")
    if levels > (most := most_levels(length, q, redundancy)):
        raise RecipeError(f"{length} samples have {max(most, 0)} levels at Q {q:g} and redundancy {redundancy:g}, not {levels}")
    rest, out = np.fft.rfft(signal) / np.sqrt(length), []  # over the root of N the transform keeps the energy
    for level in range(1, levels + 1):
        # samples of the two branches of this level, even
        below, above = _even(low**level * length), _even(high * low ** (level - 1) * length)
        rest, band = _divide(rest, below, above)
        out.append(np.fft.irfft(band, above) * np.sqrt(above))
    return [*out, np.fft.irfft(rest, (len(rest) - 1) * 2) * np.sqrt((len(rest) - 1) * 2)]


def inverse(bands: Sequence[Signal], q: float, redundancy: float, length: int) -> Signal:
    """The signal of `length` samples whose sub-bands these are."""
    low, _ = _scales(q, redundancy)
    spectra = [np.fft.rfft(band) / np.sqrt(len(band)) for band in bands]
    whole = spectra[-1]
    for level in range(len(bands) - 1, 0, -1):
        whole = _join(whole, spectra[level - 1], _even(low ** (level - 1) * length) if level > 1 else length)
    out: Signal = np.fft.irfft(whole, length) * np.sqrt(length)
    return out


def most_levels(length: int, q: float, redundancy: float) -> int:
    """How many levels a signal of `length` samples has at most."""
    low, high = _scales(q, redundancy)
    return int(np.floor(np.log(high * length / 8) / np.log(1 / low)))  # Selesnick 2011


def _scales(q: float, redundancy: float) -> tuple[float, float]:
    """What share of the samples the low and the high branch keep."""
    if not (1 <= q < np.inf and 1 < redundancy < np.inf):
        raise RecipeError(f"the transform needs Q of at least 1 and a redundancy above 1, not {q} and {redundancy}")
    high = 2 / (q + 1)  # beta and alpha of Selesnick 2011: high = beta, low = alpha
    return 1 - high / redundancy, high


def _even(samples: float) -> int:
    return 2 * round(samples / 2)


def _edges(length: int, below: int, above: int) -> tuple[int, int, Signal]:
    """Bins that pass below alone, bins of the crossing, and the weights of the crossing, after Daubechies."""
    passing, crossing = (length - above) // 2, (below + above - length) // 2 - 1
    angle = np.arange(1, crossing + 1) / (crossing + 1) * np.pi
    # The squares of these weights and of their mirror image sum to 1, which makes the frame tight.
    return passing, crossing, (1 + np.cos(angle)) * np.sqrt(2 - np.cos(angle)) / 2


def _divide(spectrum: Spectrum, below: int, above: int) -> tuple[Spectrum, Spectrum]:
    """The half spectra of the two branches."""
    length = 2 * (len(spectrum) - 1)
    passing, crossing, weights = _edges(length, below, above)
    low, high = np.zeros(below // 2 + 1, complex), np.zeros(above // 2 + 1, complex)
    low[: passing + 1] = spectrum[: passing + 1]
    middle = spectrum[passing + 1 : passing + crossing + 1]
    low[passing + 1 : passing + crossing + 1] = middle * weights
    high[1 : crossing + 1] = middle * weights[::-1]  # mirrored
    high[crossing + 1 :] = spectrum[passing + crossing + 1 :]
    return low, high


def _join(low: Spectrum, high: Spectrum, length: int) -> Spectrum:
    """The inverse of `_divide`."""
    below, above = 2 * (len(low) - 1), 2 * (len(high) - 1)
    passing, crossing, weights = _edges(length, below, above)
    out = np.zeros(length // 2 + 1, complex)
    out[: passing + 1] = low[: passing + 1]
    out[passing + 1 : passing + crossing + 1] = low[passing + 1 : passing + crossing + 1] * weights
    out[passing + 1 : passing + crossing + 1] += high[1 : crossing + 1] * weights[::-1]
    out[passing + crossing + 1 :] = high[crossing + 1 :]
    return out


def teager(band: Signal) -> Signal:
    """The Teager-Kaiser energy x[n]^2 - x[n - 1] x[n + 1] of all samples but the first and the last."""
    return band[1:-1] ** 2 - band[:-2] * band[2:]  # Kaiser 1990


def _shannon(band: Signal) -> float:
    share = band**2 / max(float((band**2).sum()), TINY)
    return float(-(share * np.log(share + TINY)).sum())


FAMILIES: Mapping[str, Callable[[Signal], float]] = {  # in the order of the UCI 470 table
    "energy": lambda band: float((band**2).mean()),
    "entropy_shannon": _shannon,
    "entropy_log": lambda band: float(np.log(band**2 + TINY).mean()),
    "TKEO_mean": lambda band: float(teager(band).mean()),
    "TKEO_std": lambda band: float(teager(band).std()),
    "medianValue": lambda band: float(np.median(band)),
    "meanValue": lambda band: float(band.mean()),
    "stdValue": lambda band: float(band.std()),
    "minValue": lambda band: float(band.min()),
    "maxValue": lambda band: float(band.max()),
    "skewnessValue": lambda band: float(skew(band)) if band.std() > 0 else 0.0,
    "kurtosisValue": lambda band: float(kurtosis(band, fisher=False)) if band.std() > 0 else 0.0,
}


def statistics(bands: Sequence[Signal]) -> Signal:
    """The statistics of FAMILIES of each sub-band, (families, bands)."""
    return np.array([[said(band) for band in bands] for said in FAMILIES.values()])
