"""Votes of several models: closed forms, the reference of scikit-learn, and what must not change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, softmax
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from resdx.data.tasks import Classify, MultiLabel, Ordinal
from resdx.inference.engines import Outputs
from resdx.inference.voting import Votes, fit_weights, log_odds
from resdx.records import from_record, to_record

SOFT = Votes(("a", "b", "c"), "soft", (1 / 3,) * 3, (1.0,) * 3)
TASKS = (Classify(), MultiLabel(), Ordinal())


def said(members=3, cases=20, outputs=4, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(scale=3, size=(cases, outputs)).astype(np.float32) for _ in range(members)]


def shares(task, logits):
    """The probabilities that a vote is on: of the classes, or of yes to each output."""
    return softmax(logits.astype(np.float64), axis=1) if isinstance(task, Classify) else expit(logits.astype(np.float64))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("weights", [(1 / 3,) * 3, (0.7, 0.3, 0.0)])
def test_soft_vote_is_the_mean_of_the_probabilities(task, weights):
    z = said()
    together = replace(SOFT, vote="weighted", weights=weights).logits(task, z)
    expected = np.tensordot(weights, np.stack([shares(task, one) for one in z]), 1)
    assert_allclose(shares(task, together), expected, atol=1e-6)
    assert together.dtype == np.float32


@pytest.mark.parametrize("task", TASKS)
def test_one_member_votes_as_it_answers(task):
    z = said(members=1)
    together = replace(SOFT, members=("a",), weights=(1.0,), spreads=(1.0,)).logits(task, z)
    assert_allclose(task.probabilities(together), task.probabilities(z[0]), atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("vote", ["soft", "majority"])
def test_members_that_are_sure_of_the_contrary_give_finite_logits(task, vote):
    sure = np.array([[900.0, -900.0, 0.0]], np.float32)
    together = replace(SOFT, vote=vote, members=("a", "b"), weights=(0.5, 0.5), spreads=(1.0, 1.0)).logits(task, [sure, -sure])
    assert np.isfinite(together).all()
    assert_allclose(shares(task, together)[0, :2], 0.5, atol=1e-6)


def test_most_votes_decide_against_any_surety_of_the_fewer():
    p = np.array([[[0.51, 0.49]], [[0.51, 0.49]], [[0.001, 0.999]]])
    z = [np.log(one).astype(np.float32) for one in p]
    together = replace(SOFT, vote="majority").logits(Classify(), z)
    assert softmax(together, axis=1)[0] == pytest.approx((np.array([2, 1]) + p.mean(0)[0]) / 4, abs=1e-6)
    assert together.argmax() == 0 and SOFT.logits(Classify(), z).argmax() == 1


def test_mean_probability_settles_a_draw_of_votes():
    z = [np.log([[0.6, 0.4]]).astype(np.float32), np.log([[0.1, 0.9]]).astype(np.float32)]
    two = replace(SOFT, vote="majority", members=("a", "b"), weights=(0.5, 0.5), spreads=(1.0, 1.0))
    assert softmax(two.logits(Classify(), z), axis=1)[0] == pytest.approx([1.35 / 3, 1.65 / 3], abs=1e-6)


def test_labels_are_voted_on_one_by_one():
    z = [logit(np.array([row])).astype(np.float32) for row in ([0.9, 0.2], [0.6, 0.3], [0.2, 0.99])]
    p = expit(replace(SOFT, vote="majority").logits(MultiLabel(), z))[0]
    assert p == pytest.approx([(2 + 1.7 / 3) / 4, (1 + 1.49 / 3) / 4], abs=1e-6)


@pytest.mark.parametrize("vote", ["soft", "majority"])
def test_votes_are_those_of_scikit_learn(vote):
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(2, 150, 4))
    y = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(150, 3))).argmax(1)
    models = [("a", LogisticRegression()), ("b", GaussianNB()), ("c", DecisionTreeClassifier(max_depth=3, random_state=0))]
    theirs = VotingClassifier(models, voting="soft" if vote == "soft" else "hard").fit(x, y)
    with np.errstate(divide="ignore"):
        z = [np.maximum(np.log(one.predict_proba(new)), -80).astype(np.float32) for one in theirs.estimators_]
    together = replace(SOFT, vote=vote).logits(Classify(), z)
    if vote == "soft":
        assert_allclose(softmax(together, axis=1), theirs.predict_proba(new), atol=1e-5)
    else:
        counts = np.eye(3)[theirs.transform(new)].sum(1)
        alone = (counts == counts.max(1, keepdims=True)).sum(1) == 1  # scikit-learn settles draws by the order of classes
        assert alone.sum() > 100 and (together.argmax(1) == theirs.predict(new))[alone].all()


def test_order_of_members_does_not_matter():
    z = said()
    for vote in ("soft", "majority"):
        votes = replace(SOFT, vote=vote)
        assert_allclose(votes.logits(Classify(), z[::-1]), votes.logits(Classify(), z), atol=1e-5)


def labelled(seed=0, cases=300):
    """A good member, one that guesses, and one that is bad; targets of three classes."""
    rng = np.random.default_rng(seed)
    target = np.eye(3, dtype=np.float32)[rng.integers(0, 3, cases)]
    z = [(skill * target + rng.normal(size=(cases, 3))).astype(np.float32) for skill in (2, 0, -1)]
    return z, target


def test_weights_are_those_of_greatest_likelihood():
    z, target = labelled()
    two = [z[0], z[1] + 2 * target]
    first, second = (softmax(one, axis=1)[target == 1] for one in two)
    best = minimize_scalar(lambda w: -np.log(w * first + (1 - w) * second).sum(), bounds=(0, 1), options={"xatol": 1e-9})
    weights = fit_weights(Classify(), two, target, [str(i) for i in range(300)])
    assert 0.05 < weights[0] < 0.95
    assert weights == pytest.approx([best.x, 1 - best.x], abs=1e-4)


def test_better_members_weigh_more_and_equal_ones_the_same():
    z, target = labelled()
    persons = [str(i) for i in range(300)]
    good, guess, bad = fit_weights(Classify(), z, target, persons)
    assert good > 0.9 > guess > bad
    assert fit_weights(Classify(), [z[0], z[0]], target, persons) == pytest.approx([0.5, 0.5])
    assert fit_weights(Classify(), z[:1], target, persons) == (1.0,)


def test_a_person_with_many_images_has_one_voice():
    z, target = labelled()
    once = fit_weights(Classify(), z, target, [str(i) for i in range(300)])
    again = [np.concatenate([one, *[one[:1]] * 50]) for one in z]
    persons = [*(str(i) for i in range(300)), *["0"] * 50]
    assert fit_weights(Classify(), again, np.concatenate([target, *[target[:1]] * 50]), persons) == pytest.approx(once, abs=1e-6)


def test_what_was_not_assessed_says_nothing_about_the_weights():
    z, target = labelled()
    target = np.concatenate([target, np.full((40, 3), np.nan, np.float32)])
    more = [np.concatenate([one, one[:40]]) for one in z]
    persons = [str(i) for i in range(340)]
    for task in (Classify(), MultiLabel()):
        with_them = fit_weights(task, more, target, persons)
        assert with_them == pytest.approx(fit_weights(task, z, target[:300], persons[:300]), abs=1e-6)


def test_log_odds_are_what_counts_of_the_logits():
    z = said(outputs=2)
    assert_allclose(expit(log_odds(Classify(), z)), np.stack([softmax(one, axis=1)[:, 1] for one in z], 1), atol=1e-6)
    moved = [one + 7 for one in said(outputs=3)]
    assert_allclose(log_odds(Classify(), moved), log_odds(Classify(), said(outputs=3)), atol=1e-5)
    assert_allclose(log_odds(MultiLabel(), z), np.concatenate(z, 1))


def test_embeddings_stand_side_by_side_in_units_of_their_spread():
    a, b = (np.random.default_rng(k).normal(scale=10.0**k, size=(5, 2 + k)).astype(np.float32) for k in (0, 1))
    votes = Votes(("a", "b"), "soft", (0.5, 0.5), (1.0, 10.0))
    found = votes.together(Classify(), [Outputs(z, x) for z, x in zip(said(2, 5), (a, b), strict=True)])
    assert_allclose(found.embeddings, np.concatenate([a, b / 10], 1), rtol=1e-6)
    assert found.embeddings.dtype == np.float32 and found.maps is None


def test_votes_are_the_same_after_being_stored():
    votes = Votes(("a",), "stacking", (1.0,), (2.0,), ((0.5,), (-0.5,)), (0.1, 0.2))
    assert from_record(to_record(votes)) == votes
