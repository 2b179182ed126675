"""Which sizes a network accepts: the papers' rules, and what really runs."""

import pytest
import torch
from torch import nn

from following import Calling
from striate.errors import UsageError
from striate.models import outline
from striate.tracing.sizes import legal_sizes
from test_tracing_readings import UNet


def test_the_unpadded_u_net_accepts_16k_plus_12():
    found = legal_sizes(UNet(), (1, 572, 572), most=300)
    assert found.whole == (188, 204, 220, 236, 252, 268, 284, 300)
    assert str(found) == "any from 188; without a dropped row or column 16k+12, from 188"


def test_a_small_u_net_accepts_what_runs():
    network = UNet(levels=3)
    found = legal_sizes(network, (1, 60, 60), most=70)
    runs = []
    for side in range(1, 71):
        try:
            network(torch.zeros(1, 1, side, side))
            runs.append(side)
        except RuntimeError:
            pass
    assert list(found.accepted) == runs
    assert found.whole == tuple(range(44, 71, 4))


def test_a_network_that_cannot_be_traced_at_all_is_refused_and_has_not_no_sizes():
    layer = Calling(lambda x: x if float(x.sum()) > 0 else -x)
    with pytest.raises(UsageError, match="needs the values of a map, but only shapes"):
        legal_sizes(layer, (3, 9, 9), most=12)
    with pytest.raises(UsageError, match=r"not a str"):
        legal_sizes("lenet5", (1, 32, 32), most=12)


def pooled(*layers):
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.MaxPool2d(2), *layers)


@pytest.mark.parametrize(
    ("network", "most", "rule"),
    [
        (lambda: pooled(), 30, "any from 4"),
        (lambda: pooled(nn.Flatten(), nn.Linear(18, 5)), 30, "8 to 9"),
        (lambda: pooled(nn.Flatten(), nn.Linear(18, 5)), 8, "8, the largest side tried"),
        (lambda: pooled(nn.Flatten(), nn.Linear(18, 5)), 7, "none from 1 to 7"),
        (lambda: Calling(lambda x: x.unflatten(2, (-1, 5))), 30, "5k, from 5"),
        (
            lambda: Calling(lambda x: x[:, :, :: 1 if len(x[0, 0]) in (2, 3, 7) else 0]),
            9,
            "2, 3, 7",
        ),
    ],
)
def test_a_rule_says_what_was_found(network, most, rule):
    found = legal_sizes(network(), (3, 9, 9), most=most)
    assert (str(found).partition(";")[0], found.most) == (rule, most)


def test_one_size_alone_is_said_to_be_exact():
    assert str(legal_sizes(outline("lenet5"), (1, 32, 32), most=40)) == "exactly 32"


def test_sides_run_along_every_axis():
    volumes = nn.Conv3d(2, 1, (3, 5, 1))
    assert str(legal_sizes(volumes, (2, 9, 9, 9), most=9)) == "any from 5"
    assert str(legal_sizes(nn.Conv1d(2, 1, 3), (2, 9), most=9)) == "any from 3"


@pytest.mark.parametrize(
    ("layer", "whole"),
    [
        (nn.MaxPool2d(3), [3, 6, 9, 12]),
        (nn.MaxPool2d(3, ceil_mode=True), range(1, 13)),
        (nn.AvgPool2d(3, 2), [3, 5, 7, 9, 11]),
        (nn.Conv2d(3, 1, 3, 2, padding=1), range(1, 13)),
        (nn.Conv2d(3, 1, 2, 2, dilation=2), [3, 5, 7, 9, 11]),
        (nn.Conv2d(3, 1, 1, 2), range(1, 13)),  # what lies between windows is not cut off
    ],
)
def test_a_row_that_no_window_reaches_is_dropped(layer, whole):
    assert legal_sizes(layer, (3, 5, 5), most=12).whole == tuple(whole)


@pytest.mark.parametrize(("shape", "most"), [((3,), 9), ((3, 5), 0)])
def test_an_empty_range_is_refused(shape, most):
    with pytest.raises(UsageError, match=r"1 or more and an input with channels"):
        legal_sizes(nn.ReLU(), shape, most=most)
