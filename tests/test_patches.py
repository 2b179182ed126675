"""Tiles: exact where nothing is resampled, image and mask together, functions of their place."""

import numpy as np
import pytest
import torch

from striate.augmentation import blur, hide_square, jitter
from striate.datasets.masks import MaskedImage
from striate.patches import Tiles
from striate.recipes import Recipe
from striate.tile_input import TileSpec

RECIPE = Recipe(network="unet", data="isbi2012", seed=3)


def spec_of(tile, intensity="set"):
    return TileSpec(
        channels=1, tile=tile, intensity=intensity, mean=(0,), std=(1,), dtype="float32",
        modalities=("",),
    )  # fmt: skip


def numbered(*size):
    """An image whose pixels are all different, and a mask that follows from them."""
    image = torch.arange(float(np.prod(size))).view(1, *size)
    return MaskedImage("numbered", image, (image[0] % 7).to(torch.uint8))


def tiles(part, tile, output, recipe=RECIPE, **options):
    return Tiles(part, spec_of(tile, **options), output, recipe)


@pytest.mark.parametrize(
    ("size", "tile", "output"),
    [((11, 9), (8, 6), (4, 2)), ((5, 4), (8, 8), (8, 8)), ((6, 5, 7), (4, 6, 4), (4, 4, 2))],
)
def test_without_augmentation_a_tile_is_the_image_padded_by_mirrors(size, tile, output):
    each = numbered(*size)
    cut = tiles([each], tile, output)
    margins = [(a - b) // 2 for a, b in zip(tile, output, strict=True)]
    reach = [m + max(out - n, 0) for m, out, n in zip(margins, output, size, strict=True)]
    padded = np.pad(each.image[0].numpy(), [(r, r) for r in reach], mode="reflect")
    seen = set()
    for index in range(60):
        batch = cut.batch(0, torch.tensor([index]))
        image = batch.images[0, 0].numpy()
        middle = tuple(slice(m, m + out) for m, out in zip(margins, output, strict=True))
        assert np.array_equal(image[middle] % 7, batch.targets[0].numpy())
        corner = np.argwhere(padded == image.flat[0])
        cuts = [tuple(slice(s, s + t) for s, t in zip(c, tile, strict=True)) for c in corner]
        places = [
            tuple(start)
            for start, where in zip(corner, cuts, strict=True)
            if np.array_equal(padded[where], image)
        ]
        assert places
        seen.add(places[0])
    free = [max(n - out, 0) + 1 for n, out in zip(size, output, strict=True)]
    assert len(seen) > 0.6 * min(np.prod(free), 60)


def test_every_image_gives_as_many_tiles():
    part = [MaskedImage("", torch.full((1, 4, 4), float(v)), torch.zeros(4, 4, dtype=torch.uint8))
            for v in range(5)]  # fmt: skip
    values = tiles(part, (4, 4), (4, 4)).batch(1, torch.arange(15)).images[:, 0, 0, 0].tolist()
    assert [sorted(values[i : i + 5]) for i in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3
    assert values[:5] != values[5:10]


def test_a_batch_s_tiles_do_not_depend_on_the_batch():
    recipe = RECIPE.replace(turns=True, elastic=2, rotation=30, grey=0.2, noise=0.1, rare=0.5)
    cut = tiles([numbered(20, 20), numbered(17, 23)], (8, 8), (8, 8), recipe)
    whole = cut.batch(4, torch.arange(6))
    for index in range(6):
        one = cut.batch(4, torch.tensor([index]))
        assert torch.equal(one.images[0], whole.images[index])
        assert torch.equal(one.targets[0], whole.targets[index])
    assert not torch.equal(whole.images, cut.batch(5, torch.arange(6)).images)


@pytest.mark.parametrize("size", [(32, 32), (16, 16, 16)])
@pytest.mark.parametrize(
    "changes",
    [
        {"turns": True}, {"flip": True}, {"rotation": 40}, {"scale": 0.3}, {"shift": 4},
        {"elastic": 2, "elastic_points": 3}, {"turns": True, "rotation": 40, "elastic": 1},
    ],
)  # fmt: skip
def test_image_mask_and_weights_move_together(size, changes):
    grid = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij"))
    shape = ((grid - (size[0] - 1) / 2).square().sum(0).sqrt() + grid[-1] / 5 < size[0] / 3).float()
    each = MaskedImage("blob", shape[None], shape.to(torch.uint8))
    output = tuple(n - 8 for n in size)
    cut = Tiles([each], spec_of(size), output, RECIPE.replace(**changes), [shape])
    batch = cut.batch(0, torch.arange(8))
    inner = batch.images[:, 0]
    for axis in range(1, len(size) + 1):
        inner = inner.narrow(axis, 4, output[axis - 1])
    wrong = ((inner > 0.5).to(torch.uint8) != batch.targets).float().mean()
    assert wrong < 0.03
    assert torch.equal(batch.weights, batch.targets.float())
    assert len({tuple(mask.flatten().tolist()) for mask in batch.targets}) > 2


def test_a_rotation_turns_what_is_round_in_the_spacing_of_the_image():
    ramps = torch.meshgrid(torch.arange(30.0), torch.arange(30.0), indexing="ij")
    mask, spacing = torch.zeros(30, 30, dtype=torch.uint8), torch.tensor([3.0, 1.0])
    read = []  # the row, and the column, where each pixel of the tiles was read
    for ramp in ramps:
        each = MaskedImage("ramp", ramp[None], mask, tuple(spacing.tolist()))
        cut = tiles([each], (9, 9), (9, 9), RECIPE.replace(rotation=40))
        read.append(cut.batch(0, torch.arange(20)).images[:, 0])
    at = torch.stack(read, dim=1)
    steps = torch.stack([at[..., 5, 4] - at[..., 3, 4], at[..., 4, 5] - at[..., 4, 3]], dim=-1) / 2
    turns = spacing[:, None] * steps / spacing
    assert torch.allclose(turns @ turns.mT, torch.eye(2).expand(20, 2, 2), atol=1e-4)
    assert turns[:, 0, 1].abs().max() > 0.4


def test_turns_are_the_eight_of_the_square_and_exact():
    each = numbered(4, 4)
    recipe = RECIPE.replace(turns=True)
    batch = tiles([each], (4, 4), (4, 4), recipe).batch(0, torch.arange(100))
    seen = {tuple(image.flatten().tolist()) for image in batch.images}
    wanted = {
        tuple(np.rot90(view, k).flatten().tolist())
        for view in (each.image[0].numpy(), each.image[0].numpy()[:, ::-1])
        for k in range(4)
    }
    assert seen == wanted


def test_rare_tiles_sit_on_every_class_evenly():
    mask = torch.zeros(40, 40, dtype=torch.uint8)
    mask[3, 5], mask[20:30, 20:30], mask[0, 0] = 1, 2, 255
    each = MaskedImage("rare", mask[None].float(), mask)
    batch = tiles([each], (5, 5), (5, 5), RECIPE.replace(rare=1)).batch(0, torch.arange(400))
    middles = batch.targets[:, 2, 2]
    assert (middles == 1).float().mean().item() == pytest.approx(0.5, abs=0.08)
    assert ((middles == 1) | (middles == 2)).all()
    never = tiles([each], (5, 5), (5, 5)).batch(0, torch.arange(400)).targets[:, 2, 2]
    assert (never == 1).float().mean() < 0.02


def test_each_image_is_standardised_by_itself_if_asked():
    part = [MaskedImage("", 100.0**k + torch.arange(16.0).view(1, 4, 4) * 3**k,
                        torch.zeros(4, 4, dtype=torch.uint8)) for k in (0, 1)]  # fmt: skip
    for recipe in (RECIPE, RECIPE.replace(shift=1e-6)):
        batch = tiles(part, (4, 4), (4, 4), recipe, intensity="image").batch(0, torch.arange(2))
        for image in batch.images:
            assert image.mean().item() == pytest.approx(0, abs=1e-4)
            assert image.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_grey_values_change_by_gain_and_shift_and_noise_by_pixel():
    each = MaskedImage("", torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]),
                       torch.zeros(2, 2, dtype=torch.uint8))  # fmt: skip
    grey = tiles([each], (2, 2), (2, 2), RECIPE.replace(grey=0.3)).batch(0, torch.arange(500))
    steps = grey.images[:, 0, 0, 1] - grey.images[:, 0, 0, 0]
    assert torch.allclose(grey.images[:, 0, 1, 1] - grey.images[:, 0, 1, 0], steps, atol=1e-5)
    assert (steps.mean().item(), steps.std().item()) == pytest.approx((1, 0.3), abs=0.04)
    assert grey.images[:, 0, 0, 0].std().item() == pytest.approx(0.3, abs=0.04)
    noisy = tiles([each], (2, 2), (2, 2), RECIPE.replace(noise=0.2)).batch(0, torch.arange(500))
    apart = noisy.images - each.image
    assert apart.std().item() == pytest.approx(0.2 / 3**0.5, rel=0.1)


def test_matched_tiles_have_the_other_image_s_values():
    low = MaskedImage("", torch.rand(1, 8, 8), torch.zeros(8, 8, dtype=torch.uint8))
    high = low._replace(image=50 + 10 * torch.rand(1, 8, 8))
    recipe = RECIPE.replace(match_histograms=True)
    batch = tiles([low, high], (8, 8), (8, 8), recipe).batch(0, torch.arange(80))
    means = batch.images.mean(dim=(1, 2, 3))
    assert ((means < 1) | (means > 50)).all()
    order = low.image.flatten().argsort()
    from_low = [i for i in range(80) if torch.equal(batch.images[i].flatten().argsort(), order)]
    moved = sum(bool(means[i] > 50) for i in from_low) / len(from_low)
    assert moved == pytest.approx(0.25, abs=0.15)


@pytest.mark.parametrize(
    "changes",
    [
        {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.2}, {"blur": 1.5},
        {"cutout": 5}, {"brightness": 0.5, "blur": 1.0, "grey": 0.1, "noise": 0.1, "cutout": 3},
    ],
)  # fmt: skip
def test_changes_of_values_leave_the_mask_alone_and_are_those_of_whole_images(changes):
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(256, (3, 12, 14), dtype=torch.uint8, generator=generator)
    mask = torch.randint(3, (12, 14), dtype=torch.uint8, generator=generator)
    spec = TileSpec(
        channels=3, tile=(8, 10), intensity="set", mean=(100.0, 120.0, 90.0),
        std=(50.0, 60.0, 40.0), dtype="uint8", modalities=("",) * 3,
    )  # fmt: skip
    indices, recipe = torch.arange(9), RECIPE.replace(turns=True, rotation=20.0)
    plain = Tiles([MaskedImage("one", image, mask)], spec, (8, 10), recipe).batch(1, indices)
    recipe = recipe.replace(**changes)
    batch = Tiles([MaskedImage("one", image, mask)], spec, (8, 10), recipe).batch(1, indices)
    assert torch.equal(batch.targets, plain.targets)
    assert len(batch.targets.unique()) == 3
    unit = [[value / 255 for value in values] for values in (spec.mean, spec.std)]
    expected = jitter(plain.images, *unit, recipe, 1, indices)
    expected = blur(expected, recipe, 1, indices)
    if recipe.noise:  # other numbers than those of whole images, since before these could have it
        kept = batch.images == 0
        assert kept.flatten(1).any(dim=1).all()
        assert not torch.allclose(batch.images, hide_square(expected, recipe, 1, indices))
        return
    expected = hide_square(expected, recipe, 1, indices)
    assert torch.allclose(batch.images, expected, atol=1e-5)
    assert (batch.images != plain.images).flatten(1).any(dim=1).sum() > 6  # some blur is tiny
