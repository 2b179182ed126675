"""The loop: what it logs, what it keeps under an average, what it feeds the network."""

import copy
import io
import itertools
import math
import threading
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from striate import training_loop
from striate.batches import TrainingData, input_spec, load_training_data, training_batches
from striate.datasets.sets import Part
from striate.display import Silent
from striate.errors import Interrupted
from striate.layers import Dropout, WithAuxiliary, tell_dropout
from striate.losses import CrossEntropy, SquaredError
from striate.models import build, with_defaults
from striate.models.lenet5 import LeNet5ReLU
from striate.schedules import learning_rate
from striate.scoring import logits_of
from striate.tasks import Classification
from striate.training import train
from striate.training_loop import TrainingLoop


def test_what_is_kept_under_an_average_is_the_average(recipe, tmp_path):
    """Recomputed by hand from the weights after every step."""
    recipe = recipe.replace(ema=0.9, validation=0, epochs=2)
    seen = []

    class Watching(Silent):
        def step(self, epoch, images, loss):
            seen.append({n: p.detach().clone() for n, p in self.loop.network.named_parameters()})

    display = Watching()
    whole = train(recipe, tmp_path / "run")
    data = load_training_data(whole.recipe)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        network = build("lecun1990", 1, 3)
    average = {n: p.detach().clone() for n, p in network.named_parameters()}
    display.loop = TrainingLoop(
        whole.recipe, Classification(whole.recipe, whole.spec, data), network, display=display
    )
    while display.loop.at.epoch < 2:
        display.loop.epoch(whole, threading.Event())
    for step, weights in enumerate(seen, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        average = {n: decay * a + (1 - decay) * weights[n] for n, a in average.items()}
    kept = whole.network().state_dict()
    last = whole.load_state()[0]["weights"]
    for name, tensor in average.items():
        assert torch.allclose(kept[name], tensor, atol=1e-6), name
        assert not torch.allclose(kept[name], last[name], atol=1e-5), name


def test_the_validation_error_under_an_average_is_the_average_s(recipe, tmp_path):
    run = train(recipe.replace(ema=0.99, epochs=3), tmp_path / "run")
    state = run.load_state()[0]
    data = load_training_data(run.recipe)
    network = run.fresh_network()
    network.load_state_dict(state["average"])
    logits = logits_of(network, data.validation.images, data.value_range, run.spec)
    loss = CrossEntropy()(logits, data.validation.targets).item()
    if run.recipe.loss == "squared-error":
        loss = SquaredError()(logits, data.validation.targets).item()
    assert run.progress()[-1]["validation_loss"] == pytest.approx(loss, rel=1e-5)


def test_a_time_that_is_written_as_the_budget_ends_the_run(recipe, tmp_path, monkeypatch):
    """The clock is read after each of five steps and at the end of an epoch."""
    run = train(recipe.replace(epochs=9, time=1e-9), tmp_path / "run")
    complete = run.recipe.replace(time=1.5)
    task = Classification(complete, run.spec, load_training_data(complete))
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks) * 1.4996 / 12)
    monkeypatch.setattr(training_loop, "time", clock)
    loop = TrainingLoop(complete, task, run.fresh_network())
    while not loop.at.finished:
        loop.epoch(run, threading.Event())
    assert [row["seconds"] for row in loop.at.rows] == [0.75, 1.5]
    assert loop.at.elapsed == 1.5


@pytest.mark.parametrize("channels_last", [True, False])
def test_batches_come_in_the_recipe_s_memory_format(recipe, tmp_path, channels_last, monkeypatch):
    formats = set()
    forward = LeNet5ReLU.forward

    def watched(self, images):
        formats.add((images.is_contiguous(memory_format=torch.channels_last), self.training))
        return forward(self, images)

    monkeypatch.setattr(LeNet5ReLU, "forward", watched)
    colour = Part(torch.randint(255, (12, 3, 32, 32), dtype=torch.uint8), torch.arange(12) % 2)
    data = TrainingData(colour, colour, (0, 255), ("a", "b"), "", "")
    complete = with_defaults(recipe.replace(network="lenet5_relu", channels_last=channels_last))
    spec = input_spec(colour.images, (0, 255), (3, 32, 32), complete)
    run = train(recipe.replace(epochs=1), tmp_path / "any")
    formats.clear()
    task = Classification(complete, spec, data)
    TrainingLoop(complete, task, build("lenet5_relu", 3, 2)).epoch(run, threading.Event())
    assert formats == {(channels_last, True), (channels_last, False)}


class Headed(nn.Module):
    """A network with all that a run must repeat: dropout twice, batch norm, a second head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(Dropout(0.2), nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), Dropout(0.5)),
        )
        self.head, self.auxiliary = nn.Linear(6 * 3 * 3, 4), nn.Linear(6 * 3 * 3, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor | WithAuxiliary:
        maps = self.body(images)
        logits: torch.Tensor = self.head(maps)
        return WithAuxiliary(logits, (self.auxiliary(maps),) * 2) if self.training else logits


@pytest.fixture
def colour() -> TrainingData:
    generator = torch.Generator().manual_seed(8)
    images = torch.randint(256, (37, 3, 9, 11), dtype=torch.uint8, generator=generator)
    part = Part(images, torch.arange(37) % 4)
    return TrainingData(part, part, (0, 255), ("a", "b", "c", "d"), "", "")


EXACT = {"flip": True, "crop_padding": 1}
CROPS = [
    {"crop": "random"}, {"crop": "random", "side_range": (9, 12)}, {"crop": "area"},
]  # fmt: skip


def loop_of(recipe, data, display=None):
    spec = input_spec(data.training.images, (0, 255), (3, 8, 8), recipe)
    with torch.random.fork_rng():
        torch.manual_seed(6)
        network = Headed()
    return TrainingLoop(recipe, Classification(recipe, spec, data), network, display=display)


class StopAfter(Silent):
    def __init__(self, steps: int) -> None:
        self.left, self.event = steps, threading.Event()

    def step(self, epoch, images, loss):
        self.left -= 1
        if self.left == 0:
            self.event.set()


@pytest.mark.parametrize("changes", CROPS)
@pytest.mark.parametrize("steps", [2, 7])
def test_with_every_augmentation_and_dropout_a_resumed_run_is_the_unbroken_one_bit_for_bit(
    recipe, tmp_path, colour, changes, steps
):
    run = train(recipe.replace(epochs=1), tmp_path / "any")
    recipe = with_defaults(
        recipe.replace(
            image_size=10, pca_color=0.1, elastic=0.5, ema=0.9, batch_size=8, **EXACT, **changes
        )
    )
    whole = loop_of(recipe, colour)
    whole.epoch(run, threading.Event())
    whole.epoch(run, threading.Event())
    stop = StopAfter(steps)
    cut = loop_of(recipe, colour, stop)
    for _ in range(steps // 5):  # whole epochs of five steps
        cut.epoch(run, stop.event)
    with pytest.raises(Interrupted, match="all is saved"):
        cut.epoch(run, stop.event)
    state = io.BytesIO()
    torch.save(cut.state(), state)
    state.seek(0)
    torch.manual_seed(77)  # nothing is drawn from here
    resumed = loop_of(recipe, colour)
    resumed.load(torch.load(state, weights_only=True))
    while resumed.at.epoch < 2:
        resumed.epoch(run, threading.Event())
    for kind in ("network", "average"):
        expected = getattr(whole, kind).state_dict()
        for name, tensor in getattr(resumed, kind).state_dict().items():
            assert torch.equal(tensor, expected[name]), name
    losses = [[row["train_loss"] for row in loop.at.rows] for loop in (whole, resumed)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("weight", [0.3, 0.0])
def test_auxiliary_classifiers_add_their_loss_and_the_network_s_own_answer_counts(
    recipe, tmp_path, colour, weight
):
    """Recomputed by hand from the first batch of the run."""
    run = train(recipe.replace(epochs=1), tmp_path / "any")
    recipe = with_defaults(
        recipe.replace(auxiliary=weight, batch_size=37, epochs=1, loss="cross-entropy")
    )
    loop = loop_of(recipe, colour)
    network = copy.deepcopy(loop.network)
    batch = next(training_batches(colour.training, (0, 255), loop.task.spec, loop.recipe, 0))
    layers = [layer for layer in network.modules() if isinstance(layer, Dropout)]
    tell_dropout(layers, recipe.seed, 0, batch.indices)
    answer = network(batch.images.contiguous(memory_format=loop.gradients.memory_format))
    own, second = (CrossEntropy()(x, batch.targets) for x in (answer.logits, answer.auxiliary[0]))
    loop.epoch(run, threading.Event())
    row = loop.at.rows[0]
    assert row["train_loss"] == pytest.approx((own + 2 * weight * second).item(), rel=1e-6)
    mistakes = (answer.logits.argmax(dim=1) != batch.targets).sum().item()
    assert row["train_error"] == mistakes / 37
    moved = loop.network.auxiliary.weight - network.auxiliary.weight
    assert (moved.abs().max() > 0) == (weight > 0)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_the_log_has_the_rate_of_each_epoch_s_last_step(recipe, tmp_path, schedule):
    recipe = recipe.replace(schedule=schedule, learning_rate=0.01)
    rows = train(recipe, tmp_path / "run").progress()
    steps = 5  # 42 training images, 9 a step
    expected = [learning_rate(recipe, steps * (n + 1) - 1, steps) for n in range(4)]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)
    assert min(expected) > 0


def test_the_loss_of_the_log_is_the_mean_over_the_images(recipe, tmp_path):
    frozen = recipe.replace(learning_rate=1e-30, shift=0, rotation=0, validation=0, epochs=2)
    first, second = train(frozen, tmp_path / "run").progress()
    one_batch = train(frozen.replace(batch_size=51), tmp_path / "whole").progress()[0]
    assert first["train_loss"] == pytest.approx(one_batch["train_loss"], rel=1e-5)
    assert second["train_loss"] == pytest.approx(first["train_loss"], rel=1e-5)
    assert math.isclose(first["train_error"] * 51, round(first["train_error"] * 51))


def test_several_processes_compute_as_they_are_told_and_do_not_measure(recipe, monkeypatch):
    images = torch.randint(256, (11, 1, 16, 16), dtype=torch.uint8)
    part = Part(images, torch.arange(11) % 3)
    data = TrainingData(part, part, (0, 255), ("a", "b", "c"), "", "")
    recipe = with_defaults(recipe.replace(compile="auto", channels_last=True))
    task = Classification(recipe, input_spec(images, (0, 255), (1, 16, 16), recipe), data)
    notes = []
    display = Silent()
    display.note = notes.append
    loop = TrainingLoop(recipe, task, build(recipe.network, 1, 3), display=display)
    monkeypatch.setattr(training_loop.distributed, "size", lambda: 2)
    monkeypatch.setattr(training_loop, "choose_execution", lambda *_: 1 / 0)
    loop._choose_execution(SimpleNamespace(save=lambda state: None))
    assert notes == ["several processes compute as they are told: channels last"]
    assert loop.state()["execution"] == {"channels_last": True, "bf16": False, "compiled": False}
