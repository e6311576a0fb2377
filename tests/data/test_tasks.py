"""Labels become truth, logits become probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from resdx.data.cases import Case
from resdx.data.tasks import Classify, MultiLabel, Ordinal, positive_class, truth
from resdx.errors import DataError

RNG = np.random.default_rng(0)
ABC = ("a", "b", "c")


def case(labels, unknown=()):
    return Case("x", "x", labels=labels, unknown=unknown)


def test_truth_is_one_for_the_class():
    assert_array_equal(truth(Classify(), ABC, [case(("b",)), case(("a",))]), [[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize("task", [Classify(), MultiLabel(), Ordinal()])
def test_not_assessed_is_nan_everywhere(task):
    assert np.isnan(truth(task, ABC, [case(None)])).all()


def test_several_labels_or_none_and_unknown_ones():
    cases = [case(("a", "c")), case(()), case(("a",), unknown=("b", "elsewhere"))]
    assert_array_equal(truth(MultiLabel(), ABC, cases), [[1, 0, 1], [0, 0, 0], [1, np.nan, 0]])


@pytest.mark.parametrize("task", [Classify(), Ordinal()])
@pytest.mark.parametrize("labels", [(), ("a", "b")])
def test_exclusive_tasks_take_exactly_one_label(task, labels):
    with pytest.raises(DataError, match=f"x has {len(labels)} labels, but {type(task).__name__} takes exactly one"):
        truth(task, ABC, [case(labels)])


def test_strange_label_is_named():
    with pytest.raises(DataError, match="label 'd' is not in the recipe, which knows a, b, c"):
        truth(Classify(), ABC, [case(("d",))])


@pytest.mark.parametrize("task", [Classify(), Ordinal()])
def test_probabilities_of_exclusive_tasks_sum_to_one(task):
    logits = RNG.normal(0, 8, (200, task.outputs("abcd"))).astype(np.float32)
    probability = task.probabilities(logits)
    assert probability.shape == (200, 4) and probability.dtype == np.float32
    assert_allclose(probability.sum(1), 1, atol=1e-5)
    assert probability.min() >= 0


def test_probabilities_in_closed_form():
    assert_allclose(Classify().probabilities(np.log([[1, 2, 5]])), [[0.125, 0.25, 0.625]], rtol=1e-6)
    assert_allclose(MultiLabel().probabilities(np.log([[1, 3]])), [[0.5, 0.75]], rtol=1e-6)
    # above grade 0 with 3/4, above grade 1 with 1/2
    assert_allclose(Ordinal().probabilities(np.log([[3, 1]])), [[0.25, 0.25, 0.5]], rtol=1e-6)


def test_grades_that_contradict_each_other_are_reconciled():
    # above grade 1 (3/4) cannot be likelier than above grade 0 (1/2)
    assert_allclose(Ordinal().probabilities(np.log([[1, 3]])), [[0.5, 0, 0.5]], rtol=1e-6)


def test_huge_logits_stay_finite():
    for task in (Classify(), MultiLabel(), Ordinal()):
        assert np.isfinite(task.probabilities(np.array([[1e4, -1e4, 0]], np.float32))).all()


def test_positive_class_is_the_named_one_or_the_second_of_two():
    assert positive_class(Classify(positive="a"), ("a", "b")) == "a"
    assert positive_class(Classify(), ("a", "b")) == "b"
    assert positive_class(Classify(), ABC) == ""
    assert positive_class(MultiLabel(), ("a", "b")) == ""
