"""Pointwise functions, normalisation, reductions and products against running and gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from following import Calling, follow
from striate.errors import UsageError
from striate.tracing import trace
from striate.tracing.pointwise import IN_PLACE

SHAPE = (2, 5, 7)

ACTIVATIONS = """
    relu relu6 leaky_relu rrelu elu selu celu gelu silu mish sigmoid logsigmoid hardsigmoid
    hardswish hardtanh tanh tanhshrink softplus softsign
"""


def half(*shape):
    return torch.full(shape, 0.5, dtype=torch.float64)


EXACT = {
    **{name: getattr(F, name) for name in ACTIVATIONS.split()},
    "in place": lambda x: F.relu(x, inplace=True),
    "relu_": lambda x: x.relu_(),
    "torch.tanh": torch.tanh,
    "prelu": lambda x: F.prelu(x, half(2)),
    "threshold": lambda x: F.threshold(x, -1.0, 0.0),
    "negative": lambda x: 3 - -x + x.neg().neg(),
    "abs": abs,
    "powers": lambda x: x**2 + x.square() + x.sqrt() + x.pow(3) + 2**x,
    "numbers": lambda x: 1 - (2 - (3 + x - 4)) * 5 / 6 + 7 / (1 + x),
    "in place operators": lambda x: x.clone().add_(1).mul_(2).div_(x + 9),
    "clamp": lambda x: x.clamp(0, 2) + torch.clamp_min(x, 0.0),
    "broadcast": lambda x: x * torch.rand(7) + torch.rand(2, 1, 1) + torch.rand(1),
    "added rank": lambda x: x + torch.rand(3, 1, 1, 1, 1),
    "where": lambda x: torch.where(x > -1, x, 0.0) + x.where(x > -1, x),
    "dropout": lambda x: F.dropout(x, 0.0) + F.dropout2d(x, training=False),
    "batch norm": lambda x: F.batch_norm(x, half(2), half(2)),
    "instance norm, running": lambda x: F.instance_norm(x, half(2), half(2), use_input_stats=False),
    "local response": lambda x: F.local_response_norm(x, 2, alpha=0.01, k=2.0),
    "conversions": lambda x: x.to(torch.float64).type_as(x).double().contiguous().to(x),
    "sum": lambda x: x.sum(),
    "sum of channels": lambda x: x.sum(1),
    "mean over rows": lambda x: torch.mean(x, dim=2, keepdim=True),
    "global mean": lambda x: x.mean((2, 3)),
    "global mean of the last": lambda x: x.mean((-1, -2), keepdim=True),
    "logsumexp": lambda x: torch.logsumexp(x, 3),
    "gated": lambda x: x * x.mean((2, 3), keepdim=True),
    "matmul by columns": lambda x: x @ torch.rand(7, 4, dtype=x.dtype),
    "matmul by rows": lambda x: torch.rand(4, 5, dtype=x.dtype) @ x,
    "attention": lambda x: x @ x.transpose(2, 3),
    "bmm": lambda x: torch.bmm(x[0], x[0].transpose(1, 2)),
}

# Slopes of both signs cancel in the sums that are differentiated, or are zero by chance.
CONTAINED = {
    "softmax": lambda x: F.softmax(x, 3),
    "softmax over channels": lambda x: x.softmax(1) + torch.log_softmax(x, dim=1),
    "softmin": lambda x: F.softmin(x, dim=2),
    "amax": lambda x: x.amax(3),
    "amin": lambda x: torch.amin(x, dim=(2, 3), keepdim=True),
    "maximum": lambda x: torch.maximum(x, x.flip(2)),
    "group norm": lambda x: F.group_norm(x, 2),
    "layer norm": lambda x: F.layer_norm(x, (5, 7)),
    "layer norm of columns": lambda x: F.layer_norm(x, (7,)),
    "instance norm": F.instance_norm,
    "batch norm of its own batch": lambda x: F.batch_norm(x, None, None, training=True),
    "softshrink": lambda x: F.softshrink(x) + F.hardshrink(x),
    "masks": lambda x: x * ((x > 0.5) & ~(x == 1.0)).float(),
}


@pytest.mark.parametrize("name", EXACT)
def test_intervals_end_where_the_gradients_end(name):
    torch.manual_seed(2)
    assert follow(EXACT[name], SHAPE, exact=True).unknown == ()


@pytest.mark.parametrize("name", CONTAINED)
def test_intervals_contain_the_gradients(name):
    torch.manual_seed(2)
    assert follow(CONTAINED[name], SHAPE, exact=False).unknown == ()


def test_normalisation_mixes_only_its_own_axes():
    def carried(function):
        return [axis for axis, _ in trace(Calling(function), SHAPE).dependence]

    assert carried(lambda x: F.layer_norm(x, (7,))) == [2, None]
    assert carried(lambda x: F.group_norm(x, 1)) == [None, None]
    assert carried(F.instance_norm) == [None, None]
    assert carried(lambda x: F.softmax(x, 1)) == [2, 3]
    assert carried(lambda x: F.softmax(x, 2)) == [None, 3]
    assert carried(lambda x: F.batch_norm(x, None, None, training=True)) == [None, None]


def test_a_product_keeps_the_axis_it_does_not_sum_over():
    def carried(function):
        return [axis for axis, _ in trace(Calling(function), SHAPE).dependence]

    assert carried(lambda x: x @ torch.rand(7, 4)) == [2, None]
    assert carried(lambda x: torch.rand(4, 5) @ x) == [None, 3]
    assert carried(lambda x: x @ x.transpose(2, 3)) == [2, None]


def test_types_follow_the_functions():
    types = []

    def function(x):
        values = x > 0.5, x.double(), x.half() + x, x.to(torch.int64), x.type_as(x > 0), x.cpu()
        types.extend(value.dtype for value in values)
        return x

    trace(Calling(function), SHAPE)
    assert types == [
        *(torch.bool, torch.float64, torch.float32, torch.int64, torch.bool, torch.float32)
    ]


def test_functions_in_place_are_those_that_say_so():
    assert torch.relu_ in IN_PLACE
    assert torch.Tensor.add_ in IN_PLACE
    assert {torch.relu, torch.Tensor.add, F.relu}.isdisjoint(IN_PLACE)


class Weighted(nn.Module):
    """Reads its parameter in the way a test asks for."""

    def __init__(self, shape, use):
        super().__init__()
        self.table = nn.Parameter(torch.rand(shape))
        self.use = use

    def forward(self, x):
        return self.use(x, self.table)


@pytest.mark.parametrize(
    ("use", "shape", "connections", "multiply_adds"),
    [
        (lambda x, w: x + w, (2, 5, 7), 70, 0),
        (lambda x, w: w - x, (2, 1, 1), 70, 0),
        (lambda x, w: x + w.view(2, 1, 1), (2,), 70, 0),
        (lambda x, w: x * w, (7,), 70, 0),
        (lambda x, w: x.add_(w), (1,), 70, 0),
        (lambda x, w: x @ w, (7, 3), 2 * 5 * 3 * 7, 2 * 5 * 3 * 7),
        (lambda x, w: w @ x, (4, 5), 2 * 4 * 7 * 5, 2 * 4 * 7 * 5),
        (lambda x, w: F.linear(x, w), (3, 7), 2 * 5 * 3 * 7, 2 * 5 * 3 * 7),
        (lambda x, w: torch.maximum(x, w), (7,), 0, 0),
        (lambda x, w: F.layer_norm(x, (7,), w), (7,), 0, 0),
        (lambda x, w: F.prelu(x, w), (2,), 0, 0),
        (lambda x, w: x + x * 2, (7,), 0, 0),
    ],
)
def test_a_parameter_counts_where_it_is_added_or_multiplied(use, shape, connections, multiply_adds):
    result = trace(Weighted(shape, use), SHAPE)
    assert (result.connections, result.multiply_adds) == (connections, multiply_adds)
    assert result.unknown == ()


def test_a_table_that_is_not_trained_counts_nothing():
    assert trace(Calling(lambda x: x + torch.ones(7)), SHAPE).connections == 0
    assert trace(Calling(lambda x: x @ torch.ones(7, 3)), SHAPE).connections == 0


def test_softmax_without_an_axis_is_named():
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        assert trace(Calling(lambda x: F.softmax(x)), (9,)).unknown == ("softmax",)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x + x[:, :1, :3], r"^add: maps of shapes .* do not fit together"),
        (lambda x: x @ x, r"^matmul: shapes \(1, 2, 5, 7\) and \(1, 2, 5, 7\) do not"),
        (lambda x: x[:, :1].add_(x), r"\(1, 2, 5, 7\) cannot be written into \(1, 1, 5, 7\)"),
        (lambda x: x.mean(5), r"a map of shape \(1, 2, 5, 7\) has no axis 5"),
    ],
)
def test_what_does_not_fit_is_refused_by_function_and_shape(function, message):
    with pytest.raises(UsageError, match=message):
        trace(Calling(function), SHAPE)
