"""Folders of images and masks: every layout, and what is told of others."""

import json

import pytest

from striate.datasets.mask_layouts import holds_masks, recognize_masks
from striate.errors import DataError

LAYOUTS = {
    "side by side": {"train": ("images/{}", "masks/{}")},
    "other words": {"train": ("imgs/{}", "labels/{}")},
    "parts inside": {
        "train": ("images/train/{}", "masks/train/{}"),
        "validation": ("images/val/{}", "masks/val/{}"),
        "test": ("images/test/{}", "masks/test/{}"),
    },
    "parts outside": {
        "train": ("training/images/{}", "training/gt/{}"),
        "validation": ("valid/image/{}", "valid/annotations/{}"),
    },
    "annot beside": {"train": ("train/{}", "trainannot/{}"), "test": ("test/{}", "testannot/{}")},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_each_layout_of_folders_is_known(tmp_path, layout):
    for number, files in enumerate(layout.values()):
        for file in files:
            path = tmp_path / file.format(f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert holds_masks(tmp_path)
    found = recognize_masks(tmp_path)
    assert found.title == "images and masks in folders"
    assert list(found.parts) == list(layout)
    for number, (part, (image, mask)) in enumerate(layout.items()):
        (pair,) = found.parts[part]
        assert pair.images == (tmp_path / image.format(f"{number}.png"),)
        assert pair.mask == tmp_path / mask.format(f"{number}.png")


def test_camvid_is_in_folders(camvid):
    parts = recognize_masks(camvid).parts
    assert {part: len(pairs) for part, pairs in parts.items()} == {
        "train": 92, "validation": 26, "test": 39,
    }  # fmt: skip


def test_a_table_in_the_folder_comes_before_the_description(tmp_path):
    facts = {
        "modality": {"0": "CT"}, "labels": {"0": "a", "1": "b"},
        "training": [{"image": "i.nii", "label": "m.nii"}],
    }  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    for name in ("i.nii", "m.nii"):
        (tmp_path / name).touch()
    said = recognize_masks(tmp_path)
    assert (said.title, said.modalities) == ("Medical Segmentation Decathlon", ("CT",))
    assert said.table.classes == ("a", "b")
    (tmp_path / "classes.csv").write_text("value,name\n1,liver\n0,other\n")
    assert recognize_masks(tmp_path).table.classes == ("liver", "other")


def test_other_folders_are_refused_with_what_lies_there(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*gone; give one with images/"):
        recognize_masks(tmp_path / "gone")
    with pytest.raises(DataError, match=r"holds no images with masks: there is nothing; put"):
        recognize_masks(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        DataError, match=r"there is images/, notes.txt; put images into images/ and"
    ):
        recognize_masks(tmp_path)
    assert not holds_masks(tmp_path)
    for number in range(10):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(DataError, match=r"there is 0.txt, .*5.txt and 6 more; put"):
        recognize_masks(tmp_path)


def test_folders_of_classes_are_recognized_in_the_refusal(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.JPG").touch()
    with pytest.raises(
        DataError, match=r"its folders cat, dog of images look like classes of whol"
    ):
        recognize_masks(tmp_path)
