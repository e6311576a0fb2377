"""Controls: masks, exchanged labels, the share of the border, tables and the two verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from resdx.data.audit.audit import Audit
from resdx.data.audit.file_facts import Facts
from resdx.data.cases import Case, Finding
from resdx.data.split import grouped_folds
from resdx.errors import DataError
from resdx.evaluation.diagnostics.controls import (
    Question,
    ask_about,
    border,
    border_share,
    controls,
    corners,
    exchange_labels,
    facts_of,
    in_place,
    masked,
    stops_of,
    tables_of,
    verdict_of,
)
from resdx.evaluation.diagnostics.probe import Asked, cases_of, persons_of, shrink
from resdx.files import read_json, write_json
from resdx.metrics.estimate import Estimate
from resdx.runs.partition import Part, part_of_cases
from resdx.runs.prepared import prepared_of


def question_of(truth):
    """One case a person, halves in turn, about the second of two classes."""
    count = len(truth)
    both = np.stack([1 - truth, truth], 1).astype(np.float32)
    ids = tuple(map(str, range(count)))
    part = Part(ids, ids, np.arange(count), np.arange(count).astype(np.uint64), both, both)
    return Question(part, np.arange(count), np.arange(count) // 2 % 2, Asked(np.array([1]), "ill", ()))


def sided(score):
    return np.stack([1 - score, score], 1)


def area(value, low, high):
    return Estimate(value, low, high, 100)


def test_masks_leave_the_area_they_say():
    assert border(64).mean() == pytest.approx(1 - (50 / 64) ** 2) and 0.35 < border(64).mean() < 0.45
    assert corners(512).mean() == pytest.approx(1 - np.pi / 4, abs=1e-3)
    assert border(64)[0].all() and not border(64)[32, 32] and corners(64)[0, 0] and not corners(64)[32, 0]


def test_masked_pictures_are_black_inside_and_unchanged_outside(study):
    prepared = prepared_of(study.run)
    small = shrink(prepared, cases_of(study.run, prepared))
    framed = masked(small, border)
    assert not framed.images[:, 7:57, 7:57].any() and framed.images.dtype == np.uint8
    np.testing.assert_array_equal(framed.images[:, :7], small.images[:, :7])


def test_labels_are_exchanged_by_whole_persons():
    person = np.repeat(np.arange(30), 3)
    truth = np.random.default_rng(0).integers(0, 2, (30, 2)).repeat(3, 0).astype(np.float32)
    exchanged = exchange_labels(truth, person, 0)
    assert (exchanged.reshape(30, 3, 2) == exchanged.reshape(30, 3, 2)[:, :1]).all()
    assert sorted(map(tuple, exchanged)) == sorted(map(tuple, truth)) and (exchanged != truth).any()
    np.testing.assert_array_equal(exchange_labels(truth, person, 0), exchanged)
    uneven = exchange_labels(np.arange(4, dtype=np.float32)[:, None], np.array([0, 0, 0, 1]), 0)[:, 0].tolist()
    assert (sorted(uneven[:3]), uneven[3]) == ([0, 1, 2], 3) or (uneven[:3] == [3, 3, 3] and uneven[3] in (0, 1, 2))


def test_exchanged_labels_tell_nothing_of_the_true_ones_where_persons_have_several_classes():
    """Cases are listed class by class, so that the first of every person are of one class."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(60), 20)
    truth = np.concatenate([np.arange(20) < rng.integers(5, 16) for _ in range(60)])[:, None].astype(np.float32)
    agree = [float((exchange_labels(truth, person, seed) == truth).mean()) for seed in range(5)]
    share = truth.mean()
    assert np.mean(agree) == pytest.approx(share**2 + (1 - share) ** 2, abs=0.03)


def test_border_that_answers_as_the_whole_carries_everything():
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    question, score = question_of(truth), 0.3 * truth + rng.random(200)
    full = question.area(question.part.truth, sided(score))
    same = border_share(question, {"full": sided(score), "border": sided(score)}, full)
    assert (same.value, same.low, same.high) == (1, 1, 1) and same.n == 200
    nothing = border_share(question, {"full": sided(score), "border": sided(np.zeros(200))}, full)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    chance = border_share(question, {"full": sided(score), "border": sided(rng.random(200))}, full)
    assert chance.low < 0 < chance.high < 1


def test_share_of_no_signal_is_not_given():
    question, score = question_of(np.arange(200) % 2), np.random.default_rng(0).random(200)
    full = question.area(question.part.truth, sided(score))
    assert full.low < 0.5
    assert border_share(question, {"full": sided(score), "border": sided(score)}, full) is None


def test_tables_hold_source_file_and_size():
    facts = [Facts("a", "", 100, 50, "PNG", "L", 8, 0.5), Facts("b", "", 90, 90, "JPEG", "RGB", 8, 0.5)]
    tables = facts_of([Case("a", "a", source="x"), Case("b", "b", source="y")], facts)
    assert {name: table.tolist() for name, table in tables.items()} == {
        "source": [[1, 0], [0, 1]],
        "file": [[100, 50, 2, 1, 0, 0], [90, 90, 1, 0, 1, 0]],
        "size": [[100, 50, 2], [90, 90, 1]],
    }


def test_size_that_tells_the_class_is_found_on_the_same_cases(study, twin):
    run = twin("split")
    cases = cases_of(run, prepared_of(run))
    found = run.read_as("audit.json", "audit", Audit.from_json)
    ill = {case.id: case.label == "opacity" for case in cases}
    facts = tuple(replace(fact, width=fact.width + 10 * ill.get(fact.case, False)) for fact in found.facts)
    write_json(run.path / "audit.json", replace(found, facts=facts).to_json())
    part, person = part_of_cases(run, prepared_of(run), cases), persons_of(cases)
    question = Question(part, person, grouped_folds(cases, person.tolist(), 2, 0), Asked(np.array([1]), "opacity", ()))
    tables = {row["name"]: row for row in tables_of(run, cases, question)}
    assert tables["size"]["class"] == tables["file"]["class"] == "opacity"
    assert tables["size"]["auroc"]["value"] > 0.95
    assert tables["source"]["auroc"]["value"] is None and "the same for every case" in tables["source"]["auroc"]["note"]


def test_table_stops_from_a_lower_bound_above_nine_tenths(study):
    areas = {
        "full": area(0.9, 0.8, 0.95),
        "border": area(0.7, 0.6, 0.8),
        "border in place": area(0.7, 0.6, 0.8),
        "permuted": area(0.5, 0.4, 0.6),
    }
    rows = [{"name": "size", "class": "opacity", "auroc": area(0.97, low, 0.99).to_json()} for low in (0.91, 0.89)]
    grades = [verdict_of(stops_of(study.run, [row]), area(0.5, 0.4, 0.6), areas)["grade"] for row in rows]
    assert grades == ["stop", "note"]


def test_class_of_one_source_stops_and_a_look_does_not(twin):
    run = twin("split")
    found = run.read_as("audit.json", "audit", Audit.from_json)
    areas = {
        "full": area(0.9, 0.8, 0.95),
        "border": area(0.7, 0.6, 0.8),
        "border in place": area(0.7, 0.6, 0.8),
        "permuted": area(0.5, 0.4, 0.6),
    }
    codes = []
    for grade in ("stop", "look"):
        one = Finding("one-source-class", grade, "All 9 cases of class 'ill' come from 'there'.")
        write_json(run.path / "audit.json", replace(found, findings=(one,)).to_json())
        codes.append(verdict_of(stops_of(run, []), area(0.5, 0.4, 0.6), areas))
    assert [(verdict["code"], verdict["grade"]) for verdict in codes] == [
        ("source-determines-class", "stop"),
        ("border-carries", "note"),
    ]
    assert "come from 'there'" in codes[0]["text"] and "carries 50% (40% to 60%)" in codes[1]["text"]


def test_verdict_says_when_nothing_can_be_said_and_when_the_halves_leak():
    areas = {"full": area(0.5, 0.4, 0.6), "border": area(0.5, 0.4, 0.6), "permuted": area(0.7, 0.6, 0.8)}
    areas["border in place"] = area(0.5, 0.4, 0.6)
    text = verdict_of([], None, areas)["text"]
    assert text.startswith("Nothing can be said") and "ATTENTION" in text
    assert "ATTENTION" not in verdict_of([], None, {**areas, "permuted": area(0.5, 0.4, 0.6)})["text"]


def test_controls_write_every_version_of_the_pictures(twin):
    run = twin("split")
    prepared = prepared_of(run)
    dark = replace(prepared, images=np.zeros_like(prepared.images))
    controls(run, prepared, others={"nothing at all": dark}, steps=1)
    found = read_json(run.path / "controls.json")
    assert [one["name"] for one in found["inputs"]] == [
        "full",
        "border",
        "centre-black",
        "nothing at all",
        "border in place",
        "permuted",
    ]
    assert [one["name"] for one in found["tables"]] == ["source", "file", "size"]
    assert found["probe"]["cases"] == len(cases_of(run, prepared)) and found["class"] == "opacity"
    assert found["inputs"][3]["auroc"]["value"] == 0.5  # equal pictures have equal answers
    assert found["verdict"]["grade"] == "note" and found["seconds"] > 0


def test_version_without_some_cases_is_refused(twin):
    run = twin("split")
    prepared = prepared_of(run)
    first = cases_of(run, prepared)[0].id
    short = replace(prepared, row={case: row for case, row in prepared.row.items() if case != first})
    with pytest.raises(DataError, match=rf"version 'organ out' lacks 1 of \d+ cases, first {first}; prepare it"):
        controls(
            replace(run, settings=replace(run.settings, choices={"probe_dtype": "float32"})),
            prepared,
            others={"organ out": short},
        )


def test_controls_of_few_persons_say_what_is_missing(twin):
    run = twin("split")
    lines = (run.path / "split.csv").read_text().splitlines(keepends=True)
    kept = [line for line in lines[1:] if ",test," not in line][:20]
    (run.path / "split.csv").write_text("".join([lines[0], *kept]))
    controls(run, prepared_of(run), steps=1)
    assert "not estimable: no class is had and lacked by 10 persons" in read_json(run.path / "controls.json")["missing"]


def test_a_letter_too_small_for_the_probe_is_read_pixel_by_pixel(twin):
    run = twin("split")
    prepared = prepared_of(run)
    cases = cases_of(run, prepared)
    pictures = shrink(prepared, cases)
    question = ask_about(run, pictures, cases)
    ill = question.part.truth[:, 1] == 1
    images = np.zeros_like(pictures.images)
    images[:] = np.random.default_rng(0).integers(60, 120, images.shape)
    plain = in_place(question, masked(replace(pictures, images=images), border))
    images[question.part.rows[ill], 58:62, 2:6] = 250  # four pixels of 64
    marked = in_place(question, masked(replace(pictures, images=images), border))
    assert question.area(question.part.truth, marked).low > 0.9
    assert question.area(question.part.truth, plain).low < 0.5 < question.area(question.part.truth, plain).high
    black = in_place(question, masked(replace(pictures, images=np.zeros_like(images)), border))
    assert (black == 0.5).all()


def test_a_mark_is_told_in_the_verdict():
    areas = {name: area(0.6, 0.5, 0.7) for name in ("full", "border", "permuted")} | {"border in place": area(0.95, 0.9, 0.98)}
    assert "Pixel by pixel the frame tells more, 0.950" in verdict_of([], area(0.5, 0.4, 0.6), areas)["text"]
    assert "Pixel by pixel" not in verdict_of([], area(0.5, 0.4, 0.6), {**areas, "border in place": area(0.7, 0.6, 0.8)})["text"]
