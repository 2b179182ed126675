"""Volumes, right angles, and the order of all changes: one image at a time against a batch."""

import pytest
import torch

from striate.augmentation import (
    augment,
    blur,
    hide_square,
    jitter,
    mirror,
    mix,
    outside_color,
    partners,
    shift_colors,
    shift_pixels,
    turn,
    warp,
)
from striate.augmentation.graining import add_noise, shift_grey
from striate.batches import input_spec, training_batches
from striate.deformation import offsets, read_at
from striate.preparation import InputSpec, fit, normalize, to_unit
from striate.randomness import integers, uniforms
from striate.recipes import Recipe

RECIPE = Recipe(network="lenet5", data="digits", seed=3)
INDICES = torch.tensor([3, 11, 5, 8, 70])


@pytest.mark.parametrize(("size", "outcomes"), [((5, 5), 8), ((4, 5, 5), 16)])
def test_turns_are_those_of_a_tile_with_a_mask_and_exact(size, outcomes):
    axes, number = len(size), 300
    image = torch.rand(2, *size)
    indices = torch.arange(number)
    turned = turn(image.expand(number, *image.shape), RECIPE.replace(turns=True), 1, indices)
    drawn = uniforms(3, 1, indices, "turns", axes + 2).tolist()
    seen = set()
    for result, own in zip(turned, drawn, strict=True):
        flipped = [axis - axes for axis in range(axes) if own[axis] < 0.5]
        expected = torch.rot90(image.flip(flipped), int(4 * own[axes]), (-2, -1))
        assert torch.equal(result, expected)
        seen.add(tuple(result.flatten().tolist()))
    assert len(seen) == outcomes


def test_volumes_are_mirrored_along_their_last_axis():
    volumes = torch.rand(40, 2, 3, 4, 5)
    mirrored = mirror(volumes, RECIPE.replace(flip=True), 0, torch.arange(40))
    chosen = uniforms(3, 0, torch.arange(40), "flip", 1)[:, 0] < 0.5
    assert 0 < chosen.sum() < 40
    for volume, result, is_mirrored in zip(volumes, mirrored, chosen, strict=True):
        assert torch.equal(result, volume.flip(-1) if is_mirrored else volume)


def test_volumes_are_shifted_by_whole_voxels():
    volumes = torch.rand(5, 2, 4, 3, 6)
    color = torch.tensor([0.25, 0.5])
    moved = shift_pixels(volumes, RECIPE.replace(crop_padding=2), 1, INDICES, color)
    drawn = integers(3, 1, INDICES, "crop padding", 3, 5).tolist()
    for volume, result, (a, b, c) in zip(volumes, moved, drawn, strict=True):
        padded = color.view(2, 1, 1, 1).expand(2, 8, 7, 10).clone()
        padded[:, 2:6, 2:5, 2:8] = volume
        assert torch.equal(result, padded[:, a : a + 4, b : b + 3, c : c + 6])


@pytest.mark.parametrize(
    "changes",
    [
        {"shift": 1.0}, {"rotation": 20.0}, {"scale": 0.2}, {"squeeze": 0.2}, {"shear": 0.2},
        {"elastic": 0.7}, {"elastic": 0.5, "elastic_points": 3, "rotation": 10.0, "shift": 0.5},
    ],
)  # fmt: skip
def test_a_volume_is_warped_as_a_tile_with_a_mask_is(changes):
    recipe = RECIPE.replace(**changes)
    size = (9, 11, 13)
    volumes = torch.rand(5, 2, *size)
    warped = warp(volumes, recipe, 2, INDICES)
    checked = 0
    for volume, result, index in zip(volumes, warped, INDICES.split(1), strict=True):
        middle = torch.tensor([(n - 1) / 2 for n in size])
        places = offsets(recipe, 2, index, size) + middle
        inside = ((places >= 0) & (places <= 2 * middle)).all(dim=-1)  # borders differ
        expected = read_at(volume, places)
        assert torch.allclose(result[:, inside], expected[:, inside], atol=1e-4)
        checked += int(inside.sum())
    assert checked > 0.4 * 5 * 9 * 11 * 13
    alone = warp(volumes[1:2], recipe, 2, INDICES[1:2])
    assert torch.allclose(alone, warped[1:2], atol=1e-5)


ALL = {
    "flip": True, "crop_padding": 1, "rotation": 10.0, "elastic": 0.3, "brightness": 0.2,
    "contrast": 0.2, "saturation": 0.3, "hue": 0.1, "blur": 0.8, "grey": 0.1, "noise": 0.1,
    "cutout": 2, "pca_color": 0.1,
}  # fmt: skip


def spec_of(size: tuple[int, ...]) -> InputSpec:
    return InputSpec(
        channels=3, image_size=size, input_size=size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25),
        background=(0.0, 0.1, 0.2), color_axes=((0.1, 0.1, 0.1), (0.01, 0, 0), (0, 0.01, 0)),
    )  # fmt: skip


@pytest.mark.parametrize("size", [(8, 8), (5, 7, 7)])
@pytest.mark.parametrize("mirrors", [{"flip": True}, {"flip": False, "turns": True}])
def test_all_changes_come_in_the_documented_order_and_in_any_batch_the_same(size, mirrors):
    recipe = RECIPE.replace(**{**ALL, **mirrors})
    spec, images = spec_of(size), torch.rand(5, 3, *size)
    together = augment(images, spec, recipe, 2, INDICES)
    assert together.shape == images.shape
    one = mirror(images, recipe, 2, INDICES)
    for change in (turn, warp):
        one = change(one, recipe, 2, INDICES)
    one = shift_colors(normalize(one, spec), spec, recipe, 2, INDICES)
    one = shift_pixels(one, recipe, 2, INDICES, outside_color(spec))
    one = jitter(one, spec.mean, spec.std, recipe, 2, INDICES)
    for change in (blur, shift_grey, add_noise, hide_square):
        one = change(one, recipe, 2, INDICES)
    assert torch.equal(one, together)
    backwards = augment(images.flip(0), spec, recipe, 2, INDICES.flip(0)).flip(0)
    assert torch.allclose(backwards, together, atol=1e-5)
    for place in range(5):
        here = slice(place, place + 1)
        alone = augment(images[here], spec, recipe, 2, INDICES[here])
        assert torch.allclose(alone, together[here], atol=1e-5)


def test_images_in_memory_and_windows_from_files_are_changed_the_same(part):
    recipe = Recipe(
        network="lecun1990", data="bars", batch_size=51, turns=True, brightness=0.3, blur=1.0,
        cutout=5, crop_padding=1,
    )  # fmt: skip
    spec = input_spec(part.images, (0, 255), (1, 28, 28), recipe)
    batch = next(training_batches(part, (0, 255), spec, recipe, 2))
    windows = fit(to_unit(part.images[batch.indices], (0, 255)), spec)
    assert torch.equal(augment(windows, spec, recipe, 2, batch.indices), batch.images)


@pytest.mark.parametrize("size", [(8, 8), (5, 7, 7)])
def test_everything_is_computed_where_the_images_are(size):
    recipe = RECIPE.replace(**ALL, mixup=1.0, cutmix=1.0, scale=0.1)
    indices = torch.arange(5, device="meta")
    images = torch.empty(5, 3, *size, device="meta")
    changed = augment(images, spec_of(size), recipe, 2, indices)
    others = partners(recipe, 2, indices, 9)
    mixed = mix(changed, augment(images, spec_of(size), recipe, 2, others), recipe, 2, indices)
    assert mixed.images.shape == images.shape
    assert {each.device.type for each in (changed, others, *mixed)} == {"meta"}
