"""The tunable Q-factor wavelet transform: Parseval, perfect reconstruction, centres of its bands, and its statistics by hand."""

import numpy as np
import pytest
from scipy.stats import kurtosis, skew

from resdx.errors import RecipeError
from resdx.transforms.wavelets import (
    FAMILIES,
    inverse,
    most_levels,
    statistics,
    teager,
    tqwt,
)

SETTINGS = [(1.0, 3.0, 8), (2.0, 4.0, 20), (3.0, 3.0, 16), (4.0, 2.5, 5), (2.0, 4.0, 0)]


@pytest.mark.parametrize("length", [512, 730, 2048])
@pytest.mark.parametrize(("q", "redundancy", "levels"), SETTINGS)
def test_energy_is_kept_and_the_signal_comes_back(length, q, redundancy, levels):
    signal = np.random.default_rng(length).normal(size=length)
    bands = tqwt(signal, q, redundancy, levels)
    assert len(bands) == levels + 1
    assert sum(float((band**2).sum()) for band in bands) == pytest.approx(float((signal**2).sum()), rel=1e-12)
    assert np.abs(inverse(bands, q, redundancy, length) - signal).max() < 1e-10


def test_frames_of_sustained_vowels_have_the_36_levels_of_the_table():
    signal = np.random.default_rng(0).normal(size=11520)  # 0.48 s at 24 kHz
    assert most_levels(11520, 2, 4) >= 35
    bands = tqwt(signal, 2, 4, 35)
    assert len(bands) == 36
    assert np.abs(inverse(bands, 2, 4, 11520) - signal).max() < 1e-10
    assert statistics(bands).shape == (12, 36)


@pytest.mark.parametrize(("q", "redundancy"), [(1.0, 3.0), (2.0, 4.0), (4.0, 3.0)])
def test_a_tone_is_strongest_in_the_band_around_it(q, redundancy):
    low = 1 - 2 / (q + 1) / redundancy
    at = np.arange(4096)
    for level in (3, 6, 9):
        centre = low ** (level - 1) * (2 - 2 / (q + 1)) / 4  # of the rate, Selesnick 2011, section V
        bands = tqwt(np.cos(2 * np.pi * centre * at), q, redundancy, 14)
        energies = [float((band**2).sum()) for band in bands]
        assert abs(int(np.argmax(energies)) - (level - 1)) <= 1


def test_it_is_linear_and_a_gain_is_a_gain():
    draws = np.random.default_rng(1)
    a, b = draws.normal(size=(2, 600))
    both = tqwt(a + 2 * b, 2, 3, 9)
    for one, x, y in zip(both, tqwt(a, 2, 3, 9), tqwt(b, 2, 3, 9), strict=True):
        assert one == pytest.approx(x + 2 * y, abs=1e-12)


def test_statistics_are_those_of_their_names():
    band = np.array([1.0, -2.0, 3.0, 0.5, 0.0, -1.0])
    found = dict(zip(FAMILIES, statistics([band])[:, 0], strict=True))
    assert teager(band).tolist() == [4 - 3, 9 + 1, 0.25 - 0, 0 + 0.5]
    share = band**2 / 15.25
    assert found["entropy_shannon"] == pytest.approx(-sum(p * np.log(p) for p in share if p > 0))
    assert found["energy"] == pytest.approx(15.25 / 6)
    assert found["TKEO_mean"] == pytest.approx(np.mean([1, 10, 0.25, 0.5])) and found["TKEO_std"] == pytest.approx(
        np.std([1, 10, 0.25, 0.5])
    )
    assert (found["medianValue"], found["minValue"], found["maxValue"]) == (0.25, -2, 3)
    assert (found["meanValue"], found["stdValue"]) == (pytest.approx(0.25), pytest.approx(band.std()))
    assert (found["skewnessValue"], found["kurtosisValue"]) == (pytest.approx(skew(band)), pytest.approx(kurtosis(band) + 3))
    assert np.isfinite(statistics([np.zeros(6)])).all()


def test_what_cannot_be_transformed_is_told():
    with pytest.raises(RecipeError, match="an even number of samples, not 511"):
        tqwt(np.zeros(511), 2, 3, 4)
    with pytest.raises(RecipeError, match="64 samples have 5 levels at Q 1 and redundancy 3, not 40"):
        tqwt(np.zeros(64), 1, 3, 40)
    with pytest.raises(RecipeError, match=r"Q of at least 1 and a redundancy above 1, not 0\.5 and 3"):
        tqwt(np.zeros(64), 0.5, 3, 2)
