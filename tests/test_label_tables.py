"""Tables of images and classes: read in every spelling, and refused with line numbers."""

import json

import pytest

from striate.datasets.image_layouts import read_listing
from striate.datasets.splits import split
from striate.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for number in range(1, 9):
        file = tmp_path / "images" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"%d" % number)
    return tmp_path


def write(folder, text, name="labels.csv", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def labelled(listing):
    return {
        place.name: listing.classes[target]
        for place, target in zip(listing.places, listing.targets.tolist(), strict=True)
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", "path,label\nimages/1.png,a\nimages/2.png,b\n"),
        ("l.csv", "Label;File\r\na;images/1.png\r\nb;images/2.png\r\n"),
        ("l.tsv", "filename\tclass\nimages/1.png\ta\nimages/2.png\tb"),
        ("l.csv", '\ufeffimage,"target"\n"images/1.png", a \n\n./images/../images/2.png,b\n'),
        ("l.csv", "path,label\nimages\\1.png,a\nimages\\2.png,b\n"),
        ("metadata.csv", "file_name,label\nimages/1.png,a\nimages/2.png,b\n"),
        ("metadata.jsonl", '{"file_name":"images/1.png","label":"a"}\n\n'
            '{"file_name":"images/2.png","label":"b","text":"two"}\n'),
    ],
)  # fmt: skip
def test_every_spelling_of_a_table_is_read(folder, name, text):
    file = write(folder, text, name)
    for place in (folder, file):
        listing = read_listing(place)
        assert labelled(listing) == {"images/1.png": "a", "images/2.png": "b"}
        assert [each.read() for each in listing.places] == [b"1", b"2"]
        assert listing.layout.endswith(f"{name}: 2 classes, 2 images")
        assert listing.layout.startswith("Hugging" if "metadata" in name else "table")
        assert [*listing.parts] == ["train"]
        assert ("2 paths with \\ read as with /" in listing.notes) is ("\\" in text)


def test_parts_groups_and_further_columns_are_kept_by_image(folder):
    write(
        folder,
        "path,label,split,patient_id,eye\n"
        "images/3.png,b,Training,p1,l\nimages/1.png,a,val,p2,r\nimages/2.png,a,TEST,p3,\n",
    )
    listing = read_listing(folder)
    assert [place.name[7] for place in listing.places] == ["1", "2", "3"]
    assert {part: indices.tolist() for part, indices in listing.parts.items()} == {
        "train": [2], "validation": [0], "test": [1],
    }  # fmt: skip
    assert listing.groups == ("p2", "p3", "p1")
    assert listing.columns == {"patient_id": ("p2", "p3", "p1"), "eye": ("r", "", "l")}
    assert "images of one patient_id are held out together" in listing.notes
    assert listing.layout.startswith("table labels.csv with train, validation and test: 2 cl")


def test_a_column_beside_which_another_could_be_meant_is_said(folder):
    write(
        folder,
        "path,label,class,patient,video\nimages/1.png,a,x,p1,v1\nimages/2.png,b,y,p2,v1\n",
    )
    listing = read_listing(folder)
    assert listing.classes == ("a", "b")
    assert listing.notes[:2] == (
        "labels.csv: column label is read, not class",
        "labels.csv: column patient is read, not video",
    )


def test_tables_named_as_parts_are_parts(folder):
    write(folder, "path,label\nimages/1.png,a\nimages/2.png,b\n", "train.csv")
    write(folder, "path,label\nimages/3.png,a\n", "Test.csv")
    listing = read_listing(folder)
    assert {part: len(indices) for part, indices in listing.parts.items()} == {
        "train": 2,
        "test": 1,
    }
    write(folder, "path,label\nimages/4.png,a\n", "more.csv")
    with pytest.raises(DataError, match=r"holds 3 tables of images, Test.csv, more.csv, train"):
        read_listing(folder)


def test_images_of_tables_without_a_group_go_by_themselves(folder):
    rows = "".join(f"images/{n}.png,{'ab'[n % 2]},p{n // 4}\n" for n in range(1, 7))
    write(folder, f"path,label,patient\n{rows}", "train.csv")
    write(folder, "path,label\nimages/7.png,a\nimages/8.png,b\n", "test.csv")
    listing = read_listing(folder)
    assert listing.groups == (*("p0",) * 3, *("p1",) * 3, "images/7.png", "images/8.png")
    assert listing.notes == (
        "images of one patient are held out together",
        "no column of groups in test.csv: each image there may go by itself",
    )
    parts = split(listing, validation=0.5, test=0, seed=0).parts
    assert parts["validation"].tolist() in ([0, 1, 2], [3, 4, 5])


def test_a_column_of_parts_must_not_contradict_the_table_s_own(folder):
    write(folder, "path,label,split\nimages/1.png,a,Training\nimages/2.png,b,train\n", "train.csv")
    write(folder, "path,label\nimages/3.png,a\n", "val.csv")
    assert [len(each) for each in read_listing(folder).parts.values()] == [2, 1]
    write(folder, "path,label,split\nimages/1.png,a,train\nimages/2.png,b,test\n", "train.csv")
    with pytest.raises(DataError, match=r"train.csv, line 3: column split says test, but this .*t"):
        read_listing(folder)


def test_hugging_face_s_parts_are_folders_with_metadata_or_paths(folder, tmp_path_factory):
    write(folder, '{"file_name":"images/1.png","label":3}\n', "metadata.jsonl")
    other = tmp_path_factory.mktemp("parts")
    for part, label in (("train", 10), ("train", 9), ("test", 9)):
        (other / part).mkdir(exist_ok=True)
        (other / part / f"{label}.png").touch()
        with (other / part / "metadata.jsonl").open("a") as file:
            file.write(json.dumps({"file_name": f"{label}.png", "label": label}) + "\n")
    listing = read_listing(other)
    assert labelled(listing) == {"test/9.png": "9", "train/10.png": "10", "train/9.png": "9"}
    assert listing.classes == ("9", "10")
    assert {part: indices.tolist() for part, indices in listing.parts.items()} == {
        "train": [1, 2], "test": [0],
    }  # fmt: skip
    for part in ("train", "test"):
        (other / part / "metadata.jsonl").unlink()
    lines = "".join(f"{name},{label}\n" for name, label in labelled(listing).items())
    write(other, f"file_name,label\n{lines}", "metadata.csv")
    assert {part: len(indices) for part, indices in read_listing(other).parts.items()} == {
        "train": 2, "test": 1,
    }  # fmt: skip


def test_whole_numbers_that_a_spreadsheet_wrote_with_a_point_are_whole(folder):
    write(folder, "path,label\nimages/1.png,10.0\nimages/2.png,9.0\n")
    assert read_listing(folder).classes == ("9", "10")


def test_paths_outside_and_absolute_paths_are_named_in_full(folder):
    (folder / "below").mkdir()
    write(folder, f"path,label\n../images/1.png,a\n{folder}/below/t.csv,b\n", "below/t.csv")
    listing = read_listing(folder / "below/t.csv")
    assert [place.name for place in listing.places] == [str(folder / "images/1.png"), "t.csv"]


HEAD = "path,label\nimages/1.png,a\nimages/2.png,b\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path,label\n", "has no line of an image; write path,label and a line for each"),
        ("name,label\nx,1\n", "no column for the path but name, label; name one path, or file,"),
        ("path,cell\nx,1\n", "has no column for the label but path, cell; name one label, or lab"),
        ("path,cat,dog\nimages/1.png,0,1\nimages/2.png,1,0\n",
            "cat, dog hold 0 and 1, as where an image has several labels, which is not sup"),
        ("path,label,label\n", "has two columns label; rename one"),
        (HEAD + "images/3.png,a,b\n", "line 4: 3 cells, but the heading has 2; put text that"),
        (HEAD + "images/3.png,\nimages/4.png, \n", r"lines 4, 5: no label; fill it in, or take"),
        (HEAD + "images/3.png,a;b\n", r"line 4: several labels for an image \(a;b\); networks"),
        (HEAD + "images/3.png,a|b|c\n", r"line 4: several labels for an image \(a\|b\|c\); net"),
        (HEAD + "images/3.png,\"['a', 'b']\"\n", r"line 4: several labels for an image \(\['a'"),
        ("path,label\nimages/1.png,0.5\nimages/2.png,3\n",
            r"line 2: a number with a fraction as label \(0.5\); regression is not supp"),
        ("path,label\nimages/1.png,nan\nimages/2.png,3\n", r"line 2: a number .*nan"),
        (HEAD + "images/no.png,a\nnothing.png,b\n",
            r"lines 4, 5: 2 of 4 images are not where column path says: images/no.png, nothing.p"),
        (HEAD + ",a\n", r"line 4: 1 of 3 images are not where column path says: nothing; paths"),
        (HEAD + "images,a\n", r"line 4: 1 of 3 images are not where"),
        (HEAD + "./images/1.png,b\n",
            r"line 4: 1 image named before: images/1.png \(labels.csv line 2\); keep one line"),
        (HEAD.replace("label\n", "label,split\n").replace("a\n", "a,train\n").replace(
            "b\n", "b,fold1\n"), r"line 3: column split says fold1; it may be train, training,"),
        (HEAD.replace("label\n", "label,split\n").replace("a\n", "a,train\n").replace(
            "b\n", "b,\n"), r"line 3: column split says nothing; it may be train, training,"),
        (HEAD.replace("label\n", "label,patient\n").replace("a\n", "a,\n").replace(
            "b\n", "b,p\n"), r"line 2: nothing in column patient, by which images are kept tog"),
        (HEAD + "images/3.png,Stra\udce9e\n", r"line 4: a label is no UTF-8 \(Stra�e\); save"),
    ],
)  # fmt: skip
def test_tables_that_would_harm_a_training_are_refused(folder, text, told):
    file = folder / "labels.csv"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=told):
        read_listing(file)


def test_many_wrong_lines_are_counted_and_five_are_named(folder):
    rows = "".join(f"no{number}.png,a\n" for number in range(9))
    write(folder, HEAD + rows)
    told = r"lines 4, 5, 6, 7, 8 and 4 more: 9 of 11 .*: no0.png, no1.png, .* and 4 more; paths"
    with pytest.raises(DataError, match=told):
        read_listing(folder)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"file_name": 1', r"metadata.jsonl, line 1 is no JSON \(.*\); correct it"),
        ("[1]", r"metadata.jsonl, line 1 is no object as"),
        ('{"file_name":"\\ud800"}', r"metadata.jsonl, line 1 is no text \(half of a pair ..ud800"),
        ('{"file_name":"images/1.png","label":null}', "line 1: no label; fill"),
        ('{"file_name":"images/1.png","label":["a","b"]}', "line 1: several labels for an image"),
        ('{"file_name":"images/1.png","text":"a cat"}', "no column for the label but file_name, t"),
        ('{"file_name":3,"label":"a"}', "line 1: 1 of 1 image are not where column file_name says"),
    ],
)
def test_json_lines_that_are_wrong_are_refused(folder, text, told):
    write(folder, text, "metadata.jsonl")
    with pytest.raises(DataError, match=told):
        read_listing(folder)


def test_metadata_without_labels_leaves_the_class_folders(folder):
    (folder / "others").mkdir()
    (folder / "others" / "9.png").touch()
    write(folder, "file_name,camera\nimages/1.png,x\n", "metadata.csv")
    assert read_listing(folder).layout == "class folders: 2 classes, 9 images"
    with pytest.raises(DataError, match="has no column for the label but file_name, camera"):
        read_listing(folder, "huggingface")
