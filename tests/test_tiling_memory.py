"""The memory of a run without numbers is that of a run with them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from labelling import UNet
from striate.tiling.memory import _Meter, peak_bytes
from striate.tracing import trace


class Joined(nn.Module):
    """Normalise, join maps of different types and shapes, write in place."""

    def __init__(self):
        super().__init__()
        self.norm, self.prelu = nn.BatchNorm2d(1), nn.PReLU()

    def forward(self, x):
        x = self.prelu(self.norm(x))
        y = torch.cat([x, (x + x[:, :, :1]).double().tanh()], -1)
        return y.mul_(2).sigmoid_() * (y > 0)


@pytest.mark.parametrize(
    "network", [UNet(levels=3), UNet(levels=2, padding=1), nn.MaxPool2d(2), Joined()]
)
def test_it_is_what_a_real_run_holds_at_most(network):
    meter = _Meter()
    with torch.no_grad(), meter:
        image = torch.rand(1, 1, 60, 52)
        network.eval()(image)
    # Drawing numbers takes two tensors on the way, smaller than the maps.
    assert peak_bytes(network, (1, 60, 52)) == meter.most


def test_what_forward_still_holds_counts_and_weights_do_not():
    class Holding(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Conv2d(1, 1, 99, padding=49)

        def forward(self, x):
            one = x + 1
            two = one + 1
            three = two + 1
            return three + 1 if one is not two else one

    assert peak_bytes(Holding(), (1, 10, 10)) == 5 * 400
    assert trace(Holding(), (1, 10, 10)).inference_bytes == 2 * 400


def test_where_a_network_asks_for_values_the_trace_answers():
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.scale = nn.Conv2d(1, 8, 1), [torch.ones(1)]

        def forward(self, x):
            return self.layer(x) * self.scale[0].expand(8, 1, 1).contiguous()

    network = Asking()
    assert peak_bytes(network, (1, 10, 10)) >= trace(network, (1, 10, 10)).inference_bytes
    assert network.training


MEASURED = """
import sys, torch
from torch import nn
from labelling import UNet
from striate.tiling.memory import peak_bytes
network = UNet(levels=2, padding=1)
network.down[0].append(nn.BatchNorm2d(2))
network.down[0].append(nn.PReLU())
network.down[0].append(nn.ELU())
peak_bytes(network, (1, 20, 20))
print("torch._dynamo" in sys.modules)
"""


def test_measuring_does_not_import_the_compiler():
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.stdout == "False\n"
