"""Overlapping tiles: their weights, and what they are said to be."""

import pytest
import torch
from torch import nn

from labelling import UNet
from striate.errors import UsageError
from striate.tiled_prediction import predict_tiled, run_plan, whole
from striate.tiling import plan_tiles
from striate.tiling.blending import blended_tiles, weight_of


def normed(dims=2):
    """A network that mixes the whole image, if only a little."""
    torch.manual_seed(0)
    network = UNet(levels=3, padding=1, dims=dims)
    network.down[0].insert(1, nn.GroupNorm(1, 2))
    return network


SHAPES = [((1, 157, 93), 2), ((1, 2, 157, 93), 2), ((1, 61, 57, 45), 3)]


@pytest.mark.parametrize(("shape", "dims"), SHAPES)
def test_weights_of_all_tiles_add_up_to_one_at_every_pixel(shape, dims):
    network = normed(dims)
    limit = plan_tiles(network, shape).peak_bytes // 2
    plan = plan_tiles(network, shape, memory=limit, blend=True)
    assert plan.peak_bytes <= limit
    total = torch.zeros(shape[1:])
    for tile in plan.tiles:
        weight = torch.from_numpy(weight_of(plan.blending, tile.output[-dims:]))
        assert weight.min() > 0
        total[tile.output] += weight.reshape(total[tile.output].shape)
    torch.testing.assert_close(total, torch.ones_like(total))


class Neutral(nn.Module):
    """Mix the whole image, and leave it as it was."""

    def forward(self, x):
        return x + 0 * x.mean([*range(2, x.ndim)], keepdim=True)


@pytest.mark.parametrize(("shape", "dims"), SHAPES)
def test_where_all_tiles_are_right_so_is_what_is_blended(shape, dims):
    network = nn.Sequential({2: nn.Conv2d, 3: nn.Conv3d}[dims](1, 3, 1), nn.ReLU(), Neutral())
    image = torch.rand(shape)
    limit = plan_tiles(network, shape).peak_bytes // 2
    answer = predict_tiled(network, image, memory=limit, return_logits=True, blend=True)
    torch.testing.assert_close(answer, whole(network, image), atol=1e-6, rtol=0)


def test_a_blended_answer_is_near_and_without_a_seam():
    network, image = normed(), torch.rand(1, 157, 93)
    expected = whole(network, image)
    limit = plan_tiles(network, (1, 157, 93)).peak_bytes // 2
    with pytest.raises(UsageError, match=r"because of down\.0\.1 \(GroupNorm\); give"):
        predict_tiled(network, image, memory=limit)
    answer = predict_tiled(network, image, memory=limit, blend=True, return_logits=True)
    difference = (answer - expected).abs() / expected.abs().max()
    assert 0 < difference.max() < 0.1
    steps = difference.diff(dim=1).abs().max(), difference.diff(dim=2).abs().max()
    assert max(steps) < 0.05


def test_the_plan_says_so_and_exact_ones_say_nothing():
    network = normed()
    needed = plan_tiles(network, (1, 157, 93)).peak_bytes
    plan = plan_tiles(network, (1, 157, 93), memory=needed // 2, blend=True)
    assert plan.notice.startswith("tiles overlap and are blended, near the whole answer, not ")
    assert "down.0.1 (GroupNorm)" in plan.notice
    exact = plan_tiles(network, (1, 157, 93), memory=needed, blend=True)
    assert exact.notice == ""
    assert exact.blending == ()
    tiled = plan_tiles(UNet(levels=2), (1, 157, 93), memory="150KB", blend=True)
    assert tiled.notice == ""


@pytest.mark.parametrize(("shape", "dims"), SHAPES[:2])
def test_bands_that_were_finished_are_left_out(shape, dims):
    network, image = normed(dims), torch.rand(shape)
    plan = plan_tiles(network, shape, memory=plan_tiles(network, shape).peak_bytes // 3, blend=True)
    expected = torch.full((plan.classes, *shape[1:]), torch.nan)
    regions = []

    def read(region):
        return image[(slice(None), *region)]

    def write(region, logits):
        assert expected[(slice(None), *region)].isnan().all()
        expected[(slice(None), *region)] = logits
        regions.append(region)

    steps = []
    run_plan(network, plan, read, write, progress=lambda *step: steps.append(step))
    assert not expected.isnan().any()
    assert steps == [(n + 1, len(regions)) for n in range(len(regions))]
    assert len(regions) > 2
    for missing in range(len(regions)):
        done, written = set(range(len(regions))) - {missing}, []

        def check(region, logits, written=written):
            torch.testing.assert_close(logits, expected[(slice(None), *region)], atol=0, rtol=0)
            written.append(region)

        run_plan(network, plan, read, check, done=done)
        assert written == [regions[missing]]


def test_a_limit_below_the_smallest_tile_is_refused():
    with pytest.raises(UsageError, match=r"too little for tiles of 16×16 pixels; give \d"):
        blended_tiles(normed(), (1, 157, 93), 1000)
