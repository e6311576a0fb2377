"""What tells the class beside the content: a small probe on masked images, and facts of the files.

The probe is trained alike on every version of the same pictures and is cross-fitted: each half of the persons is judged by a
probe that learnt from the other half. The test part is not touched. Scores on honest sets are often high on the border too
(marks, collimation, the outline of the body), so only a class that comes from one source, or a fact of the file that tells
the class, stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import TaskID
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ...data.audit.checks import DETERMINES
from ...data.audit.confounders import tells_class
from ...data.audit.file_facts import Facts
from ...data.cases import Case
from ...data.split import grouped_folds
from ...data.tasks import target
from ...errors import DataError
from ...files import write_json
from ...metrics.bootstrap import resample
from ...metrics.classification import Values
from ...metrics.estimate import Estimate
from ...metrics.intervals import estimate
from ...runs.partition import Part, part_of_cases
from ...runs.prepared import Prepared
from ...runs.run import Run
from .probe import (
    DEPTH,
    SIZE,
    STEPS,
    Asked,
    ask,
    by_fold,
    cases_of,
    classes_asked,
    persons_of,
    settle_dtype,
    shrink,
)

FRAME = 7  # pixels of the 64 that the border is wide: 39 % of the area
HALVES = 2  # each judged by a probe that learnt from the other
DRAWS = 2000
PENALTY = 0.01  # inverse strength of the regression on pixels, which are more than the persons of most sets
NONE: Mapping[str, Prepared] = MappingProxyType({})
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Question:
    """What is asked of every version of the images.

    The cases, their persons and halves, and the classes that enough persons have and lack.
    """

    part: Part
    person: NDArray[np.intp]
    half: NDArray[np.int64]
    asked: Asked

    def area(self, truth: Values, answer: Values) -> Estimate:
        """Mean AUROC over the two halves and the classes asked about: truth (N, K) and probabilities (N, K)."""
        return estimate(
            by_fold(self.half), truth[:, self.asked.columns], answer[:, self.asked.columns], self.person, replicates=DRAWS
        )


def controls(run: Run, prepared: Prepared, *, others: Mapping[str, Prepared] = NONE, steps: int = STEPS) -> None:
    """Ask the probe and the tables what tells the class, and write controls.json.

    Args:
        others: further versions of the same cases, by name (such as films without their organ, or without corner marks)
        steps: of one training

    Raises:
        RunError: no case lies outside the test part.
        DataError: another version lacks a case.
    """
    started = time.perf_counter()
    cases = cases_of(run, prepared)
    pictures = shrink(prepared, cases)
    question = ask_about(run, pictures, cases)
    if isinstance(question, str):
        write_json(run.path / "controls.json", {"missing": question})
        run.say(f"controls: {question}")
        return
    run = settle_dtype(run, pictures, question.part)
    versions = {"full": pictures, "border": masked(pictures, border), "centre-black": masked(pictures, corners)}
    versions |= {name: shrink(_checked(name, other, cases), cases) for name, other in others.items()}
    exchanged = exchange_labels(question.part.truth, question.person, run.settings.seed)
    permuted = replace(question.part, truth=exchanged, targets=target(run.recipe.task, exchanged))
    with run.progress("controls", HALVES * (len(versions) + 1)) as bar:
        ask_probe = partial(cross_fit, run, tick=lambda: bar.advance(TaskID(0)), steps=steps)
        answers = {name: ask_probe(question, version) for name, version in versions.items()}
        chance = ask_probe(replace(question, part=permuted), pictures)
    areas = {name: question.area(question.part.truth, answer) for name, answer in answers.items()}
    areas["border in place"] = question.area(question.part.truth, in_place(question, versions["border"]))
    areas["permuted"] = question.area(exchanged, chance)
    tables = tables_of(run, cases, question)
    share = border_share(question, answers, areas["full"])
    verdict = verdict_of(stops_of(run, tables), share, areas)
    probe = {"depth": DEPTH, "size": SIZE, "cases": len(cases), "steps": steps}
    write_json(
        run.path / "controls.json",
        {
            "probe": {**probe, "dtype": run.settings.choices["probe_dtype"]},
            "class": question.asked.name,
            "left_out": list(question.asked.left_out),
            "inputs": [{"name": name, "auroc": area.to_json(), "note": NOTES.get(name, "")} for name, area in areas.items()],
            "tables": tables,
            "border_share": share.to_json() if share else None,
            "verdict": verdict,
            "seconds": round(time.perf_counter() - started, 1),
        },
    )
    run.say(f"controls: {verdict['grade'].upper()} {verdict['text']}")


NOTES = {
    "full": "whole pictures",
    "border": f"only a frame of {FRAME} of {SIZE} pixels is left, {1 - (1 - 2 * FRAME / SIZE) ** 2:.0%} of the area",
    "centre-black": "the disc that fills the picture, where the organ lies, is black; the four corners are left, 22% of the area",
    "border in place": (
        "the pixels of the same frame, each in its place, by a logistic regression: finds a mark too small for the probe"
    ),
    "permuted": "labels exchanged between persons: what is above 0.5 beyond chance leaks between the halves",
}


def _checked(name: str, other: Prepared, cases: Sequence[Case]) -> Prepared:
    if absent := [case.id for case in cases if case.id not in other.row]:
        raise DataError(
            f"version {name!r} lacks {len(absent)} of {len(cases)} cases, first {absent[0]}; prepare it from the same cases"
        )
    return other


def ask_about(run: Run, pictures: Prepared, cases: Sequence[Case]) -> Question | str:
    """The question, or the sentence that says why it cannot be asked."""
    part, person = part_of_cases(run, pictures, cases), persons_of(cases)
    asked = classes_asked(run, part.truth, person)
    if isinstance(asked, str):
        return asked
    return Question(part, person, grouped_folds(cases, person.tolist(), HALVES, run.settings.seed), asked)


def cross_fit(
    run: Run, question: Question, pictures: Prepared, *, tick: Callable[[], object], steps: int = STEPS
) -> NDArray[np.float32]:
    """Probabilities (N, K) of a version of the pictures, each case by the probe that did not see its half."""
    out = np.zeros_like(question.part.truth)
    for half in range(HALVES):
        judged = np.flatnonzero(question.half == half)
        learnt = question.part.at(np.flatnonzero(question.half != half))
        out[judged] = ask(run, pictures, learnt, question.part.rows[judged], seed=run.settings.seed, steps=steps)
        tick()
    return out


def in_place(question: Question, border: Prepared) -> NDArray[np.float32]:
    """Probabilities (N, K) by a logistic regression on every pixel of the frame.

    At half the probe's size, cross-fitted as the probe is.

    A letter burnt in at one place takes a few pixels of 64, which a small network does not learn in its steps; here each has
    a weight.
    """
    images, rows = border.images[question.part.rows].mean(-1), len(question.part.rows)
    pixels = images.reshape(rows, SIZE // 2, 2, SIZE // 2, 2).mean((2, 4)).reshape(rows, -1)
    pixels = pixels[:, pixels.any(0)]
    out = np.full(question.part.truth.shape, 0.5, np.float32)
    for half in range(HALVES):
        judged = question.half == half
        for k in question.asked.columns:
            truth = question.part.truth[:, k]
            learnt = ~judged & ~np.isnan(truth)
            if len(np.unique(truth[learnt])) == 2 and pixels.shape[1]:
                model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=500))
                out[judged, k] = model.fit(pixels[learnt], truth[learnt]).predict_proba(pixels[judged])[:, 1]
    return out


def masked(pictures: Prepared, mask: Callable[[int], NDArray[np.bool_]]) -> Prepared:
    """Pictures that are black wherever the mask of their side is not set.

    Before augmentation, so that nothing moves into view.
    """
    return replace(pictures, images=pictures.images * mask(pictures.images.shape[1])[:, :, None])


def border(size: int) -> NDArray[np.bool_]:
    """(size, size), True in the outer frame."""
    out = np.ones((size, size), bool)
    width = round(size * FRAME / SIZE)
    out[width : size - width, width : size - width] = False
    return out


def corners(size: int) -> NDArray[np.bool_]:
    """(size, size), True outside the disc that fills the picture."""
    line = (np.arange(size) + 0.5) * 2 / size - 1
    return np.hypot(line[:, None], line) > 1


def exchange_labels(truth: NDArray[np.float32], person: NDArray[np.intp], seed: int) -> NDArray[np.float32]:
    """Truth (N, K) in which each person has the labels of another, in any order.

    Who has more cases has them again from the first.

    In any order, because cases are listed class by class: where persons have several classes, the first of one would
    otherwise get the labels of the first of another, which are mostly their own.
    """
    rng = np.random.default_rng([seed, 2])
    rows = [np.flatnonzero(person == one) for one in range(int(person.max()) + 1)]
    out = np.empty_like(truth)
    for own, other in zip(rows, rng.permutation(len(rows)), strict=True):
        out[own] = truth[np.resize(rng.permutation(rows[other]), len(own))]
    return out


def border_share(question: Question, answers: Mapping[str, Values], full: Estimate) -> Estimate | None:
    """X = (border - .5) / (full - .5), both on the same draws of persons.

    None where whole pictures tell nothing for certain.
    """
    if full.value is None or full.low is None or full.low <= 0.5:
        return None
    truth, metric = question.part.truth[:, question.asked.columns], by_fold(question.half)
    whole, frame = (answers[name][:, question.asked.columns] for name in ("full", "border"))
    draws = [
        (metric(truth, frame, weights) - 0.5) / (metric(truth, whole, weights) - 0.5)
        for weights in resample(truth, question.person, replicates=DRAWS, seed=0)
    ]
    kept = np.concatenate(draws)
    low, high = np.quantile(kept[~np.isnan(kept)], (0.025, 0.975))
    value = float((metric(truth, frame) - 0.5) / (metric(truth, whole) - 0.5))
    return Estimate(value, float(low), float(high), full.n, f"percentiles of {DRAWS} draws of persons, both probes on each")


def tables_of(run: Run, cases: Sequence[Case], question: Question) -> list[dict[str, Any]]:
    """How well the source, all facts of the file and its size alone tell a class.

    The class that each tells best.
    """
    facts = {fact.case: fact for fact in run.audit.facts}
    truth = {run.recipe.classes[k]: question.part.truth[:, k] for k in question.asked.columns}
    return [_table(name, table, truth, question) for name, table in facts_of(cases, [facts[case.id] for case in cases]).items()]


def facts_of(cases: Sequence[Case], facts: Sequence[Facts]) -> dict[str, NDArray[np.float64]]:
    """Three tables (N, F): where a case comes from; size, format, mode and bits of its file.

    Its size alone.
    """
    size = np.array([(fact.width, fact.height, fact.width / fact.height) for fact in facts], float)
    form = [[fact.format for fact in facts], [fact.mode for fact in facts], [fact.bits for fact in facts]]
    coded = [np.unique(np.array(column), return_inverse=True)[1] for column in form]
    sources = np.array([case.source for case in cases])
    source = (sources[:, None] == np.unique(sources)).astype(float)
    return {"source": source, "file": np.column_stack([size, *coded]).astype(float), "size": size}


def _table(
    name: str, table: NDArray[np.float64], truth: Mapping[str, NDArray[np.floating]], question: Question
) -> dict[str, Any]:
    found = tells_class(table, truth, question.person.tolist())
    if not (np.ptp(table, axis=0) > 0).any():
        return _row(name, "", Estimate(None, None, None, len(table), "not estimable: it is the same for every case"))
    if not found:
        return _row(name, "", Estimate(None, None, None, len(table), "not estimated: it tells no class with an AUROC above 0.6"))
    told, area = max(found.items(), key=lambda pair: pair[1].low or 0)
    return _row(name, told, area)


def _row(name: str, told: str, area: Estimate) -> dict[str, Any]:
    notes = {"source": "where a case comes from", "file": "size, format, colour mode and bits", "size": "width and height"}
    return {"name": name, "class": told, "auroc": area.to_json(), "note": f"{notes[name]}, by a small tree"}


def stops_of(run: Run, tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why a good score says nothing.

    A class that comes from one source only, or a table that tells one with a lower bound above .9.
    """
    found = run.audit.findings
    why = [finding.text for finding in found if finding.code == "one-source-class" and finding.grade == "stop"]
    for row in tables:
        area = Estimate.from_json(row["auroc"])
        if (area.low or 0) > DETERMINES:
            why.append(f"The {row['name']} alone tells class {row['class']!r} with AUROC {area}.")
    return why


def verdict_of(stops: Sequence[str], share: Estimate | None, areas: Mapping[str, Estimate]) -> dict[str, str]:
    """Stop where `stops_of` has a reason; else what the border carries, without a verdict on it."""
    loud = ""
    if ((leak := areas["permuted"]).low or 0) > 0.5:
        loud = (
            f" ATTENTION: with labels exchanged between persons the probe still reaches {leak}: persons or pictures are shared "
        )
        loud += "between its halves, so no figure here holds."
    if stops:
        text = f"The source determines the class, so a good score says nothing about the disease. {stops[0]}"
        return {"code": "source-determines-class", "grade": "stop", "text": text + loud}
    if share is None:
        text = f"Nothing can be said: from whole pictures the probe does not surely tell the class (AUROC {areas['full']})."
    else:
        text = f"The border carries {share.value:.0%} ({share.low:.0%} to {share.high:.0%}) of the signal: AUROC "
        text += f"{areas['border']} from the outer frame, {areas['full']} from whole pictures, by the same small probe."
    if not stops and ((marks := areas["border in place"]).low or 0) > max(0.5, areas["border"].high or 0.5):
        text += f" Pixel by pixel the frame tells more, {marks}: look for marks that stand at one place."
    return {"code": "border-carries", "grade": "note", "text": text + loud}
