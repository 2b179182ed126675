"""Blur, grey, noise and hidden squares, each against a plain loop over images."""

import math

import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter

from striate.augmentation.blurring import blur, gaussian
from striate.augmentation.graining import add_noise, hide_square, normal_quantiles, shift_grey
from striate.randomness import integers, normals, uniforms
from striate.recipes import Recipe

RECIPE = Recipe(network="lenet5", data="digits", seed=3)
INDICES = torch.tensor([3, 11, 5, 8, 70])


@pytest.mark.parametrize(
    ("sigma", "shape"),
    [(0.4, (3, 9, 12)), (2.0, (1, 11, 8)), (1.5, (2, 5, 7, 6)), (4.0, (1, 5, 9))],
)
def test_blur_is_scipy_s_with_a_width_for_each_image(sigma, shape):
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(2))
    blurred = blur(images, RECIPE.replace(blur=sigma), 1, INDICES)
    drawn = (sigma * uniforms(3, 1, INDICES, "blur", 1)[:, 0]).tolist()
    assert len({round(each, 3) for each in drawn}) == 5
    reach = math.ceil(3 * sigma)
    for image, result, own in zip(images, blurred, drawn, strict=True):
        expected = torch.stack(
            [
                torch.from_numpy(gaussian_filter(c.numpy(), own, mode="mirror", radius=reach))
                for c in image
            ]
        )
        assert torch.allclose(result, expected, atol=1e-5)


def test_weights_of_a_width_near_nothing_are_the_middle_alone():
    weights = gaussian(torch.tensor([0.0, 1e-9, 1.0]), 2)
    assert weights[:2].tolist() == [[0, 0, 1, 0, 0]] * 2
    assert weights[2].sum().item() == pytest.approx(1)


def test_grey_values_move_by_normal_numbers():
    images = torch.rand(5, 2, 3, 4)
    moved = shift_grey(images, RECIPE.replace(grey=0.2), 1, INDICES)
    drawn = (0.2 * normals(3, 1, INDICES, "grey", 2)).tolist()
    for image, result, (gain, shift) in zip(images, moved, drawn, strict=True):
        assert torch.allclose(result, image * (1 + gain) + shift, atol=1e-6)


def test_noise_is_normal_and_its_strength_uniform():
    recipe = RECIPE.replace(noise=0.5)
    images = torch.zeros(60, 3, 35, 41)
    noisy = add_noise(images, recipe, 1, torch.arange(60))
    wanted = 0.5 * uniforms(3, 1, torch.arange(60), "noisy", 1)[:, 0]
    assert torch.allclose(noisy.flatten(1).std(dim=1), wanted, rtol=0.05)
    unit = (noisy / wanted[:, None, None, None]).double()
    assert unit.mean().abs() < 0.01
    assert unit.std().item() == pytest.approx(1, abs=0.005)
    assert stats.kstest(unit.flatten()[::7].numpy(), "norm").pvalue > 0.001
    neighbours = torch.corrcoef(torch.stack([unit[..., 1:].flatten(), unit[..., :-1].flatten()]))
    assert neighbours[0, 1].abs() < 0.01


def test_the_normal_numbers_of_noise_are_symmetric_and_of_deviation_1():
    table = normal_quantiles(torch.device("cpu")).double()
    assert torch.equal(table, -table.flip(0))
    assert table.std().item() == pytest.approx(1, abs=2e-4)
    assert table.max().item() == pytest.approx(stats.norm.ppf(1 - 2.0**-17), abs=1e-5)


@pytest.mark.parametrize("side", [1, 4, 7])
def test_cutout_hides_a_square_of_the_asked_for_side(side):
    images = torch.rand(300, 2, 9, 12) + 1
    hidden = hide_square(images, RECIPE.replace(cutout=side), 1, torch.arange(300))
    size = torch.tensor([9, 12])
    middles = integers(3, 1, torch.arange(300), "cutout", 2, size).tolist()
    for image, result, (row, column) in zip(images, hidden, middles, strict=True):
        expected = image.clone()
        for y in range(row - side // 2, row - side // 2 + side):
            for x in range(column - side // 2, column - side // 2 + side):
                if 0 <= y < 9 and 0 <= x < 12:
                    expected[:, y, x] = 0
        assert torch.equal(result, expected)
    assert {tuple(middle) for middle in middles} >= {(0, 0), (8, 11)}  # over the border too


def test_cutout_of_a_volume_is_a_cube():
    hidden = hide_square(torch.ones(200, 1, 9, 8, 7), RECIPE.replace(cutout=3), 0,
                         torch.arange(200))  # fmt: skip
    counts = (hidden == 0).flatten(1).sum(dim=1)
    assert counts.max() == 27
    assert set(counts.tolist()) <= {a * b * c for a in (2, 3) for b in (2, 3) for c in (2, 3)}


@pytest.mark.parametrize(
    ("function", "change"),
    [
        (blur, {"blur": 1.2}), (shift_grey, {"grey": 0.2}), (add_noise, {"noise": 0.4}),
        (hide_square, {"cutout": 3}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 4, 6, 5)])
def test_each_depends_on_seed_epoch_and_index_only(function, change, shape):
    recipe = RECIPE.replace(**change)
    images = torch.rand(5, *shape)
    together = function(images, recipe, 2, INDICES)
    assert torch.equal(function(images.flip(0), recipe, 2, INDICES.flip(0)).flip(0), together)
    assert torch.equal(function(images[3:4], recipe, 2, INDICES[3:4]), together[3:4])
    for other in (
        function(images, recipe, 3, INDICES),
        function(images, recipe.replace(seed=1), 2, INDICES),
        function(images, recipe, 2, INDICES + 1),
    ):
        assert not torch.equal(other, together)
    assert function(images, RECIPE, 2, INDICES) is images
