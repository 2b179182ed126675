"""Tiled equals whole: random networks, sizes and limits of memory; and what is refused."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from conftest import real_data
from labelling import UNet, networks
from striate.dense_form import dense
from striate.errors import DataError, UsageError
from striate.models import build
from striate.tiled_prediction import labels_of, predict_tiled, run_in_strips, run_plan, whole
from striate.tiling import memory_bytes, plan_tiles

SIDES = {2: (5, 120), 3: (3, 40)}
UNHURRIED = list(HealthCheck)


def a_plan(network, shape, share):
    """Cut to a share of the memory of the whole, or to the first larger one that suffices."""
    needed = plan_tiles(network, shape).peak_bytes
    while share < 1:
        with suppress(UsageError):
            return plan_tiles(network, shape, memory=max(int(needed * share), 1))
        share *= 1.5
    return plan_tiles(network, shape, memory=needed)


def run(network, image, plan):
    answer = torch.full((plan.classes, *plan.shape[1:]), torch.nan, dtype=torch.float64)

    def write(region, logits):
        assert answer[(slice(None), *region)].isnan().all()
        answer[(slice(None), *region)] = logits

    run_plan(network, plan, lambda region: image[(slice(None), *region)], write)
    return answer


@pytest.mark.parametrize(("dims", "least"), [(2, 20), (3, 10)])
def test_tiled_equals_whole_for_random_networks_and_sizes(dims, least):
    tiled = []

    @settings(max_examples=40 if dims == 2 else 20, deadline=None, suppress_health_check=UNHURRIED)
    @given(networks(dims), st.data())
    def try_networks(network, data):
        sizes = [data.draw(st.integers(*SIDES[dims])) for _ in range(dims)]
        image = torch.randn(1, *sizes, dtype=torch.float64)
        expected = whole(network, image)
        plan = a_plan(network, tuple(image.shape), data.draw(st.floats(0.05, 0.6)))
        answer = run(network, image, plan)
        assert answer.shape == expected.shape
        assert (answer - expected).abs().max() <= 1e-9 * expected.abs().max(), plan
        tiled.append(len(plan.tiles) > 1)

    try_networks()
    assert sum(tiled) >= least


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("dims", [2, 3])
def test_tiled_equals_whole_at_every_size(padding, dims):
    torch.manual_seed(1)
    network = UNet(levels=2, padding=padding, dims=dims).eval()
    for side in range(1, 40, 1 if dims == 2 else 3):
        image = torch.rand(1, 40 - side, *[side + 5] * (dims - 1))
        expected = whole(network, image)
        plan = a_plan(network, tuple(image.shape), 0.4)
        worst = (run(network, image, plan) - expected).abs().max()
        assert worst <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("side", [5, 44, 101])
def test_whole_is_the_network_on_the_mirrored_image(side):
    """Unpadded: by the margin of 8, up to 4k. Padded: behind the image alone, up to 2k."""
    image = torch.rand(1, side, 13)
    network = UNet(levels=2).eval()
    behind = 8 + side % 2
    wide = np.pad(image.numpy(), ((0, 0), (8, behind), (8, 9)), "reflect")
    with torch.no_grad():
        expected = network(torch.from_numpy(wide)[None])[0, :, :side, :13]
    torch.testing.assert_close(whole(network, image), expected)
    padded = UNet(levels=2, padding=1).eval()
    wide = np.pad(image.numpy(), ((0, 0), (0, side % 2), (0, 1)), "reflect")
    with torch.no_grad():
        expected = padded(torch.from_numpy(wide)[None])[0, :, :side, :13]
    torch.testing.assert_close(whole(padded, image), expected)


def test_a_volume_is_labelled_slice_by_slice_by_a_flat_network():
    network, volume = UNet(levels=2).eval(), torch.rand(1, 3, 45, 38)
    slices = [whole(network, volume[:, z]) for z in range(3)]
    torch.testing.assert_close(whole(network, volume), torch.stack(slices, 1), atol=0, rtol=0)
    memory = plan_tiles(network, (1, 45, 38)).peak_bytes // 2
    labels = predict_tiled(network, volume, memory=memory)
    assert torch.equal(labels, torch.stack(slices, 1).argmax(0).to(torch.uint8))


@pytest.mark.parametrize("classes", [1, 2, 3, 255])
def test_labels_are_the_largest_logits_and_the_first_of_equal_ones(classes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet(levels=2, classes=classes).eval()
        image = torch.rand(1, 33, 21)
    with torch.no_grad():
        network.head.bias -= whole(network, image).flatten(1).median(1).values
    logits, labels = whole(network, image), predict_tiled(network, image)
    assert labels.dtype == torch.uint8
    expected = logits[0] > 0 if classes == 1 else logits.argmax(0)
    assert torch.equal(labels, expected.to(torch.uint8))
    assert len(labels.unique()) > 1
    same = torch.zeros(max(classes, 2), 3, 2)
    assert torch.equal(labels_of(same), torch.zeros(3, 2, dtype=torch.uint8))


def test_more_classes_than_labels_hold_are_refused():
    network = nn.Conv2d(1, 256, 1)
    with pytest.raises(UsageError, match=r"256 classes do not fit labels of 8 bits"):
        predict_tiled(network, torch.rand(1, 5, 4))
    assert len(predict_tiled(network, torch.rand(1, 5, 4), return_logits=True)) == 256


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_network_gets_its_own_type(dtype):
    network = UNet(levels=2).to(dtype).eval()
    assert whole(network, torch.rand(1, 9, 8)).dtype == dtype


def test_the_network_is_in_evaluation_meanwhile_and_its_mode_is_put_back():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(1.0))
    image = torch.rand(1, 9, 8)
    assert whole(network, image).abs().max() > 0
    assert network.training
    assert network[1].training


def test_finished_tiles_are_left_out_and_new_ones_added():
    network, image = UNet(levels=2), torch.rand(1, 157, 61)
    plan = plan_tiles(network, (1, 157, 61), memory="150KB")
    done, written, steps = {0, 3}, [], []
    run_plan(
        network, plan, lambda region: image[(slice(None), *region)],
        lambda region, logits: written.append(region), done=done,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert written == [plan.tiles[n].output for n in (1, 2, 4)]
    assert done == {0, 1, 2, 3, 4}
    assert steps == [(n, 5) for n in range(1, 6)]


def test_a_real_slice_of_a_micrograph(isbi):
    """Float noise is all that is left between tiled and whole, on pixels as they come."""
    image = torch.from_numpy(isbi)[None].float() / 255 - 0.5
    torch.manual_seed(0)
    network = UNet(levels=4, width=4)
    expected = whole(network, image)
    plan = plan_tiles(network, (1, 512, 512), memory="10MB")
    assert len(plan.tiles) == 4
    answer = predict_tiled(network, image, memory="10MB", return_logits=True)
    assert (answer - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.fixture
def isbi():
    folder = real_data("isbi2012")
    return tifffile.imread(sorted(folder.rglob("*.tif"))[0], key=0)


MEASURED = """
import pathlib, sys, torch
torch.set_num_threads(1)
from labelling import UNet
import striate.tiled_prediction as tiled
from striate.tiling import plan_tiles
if len(sys.argv) > 1:
    tiled.give_back_memory = lambda: None
network, image = UNet(levels=4, width=8, padding=1), torch.rand(1, 700, 600)
resident = lambda: int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096
labels = torch.empty(700, 600, dtype=torch.uint8)
def label(shown, memory):
    plan = plan_tiles(network, shown.shape, memory=memory)
    write = lambda region, logits: labels[region].copy_(tiled.labels_of(logits))
    tiled.run_plan(network, plan, lambda r: shown[(slice(None), *r)], write)
label(image[:, :64, :64], None)
before = resident()
label(image, "40MB")
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_what_tiles_took_is_given_back():
    """Without it, about 60 MB stay with the C library here; with it 8."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert int(done.stdout) < 24_000_000


@pytest.mark.parametrize(
    ("name", "options", "shape", "memory"),
    [
        ("unet_padded", {"width": 8, "depth": 3, "normalization": "batch"}, (1, 301, 133), "8MB"),
        ("unet", {"width": 4, "depth": 2}, (2, 203, 97), "2MB"),
        ("unet3d", {"width": 4, "depth": 1, "normalization": "none"}, (1, 61, 25, 31), "4MB"),
    ],
)
def test_where_the_network_allows_it_strips_are_the_whole(name, options, shape, memory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(name, shape[0], 3, **options).eval()
        image = torch.randn(shape)
    plan = plan_tiles(network, shape, memory=memory)
    assert len(plan.tiles) > 1
    rows, wanted = torch.empty(3, *shape[1:]), whole(network, image)

    def write(region, logits):
        rows[(slice(None), *region)] = logits

    def read(region):
        return image[(slice(None), *region)]

    steps = []
    assert run_in_strips(
        *(network, plan, read, write, memory_bytes(memory)),
        progress=lambda done, all_rows: steps.append((done, all_rows)),
    )
    assert (rows - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert steps[-1] == (shape[1], shape[1])
    assert len(steps) > 2
    labels = predict_tiled(network, image, memory=memory)
    assert (labels != wanted.argmax(0)).float().mean() < 1e-4


def test_an_image_that_fits_or_a_network_that_mixes_is_not_cut_into_strips():
    blur = torch.nn.Conv2d(1, 2, 3, padding=1)
    plan = plan_tiles(blur, (1, 9, 9), memory="1MB")
    assert not run_in_strips(blur, plan, lambda r: None, lambda r, x: None, 10**6)


@pytest.mark.parametrize("form", [nn.Conv2d(2, 3, 3, padding=1), None])
def test_an_image_of_other_channels_or_no_tensor_is_refused(form):
    network = form or dense(nn.Sequential(nn.Conv2d(2, 3, 5), nn.Flatten()), window=5)
    for function in (whole, predict_tiled):
        with pytest.raises(DataError, match=r"image has 3 channels, the network reads 2; give it"):
            function(network, torch.zeros(3, 20, 20))
        with pytest.raises(DataError, match=r"image is ndarray; needed is a torch tensor"):
            function(network, np.zeros((2, 20, 20), np.float32))
