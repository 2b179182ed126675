"""The USPS text files: lines by hand, and the real digits read a second way."""

import gzip

import pytest
import torch

from conftest import real_data
from striate.datasets import load
from striate.datasets.usps import read_usps_part
from striate.errors import DataError

# Counted by the set's own zip.info.txt.
TRAIN_COUNTS = [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
TEST_COUNTS = [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]


def line(label: str, *, first: str = "-1.0000", count: int = 256) -> str:
    return " ".join([label, first, *["0.2970"] * (count - 2), "1"]) + "\n"


@pytest.fixture
def real_folder():
    return real_data("usps")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_line_is_a_digit_and_its_pixels_row_by_row(tmp_path, pack):
    numbers = [f"{(index - 128) / 1000:.4f}" for index in range(256)]
    text = "6.0000 " + " ".join(numbers) + "\n" + line("0") + line("9.0")
    (tmp_path / "zip.test").write_bytes(pack(text.encode()))
    part = read_usps_part(tmp_path / "zip.test", num_classes=10)
    assert part.targets.tolist() == [6, 0, 9]
    assert part.targets.dtype == torch.int64
    assert part.images.shape == (3, 1, 16, 16)
    assert part.images.dtype == torch.float32
    assert part.images[0, 0, 3, 5] == torch.tensor((3 * 16 + 5 - 128) / 1000)
    assert part.images[1, 0, 15, 15] == 1


def test_one_line_is_a_part_of_one_image_that_owns_its_memory(tmp_path):
    (tmp_path / "zip.test").write_text(line("3").strip() + " \n\n")
    for values in read_usps_part(tmp_path / "zip.test", num_classes=10):
        assert len(values) == 1
        assert values.is_contiguous()
        assert values.untyped_storage().nbytes() == values.nbytes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not USPS text, 257 numbers to a line: loadtxt"),
        (line("1") + line("2", count=255), "the number of columns changed from 257 to 256"),
        (line("1", count=255), "has 256 numbers to a line, not 257"),
        (line("1") + line("2", first="x"), "could not convert string 'x' to float32 at row 1"),
        (line("1") + line("2", first="#"), "could not convert string '#' to float32"),
        (line("1") + line("2", first="-1.001"), r"grey value -1\.001\d* of image 1 is outside"),
        (line("1") + line("2", first="nan"), "grey value nan of image 1 is outside -1 to 1"),
        (line("1") + line("2.5"), "label 2.5 of image 1 is not a whole number"),
        (line("nan"), "label nan of image 0 is not a whole number"),
        (line("3") + line("10"), "label 10 of image 1 is none of the classes 0 to 9"),
        (line("-1"), "label -1 of image 0 is none of the classes"),
    ],
)
def test_what_is_not_usps_text_is_refused(tmp_path, text, words):
    (tmp_path / "zip.train").write_text(text)
    with pytest.raises(DataError, match=words) as refusal:
        read_usps_part(tmp_path / "zip.train", num_classes=10)
    assert str(refusal.value).startswith(str(tmp_path / "zip.train"))
    assert "\n" not in str(refusal.value)


def test_the_real_digits_are_as_many_as_their_page_says(real_folder):
    usps = load("usps")
    assert usps.source == str(real_folder)
    assert usps.parts["train"].targets.bincount().tolist() == TRAIN_COUNTS
    assert usps.parts["test"].targets.bincount().tolist() == TEST_COUNTS


def test_the_real_values_are_those_of_the_text_read_number_by_number(real_folder):
    part = load("usps", parts=["test"]).parts["test"]
    lines = gzip.decompress((real_folder / "zip.test.gz").read_bytes()).decode().splitlines()
    for index in (0, 1, 702, 2_006):
        label, *pixels = map(float, lines[index].split())
        assert part.targets[index] == label
        assert torch.equal(part.images[index].flatten(), torch.tensor(pixels))
    assert (part.images.min(), part.images.max()) == (-1, 1)
