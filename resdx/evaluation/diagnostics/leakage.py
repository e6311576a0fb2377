"""What a leak is worth: the matched-leak experiment.

The same test images are judged after two trainings on the same number of images of each class. One has seen no
person of the test images; in the other, some of the training persons were exchanged for the test persons, by other images of
theirs (or near-duplicates). The difference of the AUROC is what a split by image would have given away
(docs/methods/evaluation.md, section 2). The run's test part takes no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.progress import TaskID

from ...data.cases import Case
from ...data.split import grouped_folds
from ...errors import RunError
from ...files import write_json
from ...inference.logits import cached_embeddings, head_logits
from ...inference.opening import load_network
from ...metrics.bootstrap import resample
from ...metrics.classification import Array, Values, macro_auroc
from ...metrics.estimate import Estimate
from ...metrics.intervals import MIN_PERSONS, effective_sample_size, estimate, too_few
from ...recipes.learning import FeatureClassifier
from ...runs.partition import Part, part_of_cases
from ...runs.prepared import Prepared
from ...runs.run import Run
from ...training.frozen_features import chosen_setting, fitter, training_features
from ...training.sklearn_heads import named
from ..figures import between_persons, t_interval
from .probe import (
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

FOLDS = 3  # of the persons with several images: those tested, those they are exchanged for, and the rest
DRAWS = 2000
EVERY = 10**9  # cases: frozen features are cheap, so all take part

Places = NDArray[np.intp]
Learner = Callable[[Part, NDArray[np.int64], int], NDArray[np.float32]]  # (learn from, rows to judge, seed) -> (N, K)


@dataclass(frozen=True)
class Round:
    """Positions of the cases that are judged, and of the two training sets of one seed."""

    judged: Places
    clean: Places
    leaky: Places
    exchanged: int


@dataclass(frozen=True)
class Answers:
    """Cases judged in all rounds, after either training.

    Truth (N, K), probabilities (N, K) with and without the leak, persons and rounds (N,).
    """

    truth: NDArray[np.float32]
    clean: NDArray[np.float32]
    leaky: NDArray[np.float32]
    person: Places
    turn: Places


def leak_worth(run: Run, prepared: Prepared, *, seeds: int = 6, steps: int = STEPS) -> None:
    """Do the matched-leak experiment and write leak-worth.json.

    Args:
        seeds: rounds, each with test persons and a training seed of its own
        steps: of one training, where the recipe trains a network

    Raises:
        RunError: the run has not been trained yet, or has no case outside the test part.
    """
    features = isinstance(run.recipe.learn, FeatureClassifier)
    cases = cases_of(run, prepared, most=EVERY) if features else cases_of(run, prepared)
    person = persons_of(cases)
    several = np.bincount(person)[person] > 1
    pictures = prepared if features else shrink(prepared, cases)
    part = part_of_cases(run, pictures, cases)
    asked = classes_asked(run, part.truth[several], person[several])
    if isinstance(asked, str):
        _missing(run, f"{asked}, among those with several images or near-duplicates")
        return
    if features:
        learner, how = by_features(run, pictures), f"frozen features and {named(run.recipe.model.head)}, as in the run"
    else:
        run = settle_dtype(run, pictures, part)
        learner, how = by_probe(run, pictures, steps), "the small probe of the controls (ResNet-18, 64 px), not the run's network"
    rounds = [draw_round(cases, person, part.truth, seed=run.settings.seed, turn=turn) for turn in range(seeds)]
    answers = judge(run, part, person, rounds, learner)
    write_json(run.path / "leak-worth.json", summary(answers, asked, rounds, how))
    run.say(f"leak-worth: {Estimate.from_json(run.read('leak-worth.json', 'leak-worth')['worth'])} of AUROC, by {how}")


def draw_round(cases: Sequence[Case], person: Places, truth: NDArray[np.float32], *, seed: int, turn: int) -> Round:
    """Deal the persons with several images into three: tested, exchanged and others.

    Only halves of the first two may train.

    Both training sets hold everything of the others. One adds halves of the exchanged persons, the other the halves of the tested
    persons that are not judged: as many images of each label, so that nothing but the persons differs.
    """
    rng = np.random.default_rng([seed, turn, 3])
    several = np.flatnonzero(np.bincount(person)[person] > 1)
    fold = np.full(len(cases), -1)
    fold[several] = grouped_folds([cases[i] for i in several.tolist()], person[several].tolist(), FOLDS, seed + turn // FOLDS)
    tested, exchanged = turn % FOLDS, (turn + 1) % FOLDS
    judged, ours = _halves(np.flatnonzero(fold == tested), person, rng)
    _, theirs = _halves(np.flatnonzero(fold == exchanged), person, rng)
    ours, theirs = _alike(rng.permutation(ours), rng.permutation(theirs), truth)
    base = np.flatnonzero((fold != tested) & (fold != exchanged))
    return Round(judged, np.sort(np.append(base, theirs)), np.sort(np.append(base, ours)), len(ours))


def judge(run: Run, part: Part, person: Places, rounds: Sequence[Round], learner: Learner) -> Answers:
    """Train twice a round and answer its test images."""
    judged = np.concatenate([one.judged for one in rounds])
    turn = np.repeat(np.arange(len(rounds)), [len(one.judged) for one in rounds])
    sides: dict[str, list[NDArray[np.float32]]] = {"clean": [], "leaky": []}
    with run.progress("leak-worth", 2 * len(rounds)) as bar:
        for number, one in enumerate(rounds):
            for side, learnt in (("clean", one.clean), ("leaky", one.leaky)):
                sides[side].append(learner(part.at(learnt), part.rows[one.judged], run.settings.seed + number))
                bar.advance(TaskID(0))
    return Answers(part.truth[judged], np.concatenate(sides["clean"]), np.concatenate(sides["leaky"]), person[judged], turn)


def summary(answers: Answers, asked: Asked, rounds: Sequence[Round], how: str) -> dict[str, object]:
    """What leak-worth.json holds."""
    person = np.unique(answers.person, return_inverse=True)[1]
    truth = answers.truth[:, asked.columns]
    clean, leaky = (side[:, asked.columns] for side in (answers.clean, answers.leaky))
    worth = difference(truth, clean, leaky, person, answers.turn)
    metric = by_fold(answers.turn)
    return {
        "worth": worth.to_json(),
        "with_leak": estimate(metric, truth, leaky, person, replicates=DRAWS).to_json(),
        "without": estimate(metric, truth, clean, person, replicates=DRAWS).to_json(),
        "class": asked.name,
        "exchanged": sum(one.exchanged for one in rounds),
        "training": [len(one.clean) for one in rounds],
        "test_persons": int(person.max()) + 1,
        "test_cases": len(person),
        "seeds": len(rounds),
        "note": f"{how}; the test persons come from outside the run's test part",
    }


def difference(truth: Values, clean: Values, leaky: Values, person: Places, turn: Places) -> Estimate:
    """AUROC with the leak less that without, mean over rounds, with a t interval.

    Its variance is that of persons, drawn within rounds, and what rounds differ by beyond their persons: another training.
    """
    turns = [turn == one for one in np.unique(turn)]

    def gaps_of(weights: Values) -> Array:
        return np.stack([_gap(truth[m], clean[m], leaky[m], np.compress(m, weights, axis=-1)) for m in turns])  # (rounds, draws)

    persons, few = int(person.max()) + 1, effective_sample_size(macro_auroc, truth, person)
    each = gaps_of(np.ones((1, len(turn))))[:, 0]
    value = float(np.mean(each))
    if not np.isfinite(value):
        return Estimate(None, None, None, persons, "not estimable: a round judges no case with a class, or none without it")
    if few < MIN_PERSONS:
        return Estimate(value, None, None, persons, too_few(few))
    gaps = np.concatenate([gaps_of(weights) for weights in resample(truth, person, replicates=DRAWS, seed=0)], axis=1)
    parts = [between_persons(gaps.mean(axis=0), few)]
    if len(turns) > 1:
        of_persons = float(np.mean([between_persons(one, few)[0] for one in gaps]))
        parts.append((max(0.0, float(np.var(each, ddof=1)) - of_persons) / len(turns), len(turns) - 1.0))
    return t_interval(value, parts, persons, f"{DRAWS} draws of persons, and what {len(turns)} seeds differ by beyond them")[0]


def by_probe(run: Run, pictures: Prepared, steps: int) -> Learner:
    """Learn with the probe."""
    return lambda learn, rows, seed: ask(run, pictures, learn, rows, seed=seed, steps=steps)


def by_features(run: Run, prepared: Prepared) -> Learner:
    """Learn as the run did: its classifier on frozen features, with the setting that the run chose."""
    recipe, how = run.recipe, run.recipe.learn
    assert isinstance(how, FeatureClassifier)
    if (setting := chosen_setting(run)) is None:
        raise RunError(f"{run.path} has chosen no setting yet; run `resdx train {run.path}` first")
    network = load_network(run)  # its backbone is frozen, and its input as the run has fitted it
    embeddings = cached_embeddings(run, network, prepared)

    def learner(learn: Part, rows: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
        features = training_features(run, network, prepared, learn, how.views)
        head = fitter(run)(setting, features, np.tile(learn.targets, (how.views, 1)))
        return recipe.task.probabilities(head_logits(head, embeddings[rows]))

    return learner


def _halves(at: Places, person: Places, rng: np.random.Generator) -> tuple[Places, Places]:
    """Each person's cases in two halves by chance; the first has one more where they are odd."""
    at = rng.permutation(at)
    at = at[np.argsort(person[at], kind="stable")]
    starts = np.r_[0, np.flatnonzero(np.diff(person[at])) + 1]
    place = np.arange(len(at)) - np.repeat(starts, np.diff(np.r_[starts, len(at)]))
    return at[place % 2 == 0], at[place % 2 == 1]


def _alike(ours: Places, theirs: Places, truth: NDArray[np.float32]) -> tuple[Places, Places]:
    """As many cases of each label from either side: the larger side loses its last."""
    label = np.unique(np.nan_to_num(truth, nan=-1), axis=0, return_inverse=True)[1].ravel()
    sides = []
    for side, other in ((ours, theirs), (theirs, ours)):
        most = np.bincount(label[other], minlength=int(label.max()) + 1)
        keep = [side[label[side] == one][: most[one]] for one in range(len(most))]
        sides.append(np.concatenate(keep))
    return sides[0], sides[1]


def _gap(truth: Values, clean: Values, leaky: Values, weights: Values) -> Array:
    return np.asarray(macro_auroc(truth, leaky, weights) - macro_auroc(truth, clean, weights)).reshape(-1)


def _missing(run: Run, why: str) -> None:
    write_json(run.path / "leak-worth.json", {"missing": why})
    run.say(f"leak-worth: {why}")
