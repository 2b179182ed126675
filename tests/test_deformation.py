"""Places where a tile is read: the identity, turns, splines a second way, mirrors at the border."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates
from torch.nn import functional as F

from striate.augmentation import warps
from striate.deformation import offsets, read_at
from striate.recipes import Recipe
from striate.splines import bicubic_weights, bspline_weights

RECIPE = Recipe(network="unet", data="isbi2012", seed=4)
INDEX = torch.tensor([7])


def test_a_recipe_that_changes_nothing_reads_every_pixel_where_it_is():
    assert not warps(RECIPE)
    places = offsets(RECIPE, 0, INDEX, (5, 4))
    assert places[0, 0].tolist() == [-2, -1.5]
    assert places[4, 3].tolist() == [2, 1.5]


@pytest.mark.parametrize(
    "change", ["shift", "rotation", "scale", "squeeze", "shear", "elastic"]
)  # fmt: skip
@pytest.mark.parametrize("size", [(9, 7), (5, 7, 6)])
def test_each_change_moves_places_by_seed_epoch_and_index_alone(change, size):
    recipe = RECIPE.replace(**{change: 0.5 if change in ("scale", "squeeze", "shear") else 3})
    assert warps(recipe)
    still = offsets(RECIPE, 2, INDEX, size)
    moved = offsets(recipe, 2, INDEX, size)
    assert not torch.allclose(still, moved, atol=1e-3)
    assert torch.equal(moved, offsets(recipe, 2, INDEX, size))
    for other in (
        offsets(recipe, 3, INDEX, size),
        offsets(recipe, 2, INDEX + 1, size),
        offsets(recipe.replace(seed=5), 2, INDEX, size),
    ):
        assert not torch.allclose(moved, other, atol=1e-3)


def test_a_rotation_keeps_distances_in_millimetres():
    spacing = (3.0, 1.0, 0.5)
    places = offsets(RECIPE.replace(rotation=60), 0, INDEX, (4, 5, 6), spacing)
    before = offsets(RECIPE, 0, INDEX, (4, 5, 6), spacing)
    scale = torch.tensor(spacing)
    assert torch.allclose((places * scale).norm(dim=-1), (before * scale).norm(dim=-1), atol=1e-4)
    assert not torch.allclose(places.norm(dim=-1), before.norm(dim=-1), atol=1e-2)


def test_a_rotation_stays_within_its_degrees_and_uses_them():
    recipe, angles = RECIPE.replace(rotation=30), []
    for number in range(200):
        y, x = offsets(recipe, 0, torch.tensor([number]), (3, 3))[1, 2].tolist()
        angles.append(math.degrees(math.atan2(y, x)))
    assert max(map(abs, angles)) <= 30.01
    assert min(angles) < -27
    assert max(angles) > 27


def test_bicubic_weights_are_torch_s_bicubic_interpolation():
    points = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    wanted = F.interpolate(points, size=(11, 8), mode="bicubic", align_corners=True)[0, 0]
    ours = bicubic_weights(11, 3) @ points[0, 0] @ bicubic_weights(8, 3).T
    assert torch.allclose(ours, wanted, atol=1e-6)


def test_b_spline_weights_are_scipy_s_splines_with_the_end_points_repeated():
    values = np.array([0.3, -1.0, 2.0])
    padded = np.pad(values, (2, 2), mode="edge")
    spline = BSpline(np.arange(-4, 7) - 1.0 + 1.0, padded, 3)
    at = np.linspace(0, 2, 9)
    ours = bspline_weights(9, 3) @ torch.tensor(values, dtype=torch.float32)
    assert np.allclose(ours.numpy(), spline(at), atol=1e-6)


def test_elastic_displacements_have_their_deviation_at_the_points():
    recipe = RECIPE.replace(elastic=10, elastic_points=3)
    still = offsets(RECIPE, 0, INDEX, (9, 9))
    corners = torch.stack(
        [
            (offsets(recipe, 0, torch.tensor([number]), (9, 9)) - still)[::4, ::4]
            for number in range(300)
        ]
    )
    assert corners.std().item() == pytest.approx(10, rel=0.05)
    assert abs(corners.mean().item()) < 0.5


@pytest.mark.parametrize("size", [(6, 7), (4, 6, 5)])
def test_reading_is_scipy_s_with_mirrored_borders(size):
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, *size, generator=generator)
    places = (torch.rand(5, 3, len(size), generator=generator) - 0.3) * 12
    if len(size) == 3:
        places = places[:, :, None].expand(5, 3, 2, 3)
    for nearest, order in ((False, 1), (True, 0)):
        ours = read_at(image, places, nearest=nearest)
        for channel, values in zip(ours, image, strict=True):
            wanted = map_coordinates(
                values.numpy(), places.movedim(-1, 0).numpy(), order=order, mode="mirror"
            )
            assert np.allclose(channel.numpy(), wanted, atol=1e-5)
