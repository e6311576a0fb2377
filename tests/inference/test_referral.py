"""The margin and the choice of a case from its logits, and what is promised."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit, softmax

from resdx.data.tasks import Classify, Ordinal
from resdx.errors import DataError
from resdx.inference.referral import AnswerLevel, Referral, choices, margins, promised, promises

LOGITS = np.random.default_rng(0).normal(0, 4, (200, 5))


def test_the_margin_of_two_classes_is_the_difference_of_their_logits():
    np.testing.assert_allclose(margins(Classify(), LOGITS[:, :2]), np.abs(LOGITS[:, 0] - LOGITS[:, 1]))


def test_the_margin_orders_cases_as_the_difference_of_the_two_highest_probabilities_does():
    ranked = np.sort(softmax(LOGITS, axis=1), axis=1)
    ahead = ranked[:, -1] - ranked[:, -2]
    np.testing.assert_allclose(margins(Classify(), LOGITS), np.log((1 + ahead) / (1 - ahead)))


def test_a_network_that_is_very_sure_keeps_its_margins_apart():
    found = margins(Classify(), np.array([[60.0, 0, 0], [600.0, 0, 0], [900.0, 0, 0]]))
    assert all(low + 1 < high for low, high in pairwise(found)) and np.isfinite(found).all()


def test_equal_logits_have_no_margin_and_a_shift_of_all_changes_nothing():
    assert margins(Classify(), np.ones((1, 3))) == pytest.approx([0])
    np.testing.assert_allclose(margins(Classify(), LOGITS + 7), margins(Classify(), LOGITS))


def test_the_grade_is_the_median_and_its_margin_the_nearest_question():
    logits = np.array([[3.0, 1.0, -2.0], [2.0, 3.0, 0.5], [-1.0, -4.0, -5.0]])
    assert choices(Ordinal(), logits).tolist() == [2, 3, 0]
    assert margins(Ordinal(), logits).tolist() == [1.0, 0.5, 1.0]
    p = Ordinal().probabilities(LOGITS)
    np.testing.assert_array_equal(choices(Ordinal(), LOGITS), (np.cumsum(p, axis=1)[:, :-1] < 0.5).sum(axis=1))


def test_two_grades_are_two_classes():
    odds = LOGITS[:, :1]
    np.testing.assert_allclose(margins(Ordinal(), odds), margins(Classify(), np.hstack([0 * odds, odds])))
    np.testing.assert_array_equal(choices(Ordinal(), odds), (expit(odds[:, 0]) > 0.5).astype(int))


def test_what_is_promised_is_never_below_one_of_the_persons_and_one_more():
    assert [promised(0.10, persons) for persons in (1, 3, 9, 50)] == [0.5, 0.25, 0.10, 0.10]
    assert promised(0.10, 0) is None
    assert promises(("healthy", "ill", "rare"), (50, 8, 0), 0.10) == [
        "of the cases of class healthy at most 10 % are answered wrongly (50 persons)",
        "of the cases of class ill at most 11.1 % are answered wrongly (8 persons)",
        "no promise for class rare: no person of it was there to calibrate on",
    ]


def test_a_level_that_is_not_held_is_refused():
    found = Referral((AnswerLevel(0.05, 3.0), AnswerLevel(0.1, 2.0)))
    assert found.margin == 2.0 and found.at(0.05).margin == 3.0
    with pytest.raises(DataError, match=r"holds the levels 0.05, 0.1, not 0.07"):
        found.at(0.07)
