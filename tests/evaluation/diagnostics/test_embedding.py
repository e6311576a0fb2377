"""The map of embeddings: neighbours counted among other persons, as a loop would count them, and a picture that repeats."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from resdx.evaluation.diagnostics.embedding import NEIGHBOURS, embedding, layout, neighbours
from resdx.runs.prepared import prepared_of


def noise(count=120, width=8, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width))


def names(count, classes=2, seed=1):
    return [f"c{k}" for k in np.random.default_rng(seed).integers(classes, size=count)]


def test_neighbours_are_those_a_loop_finds_among_other_persons():
    x, classes, groups = noise(60), names(60, 3), [f"p{i // 3}" for i in range(60)]
    share = []
    for i in range(60):
        others = sorted((float(((x[i] - x[j]) ** 2).sum()), j) for j in range(60) if groups[j] != groups[i])
        share += [classes[j] == classes[i] for _, j in others[:NEIGHBOURS]]
    found, chance = neighbours(x, classes, groups)
    assert found.value == pytest.approx(np.mean(share)) and found.n == 20
    rest = [[classes[j] == classes[i] for j in range(60) if groups[j] != groups[i]] for i in range(60)]
    assert chance.value == pytest.approx(np.mean([np.mean(row) for row in rest]))


def test_clean_islands_agree_wholly_and_noise_no_more_than_chance():
    classes = names(120)
    apart = noise() + 100 * (np.array(classes) == "c1")[:, None]
    persons = [str(i) for i in range(120)]
    whole, chance = neighbours(apart, classes, persons)
    assert whole.value == whole.high == 1 > whole.low > chance.value
    nothing, chance = neighbours(noise(), classes, persons)
    assert nothing.low < chance.value < nothing.high


def test_pictures_of_one_person_do_not_vouch_for_each_other():
    x, classes = np.repeat(noise(60), 4, 0), np.repeat(names(60), 4).tolist()
    apart, chance = neighbours(x, classes, [str(i // 4) for i in range(240)])
    alone, _ = neighbours(x, classes, [str(i) for i in range(240)])
    assert apart.low < chance.value < apart.high and alone.value > apart.high
    assert apart.high - apart.low > alone.high - alone.low


def test_turning_and_shifting_the_embedding_changes_no_neighbour():
    turn = np.linalg.qr(noise(8, 8, 5))[0]
    classes, persons = names(120), [str(i) for i in range(120)]
    assert neighbours(noise() @ turn + 3, classes, persons)[0] == neighbours(noise(), classes, persons)[0]


def test_too_few_other_persons_give_no_figure():
    found, chance = neighbours(noise(12), names(12), ["one"] * 6 + ["two"] * 6)
    assert found.value is None and chance.value is None and "other persons" in found.note


def test_layout_repeats_and_fits_its_frame():
    first = layout(noise(60), 10.0, seed=3)
    assert_allclose(first, layout(noise(60), 10.0, seed=3))
    assert first.shape == (60, 2) and np.abs(first).max() == pytest.approx(1)


def test_layout_keeps_far_groups_apart():
    side = np.arange(60) < 30
    places = layout(noise(60) + 50 * side[:, None], 10.0, seed=0)
    middle = places[side].mean(0), places[~side].mean(0)
    own = np.linalg.norm(places - np.where(side[:, None], *middle), axis=1)
    other = np.linalg.norm(places - np.where(side[:, None], *middle[::-1]), axis=1)
    assert (own < other).all()


def test_run_that_trains_shows_its_held_out_cases_alone(twin):
    run = twin("evaluate")
    embedding(run, prepared_of(run))
    found = json.loads((run.path / "embedding.json").read_text())
    held = [case for part in ("tune", "calib", "test") for case in run.cases(part)]
    assert found["cases"] == [case.id for case in held] and set(found["parts"]) == {"tune", "calib", "test"}
    assert found["classes"] == [case.label for case in held] and len(found["points"]) == len(held)
    assert found["neighbours"]["low"] <= found["neighbours"]["value"] <= found["neighbours"]["high"]
    assert 0.4 < found["chance"]["value"] < 0.7 and "mean nothing" in found["note"]


def test_few_cases_make_no_map(twin):
    run = twin("train")
    embedding(run, prepared_of(run))
    assert "too few for a map" in json.loads((run.path / "embedding.json").read_text())["missing"]
