"""How often our own 95 % intervals hold the truth: python benchmarks/coverage.py [SIMULATIONS] -> benchmarks/coverage.md.

Scores are normal with a person effect (ICC is its share of the variance); sensitivity is beta-binomial. 5 images a person.
"between": each person has one class, half of them each. "within": each image of a person is of either class (lesions, slices).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import norm

from resdx import intervals, metrics
from resdx.metrics import Estimate, Values

IMAGES = 5  # a person
DRAWS = 500
PERSONS = (10, 20, 40, 100)
Sample = tuple[Values, Values, Values]  # truth, score or decision, person


def scores(rng: np.random.Generator, persons: int, area: float, icc: float, design: str) -> Sample:
    """Cases of `persons` whose score has the true AUROC `area`."""
    person = np.repeat(np.arange(persons), IMAGES)
    truth = (person % 2 if design == "between" else rng.integers(0, 2, len(person))).astype(float)
    effect = rng.normal(size=persons)[person] * icc**0.5 + rng.normal(size=len(person)) * (1 - icc) ** 0.5
    return truth, effect + truth * 2**0.5 * norm.ppf(area), person


def decisions(rng: np.random.Generator, persons: int, share: float, icc: float) -> Sample:
    """Positive cases of `persons`, of which a true `share` is found."""
    person = np.repeat(np.arange(persons), IMAGES)
    own = rng.beta(share * (1 / icc - 1), (1 - share) * (1 / icc - 1), persons)[person] if icc else share
    return np.ones(len(person)), (rng.random(len(person)) < own).astype(float), person


def percentiles(sample: Sample, seed: int) -> Estimate:
    """The plain percentile bootstrap of persons, for comparison."""
    truth, score, person = sample
    draws = [metrics.auroc(truth, score, w) for w in intervals.resample(truth, person, draws=DRAWS, seed=seed)]
    low, high = np.nanquantile(np.concatenate(draws), (0.025, 0.975))
    return Estimate(None, float(low), float(high), 0)


def judge(found: list[Estimate], target: float) -> str:
    """Coverage, mean width, and how many samples had no interval."""
    if not found:
        return ""
    given = [(e.low, e.high) for e in found if e.low is not None and e.high is not None]
    if len(given) < len(found) / 2:
        return f"no interval in {1 - len(given) / len(found):.0%}"
    cover, width = np.mean([low <= target <= high for low, high in given]), np.mean([high - low for low, high in given])
    return f"{cover:.3f} (width {width:.2f}" + (
        f"; none in {1 - len(given) / len(found):.0%})" if len(given) < len(found) else ")"
    )


def rows(simulations: int) -> Iterator[str]:
    """The two tables, line by line."""
    yield "| design | persons | AUROC | ICC | ours | plain percentiles of persons |\n|---|---|---|---|---|---|"
    cells = [(d, p, icc) for d in ("between", "within") for p in PERSONS for icc in (0.0, 0.5)]
    for design, persons, icc in [*cells, ("between", 400, 0.5)]:
        for area in (0.7, 0.9, 0.98):
            rng = np.random.default_rng([persons, int(area * 100), int(icc * 10), len(design)])
            samples = [scores(rng, persons, area, icc, design) for _ in range(simulations)]
            ours = [intervals.estimate(metrics.auroc, *s, draws=DRAWS, seed=k) for k, s in enumerate(samples)]
            plain = [percentiles(s, k) for k, s in enumerate(samples[: simulations // 2])] if persons <= 100 else []
            yield f"| {design} | {persons} | {area} | {icc} | {judge(ours, area)} | {judge(plain, area)} |"
    yield "\n| persons with the disease | sensitivity | ICC | ours |\n|---|---|---|---|"
    for persons in PERSONS:
        for share in (0.8, 0.9, 0.98):
            for icc in (0.0, 0.5):
                rng = np.random.default_rng([persons, int(share * 100), int(icc * 10)])
                found = [
                    intervals.estimate(metrics.sensitivity, *decisions(rng, persons, share, icc)) for _ in range(5 * simulations)
                ]
                yield f"| {persons} | {share} | {icc} | {judge(found, share)} |"


if __name__ == "__main__":
    count, began = int(sys.argv[1]) if len(sys.argv) > 1 else 400, time.perf_counter()
    lines = list(rows(count))
    spent, error = time.perf_counter() - began, (0.95 * 0.05 / count) ** 0.5
    head = f"""# Coverage of our own intervals

`OMP_NUM_THREADS=1 python benchmarks/coverage.py {count}`: {count} simulations a cell ({count // 2} for plain percentiles,
{5 * count} for sensitivity), {DRAWS} draws, {spent:.0f} s on one core. Wanted: 0.95; a cell of {count} has a standard error of {error:.3f}.

{(__doc__ or "").split(chr(10) * 2)[1]}"""
    Path(__file__).with_suffix(".md").write_text(head + "\n" + "\n".join(lines) + "\n")
