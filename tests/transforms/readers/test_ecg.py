"""Heartbeats as pictures: closed forms of the Wigner-Ville distribution, its definition, invariances, and what cannot be read."""

import numpy as np
import pytest
from scipy.signal import hilbert
from scipy.signal.windows import hann

from resdx.data.phantoms import draw_layout
from resdx.errors import DataError, RecipeError
from resdx.transforms.readers.ecg import ReadBeat, WignerVille, wigner_ville

RATE = 128.0
WINDOW = hann(33)[1:-1]


def noise(length, seed=0):
    draws = np.random.default_rng(seed)
    return hilbert(draws.normal(size=length))


def tone(length, frequency):
    return np.exp(2j * np.pi * frequency * np.arange(length))


# closed form


@pytest.mark.parametrize("length", [16, 17, 83, 84])
def test_mean_over_frequency_is_the_instantaneous_power(length):
    z = noise(length)
    assert wigner_ville(z).mean(1) == pytest.approx(np.abs(z) ** 2, abs=1e-12)


@pytest.mark.parametrize("length", [16, 17, 83, 84])
def test_sum_over_time_is_the_spectrum_and_its_image(length):
    z, at = noise(length), np.arange(length)
    spectrum = np.abs(np.exp(-1j * np.pi * np.outer(np.arange(2 * length), at) / length) @ z) ** 2  # at k rate / 2N
    assert wigner_ville(z).sum(0) == pytest.approx((spectrum[:length] + spectrum[length:]) / 2, rel=1e-10)


def test_window_of_lags_keeps_the_power_and_loses_the_spectrum_and_smoothing_loses_both():
    z, at = noise(83), np.arange(83)
    spectrum = np.abs(np.exp(-1j * np.pi * np.outer(np.arange(166), at) / 83) @ z) ** 2
    marginal, power = (spectrum[:83] + spectrum[83:]) / 2, np.abs(z) ** 2
    pseudo, smoothed = wigner_ville(z, lags=WINDOW), wigner_ville(z, lags=WINDOW, times=WINDOW)
    assert pseudo.mean(1) == pytest.approx(power, abs=1e-12)  # the window is 1 at lag 0
    assert np.abs(pseudo.sum(0) / marginal - 1).max() > 0.1
    assert np.abs(smoothed.mean(1) / power - 1).max() > 0.1 and np.abs(smoothed.sum(0) / marginal - 1).max() > 0.1


def test_chirp_peaks_on_its_line():
    length, at = 128, np.arange(128)
    chirp = np.exp(2j * np.pi * (0.05 * at + 0.15 / length * at**2))  # from 0.05 to 0.35 of the rate
    line = 2 * length * (0.05 + 0.30 / length * at)
    inner = slice(16, 112)
    assert np.abs(wigner_ville(chirp).argmax(1) - line)[inner].max() <= 1


def test_two_tones_have_a_cross_term_at_their_mean_frequency():
    length = 128
    both = tone(length, 0.1) + tone(length, 0.3)
    strength = np.abs(wigner_ville(both))[32:96].mean(0)
    peaks = {round(2 * length * frequency) for frequency in (0.1, 0.2, 0.3)}
    assert set(np.sort(strength.argsort()[-3:]).tolist()) == peaks
    smooth = np.abs(wigner_ville(both, lags=WINDOW, times=WINDOW))[32:96].mean(0)
    assert smooth[51] < 0.05 * smooth[26]  # smoothing takes it out


def test_a_real_signal_shows_its_negative_frequencies():
    length = 128
    real = np.cos(2 * np.pi * 0.1 * np.arange(length)).astype(complex)
    strength = np.abs(wigner_ville(real))[32:96].mean(0)
    assert set(np.sort(strength.argsort()[-3:]).tolist()) == {0, 26, length - 26}
    analytic = np.abs(wigner_ville(hilbert(real.real)))[32:96].mean(0)
    assert analytic[length - 26] < 0.05 * analytic[26]


# the definition, summed term by term


@pytest.mark.parametrize("lags", [None, WINDOW])
def test_it_is_the_sum_of_its_definition(lags):
    length, half = 21, 10
    z, weights = noise(length, 3), np.ones(21) if lags is None else lags[5:26]
    padded = np.concatenate([np.zeros(half), z, np.zeros(half)])
    want = np.zeros((length, length), complex)
    for n in range(length):
        for k in range(length):
            for m in range(-half, half + 1):
                want[n, k] += (
                    weights[half + m] * padded[half + n + m] * padded[half + n - m].conj() * np.exp(-2j * np.pi * k * m / length)
                )
    assert np.abs(want.imag).max() < 1e-12
    assert wigner_ville(z, lags=lags) == pytest.approx(want.real, abs=1e-11)


# invariance


def test_delay_and_modulation_move_the_picture():
    burst = np.zeros(84, complex)
    burst[30:50] = tone(20, 0.1) * hann(20)
    whole = wigner_ville(burst)
    assert wigner_ville(np.roll(burst, 7)) == pytest.approx(np.roll(whole, 7, 0), abs=1e-12)
    assert wigner_ville(burst * tone(84, 5 / 168)) == pytest.approx(np.roll(whole, 5, 1), abs=1e-10)
    assert wigner_ville(3j * burst) == pytest.approx(9 * whole)


@pytest.mark.parametrize("form", ["plain", "pseudo", "smoothed"])
def test_picture_has_low_frequencies_at_the_bottom_whatever_the_gain(form):
    time = np.arange(84) / RATE
    signal = np.cos(2 * np.pi * 8 * time) * hann(84)
    picture = WignerVille(form)(signal, RATE)
    assert picture.shape == (84, 84, 1) and picture.dtype == np.float32 and (picture.min(), picture.max()) == (0, 1)
    row, column, _ = np.unravel_index(picture.argmax(), picture.shape)
    assert abs(83 - row - round(2 * 84 * 8 / RATE)) <= 1 and abs(column - 42) <= 1
    assert WignerVille(form)(1000 * signal, RATE) == pytest.approx(picture, abs=1e-6)
    assert not WignerVille(form)(np.zeros(84), RATE).any()


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(RecipeError, match=r"WignerVille.form cannot be 'cwd': it takes 'plain', 'pseudo' or 'smoothed'"):
        WignerVille("cwd")
    with pytest.raises(RecipeError, match=r"WignerVille.lags cannot be 0: it takes a number above 0 and up to 10 seconds"):
        WignerVille(lags=0)
    with pytest.raises(RecipeError, match=r"ReadBeat.before cannot be 0: it takes a number above 0 and up to 5 seconds"):
        ReadBeat(before=0)
    with pytest.raises(RecipeError, match=r"half the rate, 64 Hz, not from 0.5 to 90"):
        ReadBeat(band=(0.5, 90.0))


# recordings


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ecg") / "set"
    return folder, draw_layout("mitbih", folder, persons=4)


def test_a_beat_is_cut_around_its_peak_and_filtered(records):
    folder, truth = records
    read = ReadBeat()
    for case in [case for case in truth.cases if case.label == "N"][:10]:
        beat = read.beat(f"{folder}/{case.path.partition('#')[0]}", float(case.path.partition("#")[2]))
        assert len(beat) == 83
        assert abs(int(beat[16:48].argmax()) + 16 - 32) <= 1  # the peak lies 0.25 s, 32 samples, after the beginning
        assert abs(beat.mean()) < 0.15
    picture = read(f"{folder}/{truth.cases[0].path}")
    assert picture.shape == (83, 83, 1) and picture.max() == 1
    assert (read(f"{folder}/{truth.cases[0].path}") == picture).all()


def test_beats_at_either_end_are_filled_up_with_nothing(records):
    folder, _ = records
    read = ReadBeat()
    early = read.beat(f"{folder}/101.hea", 0.1)
    assert len(early) == 83 and not early[:19].any() and early[20:].any()


def test_found_beats_are_the_annotated_ones(records):
    folder, truth = records
    found = np.array([float(path.rpartition("#")[2]) for path in ReadBeat().open_file(f"{folder}/101.hea")])
    told = np.array([float(case.id.rpartition("#")[2]) for case in truth.cases if case.group == "101"])
    assert np.mean([np.abs(found - one).min() < 0.05 for one in told]) > 0.8
    assert np.mean([np.abs(told - one).min() < 0.05 for one in found]) > 0.9


def test_paths_that_name_no_beat_are_told(records):
    folder, _ = records
    read = ReadBeat()
    with pytest.raises(DataError, match=r"101\.hea holds \d\d heartbeats; name one by its time in seconds, such as .*101\.hea#"):
        read(f"{folder}/101.hea")
    with pytest.raises(DataError, match="'noon' is no time in seconds"):
        read(f"{folder}/101.hea#noon")
    with pytest.raises(DataError, match=r"101\.hea has no heartbeat at 9999 s: lies outside it"):
        read(f"{folder}/101.hea#9999")
    with pytest.raises(
        DataError,
        match=(
            r"no lead is called V9 \(there are MLII, V1\); rename the column if it is that lead, or train with --set "
            r"read\.leads=MLII"
        ),
    ):
        ReadBeat(leads=("V9",))(f"{folder}/101.hea#2")


def test_leads_that_were_off_or_flat_have_no_beats(tmp_path):
    time = np.arange(2000) / 250
    signal = np.sin(2 * np.pi * 1.2 * time) ** 15
    rows = [f"{t:.3f},{'' if 1 < t < 2 else 0.5 if 4 < t < 6 else v:}" for t, v in zip(time, signal, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["time,II", *rows]))
    assert ReadBeat()(f"{tmp_path}/a.csv#3").shape == (83, 83, 1)
    with pytest.raises(DataError, match=r"no heartbeat at 1.5 s: the lead was off"):
        ReadBeat()(f"{tmp_path}/a.csv#1.5")
    with pytest.raises(DataError, match=r"no heartbeat at 5 s: the lead is flat"):
        ReadBeat()(f"{tmp_path}/a.csv#5")
    (tmp_path / "short.csv").write_text("\n".join(["time,II", *rows[:100]]))
    with pytest.raises(DataError, match=r"short\.csv is 0.4 s long, which is less than one heartbeat"):
        ReadBeat().open_file(f"{tmp_path}/short.csv")
    (tmp_path / "flat.csv").write_text("\n".join(["time,II", *(f"{t:.3f},0.1" for t in time)]))
    with pytest.raises(DataError, match=r"flat\.csv: the lead is flat, 0\.1 all along"):
        ReadBeat().open_file(f"{tmp_path}/flat.csv")
