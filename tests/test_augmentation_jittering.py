"""Brightness, contrast, saturation and hue against a plain loop over pixels in [0, 1]."""

import colorsys
import math

import pytest
import torch

from striate.augmentation.jittering import color_matrices, jitter
from striate.randomness import uniforms
from striate.recipes import Recipe

RECIPE = Recipe(network="lenet5", data="digits", seed=3)
INDICES = torch.tensor([3, 11, 5, 8, 70])
MEAN, STD = (0.4, 0.5, 0.3), (0.2, 0.25, 0.3)


def grey(pixel: list[float]) -> float:
    return 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]


def turned(pixel: list[float], turns: float) -> list[float]:
    """Turn I and Q by the textbook's formulas, there and back."""
    y = grey(pixel)
    red, blue = pixel[0] - y, pixel[2] - y
    i, q = 0.74 * red - 0.27 * blue, 0.48 * red + 0.41 * blue
    angle = 2 * math.pi * turns
    i, q = i * math.cos(angle) - q * math.sin(angle), i * math.sin(angle) + q * math.cos(angle)
    determinant = 0.74 * 0.41 + 0.27 * 0.48
    red, blue = (0.41 * i + 0.27 * q) / determinant, (0.74 * q - 0.48 * i) / determinant
    return [red + y, (0 - 0.299 * red - 0.114 * blue) / 0.587 + y, blue + y]


def changed(image: torch.Tensor, recipe: Recipe, factors: list[float]) -> torch.Tensor:
    """Change one image in [0, 1], ``(C, pixels)``, pixel by pixel."""
    b, c, s, h = factors
    rows = (image.double() * (1 + recipe.brightness * b)).tolist()
    pixels = [list(pixel) for pixel in zip(*rows, strict=True)]
    if len(rows) == 3:
        middles = [sum(map(grey, pixels)) / len(pixels)] * 3
    else:
        middles = [sum(row) / len(row) for row in rows]
    contrast, saturation = 1 + recipe.contrast * c, 1 + recipe.saturation * s
    result = []
    for pixel in pixels:
        pixel = [m + contrast * (v - m) for v, m in zip(pixel, middles, strict=True)]
        if len(rows) == 3:
            own = grey(pixel)
            pixel = turned([own + saturation * (v - own) for v in pixel], recipe.hue * h)
        result.append([min(max(value, 0.0), 1.0) for value in pixel])
    return torch.tensor(result).T


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({"brightness": 0.6}, (3, 4, 7)),
        ({"contrast": 0.9}, (3, 4, 7)),
        ({"saturation": 1.0}, (3, 4, 7)),
        ({"hue": 0.5}, (3, 4, 7)),
        ({"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}, (3, 4, 7)),
        ({"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}, (3, 2, 3, 5)),
        ({"brightness": 0.4, "contrast": 0.8}, (1, 5, 3)),
        ({"brightness": 0.4, "contrast": 0.8}, (2, 2, 3, 4)),
    ],
)
def test_colors_change_as_in_a_loop_over_pixels(changes, shape):
    recipe = RECIPE.replace(**changes)
    unit = torch.rand(5, *shape, generator=torch.Generator().manual_seed(1))
    mean, std = (
        torch.tensor(each[: shape[0]]).view(-1, *(1,) * (len(shape) - 1)) for each in (MEAN, STD)
    )
    result = jitter((unit - mean) / std, MEAN[: shape[0]], STD[: shape[0]], recipe, 2, INDICES)
    drawn = (2 * uniforms(3, 2, INDICES, "jitter", 4) - 1).tolist()
    for image, own, factors in zip(result * std + mean, unit, drawn, strict=True):
        expected = changed(own.flatten(1), recipe, factors)
        assert torch.allclose(image.flatten(1), expected, atol=2e-6)
        assert not torch.allclose(image, own, atol=1e-3)
    alone = jitter(((unit - mean) / std)[1:3], MEAN[: shape[0]], STD[: shape[0]], recipe, 2,
                   INDICES[1:3])  # fmt: skip
    assert torch.allclose(alone, result[1:3], atol=1e-6)


def test_nothing_asked_for_returns_the_very_same_tensor():
    images = torch.rand(5, 3, 4, 4)
    assert jitter(images, MEAN, STD, RECIPE, 0, INDICES) is images


def test_values_are_cut_to_what_was_black_and_white_and_not_before_the_end():
    recipe = RECIPE.replace(brightness=1.0, contrast=1.0)
    images = torch.randn(200, 3, 6, 6)  # far beyond [0, 1]
    result = jitter(images, MEAN, STD, recipe, 0, torch.arange(200))
    unit = result * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert unit.min().item() == pytest.approx(0, abs=1e-6)
    assert unit.max().item() == pytest.approx(1, abs=1e-6)
    assert ((unit > 0.001) & (unit < 0.999)).float().mean() > 0.3


def test_factors_fill_their_range():
    white = torch.full((2000, 1, 2, 2), 0.25)
    result = jitter(white, (0.0,), (1.0,), RECIPE.replace(brightness=0.3), 0, torch.arange(2000))
    factors = result[:, 0, 0, 0] / 0.25
    assert 0.7 <= factors.min() < 0.702
    assert 1.298 < factors.max() <= 1.3
    assert factors.mean().item() == pytest.approx(1, abs=0.01)


def test_hue_keeps_grey_and_goes_round_like_the_yiq_of_the_standard_library():
    one = torch.ones(1)
    for turns in (0.1, 0.25, 0.5):
        matrix = color_matrices(one, turns * one)[0]
        assert torch.allclose(matrix @ torch.ones(3), torch.ones(3), atol=1e-6)
        color = torch.tensor([0.8, 0.3, 0.1])
        y, i, q = colorsys.rgb_to_yiq(*color.tolist())
        own_y, own_i, own_q = colorsys.rgb_to_yiq(*(matrix @ color).tolist())
        angle = (math.atan2(own_q, own_i) - math.atan2(q, i)) / (2 * math.pi) % 1
        assert angle == pytest.approx(turns, abs=0.005)  # its grey is 0.30, 0.59, 0.11
        assert own_y == pytest.approx(y, abs=0.005)
    whole = color_matrices(one, one)[0]
    assert torch.allclose(whole, torch.eye(3), atol=1e-5)
