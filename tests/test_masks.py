"""Images with masks in memory: what is refused, what is said, what a fingerprint tells apart."""

import pytest
import torch

from striate.datasets.masks import MaskedImage, MaskSet, check_masks, oddities
from striate.errors import DataError

CLASSES = ("cell", "membrane", "vesicle")


def one(name="a.png", *, size=(3, 5), channels=1, mask=None, value=None):
    generator = torch.Generator().manual_seed(len(name))
    image = torch.randint(0, 99, (channels, *size), generator=generator, dtype=torch.uint8)
    own = torch.arange(3).repeat(9)[: size[0] * size[1]].view(size) if mask is None else mask
    return MaskedImage(name, image if value is None else image * 0 + value, own.to(torch.uint8))


def set_of(**parts):
    return MaskSet("a", CLASSES, ("",), parts, "here")


def test_a_mask_of_another_size_is_refused_by_name():
    turned = one("b.png")._replace(mask=one().mask.T)
    with pytest.raises(DataError, match=r"^b.png: the image is 3x5, its mask 5x3; put the right"):
        check_masks({"train": [one(), turned]}, CLASSES)


def test_a_value_that_is_no_class_is_refused_and_255_is_not():
    mask = torch.tensor([[0, 255, 1], [2, 2, 255]])
    check_masks({"train": [one(size=(2, 3), mask=mask)]}, CLASSES)
    with pytest.raises(
        DataError, match=r"b: its mask holds 2, which is none of the classes 0 to 1"
    ):
        check_masks({"test": [one("b", size=(2, 3), mask=mask)]}, CLASSES[:2])


def test_other_channels_are_refused_across_parts_with_both_named():
    parts = {"train": [one()], "validation": [one("b.png", channels=3)]}
    with pytest.raises(DataError, match=r"b.png has 3 channels, a.png 1 channel; bring all"):
        check_masks(parts, CLASSES)


def test_images_and_volumes_in_one_set_are_refused():
    with pytest.raises(DataError, match=r"b.nii has 3 axes, a.png 2; keep images and volumes"):
        check_masks(
            {"train": [one(), one("b.nii", size=(2, 3, 4), mask=torch.zeros(2, 3, 4))]}, CLASSES
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_pixels_without_a_number_are_refused(value):
    image = torch.ones(1, 3, 5)
    check_masks({"train": [one()._replace(image=image)]}, CLASSES)
    image[0, 1, 2] = value
    with pytest.raises(DataError, match=r"b.tif holds NaN or infinite pixels"):
        check_masks({"train": [one(), one("b.tif")._replace(image=image)]}, CLASSES)


def test_what_is_odd_is_said_with_names():
    empty = torch.zeros(3, 5)
    parts = {
        "train": [
            one(), one("b", value=7), one("c", value=0), one("d", mask=empty),
            one("e", mask=empty), one("f", mask=empty), one("g", mask=empty + 255),
        ],
        "validation": [one("h", mask=torch.tensor([[0, 1, 0, 0, 0]] * 3))],
    }  # fmt: skip
    assert oddities(set_of(**parts)) == [
        "train: one value everywhere in b, c",
        "train: no class but cell in the mask of d, e and 1 more",
        "train: nothing but pixels to leave out in the mask of g",
    ]
    assert oddities(set_of(train=[one()])) == []


def test_a_class_that_no_training_mask_holds_is_said():
    two = one(mask=torch.tensor([[0, 2, 2, 0, 0]] * 3))
    assert oddities(set_of(train=[two])) == ["train: no mask holds membrane"]
    assert oddities(set_of(test=[two])) == []


def test_a_fingerprint_tells_images_masks_and_parts_apart():
    same = {set_of(train=[one()]).fingerprint(), set_of(train=[one()]).fingerprint()}
    assert len(same) == 1
    others = [
        set_of(test=[one()]),
        set_of(train=[one(value=3)]),
        set_of(train=[one(mask=torch.zeros(3, 5))]),
        set_of(train=[one()._replace(image=one().image.float())]),
        set_of(train=[one(), one()]),
    ]
    assert len(same | {each.fingerprint() for each in others}) == 6
