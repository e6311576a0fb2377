"""The test set, read once: predictions, figures with intervals, and the ledger of its reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.cases import Case, Prediction
from ..data.persons import count_persons
from ..data.split import SEEN, part_hash
from ..data.tasks import MultiLabel, positive_class, truth
from ..files import write_json, write_text
from ..inference.calibration import UNLIKE, Calibration
from ..inference.files import label_text
from ..inference.logits import predict_part
from ..inference.opening import calibrated
from ..metrics.classification import brier, ece
from ..metrics.intervals import estimate, estimates
from ..metrics.persons import person_weights
from ..metrics.prior_shift import estimate_prior, shift_prior
from ..recipes.recipe import Recipe
from ..runs.ledger import read_set
from ..runs.partition import part_of
from ..runs.prepared import Prepared, content_hashes
from ..runs.run import Run
from ..runs.scorecard import MemberFigure, MemberScores, PriorCorrected, Scorecard, ScoredSet, SetScores, Shifted
from .detection import judge_boxes
from .figures import Figure, Judged, Side, answers_of, difference, figures, judge_figures
from .referral import score_referral
from .reliability import score_calibration
from .scoring import score

TESTED_AGAIN = "The starting weights have learnt from cases of the test part. Do not read this as performance on new persons."
STAMPS = {
    "honest": "",
    "published": "Published protocol: the paper's own split, with its leaks. Do not read this as performance on new persons.",
    "assumed": (
        "Assumed protocol: random images 80/20, seed 42. Persons may be on both sides: do not read this as performance on "
        "new persons."
    ),
}


def stamp_of(run: Run) -> str:
    """What stands on every page of a run whose figures are not those of new persons."""
    again = any((finding.code, finding.grade) == (SEEN, "stop") for finding in run.split.findings)
    return STAMPS[run.settings.protocol] or (TESTED_AGAIN if again else "")


def evaluate(run: Run, prepared: Prepared) -> Scorecard:
    """Score the test part, with intervals from resampling persons.

    Write predictions.csv, metrics.json and a line of the ledger.

    Raises:
        RunError: the run is not calibrated yet, or no test case can be read.
    """
    predictor = calibrated(run)
    part = part_of(run, prepared, "test")
    cases = [case for case in run.cases("test") if case.id in prepared.row]
    content = content_hashes(run)
    name = part_hash(part.ids, content)
    # First of all: a reading that breaks off has been one too.
    reads, before = read_set(run, name, [content.get(case, case) for case in part.ids])
    scores = predict_part(run, prepared, "test", part)
    said = predictor.calibrate(scores)
    scored = judge(run, predictor.calibration, cases, scores.logits, said)
    result = Scorecard(
        protocol=run.settings.protocol,
        stamp=stamp_of(run),
        test=ScoredSet(name, reads, len(cases), count_persons(cases), before),
        scores=scored,
        prior_corrected=prior_corrected(run, predictor.calibration, cases, scores.logits),
        boxes=judge_boxes(run, prepared, predictor.calibration),
        members=beside_members(run) if run.members else (),
        calibration=score_calibration(
            run.recipe.task,
            run.recipe.classes,
            scored.shown,
            cases,
            predictor.calibration.probabilities(scores.logits),
            seed=run.settings.seed,
        ),
        referral=score_referral(
            predictor.calibration, cases, scores.logits, np.array([UNLIKE in answer.flags for answer in said])
        ),
        seconds={entry["stage"]: entry["seconds"] for entry in run.events("stage")},
    )
    write_text(run.path / "predictions.csv", predictions_csv(cases, said))
    write_json(run.path / "metrics.json", result.to_json())
    return result


def judge(
    run: Run, calibration: Calibration, cases: Sequence[Case], logits: NDArray[np.float32], answers: Sequence[Prediction]
) -> SetScores:
    """Figures of one set of cases, of any place.

    They come from raw logits (N, outputs) and the answers made of them.
    """
    probabilities = calibration.probabilities(logits)
    chosen = calibration.choose(probabilities, logits=logits)
    forced = [tuple(name for name, is_in in zip(run.recipe.classes, row, strict=True) if is_in) for row in chosen]
    return score(
        run.recipe.task,
        run.recipe.classes,
        cases,
        probabilities,
        forced,
        answered=np.array([answer.label is not None for answer in answers]),
        thresholds=calibration.thresholds(),
        seed=run.settings.seed,
        pool=run.recipe.pool,
    )


def prior_corrected(
    run: Run, calibration: Calibration, cases: Sequence[Case], logits: NDArray[np.float32]
) -> PriorCorrected | None:
    """Brier score and calibration error after moving the probabilities to the class balance of this part.

    docs/methods/evaluation.md, section 4. Once with the balance as it is among the persons of the part ("observed"),
    once as somebody without labels could guess it, by expectation maximisation ("estimated"). None for several labels, where each
    label has its own prevalence, and where calib lacks a class.
    """
    if isinstance(run.recipe.task, MultiLabel) or not all(calibration.prior):
        return None
    groups = [case.group for case in cases]
    known = truth(run.recipe.task, run.recipe.classes, cases)
    probabilities = calibration.probabilities(logits)
    positive = positive_class(run.recipe.task, run.recipe.classes)
    column = run.recipe.classes.index(positive) if positive else None
    true = (known.argmax(1) if column is None else known[:, column]).astype(int)

    def moved(prior: Sequence[float]) -> Shifted:
        shifted = shift_prior(probabilities, calibration.prior, prior)
        answer = shifted if column is None else shifted[:, column]
        return Shifted(tuple(map(float, prior)), estimates({"brier": brier, "ece": ece}, true, answer, groups))

    observed = np.average(known, axis=0, weights=person_weights(groups))  # (K,): each person counts once
    guessed = estimate_prior(probabilities, calibration.prior, person_weights(groups))  # Saerens et al. 2002
    return PriorCorrected(calibration.prior, moved(observed.tolist()), moved(guessed))


def predictions_csv(cases: Sequence[Case], answers: Sequence[Prediction]) -> str:
    """Write predictions.csv.

    Case, person, truth, label (empty = referred), conformal set, flags, a probability a class.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    classes = list(answers[0].probabilities)
    writer.writerow(["case", "person", "truth", "label", "conformal", "flags", *(f"p_{name}" for name in classes)])
    for case, answer in zip(cases, answers, strict=True):
        row = [
            case.id,
            case.group,
            "|".join(case.labels or ()),
            label_text(answer),
            "|".join(answer.conformal),
            "|".join(answer.flags),
        ]
        writer.writerow([*row, *(f"{answer.probabilities[name]:.6f}" for name in classes)])
    return out.getvalue()


def beside_members(run: Run) -> tuple[MemberScores, ...]:
    """Figures of an ensemble, then of each member, with the ensemble's lead.

    On the same bootstrap replicates of the persons of the test set.
    """
    wanted, asked = figures(run.recipe), [("ensemble", run), *((one.path.name, one) for one in run.members)]
    judged = []
    for name, one in asked:
        answered = answers_of(one)[1]
        judged.append(judge_figures(name, run.recipe, wanted, answered.where(answered.assessed), seed=run.settings.seed))
    return tuple(
        MemberScores(row.name, {figure.key: _beside(run.recipe, figure, judged[0], row) for figure in wanted}) for row in judged
    )


def _beside(recipe: Recipe, figure: Figure, whole: Judged, one: Judged) -> MemberFigure:
    """One figure of the ensemble or of a member; of a member with what the ensemble is ahead."""
    true, said, known = figure.pick(recipe, one.answers)
    value = estimate(figure.metric, true, said, one.answers.person[known])
    if one is whole:
        return MemberFigure(value)
    lead, p = difference(recipe, figure, Side(whole.name, (whole,)), Side(one.name, (one,)))
    return MemberFigure(value, lead, p)
