"""Augmentation against maps worked out by hand, and as a function of (seed, epoch, index)."""

import pytest
import torch
from torch.nn import functional as F

from striate.augmentation import augment
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
    assert augment(images, RECIPE, 0, INDICES) is images


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
    together = augment(images, recipe, 2, INDICES)
    assert together.shape == images.shape
    assert not torch.allclose(together, images)
    alone = augment(images[1:2], recipe, 2, INDICES[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-6)
    for other in (
        augment(images, recipe, 3, INDICES),
        augment(images, recipe.replace(seed=1), 2, INDICES),
        augment(images, recipe, 2, INDICES + 1),
    ):
        assert not torch.allclose(other, together)


def test_shifts_stay_within_their_limit_and_reach_it():
    images = blob(10, 15).expand(400, -1, -1, -1)
    shifted = augment(images, RECIPE.replace(shift=3.0), 0, torch.arange(400))
    moves = torch.tensor([centre(image[0]) for image in shifted]) - torch.tensor([10.0, 15.0])
    assert 2.8 < moves.abs().max() <= 3.01
    assert moves.mean(dim=0).abs().max() < 0.3
    assert (moves[:, 0] * moves[:, 1]).mean().abs() < 0.5  # the two axes are independent


def test_rotation_keeps_distances_on_an_image_that_is_not_square():
    images = torch.cat([blob(10, 15), blob(10, 21)], dim=1).expand(200, -1, -1, -1)
    turned = augment(images, RECIPE.replace(rotation=30.0), 0, torch.arange(200))
    centres = torch.tensor([[centre(channel) for channel in image] for image in turned])
    arms = centres[:, 1] - centres[:, 0]
    assert arms.norm(dim=1).sub(6).abs().max() < 0.1
    angles = torch.atan2(arms[:, 0], arms[:, 1]).rad2deg()
    assert 27 < angles.abs().max() <= 30.5


def test_squeeze_keeps_the_area_and_scale_does_not():
    images = blob(10, 15).expand(100, -1, -1, -1)
    squeezed = augment(images, RECIPE.replace(squeeze=0.3), 0, torch.arange(100))
    masses = squeezed.sum(dim=(1, 2, 3)) / images[0].sum()
    assert masses.sub(1).abs().max() < 0.03
    scaled = augment(images, RECIPE.replace(scale=0.3), 0, torch.arange(100))
    masses = scaled.sum(dim=(1, 2, 3)) / images[0].sum()
    assert 1.5 < masses.max() <= 1.72
    assert 0.58 <= masses.min() < 0.67  # 1.3 squared and its inverse


def test_shear_moves_rows_sideways_and_leaves_them_level():
    images = torch.cat([blob(10, 15), blob(16, 15)], dim=1).expand(100, -1, -1, -1)
    sheared = augment(images, RECIPE.replace(shear=0.4), 0, torch.arange(100))
    centres = torch.tensor([[centre(channel) for channel in image] for image in sheared])
    moves = centres - torch.tensor([[10.0, 15.0], [16.0, 15.0]])
    assert moves[:, :, 0].abs().max() < 0.1
    assert moves[:, 0].abs().max() < 0.05
    assert 2.2 < moves[:, 1, 1].abs().max() <= 2.45


def test_elastic_displacements_have_the_asked_for_deviation_at_their_control_points():
    ramp = torch.arange(31.0).expand(1, 1, 21, 31)
    bent = augment(ramp.expand(500, -1, -1, -1), RECIPE.replace(elastic=1.5), 0, torch.arange(500))
    moves = (bent - ramp)[:, 0, 10, 15]  # the middle control point
    assert moves.std().item() == pytest.approx(1.5, rel=0.15)


def test_what_comes_in_from_outside_repeats_the_border():
    images = torch.full((4, 1, 8, 8), 0.7)
    changed = augment(images, RECIPE.replace(shift=6.0, rotation=45.0), 0, INDICES)
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
    assert torch.allclose(augment(images, recipe, 4, INDICES), expected, atol=1e-4)
