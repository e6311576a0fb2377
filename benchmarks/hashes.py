"""How far the perceptual hashes of different pictures lie apart: python -m benchmarks.hashes RUN... > benchmarks/hashes.md

Each RUN is audited. Two pictures of one cluster of the audit are the same; for every picture the nearest one that is not of its
cluster is looked for, and up to 300 pictures are encoded again (three quarters of the size, JPEG of quality 80). `resdx.seen`
takes hashes that differ in up to 20 of 256 bits for the same picture.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from resdx.data.audit.audit import Audit
from resdx.data.audit.file_facts import look
from resdx.runs.provenance import NEARLY, hash_bytes
from resdx.runs.run import Run

AGAIN = 300  # pictures of a set that are encoded again
PLAIN = (".png", ".jpg", ".jpeg", ".bmp", ".tif")
HEAD = f"""# Perceptual hashes

Bits of 256 in which the nearest different picture differs (least, 1 %, median), and the share of the pairs of one \
near-duplicate cluster that differ in {NEARLY}
at most. A share of different pictures that close would be false alarms. Encoded again: of up to {AGAIN} pictures at three \
quarters of the size as JPEG of quality 80, the share
whose hash differs in {NEARLY} at most from what it was. Made by `python -m benchmarks.hashes RUN...`.

| data | pictures | least | 1 % | median | false alarms | same pictures found | encoded again and found |
|---|---|---|---|---|---|---|---|"""


def found_again(run: Run, found: Audit) -> str:
    """How many of some pictures are recognised when they are encoded again."""
    known, manifest = {fact.case: fact.hash for fact in found.facts}, run.manifest
    cases = [case for case in manifest.cases if case.id in known and (manifest.root / case.path).suffix in PLAIN]
    some = [cases[i] for i in np.sort(np.random.default_rng(0).permutation(len(cases))[:AGAIN])]
    with tempfile.TemporaryDirectory() as folder:
        paths = {case.id: str(Path(folder, f"{number}.jpg")) for number, case in enumerate(some)}
        for case in some:
            with Image.open(manifest.root / case.path) as image:
                small = image.convert("RGB").resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)))
            small.save(paths[case.id], quality=80)
        again = look(paths, run.recipe.read, processes=1).facts
    bits = np.unpackbits(hash_bytes([known[fact.case] for fact in again]) ^ hash_bytes([fact.hash for fact in again]), axis=1)
    return f"{(bits.sum(1) <= NEARLY).mean():.1%} of {len(again)}"


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
    return (
        f"| {run.manifest.root.name} | {len(place):,} | {least:.0f} | {low:.0f} | {middle:.0f} | {alarms} | {share} | "
        f"{found_again(run, found)} |"
    )


if __name__ == "__main__":
    print(HEAD)
    for path in sys.argv[1:]:
        print(row(Run.open(path, quiet=True)), flush=True)
