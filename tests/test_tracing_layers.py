"""What a trace says of layers and of the whole: fields, what is unused, what is placed, JSON."""

import json
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from following import Calling
from striate.layers import Subsample
from striate.tracing import trace

SHAPE = (2, 5, 7)


def test_json_holds_all_that_was_found():
    result = trace(nn.Sequential(nn.Conv2d(1, 6, 5), nn.Flatten(), nn.Linear(72, 2)), (1, 8, 7))
    written = json.loads(json.dumps(result.to_dict()))
    layers = written.pop("layers")
    assert written == {
        "input_shape": [1, 8, 7],
        "parameters": 302,
        "connections": 1_872 + 146,
        "multiply_adds": 1_800 + 144,
        "training_bytes": 4 * (8 * 7 + 72),
        "inference_bytes": 4 * (8 * 7 + 72),
        "unused": {},
        "unknown": [],
        "position_dependent": ["2"],
        "cut": [],
        "alignment": [1, 1],
        "halo": [None, None],
    }
    assert layers[:2] == [
        {
            "name": "0",
            "kind": "Conv2d",
            "output_shape": [6, 4, 3],
            "parameters": 156,
            "connections": 1_872,
            "multiply_adds": 1_800,
            "receptive_field": [5, 5],
            "field_center": [2.0, 2.0],
            "field_stride": [1.0, 1.0],
            "inputs": [-1],
            "output_bytes": 288,
        },
        {
            "name": "1",
            "kind": "Flatten",
            "output_shape": [72],
            "parameters": 0,
            "connections": 0,
            "multiply_adds": 0,
            "receptive_field": [8, 7],
            "field_center": [3.5, 3.0],
            "field_stride": [0.0, 0.0],
            "inputs": [0],
            "output_bytes": 0,
        },
    ]


def test_fields_have_a_centre_and_a_stride():
    network = nn.Sequential(
        *(nn.Conv2d(2, 2, (3, 4), (2, 1), (1, 0)), nn.MaxPool2d(2)),
        *(nn.ConvTranspose2d(2, 2, 3, (3, 1)), nn.AdaptiveAvgPool2d(1)),
    )
    layers = trace(network, (2, 20, 24)).layers
    assert [layer.field_center for layer in layers[:2]] == [(0, 1.5), (1, 2)]
    assert [layer.field_stride for layer in layers[:2]] == [(2, 1), (4, 2)]
    assert layers[2].field_stride == (Fraction(4, 3), 2)
    assert layers[3].field_stride == (0, 0)
    assert trace(Calling(lambda x: x.flip(3)), SHAPE).layers[0].field_stride == (1, -1)


def test_what_depends_on_nothing_has_no_centre():
    padded = trace(Calling(lambda x: F.pad(x, (9, 0))), SHAPE).layers[0]
    assert padded.field_center == (0, -9)
    stretched = trace(nn.ConvTranspose1d(2, 2, 1, 3), (2, 5)).layers[0]
    assert stretched.dependence[0].intervals.center(1) is None
    assert stretched.receptive_field == (1,)


class Headed(nn.Module):
    """Two heads for training; a body with one value that it does not use."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
        self.body.scale = nn.Parameter(torch.ones(7))
        self.aux1, self.aux2 = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten()), nn.Linear(45, 2)
        self.frozen = nn.Linear(9, 9).requires_grad_(False)
        self.tied = nn.Linear(45, 2)
        self.again = self.tied
        self.head = nn.Linear(45, 5)

    def forward(self, x):
        x = self.body(x)
        logits = self.head(x.flatten(1))
        return (logits, self.aux1(x), self.aux2(x.flatten(1))) if self.training else logits


def test_modules_that_evaluation_does_not_use_are_named_with_their_parameters():
    result = trace(Headed(), SHAPE)
    assert result.unused == {"aux1": 16, "aux2": 92, "tied": 92, "body.scale": 7}
    used = sum(layer.parameters for layer in result.layers)
    assert used + sum(result.unused.values()) == result.parameters
    assert trace(Headed().body[0], SHAPE).unused == {}


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(70, 3), nn.ReLU()), ["2"]),
        (lambda: nn.Sequential(nn.Flatten(), nn.ReLU()), []),
        (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)), []),
        (lambda: nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Conv2d(2, 2, 1)), ["0"]),
        (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), Subsample(3)), []),
        (lambda: nn.Sequential(nn.ReLU(), nn.Linear(7, 2)), ["1"]),
        (lambda: nn.Sequential(nn.LayerNorm([5, 7])), ["0"]),
        (lambda: nn.Sequential(nn.LayerNorm([5, 7], elementwise_affine=False)), []),
        (lambda: Placed(5, 7), ["mul"]),
        (lambda: Placed(1, 7), ["mul"]),
        (lambda: Placed(2, 1, 1), []),
        (lambda: Calling(lambda x: x + torch.arange(7)), ["add"]),
        (lambda: Calling(lambda x: x + torch.ones(7) + x.new_zeros(5, 7)), []),
        (lambda: Calling(lambda x: torch.cat([x, torch.rand(1, 1, 5, 7)], 1)), ["cat"]),
        (lambda: Calling(lambda x: torch.cat([x, torch.zeros(1, 3, 5, 7)], 1)), []),
        (lambda: Calling(lambda x: F.linear(x.flatten(2).mean(2), torch.ones(3, 2))), []),
        (lambda: Multiplied(), ["matmul"]),
        (lambda: Tokens(), ["add"]),
    ],
)  # fmt: skip
def test_what_treats_places_differently_is_named(network, names):
    assert list(trace(network(), SHAPE).position_dependent) == names


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, 35, 2))

    def forward(self, x):
        return x.flatten(2).transpose(1, 2) + self.table


class Placed(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return x * self.weights


class Multiplied(nn.Module):
    """A weight for each pair of rows."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(5, 5))

    def forward(self, x):
        return self.weights @ x


def dependence(function):
    """Say, for each axis, where the output carries it."""
    return [axis for axis, _ in trace(Calling(function), SHAPE).dependence]


def test_what_is_written_through_one_view_is_seen_in_the_others():
    def through(pick):
        def function(x):
            y = x.clone()
            seen = y.view(1, 2, 5, 7) if pick is None else pick(y)
            y[:, :1].add_(x.flip(2)[:, :1])
            return seen

        return function

    assert dependence(through(None)) == [None, None]
    assert dependence(through(lambda y: y[:, 1:])) == [None, None]  # cautious: it lies apart


def test_parts_that_one_call_made_lie_apart():
    def function(x):
        one, other = x.clone().chunk(2, 1)
        one += other.flip(2)
        return other

    assert dependence(function) == [2, 3]

    def of_a_view(x):
        one, other = x.clone().chunk(2, 1)
        view = one[:, :, :]
        one += other.flip(2)
        return view

    assert dependence(of_a_view) == [None, None]
