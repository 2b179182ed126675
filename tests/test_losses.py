"""Losses against their formulas, written out."""

import math

import pytest
import torch
from torch.nn import functional as F

from striate.losses import CrossEntropy, MaximumAPosteriori, OneSided, SquaredError

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [-3.0, 0.0, 4.0]])
TARGETS = torch.tensor([0, 1])


def test_the_map_criterion_is_the_penalty_plus_the_log_of_all_competitors():
    penalties = [[-value for value in row] for row in LOGITS.tolist()]
    rubbish = 2.5
    expected = (
        sum(
            row[target] + math.log(math.exp(-rubbish) + sum(math.exp(-y) for y in row))
            for row, target in zip(penalties, TARGETS.tolist(), strict=True)
        )
        / 2
    )
    assert MaximumAPosteriori(rubbish)(LOGITS, TARGETS).item() == pytest.approx(expected)


def test_the_map_criterion_stops_pushing_penalties_far_above_the_rubbish():
    far = torch.tensor([[0.0, -50.0]], requires_grad=True)
    MaximumAPosteriori(rubbish=1.0)(far, torch.tensor([0])).backward()
    assert far.grad[0, 1].abs() < 1e-12


def test_a_distant_rubbish_class_leaves_cross_entropy():
    assert torch.allclose(
        MaximumAPosteriori(1e4)(LOGITS, TARGETS), F.cross_entropy(LOGITS, TARGETS)
    )


def test_weights_of_classes_multiply_and_the_mean_is_over_the_images():
    """Not over the weights, as in PyTorch: parts of a batch add up to it."""
    weights = (0.25, 4.0, 1.0)
    plain = F.cross_entropy(LOGITS, TARGETS, reduction="none", label_smoothing=0.1)
    weighted = CrossEntropy(0.1, weights)
    assert weighted(LOGITS, TARGETS).item() == pytest.approx(
        (0.25 * plain[0] + 4.0 * plain[1]).item() / 2
    )
    halves = [weighted(LOGITS[n : n + 1], TARGETS[n : n + 1]).item() / 2 for n in range(2)]
    assert weighted(LOGITS, TARGETS).item() == pytest.approx(sum(halves))


def test_squared_error_sums_over_classes_and_averages_over_the_batch():
    wanted = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]])
    expected = sum(((LOGITS - wanted) ** 2).flatten().tolist()) / 2 / 2
    assert SquaredError()(LOGITS, TARGETS).item() == pytest.approx(expected)


def test_label_smoothing_mixes_in_the_mean_over_classes():
    log_p = LOGITS.log_softmax(dim=1)
    plain = -log_p[[0, 1], TARGETS].mean()
    expected = 0.8 * plain - 0.2 * log_p.mean()
    assert torch.allclose(CrossEntropy(0.2)(LOGITS, TARGETS), expected)


def test_one_sided_error_is_that_of_a_loop_and_right_answers_beyond_the_target_cost_nothing():
    logits = torch.tensor([[1.5, -0.5, -3.0], [0.2, 0.4, -1.0]])
    targets = torch.tensor([0, 2])
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        for one, y in enumerate(row):
            t = 1 if one == target else -1
            total += max(0.0, 1 - t * y) ** 2
    assert OneSided()(logits, targets).item() == pytest.approx(total / 2)
    assert OneSided()(torch.tensor([[1.0, -7.0, -1.0]]), torch.tensor([0])).item() == 0
