"""Steps against the trace that they come from: nothing lost, nothing twice, the same edges."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sketching import NETWORKS_TO_DRAW, UNet, traced, unit
from striate.drawing.steps import spaced, steps, told
from striate.models import NETWORKS, build
from striate.tracing import trace


def trace_of(name):
    known = NETWORKS.get(name)
    return trace(build(name), known.input_shape) if known else traced(name)


@pytest.mark.parametrize("name", ["lenet5", "lecun1989", "lecun1989_relu", *NETWORKS_TO_DRAW])
def test_steps_hold_every_layer_once_and_read_what_their_layers_read(name):
    t = trace_of(name)
    found = steps(t)
    step_of = {layer: i for i, step in enumerate(found) for layer in step.layers} | {-1: 0}
    assert sorted(layer for step in found for layer in step.layers) == list(range(len(t.layers)))
    assert sum(step.parameters for step in found) == sum(layer.parameters for layer in t.layers)
    contracted = {
        (step_of[source], step_of[i])
        for i, layer in enumerate(t.layers)
        for source in layer.inputs
        if step_of[source] != step_of[i]
    }
    assert {(source, i) for i, step in enumerate(found) for source in step.inputs} == contracted
    assert all(source < i for source, i in contracted)


class Ends(nn.Module):
    """A network of one function."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


def told_of(network, shape=(4, 12, 16)):
    return [(step.kind, step.before, step.after) for step in steps(trace(network, shape))[1:]]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (unit(4, 6), [("convolution", (), ("batch norm", "ReLU"))]),
        # What surrounds the input belongs to the input, where nothing else is read.
        (nn.Sequential(nn.ReLU(), nn.Conv2d(4, 6, 3)), [("convolution", (), ())]),
        (
            nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3), nn.Dropout()),
            [("max pooling", (), ("batch norm",)), ("convolution", (), ("dropout",))],
        ),
        (
            nn.Sequential(nn.Conv2d(4, 6, 3, 2), nn.AvgPool2d(3, 1), nn.Upsample(scale_factor=2)),
            [("convolution", (), ()), ("average pooling", (), ()), ("resizing", (), ())],
        ),
        (nn.MaxPool2d(3, 1, 1), [("max pooling", (), ())]),
        (nn.Sequential(nn.Conv2d(4, 4, 1), nn.AvgPool2d(1)), [("convolution", (), ())]),
        (
            nn.Sequential(nn.ConvTranspose2d(4, 1, 2, 2), nn.Flatten(), nn.Linear(768, 3)),
            [("transposed convolution", (), ()), ("linear", (), ())],
        ),
        (Ends(lambda x: x.mean((2, 3))), [("average pooling", (), ())]),
        (
            Ends(lambda x, c: F.silu(c(x)).amax((2, 3)), nn.Conv2d(4, 6, 1)),
            [("convolution", (), ("SiLU",)), ("max pooling", (), ())],
        ),
    ],
)  # fmt: skip
def test_a_step_has_one_main_layer_and_what_surrounds_it(network, expected):
    assert told_of(network) == expected


def test_an_activation_that_another_layer_skips_stays_apart():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    first = nn.Conv2d(4, 4, 1)

    def before(x, first, conv):  # an activation before the weights, as in the ResNet of 2016
        x = first(x)
        return x + conv(torch.relu(x))

    assert told_of(Ends(before, first, conv)) == [
        ("convolution", (), ()),
        ("convolution", ("ReLU",), ()),
        ("addition", (), ()),
    ]


def test_branches_that_weigh_nothing_and_meet_again_are_one_step():
    def swish(x, conv):
        x = conv(x)
        return x * F.relu6(x + 3) / 6

    assert told_of(Ends(swish, nn.Conv2d(4, 6, 3))) == [("convolution", (), ("ReLU6",))]


def test_a_crop_on_the_way_to_a_concatenation_is_a_part_of_it():
    found = steps(trace(UNet(2, 2, 0), (1, 44, 44)))
    joined = [step for step in found if step.kind == "concatenation"]
    assert [step.shape for step in joined] == [(8, 8, 8), (4, 8, 8)]
    assert all(found[step.inputs[0]].kind == "convolution" for step in joined)


def test_a_normalisation_on_one_branch_alone_is_a_step():
    def two(x, one, norm):
        x = one(x)
        return torch.relu(norm(x) + one(x))

    kinds = [kind for kind, _, _ in told_of(Ends(two, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))]
    assert sorted(kinds) == ["addition", "convolution", "convolution", "light"]


def test_what_the_trace_cannot_follow_is_a_step_of_its_own():
    network = nn.Sequential(
        nn.Conv2d(4, 4, 1), Ends(lambda x: torch.cumsum(x, 2)), nn.Conv2d(4, 4, 1)
    )
    found = steps(trace(network, (4, 6, 7)))
    assert [step.kind for step in found[1:]] == ["convolution", "other", "convolution"]


def test_words_of_classes_and_functions():
    kinds = [
        "Conv2d",
        "BatchNorm3d",
        "InstanceNorm1d",
        "leaky_relu",
        "hardswish_",
        "LocalResponseNorm",
    ]
    assert told(kinds) == ("batch norm", "instance norm", "leaky ReLU", "hard swish", "LRN")
    assert told(["mul", "tanh", "mul", "flatten", "Identity"]) == ("tanh",)
    assert (spaced("RadialBasisOutput"), spaced("multi_head")) == (
        "radial basis output",
        "multi head",
    )
