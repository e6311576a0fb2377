"""Answers for files: opened up, predicted, flagged, and written as CSV, JSON or a table."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ..data.cases import Prediction
from ..errors import RunError
from ..files import progress
from ..runs.settings import Refer
from ..transforms.readers.paths import split_index
from ..transforms.readers.protocol import flags_of, leads_of
from .drawing import short_name
from .ecg_strip import draw_strip
from .given import Given, Read, named
from .inputs import opened
from .predictor import Predictor

ROWS = 40  # answers to parts of one file that a person reads one by one


def predict_files(
    run: str | PathLike[str],
    files: Sequence[str | Path],
    *,
    engine: str = "auto",
    maps: Path | None = None,
    boxes: Path | None = None,
    strips: Path | None = None,
    recipe: str | Path = "",
    alpha: float | None = None,
    refer: Refer | None = None,
    quiet: bool = False,
) -> tuple[list[Prediction], list[tuple[str, str]]]:
    """Answers for files and for all files of folders, as `inputs.opened` finds them, with a progress bar.

    Failures as (file, reason).

    Where the run was made of heartbeats (ReadBeat), `strips` is a folder for a picture of each recording with its beats marked.

    `run`, `engine`, `recipe` and `quiet` are those of `Predictor.open`, `maps` and `boxes` those of `Predictor.stream`,
    `alpha` and `refer` those of `Predictor.referring`.

    Raises:
        DataError: a folder holds nothing that the run reads.
        RunError: strips are asked for, and the run is not one of heartbeats; or the calibration holds no level `alpha`.
    """
    predictor = Predictor.open(run, engine=engine, recipe=recipe, quiet=quiet).referring(alpha, refer)
    return answer_files(predictor, files, maps=maps, boxes=boxes, strips=strips, quiet=quiet)


def answer_files(
    predictor: Predictor,
    files: Iterable[Given],
    *,
    maps: Path | None = None,
    boxes: Path | None = None,
    strips: Path | None = None,
    quiet: bool = False,
) -> tuple[list[Prediction], list[tuple[str, str]]]:
    """Answers and failures of a predictor that is open, as of `predict_files`.

    What stands in the place of a file is answered too.
    """
    read = predictor.read
    if strips and not leads_of(read):
        raise RunError(f"{predictor.name} was not made of electrocardiograms, of which strips are drawn; leave out --strips")
    with progress("predict", len(given := opened_all(files, read)), quiet=quiet) as bar:
        answers, failures = predictor.predict(
            given, maps=maps, boxes=boxes, progress=lambda done: bar.update(bar.task_ids[0], completed=done)
        )
    answers = flagged(answers, read)
    if strips:
        for number, (file, some) in enumerate(groupby(answers, key=_file), 1):
            draw_strip(file, leads_of(read), list(some), strips / f"{number:05d}-{short_name(Path(file).stem)}.png")
    return answers, failures


def opened_all(files: Iterable[Given], read: Read) -> list[Given]:
    """Files and folders opened up as `inputs.opened` does; what is no path stays as it is."""
    return [
        path
        for file in files
        for path in (opened(Path(file), read) if isinstance(file, str | PathLike) else cast(list[Given], [file]))
    ]


def in_order(files: Iterable[Given], answers: Iterable[Prediction], failures: Sequence[tuple[str, str]]) -> list[Prediction]:
    """One prediction a file, those that could not be read with their `error`."""
    reasons, given = dict(failures), iter(answers)
    return [Prediction(name, {}, None, error=reasons[name]) if name in reasons else next(given) for name, _ in named(files)]


def _file(one: Prediction) -> str:
    return split_index(one.case)[0]


def flagged(predictions: Sequence[Prediction], read: Callable[[str], Any]) -> list[Prediction]:
    """Predictions, those of one file side by side, with the flags that the reader gives to its cases."""
    out = []
    for _, some in groupby(predictions, key=_file):
        cases = list(some)
        flags = flags_of(read, [one.case for one in cases])
        out += [replace(one, flags=(*one.flags, *more)) for one, more in zip(cases, flags, strict=True)]
    return out


def to_csv(predictions: Sequence[Prediction]) -> str:
    """One row a case: case, label (empty = refer to a person), conformal set, flags,
    a probability a class; and its boxes, where some has any.

    Boxes are JSON, each with label, x1, y1, x2, y2 in pixels of the file, and score.
    """
    classes = list(predictions[0].probabilities) if predictions else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    found = any(one.boxes for one in predictions)
    writer.writerow(["case", "label", "conformal", "flags", *(f"p_{name}" for name in classes), *["boxes"] * found])
    for one in predictions:
        values = [f"{one.probabilities[name]:.5f}" for name in classes]
        if found:
            corners = [[round(value, 1) for value in (box.x1, box.y1, box.x2, box.y2)] for box in one.boxes]
            values.append(json.dumps([[box.label, *at, round(box.score, 4)] for box, at in zip(one.boxes, corners, strict=True)]))
        writer.writerow([one.case, label_text(one), "|".join(one.conformal), "|".join(one.flags), *values])
    return out.getvalue()


def to_json(predictions: Sequence[Prediction]) -> str:
    """A JSON list with the fields of Prediction."""
    return json.dumps([asdict(one) for one in predictions], indent=1) + "\n"


def to_table(predictions: Sequence[Prediction]) -> str:
    """A table for the terminal: the answer, its probability, and why a case is referred.

    Of a file with more than ROWS parts how many are what.
    """
    table = Table(
        Column("case", overflow="fold"), "answer", "probabilities", "why", title="For research, not for diagnosis of patients"
    )
    for file, some in groupby(predictions, key=lambda one: _file(one) if os.path.isfile(_file(one)) else one.case):
        parts = list(some)
        if len(parts) > ROWS:
            said = Counter(label_text(one) or "refer to a person" for one in parts).most_common()
            why = Counter(flag for one in parts for flag in one.flags).most_common()
            counts = [", ".join(f"{what} {often:,}" for what, often in found) for found in (said, why)]
            table.add_row(
                Text(file), Text(f"{len(parts):,} answers: {counts[0]}"), Text("each with --csv or --json"), Text(counts[1])
            )
            continue
        for one in parts:
            chances = sorted(one.probabilities.items(), key=lambda item: -item[1])[:3]
            shown = ", ".join(f"{name} {chance:.3f}" for name, chance in chances)
            table.add_row(Text(one.case), Text(label_text(one) or "refer to a person"), Text(shown), Text(", ".join(one.flags)))
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def label_text(prediction: Prediction) -> str:
    """The label, or several with "|" between; empty when the case is referred to a person."""
    if prediction.label is None or isinstance(prediction.label, str):
        return prediction.label or ""
    return "|".join(prediction.label) or "none"
