"""Which way of computing wins, when compiling is tried, and that a run is not touched by it."""

import pytest
import torch
from torch import nn

from striate import execution_choice
from striate.batches import TrainingData, input_spec
from striate.datasets.sets import Part
from striate.execution_choice import Timed, choose_execution, has_fast_bf16, needs_choice, timed
from striate.gradients import Execution, Gradients
from striate.layers import Dropout
from striate.models import with_defaults
from striate.tasks import Classification

FIRST, LAST = Execution(False), Execution(True)


def gradients_of(recipe, **fields) -> Gradients:
    images = torch.randint(256, (11, 3, 8, 9), dtype=torch.uint8)
    part = Part(images, torch.arange(11) % 3)
    data = TrainingData(part, part, (0, 255), ("a", "b", "c"), "", "")
    fields = {"loss": "cross-entropy", "batch_size": 4, "channels_last": True, **fields}
    recipe = with_defaults(recipe.replace(**fields))
    task = Classification(recipe, input_spec(images, (0, 255), (3, 8, 9), recipe), data)
    torch.manual_seed(5)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(168, 3))
    network.append(nn.Dropout(0.2))  # PyTorch's, which draws from the global generator
    return Gradients(network.train(), task, recipe)


def chosen(gradients, num_steps=10**6):
    notes = []
    batch = next(gradients.task.batches(0, 0))
    return choose_execution(gradients, batch, num_steps, notes.append), notes


@pytest.fixture
def clock(monkeypatch):
    """Milliseconds that each way takes, asked for instead of measured."""
    steps = {FIRST: 9.0, LAST: 6.0}

    def told(gradients, execution, batch):
        if execution not in steps:
            raise RuntimeError("no C++ compiler\nwas found")
        first = 30.0 if execution.compiled else 0.0
        return Timed(execution, first, steps[execution] / 1000)

    monkeypatch.setattr(execution_choice, "timed", told)
    return steps


def test_only_what_a_recipe_leaves_open_needs_a_choice(recipe):
    assert not needs_choice(recipe)
    assert needs_choice(recipe.replace(compile="auto"))
    assert needs_choice(recipe.replace(precision="bf16"))


def test_the_faster_memory_format_wins_and_by_how_much_is_said(recipe, clock):
    clock[Execution(True, compiled=True)] = 7.0
    execution, notes = chosen(gradients_of(recipe, compile="auto"))
    assert execution == LAST
    assert notes[-1] == (
        "a batch in channels last 6 ms, channels first 9 ms, channels last, compiled 7 ms; "
        "channels last from now on, 1.50 times as fast as channels first"
    )
    clock[FIRST] = 5.0
    clock[Execution(False, compiled=True)] = 7.0
    assert chosen(gradients_of(recipe, compile="auto"))[0] == FIRST


def test_compilation_wins_where_it_is_earned_back(recipe, clock):
    compiled = Execution(True, compiled=True)
    clock[compiled] = 4.0
    assert chosen(gradients_of(recipe, compile="auto"))[0] == compiled
    # 11 images by 4: two sizes of batch, each compiled in 24.1 s, to earn 0.1 s a step
    clock |= {FIRST: 9000.0, LAST: 6000.0, compiled: 5900.0}
    gradients = gradients_of(recipe, compile="auto")
    assert chosen(gradients, 483)[0] == compiled
    execution, notes = chosen(gradients, 481)
    assert execution == LAST
    assert notes[0] == "not compiled: 48 s to compile are not earned back in 481 steps"


def test_a_short_run_does_not_try_to_compile(recipe, clock):
    for fields, steps, seconds in (({}, 1000, "6"), ({"time": "90s"}, 10**6, "90")):
        execution, notes = chosen(gradients_of(recipe, compile="auto", **fields), steps)
        assert execution == LAST
        assert f"the steps take about {seconds} s, too short to earn it back" in notes[0]


def test_without_a_compiler_it_is_said_and_done_without(recipe, clock):
    for choice in ("auto", "on"):
        execution, notes = chosen(gradients_of(recipe, compile=choice))
        assert execution == LAST
        assert "torch.compile does not work here (no C++ compiler); it needs" in notes[0]


def test_what_draws_dropout_is_not_compiled(recipe, clock):
    gradients = gradients_of(recipe, compile="on")
    gradients.dropouts = [Dropout(0.5)]
    clock[Execution(True, compiled=True)] = 1.0
    assert chosen(gradients)[0] == LAST


@pytest.mark.parametrize(("has", "seconds", "wins"), [(True, 3, 1), (True, 8, 0), (False, 3, 0)])
def test_bf16_is_taken_where_the_processor_has_it_and_it_pays(
    recipe, clock, monkeypatch, has, seconds, wins
):
    monkeypatch.setattr(execution_choice, "has_fast_bf16", lambda device: has)
    clock[Execution(True, bf16=True)] = seconds
    execution, notes = chosen(gradients_of(recipe, precision="auto"))
    assert execution == Execution(True, bf16=bool(wins))
    assert has or notes == ["precision float32: cpu has no instructions for bf16"]


def test_a_measurement_leaves_network_gradients_and_random_numbers_as_they_were(recipe):
    gradients = gradients_of(recipe, compile="auto", precision="auto")
    before = {name: tensor.clone() for name, tensor in gradients.network.state_dict().items()}
    torch.manual_seed(9)
    state = torch.get_rng_state()
    chosen(gradients, 10)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in gradients.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in gradients.network.parameters())


def test_the_time_of_a_step_leaves_the_first_out(recipe):
    gradients = gradients_of(recipe)
    measured = timed(gradients, LAST, next(gradients.task.batches(0, 0)))
    assert measured.execution == LAST
    assert measured.step > 0
    assert not has_fast_bf16(torch.device("meta"))
