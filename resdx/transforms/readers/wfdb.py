"""WFDB records and the detection of heartbeats.

The one module that needs wfdb (`pip install "resdx[ecg]"`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, optional

ROUND = 1 << 16  # checksums are sums modulo this
BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")  # symbols of the WFDB annotations that stand for a heartbeat


def samples(file: str) -> tuple[NDArray[np.float64], float, tuple[str, ...]]:
    """(samples, leads) in physical units, samples a second and names of the leads of a header.

    Raises:
        DataError: the header names no sampling rate, its signal file is not there or is not the one it was made for.
    """
    first = next((line for line in Path(file).read_text(errors="replace").splitlines() if line and line[0] != "#"), "")
    if len(first.split()) < 3:
        raise DataError(f"{file} does not say how many samples there are a second; add the rate to its first line")
    try:
        record: Any = _wfdb().rdrecord(file[: -len(".hea")], physical=False)
    except FileNotFoundError as error:
        raise DataError(f"{file} names the signal file {Path(str(error.filename)).name}, which is not beside it") from error
    except ValueError as error:
        if "broadcast" in str(error) or "reshape" in str(error):  # what NumPy says of too few bytes
            raise DataError(f"{file}: its signal file holds fewer samples than it says; copy the record again") from error
        raise
    said = (record.checksum or []) if set(record.samps_per_frame) == {1} else []  # wfdb averages several before it sums
    for name, one, other in zip(record.sig_name, said, record.calc_checksum(), strict=False):
        if one is not None and (one - other) % ROUND:
            raise DataError(f"{file}: the samples of lead {name} do not sum up to the header's checksum; copy the record again")
    return np.asarray(record.dac(), np.float64), float(record.fs), tuple(map(str, record.sig_name))


def beats(file: str, annotator: str) -> tuple[NDArray[np.float64], list[str]]:
    """Times in seconds and symbols of the heartbeats in the annotations beside a header."""
    notes: Any = _wfdb().rdann(file[: -len(".hea")], annotator)
    rate = notes.fs or _wfdb().rdheader(file[: -len(".hea")]).fs
    kept = [k for k, symbol in enumerate(notes.symbol) if symbol in BEATS]
    return np.asarray(notes.sample)[kept] / rate, [notes.symbol[k] for k in kept]


def comments(file: str) -> list[str]:
    """The comment lines of a header."""
    header: Any = _wfdb().rdheader(file[: -len(".hea")])
    return [str(line) for line in header.comments]


def peaks(signal: NDArray[np.float64], rate: float) -> NDArray[np.int64]:
    """Sample numbers of the R peaks."""
    found: NDArray[np.int64] = optional("wfdb.processing", extra="ecg", what="finding heartbeats").xqrs_detect(
        signal, rate, verbose=False
    )
    return found


def write(
    folder: Path,
    name: str,
    signal: NDArray[np.float64],
    rate: float,
    leads: tuple[str, ...],
    *,
    beats: NDArray[np.int64],
    symbols: list[str],
    comments: tuple[str, ...] = (),
) -> None:
    """Write (samples, leads) in mV as a record of 12 bits, and its beats as annotations.

    `beats` are sample numbers.
    """
    _wfdb().wrsamp(
        name,
        fs=rate,
        units=["mV"] * len(leads),
        sig_name=list(leads),
        p_signal=signal,
        fmt=["212"] * len(leads),
        adc_gain=[200.0] * len(leads),
        baseline=[1024] * len(leads),
        comments=list(comments),
        write_dir=str(folder),
    )
    _wfdb().wrann(name, "atr", beats, symbol=symbols, fs=rate, write_dir=str(folder))


def _wfdb() -> Any:
    return optional("wfdb", extra="ecg", what="reading WFDB records")
