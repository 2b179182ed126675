"""Sets in memory and their fingerprint."""

import hashlib
from pathlib import Path

import pytest
import torch

from striate.datasets.sets import ImageSet, Part, check_targets
from striate.errors import DataError


def image_set(**parts: Part) -> ImageSet:
    return ImageSet("odd", ("no", "yes"), (0, 255), parts, "memory")


def part(*, shape=(7, 1, 5, 3), dtype=torch.uint8) -> Part:
    count = torch.Size(shape).numel()
    return Part(torch.arange(count).to(dtype).reshape(shape), torch.arange(shape[0]) % 2)


def test_the_fingerprint_is_the_hash_of_names_shapes_and_bytes():
    odd = part()
    content = b"train images torch.uint8 (7, 1, 5, 3)\n" + bytes(range(105))
    content += b"train targets torch.int64 (7,)\n"
    content += b"".join((index % 2).to_bytes(8, "little") for index in range(7))
    assert image_set(train=odd).fingerprint() == hashlib.sha256(content).hexdigest()


def test_a_pixel_a_target_a_shape_a_type_and_a_part_each_change_the_fingerprint():
    pixel, target = part(), part()
    pixel.images[6, 0, 4, 2] += 1
    target.targets[6] += 1
    sets = [
        image_set(train=part()),
        image_set(train=pixel),
        image_set(train=target),
        image_set(train=part(shape=(7, 1, 3, 5))),
        image_set(train=Part(part().images.to(torch.int8), part().targets)),
        image_set(test=part()),
        image_set(train=part(), test=part()),
    ]
    assert len({each.fingerprint() for each in sets}) == len(sets)


def test_memory_layout_does_not_change_the_fingerprint():
    plain = part(shape=(7, 3, 5, 2))
    turned = Part(plain.images.to(memory_format=torch.channels_last), plain.targets)
    assert not turned.images.is_contiguous()
    assert image_set(train=turned).fingerprint() == image_set(train=plain).fingerprint()


def test_targets_within_the_classes_pass():
    check_targets(torch.tensor([0, 4, 2], dtype=torch.uint8), 5, Path("labels"))


@pytest.mark.parametrize(
    ("targets", "words"), [([0, 5, 6], "label 5 of image 1"), ([0, 4, -2], "label -2 of image 2")]
)
def test_a_target_outside_the_classes_is_refused(targets, words):
    with pytest.raises(DataError, match=f"labels: {words} is none of the classes 0 to 4"):
        check_targets(torch.tensor(targets), 5, Path("labels"))
