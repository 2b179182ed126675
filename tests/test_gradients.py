"""Gradients of a batch: the network's own, and none of a loss that is not finite."""

import copy
import math

import pytest
import torch
from torch import nn

from striate import gradients
from striate.batches import Batch, TrainingData, input_spec
from striate.datasets.sets import Part
from striate.errors import TrainingError
from striate.gradients import Gradients
from striate.layers import Dropout, WithAuxiliary
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


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 10])
def test_micro_batches_add_up_to_the_gradient_of_the_batch(task, micro_batch):
    """Also with dropout and an auxiliary classifier; parts differ by one image at most."""

    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(small_network()[:4], Dropout(0.4))
            self.head, self.auxiliary = nn.Linear(20, 3), nn.Linear(20, 3)
            self.sizes = []

        def forward(self, images):
            self.sizes.append(len(images))
            maps = self.body(images)
            return WithAuxiliary(self.head(maps), (self.auxiliary(maps),))

    torch.manual_seed(1)
    whole, batch = Headed().double(), batch_of(task)
    batch = batch._replace(images=batch.images.double())
    parts = copy.deepcopy(whole)
    expected = Gradients(whole, task, task.recipe)(2, batch)
    changed = task.recipe.replace(micro_batch=micro_batch)
    outcome = Gradients(parts, task, changed)(2, batch)
    assert max(parts.sizes) <= micro_batch
    assert max(parts.sizes) - min(parts.sizes) <= 1
    assert sum(parts.sizes) == 11
    assert outcome.loss == pytest.approx(expected.loss, rel=1e-6)
    assert outcome[1:] == expected[1:]
    for ours, theirs in zip(parts.parameters(), whole.parameters(), strict=True):
        assert (ours.grad - theirs.grad).norm() <= 1e-6 * theirs.grad.norm()


class Greedy(nn.Module):
    """Finds the memory full when it is shown more than so many images."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.rest = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(16, 3)
        self.most, self.error, self.sizes = most, error, []

    def forward(self, images):
        maps = self.first(images)  # the running mean has moved when memory is found full
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise self.error
        return self.head(self.rest(maps))


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 134217728 bytes. Error code 12"
    ),
    MemoryError(),
]


REASONS = ["2.00 GiB more were asked for", "134217728 bytes more were asked for", "it is full"]


@pytest.mark.parametrize(("error", "reason"), [*zip(FULL, REASONS, strict=True)])
def test_a_batch_too_large_for_the_memory_is_halved_to_the_same_result(task, error, reason):
    batch, notes = batch_of(task), []
    network = Greedy(3, error)
    asked = copy.deepcopy(network)
    gradients = Gradients(network, task, task.recipe, note=notes.append)
    outcome = gradients(0, batch)
    assert network.sizes == [11, 6, 3, 3, 3, 2]
    assert gradients.micro_batch == 3
    assert len(notes) == 2
    assert notes[1].startswith(f"6 images at once are too large for the memory ({reason}); from")
    assert notes[1].endswith("3 at once, added up: batch normalisation sees them alone")
    expected = Gradients(asked, task, task.recipe.replace(micro_batch=3))(0, batch)
    assert outcome == expected
    for mine, other in zip(network.state_dict().values(), asked.state_dict().values(), strict=True):
        assert torch.equal(mine, other)
    for mine, other in zip(network.parameters(), asked.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)
    gradients(0, batch)
    assert network.sizes[6:] == [3, 3, 3, 2]


def test_memory_that_is_full_after_a_part_leaves_nothing_of_that_part(task):
    class Filling(Greedy):
        def forward(self, images):
            answer = super().forward(images)
            self.most = 3
            return answer

    batch, network = batch_of(task), Filling(6, FULL[1])
    asked = copy.deepcopy(network)
    outcome = Gradients(network, task, task.recipe.replace(micro_batch=6))(0, batch)
    assert network.sizes == [6, 5, 3, 3, 3, 2]
    assert Gradients(asked, task, task.recipe.replace(micro_batch=3))(0, batch) == outcome
    for mine, other in zip(network.parameters(), asked.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)


def test_one_image_too_large_and_other_errors_end_the_run(task):
    with pytest.raises(TrainingError, match=r"one image alone is too large .*smaller --image-size"):
        Gradients(Greedy(0, FULL[1]), task, task.recipe)(0, batch_of(task))
    with pytest.raises(RuntimeError, match="something else"):
        Gradients(Greedy(0, RuntimeError("something else")), task, task.recipe)(0, batch_of(task))


def test_masks_too_large_for_the_memory_are_refused(task):
    batch = batch_of(task)._replace(targets=torch.zeros(11, 8, 9, dtype=torch.int64))
    with pytest.raises(TrainingError, match=r"11 tiles is too large .* --batch-size or --tile"):
        Gradients(Greedy(0, FULL[2]), task, task.recipe)(0, batch)


def test_in_bf16_maps_are_coarse_and_weights_gradients_and_loss_are_not(task):
    network, batch, seen = small_network(), batch_of(task), []
    network[1].register_forward_hook(lambda layer, given, answer: seen.append(answer.dtype))
    plain = copy.deepcopy(network)
    expected = Gradients(plain, task, task.recipe)(0, batch)
    outcome = Gradients(network, task, task.recipe.replace(precision="bf16"))(0, batch)
    assert seen == [torch.float32, torch.bfloat16]
    assert outcome.loss == pytest.approx(expected.loss, rel=0.02)
    assert outcome.loss != expected.loss
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        assert ours.dtype == ours.grad.dtype == torch.float32
        assert torch.allclose(ours.grad, theirs.grad, rtol=0.1, atol=0.02)


def test_of_several_processes_each_cuts_its_own_share_and_none_halves_alone(task, monkeypatch):
    monkeypatch.setattr(gradients.distributed, "size", lambda: 2)
    share = batch_of(task).part(torch.arange(6))  # of a step of 11
    assert [len(part.targets) for part in gradients._parts(share, 3)] == [3, 3]
    network = small_network()

    def greedy(*_):
        raise MemoryError

    network.register_forward_hook(greedy)
    words = r"^6 images at once are too large for .* of a process .*begin anew with --micro-batch 3"
    with pytest.raises(TrainingError, match=words):
        Gradients(network, task, task.recipe)(0, share)
