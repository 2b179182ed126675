"""The network of 1989 and its dense rival against the counts of LeCun et al. (1989)."""

import pytest
import torch
from torch.nn import functional as F

from striate.models.lecun1989 import H2_TABLE, Dense1989, LeCun1989, LeCun1989ReLU
from striate.tracing import trace

# Weights + biases of each layer, and LeCun's count of connections.
PAPER_PARAMETERS = {"h1": 300 + 768, "h2": 2_400 + 192, "h3": 5_790, "output": 310}
PAPER_CONNECTIONS = {"h1": 19_968, "h2": 38_592, "h3": 5_790, "output": 310}


@pytest.fixture
def network():
    torch.manual_seed(1989)
    return LeCun1989()


def test_every_count_of_the_paper_holds(network):
    assert {
        name: sum(p.numel() for n, p in network.named_parameters() if n.startswith(name))
        for name in PAPER_PARAMETERS
    } == PAPER_PARAMETERS
    traced = trace(network, (1, 16, 16))
    assert (traced.parameters, traced.connections) == (9_760, 64_660)
    # The biases of H1 and H2 are added outside their convolutions: one connection a unit.
    counts = [layer.connections for layer in traced.layers if layer.connections]
    assert counts == [19_968 - 768, 768, 38_592 - 192, 192, 5_790, 310]


def test_each_map_of_h2_reads_8_of_12_and_each_map_of_h1_has_8_readers():
    assert [len(maps) for maps in H2_TABLE] == [8] * 12
    assert [sum(i in maps for maps in H2_TABLE) for i in range(12)] == [8] * 12


def test_windows_that_hang_over_the_border_read_minus_one(network):
    images = torch.rand(3, 1, 16, 16)
    framed = torch.full((3, 1, 20, 20), -1.0)
    framed[:, :, 2:18, 2:18] = images
    h1 = 1.7159 * torch.tanh(
        (F.conv2d(framed, network.h1.weight, stride=2) + network.h1_bias) * 2 / 3
    )
    seen = []
    network.h2.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    network(images)
    assert torch.allclose(seen[0][:, :, 2:10, 2:10], h1)
    assert (seen[0][:, :, :2] == -1).all()


def test_the_dense_rival_has_10_690_weights():
    assert trace(Dense1989(), (1, 16, 16)).parameters == 10_690


def test_other_sizes_are_refused(network):
    with pytest.raises(ValueError, match=r"16x16, not \(7, 1, 28, 28\)"):
        network(torch.zeros(7, 1, 28, 28))


def test_the_network_of_today_has_the_same_layers_wider():
    network = LeCun1989ReLU().eval()
    layers = {layer.name: layer for layer in trace(network, (1, 28, 28)).layers}
    shapes = {name: tuple(layers[name].output_shape) for name in ("h1", "h2", "h3", "output")}
    assert shapes == {"h1": (16, 12, 12), "h2": (32, 4, 4), "h3": (128,), "output": (10,)}
    images = torch.randn(3, 1, 28, 28)
    x = images
    for convolution, norm in ((network.h1, network.norm1), (network.h2, network.norm2)):
        x = F.relu(norm(F.conv2d(x, convolution.weight, stride=2)))
    x = F.relu(network.norm3(x.flatten(1) @ network.h3.weight.T))
    assert torch.allclose(network(images), network.output(x), atol=1e-5)
