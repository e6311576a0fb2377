"""Facts that tell a class, and ids that may name different people."""

import numpy as np
import pytest

from resdx.data.audit.confounders import restarts, same_or_not, tells_class
from resdx.metrics.estimate import Estimate


def test_cases_that_were_not_assessed_for_a_class_tell_nothing_of_it():
    rng = np.random.default_rng(0)
    source = np.repeat([0.0, 1.0], [300, 2700])[:, None]
    column = np.where(source[:, 0] == 0, rng.integers(0, 2, 3000), np.nan)  # one hospital alone looked for it
    assert tells_class(source, {"x": column}, range(3000)) == {}
    taken_for_absent = tells_class(source, {"x": np.nan_to_num(column)}, range(3000))
    assert taken_for_absent["x"].low > 0.9


def test_a_source_that_tells_a_class_is_found():
    source = np.repeat([0.0, 1.0], 60)[:, None]
    assert tells_class(source, {"x": 1 - source[:, 0]}, range(120))["x"].value == 1


@pytest.mark.parametrize(
    ("ids", "alike", "expected"), [(9, True, False), (60, True, False), (60, False, True), (9, False, False)]
)
def test_ids_restart_only_where_pictures_are_shown_to_be_unlike(ids, alike, expected):
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(3 * ids, 32))
    if alike:
        embedding[ids : 2 * ids] = embedding[:ids] + 0.01 * rng.normal(size=(ids, 32))
    pairs = [(i, ids + i) for i in range(ids)]
    others = [(i, 2 * ids + i) for i in range(ids)]
    assert restarts(same_or_not(embedding, pairs, others)) is expected


def test_what_is_merely_not_shown_to_be_alike_counts_as_one_person():
    assert not restarts(Estimate(0.74, 0.45, 0.92, 12))
    assert not restarts(Estimate(None, None, None, 0))
    assert restarts(Estimate(0.52, 0.45, 0.59, 200))
