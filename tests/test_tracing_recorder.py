"""The recorder: names, attribution, constants, and writing in place."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from following import Calling, follow
from striate.errors import UsageError
from striate.layers import Counts
from striate.tracing import trace

SHAPE = (2, 5, 7)


def names(network, shape=SHAPE):
    return [layer.name for layer in trace(network, shape).layers]


def counts(network, shape):
    layers = trace(network, shape).layers
    return {layer.name: (layer.parameters, layer.connections) for layer in layers}


def test_functions_are_numbered_and_leave_a_module_its_name():
    class Clash(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.relu_3 = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.relu(self.relu_3(F.relu(torch.relu(F.relu(self.relu(x))))))

    assert names(Clash()) == ["relu", "relu_2", "relu_4", "relu_5", "relu_3", "relu_6"]


def test_functions_are_named_by_the_module_that_calls_them():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x):
            return self.act(x + 1).mean((2, 3))

    network = nn.Sequential(nn.ReLU(), nn.Sequential(Inner()))
    assert names(network) == ["0", "1.0.add", "1.0.act", "1.0.mean"]


def test_a_module_the_network_does_not_list_is_named_by_its_class():
    hidden = [nn.Conv2d(2, 3, 3)]
    result = trace(Calling(lambda x: hidden[0](x)), SHAPE)
    assert [(layer.name, layer.parameters) for layer in result.layers] == [("Conv2d", 57)]
    assert result.parameters == 0


def test_a_layer_that_states_its_counts_is_believed_and_kept_whole():
    class Stated(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Conv2d(2, 3, 3)

        def forward(self, x):
            return self.inner(x).square()

        def counts(self, output_shape):
            return Counts(sum(output_shape), 7)

    (layer,) = trace(nn.Sequential(Stated()), SHAPE).layers
    assert (layer.kind, layer.parameters) == ("Stated", 57)
    assert (layer.connections, layer.multiply_adds) == (1 + 3 + 3 + 5, 7)
    assert layer.receptive_field == (3, 3)


def test_a_buffer_called_counts_states_nothing():
    layer = nn.Conv2d(2, 3, 3)
    layer.register_buffer("counts", torch.zeros(3))
    assert trace(layer, SHAPE).connections == 3 * 15 * 19


def test_questions_and_constants_are_no_layers():
    def function(x):
        assert (x.dim(), x.size(2), len(x), x.numel()) == (4, 5, 1, 70)
        assert x.shape == (1, *SHAPE)
        assert (x.dtype, x.is_floating_point(), x.requires_grad) == (torch.float32, True, False)
        noise = torch.zeros_like(x) + torch.zeros(7) + x.new_ones(5, 7)
        return x * noise

    assert names(Calling(function)) == ["mul"]


def test_a_tied_weight_is_counted_at_its_first_use():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode = nn.Linear(7, 3, bias=False)

        def forward(self, x):
            return F.linear(self.encode(x), self.encode.weight.t())

    assert counts(Tied(), (7,)) == {"encode": (21, 21), "linear": (0, 21)}


def test_a_network_of_functions_alone_is_told_function_by_function():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel, self.bias = nn.Parameter(torch.ones(3, 2, 5)), nn.Parameter(torch.ones(3))

        def forward(self, x):
            return torch.tanh(F.conv1d(x, self.kernel) + self.bias.view(3, 1))

    assert counts(Bare(), (2, 11)) == {"conv1d": (30, 210), "add": (3, 21), "tanh": (0, 0)}


def test_a_module_that_only_makes_weights_is_no_layer():
    class Normal(nn.Module):
        def forward(self, weight):
            return weight / weight.norm()

    network = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False))
    nn.utils.parametrize.register_parametrization(network[0], "weight", Normal())
    result = trace(network, SHAPE)
    assert [(layer.name, layer.parameters) for layer in result.layers] == [("0.conv2d", 54)]
    assert result.connections == 3 * 15 * 18


def test_values_of_constants_may_be_asked_for():
    class Deciding(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.tensor(3))

        def forward(self, x):
            for _ in range(int(self.steps)):
                x = F.avg_pool2d(x, 2, 1)
            return x

    assert trace(Deciding(), SHAPE).output_shape == (2, 2, 4)


def test_the_dtype_of_the_network_is_the_input_s():
    seen = []
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3).double(), Calling(lambda x: seen.append(x.dtype) or x)
    )
    trace(network, SHAPE)
    assert seen == [torch.float64]


def test_an_attention_layer_is_named_with_its_parameters():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x)[0]

    result = trace(Attending(), (5, 6))
    assert result.output_shape == (5, 6)
    assert result.unknown == ("attention.multi_head_attention_forward",)
    assert sum(layer.parameters for layer in result.layers) == result.parameters == 4 * 6 * 7


WRITES = {
    "added in place": lambda x: x.clone().add_(x.flip(2)),
    "operator": lambda x: augmented(x.clone(), x.flip(2)),
    "item set": lambda x: item_set(torch.zeros(1, 2, 5, 7, dtype=x.dtype), x),
    "item set on a map": lambda x: item_set(x.clone(), x.flip(3)),
    "through a view": lambda x: through_a_view(x.clone(), x.flip(2)),
    "through a view of a view": lambda x: through_a_view(x.clone(), x.flip(3), depth=2),
    "through data": lambda x: through_data(x.clone(), x.flip(2)),
    "copied into a constant": lambda x: torch.zeros(1, 2, 5, 7, dtype=x.dtype).copy_(x),
    "added to a constant": lambda x: torch.zeros(1, 2, 5, 7, dtype=x.dtype).add_(x),
    "into out": lambda x: torch.cumsum(x, 2),
}


def augmented(x, y):
    x += y
    return x


def item_set(x, y):
    x[:, :1] = y[:, 1:]
    return x


def through_a_view(x, y, depth=1):
    view = x[:, :1]
    for _ in range(depth - 1):
        view = view.transpose(2, 3).transpose(3, 2)
    view.add_(y[:, 1:])
    return x


def through_data(x, y):
    x.data.add_(y)
    return x


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_in_place_is_depended_on(name):
    follow(WRITES[name], SHAPE, exact=False)


def test_writing_in_place_keeps_the_intervals():
    result = trace(Calling(lambda x: x.relu_().add_(1).mul_(x)), SHAPE)
    assert [axis for axis, _ in result.dependence] == [2, 3]
    result = trace(Calling(lambda x: (x[:, :1].relu_(), x)[1]), SHAPE)
    assert [axis for axis, _ in result.dependence] == [2, 3]
    for write in (through_a_view, through_data):
        result = trace(Calling(lambda x, write=write: write(x, 2 * x)), SHAPE)
        assert [axis for axis, _ in result.dependence] == [None, None]


def test_what_is_written_into_is_what_comes_back():
    def function(x):
        constant = torch.zeros(1, 2, 5, 7)
        assert constant.copy_(x) is constant
        assert x.relu_() is x
        return constant

    assert trace(Calling(function), SHAPE).unknown == ("copy",)


def test_an_unknown_form_of_a_known_function_is_named():
    result = trace(Calling(lambda x: torch.relu(torch.sum(x, axis=2))), SHAPE)
    assert (result.output_shape, result.unknown) == ((2, 7), ("sum",))
    result = trace(Calling(lambda x: torch.add(x, 1, out=torch.empty_like(x))), SHAPE)
    assert result.unknown == ("add",)


def test_a_stranger_s_function_of_a_known_name_is_not_mistaken():
    result = trace(Calling(lambda x: torch.ops.aten.relu(x)), SHAPE)
    assert result.unknown == ("relu",)
    assert [axis for axis, _ in result.dependence] == [None, None]


def test_a_mistake_inside_a_rule_is_not_hidden():
    with pytest.raises(TypeError, match="Rational"):
        trace(Calling(lambda x: F.interpolate(x, size=2.5)), SHAPE)


def test_what_torch_refuses_is_refused_with_the_layer():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Bilinear(4, 5, 6))
    with pytest.raises(
        UsageError, match=r"^1 \(Calling\): bilinear failed on shapes alone: .*size does not match"
    ):
        trace(nn.Sequential(network[0], Calling(lambda x: network[1](x, x))), SHAPE)
