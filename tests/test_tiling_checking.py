"""Plans of networks that do what a trace does not see are refused when they are made."""

import pytest
import torch
from torch import nn

from labelling import UNet
from striate.errors import UsageError
from striate.tiling import plan_tiles
from striate.tiling.checking import check_tiles, first_tensor
from striate.tiling.fitting import fit_axes


class Sized(nn.Module):
    """Divide by the length of an axis."""

    def __init__(self, axis):
        super().__init__()
        self.layer, self.axis = nn.Conv2d(1, 2, 3, padding=1), axis

    def forward(self, x):
        return self.layer(x) / x.shape[self.axis]


@pytest.mark.parametrize("axis", [2, 3])
def test_what_depends_on_the_size_is_found_along_its_axis(axis):
    network = Sized(axis)
    axes, _, _ = fit_axes(network, (1, 40, 30))
    with pytest.raises(UsageError, match=r"do not equal the whole: tried on \d+ pixels"):
        check_tiles(network, 1, axes, axis - 2)
    check_tiles(network, 1, axes, 3 - axis)
    with pytest.raises(UsageError, match="depends on more than a trace sees"):
        plan_tiles(network, (1, 40, 30), memory="3KB")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_honest_networks_pass_and_keep_their_mode(padding, dims):
    network = UNet(levels=3, padding=padding, dims=dims).train()
    axes, _, _ = fit_axes(network, (1, 60, 70, 65)[: dims + 1])
    for place in range(dims):
        check_tiles(network, 1, axes, place)
    assert network.training


def test_an_overlap_too_small_would_be_found():
    network = nn.Conv2d(1, 1, 9, padding=4)
    axes, _, _ = fit_axes(network, (1, 60, 70))
    check_tiles(network, 1, axes, 0)
    for wrong in (axes[0]._replace(front=3), axes[0]._replace(back=3)):
        with pytest.raises(UsageError, match="do not equal the whole"):
            check_tiles(network, 1, [wrong, axes[1]], 0)


def test_the_first_of_several_answers_is_the_networks():
    one, other = torch.zeros(1), torch.zeros(2)
    assert first_tensor({"out": [one, other], "aux": other}) is one
