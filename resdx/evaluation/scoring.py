"""Answers against the truth, as the tables and curves of a report.

`score` is a pure function of cases and answers. Two levels: each image, and each person (the mean or the highest of their
images). Every figure is an Estimate with persons as its n. What was not assessed is masked for its class; what was referred
to a person is counted with the class it would have been given (the likeliest one where only None is known), and the figures
of those answered stand apart under "abstention".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.cases import Case
from ..data.persons import count_persons
from ..data.tasks import Ordinal, Task, positive_class, truth
from ..errors import DataError
from ..inference.calibration import ENOUGH
from ..metrics import classification as metrics
from ..metrics.bands import bands
from ..metrics.classification import Array, Metric
from ..metrics.estimate import Estimate
from ..metrics.intervals import (
    MIN_PERSONS,
    estimate,
    estimates,
    person_codes,
    proportion,
)
from ..runs.level_scores import (
    Abstention,
    Band,
    ClassScores,
    Curves,
    LevelScores,
    ReliabilityBin,
    SubgroupScores,
    Support,
)
from ..runs.scorecard import SetScores
from .outputs import Answers, Pool, Question, pool_persons

Decision = str | tuple[str, ...] | None  # None refers the case to a person; a tuple for MultiLabel

GRID = np.arange(101) / 100  # false-positive rates of the ROC band, sensitivities of the precision curve
THRESHOLDS = np.arange(1, 50) / 50  # of the decision curve
AGES = (("<18", 0.0, 18.0), ("18-39", 18.0, 40.0), ("40-64", 40.0, 65.0), ("65+", 65.0, np.inf))  # years

DECIDED: Mapping[str, Metric] = {
    "sensitivity": metrics.sensitivity,
    "specificity": metrics.specificity,
    "ppv": metrics.ppv,
    "npv": metrics.npv,
}
RANKED: Mapping[str, Metric] = {
    "auroc": metrics.auroc,
    "average_precision": metrics.average_precision,
    "brier": metrics.brier,
    "ece": metrics.ece,
}
# At a threshold that calib chose for a goal; the best one of the test set would be an optimistic order statistic.
CHOSEN: Mapping[str, tuple[str, Metric]] = {
    "sensitivity_at_specificity_90": ("specificity 0.90", metrics.sensitivity),
    "sensitivity_at_specificity_95": ("specificity 0.95", metrics.sensitivity),
    "specificity_at_sensitivity_90": ("sensitivity 0.90", metrics.specificity),
    "specificity_at_sensitivity_95": ("sensitivity 0.95", metrics.specificity),
    "work_saved": ("sensitivity 0.99", metrics.specificity),
}
NAMED: Mapping[str, Metric] = {
    "accuracy": metrics.accuracy,
    "majority_rate": metrics.majority_rate,
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_f1": metrics.macro_f1,
    "mcc": metrics.mcc,
}
PROMISED: Mapping[str, Metric] = {"macro_auroc": metrics.macro_auroc, "brier": metrics.brier, "ece": metrics.ece}


def score(
    task: Task,
    classes: Sequence[str],
    cases: Sequence[Case],
    probabilities: NDArray[np.floating[Any]],
    decisions: Sequence[Decision],
    *,
    answered: NDArray[np.bool_] | None = None,
    thresholds: Mapping[tuple[str, str], float] | None = None,
    draws: int = 2000,
    seed: int = 0,
    pool: Pool = "mean",
) -> SetScores:
    """All figures of the answers to `cases`.

    `thresholds` are those that calib chose, by class and goal ("sensitivity 0.90"); figures at a goal take them.
    Answers are probabilities (N, K), and decisions: a label, labels or None. `answered` (N,) is False for a case that was
    referred to a person although `decisions` says what would have been called; without it, a decision of None is such a case.

    Raises:
        DataError: the lengths differ, a probability is not in [0, 1], a label is unknown, or no case has a known truth.
    """
    if not len(cases) == len(decisions) == len(probabilities) or probabilities.shape[1:] != (len(classes),):
        raise DataError(
            f"{len(cases)} cases and {len(classes)} classes do not fit probabilities {probabilities.shape} and "
            f"{len(decisions)} decisions; give one row a case and one column a class"
        )
    probability = np.asarray(probabilities, np.float64)
    if not (np.isfinite(probability) & (probability >= 0) & (probability <= 1)).all():
        raise DataError("some probabilities are not between 0 and 1; calibrate the scores and repeat the prediction")
    positive = positive_class(task, classes) if len(classes) == 2 else ""
    question = Question(task, tuple(classes), (positive,) if positive else tuple(classes), draws, seed, thresholds or {})
    # a case without a person must not meet a person of its name
    person = person_codes([f"person {case.group}" if case.group else f"case {case.id}" for case in cases], len(cases))
    answers = Answers(
        np.asarray(truth(task, classes, cases), np.float64),
        probability,
        _decided(question, decisions, probability),
        np.array([d is not None for d in decisions]) if answered is None else answered,
        person,
    )
    if not answers.assessed.any():
        raise DataError(f"none of the {len(cases)} cases has a known truth; give labels to the cases to be scored")
    pooled, mixed = pool_persons(question, answers, pool)
    return SetScores(
        classes=question.classes,
        shown=question.shown,
        cases=len(cases),
        persons=count_persons(cases),
        not_assessed=int((~answers.assessed).sum()),
        pool=pool,
        mixed_persons=mixed,
        notes=_notes(question, answers, mixed, pool),
        image=level(question, answers.where(answers.assessed)),
        person=level(question.of_persons(len(pooled) == len(answers)), pooled.where(pooled.assessed)),
        subgroups=subgroups(question, answers, cases),
    )


def level(question: Question, answers: Answers) -> LevelScores:
    """All figures of one level, images or persons.

    Overall figures, each class, its curves, the confusion matrix and abstention.
    """
    return LevelScores(
        cases=len(answers),
        persons=len(np.unique(answers.person)),
        overall=overall(question, answers),
        classes={name: one_class(question, answers, name) for name in question.shown},
        curves={name: curves(question, answers, name) for name in question.shown},
        confusion=None if question.several else _confusion(question, answers),
        abstention=abstention(question, answers),
    )


def overall(question: Question, answers: Answers) -> dict[str, Estimate]:
    """Figures over all classes; accuracy has the majority rate beside it."""
    if not len(answers):
        return {}
    ask = partial(estimates, replicates=question.draws, seed=question.seed)
    if question.several:
        ranked = ask({"macro_auroc": metrics.macro_auroc}, answers.truth, answers.probability, answers.person)
        ranked |= ask({"macro_f1": metrics.label_f1}, answers.truth, answers.decided, answers.person)
        return _saying_what_is_left_out(question, answers, ranked)
    true, said = answers.truth.argmax(1), answers.decided.argmax(1)
    kappa: dict[str, Metric] = {"quadratic_kappa": metrics.quadratic_kappa} if isinstance(question.task, Ordinal) else {}
    named = ask({**NAMED, **kappa}, true, said, answers.person)
    if len(question.shown) == 1:  # of two classes each is the other's mirror
        true, probability, _, person = _column(question, answers, question.shown[0])
        return named | ask({**PROMISED, "macro_auroc": metrics.auroc}, true, probability, person)
    return _saying_what_is_left_out(question, answers, named | ask(PROMISED, true, answers.probability, answers.person))


def left_out(classes: Sequence[str], truth: Array) -> tuple[str, ...]:
    """Classes that a mean over classes cannot count.

    In truth (N, K) they have no case with them or none without them.
    """
    there = ((truth == 1).any(0) & (truth == 0).any(0)).tolist()
    return tuple(name for name, is_there in zip(classes, there, strict=True) if not is_there)


def _saying_what_is_left_out(question: Question, answers: Answers, found: dict[str, Estimate]) -> dict[str, Estimate]:
    if not (absent := left_out(question.classes, answers.truth)):
        return found
    note = f"mean without {', '.join(absent)}, which the part does not hold"
    means = (
        ("macro_auroc", "macro_f1") if question.several else ("macro_auroc",)
    )  # macro F1 of one class a case counts those that occur
    return found | {name: replace(found[name], note="; ".join(filter(None, (found[name].note, note)))) for name in means}


def one_class(question: Question, answers: Answers, name: str) -> ClassScores:
    """Support in cases and persons, prevalence, and every figure of one class against the rest."""
    true, probability, decided, person = _column(question, answers, name)
    ask = partial(estimates, replicates=question.draws, seed=question.seed)

    def f1(truth: Array, _: Array, weights: Array | None = None, /) -> Array:  # on the draws of the others
        return metrics.f1(truth, decided, weights)

    figures = ask({**RANKED, "f1": f1}, true, probability, person)
    figures |= {key: _at_threshold(question, name, goal, metric, answers) for key, (goal, metric) in CHOSEN.items()}
    figures |= ask(DECIDED, true, decided, person) | {"f1": figures.pop("f1")}  # beside the other decided ones
    positive, negative = (Support(int(side.sum()), len(np.unique(person[side]))) for side in (true == 1, true == 0))
    return ClassScores(positive, negative, proportion(true == 1, person), figures)


def _at_threshold(question: Question, name: str, goal: str, metric: Metric, answers: Answers) -> Estimate:
    """A figure of one class at the threshold that calib chose for a goal."""
    true, probability, _, person = _column(question, answers, name)
    if (threshold := question.thresholds.get((name, goal))) is None:
        return not_chosen(len(np.unique(person)))
    return estimate(metric, true, (probability >= threshold).astype(float), person)


def not_chosen(persons: int) -> Estimate:
    """What stands for a figure whose threshold no calibration set chose."""
    return Estimate(None, None, None, persons, f"not estimable: its threshold takes {ENOUGH} persons in the calibration set")


def curves(question: Question, answers: Answers, name: str) -> Curves | None:
    """ROC, precision-recall and decision curves with pointwise bands, and the reliability diagram.

    None without both classes.
    """
    true, probability, _, person = _column(question, answers, name)
    if len(np.unique(true)) < 2:
        return None
    wanted: dict[str, Metric] = {
        "roc": partial(metrics.roc_curve, grid=GRID),
        "precision_recall": partial(metrics.precision_curve, grid=GRID),
        "decision": partial(metrics.net_benefit, thresholds=THRESHOLDS),
    }
    found = bands(wanted, true, probability, person, replicates=question.draws, seed=question.seed)
    share = float((true == 1).mean())
    return Curves(
        fpr=tuple(GRID.tolist()),
        roc=_band(found["roc"]),
        recall=tuple(GRID.tolist()),
        precision_recall=_band(found["precision_recall"]),
        threshold=tuple(THRESHOLDS.tolist()),
        net_benefit=_band(found["decision"]),
        # Net benefit of treating everybody (Vickers and Elkin 2006)
        treat_all=tuple(share - (1 - share) * t / (1 - t) for t in THRESHOLDS.tolist()),
        reliability=reliability(true, probability, person),
    )


def reliability(true: Array, probability: Array, person: NDArray[np.intp]) -> tuple[ReliabilityBin, ...]:
    """For each equal-mass bin the mean probability, how often it came true, and its cases."""
    predicted, observed, place = metrics.calibration_bins(true, probability)
    return tuple(
        ReliabilityBin(
            predicted=float(predicted[place == k].mean()),
            observed=proportion(observed[place == k], person[place == k]),
            cases=int((place == k).sum()),
        )
        for k in range(place.max() + 1)
    )


def abstention(question: Question, answers: Answers) -> Abstention:
    """The share referred to a person, and how good the answers were that were given."""
    given, accuracy = answers.where(answers.answered), None
    if not question.several:
        right = given.truth.argmax(1) == given.decided.argmax(1) if len(given) else np.zeros(0)
        accuracy = proportion(right, given.person)
    classes = {}
    for name in question.shown:
        true, _, decided, person = _column(question, given, name)
        classes[name] = estimates(DECIDED, true, decided, person)
    return Abstention(proportion(~answers.answered, answers.person), int(answers.answered.sum()), accuracy, classes)


def subgroups(question: Question, answers: Answers, cases: Sequence[Case]) -> dict[str, dict[str, SubgroupScores]]:
    """Figures per source, sex, age band and view, where at least two of its values are known."""
    kinds = {
        "source": [case.source for case in cases],
        "sex": [case.sex for case in cases],
        "age": [age_band(case.age) for case in cases],
        "view": [case.view for case in cases],
    }
    out = {}
    for kind, values in kinds.items():
        counts = Counter(value for value in values if value)
        if len(counts) > 1:
            members = {value: np.array([one == value for one in values]) for value in sorted(counts)}
            out[kind] = {value: _subgroup(question, answers.where(mask), value) for value, mask in members.items()}
    return out


def age_band(age: float | None) -> str:
    """The band of an age in years; empty when unknown."""
    return next((name for name, low, high in AGES if age is not None and low <= age < high), "")


def _decided(question: Question, decisions: Sequence[Decision], probability: Array) -> Array:
    """Decisions as (N, K) of 0 and 1.

    A referred case takes its likeliest class (each label from 0.5 for MultiLabel).
    """
    column = {name: k for k, name in enumerate(question.classes)}
    out = np.zeros(probability.shape)
    for row, decision, chances in zip(out, decisions, probability, strict=True):
        if decision is None:
            row[:] = chances >= 0.5 if question.several else np.arange(len(row)) == chances.argmax()
            continue
        for label in (decision,) if isinstance(decision, str) else decision:
            if label not in column:
                raise DataError(f"a decision names {label!r}, which is not among the classes {', '.join(question.classes)}")
            row[column[label]] = 1
        if not question.several and row.sum() != 1:
            raise DataError(
                f"a decision names {int(row.sum())} classes, but {type(question.task).__name__} takes exactly one or None"
            )
    return out


def _column(question: Question, answers: Answers, name: str) -> tuple[Array, Array, Array, NDArray[np.intp]]:
    """Truth, probability, decision and person of the cases that were assessed for one class."""
    k = question.classes.index(name)
    known = ~np.isnan(answers.truth[:, k])  # NaN: not assessed for this class
    return answers.truth[known, k], answers.probability[known, k], answers.decided[known, k], answers.person[known]


def _subgroup(question: Question, answers: Answers, value: str) -> SubgroupScores:
    answers, accuracy = answers.where(answers.assessed), None
    if not question.several and len(answers):
        accuracy = estimate(metrics.accuracy, answers.truth.argmax(1), answers.decided.argmax(1), answers.person)
    classes, notes = dict[str, dict[str, Estimate]](), dict[str, str]()
    for name in question.shown:
        true, probability, decided, person = _column(question, answers, name)
        with_it, without = (len(np.unique(person[true == side])) for side in (1, 0))
        classes[name] = {}
        if min(with_it, without) < MIN_PERSONS:
            notes[name] = (
                f"{value}: {with_it} persons with {name} and {without} without; at least {MIN_PERSONS} of each are needed"
            )
            continue
        ranked = estimate(metrics.auroc, true, probability, person, replicates=question.draws, seed=question.seed)
        both = {"sensitivity": metrics.sensitivity, "specificity": metrics.specificity}
        classes[name] = {"auroc": ranked, **estimates(both, true, decided, person)}
    return SubgroupScores(len(answers), len(np.unique(answers.person)), accuracy, classes, notes)


def _confusion(question: Question, answers: Answers) -> tuple[tuple[int, ...], ...]:
    table = metrics.confusion(answers.truth.argmax(1), answers.decided.argmax(1), len(question.classes))
    return tuple(tuple(int(count) for count in row) for row in table)


def _notes(question: Question, answers: Answers, mixed: int, pool: Pool) -> tuple[str, ...]:
    referred = int((~answers.answered).sum())
    rule = "a finding in any case counts for the person"
    if isinstance(question.task, Ordinal):
        rule = "the highest grade counts"
    elif not question.several and len(question.shown) > 1:
        rule = "they are left out of the person level"
    how = "mean" if pool == "mean" else "highest"
    absent = left_out(question.classes, answers.truth) if len(question.shown) > 1 or question.several else ()
    return (
        *(
            [f"Means over classes leave out {', '.join(absent)}: no case of the part is with it, or none without it."]
            if absent
            else []
        ),
        f"Person level: the {how} probability of a person's cases.",
        *([f"{mixed} persons have cases of several labels; {rule}."] if mixed else []),
        *(
            [f"{referred} referred cases are counted with the class they would have been given, except under abstention."]
            if referred
            else []
        ),
        "Sensitivity at a fixed specificity (and the reverse) takes its threshold from the calibration set.",
    )


def _band(found: tuple[Array, Array | None, Array | None]) -> Band:
    value, low, high = (None if line is None else tuple(np.round(line, 6).tolist()) for line in found)
    return Band(value or (), low, high)
