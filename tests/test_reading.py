"""Folders to sets: classes, sizes and what is left unread."""

import shutil
from dataclasses import replace

import pytest
import torch

from striate.datasets import DATASETS
from striate.datasets.idx import write_idx
from striate.datasets.reading import read_folder, read_named
from striate.errors import DataError

PARTS = ("train", "validation", "test")
TINY = replace(DATASETS["mnist"], image_shape=(1, 5, 3), parts={"train": 7, "test": 4})


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(5)
    folder = tmp_path / "odd"
    folder.mkdir()
    for prefix, labels in (("train", [4, 0, 1, 3, 3, 0, 1]), ("t10k", [1, 1, 0, 2])):
        images = torch.randint(256, (len(labels), 5, 3), dtype=torch.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", torch.tensor(labels).byte())
    return folder


def test_a_folder_of_idx_files_has_its_own_name_and_numbered_classes(folder):
    odd = read_folder(folder, PARTS)
    assert (odd.name, odd.source, odd.value_range) == ("odd", str(folder), (0, 255))
    assert odd.classes == ("0", "1", "2", "3", "4")
    assert list(odd.parts) == ["train", "test"]
    assert odd.parts["train"].images.shape == (7, 1, 5, 3)
    assert odd.parts["test"].targets.tolist() == [1, 1, 0, 2]


def test_the_classes_do_not_depend_on_the_part_that_is_read(folder):
    assert read_folder(folder, ["test"]).classes == read_folder(folder, ["train"]).classes


def test_a_part_that_is_not_asked_for_is_not_read(folder):
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"damaged")
    assert list(read_folder(folder, ["train", "validation"]).parts) == ["train"]
    assert list(read_named(TINY, folder, ["train"]).parts) == ["train"]
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is not an IDX file"):
        read_folder(folder, ["train", "test"])


def test_a_test_label_beyond_the_training_classes_is_refused(folder):
    write_idx(folder / "t10k-labels-idx1-ubyte", torch.tensor([0, 5, 1, 1]).byte())
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: label 5 of image 1 is none of"):
        read_folder(folder, ["test"])


def test_parts_of_different_image_shapes_are_refused(folder):
    images = torch.zeros(4, 3, 5, dtype=torch.uint8)
    write_idx(folder / "t10k-images-idx3-ubyte.gz", images)
    words = r"different shapes: \{'train': \(1, 5, 3\), 'test': \(1, 3, 5\)\}"
    with pytest.raises(DataError, match=words):
        read_folder(folder, PARTS)


def test_training_labels_without_a_single_value_are_refused(folder):
    write_idx(folder / "train-labels-idx1-ubyte", torch.zeros(0, dtype=torch.uint8))
    with pytest.raises(DataError, match=r"holds 7 images, .* 0 labels"):
        read_folder(folder, PARTS)


def test_a_cifar_folder_has_the_published_classes(tmp_path):
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(bytes([number]) + bytes(3_072))
    (tmp_path / "test_batch.bin").write_bytes(bytes([9]) + bytes(3_072))
    found = read_folder(tmp_path, PARTS)
    assert found.classes == DATASETS["cifar10"].classes
    assert found.parts["train"].targets.tolist() == [1, 2, 3, 4, 5]
    assert found.parts["test"].targets.tolist() == [9]


def test_a_usps_folder_has_values_from_minus_one_to_one(tmp_path):
    for name in ("zip.train", "zip.test"):
        (tmp_path / name).write_text("6.0000" + " -1.0000" * 256)
    found = read_folder(tmp_path, ["test"])
    assert found.value_range == (-1, 1)
    assert found.classes == tuple("0123456789")
    assert found.parts["test"].images.unique().tolist() == [-1]


def test_a_named_set_has_its_own_name_and_classes(folder):
    named = read_named(TINY, folder, PARTS)
    assert (named.name, named.source) == ("mnist", str(folder))
    assert named.classes == tuple("0123456789")
    assert torch.equal(
        named.parts["train"].images, read_folder(folder, PARTS).parts["train"].images
    )


@pytest.mark.parametrize(
    "published", [{"parts": {"train": 8, "test": 4}}, {"image_shape": (1, 3, 5)}]
)
def test_a_named_set_of_another_size_than_published_is_refused(folder, published):
    words = r"the train part of mnist in .* has shape \(7, 1, 5, 3\), the published one \("
    with pytest.raises(DataError, match=words):
        read_named(replace(TINY, **published), folder, ["train"])


def test_a_named_set_whose_files_are_gone_is_refused(folder):
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="does not hold the files of mnist"):
        read_named(TINY, folder, PARTS)
