"""Coverage of conformal limits where a person has several images: python benchmarks/conformal.py > benchmarks/conformal.md

The score of an image is normal: a part of its person and a part of its own, correlation ICC within a person. So the share of
cases of new persons at or below a limit is known exactly, and only the calibration set is drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from resdx.evaluation.calibrate import conformal_limit

LEVEL, ICC, SPLITS = 0.90, 0.5, 2000
DESIGNS = {  # images of a person, and how much harder (in standard deviations) the persons with that many are
    "5 images each": {5: 0.0},
    "1 or 9 images, those with 9 easier": {1: 0.5, 9: -0.5},
    "1 or 9 images, those with 9 harder": {1: -0.5, 9: 0.5},
}


def draw(persons: int, design: dict[int, float], rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores of all images, person by person, and how many each person has."""
    kind = rng.integers(0, len(design), persons)
    images = np.array(list(design))[kind]
    person = np.array(list(design.values()))[kind] + np.sqrt(ICC) * rng.normal(size=persons)
    return person.repeat(images) + np.sqrt(1 - ICC) * rng.normal(size=images.sum()), images


def coverage(limit: float | None, design: dict[int, float]) -> float:
    """Chance that a random image of a random new person is kept."""
    return 1.0 if limit is None else float(np.mean([norm.cdf(limit - harder) for harder in design.values()]))


def row(persons: int, design: dict[int, float]) -> str:
    """One line of the table: mean over splits, and the share of splits that keep less than 85 %."""
    rng = np.random.default_rng(persons)
    kept: dict[str, list[float]] = {"naive": [], "weighted": [], "one": []}
    for _ in range(SPLITS):
        scores, images = draw(persons, design, rng)
        starts = np.cumsum(images) - images
        picked = starts + rng.integers(0, images)
        weight = 1 / images.repeat(images)
        kept["naive"].append(coverage(conformal_limit(scores, np.ones(len(scores)), LEVEL), design))
        kept["weighted"].append(coverage(conformal_limit(scores, weight, LEVEL), design))
        kept["one"].append(coverage(conformal_limit(scores[picked], np.ones(persons), LEVEL), design))
    cells = [f"{np.mean(values):.3f} ({np.mean(np.array(values) < 0.85):.0%})" for values in kept.values()]
    return f"| {persons} | {' | '.join(cells)} |"


def main() -> None:
    """Print the page."""
    print("# Coverage of conformal limits with several images a person\n")
    print(
        f"Level {LEVEL:.0%}, ICC {ICC}, {SPLITS} calibration sets a line. Mean share of new cases kept "
        "(share of calibration sets that keep"
    )
    print("less than 85 %). Naive: every image counts as a person. Weighted: each image 1 / (images of its person), one further")
    print("person at infinity: what resdx does. One: one random image a person. Made by `benchmarks/conformal.py`.")
    for name, design in DESIGNS.items():
        print(f"\n## {name}\n\n| persons | naive | weighted | one |\n|---|---|---|---|")
        for persons in (20, 50, 100, 400):
            print(row(persons, design))


if __name__ == "__main__":
    main()
