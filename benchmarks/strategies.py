"""The four strategies of the field on three public sets: what each reaches, and what it costs.

    python -m benchmarks.strategies WORK --data FOLDER > benchmarks/strategies.md

FOLDER holds the sets under their names. Each set is run by `resdx strategies` with a ResNet-18 of 96 px (a ResNet-50 takes hours
on a processor); killed, the same command goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.sets import recipe_of
from resdx.files import read_json
from resdx.models.specs import Net, ResNet
from resdx.recipes.learning import Training
from resdx.recipes.recipe import Recipe
from resdx.report import figure, interval
from resdx.studies.review.benchmark_sets import DEFECTS
from resdx.studies.strategies import strategies
from resdx.transforms.image import Resize

NAMES = ("us-breast", "ct-covid", "cxr-covid-cohen")
DEPTH, SIZE = 18, 96  # pixels


def small_recipe(name: str) -> Recipe:
    """The recipe of a set with the small network."""
    return replace(recipe_of(name), prepare=(Resize(SIZE),), model=Net(ResNet(DEPTH)), learn=Training(epochs=20))


def rows(name: str, out: Path) -> list[str]:
    """A line a strategy, and what was compared below it."""
    found = read_json(out / "strategies.json")
    lines = []
    for row in found["rows"]:
        figures = " | ".join(f"{figure(one)} ({interval(one) or 'no interval'})" for one in row["figures"].values())
        lines.append(
            f"| {name} | {row['title']} | {figures} | {row['seconds'] / 60:.1f} | {row['core_seconds']:.0f} | "
            f"{row['trained'] / 1e6:.2f} M |"
        )
    return lines


def main() -> None:
    """Run what is missing, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    asked = parser.parse_args()
    table, verdicts = [], []
    for name in NAMES:
        out = asked.work / name
        found = strategies(asked.data / name, out=out, recipe=small_recipe(name))
        table += rows(name, out)
        verdicts += [f"- {name}: {pair['verdict']}" for pair in found["pairs"]]
    defects = "; ".join(f"{name}: {DEFECTS[name]}" for name in NAMES)
    print(PAGE.format(depth=DEPTH, size=SIZE, defects=defects, rows="\n".join(table), verdicts="\n".join(verdicts)))


PAGE = """# Four strategies on three sets

Each set is split once, persons and near-duplicates apart, and all four are judged on the same test images. From scratch and \
after pre-training: ResNet-{depth} at {size} px, 20 epochs; the pre-training sees the training images alone, without labels, ten
times. Features and transfer: MobileNet-V2 of ImageNet at 224 px. One seed: four models are compared, not four strategies. \
Minutes are of one core beside other work on the other one. {defects}.

| set | strategy | AUROC | balanced accuracy | minutes | core-seconds | parameters trained |
|---|---|---|---|---|---|---|
{rows}

On the same test images:

{verdicts}

Made by `python -m benchmarks.strategies WORK --data FOLDER`.
"""


if __name__ == "__main__":
    main()
