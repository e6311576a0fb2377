"""Rule R: closed forms, bad inputs, and simulation of persons with several images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from resdx.data.cases import Case
from resdx.data.tasks import Classify, MultiLabel, Ordinal
from resdx.errors import DataError
from resdx.evaluation.calibrate import fit_calibration
from resdx.evaluation.referral import answer_limit, score_referral
from resdx.inference.calibration import UNLIKE, UNSURE
from resdx.records import from_record, to_record

TWO, THREE = ("healthy", "ill"), ("low", "middle", "high")


def draw(persons, rng, *, classes=2, apart=2.9, images=1, icc=0.5):
    """Logits of normal classes `apart` from each other, truth (N, K) and groups."""
    column = rng.integers(0, classes, persons).repeat(images)
    shape = len(column), classes
    noise = np.sqrt(icc) * rng.normal(size=(persons, classes)).repeat(images, 0) + np.sqrt(1 - icc) * rng.normal(size=shape)
    logits = apart / np.sqrt(2) * (np.eye(classes)[column] * apart / np.sqrt(2) + noise)
    return logits, np.eye(classes)[column], [f"p{i // images}" for i in range(len(column))]


def fitted(logits, truth, groups, *, task=None, **asked):
    classes = tuple(f"class {k}" for k in range(truth.shape[1]))
    return fit_calibration(task or Classify(), classes, logits, truth, groups, balanced_training=False, **asked)


def odds(*values):
    """Logits of two classes with these differences."""
    return np.stack([np.zeros(len(values)), np.array(values, float)], axis=1)


# --- the limit


def test_the_limit_lies_just_above_the_wrong_case_that_would_be_one_too_many():
    margin = np.arange(1.0, 40)  # one case a person, 39 of them: 3 may be wrong at alpha 0.10
    wrong = np.isin(margin, [2, 5, 11, 20, 30])
    found = answer_limit(margin, wrong, np.ones(39, bool), np.arange(39), 0.10)
    assert 5 < found < 5.1  # 11, 20 and 30 are answered: (3 + 1) / 40 = 0.10
    assert 2 < answer_limit(margin, wrong, np.ones(39, bool), np.arange(39), 0.125) < 2.1
    assert answer_limit(margin, wrong, np.ones(39, bool), np.arange(39), 0.15) == 0


def test_the_limit_never_reaches_the_next_case():
    margin = np.array([1.0, 1.000001, 5.0])
    found = answer_limit(margin, margin == 1, np.ones(3, bool), np.arange(3), 0.10)
    assert 1 < found < 1.000001


def test_wrong_cases_of_one_margin_are_refused_together():
    margin = np.repeat([1.0, 4.0], [30, 3])
    found = answer_limit(margin, margin == 4, np.ones(33, bool), np.arange(33), 0.10)
    assert found > 4  # (3 + 1) / 34 is above 0.10


def test_a_person_counts_once_whatever_the_number_of_images():
    margin, wrong = np.repeat(np.arange(1.0, 20), 7), np.repeat(np.arange(1.0, 20) > 18, 7)
    person = np.repeat(np.arange(19), 7)
    found = answer_limit(margin, wrong, np.ones(len(margin), bool), person, 0.10)
    assert found == answer_limit(margin[::7], wrong[::7], np.ones(19, bool), np.arange(19), 0.10) == 0  # (1 + 1) / 20
    some = wrong & (np.arange(len(wrong)) % 7 < 3)  # 3 of 7 images of that person: a loss of 3 / 7
    assert answer_limit(margin, some, np.ones(len(margin), bool), person, 1.42 / 20) > 18
    assert answer_limit(margin, some, np.ones(len(margin), bool), person, 1.43 / 20) == 0


@pytest.mark.parametrize("persons", [1, 3, 8])
def test_few_persons_of_a_class_may_all_be_right_and_then_all_is_answered(persons):
    margin, every = np.arange(1.0, persons + 1), np.ones(persons, bool)
    assert answer_limit(margin, ~every, every, np.arange(persons), 0.10) == 0
    assert persons < answer_limit(margin, every, every, np.arange(persons), 0.10)  # all wrong: none like them is answered


def test_a_class_without_a_person_sets_no_limit():
    assert answer_limit(np.ones(5), np.ones(5, bool), np.zeros(5, bool), np.arange(5), 0.10) == 0


# --- in a calibration


def test_the_choice_is_of_the_logits_and_the_limit_is_the_highest_of_all_classes():
    values = [-5.0] * 19 + [3.0] + [5.0] * 19 + [-1.0] + [-2.0] * 5  # healthy: one wrong at 3; ill: wrong at 1 and five at 2
    truth = np.eye(2)[[0] * 20 + [1] * 25]
    found = fitted(odds(*values), truth, [""] * 45)
    assert 2 < found.referral.margin < 2.1
    asked = odds(-4.0, 1.9, 2.5)
    assert found.decide(found.probabilities(asked), logits=asked) == [("class 0", ()), (None, (UNSURE,)), ("class 1", ())]


def test_decisions_do_not_depend_on_the_calibrator():
    logits, truth, groups = draw(200, np.random.default_rng(1))
    found = fitted(logits, truth, groups)
    other = replace(found, scale=(0.1, 0.1), bias=(3.0, 0.0), points=())
    assert found.decide(found.probabilities(logits), logits=logits) == other.decide(other.probabilities(logits), logits=logits)


def test_an_empty_conformal_set_refers_nobody():
    logits, truth, groups = draw(300, np.random.default_rng(2), apart=5)
    found = fitted(logits, truth, groups)
    p = found.probabilities(logits)
    assert () in found.sets(p)
    assert np.mean([label is not None for label, _ in found.decide(p, logits=logits)]) > 0.99


def test_a_stricter_level_answers_fewer_and_none_answers_all():
    logits, truth, groups = draw(400, np.random.default_rng(3), apart=2)
    found, p = fitted(logits, truth, groups), None
    p = found.probabilities(logits)
    answered = [
        np.mean([label is not None for label, _ in found.referring(alpha).decide(p, logits=logits)]) for alpha in (0.05, 0.1, 0.2)
    ]
    assert answered[0] < answered[1] < answered[2]
    everyone = found.referring(refer="none").decide(p, np.zeros(len(p)), logits=logits)
    called = found.choose(p, logits=logits).argmax(axis=1)
    assert [label for label, _ in everyone] == [f"class {k}" for k in called]
    assert [flags for _, flags in everyone] == [flags for _, flags in found.decide(p, logits=logits)]
    assert found.referring(refer="none").promises() == [] and len(found.promises()) == 2


def test_a_case_unlike_training_is_flagged_and_answered_where_none_is_referred():
    logits, truth, groups = draw(50, np.random.default_rng(4), apart=9)
    found = fitted(logits, truth, groups, distance=np.ones(50)).referring(refer="none")
    (one,) = found.decide(found.probabilities(odds(9.0)), [2.0], logits=odds(9.0))
    assert one == ("class 1", (UNLIKE,))


def test_levels_are_stored_and_read_again_and_another_alpha_is_one_of_them():
    found = fitted(*draw(60, np.random.default_rng(5)), alpha=0.07)
    assert [level.alpha for level in found.referral.levels] == [0.05, 0.07, 0.1, 0.2] and found.referral.alpha == 0.07
    assert from_record(to_record(found)) == found
    with pytest.raises(DataError, match=r"not 0\.3"):
        found.referring(0.3)


def test_a_calibration_of_before_answers_by_its_sets_and_has_no_level():
    found = fitted(*draw(60, np.random.default_rng(6)))
    old = {key: value for key, value in to_record(found).items() if key != "referral"}
    before = from_record(old)
    assert before.referral is None and before.refers and before.promises() == []
    p = before.probabilities(odds(0.0, 9.0))
    assert [label for label, _ in before.decide(p)] == [None, "class 1"]
    assert [label for label, _ in before.referring(refer="none").decide(p)] != [None, "class 1"]
    with pytest.raises(DataError, match="made before there was one"):
        before.referring(0.05)


def test_several_labels_keep_their_sets():
    rng = np.random.default_rng(7)
    found = fitted(rng.normal(size=(60, 2)), (rng.random((60, 2)) < 0.5).astype(float), [""] * 60, task=MultiLabel())
    assert found.referral is None
    with pytest.raises(DataError, match="several labels"):
        found.referring(0.05)
    assert all(isinstance(label, tuple) for label, _ in found.referring(refer="none").decide([[0.5, 0.5]]))


def test_logits_are_needed_and_must_be_of_the_same_cases():
    found = fitted(*draw(60, np.random.default_rng(8)))
    for logits in (None, odds(1.0)):
        with pytest.raises(DataError, match="needs the logits"):
            found.decide([[0.5, 0.5]] * 2, logits=logits)


# --- bad inputs


def test_a_class_without_a_calibration_person_has_no_promise_and_the_others_keep_theirs():
    logits, truth, groups = draw(80, np.random.default_rng(9))
    found = fit_calibration(
        Classify(), THREE, np.c_[logits, np.full(80, -99.0)], np.c_[truth, np.zeros(80)], groups, balanced_training=False
    )
    assert found.promises()[2] == "no promise for class high: no person of it was there to calibrate on"
    assert found.referral.margin == fitted(logits, truth, groups).referral.margin


def test_a_class_of_three_persons_is_promised_a_quarter_and_does_not_stop_all_answers():
    rng = np.random.default_rng(10)
    logits, truth, groups = draw(60, rng, apart=4)
    logits = np.r_[logits, odds(6.0, 5.0, 7.0)]
    found = fit_calibration(
        Classify(),
        THREE,
        np.c_[logits[:60], np.full(60, -9.0)].tolist() + [[-5.0, -5, z] for z in (3.0, 4, 5)],
        np.r_[np.c_[truth, np.zeros(60)], np.eye(3)[[2, 2, 2]]],
        [*groups, "a", "b", "c"],
        balanced_training=False,
    )
    assert "at most 25 % are answered wrongly (3 persons)" in found.promises()[2]
    p = found.probabilities(np.c_[logits[:60], np.full(60, -9.0)])
    answers = found.decide(p, logits=np.c_[logits[:60], np.full(60, -9.0)])
    assert np.mean([label is not None for label, _ in answers]) > 0.8


def test_all_right_answers_everything_and_all_wrong_nothing_like_it():
    truth = np.eye(2)[[0] * 30 + [1] * 30]
    right = odds(*[-3.0] * 30, *[3.0] * 30)
    assert fitted(right, truth, [""] * 60).referral.margin == 0
    wrong = fitted(-right, truth, [""] * 60)
    assert {label for label, _ in wrong.decide(wrong.probabilities(right), logits=right)} == {None}


def test_cases_that_are_not_assessed_count_nowhere():
    logits, truth, groups = draw(60, np.random.default_rng(11))
    more = np.r_[truth, np.full((20, 2), np.nan)]
    found = fitted(np.r_[logits, odds(*[50.0] * 20)], more, [*groups, *(f"q{i}" for i in range(20))])
    assert found.referral == fitted(logits, truth, groups).referral and found.class_persons == (*map(int, truth.sum(0)),)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_of_wrong_answers_outside_0_to_1_is_refused(alpha):
    with pytest.raises(DataError, match="share of wrong answers"):
        fitted(*draw(60, np.random.default_rng(12)), alpha=alpha)


# --- on a test set


def test_scores_count_what_is_answered_and_what_is_wrong_at_each_level():
    truth = np.eye(2)[[0] * 40 + [1] * 40]
    values = [-4.0] * 36 + [2.0] * 4 + [4.0] * 34 + [-1.0] * 6
    found = fitted(odds(*values), truth, [""] * 80, alpha=0.10)
    cases = [Case(str(i), "", f"g{i}", (found.classes[k],)) for i, k in enumerate(truth.argmax(1))]
    cases += [Case("unknown", "", "", None)]
    logits, unlike = np.r_[odds(*values), odds(9.0)].astype(np.float32), np.zeros(81, bool)
    unlike[0] = True
    scores = {one.alpha: one for one in score_referral(found, cases, logits, unlike)}
    assert scores[0.2].answered.value == pytest.approx(79 / 80) and scores[0.2].error.value == pytest.approx(10 / 79)
    strict = scores[0.1]  # (4 + 1) / 41 is above 0.10: nothing at a margin of 2 or below
    assert strict.answered.value == pytest.approx(69 / 80) and strict.error.value == 0 and strict.error.high > 0
    assert strict.classes["class 0"].promised == 0.10 and strict.classes["class 0"].persons == 40
    assert scores[0.2].classes["class 1"].wrong.value == pytest.approx(6 / 40)


@pytest.mark.parametrize(("classes", "images"), [(2, 1), (2, 4), (4, 1)])
def test_the_promise_holds_on_average_for_each_class_of_new_persons(classes, images):
    rng = np.random.default_rng(13)
    new, new_truth, _ = draw(4000, rng, classes=classes, apart=2.0)
    column, lost = new_truth.argmax(1), []
    for _ in range(150):
        logits, truth, groups = draw(30 * classes, rng, classes=classes, apart=2.0, images=images)
        found = fitted(logits, truth, groups)
        labels = [label for label, _ in found.decide(found.probabilities(new), logits=new)]
        wrong = np.array([label is not None and label != f"class {k}" for label, k in zip(labels, column, strict=True)])
        lost.append([wrong[column == k].mean() for k in range(classes)])
    mean, error = np.mean(lost, axis=0), np.std(lost, axis=0) / np.sqrt(len(lost))
    assert (mean <= 0.10 + norm.ppf(0.999) * error).all()
    assert mean.max() > 0.04  # and it is no empty promise


def test_grades_keep_their_promise_too():
    rng = np.random.default_rng(14)
    lost = []
    for _ in range(100):
        severity = rng.normal(0, 2, 1090)
        grade = (severity + rng.logistic(size=1090) > np.array([[-1.0], [1.5]])).sum(axis=0)
        logits = 3 * (severity[:, None] - [-1.0, 1.5])
        found = fitted(logits[:90], np.eye(3)[grade[:90]], [""] * 90, task=Ordinal())
        labels = [label for label, _ in found.decide(found.probabilities(logits[90:]), logits=logits[90:])]
        wrong = np.array([one is not None and one != f"class {k}" for one, k in zip(labels, grade[90:], strict=True)])
        lost.append([wrong[grade[90:] == k].mean() for k in range(3)])
    assert (np.mean(lost, axis=0) <= 0.10 + norm.ppf(0.999) * np.std(lost, axis=0) / 10).all()
