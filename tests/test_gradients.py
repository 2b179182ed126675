"""Gradients of a batch: the network's own, and none of a loss that is not finite."""

import copy
import math

import pytest
import torch
from torch import nn

from striate.batches import Batch, TrainingData, input_spec
from striate.datasets.sets import Part
from striate.gradients import Gradients
from striate.losses import CrossEntropy
from striate.models import with_defaults
from striate.tasks import Classification


@pytest.fixture
def task(recipe):
    images = torch.randint(256, (11, 3, 8, 9), dtype=torch.uint8)
    part = Part(images, torch.arange(11) % 3)
    data = TrainingData(part, part, (0, 255), ("a", "b", "c"), "", "")
    recipe = with_defaults(recipe.replace(loss="cross-entropy", batch_size=11))
    return Classification(recipe, input_spec(images, (0, 255), (3, 8, 9), recipe), data)


def small_network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        *(nn.Conv2d(3, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        nn.Linear(20, 3),
    )


def batch_of(task) -> Batch:
    return next(task.batches(0, 0))


def test_the_gradients_are_those_of_the_mean_loss(task):
    network, batch = small_network(), batch_of(task)
    plain = copy.deepcopy(network)
    outcome = Gradients(network, task, task.recipe)(0, batch)
    logits = plain(batch.images)
    loss = CrossEntropy()(logits, batch.targets)
    loss.backward()
    assert outcome.loss == pytest.approx(loss.item())
    assert outcome.wrong == int((logits.argmax(1) != batch.targets).sum())
    assert outcome.judged == 11
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


def test_a_loss_that_is_not_finite_leaves_no_gradients(task):
    network, batch = small_network(), batch_of(task)
    with torch.no_grad():
        network[4].bias[0] = torch.inf
    outcome = Gradients(network, task, task.recipe)(0, batch)
    assert not math.isfinite(outcome.loss)
    assert all(parameter.grad is None for parameter in network.parameters())
