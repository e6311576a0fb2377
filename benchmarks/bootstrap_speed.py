"""How long 2,000 AUROC draws of 10,000 cases take: python benchmarks/bootstrap_speed.py -> benchmarks/bootstrap_speed.md."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from resdx.metrics import bootstrap
from resdx.metrics import classification as metrics

CASES, DRAWS, PLAIN_DRAWS, REPEATS = 10_000, 2_000, 100, 5


def ours(truth: metrics.Values, score: metrics.Values, person: metrics.Values) -> float:
    """Seconds for all draws at once."""
    began = time.perf_counter()
    for weights in bootstrap.resample(truth, person, replicates=DRAWS, seed=0):
        metrics.auroc(truth, score, weights)
    return time.perf_counter() - began


def plain(truth: metrics.Values, score: metrics.Values, person: metrics.Values) -> float:
    """Seconds for the same draws one by one, scaled from fewer draws.

    The images of the drawn persons are joined, and scikit-learn asked for each.
    """
    rng, images = np.random.default_rng(0), np.argsort(person, kind="stable").reshape(person.max() + 1, -1)
    began = time.perf_counter()
    for _ in range(PLAIN_DRAWS):
        picked = images[rng.integers(0, len(images), len(images))].ravel()
        roc_auc_score(truth[picked], score[picked])
    return (time.perf_counter() - began) * DRAWS / PLAIN_DRAWS


def row(persons: int) -> str:
    """One line of the table: the fastest of the repeats, taken by turns."""
    rng = np.random.default_rng(1)
    person = np.arange(CASES) % persons
    truth = (rng.permutation(persons) < persons / 2).astype(int)[person]
    score = rng.normal(size=CASES) + truth
    times = np.array([(ours(truth, score, person), plain(truth, score, person)) for _ in range(REPEATS)]).min(0)
    return f"| {CASES:,} | {persons:,} | {times[0]:.2f} s | {times[1]:.2f} s | {times[1] / times[0]:.1f} |"


if __name__ == "__main__":
    head = f"""# Bootstrap speed

`OMP_NUM_THREADS=1 python benchmarks/bootstrap_speed.py`: {DRAWS:,} draws of persons, AUROC of each, one core, the fastest of \
{REPEATS}.
The plain loop joins the images of the drawn persons and calls scikit-learn; its time is scaled from {PLAIN_DRAWS} draws.

| cases | persons | ours | plain loop | ratio |
|---|---|---|---|---|
"""
    Path(__file__).with_suffix(".md").write_text(head + "\n".join(row(persons) for persons in (CASES, 2_000)) + "\n")
