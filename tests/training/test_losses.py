"""Losses against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from resdx.data.tasks import Classify, MultiLabel, Ordinal, class_weights, target
from resdx.training.losses import loss_function

NAN = np.nan


def batch(rows=40, classes=4):
    torch.manual_seed(0)
    return torch.randn(rows, classes) * 3, torch.randint(classes, (rows,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.2, 1.0, 3.0, 1.5])])
def test_exclusive_loss_is_cross_entropy(weights, smoothing):
    logits, index = batch()
    ours = loss_function(Classify(), weights=weights, smoothing=smoothing)(logits, functional.one_hot(index, 4).float())
    torch.testing.assert_close(ours, functional.cross_entropy(logits, index, weights, label_smoothing=smoothing))


def test_exclusive_loss_of_mixtures_is_cross_entropy():
    logits, index = batch()
    mixed = 0.3 * functional.one_hot(index, 4) + 0.7 * functional.one_hot(index.roll(1), 4)
    torch.testing.assert_close(loss_function(Classify())(logits, mixed), functional.cross_entropy(logits, mixed))


@pytest.mark.parametrize("task", [MultiLabel(), Ordinal()])
def test_separate_loss_is_binary_cross_entropy(task):
    logits, _ = batch()
    truth, weights = (torch.rand(40, 4) < 0.3).float(), torch.tensor([1.0, 2.0, 0.5, 7.0])
    reference = functional.binary_cross_entropy_with_logits(logits, truth, pos_weight=weights)
    torch.testing.assert_close(loss_function(task, weights=weights)(logits, truth), reference)


def test_unknown_labels_weigh_nothing():
    logits, _ = batch()
    truth = (torch.rand(40, 4) < 0.3).float()
    masked = torch.where(torch.rand(40, 4) < 0.4, NAN, truth)
    known = ~masked.isnan()
    logits.requires_grad_()
    loss = loss_function(MultiLabel())(logits, masked)
    loss.backward()
    torch.testing.assert_close(loss, functional.binary_cross_entropy_with_logits(logits[known], truth[known]))
    assert (logits.grad[~known] == 0).all() and (logits.grad[known] != 0).all()


def test_batch_without_any_known_label_gives_zero():
    assert loss_function(MultiLabel())(torch.ones(2, 3), torch.full((2, 3), NAN)) == 0


def test_smoothed_targets_of_separate_labels():
    logits = torch.tensor([[2.0]])
    ours = loss_function(MultiLabel(), smoothing=0.2)(logits, torch.ones(1, 1))
    torch.testing.assert_close(ours, functional.binary_cross_entropy_with_logits(logits, torch.tensor([[0.9]])))


def test_grades_become_questions_above_each_grade():
    truth = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [NAN, NAN, NAN]], np.float32)
    assert_array_equal(target(Ordinal(), truth), [[0, 0], [1, 0], [1, 1], [NAN, NAN]])
    assert target(Classify(), truth) is truth


def test_class_weights_are_those_of_scikit_learn():
    index = np.repeat([0, 1, 2], [50, 5, 12])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=index)
    assert_allclose(class_weights(Classify(), np.eye(3, dtype=np.float32)[index]), expected, rtol=1e-6)


def test_positives_weigh_as_much_as_negatives_within_bounds():
    known = np.repeat([[1.0, 0.0], [0.0, 0.0], [NAN, 1.0]], [10, 30, 5], axis=0).astype(np.float32)
    assert_allclose(class_weights(MultiLabel(), known), [3, 8])
    assert_allclose(class_weights(MultiLabel(), np.zeros((50, 1), np.float32)), [10])
