"""Figure and ground on drawn images, where every answer is known, and on real sets."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from conftest import real_data
from striate.figures import (
    centers,
    figure_extent,
    find_figure,
    fit_ground,
    ground_at,
    ground_level,
)


def data(name: str) -> Path:
    folder, file = name.split("/")
    return real_data(folder) / file


def idx(name: str) -> torch.Tensor:
    content = gzip.decompress(data(name).read_bytes())
    return torch.tensor(np.frombuffer(content, np.uint8, offset=16) / 255).view(-1, 1, 28, 28)


def test_the_ground_is_the_median_of_all_four_sides():
    image = torch.zeros(3, 4, 5)
    image[0, 1:3, 1:4] = 9.0  # inside
    image[1, :, :2] = 9.0  # 6 of 14 border pixels
    image[1, 0, 2:4] = 9.0
    image[2, 0] = image[2, :, -1] = 9.0  # 8 of 14
    assert ground_level(image).tolist() == [0.0, 9.0, 9.0]
    assert ground_level(torch.full((1, 1), 3.0)) == 3.0


def test_a_slope_of_light_is_found_under_ink_that_touches_the_border():
    y, x = torch.meshgrid(centers(0, 61, 1, 61), centers(0, 83, 1, 83), indexing="ij")
    light = (0.6 + 0.2 * x - 0.1 * y + 0.1 * x * y - 0.05 * y * y).float()
    image = light.clone()
    image[20:50, :30] = 0.1
    surface = fit_ground(image)
    found = ground_at(surface, centers(0, 61, 1, 61), centers(0, 83, 1, 83))
    assert (found - light).abs().max() < 1e-5
    coarse = ground_at(surface, centers(5, 59, 7, 61), centers(2, 83, 7, 83))
    blocks = [light[5 + 7 * i : min(12 + 7 * i, 59), 2 + 7 * j : 9 + 7 * j].mean()
              for i in range(8) for j in range(12)]  # fmt: skip
    assert (coarse.flatten() - torch.stack(blocks)).abs().max() < 2e-3


def test_even_light_is_exactly_even():
    image = torch.full((9, 11), 0.7)
    image[3:5, 2:9] = 0.0
    assert fit_ground(image).tolist() == [image[0, 0].item(), 0, 0, 0, 0, 0]


def test_a_figure_of_two_parts_is_found_whole_and_specks_are_not():
    deviation = torch.zeros(40, 50)
    deviation[10:30, 12:18] = 0.8
    deviation[10:13, 20:31] = 0.6  # a bar apart: a quarter of the largest part
    deviation[36:38, 44:46] = 0.9  # dust: 4 of 120 pixels
    deviation[33:36, 2:12] = 0.25  # a shadow: more than a quarter of full ink, never half
    figure = find_figure(deviation)
    assert figure[:4] == (10, 12, 30, 31)
    mass, bar = 120 * 0.8, 33 * 0.6
    row, column = (20 * mass + 11.5 * bar, 15 * mass + 25.5 * bar)
    assert figure.center == pytest.approx((row / (mass + bar), column / (mass + bar)), rel=1e-6)


def test_noise_and_faint_marks_are_no_figure():
    noise = 0.03 * torch.randn(67, 71, generator=torch.Generator().manual_seed(1))
    assert find_figure(noise) is None
    assert find_figure(torch.zeros(1, 1)) is None
    marked = noise.clone()
    marked[20:40, 30:36] += 0.5
    assert find_figure(marked)[:4] == (20, 30, 40, 36)
    faint = noise / 3
    assert find_figure(faint.clamp(max=0.02)) is None
    faint[5:20, 5:20] += 0.09
    assert find_figure(faint) is None
    many = 0.2 * torch.randn(401, 401, generator=torch.Generator().manual_seed(1))
    assert find_figure(many) is None


def test_a_wide_faint_shadow_does_not_hide_a_small_figure():
    deviation = torch.zeros(60, 50)
    deviation[:40] = 0.06
    deviation[50:57, 20:23] = 0.9
    assert find_figure(deviation)[:4] == (50, 20, 57, 23)


def test_the_extent_is_the_median_longer_side_and_blank_images_do_not_count():
    images = torch.zeros(9, 2, 20, 30)
    for number, length in enumerate((3, 5, 7, 9, 11, 13, 15)):
        images[number, number % 2, 2 : 2 + length, 4:10] = 0.4
    assert figure_extent(images, 0.0) == pytest.approx(9 / 20)
    assert figure_extent(images, (0.0, 0.06)) == pytest.approx(9 / 20)
    assert figure_extent(1 - images, 1.0) == pytest.approx(9 / 20)
    wide = torch.zeros(1, 1, 20, 30)
    wide[:, :, 5:10, 3:27] = 1.0
    assert figure_extent(wide, 0.0) == pytest.approx(24 / 30)


def test_another_ground_texture_and_blank_images_have_no_extent():
    images = torch.zeros(40, 1, 8, 8)
    images[:, :, 3:5, 2:6] = 1.0
    assert figure_extent(images, 0.2) is None
    images[:2] = 0.5  # 5 % of another ground are borne
    assert figure_extent(images, 0.0) == 0.5
    images[2] = 0.5
    assert figure_extent(images, 0.0) is None
    assert figure_extent(torch.zeros(5, 1, 8, 8), 0.0) is None
    assert figure_extent(torch.zeros(0, 1, 8, 8), 0.0) is None
    texture = torch.rand(50, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert figure_extent(texture, (0.0, 0.0, 0.0)) is None


def test_the_digits_of_scikit_learn_fill_their_images():
    digits = torch.tensor(load_digits().images / 16)[:, None]
    assert figure_extent(digits, 0.0) == 1.0


def test_digits_of_mnist_and_usps_and_fashion_are_figures_on_a_plain_ground():
    mnist = idx("mnist/t10k-images-idx3-ubyte.gz")
    assert figure_extent(mnist, 0.0) == pytest.approx(20 / 28, abs=0.02)  # 20 pixels, they say
    assert 0.9 <= figure_extent(idx("fashion-mnist/t10k-images-idx3-ubyte.gz"), 0.0) <= 1
    lines = gzip.decompress(data("usps/zip.test.gz").read_bytes()).split()
    usps = torch.tensor(np.array(lines, np.float64).reshape(-1, 257)[:, 1:] / 2 + 0.5)
    assert figure_extent(usps.view(-1, 1, 16, 16), 0.0) == 1.0


def test_photographs_of_cifar_are_not():
    sheet = np.array(Image.open(data("cifar10/test_0.webp"))) / 255
    images = torch.tensor(sheet).view(25, 32, 40, 32, 3).permute(0, 2, 4, 1, 3)
    images = images.reshape(1000, 3, 32, 32)
    for ground in (torch.zeros(3), torch.ones(3), images.mean(dim=(0, 2, 3))):
        assert figure_extent(images, ground.tolist()) is None
