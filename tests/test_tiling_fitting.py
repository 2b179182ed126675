"""The whole input: legal sizes, margins, steps; against the paper and by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labelling import UNet
from striate.errors import UsageError
from striate.tiling.fitting import fit_axes


@pytest.mark.parametrize(("image", "size"), [(388, 572), (389, 588), (512, 700), (3, 188)])
def test_the_u_net_takes_16k_plus_12_and_loses_92_on_each_side(image, size):
    (axis, other), classes, _ = fit_axes(UNet(levels=5, width=1), (1, image, 388))
    assert (axis.size, axis.before, axis.outputs, axis.step) == (size, 92, size - 184, 16)
    assert (axis.front, axis.back) == (0, 0)
    assert (other.size, other.outputs) == (572, 388)
    assert classes == 3


@pytest.mark.parametrize(("image", "size"), [(16, 16), (17, 32), (5, 16), (100, 112)])
def test_a_padded_network_is_shown_the_next_multiple(image, size):
    (axis, other), _, _ = fit_axes(UNet(levels=5, width=1, padding=1), (1, image, 48))
    assert (axis.size, axis.before, axis.outputs) == (size, 0, size)
    assert other.size == 48


def test_the_axes_are_fitted_each_by_itself():
    network = nn.Sequential(
        nn.MaxPool2d((1, 4)), nn.Conv2d(1, 2, (3, 1)), nn.ConvTranspose2d(2, 2, (1, 4), (1, 4))
    )
    (rows, columns), _, products = fit_axes(network, (1, 7, 9))
    assert (rows.size, rows.before, rows.outputs, rows.step) == (9, 1, 7, 1)
    assert (columns.size, columns.outputs, columns.step) == (12, 12, 4)
    assert products == 7 * 3 * 3 * 2 + 7 * 3 * 4 * 2 * 2


def test_a_size_at_which_maps_are_resized_unevenly_gives_way_to_the_next_even_one():
    class Resized(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3, padding=1)

        def forward(self, x):
            small = F.max_pool2d(self.layer(x), 4)
            return F.interpolate(small, x.shape[2:], mode="bilinear")

    (axis, other), _, _ = fit_axes(Resized(), (1, 66, 68))
    assert (axis.size, other.size, axis.step) == (68, 68, 4)


def test_what_was_found_is_known_until_the_network_is_built_anew(monkeypatch):
    network = nn.Sequential(nn.Conv2d(1, 2, 3))
    first = fit_axes(network, (1, 9, 9))
    assert fit_axes(network, (1, 9, 9)) is first
    network.append(nn.Conv2d(2, 2, 3))
    assert fit_axes(network, (1, 9, 9)).axes[0].before == 2
    for side in range(10, 100):
        fit_axes(network, (1, side, 9))
    again = fit_axes(network, (1, 9, 9))
    assert again.axes[0].before == 2


class Pooled(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(98, 5)), "no input of a size"),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "one that labels",
        ),
        (nn.Conv2d(1, 2, 1, padding=1), r"the network answers \(2, 11, 11\).*at most a value a"),
        (nn.Conv2d(3, 2, 1), "no input of a size near the image's is accepted: .*channels"),
    ],
)
def test_what_does_not_label_pixels_is_refused(network, words):
    with pytest.raises(UsageError, match=words):
        fit_axes(network, (1, 9, 9))


def test_the_network_is_left_as_it_was():
    network = UNet(levels=2).train()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit_axes(network, (1, 50, 50))
    assert network.training
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
