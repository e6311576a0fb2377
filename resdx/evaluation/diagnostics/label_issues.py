"""Label issues by confident learning: labels that may be wrong, cases that nobody can tell.

Confident learning (Northcutt, Jiang and Chuang 2021) takes probabilities of a model that has not learnt from the case. A class is
claimed with confidence where its probability reaches the mean probability of the cases labelled so: its own threshold, so
that a class the model is shy of is not taken for wrong. A case claimed for another class than its label is suspected.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...data.cases import Case
from ...data.label_corrections import (
    COLUMNS,
    Decision,
    file_hash,
    find_decisions,
    labels_text,
    read_decisions,
)
from ...data.split import PARTS, grouped_folds
from ...data.tasks import MultiLabel, Ordinal, Task, target, truth
from ...files import write_bytes, write_json, write_text
from ...inference.logits import predict_run
from ...inference.opening import calibrated
from ...metrics.classification import Array, Values, macro_auroc
from ...metrics.estimate import Estimate
from ...metrics.intervals import estimate
from ...runs.prepared import Prepared
from ...runs.run import Run
from ...training.frozen_features import chosen_setting
from ...training.sklearn_heads import fit_linear
from ..calibrate import fit_calibration

SHOWN = 48  # cases on the contact sheet
HARD = 12  # of them at most, that cannot be told
FOLDS = 5
PENALTY = 0.01  # inverse strength C of the regression on the embeddings of a trained network
MOST_LEARNT = 5000  # training cases that are looked at; more would take long on a processor
THUMBNAIL = 192  # px
WEAK = 0.8  # a model surely above this AUROC may estimate the share of wrong labels; of a weaker one it shows its own errors

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Opinions:
    """What a model that has not learnt from these cases predicts for them.

    `truth` (N, K) is NaN where not assessed, `probabilities` are (N, K).

    `blind`: nor has the backbone below it learnt from them.
    """

    cases: tuple[Case, ...]
    truth: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    blind: bool


@dataclass(frozen=True)
class Suspect:
    """One label to look at again.

    `kind` "label": another class is claimed with confidence; "hard": no class is. `score`, from -1 to 1, is the probability of
    the likeliest other class less that of the given label. `labels` are all the case would have if the model were right.
    """

    case: Case
    label: str
    model_label: str
    p_label: float
    p_model: float
    kind: Literal["label", "hard"]
    score: float
    labels: tuple[str, ...]


def suspects(run: Run, prepared: Prepared) -> None:
    """List the most suspicious cases.

    Writes suspects.json, suspects/*.png, and suspects.csv to be filled in.

    Raises:
        RunError: the run is not calibrated yet.
        DataError: label-decisions.csv cannot be used.
    """
    task, classes = run.recipe.task, run.recipe.classes
    known = opinions(run, prepared)
    found = [one for some in known for one in suspected(task, classes, some)]
    decided = find_decisions(run.manifest.root, run.store)
    before = {one.case: one for one in read_decisions(decided)} if decided else {}
    if (run.path / "suspects.csv").exists():  # filled in where it lies, and not put into its place yet
        before |= {one.case: one for one in read_decisions(run.path / "suspects.csv")}
    kept = {one.case for one in before.values() if one.decision == "keep"}
    shown = contact_sheet([one for one in found if one.case.id not in kept])
    part = {case.id: name for name in PARTS for case in run.cases(name)}
    share = estimated_share(task, [some for some in known if some.blind], seed=run.settings.seed)
    shutil.rmtree(run.path / "suspects", ignore_errors=True)
    (run.path / "suspects").mkdir()
    for number, one in enumerate(shown):
        write_bytes(run.path / "suspects" / f"{number}.png", thumbnail(prepared.images[prepared.row[one.case.id]]))
    write_text(run.path / "suspects.csv", template(run, shown, list(before.values())))
    rows = [_row(number, one, part[one.case.id]) for number, one in enumerate(shown)]
    note = _note(task, classes, known, found, [row["part"] for row in rows], kept=len(kept), share=share)
    write_json(run.path / "suspects.json", {"suspects": rows, "estimated_share": share and share.to_json(), "note": note})
    run.say(
        f"suspects: {len(shown)} cases to look at in {run.path / 'suspects.csv'}; wrong labels, estimated: "
        f"{share or 'not estimable'}"
    )


def opinions(run: Run, prepared: Prepared) -> list[Opinions]:
    """Scored cases by the run's own answers.

    Those it learnt from by a regression on their embeddings, in folds of whole persons.
    """
    predictor, task, classes = calibrated(run), run.recipe.task, run.recipe.classes
    names = [name for name in PARTS if (run.path / f"scores-{name}.npz").exists()]
    every = {case.id: case for name in PARTS for case in run.cases(name) if case.id in prepared.row}
    out, seen = [], set()
    for scores in map(run.scores, names):
        cases = tuple(every[case] for case in scores.ids)
        said = predictor.calibration.probabilities(scores.logits)
        out.append(Opinions(cases, truth(task, classes, cases), said, blind=True))
        seen |= set(scores.ids)
    test = {case.id for case in run.cases("test")}  # not to be read here before it is evaluated
    learnt = [case for case in every.values() if case.id not in seen | test]
    some = np.sort(np.random.default_rng(run.settings.seed).permutation(len(learnt))[:MOST_LEARNT])
    if len({learnt[i].group for i in some}) >= FOLDS:
        cases = tuple(learnt[i] for i in some)
        embeddings = predict_run(run, prepared, prepared.rows([case.id for case in cases])).embeddings
        penalty = (chosen_setting(run) or {}).get("penalty", PENALTY)
        said = cross_fitted(task, classes, cases, embeddings, penalty=penalty, seed=run.settings.seed)
        out.append(Opinions(cases, truth(task, classes, cases), said, blind=run.recipe.frozen))
    return out


def cross_fitted(
    task: Task, classes: Sequence[str], cases: Sequence[Case], x: NDArray[Any], *, penalty: float, seed: int
) -> NDArray[np.float32]:
    """Calibrated probabilities (N, K) of logistic regressions on embeddings `x` (N, E).

    Cross-fitted: each person is judged by a regression that has not seen them.
    """
    known = truth(task, classes, cases)
    targets = target(task, known)
    person = np.unique([case.group for case in cases], return_inverse=True)[1]
    fold = grouped_folds(cases, person.tolist(), FOLDS, seed)
    logits = np.zeros(targets.shape)
    for number in range(FOLDS):
        inside, outside = fold != number, fold == number
        weight, bias = fit_linear(x[inside].astype(np.float64), targets[inside], penalty, task)
        logits[outside] = x[outside] @ weight.T + bias
    groups = [case.group for case in cases]
    return fit_calibration(task, classes, logits, known, groups, balanced_training=False).probabilities(logits)


def suspected(task: Task, classes: Sequence[str], some: Opinions) -> list[Suspect]:
    """Every case, and of several labels every label, whose class is claimed for another or for none."""
    out = []
    for names, rows, given, p in _questions(task, classes, some):
        said = claimed(given, p)
        for row, i, k, chances in zip(rows, given, said, p, strict=True):
            if k == i:
                continue
            other = int(np.where(np.arange(len(chances)) == i, -1, chances).argmax())
            margin = float(chances[other] - chances[i])
            kind: Literal["label", "hard"] = "label" if k >= 0 and margin > 0 else "hard"
            case = some.cases[row]
            labels = _toggled(case, names[1]) if isinstance(task, MultiLabel) else (names[other],)
            out.append(Suspect(case, names[i], names[other], float(chances[i]), float(chances[other]), kind, margin, labels))
    return out


def claimed(given: NDArray[np.intp], p: Floats) -> NDArray[np.intp]:
    """The class that each case is claimed for with confidence, -1 for none.

    `given` (N,) are the labels, `p` (N, K) the probabilities.
    """
    labelled = np.eye(p.shape[1])[given]
    count = labelled.sum(0)
    limit = np.divide((labelled * p).sum(0), count, out=np.full(len(count), np.inf), where=count > 0)
    above = p >= limit
    return np.where(above.any(1), np.where(above, p, -1).argmax(1), -1)


def wrong_share(truth: Values, answer: Values, weights: Values | None = None) -> Array:
    """Share of wrong labels by the confident joint: `truth` (N,) classes, or (N, K) of 1, 0 and NaN.

    `answer` (N, K) probabilities.

    Of the cases labelled i that are claimed at all, the share claimed for i is the share of right labels in i.
    """
    weight = np.atleast_2d(np.ones(len(truth)) if weights is None else weights)
    if truth.ndim == 2:
        columns = [(~np.isnan(column), column, p) for column, p in zip(truth.T, answer.T, strict=True)]
        each = [wrong_share(column[at].astype(int), np.stack([1 - p[at], p[at]], 1), weight[:, at]) for at, column, p in columns]
        found = np.mean(each, axis=0)
    else:
        labelled = np.eye(answer.shape[1])[truth]
        count = weight @ labelled  # (D, K)
        limit = np.divide(weight @ (labelled * answer), count, out=np.full(count.shape, np.inf), where=count > 0)
        above = answer >= limit[:, None]  # (D, N, K)
        sure, right = above.any(-1), np.where(above, answer, -1).argmax(-1) == truth
        claims = (weight * sure) @ labelled
        kept = np.divide((weight * (sure & right)) @ labelled, claims, out=np.ones(count.shape), where=claims > 0)
        found = 1 - (count * kept).sum(-1) / count.sum(-1)
    return np.asarray(found if weights is not None and weights.ndim == 2 else np.reshape(found, -1)[0])


def estimated_share(task: Task, known: Sequence[Opinions], *, seed: int = 0) -> Estimate | None:
    """The share of wrong labels (of several labels: the mean over them), with an interval over persons.

    None of a weak model.
    """
    groups = [case.group for some in known for case in some.cases]
    true, p = (np.concatenate([getattr(some, name) for some in known]) for name in ("truth", "probabilities"))
    if (estimate(macro_auroc, true, p, groups, replicates=500, seed=seed).low or 0) < WEAK:
        return None
    if isinstance(task, MultiLabel):
        return estimate(wrong_share, true, p, groups, replicates=500, seed=seed)
    assessed = ~np.isnan(true).any(1)
    return estimate(wrong_share, true[assessed].argmax(1), p[assessed], np.array(groups)[assessed], replicates=500, seed=seed)


def contact_sheet(found: Sequence[Suspect]) -> list[Suspect]:
    """At most 48: doubtful labels, the surest first, then up to 12 that cannot be told, the closest first."""
    wrong = sorted((one for one in found if one.kind == "label"), key=lambda one: -one.score)
    hard = sorted((one for one in found if one.kind == "hard"), key=lambda one: abs(one.score))[:HARD]
    return [*wrong[: SHOWN - len(hard)], *hard]


def template(run: Run, shown: Sequence[Suspect], decided: Sequence[Decision]) -> str:
    """The table suspects.csv, to be filled in by a person.

    It has a row for what was decided before, so that nothing of it is lost when the table takes the place of the last one,
    and
    one for each other case, whose `decision` and `label` are empty, so that nothing is decided by not looking."""
    first: dict[str, Suspect] = {}
    for one in shown:
        first.setdefault(one.case.id, one)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, "given", "model"])
    for made in decided:
        label = labels_text(made.labels) if made.decision == "relabel" else ""
        writer.writerow([made.case, made.sha256, made.decision, label, made.by, made.note, "", ""])
    root, done = run.manifest.root, {made.case for made in decided}
    for one in (one for one in first.values() if one.case.id not in done):
        given, model = (labels_text(labels) for labels in (one.case.labels or (), one.labels))
        writer.writerow([one.case.id, file_hash(root, one.case), "", "", "", "", given, model])
    return out.getvalue()


def thumbnail(image: NDArray[np.uint8]) -> bytes:
    """A PNG of at most 192 px."""
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _questions(
    task: Task, classes: Sequence[str], some: Opinions
) -> Iterator[tuple[tuple[str, ...], NDArray[np.intp], NDArray[np.intp], Floats]]:
    """The questions of a task: one a label of several, else one of all classes.

    Yields the names of the answers, the rows of assessed cases, the given answer and the probabilities.
    """
    p = some.probabilities.astype(np.float64)
    if not isinstance(task, MultiLabel):
        rows = np.flatnonzero(~np.isnan(some.truth).any(1))
        yield tuple(classes), rows, some.truth[rows].argmax(1), p[rows]
        return
    for k, name in enumerate(classes):
        rows = np.flatnonzero(~np.isnan(some.truth[:, k]))
        yield (f"no {name}", name), rows, some.truth[rows, k].astype(np.intp), np.stack([1 - p[rows, k], p[rows, k]], 1)


def _toggled(case: Case, name: str) -> tuple[str, ...]:
    """The labels of a case, with `name` taken out where it has it and added where not."""
    labels = case.labels or ()
    return tuple(label for label in labels if label != name) if name in labels else (*labels, name)


def _row(number: int, one: Suspect, part: str) -> dict[str, Any]:
    return {
        "case": one.case.id,
        "person": one.case.group,
        "part": part,
        "label": one.label,
        "model_label": one.model_label,
        "p_label": round(one.p_label, 4),
        "p_model": round(one.p_model, 4),
        "kind": one.kind,
        "score": round(one.score, 4),
        "picture": f"suspects/{number}.png",
    }


def _note(
    task: Task,
    classes: Sequence[str],
    known: Sequence[Opinions],
    found: Sequence[Suspect],
    parts: Sequence[str],
    *,
    kept: int,
    share: Estimate | None,
) -> str:
    wrong = [one for one in found if one.kind == "label"]
    says = [
        f"Of {sum(len(some.cases) for some in known)} cases the model claims another class than the label for {len(wrong)} "
        f"and cannot tell {len(found) - len(wrong)}; none was judged by a classifier that has learnt from it.",
        "The estimated share of wrong labels is no bound: the model's own errors count as wrong labels, and wrong labels that "
        "the model shares are missed."
        if share
        else (
            f"No share of wrong labels is estimated: the model is not surely above an AUROC of {WEAK}, so most that it doubts "
            "are its own errors."
        ),
    ]
    if cases := sum(len(some.cases) for some in known if not some.blind):
        says.append(
            f"The backbone has learnt from {cases} of them, labels and all, so fewer of their errors show; the share leaves "
            "them out."
        )
    if isinstance(task, Ordinal):
        near = sum(abs(classes.index(one.label) - classes.index(one.model_label)) == 1 for one in wrong)
        says.append(f"{near} of the {len(wrong)} doubted grades are one grade off, where readers differ most.")
    if count := list(parts).count("test"):
        says.append(
            f"{count} of those shown are test cases: to change only labels that the model disputes makes its next result too "
            "good, so "
            "let somebody who sees neither label nor model read them, among as many others."
        )
    if kept:
        says.append(f"{kept} cases that were decided to keep their label are not shown again.")
    return " ".join(says)
