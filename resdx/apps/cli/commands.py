"""The commands in the order in which people use them: the file that holds each, and its sentence.

This table alone is read for `resdx --help`; a command's file is loaded when the command is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

COMMANDS = {  # name -> (module of this package, sentence)
    "demo": ("research", "Demonstration on synthetic chest films: planted faults are found, a network is trained."),
    "run": ("runs", "Do everything from scan to report for DATA: a folder, a CSV table or a DICOM folder."),
    "predict": ("inference", "Predict FILES (images, recordings, folders of them) with RUN; status 1 where one cannot be read."),
    "export": ("inference", "Export the finished RUN to a folder that predicts faster, without PyTorch; measure the difference."),
    "report": ("runs", "Report of RUN as report.html, of an unfinished run, or of one with folds."),
    "resume": ("runs", "Resume RUN where it stopped or was killed."),
    "compare": ("research", "Paired comparison of RUNS on the same test cases, with intervals over persons and seeds."),
    "recipes": ("research", "Recipes: list them, or show NAME: what its paper published, what is ours, its variants."),
    "scan": ("runs", "Scan DATA and list its cases in a new run directory."),
    "audit": ("runs", "Audit: find what would make the result wrong; status 1 while a stop is open or a file cannot be read."),
    "split": ("runs", "Split by person into training, validation, calibration and test set."),
    "prepare": ("runs", "Prepare every image once, into the store's cache."),
    "train": ("runs", "Train, or go on where training was killed."),
    "calibrate": ("runs", "Calibrate: fit calibrator, operating points and conformal limits on the calibration set."),
    "controls": ("runs", "Shortcut controls: what border, source and file say about the class, by small probes."),
    "explain": ("runs", "Saliency maps of where the network looks, and whether they can be read."),
    "embedding": ("runs", "Embedding map: the cases laid out by how alike the network finds them."),
    "suspects": ("runs", "Label issues: the cases whose label the network doubts most, for a person to settle."),
    "leak-worth": ("runs", "Leakage effect: what images of test persons in training would add; trains small networks."),
    "learning-curve": ("runs", "Learning curve: what more persons would bring; trains small networks."),
    "evaluate": ("runs", "Evaluate on the test set once, or on OTHER data (external validation), with intervals over persons."),
    "strategies": ("research", "Training strategies on DATA: from scratch, frozen features, pre-training and transfer learning."),
    "pretrain": ("research", "Pre-train on several data sets (folders, tables, DICOM folders or runs) to start others from."),
    "review": ("research", "Reproduction of published SYSTEMS (default: all) on real data under two protocols, as a table."),
    "forensics": ("research", "Plausibility of a published FIGURE: which counts can print it, with the rates of its CLASSES."),
    "gallery": ("research", "Gallery of what published systems do to an image, and of their networks, on synthetic data."),
}  # fmt: skip

LOADED: dict[str, click.Command] = {}  # filled as files are loaded


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A command whose help begins with its sentence; the function's docstring follows."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        text = "\n\n".join(filter(None, (COMMANDS[name][1], function.__doc__)))
        LOADED[name] = click.command(name, help=text)(function)
        return LOADED[name]

    return decorate
