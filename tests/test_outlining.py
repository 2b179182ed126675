"""Networks without weights: the same counts, no memory, and nothing left behind."""

import pytest
import torch
from torch import nn

from striate.models import NETWORKS, build, outline
from striate.outlining import Outlining
from striate.tracing import trace


class Initial(nn.Module):
    """Draws its weights in all the ways that papers' files do."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
        self.kernels = nn.Parameter(torch.empty(7, 3).uniform_(-1, 1) * torch.tensor([1.0, 2, 3]))
        self.register_buffer("table", torch.tensor([(0, 1), (2, 2)])[:, 0] * 2)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        with torch.no_grad():
            self.conv.bias.fill_(0.5)
            self.conv.weight.mul_(0.1).clamp_(-1, 1)
            self.conv.weight[0, 0].zero_()
            self.conv.weight.copy_(torch.rand(5, 3, 3, 3))

    def forward(self, x):
        return self.norm(self.conv(x))[:, self.table.tolist()[1]] + self.kernels.sum()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_counts_the_same_with_and_without_weights(name):
    shape = NETWORKS[name].input_shape
    network = outline(name)
    real = sum(p.numel() for p in network.parameters() if not p.is_meta)  # biases made of zeros
    assert real * 5 < sum(p.numel() for p in network.parameters())
    assert trace(network, shape).to_dict() == trace(build(name), shape).to_dict()
    wide = outline(name, in_channels=shape[0] + 1, num_classes=7)
    traced = trace(wide, (shape[0] + 1, *shape[1:]))
    assert traced.output_shape == (7, *trace(network, shape).output_shape[1:])


def test_weights_take_no_memory_and_constants_are_real():
    with Outlining():
        network = Initial()
        huge = nn.Linear(10**7, 10**7)
    assert huge.weight.is_meta
    assert network.conv.weight.is_meta
    assert (network.kernels.is_meta, network.kernels.shape) == (True, (7, 3))
    assert network.table.tolist() == [0, 4]
    assert trace(network, (3, 9, 8)).to_dict() == trace(Initial(), (3, 9, 8)).to_dict()


def test_afterwards_weights_are_drawn_as_before():
    drawing = nn.init.kaiming_uniform_
    with pytest.raises(ValueError, match="divisible"), Outlining():
        nn.Conv2d(3, 5, 3, groups=2)
    assert nn.init.kaiming_uniform_ is drawing
    torch.manual_seed(3)
    layer = nn.Linear(5, 5)
    torch.manual_seed(3)
    with Outlining():
        nn.Linear(7, 7)
    assert torch.equal(nn.Linear(5, 5).weight, layer.weight)  # and nothing was drawn inside
