"""CIFAR-10's binary batches: records by hand, and the 60,000 real images."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import real_data
from striate.datasets import DATASETS, load
from striate.datasets.cifar import read_cifar_part
from striate.errors import DataError


def record(label: int, seed: int) -> bytes:
    """A label, and 3,072 bytes that tell channel, row and column apart."""
    return bytes([label]) + bytes((seed + 7 * index) % 251 for index in range(3 * 32 * 32))


@pytest.fixture(scope="session")
def real_root(tmp_path_factory):
    """A data folder with the real cifar10, unpacked once."""
    script = real_data("cifar10") / "unpack_cifar10.py"
    folder = tmp_path_factory.mktemp("data")
    subprocess.run(
        [sys.executable, script, folder / "cifar10"], check=True, stdout=subprocess.DEVNULL
    )
    return folder


def test_records_are_label_then_red_green_and_blue_planes(tmp_path):
    first, second = tmp_path / "one.bin", tmp_path / "two.bin"
    first.write_bytes(record(3, seed=0) + record(0, seed=5))
    second.write_bytes(record(9, seed=11))
    part = read_cifar_part(first, second, num_classes=10)
    assert part.targets.tolist() == [3, 0, 9]
    assert part.targets.dtype == torch.int64
    assert part.images.shape == (3, 3, 32, 32)
    for image, seed in enumerate((0, 5, 11)):
        for channel, row, column in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 31, 29)):
            index = channel * 1024 + row * 32 + column
            assert part.images[image, channel, row, column] == (seed + 7 * index) % 251


def test_batches_are_joined_in_the_order_given(tmp_path):
    first, second = tmp_path / "one.bin", tmp_path / "two.bin"
    first.write_bytes(record(3, seed=0))
    second.write_bytes(record(9, seed=11))
    assert read_cifar_part(second, first, num_classes=10).targets.tolist() == [9, 3]


def test_a_part_owns_its_memory(tmp_path):
    (tmp_path / "one.bin").write_bytes(record(3, seed=0))
    for values in read_cifar_part(tmp_path / "one.bin", num_classes=10):
        assert values.is_contiguous()
        assert values.untyped_storage().nbytes() == values.nbytes


@pytest.mark.parametrize("size", [0, 1, 3072, 3074])
def test_a_broken_record_is_refused(tmp_path, size):
    (tmp_path / "one.bin").write_bytes(bytes(size))
    words = rf"one.bin holds {size:,} bytes, not a whole number of records of 3,073"
    with pytest.raises(DataError, match=words):
        read_cifar_part(tmp_path / "one.bin", num_classes=10)


def test_a_label_without_class_is_refused_with_its_file(tmp_path):
    (tmp_path / "one.bin").write_bytes(record(9, seed=0))
    (tmp_path / "two.bin").write_bytes(record(1, seed=0) + record(10, seed=0))
    with pytest.raises(DataError, match=r"two.bin: label 10 of image 1 is none of the classes"):
        read_cifar_part(tmp_path / "one.bin", tmp_path / "two.bin", num_classes=10)


def test_a_missing_batch_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"could not read .*one.bin: No such file"):
        read_cifar_part(tmp_path / "one.bin", num_classes=10)


def test_the_real_batches_are_the_files_the_catalogue_names(real_root):
    (archive,) = DATASETS["cifar10"].files
    batch = archive.members[1]
    content = (real_root / "cifar10" / batch.path).read_bytes()
    assert batch.path.endswith("data_batch_2.bin")
    assert len(content) == batch.size
    assert hashlib.sha256(content).hexdigest() == batch.sha256


def test_the_real_set_is_balanced(real_root):
    cifar10 = load("cifar10", data_dir=real_root)
    assert cifar10.classes[:4] == ("airplane", "automobile", "bird", "cat")
    assert cifar10.parts["train"].images.shape == (50_000, 3, 32, 32)
    assert cifar10.parts["train"].targets.bincount().tolist() == [5_000] * 10
    assert cifar10.parts["test"].targets.bincount().tolist() == [1_000] * 10


def test_the_real_test_images_are_those_of_the_contact_sheets(real_root):
    source = Path(os.environ["STRIATE_DATA"], "cifar10")
    test = load("cifar10", data_dir=real_root, parts=["test"]).parts["test"]
    sheet = np.asarray(Image.open(source / "test_3.webp").convert("RGB"))
    for down, across in ((0, 0), (0, 1), (24, 39), (7, 31)):
        tile = sheet[down * 32 : down * 32 + 32, across * 32 : across * 32 + 32]
        image = test.images[3_000 + down * 40 + across]
        assert np.array_equal(image.permute(1, 2, 0).numpy(), tile)
    labels = np.fromfile(source / "test_labels.u8", np.uint8)
    assert np.array_equal(test.targets.numpy(), labels)


def test_a_data_folder_with_contact_sheets_only_is_passed_over(real_root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "striate").symlink_to(real_root)
    cifar10 = load("cifar10", parts=["test"])
    assert Path(os.environ["STRIATE_DATA"], "cifar10").is_dir()
    assert cifar10.source == str(tmp_path / "striate" / "cifar10")
