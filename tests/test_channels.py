"""Opened images in the channels that a network reads."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from striate.channels import with_channels
from striate.errors import DataError
from striate.volumes import open_volume

GREY = np.array([[0, 50, 255], [7, 8, 9]], np.uint8)


def opened(folder, pixels, mode=None):
    file = folder / "a.png"
    Image.fromarray(pixels, mode).save(file)
    return open_volume(file)


def test_grey_is_repeated_region_by_region(tmp_path):
    source = with_channels(opened(tmp_path, GREY), 3)
    assert source.shape == (3, 2, 3)
    assert source.notes == ("grey repeated as red, green and blue",)
    assert np.array_equal(source.read(), np.stack([GREY] * 3))
    assert source.read((slice(1, 2), slice(0, 2))).tolist() == [[[7, 8]]] * 3


def test_opacity_is_laid_on_white_in_the_stored_type(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0] = 100, 50, 0, 255
    pixels[1] = 100, 50, 0, 51  # a fifth
    source = with_channels(opened(tmp_path, pixels), 3)
    assert (source.dtype, source.notes) == (np.uint8, ("transparency laid on white",))
    assert source.read()[:, 0, 0].tolist() == [100, 50, 0]
    assert source.read()[:, 1, 1].tolist() == [224, 214, 204]
    two = opened(tmp_path, np.stack([GREY, np.full_like(GREY, 255)], 2), "LA")
    assert np.array_equal(with_channels(two, 3).read(), np.stack([GREY] * 3))


def test_a_network_of_as_many_channels_reads_opacity_as_it_is(tmp_path):
    source = opened(tmp_path, np.zeros((2, 2, 4), np.uint8))
    assert with_channels(source, 4) is source


@pytest.mark.parametrize(
    ("given", "channels", "told"),
    [
        (3, 1, r"a.tif has 3 channels, the run reads 1; convert it to grey, or train on im"),
        (4, 3, r"a.tif has 4 channels, the run reads 3; convert it to red, green and blue, or"),
        (1, 2, r"a.tif has 1 channel, the run reads 2; convert it, or"),
    ],
)
def test_others_are_refused_by_name(tmp_path, given, channels, told):
    pixels = np.zeros((given, 5, 6), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "CYX"}, photometric="minisblack")
    with open_volume(tmp_path / "a.tif") as source, pytest.raises(DataError, match=told):
        with_channels(source, channels)
