"""Whether something beside the content tells the class: source, file size, format, brightness.

A small decision tree asks, cross-validated by person; the answer is an AUROC with an interval over persons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.tree import DecisionTreeClassifier

from ...metrics.classification import auroc
from ...metrics.estimate import Estimate
from ...metrics.intervals import estimate

FOLDS = 5
LEAST = 10  # persons with and without a class, below which nothing is asked
DRAWS = 500  # of the bootstrap: a bound is only compared with .6 and .9
NEAR_CHANCE = 0.6  # AUROC below which pictures that share an id may be of different persons
WORTH = 0.6  # an AUROC below this needs no interval


def tells_class(
    table: NDArray[np.float64], truth: Mapping[str, NDArray[np.floating]], persons: Sequence[int]
) -> dict[str, Estimate]:
    """How well the columns of `table` (N, F) tell each class from the rest.

    Only classes that can be asked about.

    `truth` is 1, 0 or NaN a case; those that were not assessed for a class take no part in it.
    """
    out = {}
    for name, column in truth.items():
        known = ~np.isnan(column)
        positive, facts = column[known] == 1, table[known]
        group = np.unique(np.asarray(persons)[known], return_inverse=True)[1]
        sides = [len(np.unique(group[positive == side])) for side in (True, False)]
        if min(sides) < LEAST or not (np.ptp(facts, axis=0) > 0).any():
            continue
        score = _out_of_fold(facts, positive, group)
        value = float(auroc(positive.astype(int), score))
        if value > WORTH:
            out[name] = estimate(auroc, positive.astype(int), score, group, replicates=DRAWS)
    return out


def same_or_not(embedding: NDArray[np.floating], pairs: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> Estimate:
    """Are `pairs` (one an id) more alike than `others`?

    AUROC of the cosine similarity of the rows of `embedding` (N, E).
    """
    unit = embedding / (np.linalg.norm(embedding, axis=1, keepdims=True) + 1e-9)
    both = np.array([*pairs, *others])
    alike = (unit[both[:, 0]] * unit[both[:, 1]]).sum(1)  # cosine similarity
    return estimate(auroc, np.repeat([1, 0], [len(pairs), len(others)]), alike, replicates=DRAWS)


def restarts(likeness: Estimate) -> bool:
    """Whether images that share an id are no more alike than others: numbering may have started again.

    "Not shown to be more alike" is not enough: with few ids nothing is shown. So the value itself must lie near chance.
    """
    return likeness.value is not None and likeness.low is not None and likeness.low <= 0.5 and likeness.value < NEAR_CHANCE


def _out_of_fold(table: NDArray[np.float64], positive: NDArray[np.bool_], group: NDArray[np.intp]) -> NDArray[np.float64]:
    """Scores by trees that did not see the person, as ranks within their fold.

    Raw scores of two trees cannot be compared.
    """
    score = np.zeros(len(table))
    fold = _folds(positive, group)
    for number in range(FOLDS):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        # shallow: a plain rule is looked for, not the memory of single files
        tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=5, class_weight="balanced", random_state=0)
        tree.fit(table[train], positive[train])
        answer = tree.predict_proba(table[test])
        score[test] = rankdata(answer[:, list(tree.classes_).index(True)] if True in tree.classes_ else answer[:, 0]) / len(test)
    return score


def _folds(positive: NDArray[np.bool_], group: NDArray[np.intp]) -> NDArray[np.intp]:
    """The fold of each case: whole persons, dealt in turn, those with the class and those without apart."""
    persons = int(group.max()) + 1
    has = np.bincount(group, positive, persons) > 0
    order = np.lexsort((np.random.default_rng(0).random(persons), has))
    fold = np.empty(persons, np.intp)
    fold[order] = np.arange(persons) % FOLDS
    return fold[group]
