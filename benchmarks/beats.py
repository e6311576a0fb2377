"""How many annotated heartbeats the detector of `resdx predict` finds, by class.

    python -m benchmarks.beats FOLDER > benchmarks/beats.md

FOLDER holds records of the MIT-BIH Arrhythmia Database with their annotations. A beat is found where a detected one lies within
150 ms of it (ANSI/AAMI EC57); nothing is fitted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import wfdb

from resdx.data.sources.ecg import AAMI
from resdx.metrics.intervals import proportion
from resdx.report import figure, interval
from resdx.transforms.readers.recording import find_beats, read_recording

NEAR = 0.15  # seconds
LEADS = ("MLII", "II", "V5", "V2", "V1")  # the first of them that a record has
PERSON = {"202": "201"}  # one man


def main(folder: Path) -> None:
    """Detect, match, print the page."""
    hits: dict[str, list[bool]] = {name: [] for name in dict.fromkeys(dict(AAMI).values())}
    persons: dict[str, list[str]] = {name: [] for name in hits}
    said, right, records = 0, 0, sorted(folder.rglob("*.hea"))
    for header in records:
        recording, notes = read_recording(str(header)), wfdb.rdann(str(header.with_suffix("")), "atr")
        found = find_beats(recording.lead([name for name in LEADS if name in recording.leads][:1]), recording.rate)
        beats = [
            (n / recording.rate, dict(AAMI)[kind])
            for n, kind in zip(notes.sample, notes.symbol, strict=True)
            if kind in dict(AAMI)
        ]
        far = np.abs(np.array([second for second, _ in beats])[:, None] - found)
        for (_, name), distance in zip(beats, far.min(1), strict=True):
            hits[name].append(bool(distance <= NEAR))
            persons[name].append(PERSON.get(header.stem, header.stem))
        said, right = said + len(found), right + int((far.min(0) <= NEAR).sum())
    rows = []
    for name, some in hits.items():
        share = proportion(np.array(some), persons[name]).to_json()
        rows.append(
            f"| {name} | {len(some):,} of {len(set(persons[name]))} | {figure(share)} ({interval(share) or 'no interval'}) |"
        )
    print(PAGE.format(records=len(records), rows="\n".join(rows), said=said, wrong=said - right))


PAGE = """# How many heartbeats are found

XQRS of the wfdb package, as `resdx predict` calls it, on {records} annotated records of the MIT-BIH Arrhythmia Database. \
Shares with 95 % intervals over persons; of fewer than 10 persons with a class there is none.

| class | beats of persons | found |
|---|---|---|
{rows}

Of {said:,} that were detected {wrong:,} are near no annotated beat of these classes.

Made by `python -m benchmarks.beats FOLDER`.
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
