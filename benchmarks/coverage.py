"""How often our own 95 % intervals hold the truth: python benchmarks/coverage.py [SIMULATIONS] [folds] -> benchmarks/coverage.md.

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

from resdx.metrics import bootstrap, intervals
from resdx.metrics import classification as metrics
from resdx.metrics.classification import Values
from resdx.metrics.estimate import Estimate
from resdx.studies import cross_validation as cross

IMAGES = 5  # a person
FOLDS = 5
DRAWS = 500
PERSONS = (10, 20, 40, 100)
SECTION = "\n## Means over folds\n"
Sample = tuple[Values, Values, Values]  # truth, score or decision, person


def scores(rng: np.random.Generator, persons: int, area: float, icc: float, design: str, images: int = IMAGES) -> Sample:
    """Cases of `persons` whose score has the true AUROC `area`."""
    person = np.repeat(np.arange(persons), images)
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
    draws = [metrics.auroc(truth, score, w) for w in bootstrap.resample(truth, person, replicates=DRAWS, seed=seed)]
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
            ours = [intervals.estimate(metrics.auroc, *s, replicates=DRAWS, seed=k) for k, s in enumerate(samples)]
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


def drawn_over_folds(folds: list[Sample], seed: int) -> Estimate:
    """Plain percentiles of the mean over folds, persons drawn within each, for comparison."""
    draws = [
        np.concatenate(
            [metrics.auroc(truth, score, w) for w in bootstrap.resample(truth, person, replicates=DRAWS // 2, seed=seed + k)]
        )
        for k, (truth, score, person) in enumerate(folds)
    ]
    low, high = np.nanquantile(np.mean(draws, axis=0), (0.025, 0.975))
    return Estimate(None, float(low), float(high), 0)


def fold_rows(simulations: int) -> Iterator[str]:
    """The table of means over folds, line by line; each fold tests its own persons, half of them of each class."""
    yield "| persons in all folds | AUROC | images a person | ours | plain percentiles of persons |\n|---|---|---|---|---|"
    for persons in PERSONS[1:]:
        for area in (0.7, 0.9):
            for images in (1, IMAGES):
                rng = np.random.default_rng([persons, int(area * 100), images])
                some = [
                    [scores(rng, persons // FOLDS, area, 0.5, "between", images) for _ in range(FOLDS)]
                    for _ in range(simulations)
                ]
                ours = [cross.mean_over_folds(metrics.auroc, *zip(*folds, strict=True)) for folds in some]
                plain = [drawn_over_folds(folds, k) for k, folds in enumerate(some[: simulations // 4])]
                yield f"| {persons} | {area} | {images} | {judge(ours, area)} | {judge(plain, area)} |"


def write_folds(simulations: int) -> None:
    """Renew the section on folds in coverage.md."""
    path, began = Path(__file__).with_suffix(".md"), time.perf_counter()
    lines = list(fold_rows(simulations))
    head = f"""
`OMP_NUM_THREADS=1 python benchmarks/coverage.py {simulations} folds`: {FOLDS} folds, {simulations} simulations a cell \
({simulations // 4} for plain
percentiles), {time.perf_counter() - began:.0f} s on one core that had other work. ICC .5, "between", every fold's model \
equally good.

"""
    path.write_text(path.read_text().split(SECTION)[0] + SECTION + head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[2:] == ["folds"]:
        write_folds(int(sys.argv[1]))
        sys.exit()
    count, began = int(sys.argv[1]) if len(sys.argv) > 1 else 400, time.perf_counter()
    lines = list(rows(count))
    spent, error = time.perf_counter() - began, (0.95 * 0.05 / count) ** 0.5
    head = f"""# Coverage of our own intervals

`OMP_NUM_THREADS=1 python benchmarks/coverage.py {count}`: {count} simulations a cell ({count // 2} for plain percentiles,
{5 * count} for sensitivity), {DRAWS} draws, {spent:.0f} s on one core. Wanted: 0.95; a cell of {count} has a standard error of \
{error:.3f}.

{(__doc__ or "").split(chr(10) * 2)[1]}"""
    Path(__file__).with_suffix(".md").write_text(head + "\n" + "\n".join(lines) + "\n")
