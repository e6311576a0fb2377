"""How well boxes are found: face masks and blood cells, Adam beside SGD, MobileNet-V2 beside ResNet-50.

    python -m benchmarks.boxes WORK --data FOLDER > benchmarks/boxes.md

FOLDER holds face-mask and blood-cells-bccd. Everything is chosen on the validation and calibration sets.
Killed, the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from resdx.recipes.library import get_recipe
from resdx.recipes.recipe import Recipe
from resdx.report import figure, interval
from resdx.runs.run import Run
from resdx.studies.review.benchmark_sets import defect_of
from resdx.studies.stages import EVIDENCE, resume
from resdx.studies.start import start

# Name of the run -> set, recipe, fields that are changed.
RUNS: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "mobilenet": ("face-mask", "face_masks:mobilenet", ()),
    "mobilenet-sgd": ("face-mask", "face_masks:mobilenet-sgd", ()),
    "resnet50": ("face-mask", "face_masks", (("model.backbone.backbone.weights", ""), ("size", "224"), ("learn.epochs", "60"))),
    "blood-cells": ("blood-cells-bccd", "face_masks:blood-cells", ()),
    "blood-cells-sgd": (
        "blood-cells-bccd",
        "face_masks:blood-cells",
        (("learn.optimiser", "sgd"), ("learn.lr", "0.01")),
    ),
}
KEYS = ("ap50", "ap50_95", "voc_ap50", "log_average_miss_rate", "precision", "recall")


def recipe_of(name: str) -> Recipe:
    """The recipe of a run."""
    recipe = get_recipe(RUNS[name][1])
    for field, value in RUNS[name][2]:
        recipe = recipe.set(field, value)
    return recipe


def finished(work: Path, data: Path, name: str) -> Run:
    """The run, made or gone on with."""
    path = work / name
    if not (path / "run.json").exists():
        start(data / RUNS[name][0], recipe=recipe_of(name), out=path, skip=EVIDENCE)
    resume(Run.open(path))
    return Run.open(path, quiet=True)


def rows(name: str, run: Run) -> list[str]:
    """A line a class."""
    spent = [event for event in run.events("stage") if event["stage"] == "train"][-1]
    cost = f"{spent['seconds'] / 60:.0f} | {spent['core_seconds'] / 60:.0f} | {run.metrics.to_json()['test']['reads']}"
    lines = []
    for kind, one in run.metrics.to_json()["boxes"]["classes"].items():
        figures = " | ".join(f"{figure(one[key])}{f' ({between})' if (between := interval(one[key])) else ''}" for key in KEYS)
        lines.append(f"| {name} | {kind} | {one['boxes']} in {one['pictures']} | {figures} | {cost} |")
    return lines


def main() -> None:
    """Run what is missing, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(RUNS))
    asked = parser.parse_args()
    table = [line for name in RUNS if name in asked.only for line in rows(name, finished(asked.work, asked.data, name))]
    print(PAGE.format(rows="\n".join(table), defect=defect_of("face_masks", "face-mask")))


PAGE = """# How well boxes are found

Pictures of 416 px, five anchors found in train, 40 epochs (ResNet-50: 224 px and 60 epochs, as in the paper). A run of the \
command that is not in the table has not been made yet. MobileNet-V2 starts from ImageNet and stops at its fifth block; \
ResNet-50 stops at its third stage and starts from random weights, since those of ImageNet were not at hand. face-mask: 433
photographs, {defect}; blood-cells: half of BCCD, 182 pictures, many of one smear, which no file says. No person is known in \
either: intervals are over pictures that do not look alike. AP50 and AP50:95 as COCO counts, AP50 (VOC) as PASCAL VOC has since \
2010, each with
objects marked as difficult; miss rate: log-average over 0.01 to 1 false boxes a picture; precision and recall from the score \
of best F1 on calib. Minutes of training beside other work, and of processor.

| run | class | boxes in pictures | AP50 | AP50:95 | AP50 (VOC) | miss rate | precision | recall | minutes | core minutes | \
reads of the test set |
|---|---|---|---|---|---|---|---|---|---|---|---|
{rows}

Made by `python -m benchmarks.boxes WORK --data FOLDER`.
"""


if __name__ == "__main__":
    main()
