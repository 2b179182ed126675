"""Plans: tiles cover the image once, stay within the limit, and refuse by name."""

import pytest
import torch
from torch import nn

from labelling import UNet
from striate.errors import UsageError
from striate.tiling import dimensions, memory_bytes, plan_tiles


def covered(plan):
    """Count how often each pixel is answered."""
    counts = torch.zeros(plan.shape[1:], dtype=torch.int64)
    for tile in plan.tiles:
        counts[tile.output] += 1
    return counts


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(
    ("shape", "dims"), [((1, 157, 61), 2), ((1, 3, 93, 58), 2), ((1, 41, 33, 29), 3)]
)
def test_tiles_answer_every_pixel_once_within_the_limit(padding, shape, dims):
    network = UNet(levels=2, padding=padding, dims=dims)
    whole = plan_tiles(network, shape)
    assert len(whole.tiles) == (3 if len(shape) - 1 > dims else 1)
    assert whole.waste == 0
    limit = whole.peak_bytes * 3 // 5
    plan = plan_tiles(network, shape, memory=limit)
    assert len(plan.tiles) > len(whole.tiles)
    assert plan.peak_bytes <= limit
    assert (covered(plan) == 1).all()
    assert 0 < plan.waste == 1 - plan.whole_multiply_adds / plan.multiply_adds
    for tile in plan.tiles:
        sides = [part.stop - part.start for part in tile.source]
        assert all(side <= most for side, most in zip(sides, plan.tile_shape[1:], strict=True))


def test_the_work_is_that_of_the_tiles():
    network = nn.Conv2d(1, 3, 5, padding=2)
    plan = plan_tiles(network, (1, 40, 30), memory="10KB")
    pixels = sum(
        (tile.source[0].stop - tile.source[0].start) * (tile.source[1].stop - tile.source[1].start)
        for tile in plan.tiles
    )
    assert plan.multiply_adds == pixels * 25 * 3
    assert plan.whole_multiply_adds == 1200 * 25 * 3


def test_of_two_cuts_strips_and_of_many_squares_repeat_less():
    network = nn.Sequential(*(nn.Conv2d(2, 2, 5, padding=2) for _ in range(5)))
    shape, whole = (2, 400, 400), plan_tiles(network, (2, 400, 400)).peak_bytes
    strips = plan_tiles(network, shape, memory=whole // 2)
    assert [len(p) for p in starts(strips)] == [3, 1]
    squares = plan_tiles(network, shape, memory=whole // 14)
    assert [len(p) for p in starts(squares)] == [5, 4]


def starts(plan):
    return [{tile.output[axis].start for tile in plan.tiles} for axis in range(len(plan.axes))]


def test_a_plan_says_what_is_ahead():
    said = str(plan_tiles(UNet(levels=2), (1, 157, 61), memory="150KB"))
    assert said == (
        "5 tiles of up to 48×78 pixels, 0.0 billion multiply-adds (11.5 % of them repeated), "
        "132KB of memory"
    )
    assert str(plan_tiles(UNet(levels=2), (1, 4, 4))).startswith("1 tile of 20×20 pixels, ")


@pytest.mark.parametrize("memory", ["", "much", "5 parsecs", 0, -3, "0MB", "1e3"])
def test_what_is_no_amount_of_memory_is_refused(memory):
    with pytest.raises(UsageError, match=r"memory .*: an amount is needed, for example 500MB"):
        memory_bytes(memory)


def test_a_limit_that_no_tile_meets_names_the_least_that_does():
    network = UNet(levels=2)
    with pytest.raises(UsageError, match=r"1KB of memory are too little .* give (\d+)") as caught:
        plan_tiles(network, (1, 157, 61), memory="1KB")
    least = str(caught.value).rpartition(" ")[2]
    assert plan_tiles(network, (1, 157, 61), memory=least).peak_bytes <= memory_bytes(least)


class Excited(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.mean = nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1)
        self.after = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.before(x)
        return self.after(x * self.mean(x).sigmoid())


class Placed(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, 1, 40, 30))

    def forward(self, x):
        return x + self.table


class Cumulative(nn.Module):
    def forward(self, x):
        return x.cumsum(2)


def corners():
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)


def between(layer):
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), layer, nn.Conv2d(4, 2, 1))


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (Excited, r"mean \(AdaptiveAvgPool2d\)"),
        (lambda: between(nn.GroupNorm(2, 4)), r"1 \(GroupNorm\)"),
        (lambda: between(nn.InstanceNorm2d(4)), r"1 \(InstanceNorm2d\)"),
        (lambda: between(nn.BatchNorm2d(4, track_running_stats=False)), r"1 \(BatchNorm2d\)"),
        (lambda: between(Cumulative()), r"1 \(Cumulative\)"),
        (Placed, "add"),
        (
            lambda: between(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")),
            r"1 \(Conv2d\)",
        ),
        (lambda: between(nn.Sequential(nn.MaxPool2d(2), corners())), r"1\.1 \(Upsample\)"),
    ],
)
def test_what_tiles_cannot_equal_is_refused_by_the_layers_name(network, named):
    network = network()
    whole = plan_tiles(network, (1, 40, 30))
    assert len(whole.tiles) == 1
    with pytest.raises(UsageError, match=rf"cannot equal the whole answer because of {named}; "):
        plan_tiles(network, (1, 40, 30), memory=whole.peak_bytes // 2)
    assert plan_tiles(network, (1, 40, 30), memory=whole.peak_bytes) == whole


def test_an_axis_that_is_mixed_does_not_keep_the_others_from_being_cut():
    class Rows(nn.Module):
        def forward(self, x):
            return x - x.mean(3, keepdim=True)

    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), Rows())
    plan = plan_tiles(network, (1, 40, 30), memory=plan_tiles(network, (1, 40, 30)).peak_bytes // 3)
    assert [len(p) > 1 for p in starts(plan)] == [True, False]
    assert plan.axes[1].hindrances == ("1 (Rows)",)


def test_a_network_sees_a_volume_slice_by_slice_or_whole():
    flat, deep = nn.Conv2d(1, 2, 3), nn.Conv3d(1, 2, 3)
    assert (dimensions(flat, (1, 5, 6, 7)), dimensions(deep, (1, 5, 6, 7))) == (2, 3)
    assert dimensions(nn.ReLU(), (1, 5, 6, 7)) == 3
    assert len(plan_tiles(flat, (1, 5, 6, 7)).tiles) == 5
    assert len(plan_tiles(deep, (1, 5, 6, 7)).tiles) == 1
    for network, shape in [(flat, (1, 5)), (deep, (1, 5, 6)), (flat, (1, 2, 3, 4, 5))]:
        with pytest.raises(UsageError, match=r"for a network in \d dimensions: channels and \d"):
            plan_tiles(network, shape)
