"""Augmentation against maps worked out by hand, and as a function of (seed, epoch, index)."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.augmentation import (
    color_axes,
    mirror,
    outside_color,
    shift_colors,
    shift_pixels,
    warp,
)
from striate.preparation import InputSpec
from striate.recipes import Recipe

RECIPE = Recipe(network="lenet5", data="digits")
INDICES = torch.tensor([3, 11, 5, 8])


def blob(row: int, column: int, size: tuple[int, int] = (21, 31)) -> torch.Tensor:
    """Draw a soft dot, so that its centre can be measured to a fraction of a pixel."""
    rows = torch.arange(size[0], dtype=torch.float32)[:, None]
    columns = torch.arange(size[1], dtype=torch.float32)
    return torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8)[None, None]


def centre(image: torch.Tensor) -> tuple[float, float]:
    mass = image.sum()
    rows = torch.arange(image.shape[-2], dtype=torch.float32)
    columns = torch.arange(image.shape[-1], dtype=torch.float32)
    return (
        ((image.sum(dim=-1) * rows).sum() / mass).item(),
        ((image.sum(dim=-2) * columns).sum() / mass).item(),
    )


def test_a_recipe_without_changes_returns_the_very_same_tensor():
    images = torch.rand(4, 1, 9, 7)
    assert warp(images, RECIPE, 0, INDICES) is images


@pytest.mark.parametrize(
    "change",
    [
        {"shift": 2.0}, {"rotation": 20.0}, {"scale": 0.2}, {"squeeze": 0.2}, {"shear": 0.3},
        {"elastic": 1.5},
    ],
)  # fmt: skip
def test_each_change_depends_on_seed_epoch_and_index_only(change):
    recipe = RECIPE.replace(**change)
    images = torch.rand(4, 2, 12, 15)
    together = warp(images, recipe, 2, INDICES)
    assert together.shape == images.shape
    assert not torch.allclose(together, images)
    alone = warp(images[1:2], recipe, 2, INDICES[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-6)
    for other in (
        warp(images, recipe, 3, INDICES),
        warp(images, recipe.replace(seed=1), 2, INDICES),
        warp(images, recipe, 2, INDICES + 1),
    ):
        assert not torch.allclose(other, together)


def test_shifts_stay_within_their_limit_and_reach_it():
    images = blob(10, 15).expand(400, -1, -1, -1)
    shifted = warp(images, RECIPE.replace(shift=3.0), 0, torch.arange(400))
    moves = torch.tensor([centre(image[0]) for image in shifted]) - torch.tensor([10.0, 15.0])
    assert 2.8 < moves.abs().max() <= 3.01
    assert moves.mean(dim=0).abs().max() < 0.3
    assert (moves[:, 0] * moves[:, 1]).mean().abs() < 0.5  # the two axes are independent


def test_rotation_keeps_distances_on_an_image_that_is_not_square():
    images = torch.cat([blob(10, 15), blob(10, 21)], dim=1).expand(200, -1, -1, -1)
    turned = warp(images, RECIPE.replace(rotation=30.0), 0, torch.arange(200))
    centres = torch.tensor([[centre(channel) for channel in image] for image in turned])
    arms = centres[:, 1] - centres[:, 0]
    assert arms.norm(dim=1).sub(6).abs().max() < 0.1
    angles = torch.atan2(arms[:, 0], arms[:, 1]).rad2deg()
    assert 27 < angles.abs().max() <= 30.5


def test_squeeze_keeps_the_area_and_scale_does_not():
    images = blob(10, 15).expand(100, -1, -1, -1)
    squeezed = warp(images, RECIPE.replace(squeeze=0.3), 0, torch.arange(100))
    masses = squeezed.sum(dim=(1, 2, 3)) / images[0].sum()
    assert masses.sub(1).abs().max() < 0.03
    scaled = warp(images, RECIPE.replace(scale=0.3), 0, torch.arange(100))
    masses = scaled.sum(dim=(1, 2, 3)) / images[0].sum()
    assert 1.5 < masses.max() <= 1.72
    assert 0.58 <= masses.min() < 0.67  # 1.3 squared and its inverse


def test_shear_moves_rows_sideways_and_leaves_them_level():
    images = torch.cat([blob(10, 15), blob(16, 15)], dim=1).expand(100, -1, -1, -1)
    sheared = warp(images, RECIPE.replace(shear=0.4), 0, torch.arange(100))
    centres = torch.tensor([[centre(channel) for channel in image] for image in sheared])
    moves = centres - torch.tensor([[10.0, 15.0], [16.0, 15.0]])
    assert moves[:, :, 0].abs().max() < 0.1
    assert moves[:, 0].abs().max() < 0.05
    assert 2.2 < moves[:, 1, 1].abs().max() <= 2.45


def test_elastic_displacements_have_the_asked_for_deviation_at_their_control_points():
    ramp = torch.arange(31.0).expand(1, 1, 21, 31)
    bent = warp(ramp.expand(500, -1, -1, -1), RECIPE.replace(elastic=1.5), 0, torch.arange(500))
    moves = (bent - ramp)[:, 0, 10, 15]  # the middle control point
    assert moves.std().item() == pytest.approx(1.5, rel=0.15)


def test_what_comes_in_from_outside_repeats_the_border():
    images = torch.full((4, 1, 8, 8), 0.7)
    changed = warp(images, RECIPE.replace(shift=6.0, rotation=45.0), 0, INDICES)
    assert torch.allclose(changed, images, atol=1e-6)


def test_the_affine_map_is_torch_s_by_hand():
    recipe = RECIPE.replace(shift=2.0, rotation=25.0, scale=0.2, squeeze=0.1, shear=0.3, seed=9)
    from striate.randomness import uniforms

    u = (2 * uniforms(9, 4, INDICES, "affine", 6) - 1).double()
    images = torch.rand(4, 1, 13, 17)
    expected = torch.empty_like(images)
    for n in range(4):
        dx, dy, turn, size, squeeze, shear = u[n].tolist()
        angle = torch.tensor(25.0 * turn).deg2rad()
        c, s, k, q = angle.cos(), angle.sin(), 1.2**size, 1.1**squeeze
        rotate = torch.tensor([[c, -s], [s, c]]) / k
        matrix = (
            rotate @ torch.tensor([[1, 0.3 * shear], [0, 1]]) @ torch.tensor([[1 / q, 0], [0, q]])
        )
        rows, columns = torch.meshgrid(
            torch.arange(13.0) - 6, torch.arange(17.0) - 8, indexing="ij"
        )
        places = torch.stack([columns, rows], dim=-1) @ matrix.T + torch.tensor([2 * dx, 2 * dy])
        grid = places * torch.tensor([2 / 17, 2 / 13])
        expected[n] = F.grid_sample(
            images[n : n + 1], grid[None], padding_mode="border", align_corners=False
        )[0]
    assert torch.allclose(warp(images, recipe, 4, INDICES), expected, atol=1e-4)


def test_half_of_the_images_are_mirrored_exactly_and_the_others_left_alone():
    images = torch.randint(256, (400, 3, 5, 7), dtype=torch.uint8)
    mirrored = mirror(images, RECIPE.replace(flip=True), 0, torch.arange(400))
    count = 0
    for image, result in zip(images, mirrored, strict=True):
        backwards = torch.stack([image[:, :, 6 - column] for column in range(7)], dim=2)
        assert torch.equal(result, image) or torch.equal(result, backwards)
        count += torch.equal(result, backwards)
    assert 160 < count < 240
    assert mirror(images, RECIPE, 0, torch.arange(400)) is images


def test_alternating_images_are_mirrored_as_at_first_and_then_the_other_way():
    images, indices = torch.rand(50, 2, 3, 5), torch.arange(50)
    recipe = RECIPE.replace(flip=True, alternate=True)
    first, second, third = (mirror(images, recipe, epoch, indices) for epoch in range(3))
    assert torch.equal(first, mirror(images, RECIPE.replace(flip=True), 0, indices))
    assert torch.equal(second, first.flip(-1))
    assert torch.equal(third, first)


def shifted_by_hand(image: torch.Tensor, down: int, right: int, color: list[float]) -> torch.Tensor:
    """Move what is shown up by ``down`` and left by ``right``, pixel by pixel."""
    result = torch.empty_like(image)
    channels, height, width = image.shape
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                inside = 0 <= y + down < height and 0 <= x + right < width
                result[c, y, x] = image[c, y + down, x + right] if inside else color[c]
    return result


@pytest.mark.parametrize("color", [[0.5, 0.25], [0.0, 0.0]])
def test_crop_padding_shifts_by_whole_pixels_bit_for_bit(color):
    images = torch.rand(200, 2, 6, 5)
    moved = shift_pixels(
        images, RECIPE.replace(crop_padding=2), 3, torch.arange(200), torch.tensor(color)
    )
    shifts = set()
    for image, result in zip(images, moved, strict=True):
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(result, shifted_by_hand(image, down, right, color))
        ]
        assert len(found) == 1
        shifts |= set(found)
    assert len(shifts) == 25  # every one of the 5 x 5 windows of the padded image
    assert shift_pixels(images, RECIPE, 3, torch.arange(200), torch.tensor(color)) is images


@pytest.mark.parametrize("change", [{"flip": True}, {"crop_padding": 3}])
def test_exact_changes_depend_on_seed_epoch_and_index_only(change):
    recipe = RECIPE.replace(**change)
    images = torch.rand(60, 2, 8, 9)
    indices = torch.randperm(10_000, generator=torch.Generator().manual_seed(5))[:60]

    def changed(images, recipe, epoch, indices):
        mirrored = mirror(images, recipe, epoch, indices)
        return shift_pixels(mirrored, recipe, epoch, indices, torch.zeros(2))

    together = changed(images, recipe, 2, indices)
    backwards = changed(images.flip(0), recipe, 2, indices.flip(0)).flip(0)
    assert torch.equal(together, backwards)
    assert torch.equal(together[7:8], changed(images[7:8], recipe, 2, indices[7:8]))
    for other in (
        changed(images, recipe, 3, indices),
        changed(images, recipe.replace(seed=1), 2, indices),
        changed(images, recipe, 2, indices + 1),
    ):
        assert not torch.equal(other, together)


@pytest.mark.parametrize(
    ("changes", "color"),
    [
        ({}, [0.0, 0.0]),  # photographs: the mean colour, zero to the network
        ({"figure_extent": 0.6}, [(0.9 - 0.3) / 0.25, (0.1 - 0.7) / 0.5]),
        ({"image_size": (7, 7)}, [(0.9 - 0.3) / 0.25, (0.1 - 0.7) / 0.5]),
    ],
)
def test_what_crop_padding_lets_in(changes, color):
    spec = InputSpec(
        channels=2, image_size=(9, 9), input_size=(9, 9), mean=(0.3, 0.7), std=(0.25, 0.5),
        background=(0.9, 0.1),
    ).model_copy(update=changes)  # fmt: skip
    assert outside_color(spec).tolist() == pytest.approx(color)


def test_principal_colours_are_numpy_s_and_do_not_depend_on_the_order_of_the_images():
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(256, (2300, 3, 5, 4), dtype=torch.uint8, generator=generator)
    images[:, 1] = images[:, 0] // 2 + 20  # so that the axes are not arbitrary
    axes = color_axes([images], (0, 255))
    assert axes == color_axes([images.flip(0)], (0, 255))
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3).double().numpy() / 255
    values, vectors = np.linalg.eigh(np.cov(pixels.T, bias=True))
    for axis, value, vector in zip(axes, values[::-1], vectors.T[::-1], strict=True):
        assert np.linalg.norm(axis) == pytest.approx(value)
        assert abs(np.dot(axis, vector)) == pytest.approx(value)
    same = color_axes([images.float() / 255 * 2 - 1], (-1, 1))
    assert np.allclose(np.abs(axes), np.abs(same), atol=1e-6)


def test_colours_are_shifted_along_the_principal_axes_by_normal_amounts():
    axes = ((0.06, 0.05, 0.04), (0.005, 0.0, -0.0075), (0.001, -0.003, 0.00225))
    spec = InputSpec(
        channels=3, image_size=(4, 5), input_size=(4, 5), mean=(0.5,) * 3, std=(0.25, 0.5, 0.2),
        background=(0.0,) * 3, color_axes=axes,
    )  # fmt: skip
    recipe = RECIPE.replace(pca_color=0.1)
    images = torch.rand(3000, 3, 4, 5)
    moves = shift_colors(images, spec, recipe, 1, torch.arange(3000)) - images
    assert torch.allclose(moves, moves[:, :, :1, :1].expand_as(moves), atol=1e-6)
    unit = moves[:, :, 0, 0] * torch.tensor([0.25, 0.5, 0.2])  # back to [0, 1]
    amounts = torch.linalg.solve(torch.tensor(axes).T, unit.T).T
    assert amounts.std(dim=0).tolist() == pytest.approx([0.1] * 3, rel=0.05)
    assert amounts.mean(dim=0).abs().max() < 0.007
    assert torch.corrcoef(amounts.T).sub(torch.eye(3)).abs().max() < 0.06
    alone = shift_colors(images[7:8], spec, recipe, 1, torch.tensor([7])) - images[7:8]
    assert torch.allclose(alone, moves[7:8], atol=1e-6)
    again = shift_colors(images, spec, recipe, 2, torch.arange(3000)) - images
    assert not torch.allclose(again, moves, atol=1e-3)
    assert shift_colors(images, spec, RECIPE, 1, torch.arange(3000)) is images
