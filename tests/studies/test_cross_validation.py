"""Cross-validation by person: every case is tested once, and figures are means over folds."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from sklearn.metrics import accuracy_score, roc_auc_score

from resdx.apps.cli.main import cli
from resdx.errors import DataError, RunError
from resdx.files import read_json
from resdx.inference.predictor import Predictor
from resdx.metrics.classification import auroc, brier
from resdx.metrics.intervals import estimate
from resdx.models.packed import unpack
from resdx.recipes.learning import FeatureClassifier
from resdx.records import from_record
from resdx.runs.run import Run
from resdx.studies.cross_validation import DRAWS, cross_validate, mean_over_folds, table

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
        RunError,
        match=(
            r"fold-0 was made with other data, another recipe, other weights or another seed; ask the same again or choose "
            r"another --out"
        ),
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


def drawn(persons, seed, images=2):
    """Truth, scores and persons of a fold; each person is ill or well."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(persons), images)
    true = (person % 2).astype(float)
    return true, true + rng.normal(size=persons)[person] + rng.normal(size=len(person)), [f"{seed}-{who}" for who in person]


def test_one_fold_has_the_interval_of_any_test_part():
    true, said, person = drawn(60, 0)
    one, plain = mean_over_folds(auroc, [true], [said], [person]), estimate(auroc, true, said, person)
    assert (one.value, one.low, one.high, one.n) == pytest.approx((plain.value, plain.low, plain.high, plain.n))


def test_few_persons_have_a_t_interval_that_narrows_as_folds_are_added():
    folds = [drawn(40, seed) for seed in range(8)]
    some, all_ = (mean_over_folds(auroc, *zip(*folds[:k], strict=True)) for k in (2, 8))
    assert "t interval on the logit scale, variance between persons" in some.note and "mean over 8 folds" in all_.note
    assert (some.high - some.low) / (all_.high - all_.low) == pytest.approx(2, rel=0.35)  # four times the persons


def test_few_persons_of_any_metric_have_a_t_interval_from_draws():
    folds = [drawn(7, seed) for seed in range(5)]
    folds = [(true, np.clip(said / 4 + 0.5, 0, 1), person) for true, said, person in folds]
    found = mean_over_folds(brier, *zip(*folds, strict=True))
    assert f"t interval, error from {DRAWS} draws of persons within each fold, 30 degrees of freedom" in found.note
    assert found.low < found.value < found.high and found.n == 35


def test_all_right_in_every_fold_has_the_exact_bound_on_persons():
    folds = [(np.repeat([0.0, 1.0], 4), np.arange(8.0), list("abcdefgh")) for _ in range(5)]
    found = mean_over_folds(auroc, *zip(*folds, strict=True))
    assert (found.value, found.high, found.n) == (1, 1, 40) and found.low == pytest.approx(0.025 ** (1 / 20))


def test_more_folds_than_persons_of_a_class_have_no_interval():
    folds = [(np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.9, 0.5 + k / 100]), list("abc")) for k in range(12)]
    found = mean_over_folds(auroc, *zip(*folds, strict=True))
    assert found.low is None and found.note == "no interval: 12 persons in the smallest class of 12 folds"


# The parent answers


def test_parent_is_calibrated_on_every_person_once(crossed):
    calibration = from_record(read_json(crossed[0] / "calibration.json"))
    assert calibration.persons == 60 and calibration.cases == 120
    assert "rest on cross-fitted out-of-fold scores of 60 persons" in calibration.notes[0]


def test_parent_answers_with_the_mean_of_its_networks(crossed, films):
    files = [str(path) for path in sorted(films.glob("*/*.png"))[:5]]
    together = Predictor.open(crossed[0], quiet=True)
    found, failures = together.predict(files)
    assert failures == [] and [one.case for one in found] == files and found[0].run == "all"
    alone = [Predictor.open(crossed[0] / f"fold-{k}", quiet=True) for k in range(FOLDS)]
    bare = [replace(one, calibration=replace(one.calibration, scale=(1.0, 1.0), bias=(0.0, 0.0))) for one in alone]
    logits = np.mean([[np.log(list(p.probabilities.values())) for p in one.predict(files)[0]] for one in bare], axis=0)
    expected = together.calibration.probabilities(logits)
    np.testing.assert_allclose([list(one.probabilities.values()) for one in found], expected, atol=1e-4)


def test_command_line_answers_with_a_parent(crossed, films):
    files = [str(path) for path in sorted(films.glob("*/*.png"))[:3]]
    said = CliRunner().invoke(cli, ["predict", str(crossed[0]), *files, "--json"])
    assert said.exit_code == 0
    expected = Predictor.open(crossed[0], quiet=True).predict(files)[0]
    for given, one in zip(json.loads(said.stdout), expected, strict=True):
        assert given["probabilities"] == pytest.approx(dict(one.probabilities), abs=1e-6) and given["label"] == one.label


def test_parent_without_calibration_says_what_to_do(tmp_path):
    (tmp_path / "folds.json").write_text('{"folds": 2}')
    with pytest.raises(RunError, match=r"has no calibration\.json; repeat `resdx run DATA --folds N --out"):
        Predictor.open(tmp_path)


# Frozen features in folds


def test_folds_of_frozen_features_are_cross_fitted_within(films, study, tmp_path):
    recipe = replace(study.run.recipe, learn=FeatureClassifier(penalties=(0.01, 0.1)))
    weights = tmp_path / "start.safetensors"  # that of the run says that it has learnt from these films
    save_file(unpack(load_file(study.run.path / "best.safetensors")), weights)
    found = cross_validate(films, recipe=recipe, out=tmp_path / "all", folds=FOLDS, quiet=True, weights=weights)
    assert found["persons"] == 60
    for k in range(FOLDS):
        run = Run.open(tmp_path / "all" / f"fold-{k}", quiet=True)
        assert run.cases("tune") == run.cases("calib") == () and not (run.path / "scores-tune.npz").exists()
        train, test = ({case.group for case in run.cases(part)} for part in ("train", "test"))
        assert len(train) == len(test) == 30 and not train & test
        assert run.scores("calib").ids == tuple(case.id for case in run.cases("train"))
        calibration = from_record(read_json(run.path / "calibration.json"))
        assert calibration.persons == 30 and "cross-fitted out-of-fold scores of 30 persons" in calibration.notes[0]
        assert "cross-fitted out-of-fold scores of 30 persons" in (run.path / "log.txt").read_text()
        assert "cross-fitted out-of-fold scores" in (run.path / "report.html").read_text()
    assert len(Predictor.open(tmp_path / "all", quiet=True).predict(sorted(films.glob("*/*.png"))[:2])[0]) == 2
