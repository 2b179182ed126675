"""What images with masks take in memory, told before they are read."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from striate.datasets.mask_memory import available_memory, memory_of, require_memory
from striate.datasets.mask_reading import read_pixels
from striate.datasets.pairing import Pair
from striate.errors import DataError


def written(folder, name, pixels):
    path = folder / name
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack")
    else:
        Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("a.png", np.zeros((5, 7), np.uint8)),
        ("a.png", np.zeros((5, 7, 3), np.uint8)),
        ("a.png", np.zeros((5, 7), np.uint16)),
        ("a.jpg", np.zeros((5, 7, 3), np.uint8)),
        ("a.tif", np.zeros((3, 5, 7), np.uint16)),
        ("a.tif", np.zeros((3, 5, 7), np.float32)),
    ],
)
def test_what_is_foretold_is_what_it_takes(tmp_path, name, pixels):
    path = written(tmp_path, name, pixels)
    image = read_pixels([path]).image
    taken = image.numel() * image.element_size() + image[0].numel()
    assert memory_of(Pair((path,), path)) == taken
    assert memory_of(Pair((path, path), path)) == 2 * taken - image[0].numel()


def test_more_than_there_is_is_refused_with_both_figures(tmp_path):
    path = written(tmp_path, "a.png", np.zeros((500, 700), np.uint8))
    pairs = [Pair((path,), path)] * 3
    require_memory(pairs, 2_100_000)
    require_memory(pairs, None)
    with pytest.raises(
        DataError, match=r"the 3 images and masks take 2.1MB in memory, and 2MB are free;"
    ):
        require_memory(pairs, 2_000_000)


def test_a_system_that_does_not_tell_its_memory_is_trusted(tmp_path):
    assert available_memory(tmp_path / "none") is None
    (tmp_path / "meminfo").write_text("MemTotal: 5 kB\n")
    assert available_memory(tmp_path / "meminfo") is None


def test_a_file_that_is_no_picture_is_left_to_its_reader(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("no picture")
    assert memory_of(Pair((path,), path)) == 0
