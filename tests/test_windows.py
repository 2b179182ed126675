"""Training windows: exact copies or the one resize, and functions of (seed, epoch, index)."""

import pytest
import torch

from striate.preparation import InputSpec, fit, resize, to_unit
from striate.recipes import Recipe
from striate.windows import area_spans, side_spans, take_windows

RANGE = (0.0, 255.0)
RECIPE = Recipe(network="lenet5_relu", data="digits", image_size=12, crop="random")


def spec_of(image_size: tuple[int, int], input_size: tuple[int, int] = (8, 8)) -> InputSpec:
    return InputSpec(
        channels=2, image_size=image_size, input_size=input_size, mean=(0.0, 0.0), std=(1.0, 1.0),
        background=(0.0, 0.0),
    )  # fmt: skip


def places(height: int, width: int, count: int) -> torch.Tensor:
    """Images that say at each pixel in which row and column it lies."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns]).to(torch.uint8).expand(count, -1, -1, -1)


def test_random_windows_are_copies_of_the_pixels_and_every_place_comes():
    spec = spec_of((12, 15), (8, 10))
    windows = take_windows(places(12, 15, 600), RANGE, spec, RECIPE, 0, torch.arange(600)) * 255
    corners = set()
    for window in windows.round():
        top, left = int(window[0, 0, 0]), int(window[1, 0, 0])
        assert torch.equal(window[0], torch.arange(top, top + 8.0)[:, None].expand(-1, 10))
        assert torch.equal(window[1], torch.arange(left, left + 10.0).expand(8, -1))
        corners.add((top, left))
    assert corners == {(top, left) for top in range(5) for left in range(6)}


def test_a_random_window_is_one_of_the_resized_image():
    stored = torch.randint(256, (5, 2, 7, 9), dtype=torch.uint8)
    spec = spec_of((12, 15))
    windows = take_windows(stored, RANGE, spec, RECIPE, 3, torch.arange(5))
    whole = resize(to_unit(stored, RANGE), (12, 15))
    for image, window in zip(whole, windows, strict=True):
        found = [
            (top, left)
            for top in range(5)
            for left in range(8)
            if torch.equal(window, image[:, top : top + 8, left : left + 8])
        ]
        assert len(found) == 1


def test_a_random_side_gives_the_window_of_the_image_resized_to_that_side():
    stored = torch.randint(256, (40, 2, 20, 30), dtype=torch.uint8)
    spec, recipe = spec_of((12, 18)), RECIPE.replace(side_range=(9, 14))
    unit = to_unit(stored, RANGE)
    windows = take_windows(stored, RANGE, spec, recipe, 1, torch.arange(40))
    down, across = side_spans(unit, spec, recipe, 1, torch.arange(40))
    sides = set()
    for index, window in enumerate(windows):
        side = round(20 / float(down.scale[index]))
        whole = resize(unit[index : index + 1], (side, round(side * 1.5)))[0]
        top = round(float(down.first[index] / down.scale[index]))
        left = round(float(across.first[index] / across.scale[index]))
        assert torch.allclose(window, whole[:, top : top + 8, left : left + 8], atol=1e-5)
        sides.add(side)
    assert sides == {9, 10, 11, 12, 13, 14}


@pytest.mark.parametrize("input_size", [(8, 6), (28, 35)])
def test_a_part_by_area_is_cut_out_and_resized_like_any_image(input_size):
    stored = torch.randint(256, (64, 2, 37, 29), dtype=torch.uint8)
    spec, recipe = spec_of(input_size, input_size), RECIPE.replace(crop="area")
    unit = to_unit(stored, RANGE)
    windows = take_windows(stored, RANGE, spec, recipe, 2, torch.arange(64))
    down, across = area_spans(unit, spec, recipe, 2, torch.arange(64))
    for index, window in enumerate(windows):
        top, bottom = int(down.low[index]), int(down.high[index])
        left, right = int(across.low[index]), int(across.high[index])
        alone = resize(unit[index : index + 1, :, top:bottom, left:right], input_size)[0]
        assert torch.allclose(window, alone, atol=1e-5)


@pytest.mark.parametrize("size", [(100, 100), (100, 130), (150, 100)])
def test_parts_have_8_to_100_percent_of_the_area_and_aspects_from_3_4_to_4_3(size):
    images = torch.zeros(1, 2, *size).expand(4000, -1, -1, -1)
    spec, recipe = spec_of((8, 8)), RECIPE.replace(crop="area")
    down, across = area_spans(images, spec, recipe, 0, torch.arange(4000))
    heights, widths = down.high - down.low, across.high - across.low
    assert min(down.low.min(), across.low.min()) == 0
    assert (down.high.max(), across.high.max()) == size
    areas, aspects = heights * widths / (size[0] * size[1]), widths / heights
    assert 0.077 < areas.min() < 0.085
    assert 0.85 < areas.max() <= 1
    assert 0.73 < aspects.min() < 0.77
    assert 1.31 < aspects.max() < 1.36
    small = areas < 0.3  # all of these fit, so they are as they were drawn
    assert abs(areas[small].mean() - 0.19) < 0.006
    assert abs(aspects[small].log().mean()) < 0.02  # tall as often as wide


def test_where_no_part_fits_the_middle_is_taken():
    images = torch.zeros(3, 2, 10, 200)
    spec, recipe = spec_of((8, 8)), RECIPE.replace(crop="area")
    down, across = area_spans(images, spec, recipe, 0, torch.arange(3))
    assert (down.low.tolist(), down.high.tolist()) == ([0, 0, 0], [10, 10, 10])
    assert across.high.sub(across.low).tolist() == [13, 13, 13]  # 4/3 of the height
    assert across.low.tolist() == [93, 93, 93]


CROPS = [
    {}, {"side_range": (9, 14)}, {"crop": "area"}, {"crop": "area", "seed": 2**40},
]  # fmt: skip


@pytest.mark.parametrize("changes", CROPS)
def test_windows_depend_on_seed_epoch_and_index_only(changes):
    recipe, spec = RECIPE.replace(**changes), spec_of((12, 14))
    generator = torch.Generator().manual_seed(1)
    stored = torch.randint(256, (70, 2, 18, 21), dtype=torch.uint8, generator=generator)
    indices = torch.randperm(9000, generator=generator)[:70]
    together = take_windows(stored, RANGE, spec, recipe, 2, indices)
    assert together.shape == (70, 2, 8, 8)
    backwards = take_windows(stored.flip(0), RANGE, spec, recipe, 2, indices.flip(0))
    assert torch.allclose(backwards.flip(0), together, atol=1e-6)
    alone = take_windows(stored[50:51], RANGE, spec, recipe, 2, indices[50:51])
    assert torch.allclose(alone, together[50:51], atol=1e-6)
    for other in (
        take_windows(stored, RANGE, spec, recipe, 3, indices),
        take_windows(stored, RANGE, spec, recipe.replace(seed=1), 2, indices),
        take_windows(stored, RANGE, spec, recipe, 2, indices + 1),
    ):
        assert not torch.allclose(other, together, atol=1e-3)


def test_the_middle_is_what_evaluation_sees():
    stored = torch.randint(256, (5, 2, 18, 21), dtype=torch.uint8)
    spec, recipe = spec_of((12, 14)), RECIPE.replace(crop="center")
    windows = take_windows(stored, RANGE, spec, recipe, 0, torch.arange(5))
    assert torch.equal(windows, fit(to_unit(stored, RANGE), spec))
