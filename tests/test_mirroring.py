"""Reading past the border, against numpy's reflection."""

import numpy as np
import pytest
import torch

from striate.mirroring import mirrored_places, read_mirrored


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("before", [0, 1, 2, 6, 19])
def test_places_are_those_of_numpys_reflection(size, before):
    expected = np.pad(np.arange(size), (before, 23), "reflect")
    assert mirrored_places(-before, size + 23, size).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "region",
    [
        (slice(0, 5), slice(0, 7)),
        (slice(-3, 5), slice(2, 6)),
        (slice(-9, 17), slice(5, 23)),
        (slice(6, 9), slice(-9, -4)),
    ],
)
def test_a_region_is_that_of_the_mirrored_image_and_no_pixel_is_read_in_vain(region):
    image = torch.rand(2, 5, 7)
    asked = []

    def read(inside):
        asked.append(inside)
        return image[(slice(None), *inside)]

    block = read_mirrored(read, region, (5, 7))
    wide = np.pad(image.numpy(), ((0, 0), (30, 30), (30, 30)), "reflect")
    moved = tuple(slice(part.start + 30, part.stop + 30) for part in region)
    np.testing.assert_array_equal(block.numpy(), wide[(slice(None), *moved)])
    (inside,) = asked
    places = torch.arange(35).view(5, 7)
    seen = read_mirrored(lambda part: places[part][None], region, (5, 7)).unique()
    assert seen.tolist() == places[inside].unique().tolist()
