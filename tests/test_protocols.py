"""Test-time views: counts and places typed in from the papers, averages by hand."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from striate.errors import UsageError
from striate.preparation import InputSpec, fit, normalize, resize, to_unit
from striate.protocols import (
    PROTOCOLS,
    average,
    averaged_scores,
    check_protocol,
    corners_and_middle,
    googlenet_sides,
    grid,
    scales_for,
    views,
)
from striate.recipes import Recipe

RECIPE = Recipe(network="vgg16", data="imagenet", image_size=256)
# Printed in the papers: AlexNet 10; VGG 50 a scale, 150 over three; GoogLeNet 144. A dense
# view is the whole image; VGG averages it with its mirror image, at up to three scales. Jordan's
# six views count as eight: those that are not moved count twice.
PAPER_VIEWS = {
    "single": 1, "ten-crop": 10, "dense": 2, "multi-scale": 6, "fifty-crop": 50, "150-crop": 150,
    "144-crop": 144, "shifts": 8,
}  # fmt: skip


def spec_of(image_size: tuple[int, int], side: int = 224, channels: int = 2) -> InputSpec:
    return InputSpec(
        channels=channels, image_size=image_size, input_size=(side, side),
        mean=(0.25,) * channels, std=(0.5,) * channels, background=(0.0,) * channels,
    )  # fmt: skip


WIDE, TALL = spec_of((256, 341)), spec_of((341, 256))


def places(height: int, width: int) -> torch.Tensor:
    """An image that says at each pixel in which row and column it lies."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns]).float()[None]


def seen(spec: InputSpec, protocol: str, recipe: Recipe = RECIPE) -> list[torch.Tensor]:
    return [view[0] for view in views(places(*spec.image_size), protocol, recipe, spec)]


def corner_of(view: torch.Tensor) -> tuple[int, int]:
    """Say where a view's first pixel lies, after checking that all follow it one by one."""
    top, left = int(view[0, 0, 0]), int(view[1, 0, 0])
    height, width = view.shape[1:]
    expected = places(top + height, left + width)[0, :, top:, left:]
    assert torch.equal(view, expected)
    return top, left


@pytest.mark.parametrize(("protocol", "count"), PAPER_VIEWS.items())
def test_each_protocol_has_the_views_that_its_paper_counts(protocol, count):
    for spec in (WIDE, TALL):
        shown = seen(spec, protocol)
        assert len(shown) == count
        if protocol not in ("dense", "multi-scale"):
            assert {tuple(view.shape) for view in shown} == {(2, 224, 224)}


def test_the_table_of_views_holds_every_protocol():
    assert set(PAPER_VIEWS) == set(PROTOCOLS)
    choices = Recipe.model_fields["protocol"].annotation.__args__
    assert [name for name in choices if name in PROTOCOLS] == list(PROTOCOLS)
    assert {*choices} - {*PROTOCOLS} == {"turns"}  # of masks: mask_scoring.VIEWS


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "single"])
def test_every_second_view_is_the_mirror_image_of_the_one_before(protocol):
    shown = seen(WIDE, protocol)
    for view, mirrored in zip(shown[::2], shown[1::2], strict=True):
        backwards = torch.stack(list(reversed(view.unbind(dim=2))), dim=2)
        assert torch.equal(mirrored, backwards)


def test_ten_crop_looks_at_the_corners_and_the_middle_of_the_middle_square():
    """256x256 of 256x341 begins at column 42; of it, windows of 224 at 0, 32 and 16."""
    assert [corner_of(view) for view in seen(WIDE, "ten-crop")[::2]] == [
        (0, 42), (0, 74), (32, 42), (32, 74), (16, 58),
    ]  # fmt: skip
    assert [corner_of(view) for view in seen(TALL, "ten-crop")[::2]] == [
        (42, 0), (42, 32), (74, 0), (74, 32), (58, 16),
    ]  # fmt: skip


def test_single_looks_at_the_middle():
    assert [corner_of(view) for view in seen(WIDE, "single")] == [(16, 58)]


def test_shifts_looks_at_the_middle_twice_and_a_pixel_away_from_it_with_the_edge_reflected():
    small = spec_of((28, 30), side=30)
    image = places(28, 30)
    still, again, down, up = [view[0] for view in views(image, "shifts", RECIPE, small)][::2]
    assert torch.equal(still, again)
    assert torch.equal(still[:, 1:-1], image[0])
    assert torch.equal(down[:, :-1, :-1], still[:, 1:, 1:])
    assert torch.equal(down[:, -1, :-1], still[:, -2, 1:])
    assert torch.equal(up[:, 1:, 1:], still[:, :-1, :-1])
    assert torch.equal(up[:, 1:, 0], still[:, :-1, 1])


def test_fifty_crop_looks_at_a_regular_grid_of_5_by_5_over_the_whole_image():
    corners = [corner_of(view) for view in seen(WIDE, "fifty-crop")[::2]]
    assert corners == list(itertools.product((0, 8, 16, 24, 32), (0, 29, 58, 88, 117)))
    assert grid((224, 224), (224, 224)) == [(0, 0)] * 25


def test_150_crop_looks_at_three_scales():
    shown = seen(WIDE, "150-crop")
    assert [corner_of(view) for view in shown[50:100:2]] == [
        corner_of(view) for view in seen(WIDE, "fifty-crop")[::2]
    ]
    for first, size in ((0, (224, 298)), (100, (288, 384))):
        whole = resize(places(256, 341), size)[0]
        expected = [
            whole[:, top : top + 224, left : left + 224] for top, left in grid(size, (224, 224))
        ]
        assert all(torch.equal(a, b) for a, b in zip(shown[first::2], expected, strict=False))


@pytest.mark.parametrize(("spec", "along"), [(WIDE, 1), (TALL, 0)])
def test_144_crop_looks_at_three_squares_at_four_scales(spec, along):
    """Recomputed from the paper: sides 256, 288, 320, 352; left, centre, right, or top to bottom;
    four corners and the centre of 224, and the square itself made 224."""
    assert googlenet_sides(spec) == (256, 288, 320, 352)
    expected = []
    for side in (256, 288, 320, 352):
        longer = round(side * 341 / 256)
        size = (side, longer) if along == 1 else (longer, side)
        whole = resize(places(*spec.image_size), size)
        for start in (0, (longer - side) // 2, longer - side):
            square = (
                whole[:, :, :, start:][..., :side] if along else whole[:, :, start:][:, :, :side]
            )
            d = side - 224
            for top, left in ((0, 0), (0, d), (d, 0), (d, d), (d // 2, d // 2)):
                expected.append(square[0, :, top : top + 224, left : left + 224])
            expected.append(resize(square, (224, 224))[0])
    shown = seen(spec, "144-crop")[::2]
    assert len(expected) == len(shown) == 72
    assert all(torch.equal(a, b) for a, b in zip(shown, expected, strict=True))


def test_at_the_images_own_scale_the_squares_begin_at_0_42_and_85():
    shown = seen(WIDE, "144-crop")[::2][:18]
    squares = [shown[start : start + 5] for start in (0, 6, 12)]
    assert [corner_of(square[0])[1] for square in squares] == [0, 42, 85]
    assert [corner_of(view) for view in squares[1]] == [
        (0, 42), (0, 74), (32, 42), (32, 74), (16, 58),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "scales"),
    [
        ({}, (224, 256, 288)),  # VGG: S - 32, S, S + 32
        ({"image_size": 384}, (352, 384, 416)),
        ({"image_size": 384, "crop": "random", "side_range": (256, 512)}, (256, 384, 512)),
        ({"scales": "224,256,384,480,640"}, (224, 256, 384, 480, 640)),  # ResNet
    ],
)
def test_the_scales_of_vgg_and_resnet(changes, scales):
    recipe = RECIPE.replace(**changes)
    side = recipe.image_size
    spec = spec_of((side, side))
    assert scales_for(recipe, spec) == scales
    sizes = [tuple(view.shape[1:]) for view in seen(spec, "multi-scale", recipe)]
    assert sizes == [(scale, scale) for scale in scales for _ in range(2)]


def test_scales_of_small_networks_are_in_proportion():
    small = spec_of((32, 32), side=32)
    assert scales_for(RECIPE, small) == (27, 32, 37)  # 32 of 224 pixels are 4.6 of 32
    assert googlenet_sides(small) == (37, 41, 46, 50)


def test_dense_views_keep_the_aspect_and_the_frame():
    assert [tuple(view.shape[1:]) for view in seen(WIDE, "multi-scale")[::2]] == [
        (224, 298), (256, 341), (288, 384),
    ]  # fmt: skip
    assert torch.equal(seen(WIDE, "dense")[0], places(256, 341)[0])
    framed = spec_of((28, 28), side=32)
    images = torch.rand(3, 2, 28, 28)
    dense = next(views(images, "dense", RECIPE, framed))
    assert torch.equal(dense, fit(images, framed))
    scaled = list(views(images, "multi-scale", RECIPE, framed))[4]
    assert torch.equal(scaled, resize(fit(images, framed), (37, 37)))


def test_images_of_another_size_are_brought_to_the_run_s_scale():
    shown = list(views(places(512, 682), "ten-crop", RECIPE, WIDE))
    whole = resize(places(512, 682), (256, 341))
    assert torch.equal(shown[0], whole[:, :, :224, 42:266])


def test_averages_of_probabilities_and_of_scores_differ():
    scores = [torch.randn(5, 7, dtype=torch.float64) * 4 for _ in range(3)]
    shares = [np.exp(s.numpy()) / np.exp(s.numpy()).sum(axis=1, keepdims=True) for s in scores]
    mean = average(scores, "probabilities").exp().numpy()
    assert np.allclose(mean, np.mean(shares, axis=0))
    assert np.allclose(average(scores, "scores"), np.mean([s.numpy() for s in scores], axis=0))
    huge = [torch.tensor([[0.0, 1e4]]), torch.tensor([[0.0, 9e3]])]
    assert average(huge, "probabilities").isfinite().all()


class Pooled(nn.Module):
    """Reads images of any size of 8 or more, as networks with a global average do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU())
        self.head = nn.Linear(5, 4)
        self.shapes: list[torch.Size] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shapes.append(images.shape)
        maps = self.body(images)
        logits: torch.Tensor = self.head(maps.mean(dim=(2, 3)) + maps.amax(dim=(2, 3)))
        return logits


SMALL = spec_of((10, 13), side=8)
SMALL_RECIPE = RECIPE.replace(image_size=10)


@pytest.fixture
def pooled():
    torch.manual_seed(5)
    return Pooled()


@pytest.mark.parametrize("kind", ["probabilities", "scores"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scores_are_the_average_over_the_views_one_by_one(pooled, protocol, kind):
    recipe = SMALL_RECIPE.replace(view_average=kind, protocol=protocol)
    stored = torch.randint(256, (7, 2, 20, 26), dtype=torch.uint8)
    done = []
    scores = averaged_scores(
        *(pooled, stored, (0, 255), SMALL, recipe),
        progress=lambda *counts: done.append(counts),
    )
    assert scores.shape == (7, 4)
    assert pooled.training
    assert protocol == "single" or done[-1] == (7, 7)
    expected = []
    pooled.eval()
    with torch.inference_mode():
        for image in to_unit(stored, (0, 255)):
            logits = [
                pooled(normalize(view, SMALL))
                for view in views(image[None], protocol, recipe, SMALL)
            ]
            if protocol in ("dense", "multi-scale", "shifts") and kind == "scores":
                expected.append(torch.cat(logits).mean(dim=0))
            else:
                expected.append(torch.cat(logits).softmax(dim=1).mean(dim=0))
    if protocol not in ("dense", "multi-scale", "shifts") or kind == "probabilities":
        scores = scores.softmax(dim=1)  # the crops of all papers average probabilities
    assert torch.allclose(scores, torch.stack(expected), atol=1e-6)


class Windowed(nn.Module):
    """Reads 8x8 images only; its dense form scores every window of a larger one."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3)
        self.linear = nn.Linear(3 * 6 * 6, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[2:] != (8, 8):
            raise ValueError(f"reads 8x8, not {tuple(images.shape)}; use to_dense()")
        logits: torch.Tensor = self.linear(torch.relu(self.convolution(images)).flatten(1))
        return logits

    def to_dense(self) -> nn.Module:
        head = nn.Conv2d(3, 4, 6)
        head.weight = nn.Parameter(self.linear.weight.detach().view(4, 3, 6, 6))
        head.bias = nn.Parameter(self.linear.bias.detach())
        average = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(self.convolution, nn.ReLU(), head, *average)


def test_dense_scores_are_the_mean_over_all_windows_and_over_the_mirror_image():
    torch.manual_seed(9)
    network = Windowed()
    recipe = SMALL_RECIPE.replace(view_average="scores", protocol="dense")
    stored = torch.randint(256, (3, 2, 10, 13), dtype=torch.uint8)
    check_protocol("dense", network, recipe, SMALL)
    scores = averaged_scores(network, stored, (0, 255), SMALL, recipe)
    images = normalize(to_unit(stored, (0, 255)), SMALL)
    answers = [
        network(way[:, :, top : top + 8, left : left + 8])
        for way in (images, images.flip(3))
        for top in range(3)
        for left in range(6)
    ]
    assert torch.allclose(scores, torch.stack(answers).mean(dim=0), atol=1e-5)


@pytest.mark.parametrize("protocol", ["ten-crop", "fifty-crop", "150-crop"])
def test_windows_as_large_as_the_image_are_refused(pooled, protocol):
    recipe = SMALL_RECIPE.replace(scales="8,8,8")
    message = f"protocol {protocol} takes windows of larger images, but vgg16 reads 8x8 and this"
    with pytest.raises(UsageError, match=f"{message} run has its images at 8.*larger image_size"):
        check_protocol(protocol, pooled, recipe, spec_of((8, 8), side=8))
    check_protocol(protocol, pooled, SMALL_RECIPE.replace(scales="8,9,10"), SMALL)


def test_windows_of_framed_images_are_refused(pooled):
    framed = spec_of((6, 6), side=8)
    for protocol in ("ten-crop", "fifty-crop", "150-crop", "144-crop"):
        with pytest.raises(UsageError, match=f"protocol {protocol} takes windows .*; train with"):
            check_protocol(protocol, pooled, SMALL_RECIPE, framed)


def test_150_crop_needs_three_scales_none_below_the_input(pooled):
    with pytest.raises(UsageError, match=r"looks at three scales, the recipe names \(9, 10\)"):
        check_protocol("150-crop", pooled, SMALL_RECIPE.replace(scales="9,10"), SMALL)
    with pytest.raises(UsageError, match="this run has its images at 7, 9, 11"):
        check_protocol("150-crop", pooled, SMALL_RECIPE.replace(scales="7,9,11"), SMALL)


def test_a_network_that_reads_one_size_only_is_refused_dense_views():
    class OneSize(Windowed):
        to_dense = None

    for protocol, size in (("dense", "10x13"), ("multi-scale", "9x12")):
        message = rf"protocol {protocol} shows vgg16 images of {size}, which it refuses \(reads"
        with pytest.raises(UsageError, match=message):
            check_protocol(protocol, OneSize(), SMALL_RECIPE, SMALL)
    check_protocol("dense", OneSize(), SMALL_RECIPE, spec_of((8, 8), side=8))
    with pytest.raises(UsageError, match=r"images of 2x3, which it refuses \(.*; choose another"):
        check_protocol("multi-scale", Windowed(), SMALL_RECIPE.replace(scales="2"), SMALL)


def test_a_protocol_that_does_not_exist_is_refused(pooled):
    with pytest.raises(UsageError, match="no protocol is called 'tencrop'; known: single, ten-"):
        check_protocol("tencrop", pooled, RECIPE, WIDE)


def test_corners_come_before_the_middle():
    assert corners_and_middle((9, 12), (8, 8)) == [(0, 0), (0, 4), (1, 0), (1, 4), (0, 2)]
