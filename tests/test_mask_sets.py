"""The named sets of images with masks: the real files, their fixed parts, what they hold."""

import csv
import re

import numpy as np
import pytest
import tifffile
import torch

from striate.datasets import MASK_SETS, load_masks
from striate.datasets.mask_sets import ISBI_TEST, ISBI_VALIDATION, find_mask_set, read_mask_set
from striate.errors import DataError


def rows(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def loaded(request):
    """Each set, read once: name → MaskSet."""
    names = {"isbi2012": "isbi2012", "hippocampus": "hippocampus", "camvid-half": "camvid"}
    return {
        name: load_masks(name, data_dir=request.getfixturevalue(fixture).parent)
        for name, fixture in names.items()
    }


@pytest.mark.parametrize("name", MASK_SETS)
def test_the_catalogue_says_what_the_files_hold(loaded, name):
    named, masks = MASK_SETS[name], loaded[name]
    assert {part: len(images) for part, images in masks.parts.items()} == named.parts
    assert (masks.name, masks.classes, masks.modalities) == (
        name, named.classes, named.modalities,
    )  # fmt: skip
    assert len(named.image_shape) == masks.parts["test"][0].image.dim()
    for each in (each for images in masks.parts.values() for each in images):
        pairs = zip(named.image_shape, each.image.shape, strict=True)
        assert all(said in (None, size) for said, size in pairs)
        assert each.mask.dtype == torch.uint8


@pytest.mark.parametrize("name", MASK_SETS)
def test_no_image_is_in_two_parts(loaded, name):
    images = [each for part in loaded[name].parts.values() for each in part]
    assert len({each.name for each in images}) == len(images)
    assert len({each.image.numpy().tobytes() for each in images}) == len(images)


@pytest.mark.parametrize("name", MASK_SETS)
def test_parts_are_the_same_when_read_alone(loaded, name, request):
    fixture = "camvid" if name == "camvid-half" else name
    root = request.getfixturevalue(fixture).parent
    alone = load_masks(name, data_dir=root, parts=("validation",))
    assert list(alone.parts) == ["validation"]
    whole = loaded[name].parts["validation"]
    assert [each.name for each in alone.parts["validation"]] == [each.name for each in whole]


def test_isbi_s_parts_take_from_both_halves_and_keep_the_labels(loaded, isbi2012):
    places = {
        part: [int(re.search(r"slice (\d+)", each.name)[1]) for each in images]
        for part, images in loaded["isbi2012"].parts.items()
    }
    assert (places["test"], places["validation"]) == ([*ISBI_TEST], [*ISBI_VALIDATION])
    assert sorted(number for part in places.values() for number in part) == [*range(30)]
    for part in places.values():
        assert min(part) < 15 <= max(part)
    labels = tifffile.imread(isbi2012 / "train-labels.tif")
    images = tifffile.imread(isbi2012 / "train-volume.tif")
    for part, numbers in places.items():
        for number, each in zip(numbers, loaded["isbi2012"].parts[part], strict=True):
            assert np.array_equal(each.mask.numpy(), labels[number] > 0)
            assert np.array_equal(each.image[0].numpy(), images[number])


def test_hippocampus_counts_are_those_of_its_list(loaded, hippocampus):
    listed = {row["file"]: row for row in rows(hippocampus / "volumes.csv")}
    images = [each for part in loaded["hippocampus"].parts.values() for each in part]
    assert {each.name for each in images} == set(listed)
    for each in images:
        row = listed[each.name]
        counts = torch.bincount(each.mask.flatten(), minlength=3).tolist()
        assert counts == [int(row[f"n_{name}"]) for name in ("background", "anterior", "posterior")]
        assert "x".join(map(str, each.mask.shape[::-1])) == row["shape"]
        assert float(each.image.max()) == pytest.approx(float(row["max"]))
        assert each.stored == row["image_dtype"]
        assert each.spacing == (1, 1, 1)


def test_the_label_of_floats_is_read_as_whole_numbers(loaded, hippocampus):
    floats = [
        row["file"]
        for row in rows(hippocampus / "volumes.csv")
        if "uint8" not in row["label_dtype"]
    ]
    assert floats == ["hippocampus_243.nii.gz"]
    images = [each for part in loaded["hippocampus"].parts.values() for each in part]
    (each,) = (each for each in images if each.name == floats[0])
    assert each.mask.unique().tolist() == [0, 1, 2]


def test_camvid_s_shares_are_those_of_its_table_and_the_unlabelled_is_left_out(loaded, camvid):
    table = rows(camvid / "classes.csv")
    masks = loaded["camvid-half"]
    assert [row["name"] for row in table] == [*masks.classes, "Unlabelled"]
    for part, column in (("train", "train"), ("validation", "val"), ("test", "test")):
        counts = sum(
            torch.bincount(each.mask.flatten(), minlength=256) for each in masks.parts[part]
        )
        shares = (counts / counts.sum()).tolist()
        wanted = [float(row[f"{column}_pixel_fraction"]) for row in table]
        assert [*shares[:11], shares[255]] == pytest.approx(wanted, abs=1e-3)
        assert sum(shares[11:255]) == 0


def test_camvid_without_its_name_needs_its_own_table_only(camvid):
    masks = load_masks(str(camvid), parts=("validation",))
    assert len(masks.classes) == 12
    assert len(masks.parts["validation"]) == 26


def test_files_that_are_nowhere_are_named_with_the_places(tmp_path):
    (tmp_path / "isbi2012").mkdir()
    (tmp_path / "isbi2012" / "train-volume.tif").touch()
    with pytest.raises(
        DataError, match=r"files of isbi2012 \(train-volume.tif, train-labels.tif\)"
    ):
        find_mask_set("isbi2012", [tmp_path, tmp_path / "b"])


def test_another_number_of_images_is_noted_and_stacks_that_differ_are_refused(tmp_path):
    for name in ("volume", "labels"):
        stack = np.arange(29 * 35, dtype=np.uint16).reshape(29, 5, 7).astype(np.uint8)
        tifffile.imwrite(tmp_path / f"train-{name}.tif", stack)
    masks = read_mask_set(MASK_SETS["isbi2012"], tmp_path, ("test", "train"))
    assert [len(part) for part in masks.parts.values()] == [21, 6]
    assert masks.notes == (f"train: 21 images are in {tmp_path}, 22 in the published isbi2012",)
    tifffile.imwrite(tmp_path / "train-labels.tif", np.zeros((29, 5, 6), np.uint8))
    with pytest.raises(
        DataError, match=r"train-volume.tif is \(29, 5, 7\), train-labels.tif \(29, 5"
    ):
        read_mask_set(MASK_SETS["isbi2012"], tmp_path, ("train",))
