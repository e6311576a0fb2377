"""The test part: read once and counted, scored with persons in mind, and corrected for another balance where that has meaning."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from resdx.data.split import part_hash
from resdx.data.tasks import MultiLabel
from resdx.errors import RunError
from resdx.evaluation.test_set import STAMPS, evaluate, prior_corrected
from resdx.inference.predictor import Predictor
from resdx.runs.ledger import LEDGER, read_before, read_once_more
from resdx.runs.prepared import content_hashes, prepared_of
from resdx.runs.run import Run
from resdx.runs.settings import Settings
from resdx.studies.pipeline import headline


@pytest.fixture(scope="module")
def rows(study):
    with (study.run.path / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_are_the_cases_of_the_test_part_with_their_truth(study, rows):
    cases = study.run.cases("test")
    assert [(row["case"], row["person"], row["truth"]) for row in rows] == [(c.id, c.group, c.label) for c in cases]
    assert all(float(row["p_normal"]) + float(row["p_opacity"]) == pytest.approx(1, abs=2e-6) for row in rows)


def test_metrics_say_what_the_predictions_say(study, rows):
    found = study.metrics.to_json()
    assert list(found) == ["protocol", "stamp", "test", "scores", "prior_corrected", "calibration", "referral", "seconds"]
    assert (found["protocol"], found["stamp"]) == ("honest", "")
    ill = np.array([row["truth"] == "opacity" for row in rows])
    p = np.array([float(row["p_opacity"]) for row in rows])
    image = found["scores"]["image"]
    assert image["cases"] == found["test"]["cases"] == len(rows)
    assert image["persons"] == found["test"]["persons"] == len({row["person"] for row in rows})
    assert image["classes"]["opacity"]["auroc"]["value"] == pytest.approx(roc_auc_score(ill, p), abs=0.02)  # 6 decimals may tie
    assert image["classes"]["opacity"]["brier"]["value"] == pytest.approx(brier_score_loss(ill, p), abs=1e-5)
    assert image["overall"]["majority_rate"]["value"] == pytest.approx(max(ill.mean(), 1 - ill.mean()))


def test_person_level_pools_the_films_of_a_person(study, rows):
    person = study.metrics.to_json()["scores"]["person"]
    names = sorted({row["person"] for row in rows})
    mean = [np.mean([float(row["p_opacity"]) for row in rows if row["person"] == name]) for name in names]
    ill = [any(row["truth"] == "opacity" for row in rows if row["person"] == name) for name in names]
    assert person["cases"] == len(names)
    assert person["classes"]["opacity"]["brier"]["value"] == pytest.approx(brier_score_loss(ill, mean), abs=1e-5)


def estimates_in(found):
    """Every figure with an interval, however deep."""
    if isinstance(found, dict):
        if {"value", "low", "high", "n"} <= found.keys():
            yield found
        else:
            yield from (one for value in found.values() for one in estimates_in(value))


def test_every_figure_has_its_persons_and_lies_in_its_interval(study):
    figures = list(estimates_in(study.metrics.to_json()))
    assert len(figures) > 30
    for figure in figures:
        assert figure["low"] is None or figure["low"] <= figure["value"] <= figure["high"]
        assert figure["n"] <= study.metrics.test.cases


def test_test_part_is_named_by_the_files_in_it(study):
    content = content_hashes(study.run)
    ids = [case.id for case in study.run.cases("test")]
    assert study.metrics.test.hash == part_hash(ids, content) == part_hash(ids[::-1], content)
    assert study.metrics.test.hash != part_hash(ids[1:], content)
    ledger = [json.loads(line) for line in (study.run.store / LEDGER).read_text().splitlines()]
    assert (ledger[0]["test"], ledger[0]["run"]) == (study.metrics.test.hash, "run")


def test_reads_of_a_test_part_are_counted_over_all_runs_of_a_store(tmp_path, study):
    one, two = (Run.create(tmp_path / name, study.run.recipe, Settings("data"), quiet=True) for name in ("one", "two"))
    elsewhere = Run.create(tmp_path / "other" / "store", study.run.recipe, Settings("data"), quiet=True)
    assert [read_once_more(run, name) for run, name in ((one, "a"), (two, "a"), (two, "b"), (one, "a"))] == [1, 2, 1, 3]
    assert read_once_more(elsewhere, "a") == 1


def test_cases_that_were_read_before_are_counted_in_whatever_set(tmp_path, study):
    run = Run.create(tmp_path / "one", study.run.recipe, Settings("data"), quiet=True)
    first, second = [f"{k:064x}"[::-1] for k in range(60)], [f"{k:064x}"[::-1] for k in range(8, 94)]
    assert read_before(run, "a", first) == 0
    read_once_more(run, "a", first)
    assert read_before(run, "b", second) == 52  # of 86
    read_once_more(run, "b", second)
    assert read_before(run, "b", second) == 86 and read_before(run, "c", [*first[:3], "new"]) == 3
    lines = [json.loads(line) for line in (tmp_path / LEDGER).read_text().splitlines()]
    assert [len(line["cases"]) for line in lines] == [60, 86]


def test_every_reader_is_entered_and_only_scoring_is_counted(tmp_path, study):
    run = Run.create(tmp_path / "one", study.run.recipe, Settings("data"), quiet=True)
    assert [read_once_more(run, "a", ["x"]), read_once_more(run, "a", by="suspects"), read_once_more(run, "a", ["x"])] == [
        1,
        1,
        2,
    ]
    lines = [json.loads(line) for line in (tmp_path / LEDGER).read_text().splitlines()]
    assert [line.get("by", "evaluate") for line in lines] == ["evaluate", "suspects", "evaluate"]
    assert [("cases" in line) for line in lines] == [True, False, False]  # listed once


def test_a_ledger_of_before_lists_no_cases_and_is_read_by_its_hash(tmp_path, study):
    run = Run.create(tmp_path / "one", study.run.recipe, Settings("data"), quiet=True)
    (tmp_path / LEDGER).write_text(json.dumps({"time": "2026", "test": "a", "run": "old"}) + "\n")
    assert read_before(run, "a", ["x", "y"]) == 2 and read_before(run, "b", ["x", "y"]) == 0
    assert read_once_more(run, "a", ["x", "y"]) == 2


def test_ledger_with_a_line_that_was_cut_off_still_counts(tmp_path, study):
    run = Run.create(tmp_path / "one", study.run.recipe, Settings("data"), quiet=True)
    read_once_more(run, "a")
    with (tmp_path / LEDGER).open("a") as file:
        file.write('{"time": "20\n')
    assert read_once_more(run, "a") == 2


def test_prior_is_corrected_only_where_it_has_meaning(study):
    run, calibration = study.run, Predictor.open(study.run).calibration
    cases, logits = run.cases("test"), run.scores("test").logits
    found = prior_corrected(run, calibration, cases, logits).to_json()
    assert found == study.metrics.to_json()["prior_corrected"]
    assert sum(found["observed"]["prior"]) == sum(found["estimated"]["prior"]) == pytest.approx(1)
    assert found["prior_calib"] == list(calibration.prior)
    assert prior_corrected(run, replace(calibration, prior=(1.0, 0.0)), cases, logits) is None
    several = replace(run, recipe=replace(run.recipe, task=MultiLabel()))
    assert prior_corrected(several, calibration, cases, logits) is None


def test_protocol_that_flatters_is_stamped_on_the_result(twin):
    run = twin("calibrate").changed(protocol="assumed")
    result = evaluate(run, prepared_of(run))
    assert result.stamp == STAMPS["assumed"] == headline(result)[0]


def test_run_without_a_calibration_is_not_scored(twin):
    run = twin("train")
    with pytest.raises(RunError, match=r"no calibration\.json yet; run `resdx calibrate"):
        evaluate(run, prepared_of(run))
    assert not (run.path / "metrics.json").exists()
