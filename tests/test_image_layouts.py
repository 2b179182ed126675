"""Layouts known by looking: class folders, and which layout wins; what is refused and named."""

import os
import sys
import time
from pathlib import Path

import pytest

from conftest import real_data
from striate.datasets import list_images
from striate.datasets.image_layouts import read_listing
from striate.errors import DataError, UsageError


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def labelled(listing):
    return {
        place.name: listing.classes[target]
        for place, target in zip(listing.places, listing.targets.tolist(), strict=True)
    }


def part_names(listing, part):
    return [listing.places[index].name for index in listing.parts[part].tolist()]


def test_class_folders_with_folders_in_them(tmp_path):
    touched(tmp_path, "b/2.png", "b/deep/er/1.JPG", "a/9.tiff", "a/notes.txt", "a/x", "README.md")
    listing = read_listing(tmp_path)
    assert labelled(listing) == {"a/9.tiff": "a", "b/2.png": "b", "b/deep/er/1.JPG": "b"}
    assert [place.name for place in listing.places] == sorted(labelled(listing))
    assert all(
        Path(each.path).is_absolute() and Path(each.path).is_file() for each in listing.places
    )
    assert listing.layout == "class folders: 2 classes, 3 images"
    (note,) = listing.notes
    assert note.startswith("3 files are no images by their suffix: ")
    assert set(note.split(": ")[1].split(", ")) == {".txt 1", "no suffix 1", ".md 1"}
    assert (listing.name, listing.source) == (tmp_path.name, str(tmp_path))
    assert {part: len(indices) for part, indices in listing.parts.items()} == {"train": 3}


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "TESTING")])
def test_class_folders_in_parts(tmp_path, names):
    train, validation, test = names
    touched(tmp_path, f"{train}/b/1.png", f"{train}/a/1.png", f"{validation}/a/1.png")
    touched(tmp_path, f"{test}/b/2.png", f"{test}/a/2.png")
    listing = read_listing(tmp_path)
    assert part_names(listing, "train") == [f"{train}/a/1.png", f"{train}/b/1.png"]
    assert part_names(listing, "validation") == [f"{validation}/a/1.png"]
    assert part_names(listing, "test") == [f"{test}/a/2.png", f"{test}/b/2.png"]
    assert listing.layout == ("class folders with train, validation and test: 2 classes, 5 images")


def test_an_empty_or_missing_class_folder_shifts_nothing_and_is_named(tmp_path):
    touched(tmp_path, *(f"{part}/{name}/1.png" for part in ("train", "test") for name in "abcd"))
    (tmp_path / "test/a/1.png").unlink()
    (tmp_path / "test/b/1.png").unlink()
    (tmp_path / "test/b").rmdir()
    listing = read_listing(tmp_path)
    assert listing.classes == ("a", "b", "c", "d")
    assert listing.targets[listing.parts["test"]].tolist() == [2, 3]
    assert "folders without an image: test/a" in listing.notes
    assert listing.notes[-1].startswith("2 classes without an image in its test part: a, b;")


def test_a_class_without_any_image_is_named_and_has_no_number(tmp_path):
    touched(tmp_path, "a/1.png", "c/1.png", "b/readme.txt")
    listing = read_listing(tmp_path)
    assert listing.classes == ("a", "c")
    assert "folders without an image: b" in listing.notes


def test_whole_numbers_are_sorted_as_numbers(tmp_path):
    touched(tmp_path, *(f"{number}/a.png" for number in (10, 9, 100, 0)))
    assert read_listing(tmp_path).classes == ("0", "9", "10", "100")
    touched(tmp_path, "x/a.png")
    assert read_listing(tmp_path).classes == ("0", "10", "100", "9", "x")


def test_hidden_and_system_folders_are_no_classes_and_are_said(tmp_path):
    touched(tmp_path, "a/1.png", "b/1.png", ".ipynb_checkpoints/1.png", "__MACOSX/a/1.png")
    touched(tmp_path, "a/Thumbs.db", "a/._1.png", "a/.DS_Store")
    listing = read_listing(tmp_path)
    assert listing.classes == ("a", "b")
    assert len(listing.places) == 2
    assert listing.notes == (
        "hidden or a system's, left out: .ipynb_checkpoints/, __MACOSX/, a/._1.png",
    )


def test_links_are_followed_but_not_round_and_those_to_no_image_are_there_to_be_refused(tmp_path):
    touched(tmp_path / "elsewhere", "1.png", "deep/2.png")
    data = touched(tmp_path / "set", "a/1.png", "b/1.png")
    (data / "a/there").symlink_to(tmp_path / "elsewhere")
    (data / "a/round").symlink_to(data)
    (data / "a/up").symlink_to("..")
    (data / "b/gone.png").symlink_to("nowhere.png")
    (data / "b/itself.png").symlink_to("itself.png")
    listing = read_listing(data)
    found = [*labelled(listing)]
    assert {"a/there/1.png", "a/there/deep/2.png"} <= set(found)
    assert len(found) == len(set(found)) == 12
    assert {"b/gone.png", "b/itself.png"} <= set(found)
    (note,) = (note for note in listing.notes if "lead nowhere or round" in note)
    assert "a/round" in note
    assert "b/gone.png" not in note


def test_classes_that_differ_in_capitals_or_coding_are_said(tmp_path):
    touched(tmp_path, "Cat/1.png", "cat/1.png", "caf\u00e9/1.png", "cafe\u0301/1.png", "dog/1.png")
    listing = read_listing(tmp_path)
    assert len(listing.classes) == 5
    assert sum("differ in capitals or accents' coding alone" in each for each in listing.notes) == 2


def test_of_many_classes_that_differ_in_capitals_a_few_are_said(tmp_path):
    touched(tmp_path, *(f"{name}{n}/1.png" for n in range(5) for name in ("cat", "Cat")))
    notes = read_listing(tmp_path).notes
    assert len(notes) == 4
    assert notes[-1] == "and 2 more such classes"


def test_numbers_with_and_without_leading_zeros_are_said(tmp_path):
    touched(tmp_path, "01/1.png", "1/1.png", "0/1.png", "00/1.png", "10/1.png")
    assert [*read_listing(tmp_path).notes] == [
        f"classes that differ in leading zeros alone: {names}; rename them if they are one"
        for names in ("0, 00", "01, 1")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_names_in_any_coding_survive(tmp_path):
    for name in ("Straße", "雪", "a,b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / os.fsdecode(b"\xff.png")).write_text(name)
    listing = read_listing(tmp_path)
    assert {place.read().decode() for place in listing.places} == {"Straße", "雪", "a,b"}
    assert listing.classes == ("Straße", "a,b", "雪")
    touched(tmp_path, os.fsdecode(b"Stra\xdfe/1.png"))
    with pytest.raises(DataError, match=r"1 class whose name is no UTF-8: b'Stra\\xdfe'; rename"):
        read_listing(tmp_path)


def test_a_folder_around_all_is_gone_into_and_said(tmp_path):
    touched(tmp_path, "flowers/data/rose/1.png", "flowers/data/tulip/1.png")
    listing = read_listing(tmp_path)
    assert listing.classes == ("rose", "tulip")
    assert listing.notes == ("all lies in flowers/data/, which is read",)
    touched(tmp_path / "in-parts", "set/train/a/1.png", "set/train/b/1.png", "set/test/a/1.png")
    assert [*read_listing(tmp_path / "in-parts").parts] == ["train", "test"]


def test_what_lies_beside_classes_and_parts_is_said(tmp_path):
    touched(tmp_path / "one", "a/1.png", "b/1.png", "3.png")
    assert read_listing(tmp_path / "one").notes == (
        "1 image beside the class folders, left out: 3.png",
    )
    touched(tmp_path / "two", "train/a/1.png", "train/b/1.png", "train/3.png", "extra/4.png")
    touched(tmp_path / "two", "test/5.png")
    listing = read_listing(tmp_path / "two")
    assert {**labelled(listing)} == {"train/a/1.png": "a", "train/b/1.png": "b"}
    assert listing.notes == (
        "1 image in no class folder of train/, left out: 3.png",
        "extra/ is no part: left out with 1 image",
        "test/ has no class folders: left out with 1 image",
    )


def test_a_table_whose_columns_are_called_otherwise_is_named(tmp_path):
    folder = touched(tmp_path, "1.png", "2.png")
    (folder / "list.csv").write_text("picture,kind\n1.png,a\n2.png,b\n")
    told = r"or name two columns path and label: list.csv there has the columns picture, kind"
    with pytest.raises(DataError, match=told):
        read_listing(folder)


def test_a_class_may_be_called_as_a_part(tmp_path):
    touched(tmp_path, "train/1.png", "bus/1.png", "test/deep/1.png")
    assert read_listing(tmp_path).classes == ("bus", "test", "train")


@pytest.mark.parametrize(
    ("names", "error", "told"),
    [
        (["1.png", "2.png"], DataError, r"holds 2 images but no class folders, so .* labels.csv"),
        (["train/1.png", "test/2.png"], DataError, r"holds 1 image but no class folders"),
        (["a/1.png"], DataError, "images of one class alone, a, so there is nothing to"),
        (["val/a/1.png", "valid/a/1.png"], DataError, "has val/ and valid/, which both mean the"),
        (["images/1.png", "masks/1.png"], UsageError, "holds images with masks; train a network"),
        (
            ["a/1.png", "a/1_mask.png", "b/2.png", "b/2_Mask.png"],
            DataError,
            r"2 images in .* look like masks of the images beside them: a/1_mask, b/2_Mask; take",
        ),
        (["a/1.txt"], DataError, "holds no data set that is known; looked for: .* there is: a/"),
        (["train-images-idx3-ubyte"], DataError, "a MNIST-style IDX set without train-labels-idx1"),
        (["data/train-0.parquet"], DataError, "holds Parquet files .data/train-0.parquet., which"),
        (["train/metadata.parquet"], DataError, r"metadata.parquet is Parquet, .*to_csv\('metada"),
        (["metadata.csv", "metadata.jsonl"], DataError, "metadata.jsonl; keep one of them"),
        ([], DataError, "is empty; give the path of a folder that holds a data set"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_learnt_from_are_refused(tmp_path, names, error, told):
    with pytest.raises(error, match=told):
        read_listing(touched(tmp_path, *names))


@pytest.mark.parametrize(
    ("name", "layout", "told"),
    [
        ("nowhere", "auto", "there is no folder .*nowhere; give the path of one that holds"),
        ("set.zip", "auto", "set.zip is an archive; unpack it and give the path of its folder"),
        (
            "set.doc",
            "auto",
            r"set.doc is a file; give the path of a folder .*, a table .* or a shard",
        ),
        ("set.csv", "folders", "set.csv is a file, but layout folders needs a folder; give"),
        (".", "table", r"holds no table .csv or .tsv with columns for path and label; write one"),
        (".", "huggingface", r"holds no metadata.csv or metadata.jsonl with columns for path and"),
        (".", "shards", r"holds no shards; their names end in .tar"),
    ],
)
def test_paths_that_lead_to_no_set_are_refused(tmp_path, name, layout, told):
    touched(tmp_path, "set.zip", "set.doc", "set.csv")
    with pytest.raises(DataError, match=told):
        read_listing(tmp_path / name, layout)


def test_the_user_may_say_that_masks_are_images(tmp_path):
    touched(tmp_path / "one", "a/1.png", "a/1_mask.png", "b/2.png")
    assert len(read_listing(tmp_path / "one", "folders").places) == 3
    touched(tmp_path / "two", "images/1.png", "masks/1.png")
    assert read_listing(tmp_path / "two", "folders").classes == ("images", "masks")


def test_a_table_that_names_images_comes_before_class_folders(tmp_path):
    touched(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    (tmp_path / "sizes.csv").write_text("class,count\na,1\nb,2\n")
    assert read_listing(tmp_path).layout == "class folders: 2 classes, 3 images"
    (tmp_path / "labels.csv").write_text("path,label\na/1.png,x\nb/2.png,y\n")
    assert read_listing(tmp_path).layout == "table labels.csv: 2 classes, 2 images"
    assert read_listing(tmp_path, "folders").layout == "class folders: 2 classes, 3 images"


def test_a_folder_that_may_not_be_looked_into_is_refused(tmp_path, monkeypatch):
    touched(tmp_path, "a/1.png", "b/1.png")
    look = os.scandir

    def closed(folder):
        if str(folder).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match=r"could not look into .*/a: Permission denied"):
        read_listing(tmp_path)


def test_sets_that_are_read_into_memory_are_not_listed(tmp_path, monkeypatch):
    assert list_images("digits") is None
    with pytest.raises(UsageError, match="no data set is called 'mnits'; did you mean 'mnist'"):
        list_images("mnits")
    touched(tmp_path, "zip.train", "zip.test")
    assert list_images(str(tmp_path)) is None
    assert list_images(str(tmp_path), layout="usps") is None
    with pytest.raises(DataError, match="is a USPS set, not idx; leave --layout out"):
        list_images(str(tmp_path), layout="idx")
    monkeypatch.chdir(touched(tmp_path, "here/a/1.png", "here/b/1.png"))
    assert list_images("here").source == "here"


def test_the_photographs_of_imagenet_are_listed():
    folder = real_data("imagenet-sample")
    listing = list_images(str(folder / "images"))
    assert listing.layout == "class folders: 100 classes, 100 images"
    assert all(place.read()[:2] == b"\xff\xd8" for place in listing.places[:5])
    assert "all lies in images/, which is read" in list_images(str(folder)).notes


def test_thousands_of_files_are_listed_at_once(tmp_path):
    for label in range(20):
        (tmp_path / f"class{label:02d}").mkdir()
        for number in range(200):
            os.close(os.open(tmp_path / f"class{label:02d}/{number}.jpg", os.O_CREAT))
    start = time.process_time()
    assert len(read_listing(tmp_path).places) == 4000
    assert time.process_time() - start < 1
