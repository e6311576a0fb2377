"""Electrocardiograms as signals in mV.

WFDB records (.hea with its .dat), tables of samples (.csv) and DICOM waveforms.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.waveforms.numpy_handler import multiplex_array
from scipy.signal import butter, iirnotch, resample_poly, sosfiltfilt, tf2sos

from ...errors import DataError
from . import wfdb
from .paths import DICOM_SUFFIXES, file_kind, reading

Signal = NDArray[np.float64]

RECORDINGS = (".hea", ".csv", *DICOM_SUFFIXES)
UNITS = dict.fromkeys(("s", "sec", "second", "seconds"), 1.0) | dict.fromkeys(("ms", "msec", "milliseconds"), 1e-3)  # s
EVEN = 0.5  # by what share of a step a time may lie off the straight line
SEEN_AT = 250.0  # samples a second that the detector was made for: at 1,000 it finds few beats, at 50 they are 80 ms early
RATES = (50.0, 10_000.0)  # Hz; what lies outside is a unit taken for another
SLOPES = (1.0, 25.0)  # Hz, in which the slopes of a beat lie
AROUND = 0.08  # s around an R peak in which its slopes lie
PAUSE = 1.75  # of the usual time between heartbeats: one missed makes 2, the pause after an early one about 1.5
FEWEST = 5  # intervals, below which nothing is usual
MAINS = (50.0, 60.0)  # Hz, of the two kinds of power grid


@dataclass(frozen=True)
class Recording:
    """What electrodes saw: `signal` (samples, leads), NaN where nothing was recorded; `rate` in Hz.

    The `file` it was read
    from.
    """

    signal: Signal
    rate: float
    leads: tuple[str, ...]
    file: str = ""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.signal) / self.rate

    def lead(self, wanted: Sequence[str]) -> Signal:
        """The samples of the first lead of `wanted` that is there; of the only lead, whatever its name.

        Raises:
            DataError: none of them is there, or nothing was recorded of it.
        """
        known = {name.upper(): k for k, name in enumerate(self.leads)}
        found = next((known[name.upper()] for name in wanted if name.upper() in known), 0 if len(self.leads) == 1 else None)
        if found is None:
            raise DataError(
                f"{self.file}: no lead is called {' or '.join(wanted)} (there are {', '.join(self.leads)}); rename the "
                f"column if it is that lead, or train with --set read.leads={self.leads[0]}"
            )
        if np.isnan(self.signal[:, found]).all():
            raise DataError(f"{self.file}: lead {self.leads[found]} holds no samples; export the recording again")
        return self.signal[:, found]


def read_recording(file: str) -> Recording:
    """All leads of a recording.

    Raises:
        DataError: it cannot be read, its samples are not those that its header was made for, or it does not say how many there
            are a second.
    """
    return _recording(file, Path(file).stat().st_mtime_ns if Path(file).exists() else 0)


@lru_cache(maxsize=4)
def _recording(file: str, changed: int) -> Recording:
    """Kept, since a recording is read beat after beat; `changed` (ns) forgets it when the file does."""
    kind = Path(file).suffix.lower()
    with reading(file, "an electrocardiogram"):
        if kind == ".hea":
            found = Recording(*wfdb.samples(file))
        elif kind == ".csv":
            found = _read_csv(file)
        elif file_kind(file) == "dicom":
            found = _read_dicom(file)
        else:
            raise DataError(
                f"{file} is no recording: resdx reads WFDB headers (.hea), tables of samples (.csv) and DICOM waveforms"
            )
    if not RATES[0] <= found.rate <= RATES[1]:
        raise DataError(f"{file} has {found.rate:g} samples a second; is the unit of its time right?")
    return replace(found, file=file)


def _read_csv(file: str) -> Recording:
    with open(file, newline="", encoding="utf-8-sig") as stream:
        rows = [(number, row) for number, row in enumerate(csv.reader(stream), 1) if any(cell.strip() for cell in row)]
    if not rows:
        raise DataError(f"{file} is empty; export the recording again")
    header = [name.strip() for name in rows[0][1]]
    units = [_unit(name) for name in header]
    place = next((k for k, unit in enumerate(units) if unit), None)
    leads = [k for k, name in enumerate(header) if name and k != place]  # what has no name is the number of the row
    if len(header) == 1 and (
        between := next((name for mark, name in ((";", "semicolons"), ("\t", "tabs")) if mark in header[0]), "")
    ):
        raise DataError(f"{file} is separated by {between}; save it with commas between cells and points in numbers")
    if place is None or not leads:
        raise DataError(
            f"{file} does not say when its samples were taken: its first row is {', '.join(header)[:80]}, and it needs a "
            f"column time (in seconds: "
            "the number of the row over the samples a second) and one for each lead"
        )
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise DataError(f"{file} has several columns called {twice[0]!r}; rename or remove one")
    table = _numbers(file, header, rows[1:])
    times = table[:, place] * cast(float, units[place])
    steps = np.diff(times)
    line = np.linspace(times[0], times[-1], len(times)) if len(times) > 1 else times  # times may be rounded, to 3 decimals say
    if not len(steps) or not np.isfinite(steps).all() or steps.min() < 0 or np.abs(times - line).max() > EVEN * steps.mean():
        raise DataError(
            f"{file}: the times in column {header[place]!r} do not go up in equal steps{_uneven(steps, rows)}, so there "
            f"is no sampling rate; where "
            "samples are missing, add their rows with the time and empty cells"
        )
    return Recording(table[:, leads], float(1 / steps.mean()), tuple(header[k] for k in leads))


def _unit(name: str) -> float | None:
    """Seconds in one of a column of times, such as "time", "t [ms]", "Elapsed time (s)" or "time_ms".

    None of other columns.
    """
    words = re.findall(r"[a-z]+", name.lower())
    unit = [UNITS[word] for word in words if word in UNITS]
    if not words or len(unit) > 1 or {*words} - {"elapsed", "time", "t", "in", *UNITS} or {*words} <= {"elapsed", "in"}:
        return None
    return unit[0] if unit else 1.0


def _numbers(file: str, header: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]]) -> Signal:
    """(rows, columns), NaN where a cell is empty. Raises DataError that names the row."""
    values = []
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{file}: row {number} has {len(row)} cells and the first row {len(header)}; export the recording again"
            )
        try:
            values.append([float(cell) if cell.strip() else np.nan for cell in row])
        except ValueError as error:
            cell = str(error).partition(": ")[2]
            raise DataError(
                f"{file}: {cell} in row {number} is no number; leave a cell empty where nothing was recorded, write "
                f"points in numbers, and remove "
                "columns and rows that hold text"
            ) from error
    table = np.array(values, np.float64).reshape(len(rows), len(header))
    table[np.isinf(table)] = np.nan
    return table


def _uneven(steps: Signal, rows: Sequence[tuple[int, Sequence[str]]]) -> str:
    """Where the first step is that is unlike most."""
    usual = np.nanmedian(steps) if np.isfinite(steps).any() else np.nan
    odd = np.flatnonzero(~(np.abs(steps - usual) <= EVEN * abs(usual)))
    return f" (row {rows[odd[0] + 2][0]})" if len(odd) else ""


def _read_dicom(file: str) -> Recording:
    dataset = pydicom.dcmread(file)
    if "WaveformSequence" not in dataset:
        raise DataError(f"{file} holds no waveform (modality {dataset.get('Modality') or 'unknown'})")
    first = dataset.WaveformSequence[0]
    if not first.get("SamplingFrequency"):
        raise DataError(f"{file} does not say how many samples it has a second")
    names = [
        str(channel.ChannelSourceSequence[0].get("CodeMeaning", "")) if channel.get("ChannelSourceSequence") else ""
        for channel in first.ChannelDefinitionSequence
    ]  # what each channel was derived from, by its code's words
    leads = tuple(name.removeprefix("Lead ").strip() or str(k) for k, name in enumerate(names))
    signal = np.asarray(dataset.waveform_array(0), np.float64)
    if "WaveformPaddingValue" in first:  # what was not recorded
        raw = multiplex_array(dataset, 0, as_raw=True)
        # compared before scaling: padding is a stored number
        signal[raw == np.frombuffer(bytes(first.WaveformPaddingValue)[: raw.itemsize], raw.dtype)[0]] = np.nan
    return Recording(signal, float(first.SamplingFrequency), leads)


def filled(signal: Signal) -> Signal:
    """Gaps bridged by straight lines, so that filters go over them."""
    gaps = np.isnan(signal)
    if not gaps.any():
        return signal
    at = np.arange(len(signal))
    return np.interp(at, at[~gaps], signal[~gaps])


def without_noise(signal: Signal, rate: float, band: tuple[float, float]) -> Signal:
    """Baseline wander, muscle and mains taken out without a shift in time.

    Butterworth of order 4 over `band` in Hz, notches at 50 and 60 Hz.
    """
    nyquist = rate / 2
    for mains in MAINS:
        if mains < 0.95 * nyquist:
            signal = sosfiltfilt(tf2sos(*iirnotch(mains, 30, rate)), signal)  # a notch of Q 30: 1.7 Hz wide at 50 Hz
    low, high = band
    if high < 0.95 * nyquist:
        # Forwards and backwards, which leaves every wave in its place in time.
        signal = sosfiltfilt(butter(4, high, "lowpass", fs=rate, output="sos"), signal)
    out: Signal = sosfiltfilt(butter(4, low, "highpass", fs=rate, output="sos"), signal)
    return out


def at_rate(signal: Signal, rate: float, wanted: float) -> Signal:
    """The signal with `wanted` samples a second."""
    share = Fraction(wanted / round(rate, 3)).limit_denominator(20_000)  # a coarser one would drift over half an hour
    out: Signal = resample_poly(signal, share.numerator, share.denominator) if share != 1 else signal
    return out


def peakedness(signal: Signal, rate: float, seconds: Signal) -> float:
    """How much steeper a lead is within 80 ms of annotated beats than midway between them.

    Slopes are medians, so it is about 1 where beats are not there.
    """
    steep = np.abs(np.diff(without_noise(filled(signal), rate, SLOPES)))
    half = max(1, round(AROUND * rate))

    def steepest(at: Signal) -> float:
        places = np.round(at * rate).astype(np.int64)
        places = places[(places >= half) & (places < len(steep) - half)]
        if not len(places):
            return 0.0
        return float(np.median(steep[places[:, None] + np.arange(-half, half + 1)].max(1)))  # (beats, 2 half + 1)

    return steepest(seconds) / max(steepest((seconds[1:] + seconds[:-1]) / 2), 1e-12)


def find_beats(signal: Signal, rate: float) -> Signal:
    """Times of the R peaks in seconds, by the XQRS detector of the wfdb package."""
    return np.asarray(wfdb.peaks(at_rate(filled(signal), rate, SEEN_AT), SEEN_AT), np.float64) / SEEN_AT


def pauses_between(seconds: Sequence[float], whole: float) -> list[tuple[float, float]]:
    """From one heartbeat to the next where that takes PAUSE times as long as usual.

    A detector may have missed one, wide ones first of all. So too from the beginning to the first, and from the last to the
    end of the recording, `whole` seconds long.
    """
    if len(seconds) <= FEWEST:
        return []
    usual, ends = float(np.median(np.diff(seconds))), [0.0, *seconds, whole]
    return [(first, last) for first, last in pairwise(ends) if last - first > PAUSE * usual]
