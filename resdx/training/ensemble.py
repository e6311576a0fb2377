"""An ensemble as a run: its members are runs below it, of the same cases and subsets.

    RUN/members/NAME            each member, trained and calibrated as a run of its own would be
    RUN/members/NAME.fold-K     while stacking is fitted: the member without one fold of the persons of train

Nothing that joins the members sees calib or test: weights of a weighted vote are fitted on tune, stacking on out-of-fold
answers to train (or on tune).
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..data.tasks import target, truth
from ..errors import RunError, count
from ..files import write_bytes, write_json, write_text
from ..inference.opening import load_ood_score
from ..inference.voting import Votes, fit_weights, log_odds
from ..recipes.learning import Ensemble
from ..recipes.recipe import Recipe
from ..records import to_record
from ..runs.run import MEMBERS, Run, Scores
from . import distributed as ranks
from .frozen_features import train_folds
from .sklearn_heads import fit_linear

HANDED = ("manifest.csv", "scan.json", "audit.json", "failures.csv", "split.json")  # to each member, with the split
TRAINED = "familiarity.safetensors"  # what training writes last
PENALTY = 1.0  # inverse strength of the stacking regression: scikit-learn's own, for inputs that are few

Train = Callable[[Run], None]
Json = dict[str, Any]


def train_members(run: Run, train: Train) -> None:
    """Train each member that is not trained yet by `train`, and fit what joins them.

    Writes members/ and ensemble.json.

    Raises:
        RunError: several processes train together.
    """
    learn = cast(Ensemble, run.recipe.learn)
    if ranks.world() > 1:
        raise RunError(f"members of an ensemble are trained by one process; leave out torchrun: resdx train {run.path}")
    for one, recipe in zip(learn.members, run.recipe.members, strict=True):
        run.say(f"train: member {one.name}")
        member = _below(run, one.name, recipe)
        if not (member.path / TRAINED).exists():
            train(member)
        if learn.vote == "stacking" and learn.stack_on == "folds" and not (member.path / "scores-folds.npz").exists():
            member.write_scores("folds", _out_of_fold(run, member, train))
        run.log("member", name=one.name)
    votes = join(run)
    write_json(run.path / "ensemble.json", to_record(votes))
    if votes.vote == "weighted":
        shares = zip(votes.members, votes.weights, strict=True)
        run.say("train: weights fitted on tune: " + ", ".join(f"{name} {weight:.2f}" for name, weight in shares))


def join(run: Run) -> Votes:
    """What makes the trained members one, fitted on tune or on out-of-fold answers to train."""
    learn, recipe, members = cast(Ensemble, run.recipe.learn), run.recipe, run.members
    names, equal = tuple(one.name for one in learn.members), (1 / len(members),) * len(members)
    votes = Votes(names, learn.vote, equal, tuple(load_ood_score(one).extent for one in members))
    if learn.vote in ("soft", "majority"):
        return votes
    on_folds = learn.vote == "stacking" and learn.stack_on == "folds"
    each = [one.scores("folds" if on_folds else "tune") for one in members]
    by_id = {case.id: case for case in run.cases("train" if on_folds else "tune")}
    cases = [by_id[case] for case in each[0].ids]
    targets = target(recipe.task, truth(recipe.task, recipe.classes, cases))
    logits = [_in_order(one, each[0].ids) for one in each]
    if learn.vote == "weighted":
        return replace(votes, weights=fit_weights(recipe.task, logits, targets, [case.group for case in cases]))
    # Stacking (Wolpert 1992): a regression on the members' log-odds.
    slopes, bias = fit_linear(log_odds(recipe.task, logits), targets, PENALTY, recipe.task)
    return replace(votes, slopes=tuple(tuple(map(float, row)) for row in slopes), bias=tuple(map(float, bias)))


def _out_of_fold(run: Run, member: Run, train: Train) -> Scores:
    """What the member says to train, each person by a training that has not seen the person.

    Those trainings are removed.
    """
    cases = run.cases("train")
    fold, name = train_folds(run, cases), member.path.name
    numbers = np.unique(fold).tolist()
    parts: list[Scores] = []
    for number in numbers:
        held_out = {case.id for case, k in zip(cases, fold, strict=True) if k == number}
        one = _below(run, f"{name}.fold-{number}", member.recipe, held_out=held_out)
        if not (one.path / TRAINED).exists():
            run.say(f"train: member {name} without {count(len(held_out), 'case')}, {len(parts) + 1} of {len(numbers)}")
            train(one)
        parts.append(one.scores("calib"))
    for number in numbers:
        shutil.rmtree(member.path.with_name(f"{name}.fold-{number}"))
    ids = tuple(case for part in parts for case in part.ids)
    return Scores(ids, np.concatenate([one.logits for one in parts]), np.concatenate([one.embeddings for one in parts]))


def _below(run: Run, name: str, recipe: Recipe, *, held_out: Collection[str] = ()) -> Run:
    """A run of the same cases and parts below another one, made or opened.

    `held` cases of train are its calib part, and it has no test part.
    """
    path = run.path / MEMBERS / name
    if (path / "run.json").exists():
        member = Run.open(path, quiet=run.quiet)
    else:
        choices = {key: value for key, value in run.settings.choices.items() if key != "start_sha256"}  # of all members' starts
        member = Run.create(path, recipe, replace(run.settings, choices=choices), quiet=run.quiet)
    for file in HANDED:
        _hand(run.path / file, path / file)
    if held_out:
        write_text(path / "split.csv", _split_without(run, held_out))
    else:
        _hand(run.path / "split.csv", path / "split.csv")
    return member


def _hand(source: Path, copy: Path) -> None:
    if source.exists() and not copy.exists():
        write_bytes(copy, source.read_bytes())


def _split_without(run: Run, held_out: Collection[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("id", "part", "person"))
    writer.writerows((case.id, "calib" if case.id in held_out else "train", case.group) for case in run.cases("train"))
    writer.writerows((case.id, "tune", case.group) for case in run.cases("tune"))
    return out.getvalue()


def _in_order(scores: Scores, ids: Sequence[str]) -> NDArray[np.float32]:
    at = {case: row for row, case in enumerate(scores.ids)}
    return scores.logits[[at[case] for case in ids]]
