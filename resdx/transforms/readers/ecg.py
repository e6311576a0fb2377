"""A heartbeat as a picture: the Wigner-Ville distribution of its analytic signal.

Time goes to the right and frequency upwards.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Unit
from numpy.typing import NDArray
from scipy.fft import hfft
from scipy.ndimage import convolve1d
from scipy.signal import hilbert
from scipy.signal.windows import hann

from ...errors import DataError, RecipeError
from ...records import Positive, record
from .paths import split_index
from .recording import (
    RECORDINGS,
    Signal,
    at_rate,
    filled,
    find_beats,
    pauses_between,
    read_recording,
    without_noise,
)

AFTER_PAUSE, BEFORE_END = "after-pause", "before-end"  # a heartbeat may have been missed before this one, after this one

Complex = NDArray[np.complex128]


@record
class WignerVille:
    """How a signal becomes a picture of time and frequency.

    "plain" is Ville's distribution, sharpest, with cross-terms between any two parts of the signal; "pseudo" weighs lags by a
    Hann window of `lags` seconds, which smooths over frequency; "smoothed" smooths over `times` seconds too. What is below 0 is
    black; `power` brings out what is faint.
    """

    form: Literal["plain", "pseudo", "smoothed"] = "plain"
    lags: Annotated[float, Gt(0), Le(10), Unit("seconds")] = 0.25
    times: Annotated[float, Gt(0), Le(10), Unit("seconds")] = 0.03
    power: Annotated[float, Gt(0), Le(4)] = 0.5

    def __call__(self, signal: Signal, rate: float) -> NDArray[np.float32]:
        """A real signal (N,) -> (N, N, 1) in [0, 1], frequencies from 0 to rate / 2."""
        over_lags = None if self.form == "plain" else hann(_odd(self.lags * rate) + 2)[1:-1]  # without the window's zero ends
        over_times = hann(_odd(self.times * rate) + 2)[1:-1] if self.form == "smoothed" else None
        energy = np.clip(wigner_ville(hilbert(signal), lags=over_lags, times=over_times), 0, None)
        peak = energy.max()
        shown = (energy / peak) ** self.power if peak > 0 else energy
        return np.ascontiguousarray(shown.T[::-1, :, None], np.float32)  # time to the right, frequency upwards


def wigner_ville(signal: Complex, *, lags: Signal | None = None, times: Signal | None = None) -> NDArray[np.float64]:
    """The Wigner-Ville distribution of a signal (Ville 1948), real.

    W[n, k] = sum over m of z[n + m] z*[n - m] exp(-2 pi i k m / N), for N times n and N frequencies k rate / 2N.

    Args:
        signal: analytic, (N,); of a real one negative frequencies fold back
        lags: weights of odd length around m = 0, whose middle is 1: the pseudo form
        times: weights of odd length around n, that smooth the products z[n + m] z*[n - m] over time

    Of the plain form the mean over k is the instantaneous power |z[n]|^2, and the sum over n is (|Z(f)|^2 + |Z(f + rate / 2)|^2)
    / 2.
    """
    half = (len(signal) - 1) // 2
    # (N, 2 half + 1): the samples around each time
    around = np.lib.stride_tricks.sliding_window_view(np.pad(signal, half), 2 * half + 1)
    products = around[:, half:] * around[:, half::-1].conj()  # of lags 0 to half; those below 0 are the conjugates
    if lags is not None:
        weights = lags[len(lags) // 2 :][: half + 1]  # from lag 0 on
        products = products[:, : len(weights)] * weights
    if times is not None:
        products = convolve1d(products, times / times.sum(), axis=0, mode="constant")
    # The products are Hermitian in the lag, so that their transform is real: (N, N).
    out: NDArray[np.float64] = hfft(products, len(signal), axis=1)
    return out


@record
class ReadBeat:
    """Read `100.hea#12.5` as a picture of one heartbeat.

    Its R peak lies 12.5 s after the beginning of the recording. The first lead in `leads` that the recording has is read. It is
    filtered to `band` (Hz), brought to `rate` samples a second, and cut from `before` to `after` seconds around the peak; what
    lies outside the recording is 0.
    """

    takes = "path"
    gives = "image"
    version = 1
    look_alike = True  # one person's beat is nearly that of another: only an identical picture is a copy
    suffixes, holds = RECORDINGS, "recordings"
    leads: tuple[str, ...] = ("MLII", "II")
    before: Annotated[float, Gt(0), Le(5), Unit("seconds")] = 0.25
    after: Annotated[float, Gt(0), Le(5), Unit("seconds")] = 0.4
    rate: Annotated[float, Ge(50), Le(1000), Unit("Hz")] = 128.0
    band: tuple[Positive, Positive] = (0.5, 40.0)
    picture: WignerVille = WignerVille()

    def __post_init__(self) -> None:
        if not self.band[0] < self.band[1] <= self.rate / 2:
            raise RecipeError(
                f"ReadBeat band goes from above 0 to half the rate, {self.rate / 2:g} Hz, not from {self.band[0]} to "
                f"{self.band[1]}"
            )

    def __call__(self, path: str) -> NDArray[np.float32]:
        file, index = split_index(path)
        if not index:
            found = self.open_file(file)
            raise DataError(f"{file} holds {len(found)} heartbeats; name one by its time in seconds, such as {found[0]}")
        try:
            second = float(index)
        except ValueError as error:
            raise DataError(f"{path}: {index!r} is no time in seconds") from error
        if not np.isfinite(second):
            raise DataError(f"{path}: {index!r} is no time in seconds")
        return self.picture(self.beat(file, second), self.rate)

    def beat(self, file: str, second: float) -> Signal:
        """The filtered samples around an R peak.

        Raises:
            DataError: nothing was recorded there, or a line without a heartbeat.
        """
        changed = Path(file).stat().st_mtime_ns if os.path.isfile(file) else 0
        raw, rate, clean = _cleaned(file, self.leads, self.rate, self.band, changed)
        # as it was recorded, before filters hide a gap
        here = raw[max(0, round((second - self.before) * rate)) : max(0, round((second + self.after) * rate))]
        if not len(here) or np.isnan(here).any() or here.min() == here.max():
            why = "lies outside it" if not len(here) else "the lead was off" if np.isnan(here).any() else "the lead is flat"
            raise DataError(f"{file} has no heartbeat at {second:g} s: {why}")
        peak = round(second * self.rate)
        first, last = peak - round(self.before * self.rate), peak + round(self.after * self.rate)  # of one length for all beats
        return np.pad(clean[max(0, first) : last], (max(0, -first), max(0, last - len(clean))))

    def open_file(self, file: str) -> list[str]:
        """The path of every heartbeat that is found in a recording, in order.

        Raises:
            DataError: the recording cannot be read, or none is found.
        """
        recording = read_recording(file)
        if recording.seconds < self.before + self.after:
            raise DataError(f"{file} is {recording.seconds:.2g} s long, which is less than one heartbeat")
        signal = recording.lead(self.leads)
        if np.nanmin(signal) == np.nanmax(signal):
            raise DataError(f"{file}: the lead is flat, {signal[~np.isnan(signal)][0]:g} all along; look at the electrodes")
        found = find_beats(signal, recording.rate)
        if not len(found):
            raise DataError(f"no heartbeat was found in {file}; look at the lead {' or '.join(self.leads)}")
        return [f"{file}#{second:.4f}" for second in found]

    def flags(self, paths: Sequence[str]) -> list[tuple[str, ...]]:
        """Flags of the heartbeats of a recording.

        AFTER_PAUSE where one may have been missed before it, BEFORE_END where after the last.
        """
        seconds, whole = [float(split_index(path)[1]) for path in paths], 0.0
        with suppress(DataError):  # a file that has gone since it was read
            whole = read_recording(split_index(paths[0])[0]).seconds
        pauses = pauses_between(seconds, whole)
        late, last = {end for _, end in pauses}, {start for start, end in pauses if end > seconds[-1]}
        return [(*[AFTER_PAUSE] * (second in late), *[BEFORE_END] * (second in last)) for second in seconds]


@lru_cache(maxsize=4)
def _cleaned(
    file: str, leads: tuple[str, ...], rate: float, band: tuple[float, float], changed: int
) -> tuple[Signal, float, Signal]:
    """The lead as it was recorded, its rate, and the lead filtered at `rate`.

    Kept, since beats are read one after the other.
    """
    recording = read_recording(file)
    raw = recording.lead(leads)
    if recording.seconds < 1:
        raise DataError(f"{file} is {recording.seconds:.2g} s long, too short to be filtered")
    clean = at_rate(without_noise(filled(raw), recording.rate, band), recording.rate, rate)
    return raw, recording.rate, clean


def _odd(samples: float) -> int:
    return 2 * round(samples / 2) + 1
