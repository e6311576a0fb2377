"""How far the perceptual hashes of different pictures lie apart: python -m benchmarks.hashes RUN... > benchmarks/hashes.md

Each RUN is audited. Two pictures of one cluster of the audit are the same; for every picture the nearest one that is not of its cluster is
looked for. `resdx.seen` takes hashes that differ in up to 20 of 256 bits for the same picture.
"""

from __future__ import annotations

import sys

import numpy as np

from resdx.audit import Audit
from resdx.runs import Run
from resdx.seen import NEARLY, hash_bytes

HEAD = f"""# Perceptual hashes

Bits of 256 in which the nearest different picture differs (least, 1 %, median), and the share of the pairs of one near-duplicate cluster that differ in {NEARLY}
at most. A share of different pictures that close would be false alarms. Made by `python -m benchmarks.hashes RUN...`.

| data | pictures | least | 1 % | median | false alarms | same pictures found |
|---|---|---|---|---|---|---|"""


def row(run: Run) -> str:
    """One line of the table."""
    found = run.read_as("audit.json", "audit", Audit.from_json)
    place = {fact.case: i for i, fact in enumerate(found.facts)}
    cluster = np.arange(len(place)) + len(found.clusters)
    for number, members in enumerate(found.clusters):
        cluster[[place[case] for case in members if case in place]] = number
    signs = np.unpackbits(hash_bytes([fact.hash for fact in found.facts]), axis=1).astype(np.float32) * 2 - 1
    apart = (256 - signs @ signs.T) / 2
    same = cluster[:, None] == cluster
    nearest = np.where(same, np.inf, apart).min(1)
    least, low, middle = np.quantile(nearest, (0, 0.01, 0.5))
    pairs = apart[np.triu(same, 1)]
    share = f"{(pairs <= NEARLY).mean():.0%} of {len(pairs):,}" if len(pairs) else "-"
    alarms = f"{(nearest <= NEARLY).sum()}"
    return f"| {run.manifest.root.name} | {len(place):,} | {least:.0f} | {low:.0f} | {middle:.0f} | {alarms} | {share} |"


if __name__ == "__main__":
    print(HEAD)
    for path in sys.argv[1:]:
        print(row(Run.open(path, quiet=True)), flush=True)
