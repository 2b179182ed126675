"""Tensors as objects: which layers a layer reads, and where tensors stand in what is passed."""

import pytest
import torch
from torch import nn

from following import Calling
from striate.errors import UsageError
from striate.tracing import trace
from striate.tracing.tensors import tensors_in

SHAPE = (2, 5, 7)


def edges(network, shape=SHAPE):
    """Name, for each layer, the layers it reads."""
    layers = trace(network, shape).layers
    named = [*(layer.name for layer in layers), "input"]
    return {layer.name: [named[i] for i in layer.inputs] for layer in layers}


class Residual(nn.Module):
    def __init__(self, shortcut):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.relu, self.shortcut = nn.ReLU(inplace=True), shortcut

    def forward(self, x):
        skipped = self.shortcut(x)
        y = self.conv2(self.relu(self.conv1(x)))
        y += skipped
        return self.relu(y)


@pytest.mark.parametrize("shortcut", [nn.Identity(), nn.Conv2d(2, 2, 1)])
def test_a_residual_block_adds_its_shortcut_to_what_the_convolutions_make(shortcut):
    assert edges(Residual(shortcut)) == {
        "shortcut": ["input"],
        "conv1": ["input"],
        "relu": ["conv1"],
        "conv2": ["relu"],
        "add": ["conv2", "shortcut"],
        "relu_2": ["add"],
    }


def test_a_residual_block_without_a_layer_on_its_shortcut_reads_what_came_in():
    block = Residual(lambda x: x)
    assert edges(nn.Sequential(nn.Conv2d(2, 2, 1), block)) == {
        "0": ["input"],
        "1.conv1": ["0"],
        "1.relu": ["1.conv1"],
        "1.conv2": ["1.relu"],
        "1.add": ["1.conv2", "0"],
        "1.relu_2": ["1.add"],
    }


def test_a_concatenation_reads_its_branches_in_their_order():
    class Inception(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.pool = nn.Conv2d(2, 3, 1), nn.MaxPool2d(3, 1, 1)
            self.three = nn.Sequential(nn.Conv2d(2, 1, 1), nn.ReLU(), nn.Conv2d(1, 2, 3, 1, 1))

        def forward(self, x):
            return torch.cat([self.pool(x), self.three(x), self.one(x), x], 1)

    assert edges(Inception()) == {
        "pool": ["input"],
        "three.0": ["input"],
        "three.1": ["three.0"],
        "three.2": ["three.1"],
        "one": ["input"],
        "cat": ["pool", "three.2", "one", "input"],
    }


def test_a_skip_of_a_u_net_is_read_through_its_crop():
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.pool = nn.Conv2d(2, 2, 3), nn.MaxPool2d(2)
            self.up, self.last = nn.ConvTranspose2d(2, 2, 2, 2), nn.Conv2d(4, 1, 1)

        def forward(self, x):
            skip = self.down(x)
            x = self.up(self.pool(skip))
            return self.last(torch.cat([skip[:, :, : x.shape[2], : x.shape[3]], x], dim=1))

    assert edges(Small(), (2, 9, 9)) == {
        "down": ["input"],
        "pool": ["down"],
        "up": ["pool"],
        "getitem": ["down"],
        "cat": ["getitem", "up"],
        "last": ["cat"],
    }


def test_each_call_of_a_shared_module_has_readings_of_its_own():
    layer = nn.Conv2d(2, 2, 3, padding=1)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = layer

        def forward(self, x):
            y = self.shared(x)
            return self.shared(y) + y + y

    assert edges(Twice()) == {
        "shared": ["input"],
        "shared_2": ["shared"],
        "add": ["shared_2", "shared"],
        "add_2": ["add", "shared"],
    }


def test_what_is_written_in_place_is_read_from_its_writer():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.relu = nn.BatchNorm2d(2), nn.ReLU(inplace=True)

        def forward(self, x):
            x = self.norm(x)
            self.relu(x)
            x[:, :1].mul_(2)
            x += torch.ones(7)
            y = torch.zeros(1, 2, 5, 7)
            y[:, 1:] = x[:, 1:]
            return y

    assert edges(Writing()) == {
        "norm": ["input"],
        "relu": ["norm"],
        "getitem": ["relu"],
        "mul": ["getitem"],
        "add": ["relu", "mul"],
        "getitem_2": ["add"],
        "setitem": ["getitem_2"],
    }


def test_what_leaves_no_layer_passes_the_reading_on():
    class Keeping(nn.Module):
        """A module without an answer, so not a layer; what it keeps is read by others."""

        def forward(self, x):
            self.kept = x.tanh()

    class Passing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.ReLU(), nn.Sequential(nn.ReLU(), nn.ReLU())
            self.keeping = Keeping()

        def forward(self, x):
            x = self.first(x)
            self.keeping(x)
            return self.second(x.mT.data) + self.keeping.kept.mT + x.new_ones(5)

    assert edges(Passing()) == {
        "first": ["input"],
        "second.0": ["first"],
        "second.1": ["second.0"],
        "add": ["second.1", "first"],
        "add_2": ["add"],
    }


def test_a_layer_of_many_functions_reads_only_what_comes_from_outside():
    class Gated(nn.Module):
        def forward(self, x, y):
            return torch.sigmoid(x) * y + x, y

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.gated, self.relu = Gated(), nn.ReLU()

        def forward(self, x):
            one, other = self.gated(x, self.relu(x))
            return one + other

    assert edges(Whole()) == {"relu": ["input"], "gated": ["input", "relu"], "add": ["gated"]}


def test_what_gives_its_shape_alone_is_not_read():
    assert edges(Calling(lambda x: x.tanh().view_as(x.relu()).type_as(x))) == {
        "tanh": ["input"],
        "relu": ["input"],
        "view_as": ["tanh"],
        "type_as": ["view_as"],
    }


def test_constants_are_not_read():
    assert edges(Calling(lambda x: torch.zeros(7) + torch.ones(5, 7) * x)) == {
        "mul": ["input"],
        "add": ["mul"],
    }


def test_tensors_are_found_in_nested_results_in_order():
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    assert [t.numel() for t in tensors_in([a, {"x": (b, 4), "y": [c, None]}])] == [1, 2, 3]


@pytest.mark.parametrize(
    ("ask", "written"),
    [
        (lambda x: x[x > 0], "a mask as index"),
        (lambda x: int(x.sum()), r"int\(\)"),
        (lambda x: float(x.sum()), r"float\(\)"),
        (lambda x: list(range(x.argmax())), r"an index or range\(\)"),
        (lambda x: f"{x.sum():.3f}", "a formatted string"),
        (lambda x: x.tolist(), r"tolist\(\)"),
        (lambda x: torch.unique(x), r"unique\(\)"),
        (lambda x: x.nonzero(), r"nonzero\(\)"),
    ],
)
def test_what_asks_for_values_is_named_as_it_was_written(ask, written):
    words = f": {written} needs the values of a map, but only shapes are followed, nothing is"
    with pytest.raises(UsageError, match=words) as refusal:
        trace(Calling(ask), SHAPE)
    assert "meta" not in str(refusal.value)
