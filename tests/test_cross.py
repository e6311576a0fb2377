"""Cross-validation by person: every case is tested once, and figures are means over folds."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from resdx.cross import cross_validate, mean_over_folds, table
from resdx.errors import DataError, RunError
from resdx.metrics import auroc
from resdx.records import read_json
from resdx.runs import Run

FOLDS = 2


@pytest.fixture(scope="module")
def crossed(films, study, tmp_path_factory):
    """Two folds of the films, each trained for one epoch of the head; the folder and what was found."""
    recipe = replace(study.run.recipe, learn=replace(study.run.recipe.learn, epochs=1, head_epochs=1))
    out = tmp_path_factory.mktemp("crossed") / "all"
    return out, cross_validate(films, recipe=recipe, out=out, folds=FOLDS, quiet=True)


@pytest.fixture(scope="module")
def folds(crossed):
    """The rows of predictions.csv, by fold."""
    rows = []
    for k in range(FOLDS):
        with (crossed[0] / f"fold-{k}" / "predictions.csv").open(newline="") as file:
            rows.append(list(csv.DictReader(file)))
    return rows


def test_each_case_is_tested_once_and_no_person_in_two_folds(folds, films):
    cases = [row["case"] for rows in folds for row in rows]
    assert sorted(cases) == sorted(f"{path.parent.name}/{path.name}" for path in films.glob("*/*.png"))
    persons = [{row["person"] for row in rows} for rows in folds]
    assert not persons[0] & persons[1] and len(persons[0] | persons[1]) == 60


def test_ranking_figures_are_means_over_the_folds(crossed, folds):
    each = [roc_auc_score([r["truth"] == "opacity" for r in rows], [float(r["p_opacity"]) for r in rows]) for rows in folds]
    for name in ("macro_auroc", "auroc opacity"):
        figure = crossed[1]["figures"][name]
        assert figure["value"] == pytest.approx(np.mean(each), abs=0.01)  # 6 decimals of predictions.csv may tie
        assert figure["low"] <= figure["value"] <= figure["high"] and figure["n"] == 60


def test_decisions_are_pooled_over_the_folds(crossed, folds):
    rows = [row for part in folds for row in part if row["label"]]
    answered = accuracy_score([r["truth"] for r in rows], [r["label"] for r in rows]) if rows else None
    figure = crossed[1]["figures"]["accuracy"]
    assert figure["n"] == 60 and 0 <= figure["value"] <= 1
    assert len(rows) < 120 or figure["value"] == pytest.approx(answered)
    assert crossed[1]["figures"]["majority_rate"]["value"] == pytest.approx(0.6)


def test_folds_are_kept_and_not_run_again(crossed, films):
    out, found = crossed
    recipe = Run.open(out / "fold-0", quiet=True).recipe
    assert read_json(out / "folds.json") == found
    before = {path: path.stat().st_mtime_ns for path in out.glob("fold-*/*")}
    assert cross_validate(films, recipe=recipe, out=out, folds=FOLDS, quiet=True) == found
    assert {path: path.stat().st_mtime_ns for path in out.glob("fold-*/*")} == before
    assert table(found).startswith("2 folds, 120 cases of 60 persons, each tested once\n  macro auroc: 0.")


def test_folds_of_another_question_are_refused(crossed, films):
    with pytest.raises(
        RunError, match=r"fold-0 was made with another recipe or seed; ask the same again or choose another --out"
    ):
        cross_validate(films, recipe="plain", out=crossed[0], folds=FOLDS, quiet=True)


def test_mean_over_folds_is_the_mean_with_an_interval_from_persons_of_each_fold():
    rng = np.random.default_rng(0)
    known = [np.repeat([0.0, 1.0], 30) for _ in range(3)]
    answer = [part + rng.normal(size=60) * (k + 1) for k, part in enumerate(known)]
    groups = [[f"{k}-{i}" for i in range(60)] for k in range(3)]
    found = mean_over_folds(auroc, known, answer, groups)
    assert found.value == pytest.approx(np.mean([roc_auc_score(a, b) for a, b in zip(known, answer, strict=True)]))
    assert found.n == 180 and found.low < found.value < found.high
    # A shift of one fold's scores must change nothing: folds are never ranked against each other.
    assert mean_over_folds(auroc, known, [answer[0] + 100, *answer[1:]], groups) == found


def test_fold_without_a_class_makes_the_mean_not_estimable():
    known = [np.repeat([0.0, 1.0], 5), np.zeros(10)]
    found = mean_over_folds(auroc, known, [np.arange(10.0)] * 2, [list("abcdefghij")] * 2)
    assert found.value is None and "a fold lacks a class" in found.note


def test_folds_of_another_number_or_protocol_are_refused(crossed, films):
    with pytest.raises(RunError, match="holds runs of 2 folds, not 3; use --folds 2 or choose another --out"):
        cross_validate(films, out=crossed[0], folds=3, quiet=True)
    with pytest.raises(RunError, match="folds are dealt by person, which protocol assumed does not do"):
        cross_validate(films, out=crossed[0], folds=2, quiet=True, protocol="assumed")


def test_fewer_persons_than_folds_is_an_error(films, study, tmp_path):
    with pytest.raises(DataError, match="60 persons cannot make 61 folds; use --folds 60 or fewer, or more data"):
        cross_validate(films, recipe=study.run.recipe, out=tmp_path / "all", folds=61, quiet=True)
