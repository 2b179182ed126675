"""Which files make a set."""

import pytest

from striate.datasets.layouts import FILES, find_files, recognise, why_passed_over
from striate.errors import DataError

IDX = [name for names in FILES["idx"].values() for name in names]
CIFAR = [name for names in FILES["cifar"].values() for name in names]


def touch(folder, names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("idx", IDX),
        ("idx", [f"{name}.gz" for name in IDX]),
        ("idx", [name.replace("-idx", ".idx") for name in IDX]),
        ("idx", [name.replace("-idx", ".idx") + ".gz" for name in IDX]),
        ("cifar", CIFAR),
        ("cifar", [f"cifar-10-batches-bin/{name}" for name in CIFAR]),
        ("usps", ["zip.train", "zip.test"]),
        ("usps", ["zip.train.gz", "zip.test.gz"]),
    ],
)
def test_each_spelling_of_a_layout_is_recognised_with_files_in_reading_order(
    tmp_path, layout, names
):
    touch(tmp_path, names)
    found, files = recognise(tmp_path)
    assert found == layout
    assert [path for paths in files.values() for path in paths] == [tmp_path / n for n in names]
    assert list(files) == ["train", "test"]


def test_a_plain_file_is_preferred_to_its_packed_twin(tmp_path):
    touch(tmp_path, ["zip.train.gz", "zip.train", "zip.test.gz"])
    assert find_files(tmp_path, "usps") == {
        "train": (tmp_path / "zip.train",),
        "test": (tmp_path / "zip.test.gz",),
    }


@pytest.mark.parametrize("missing", range(4))
def test_a_set_without_one_of_its_files_is_none_and_the_file_is_named(tmp_path, missing):
    touch(tmp_path, IDX[:missing] + IDX[missing + 1 :])
    assert find_files(tmp_path, "idx") is None
    with pytest.raises(DataError, match=f"is a MNIST-style IDX set without {IDX[missing]}; there"):
        recognise(tmp_path)


def test_a_folder_under_a_files_name_is_not_that_file(tmp_path):
    (tmp_path / "zip.train").mkdir()
    touch(tmp_path, ["zip.test"])
    assert find_files(tmp_path, "usps") is None


def test_another_folder_is_refused_with_what_was_looked_for_and_what_lies_there(tmp_path):
    touch(tmp_path, [f"{letter}.png" for letter in "gfedcba"])
    (tmp_path / "aa").mkdir()
    words = (
        r"holds no data set that is known; looked for: MNIST-style IDX \(train-images-idx3-ubyte, "
        r".*\); CIFAR-10 binary \(data_batch_1.bin, .*\); USPS \(zip.train, zip.test\); "
        r"there is: a.png, aa/, b.png, c.png, d.png and 3 more$"
    )
    with pytest.raises(DataError, match=words):
        recognise(tmp_path)


def test_an_empty_an_absent_and_a_folder_that_is_a_file_are_refused(tmp_path):
    with pytest.raises(DataError, match="is empty; give the path of a folder"):
        recognise(tmp_path)
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        recognise(tmp_path / "nowhere")
    touch(tmp_path, ["set.zip"])
    with pytest.raises(DataError, match=r"set.zip is a file; give the path of the folder"):
        recognise(tmp_path / "set.zip")


def test_a_set_in_another_form_is_told_with_the_files_that_would_hold_it(tmp_path):
    names = ["a.webp", "data_batch_1.bin", "data_batch_3.bin"]
    touch(tmp_path, [f"cifar10/{name}" for name in names])
    folder = tmp_path / "cifar10"
    assert why_passed_over(tmp_path, "cifar10", "cifar") == (
        f"cifar10 is not in {tmp_path}, where {folder} would hold data_batch_2.bin, "
        "data_batch_4.bin, data_batch_5.bin, test_batch.bin (CIFAR-10 binary) but in "
        f"{folder} there is: a.webp, data_batch_1.bin, data_batch_3.bin; looked for elsewhere"
    )
    told = why_passed_over(tmp_path, "usps", "usps")
    assert f"{tmp_path}/usps would hold zip.train, zip.test (USPS) but in {tmp_path} there" in told
    assert told.endswith("there is: cifar10/; looked for elsewhere")


def test_nothing_and_what_a_broken_download_left_are_not_told(tmp_path):
    assert why_passed_over(tmp_path / "absent", "usps", "usps") is None
    assert why_passed_over(tmp_path, "usps", "usps") is None
    touch(tmp_path, ["usps/zip.train.gz.part", "usps/.lock"])
    assert why_passed_over(tmp_path, "usps", "usps") is None
    touch(tmp_path, ["usps/zip.train.gz"])
    assert "would hold zip.test (USPS)" in why_passed_over(tmp_path, "usps", "usps")
