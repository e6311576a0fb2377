"""Which of several finished runs is better, on identical test cases and with intervals.

Where that cannot be said, there is the sentence why. Two trained models: DeLong or Obuchowski for the AUROC, McNemar or a
permutation within persons for the decisions (paired.py), draws of persons for every other difference. Two systems, with at
least 3 seeds each: a t interval whose variance is that between persons plus that between the seeds of either side (Welch
1947, Satterthwaite 1946). Holm over the family of pairs.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..data.cases import Case
from ..data.persons import units
from ..data.tasks import MultiLabel, positive_class
from ..errors import RunError
from ..evaluation.figures import (
    DRAWS,
    SEEDS,
    Figure,
    Judged,
    Side,
    answers_of,
    difference,
    figures,
    judge_figures,
)
from ..evaluation.outputs import Answers
from ..files import digest, write_json, write_text
from ..metrics.estimate import Estimate
from ..metrics.intervals import MIN_PERSONS, effective_sample_size
from ..metrics.paired_tests import (
    Comparison,
    delong,
    holm,
    mcnemar,
    obuchowski,
    permutation,
)
from ..recipes.recipe import Recipe
from ..report.render import p_value, render, signed
from ..runs.prepared import content_hashes
from ..runs.run import Run
from ..runs.scorecard import set_to_json

Json = dict[str, Any]

ALPHA = 0.05  # of the whole family of pairs
FINISHED = (
    ("split.csv", "split"),
    ("familiarity.safetensors", "train"),
    ("calibration.json", "calibrate"),
    ("metrics.json", "evaluate"),
)


def compare(runs: Sequence[Run], *, draws: int = DRAWS, seed: int = 0) -> Json:
    """Everything compare.json says about finished runs that were tested on the same cases.

    Nothing is written.

    Raises:
        RunError: fewer than two runs, one that is not finished (the stage is named), other classes or tasks, another test part
            (cases are named), or the same recipe and seed twice.
    """
    if len(runs) < 2:
        raise RunError("a comparison needs at least two runs; name another one")
    for run in runs:
        for file, stage in FINISHED:
            run.need(file, stage)
    recipe = runs[0].recipe
    _same_question(runs)
    answers = aligned(runs)
    names = _names(runs)
    wanted = figures(recipe)
    models = {
        run.path.resolve(): judge_figures(name, recipe, wanted, answer, draws=draws, seed=seed)
        for run, name, answer in zip(runs, names, answers, strict=True)
    }
    systems = {name: tuple(models[run.path.resolve()] for run in members) for name, members in _systems(runs, names).items()}
    pairs = [_pair(recipe, wanted, first, second, seed) for first, second in _pairs(systems)]
    _adjust(pairs)
    for pair in pairs:
        pair["verdict"] = verdict(pair, wanted[0])
    return {
        "test": {**set_to_json(runs[0].metrics.test), "persons": len(np.unique(answers[0].person)), "cases": len(answers[0])},
        "main": wanted[0].key,
        "classes": list(recipe.classes),
        "models": [_model(run, name, systems, wanted) for run, name in zip(runs, names, strict=True)],
        "pairs": pairs,
        "notes": _notes(runs, systems, pairs),
    }


def aligned(runs: Sequence[Run]) -> list[Answers]:
    """The answers of all runs in one order of test cases, with persons as all of them count together.

    Assessed cases only.

    Raises:
        RunError: the test parts are not the same files, or a case has another truth.
    """
    found = []
    for run in runs:
        content, (cases, answers) = content_hashes(run), answers_of(run)
        keys = [(content.get(case.id, case.id), case.id) for case in cases]
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
        sorted_answers = Answers(
            answers.truth[order],
            answers.probability[order],
            answers.decided[order],
            answers.answered[order],
            answers.person[order],
        )
        found.append(([keys[i] for i in order], [cases[i] for i in order], sorted_answers))
    _same_files(runs, [keys for keys, _, _ in found])
    _, cases, first = found[0]
    for run, (_, _, other) in zip(runs[1:], found[1:], strict=True):
        apart = np.flatnonzero(~np.isclose(first.truth, other.truth, equal_nan=True).all(1))
        if len(apart):
            raise RunError(
                f"{runs[0].path} and {run.path} were told another truth of {len(apart)} test cases, first {cases[apart[0]].id}; "
                "compare runs on the same labels"
            )
    person = _joined([[case.group or f"case {case.id}" for case in one] for _, one, _ in found])
    return [Answers(one.truth, one.probability, one.decided, one.answered, person).where(first.assessed) for _, _, one in found]


def verdict(pair: Mapping[str, Any], main: Figure) -> str:
    """One sentence on a pair, which claims no more than the seeds allow."""
    first, second, test = pair["first"], pair["second"], pair["tests"][0]
    gap, p = Estimate.from_json(pair["figures"][main.key]["difference"]), test["p_holm"]
    scope = (
        f"This holds for the systems, over {pair['seeds'][0]} and {pair['seeds'][1]} seeds."
        if pair["systems"]
        else f"This holds for these two models, not for the systems, for which at least {SEEDS} seeds of each are needed."
    )
    if gap.value is None or p is None:
        return f"Whether {first} or {second} is better cannot be told: {gap.note.removeprefix('no interval: ')}."
    size = f"AUROC difference {signed(gap.to_json())}, p {p_value(p)} by {test['test']}, Holm's adjustment"
    if p >= ALPHA:
        return f"No difference between {first} and {second} is shown: {size}. {scope}"
    better, worse = (first, second) if gap.value > 0 else (second, first)
    what = "system" if pair["systems"] else "model"
    return f"The {what} {better} is better than {worse}: {size}. {scope}"


def write_comparison(found: Mapping[str, Any], folder: Path) -> Path:
    """Write compare.json and compare.html into `folder`, and give the path of the page.

    Raises RunError when it cannot be.
    """
    make_folder(folder)
    write_json(folder / "compare.json", found)
    write_text(folder / "compare.html", render("compare.html", found))
    return folder / "compare.html"


def make_folder(folder: Path) -> None:
    """The folder, made where it is not there yet."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made ({error.strerror or error}); choose another --out") from error


def table(found: Mapping[str, Any]) -> str:
    """The comparison for a terminal."""
    main, test = found["main"], found["test"]
    lines = [f"{test['cases']} test cases of {test['persons']} persons, the same for all {len(found['models'])} runs"]
    lines += [f"  {one['name']}: {main} {Estimate.from_json(one['figures'][main])}" for one in found["models"]]
    for pair in found["pairs"]:
        lines += ["", pair["verdict"]]
        lines += [f"  {key}: {signed(figure['difference'])}" for key, figure in pair["figures"].items()]
    return "\n".join([*lines, "", *found["notes"]])


def question_of(recipe: Recipe) -> tuple[str, ...]:
    """What a recipe asks: its kind of task, its classes, and the one that counts as disease."""
    return (type(recipe.task).__name__, positive_class(recipe.task, recipe.classes), *recipe.classes)


def _same_question(runs: Sequence[Run]) -> None:
    """Raise RunError where runs answer different questions, or one stands there twice."""
    first = runs[0]
    for run in runs[1:]:
        if question_of(run.recipe) != question_of(first.recipe):
            ours, theirs = (f"{type(one.recipe.task).__name__} of {', '.join(one.recipe.classes)}" for one in (first, run))
            raise RunError(f"{first.path} answers {ours}, {run.path} answers {theirs}; compare runs of one question")
    seen: dict[tuple[Any, ...], int] = {}
    for i, run in enumerate(runs):
        twin = seen.setdefault((*_kind(run), run.settings.seed), i)
        if twin != i:
            raise RunError(f"{runs[twin].path} and {run.path} are one recipe with one seed; leave one of them out")


def _kind(run: Run) -> tuple[Any, ...]:
    """What two runs that differ in the seed alone have in common."""
    settings = run.settings
    cases = digest(run.need("manifest.csv", "scan"))
    return run.recipe.fingerprint(), cases, settings.protocol, settings.weights, settings.fold


def _same_files(runs: Sequence[Run], keys: Sequence[Sequence[tuple[str, str]]]) -> None:
    """Raise RunError with the first cases that one test part has and the other lacks."""
    sets = [Counter(content for content, _ in one) for one in keys]
    for k in range(1, len(runs)):
        if sets[k] == sets[0] and runs[k].metrics.test.hash == runs[0].metrics.test.hash:
            continue
        sides = []
        for one, other in ((0, k), (k, 0)):
            only = sorted(case for content, case in keys[one] if content not in sets[other])
            sides.append(f"{len(only)} only in {runs[one].path}" + (f" (first {only[0]})" if only else ""))
        raise RunError(
            f"the test parts differ, {' and '.join(sides)}; compare runs that were tested on the same cases: "
            "data that ships its test part, or the same seed"
        )


def _joined(groupings: Sequence[Sequence[str]]) -> NDArray[np.intp]:
    """Persons as 0, 1, 2 ...: cases that any run gives to one person are one person's, transitively."""
    cases = [Case(str(i), "", group=name) for i, name in enumerate(groupings[0])]
    clusters = []
    for names in groupings[1:]:
        members: dict[str, list[str]] = defaultdict(list)
        for i, name in enumerate(names):
            members[name].append(str(i))
        clusters += list(members.values())
    return np.unique(units(cases, clusters), return_inverse=True)[1]


def _names(runs: Sequence[Run]) -> list[str]:
    """The names of the directories; whole paths where two are named alike."""
    names = [run.path.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _systems(runs: Sequence[Run], names: Sequence[str]) -> dict[str, list[Run]]:
    """Runs that differ in the seed alone, by the beginning that their names share."""
    kinds: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, run in enumerate(runs):
        kinds[_kind(run)].append(i)
    out: dict[str, list[Run]] = {}
    for members in kinds.values():
        several = len(members) > 1
        name = os.path.commonprefix([names[i] for i in members]).rstrip("-_. /") if several else names[members[0]]
        name = name or runs[members[0]].recipe.name
        while name in out or (several and name in names):
            name += " (seeds)"
        out[name] = [runs[i] for i in members]
    return out


def _pairs(systems: Mapping[str, Sequence[Judged]]) -> list[tuple[Side, Side]]:
    """The pairs of models to compare.

    System against system where both have seeds enough, else every model of one against every model of the other.
    """
    if len(systems) == 1:
        sides = [Side(one.name, (one,)) for members in systems.values() for one in members]
        return list(combinations(sides, 2))
    out: list[tuple[Side, Side]] = []
    for (one, ours), (other, theirs) in combinations(systems.items(), 2):
        first, second = Side(one, tuple(ours)), Side(other, tuple(theirs))
        if first.is_system and second.is_system:
            out.append((first, second))
        else:
            out += [(Side(a.name, (a,)), Side(b.name, (b,))) for a, b in product(ours, theirs)]
    return out


def _pair(recipe: Recipe, wanted: Sequence[Figure], first: Side, second: Side, seed: int) -> Json:
    """Differences of every figure, and the tests of the main figure and of the decisions."""
    found = {figure.key: difference(recipe, figure, first, second) for figure in wanted}
    systems = first.is_system
    tests: list[Json] = []
    for figure, ask in ((wanted[0], _test_of_scores), (next(one for one in wanted if one.decided), _test_of_decisions)):
        if systems:
            tests.append({"figure": figure.key, "test": "t over persons and seeds", "p": found[figure.key][1]})
            continue
        said = ask(recipe, figure, first.members[0].answers, second.members[0].answers, seed)
        if said is None:
            tests.append({"figure": figure.key, "test": "none", "p": None})
            continue
        tests.append({"figure": figure.key, "test": said.test, "p": said.p})
        if said.difference.low is not None:
            found[figure.key] = said.difference, said.p
    return {
        "first": first.name,
        "second": second.name,
        "systems": systems,
        "seeds": [len(first.members), len(second.members)],
        "figures": {
            key: {"first": first.value(key), "second": second.value(key), "difference": gap.to_json()}
            if gap.value is not None
            else {"first": None, "second": None, "difference": gap.to_json()}
            for key, (gap, _) in found.items()
        },
        "tests": tests,
    }


def _test_of_scores(recipe: Recipe, figure: Figure, ours: Answers, theirs: Answers, seed: int) -> Comparison | None:
    true, first, known = figure.pick(recipe, ours)
    second, person = figure.pick(recipe, theirs)[1], ours.person[known]
    if effective_sample_size(figure.metric, true, person) < MIN_PERSONS:
        return None
    if figure.of:
        return (delong if _one_each(person) else obuchowski)(true, first, second, person)
    # A permutation exchanges answers, so the two models' must be on one scale: that of ranks.
    return permutation(figure.metric, true, rankdata(first, axis=0), rankdata(second, axis=0), person, seed=seed)


def _test_of_decisions(recipe: Recipe, figure: Figure, ours: Answers, theirs: Answers, seed: int) -> Comparison | None:
    true, first, known = figure.pick(recipe, ours)
    second, person = figure.pick(recipe, theirs)[1], ours.person[known]
    if len(np.unique(person)) < MIN_PERSONS:
        return None
    if _one_each(person) and not isinstance(recipe.task, MultiLabel):
        return mcnemar(true, first, second, person)
    return permutation(figure.metric, true, first, second, person, seed=seed)


def _one_each(person: NDArray[np.intp]) -> bool:
    return len(np.unique(person)) == len(person)


def _adjust(pairs: Sequence[Json]) -> None:
    """Add Holm's p values: over the pairs, for the main figure and for the decisions each."""
    for k in range(len(pairs[0]["tests"])):
        known = {str(i): pair["tests"][k]["p"] for i, pair in enumerate(pairs) if pair["tests"][k]["p"] is not None}
        adjusted = holm(known)
        for i, pair in enumerate(pairs):
            pair["tests"][k]["p_holm"] = adjusted.get(str(i))


def _model(run: Run, name: str, systems: Mapping[str, Sequence[Judged]], wanted: Sequence[Figure]) -> Json:
    level = run.metrics.scores.image
    return {
        "name": name,
        "title": run.recipe.title,
        "system": next(system for system, members in systems.items() if name in [one.name for one in members]),
        "seed": run.settings.seed,
        "protocol": run.settings.protocol,
        "figures": {figure.key: figure.of_level(level).to_json() for figure in wanted},
    }


def _notes(runs: Sequence[Run], systems: Mapping[str, Sequence[Judged]], pairs: Sequence[Json]) -> list[str]:
    reads = max(run.metrics.test.reads for run in runs)
    out = [
        f"This test part had been read {reads} times in its store: choosing the best of many on it makes the best look too good."
    ]
    if any(not pair["systems"] for pair in pairs) and len(systems) > 1:
        few = [f"{name} has {len(members)}" for name, members in systems.items() if len(members) < SEEDS]
        out.append(f"A sentence about systems needs {SEEDS} seeds of each; {', '.join(few)}. So models are compared one by one.")
    if len(systems) == 1:
        out.append("All runs are seeds of one system: a difference between them is chance of training, not a better system.")
    if len(pairs) > 1:
        out.append(f"p values are adjusted for {len(pairs)} pairs (Holm 1979); intervals are not.")
    if leaky := [run.path.name for run in runs if run.settings.protocol != "honest"]:
        out.append(f"{', '.join(leaky)}: persons may be on both sides of the split, so the comparison favours these runs.")
    for run in runs:
        if run.settings.protocol == "honest" and (stamp := run.metrics.stamp):
            out.append(f"{run.path.name}: {stamp} The comparison favours this run.")
    return out
