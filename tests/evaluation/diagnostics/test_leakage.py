"""The matched-leak experiment: what is exchanged, and that it finds a leak that is worth something and none that is not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from resdx.evaluation.diagnostics.leakage import difference, draw_round, judge, leak_worth, summary
from resdx.evaluation.diagnostics.probe import Asked, cases_of, persons_of
from resdx.files import read_json
from resdx.runs.partition import part_of_cases
from resdx.runs.prepared import prepared_of


@pytest.fixture(scope="module")
def setting(study):
    """Run, cases, persons and part of the films outside the test part."""
    prepared = prepared_of(study.run)
    cases = cases_of(study.run, prepared)
    return study.run, cases, persons_of(cases), part_of_cases(study.run, prepared, cases)


@pytest.mark.parametrize("turn", range(4))
def test_training_sets_differ_in_the_persons_alone(setting, turn):
    _, cases, person, part = setting
    drawn = draw_round(cases, person, part.truth, seed=0, turn=turn)
    tested = set(person[drawn.judged])
    assert not set(drawn.judged) & set(drawn.leaky) and len(set(drawn.judged)) == len(drawn.judged) == len(tested)
    assert not tested & set(person[drawn.clean])
    gone, new = np.setdiff1d(drawn.clean, drawn.leaky), np.setdiff1d(drawn.leaky, drawn.clean)
    assert len(gone) == len(new) == drawn.exchanged > 0 and set(person[new]) <= tested
    assert len(set(person[drawn.clean])) == len(set(person[drawn.leaky]))
    assert [Counter(cases[i].label for i in side) for side in (gone,)] == [Counter(cases[i].label for i in new)]


def test_three_rounds_judge_every_person_once(setting):
    _, cases, person, part = setting
    judged = [person[draw_round(cases, person, part.truth, seed=0, turn=turn).judged] for turn in range(3)]
    assert sorted(np.concatenate(judged)) == sorted(set(person))


def played(setting, learner):
    run, cases, person, part = setting
    rounds = [draw_round(cases, person, part.truth, seed=0, turn=turn) for turn in range(3)]
    answers = judge(run, part, person, rounds, learner)
    return summary(answers, Asked(np.array([1]), "opacity", ()), rounds, "how")


def test_learner_that_knows_persons_gains_all_and_one_that_does_not_gains_nothing(setting):
    _, _, person, part = setting
    of_row = dict(zip(part.rows.tolist(), person.tolist(), strict=True))

    def remembers(learn, rows, seed):
        known = {of_row[row]: truth for row, truth in zip(learn.rows.tolist(), learn.truth[:, 1], strict=True)}
        score = np.array([known.get(of_row[row], 0.5) for row in rows.tolist()])
        score = score + 0.7 * np.random.default_rng(seed).normal(size=len(rows))
        return np.stack([-score, score], 1)

    found = played(setting, remembers)
    assert found["with_leak"]["value"] > 0.7 and found["worth"]["low"] > 0
    assert found["seeds"] == 3 and found["test_persons"] == len(set(person))

    truth = dict(zip(part.rows.tolist(), part.truth[:, 1], strict=True))

    def knows(learn, rows, seed):
        score = np.array([truth[row] for row in rows.tolist()]) + np.random.default_rng(seed).random(len(rows))
        return np.stack([-score, score], 1)

    found = played(setting, knows)
    assert found["worth"]["value"] == 0 and "make no difference" in found["worth"]["note"]


def test_interval_of_two_learners_that_are_alike_holds_nothing_in_most_draws():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(40):
        truth = (np.arange(120) % 2).astype(np.float32)[:, None]
        signal = truth + rng.normal(size=(120, 1))
        clean, leaky = (signal + rng.normal(size=(120, 1)) for _ in range(2))
        found = difference(truth, clean, leaky, np.arange(120), np.arange(120) // 2 % 3)
        held += found.low <= 0 <= found.high
    assert held >= 36


@pytest.mark.slow
def test_experiment_on_a_run_with_a_network_uses_the_probe(twin):
    run = twin("split")
    leak_worth(run, prepared_of(run), steps=1)
    found = read_json(run.path / "leak-worth.json")
    assert "small probe" in found["note"] and found["exchanged"] > 10 and found["worth"]["value"] is not None


def test_persons_with_one_image_each_leave_nothing_to_leak(twin):
    run = twin("split")
    lines = (run.path / "split.csv").read_text().splitlines()
    alone = [lines[0], *(",".join((*line.split(",")[:2], f"case {number}")) for number, line in enumerate(lines[1:]))]
    (run.path / "split.csv").write_text("\n".join(alone) + "\n")
    leak_worth(run, prepared_of(run), steps=1)
    missing = read_json(run.path / "leak-worth.json")["missing"]
    assert missing.startswith("not estimable") and missing.endswith("among those with several images or near-duplicates")


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_noisy_learner_claims_no_leak_in_most_experiments(noise):
    rng = np.random.default_rng(1)
    person, turn, held = np.tile(np.arange(120), 2), np.repeat(np.arange(6), 40), 0
    truth = (person % 2).astype(np.float32)[:, None]
    for _ in range(40):
        signal = 1.5 * truth[:, 0] + rng.normal(size=120)[person]
        sides = [signal + truth[:, 0] * rng.normal(0, noise, 6)[turn] + 0.3 * rng.normal(size=240) for _ in range(2)]
        found = difference(truth, *(side[:, None] for side in sides), person, turn)
        held += found.low <= 0 <= found.high
    assert held >= 34


def test_a_round_without_a_class_is_not_estimable():
    truth = np.array([[1], [0], [0], [0]], np.float32)
    found = difference(truth, truth, truth, np.arange(4), np.array([0, 0, 1, 1]))
    assert found.value is None and "a round judges no case with a class" in found.note
