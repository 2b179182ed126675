"""Memory, grid and tiles: against what PyTorch really keeps, by hand, and against the papers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from following import Calling
from striate.layers import Dropout
from striate.tracing import trace

SHAPE = (2, 9, 12)


def kept_by_autograd(network, shape):
    """Add up the maps that a run keeps for the way back, each memory once [bytes].

    Weights are told by their memory, the statistics of a normalisation by being few.
    """
    weights = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    sizes = {}
    alive = []

    def keep(tensor):
        memory = tensor.untyped_storage()
        if tensor.ndim > 1 and tensor.numel() > 1 and memory.data_ptr() not in weights:
            sizes[memory.data_ptr()] = memory.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network.eval()(torch.rand(1, *shape))
    assert output.requires_grad
    return sum(sizes.values())


def behind(*layers):
    """Put layers between convolutions, so that all of them are on the way back."""
    return nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), *layers, nn.Conv2d(8, 3, 1))


def function(function):
    return behind(Calling(function))


KEEPING = {
    "convolution": lambda: behind(),
    "transposed": lambda: behind(nn.ConvTranspose2d(8, 8, 2, 2)),
    "relu": lambda: behind(nn.ReLU()),
    "relu in place": lambda: behind(nn.ReLU(inplace=True)),
    "two relus": lambda: behind(nn.ReLU(), nn.ReLU()),
    "sigmoid": lambda: behind(nn.Sigmoid()),
    "tanh": lambda: behind(nn.Tanh()),
    "leaky relu": lambda: behind(nn.LeakyReLU()),
    "prelu": lambda: behind(nn.PReLU(8)),
    "gelu": lambda: behind(nn.GELU()),
    "silu": lambda: behind(nn.SiLU()),
    "elu": lambda: behind(nn.ELU()),
    "relu6": lambda: behind(nn.ReLU6()),
    "hardswish": lambda: behind(nn.Hardswish()),
    "softplus": lambda: behind(nn.Softplus()),
    "batch norm": lambda: behind(nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
    "group norm": lambda: behind(nn.GroupNorm(1, 8)),
    "instance norm": lambda: behind(nn.InstanceNorm2d(8)),
    "local response": lambda: behind(nn.LocalResponseNorm(1)),
    "max pooling": lambda: behind(nn.MaxPool2d(2)),
    "max pooling, overlapping": lambda: behind(nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    "average pooling": lambda: behind(nn.AvgPool2d(2)),
    "adaptive pooling": lambda: behind(nn.AdaptiveAvgPool2d((3, 2))),
    "global pooling": lambda: behind(nn.AdaptiveAvgPool2d(1)),
    "mean": lambda: function(lambda x: x.mean((2, 3), keepdim=True)),
    "dropout": lambda: behind(nn.Dropout(), Dropout()),
    "sum": lambda: function(lambda x: x + 2 * x),
    "product": lambda: function(lambda x: torch.sigmoid(x) * x),
    "square": lambda: function(lambda x: x * x),
    "quotient": lambda: function(lambda x: x / torch.exp(x)),
    "softmax": lambda: behind(nn.Softmax(1)),
    "cat": lambda: function(lambda x: torch.cat([x[:, :4], x[:, 4:]], 1)),
    "views": lambda: function(lambda x: F.relu(x.flatten(2).unflatten(2, x.shape[2:]))),
    "padding": lambda: function(lambda x: F.pad(x, (1, 1, 2, 2))),
    "interpolation": lambda: behind(nn.Upsample(scale_factor=2)),
    "maximum": lambda: function(lambda x: torch.maximum(x, x.flip(2))),
    "linear": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(210, 5), nn.Tanh()),
    "frozen linear": lambda: behind(
        Calling(lambda x: 2 * x), nn.Linear(12, 5).requires_grad_(False), nn.Conv2d(8, 8, 1)
    ),
    "first layers of no weight": lambda: nn.Sequential(nn.Sigmoid(), nn.MaxPool2d(2), behind()),
    "frozen on the way": lambda: behind(
        *(nn.Tanh(), nn.Conv2d(8, 8, 3).requires_grad_(False), nn.BatchNorm2d(8)),
        *(Calling(lambda x: 2 * x), nn.Conv2d(8, 8, 1).requires_grad_(False)),
    ),
    "frozen": lambda: nn.Sequential(nn.Conv2d(2, 2, 3).requires_grad_(False), nn.Tanh(), behind()),
}


@pytest.mark.parametrize("name", KEEPING)
def test_training_memory_is_what_autograd_keeps(name):
    network = KEEPING[name]()
    assert trace(network, SHAPE).training_bytes == kept_by_autograd(network, SHAPE)


def test_a_network_that_does_not_train_keeps_nothing():
    assert trace(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), SHAPE).training_bytes == 0


def alive(network, shape):
    """Give the reading in values of four bytes."""
    result = trace(network, shape)
    assert result.inference_bytes % 4 == 0
    return result.inference_bytes // 4


class Skipping(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(c, 8, 1) for c in (2, 8, 8))

    def forward(self, x):
        early = self.one(x)
        late = self.three(self.two(early).relu_())
        return late + early


def test_inference_memory_is_the_largest_set_of_maps_alive_at_once():
    pixels = 9 * 12
    widths = nn.Sequential(nn.Conv2d(2, 8, 1), nn.Conv2d(8, 16, 1), nn.Conv2d(16, 1, 1))
    assert alive(widths, SHAPE) == (8 + 16) * pixels
    assert alive(nn.Sequential(nn.Conv2d(2, 1, 1), nn.Conv2d(1, 1, 1)), SHAPE) == (2 + 1) * pixels
    assert alive(Skipping(), SHAPE) == 3 * 8 * pixels  # the skip, what is read, what is made
    in_place = nn.Sequential(nn.Conv2d(2, 8, 1), nn.ReLU(inplace=True), nn.Flatten(), Dropout())
    assert alive(in_place, SHAPE) == (2 + 8) * pixels
    assert alive(nn.Sequential(nn.Conv2d(2, 8, 1), nn.ReLU()), SHAPE) == 2 * 8 * pixels
    assert alive(Calling(lambda x: (x.relu(), x.tanh(), x.sigmoid())), SHAPE) == 4 * 2 * pixels
    assert alive(nn.Sequential(), SHAPE) == 2 * pixels


def test_a_view_keeps_the_whole_map_alive():
    def function(x):
        view = F.relu(x)[:, :1]
        for _ in range(3):
            x = x.tanh()
        return x[:, :1] + view

    assert alive(Calling(function), SHAPE) == (2 + 2 + 2) * 9 * 12


def test_memory_follows_the_type_of_the_values():
    layer = nn.Conv2d(2, 8, 1)
    assert trace(layer.half(), SHAPE).inference_bytes == 2 * 10 * 108
    assert trace(layer.double(), SHAPE).training_bytes == 8 * 2 * 108


class UNet(nn.Module):
    """The network of Ronneberger et al., 2015, with one map a level."""

    def __init__(self, levels=5):
        super().__init__()

        def twice(maps):
            return nn.Sequential(nn.Conv2d(maps, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3), nn.ReLU())

        self.down = nn.ModuleList(twice(1) for _ in range(levels))
        self.up = nn.ModuleList(nn.ConvTranspose2d(1, 1, 2, 2) for _ in range(levels - 1))
        self.merge = nn.ModuleList(twice(2) for _ in range(levels - 1))

    def forward(self, x):
        skips = []
        for level in self.down[:-1]:
            skips.append(level(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.down[-1](x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            x = up(x)
            top, left = ((a - b) // 2 for a, b in zip(skip.shape[2:], x.shape[2:], strict=True))
            crop = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
            x = merge(torch.cat([crop, x], 1))
        return x


def test_the_u_net_needs_its_92_pixels_and_what_its_grid_adds():
    result = trace(UNet(), (1, 572, 572))
    assert result.output_shape == (1, 388, 388)
    assert result.alignment == (16, 16)
    # An output at the start of a cell of 16 loses 92 pixels before it; the last one of a cell
    # looks from the same cell, so up to 15 more.
    before, behind_it = result.halo[0]
    intervals = result.dependence[0].intervals
    assert before == max(92 + i - first for i, first in enumerate(intervals.first.tolist()))
    assert behind_it == max(last - 92 - i for i, last in enumerate(intervals.last.tolist()))
    assert before == 92 + 15


@pytest.mark.parametrize(
    ("network", "step", "halo"),
    [
        (lambda: nn.Conv2d(2, 3, 5, padding=2), (1, 1), ((2, 2), (2, 2))),
        (lambda: nn.Conv2d(2, 3, (3, 5)), (1, 1), ((1, 1), (2, 2))),
        (lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), dilation=(1, 2)), (1, 1), ((1, 1), (2, 2))),
        (lambda: nn.Sequential(nn.MaxPool2d(3), nn.MaxPool2d((1, 2))), (3, 6), ((0, 0), (0, 0))),
        (lambda: nn.Sequential(nn.MaxPool2d(3), nn.AdaptiveAvgPool2d(1)), (3, 3), (None, None)),
        (
            lambda: nn.Sequential(nn.MaxPool2d(3), nn.ConvTranspose2d(2, 2, 3, 3)),
            *((3, 3), ((2, 2), (2, 2))),
        ),
        (
            lambda: Calling(lambda x: (F.max_pool2d(x, 2), F.max_pool2d(x, 3))),
            *((6, 6), ((1, 0), (0, 0))),  # of nine rows, one is dropped: half of it at each border
        ),
        (lambda: Calling(lambda x: x.flip(3)), (1, 1), ((0, 0), None)),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(216, 4)), (1, 1), (None, None)),
    ],
)
def test_grid_and_halo_of_small_networks(network, step, halo):
    result = trace(network(), SHAPE)
    assert (result.alignment, result.halo) == (step, halo)


def test_moving_the_image_by_the_alignment_moves_every_map_by_whole_indices():
    network = nn.Sequential(
        *(nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(2, 1, 3)),
        nn.ConvTranspose2d(1, 1, 4, 2),
    ).double()
    (step, _) = trace(network, (1, 80, 80)).alignment
    assert step == 4
    image = torch.rand(1, 1, 80, 80, dtype=torch.float64)
    here, there = network(image), network(image.roll((step, step), (2, 3)))
    index = 2  # the output has two indices for each step of 4
    inside = slice(12, 24)
    shifted = slice(12 + index, 24 + index)
    torch.testing.assert_close(there[:, :, shifted, shifted], here[:, :, inside, inside])
