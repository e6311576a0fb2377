"""Voices as pictures: statistics of wavelet sub-bands as a heat map, and the spectrogram."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Unit
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import stft

from ...errors import DataError, RecipeError
from ...records import Count, record
from ..wavelets import FAMILIES, Signal, most_levels, statistics, tqwt
from .paths import reading, split_index
from .recording import at_rate

SILENT = 10 ** (-60 / 20)  # root mean square below which nothing was said, of full scale
BANDS = 36  # of a speech table
UNFINISHED = 0x7FFF0000  # bytes of sound from which a length is that of a stream, which nobody knew when it was written
DISTORTED = "clipped"  # a recording whose loudest samples were cut off
Rate = Annotated[float, Ge(4000), Le(96_000), Unit("Hz")]
Seconds = Annotated[float, Ge(0.05), Le(60), Unit("seconds")]
Cell = Annotated[int, Ge(1), Le(16), Unit("pixels")]

CLIPPED = 0.01  # share of the samples at full scale from which a recording is distorted

warnings.filterwarnings("ignore", category=wavfile.WavFileWarning)  # chunks that hold no sound are nothing to tell

# How each family of statistics becomes a grey: decades below or above 1 of its size (log), or the value itself, from black
# to white. The
# voice is brought to a root mean square of 1 first, so none depends on the microphone's gain; the ranges are wide and the
# same for all.
RANGES: dict[str, tuple[str, float, float]] = {
    "energy": ("log", -8, 2),
    "entropy_shannon": ("linear", 0, 10),
    "entropy_log": ("linear", -25, 5),
    "TKEO_mean": ("log", -8, 2),
    "TKEO_std": ("log", -8, 2),
    "medianValue": ("signed", -4, 1),
    "meanValue": ("signed", -4, 1),
    "stdValue": ("log", -4, 1),
    "minValue": ("log", -4, 1.5),
    "maxValue": ("log", -4, 1.5),
    "skewnessValue": ("linear", -3, 3),
    "kurtosisValue": ("log", 0, 2),
}


@dataclass(frozen=True)
class Sound:
    """What a microphone heard: `signal` (N,) from -1 to 1, channels averaged.

    `rate` in Hz, `clipped` the share of samples at
    full scale.
    """

    signal: Signal
    rate: float
    channels: int
    clipped: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.signal) / self.rate

    @property
    def loudness(self) -> float:
        """Root mean square in dB of full scale."""
        return float(20 * np.log10(max(np.sqrt(np.mean(self.signal**2)), 1e-9)))


def read_sound(file: str) -> Sound:
    """A WAV file of 8 to 32 bits, or of floats.

    Raises:
        DataError: it cannot be read, holds nothing, or values that are no numbers.
    """
    with reading(file, "a WAV recording"):
        if is_cut_off(file):
            raise DataError(f"{file} is cut off: its header promises more sound than there is; copy it again")
        rate, samples = wavfile.read(file)
        if not samples.size or not rate:
            raise DataError(f"{file} holds no sound")
        if samples.dtype.kind == "f":
            values, full = samples.astype(np.float64), 1.0
        else:
            full = 2.0 ** (8 * samples.dtype.itemsize - 1)
            # 8 bits are stored without a sign, around 128
            values = (samples.astype(np.float64) - (full if samples.dtype.kind == "u" else 0)) / full
        if not np.isfinite(values).all():
            raise DataError(f"{file} holds values that are not finite; export it again")
        if np.abs(values).max() > 2:
            raise DataError(f"{file} holds floats up to {np.abs(values).max():,.0f}, and full scale is 1; export it again")
    table = values.reshape(len(values), -1)
    edge = 1 - max(2 / full, 2**-14) if full > 1 else 1.0  # 24 bits come in 32
    return Sound(table.mean(1), float(rate), table.shape[1], float((np.abs(table) >= edge).mean()))


def is_cut_off(file: str) -> bool:
    """Whether the chunk of samples goes beyond the end of the file.

    (SciPy warns of it, but threads share the filters of
    warnings.)
    """
    size, long = os.path.getsize(file), 0
    with open(file, "rb") as stream:
        kind = stream.read(4)
        order: Literal["little", "big"] = "big" if kind == b"RIFX" else "little"
        if kind not in (b"RIFF", b"RIFX", b"RF64"):
            return False
        stream.seek(12)
        while len(head := stream.read(8)) == 8:
            length, after = int.from_bytes(head[4:], order), stream.tell()
            if head[:4] == b"ds64":  # the lengths of RF64
                long = int.from_bytes(stream.read(16)[8:], "little")  # after the length of the file
            if head[:4] == b"data":
                length = long if kind == b"RF64" else 0 if length >= UNFINISHED else length
                return after + length > size
            stream.seek(after + length + length % 2)  # chunks begin at even places
    return False


def spoken(path: str, rate: float, seconds: float) -> Signal:
    """The middle `seconds` of a recording at `rate`, without offset, with a root mean square of 1.

    An even number of samples.

    Raises:
        DataError: it cannot be read, is silent or too short.
    """
    file, index = split_index(path)
    if index:
        raise DataError(f"{path}: a recording has no parts; leave out #{index}")
    sound = read_sound(file)
    if sound.seconds < seconds:
        raise DataError(f"{file} is {sound.seconds:.2g} s long, and {seconds:g} s are looked at; record longer")
    if np.sqrt(np.mean((sound.signal - sound.signal.mean()) ** 2)) < SILENT:
        raise DataError(f"{file} is silent ({sound.loudness:.0f} dB of full scale); record it anew")
    whole = at_rate(sound.signal, sound.rate, rate)
    wanted = 2 * round(seconds * rate / 2)  # even, as the wavelet transform takes it
    start = max(0, (len(whole) - wanted) // 2)
    piece = whole[start : start + wanted]
    piece = np.pad(piece, (0, wanted - len(piece)))  # rounding may have cost a sample
    piece = piece - piece.mean()
    level = np.sqrt(np.mean(piece**2))
    if level < SILENT:
        raise DataError(f"the middle {seconds:g} s of {file} are silent; cut it to where something is said")
    out: Signal = piece / level
    return out


@record
class ReadVoice:
    """Read a WAV file as a heat map of `12 x (levels + 1)` cells.

    The cells are statistics of the sub-bands of its tunable Q-factor wavelet transform. A row a family of statistics (those
    of the UCI 470 table), a column a sub-band, high frequencies left; each cell is `cell` pixels wide and three times as
    high. Of the middle `seconds`, brought to `rate` samples a second and to one loudness.
    """

    takes = "path"
    gives = "image"
    version = 1
    look_alike = True
    suffixes, holds = (".wav",), "recordings"
    rate: Rate = 24000.0
    seconds: Seconds = 0.48
    q: float = 2.0
    redundancy: float = 4.0
    levels: Count = 35
    cell: Cell = 4

    def __post_init__(self) -> None:
        most = most_levels(2 * round(self.seconds * self.rate / 2), self.q, self.redundancy)
        if self.levels > most:
            raise RecipeError(
                f"ReadVoice levels must lie between 1 and {most} for {self.seconds:g} s at {self.rate:g} Hz, not {self.levels}"
            )

    def __call__(self, path: str) -> NDArray[np.float32]:
        return self.of(spoken(path, self.rate, self.seconds))

    def of(self, piece: Signal) -> NDArray[np.float32]:
        """The heat map of samples with a root mean square of 1."""
        return heat_map(statistics(tqwt(piece, self.q, self.redundancy, self.levels)), self.cell)

    @property
    def cell_columns(self) -> int:
        """One a sub-band."""
        return self.levels + 1

    def flags(self, paths: Sequence[str]) -> list[tuple[str, ...]]:
        """DISTORTED where the loudest samples were cut off."""
        return [_flags(path) for path in paths]


def heat_map(values: Signal, cell: int) -> NDArray[np.float32]:
    """Statistics (families, bands) as grey cells, each family over its own fixed range.

    The picture is (3 cell x families, cell x bands, 1) in [0, 1].
    """
    rows = []
    for (kind, low, high), row in zip(RANGES.values(), values, strict=True):
        if kind == "log":
            row = np.log10(np.maximum(np.abs(row), 1e-12))
        elif kind == "signed":  # from minus to plus 10^high, logarithmic down to 10^low on both sides
            row = np.sign(row) * np.maximum(np.log10(np.maximum(np.abs(row), 1e-12)) - low, 0) / (high - low)
            low, high = -1, 1
        rows.append(np.clip((row - low) / (high - low), 0, 1))
    return np.kron(np.array(rows), np.ones((3 * cell, cell)))[..., None].astype(np.float32)  # each value fills its cell


@record
class ReadSpeechRow:
    """Read `pd_speech_features.csv#row` as the heat map of its 12 x 36 wavelet statistics.

    It is a row of the UCI 470 table; other columns are not looked at. The table does not say what its values are relative to,
    so each is shown by its sign and the decades of its size: 0 is grey, 10^-8 nearly so, and 10^6 white or black.
    """

    takes = "path"
    gives = "image"
    version = 1
    look_alike = True
    suffixes, holds = (".csv",), "tables"
    cell: Cell = 4

    def __call__(self, path: str) -> NDArray[np.float32]:
        file, index = split_index(path)
        if not index.isdecimal():
            raise DataError(f"{path}: name a row of the table by its number, such as {file}#0")
        names, rows = speech_rows(file)
        if int(index) >= len(rows):
            raise DataError(f"{file} has {len(rows)} rows, counted from 0, so there is no row {index}")
        found = dict(zip(names, rows[int(index)], strict=True))
        with reading(file, f"a table of speech features at row {index}"):
            values = np.array([[float(found[f"tqwt_{family}_dec_{k}"]) for k in range(1, BANDS + 1)] for family in FAMILIES])
        if not np.isfinite(values).all():
            raise DataError(f"{path} holds values that are not finite; mend the table or leave the row out")
        # 14 decades lead from grey to white
        shown = 0.5 + np.sign(values) * np.clip(np.log10(1 + np.abs(values) / 1e-8) / 28, 0, 0.5)
        return np.kron(shown, np.ones((3 * self.cell, self.cell)))[..., None].astype(np.float32)

    def open_file(self, file: str) -> list[str]:
        """Each row of a table. Raises DataError where it has another layout."""
        return [f"{file}#{row}" for row in range(len(speech_rows(file)[1]))]


def speech_rows(file: str) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and the rows of a table in the layout of UCI 470.

    The first line of such a table names groups of columns.

    Raises:
        DataError: no such table, or a column or a cell of it is missing.
    """
    return _speech_rows(file, Path(file).stat().st_mtime_ns if Path(file).exists() else 0)


@lru_cache(maxsize=2)
def _speech_rows(file: str, changed: int) -> tuple[list[str], list[list[str]]]:
    with reading(file, "a table of speech features"), open(file, newline="", encoding="utf-8-sig") as stream:
        lines = [row for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    names = next((row for row in lines[:2] if "class" in row), None)
    lacks = [name for name in ("id", "gender", "class", f"tqwt_energy_dec_{BANDS}") if name not in (names or ())]
    if names is None or lacks:
        raise DataError(
            f"{file}: no column {lacks[0]!r} in its first two lines; the layout is that of pd_speech_features.csv (UCI 470)"
        )
    rows = lines[lines.index(names) + 1 :]
    if odd := [number for number, row in enumerate(rows) if len(row) != len(names)]:
        raise DataError(f"{file}: row {odd[0]} has {len(rows[odd[0]])} cells, the headings {len(names)}; save the table again")
    return names, rows


@record
class ReadSpectrogram:
    """Read a WAV file as its log power spectrogram, time to the right and frequency upwards.

    Hann windows of `window` seconds, `hop` seconds apart, over the middle `seconds` at `rate` samples a second; from `floor` dB
    below the peak (black) to the peak (white).
    """

    takes = "path"
    gives = "image"
    version = 1
    look_alike = True
    suffixes, holds = (".wav",), "recordings"
    rate: Rate = 16000.0
    seconds: Seconds = 0.48
    window: Annotated[float, Gt(0), Unit("seconds")] = 0.025
    hop: Annotated[float, Gt(0), Unit("seconds")] = 0.005
    floor: Annotated[float, Gt(0), Unit("dB")] = 80.0

    def __post_init__(self) -> None:
        if not self.hop <= self.window <= self.seconds:
            raise RecipeError(
                f"ReadSpectrogram needs a hop up to the window and a window up to the seconds, not {self.hop}, "
                f"{self.window} and {self.seconds}"
            )

    def __call__(self, path: str) -> NDArray[np.float32]:
        return self.of(spoken(path, self.rate, self.seconds))

    def of(self, piece: Signal) -> NDArray[np.float32]:
        """The spectrogram of samples."""
        width, hop = round(self.window * self.rate), round(self.hop * self.rate)
        _, _, found = stft(
            piece,
            nperseg=width,
            noverlap=width - hop,
            nfft=max(256, 2 ** int(np.ceil(np.log2(width)))),  # a power of two
            boundary=None,
            padded=False,
        )
        power = 10 * np.log10(np.maximum(np.abs(found) ** 2, 1e-20))
        shown = np.clip((power - power.max()) / self.floor + 1, 0, 1)
        return np.ascontiguousarray(shown[::-1, :, None], np.float32)  # low frequencies at the bottom

    def flags(self, paths: Sequence[str]) -> list[tuple[str, ...]]:
        """DISTORTED where the loudest samples were cut off."""
        return [_flags(path) for path in paths]


def _flags(path: str) -> tuple[str, ...]:
    with suppress(DataError):  # a file that has gone since it was read
        if read_sound(path).clipped > CLIPPED:
            return (DISTORTED,)
    return ()
