"""An electrocardiogram drawn as on paper, with the answer to every heartbeat above it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..data.cases import Prediction
from ..errors import RunError, count
from ..transforms.readers.paths import split_index
from ..transforms.readers.recording import pauses_between, read_recording

ROW = 20.0  # seconds
MOST = 120  # rows in one picture: 40 minutes
COLOURS = (
    "#0072b2",
    "#b34700",
    "#00795a",
    "#a0447a",
    "#8a6100",
    "#5b4fa8",
)  # readable on white, told apart by colour-blind readers


def _likeliest(one: Prediction) -> str:
    return one.label if isinstance(one.label, str) else max(one.probabilities, key=lambda name: one.probabilities[name])


def draw_strip(file: str, leads: Sequence[str], beats: Sequence[Prediction], out: Path) -> None:
    """Write a picture of the first lead of `leads`, a row for 20 s.

    The most frequent class is a dot, others stand by name, with "?" where a person should look.

    Raises:
        DataError: the recording cannot be read.
        RunError: `out` cannot be written.
    """
    recording = read_recording(file)
    signal, rate = recording.lead(leads), recording.rate
    said = [(float(split_index(one.case)[1]), _likeliest(one), isinstance(one.label, str)) for one in beats]
    often = Counter(label for _, label, _ in said).most_common()
    unsure = sum(not sure for _, _, sure in said)
    colours = dict(zip(sorted(label for label, _ in often), COLOURS * len(said), strict=False))
    rows = min(MOST, max(1, int(np.ceil(recording.seconds / ROW))))
    low, high = np.nanpercentile(signal, (0.05, 99.95))  # mV; a spike of a loose electrode does not squash the rest
    silent, pauses = float(np.isnan(signal).sum()) / rate, pauses_between([second for second, _, _ in said], recording.seconds)
    room = 0.2 * (high - low or 1.0)
    figure = Figure(figsize=(14, 0.8 + 0.75 * rows), dpi=100, layout="constrained")
    figure.suptitle(
        f"{Path(file).name}: {count(len(said), 'heartbeat')}"
        + "".join(f", {label} {number:,}" for label, number in often)
        + (f"; {unsure:,} to be looked at (?)" if unsure else "")
        + (f"; {count(len(pauses), 'pause')} in which one may have been missed (grey)" if pauses else "")
        + (f"; {silent:.1f} s without samples" if silent else "")
        + ("" if rows * ROW >= recording.seconds else f"; the first {rows * ROW / 60:.0f} minutes")
        + ". For research, not for diagnosis",
        fontsize=10,
    )
    for row, axes in enumerate(figure.subplots(rows, 1, squeeze=False)[:, 0]):
        start = row * ROW
        piece = signal[int(start * rate) : int((start + ROW) * rate)]
        axes.plot(start + np.arange(len(piece)) / rate, piece, color="#333333", linewidth=0.5)
        axes.set(xlim=(start, start + ROW), ylim=(low - room, high + 3 * room), yticks=[])
        for first, last in pauses:
            if first < start + ROW and last > start:
                axes.axvspan(max(first, start), min(last, start + ROW), color="#dddddd", linewidth=0)
        axes.tick_params(labelsize=7, length=2)
        axes.spines[["top", "left", "right"]].set_visible(False)
        for second, label, sure in said:
            if start <= second < start + ROW:
                shown = ("·" if sure else "") if label == often[0][0] else label
                axes.text(
                    second,
                    high + room,
                    shown + ("" if sure else "?"),
                    color=colours[label],
                    fontsize=8,
                    ha="center",
                    clip_on=True,
                )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out)
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error.strerror or error}); choose another folder for --strips") from error
