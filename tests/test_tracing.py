"""Whole networks: the papers' counts, fields against gradients, and nothing left behind."""

import gc
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from following import Calling, first_tensor, reaches
from striate.errors import UsageError
from striate.layers import ConnectionTableConv, RadialBasisOutput, Subsample, scaled_tanh
from striate.tracing import trace

# Table I of LeCun et al., 1998, by column.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.s2 = nn.Conv2d(1, 6, 5), Subsample(6)
        self.c3, self.s4 = ConnectionTableConv(6, C3_TABLE, 5), Subsample(16)
        self.c5, self.f6 = nn.Conv2d(16, 120, 5), nn.Linear(120, 84)
        self.output = RadialBasisOutput(torch.ones(10, 84))

    def forward(self, x):
        x = torch.sigmoid(self.s2(scaled_tanh(self.c1(x))))
        x = torch.sigmoid(self.s4(scaled_tanh(self.c3(x))))
        x = scaled_tanh(self.c5(x)).flatten(1)
        return self.output(scaled_tanh(self.f6(x)))


class LeCun1989(nn.Module):
    """Stride 2 on the image surrounded by two pixels of -1; every unit has its own bias."""

    def __init__(self):
        super().__init__()
        table = [[(j + i) % 12 for i in range(8)] for j in range(12)]
        self.h1 = nn.Conv2d(1, 12, 5, stride=2, bias=False)
        self.h1_bias = nn.Parameter(torch.zeros(12, 8, 8))
        self.h2 = ConnectionTableConv(12, table, 5, stride=2, bias=False)
        self.h2_bias = nn.Parameter(torch.zeros(12, 4, 4))
        self.h3, self.output = nn.Linear(192, 30), nn.Linear(30, 10)

    def forward(self, x):
        x = scaled_tanh(self.h1(F.pad(x, (2, 2, 2, 2), value=-1.0)) + self.h1_bias)
        x = scaled_tanh(self.h2(F.pad(x, (2, 2, 2, 2), value=-1.0)) + self.h2_bias)
        x = scaled_tanh(self.h3(x.flatten(1)))
        return scaled_tanh(self.output(x))


def counts(network, shape):
    return {
        layer.name: (layer.parameters, layer.connections) for layer in trace(network, shape).layers
    }


def test_lenet5_has_the_connections_its_paper_counts():
    result = trace(LeNet5(), (1, 32, 32))
    assert (result.parameters, result.connections) == (60_000, 340_908)
    counted = {x.name: (x.parameters, x.connections) for x in result.layers if x.connections}
    assert counted == {
        "c1": (156, 122_304),
        "s2": (12, 5_880),
        "c3": (1_516, 151_600),
        "s4": (32, 2_000),
        "c5": (48_120, 48_120),
        "f6": (10_164, 10_164),
        "output": (0, 840),
    }
    fields = {layer.name: layer.receptive_field for layer in result.layers}
    assert [fields[name] for name in ("c1", "s2", "c3", "s4", "c5")] == [
        *((5, 5), (6, 6), (14, 14), (16, 16), (32, 32))
    ]
    assert result.output_shape == (10,)
    assert result.unknown == ()


def test_the_1990_network_has_98_442_connections():
    table = [[j % 4] for j in range(4)] + [[j % 4, (j + 1) % 4] for j in range(8)]
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 5), nn.Tanh(), Subsample(4), nn.Tanh()),
        *(ConnectionTableConv(4, table, 5), nn.Tanh(), Subsample(12), nn.Tanh()),
        *(nn.Flatten(), nn.Linear(192, 10)),
    )
    result = trace(network, (1, 28, 28))
    assert [layer.connections for layer in result.layers if layer.connections] == [
        *(59_904, 2_880, 32_768, 960, 1_930)
    ]
    assert (result.parameters, result.connections) == (2_578, 98_442)


def test_the_1989_network_has_64_660_connections_with_the_biases_of_its_units():
    counted = counts(LeCun1989(), (1, 16, 16))
    assert counted["h1"][1] + counted["add"][1] == 19_968
    assert counted["h2"][1] + counted["add_2"][1] == 38_592
    assert (counted["h3"], counted["output"]) == ((5_790, 5_790), (310, 310))
    assert (counted["add"], counted["add_2"]) == ((768, 768), (192, 192))
    result = trace(LeCun1989(), (1, 16, 16))
    assert (result.parameters, result.connections) == (9_760, 64_660)


# Random stacks against gradients

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
SIDES = {1: (61,), 2: (19, 16), 3: (7, 6, 8)}


def a_layer(draw, dims, *, framed):
    def each(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(dims))

    kind = draw(st.sampled_from(["convolution", "dilated", "pool", "transposed", "pad"]))
    if kind == "transposed" and framed:
        return TRANSPOSED[dims](1, 1, each(1, 3), each(1, 2))
    if kind == "pool":
        return POOLS[dims](draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    if kind == "pad" and framed:
        return nn.ReplicationPad1d(2) if dims == 1 else nn.ZeroPad2d(draw(st.integers(0, 2)))
    frame = each(0, 2) if framed else 0
    dilation = each(1, 2) if kind == "dilated" else 1
    return CONVOLUTIONS[dims](1, 1, each(1, 3), each(1, 2), frame, dilation)


@st.composite
def stacks(draw, *, framed):
    dims = draw(st.sampled_from([1, 1, 2, 3]))
    layers = [a_layer(draw, dims, framed=framed) for _ in range(draw(st.integers(1, 4)))]
    network = nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(0.1, 1)
    return network, (1, *SIDES[dims])


def traced(network, shape):
    try:
        return trace(network, shape)
    except UsageError:
        assume(False)


@settings(max_examples=40, deadline=None)
@given(stacks(framed=False))
def test_without_padding_intervals_end_where_the_gradients_end(stack):
    network, shape = stack
    for of, (axis, intervals) in enumerate(traced(network, shape).dependence, 2):
        seen = reaches(network, shape, axis, of)
        assert intervals.first.tolist() == [inside[0] for inside in seen]
        assert intervals.last.tolist() == [inside[-1] for inside in seen]


@settings(max_examples=40, deadline=None)
@given(stacks(framed=True))
def test_with_padding_intervals_hold_the_gradients_and_end_there_inside(stack):
    network, shape = stack
    result = traced(network, shape)
    fields = result.layers[-1].receptive_field
    for of, (axis, intervals) in enumerate(result.dependence, 2):
        seen = reaches(network, shape, axis, of)
        assume(any(map(len, seen)))  # another axis can be nothing but gaps
        for first, last, inside in zip(intervals.first, intervals.last, seen, strict=True):
            if len(inside):
                assert first <= inside[0] <= inside[-1] <= last
            margin = fields[of - 2] + math.prod(strides(network, of - 2))
            if margin <= first <= last < shape[of - 1] - margin:
                assert (first, last) == (inside[0], inside[-1])


def strides(network, axis):
    for layer in network:
        stride = getattr(layer, "stride", 1)
        yield stride if isinstance(stride, int) else stride[min(axis, len(stride) - 1)]


# Attribution, and what a network may do


class Branching(nn.Module):
    """Python decides by the shape; one convolution serves twice; a skip goes around it."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.block = nn.ModuleDict({"inner": nn.Sequential(nn.ReLU(inplace=True))})
        self.spare = nn.Linear(3, 5)

    def forward(self, x):
        y = x
        for _ in range(2 if x.shape[-1] > 8 else 1):
            y = self.block["inner"](self.shared(y))
            y += x
        return F.relu(y)


def test_a_shared_module_counts_its_parameters_once_and_its_connections_each_time():
    wide, narrow = trace(Branching(), (4, 7, 9)), trace(Branching(), (4, 7, 5))
    assert wide.parameters == narrow.parameters == 4 * 37 + 20
    assert wide.connections == 2 * 4 * 63 * 37
    assert narrow.connections == 4 * 35 * 37
    assert [(x.name, x.kind, x.parameters) for x in wide.layers] == [
        ("shared", "Conv2d", 148),
        ("block.inner.0", "ReLU", 0),
        ("add", "add", 0),
        ("shared_2", "Conv2d", 0),
        ("block.inner.0_2", "ReLU", 0),
        ("add_2", "add", 0),
        ("relu", "relu", 0),
    ]
    assert wide.layers[-1].receptive_field == (5, 5)


def test_a_network_in_training_is_followed_as_in_evaluation():
    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x):
            x = self.norm(x)
            return (x.mean(2), x) if self.training else x

    result = trace(Headed().train(), (2, 5))
    assert result.output_shape == (2, 5)
    assert result.layers[-1].receptive_field == (1,)


def test_frozen_values_are_not_trainable_ones():
    network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    network[0].requires_grad_(False)
    result = trace(network, (3,))
    assert result.parameters == 12
    assert [layer.parameters for layer in result.layers] == [0, 12]
    assert result.connections == 20 + 12


def test_what_cannot_be_followed_is_named_and_depends_on_everything():
    class Spectral(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.rnn = nn.Conv2d(1, 2, 3), nn.Sequential(nn.GRU(5, 4))

        def forward(self, x):
            x = torch.fft.fft2(self.first(x)).real
            return self.rnn(x.flatten(0, 1).relu())

    result = trace(Spectral(), (1, 9, 7))
    assert result.unknown == ("fft_fft2", "rnn.0")
    assert {layer.name: layer.output_shape for layer in result.layers}["fft_fft2"] == (2, 7, 5)
    assert result.layers[-1].kind == "GRU"
    assert result.layers[1].receptive_field == (9, 7)
    assert result.layers[1].parameters == 0
    assert result.layers[-1].parameters == 3 * 4 * (5 + 4 + 2)


def test_the_input_alone_may_come_back_and_other_outputs_are_ignored():
    assert trace(nn.Sequential(), (2, 3)).output_shape == (2, 3)
    result = trace(Calling(lambda x: {"low": x[:, :1], "high": [x]}), (2, 3))
    assert result.output_shape == (1, 3)
    assert trace(Calling(lambda x: torch.zeros(1, 5)), (2, 3)).dependence[0].intervals.size == 1
    assert trace(Calling(torch.zeros_like), (2, 3)).layers == ()


class Forgetful(nn.Module):
    """Does all that a trace has to undo: counts in buffers, stores maps, draws numbers, raises."""

    def __init__(self, *, fails):
        super().__init__()
        self.norm, self.fails = nn.BatchNorm2d(2, momentum=0.5), fails
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("seen", torch.zeros(3))
        self.register_buffer("bound", torch.tensor(2.0))
        self.maps = {}

    def forward(self, x):
        self.calls += 1
        self.seen.data[1:].fill_(5)
        self.last = self.norm(x)
        self.bound = self.bound * 3
        self.maps["x"] = x
        torch.add(self.seen, 1, out=self.seen)
        x = x + torch.rand(3)
        if self.fails:
            raise RuntimeError("forward stopped half-way")
        return F.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=True)


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(fails):
    network = nn.Sequential(Forgetful(fails=fails), nn.Dropout())
    network[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    attributes, random = sorted(vars(network[0])), torch.get_rng_state()
    calling = nn.Module._call_impl
    if fails:
        with pytest.raises(RuntimeError, match="forward stopped half-way"):
            trace(network, (2, 5, 3))
    else:
        assert trace(network, (2, 5, 3)).unknown == ()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert sorted(vars(network[0])) == attributes
    assert network[0].maps == {}
    assert (network.training, network[0].norm.training, network[1].training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), random)
    assert nn.Module._call_impl is calling
    assert gc.isenabled()
    assert torch.is_grad_enabled()
    assert not torch.rand(2).is_meta


def test_no_kernel_runs_on_known_functions():
    """Ten thousand by ten thousand pixels: only a trace without numbers can be quick here."""
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2))
    result = trace(network, (3, 10_001, 10_001))
    assert result.output_shape == (64, 4_999, 4_999)
    assert result.multiply_adds == 64 * 27 * 9_999**2


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (F.relu, (1, 5), "a torch.nn.Module is needed, not a function"),
        (nn.ReLU(), (), r"input shape \(\): whole numbers from 1 are needed"),
        (nn.ReLU(), (1, 0, 5), r"input shape \(1, 0, 5\)"),
        (nn.ReLU(), (1, 2.5), r"input shape \(1, 2.5\)"),
        (nn.Sequential(nn.LazyConv2d(3, 5)), (1, 9, 9), r"0 \(LazyConv2d\) has no shape yet"),
        (Calling(lambda x: 3), (1, 5), "Calling returned a int; a tensor, or a list"),
        (
            Calling(lambda x: x if x.sum() > 0 else -x),
            (1, 5),
            r"^bool: a condition needs the values of a map, but only shapes are followed",
        ),
        (Calling(lambda x: x.mean().item()), (1, 5), r"^item: item\(\) needs the values of a map"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(400, 10)),
            (1, 28, 28),
            r"^1 \(Linear\): 400 features are needed, not a map of shape \(784,\)$",
        ),
    ],
)
def test_what_cannot_be_traced_is_refused_in_one_line(network, shape, message):
    with pytest.raises(UsageError, match=message) as refusal:
        trace(network, shape)
    assert "\n" not in str(refusal.value)


def test_traced_shapes_are_those_of_a_run():
    network = Branching().eval()
    output = first_tensor(network(torch.rand(1, 4, 7, 9)))
    assert trace(network, (4, 7, 9)).output_shape == tuple(output.shape[1:])
