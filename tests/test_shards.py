"""Shards of samples: found where they lie, read by offset, and refused where they are wrong."""

import io
import json
import subprocess
import tarfile

import pytest

from striate.datasets import list_images
from striate.datasets.image_layouts import read_listing
from striate.datasets.shards import expand_braces, is_shards
from striate.errors import DataError, UsageError
from striate.file_data import default_reading


def pack(path, members, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def samples(numbers, label=lambda number: str(number % 2)):
    members = {}
    for number in numbers:
        members[f"{number:03d}.jpg"] = b"image %d" % number
        members[f"{number:03d}.cls"] = label(number).encode()
    return members


def labelled(listing):
    return {
        place.name: (listing.classes[target], place.read())
        for place, target in zip(listing.places, listing.targets.tolist(), strict=True)
    }


def test_a_sample_s_bytes_are_read_where_they_lie_in_the_archive(tmp_path):
    long = "a" * 120 + "/deep/"  # a name for which tar writes a header more
    members = {"x/1.jpg": b"one", "x/1.cls": b" 10\n", f"{long}2.PNG": b"two" * 999}
    members |= {f"{long}2.json": b'{"label": 9, "text": "two"}', "x/3.webp": b"", "x/3.cls": b"9"}
    file = pack(tmp_path / "set.tar", members)
    listing = read_listing(file)
    assert labelled(listing) == {
        "set.tar/x/1.jpg": ("10", b"one"),
        f"set.tar/{long}2.PNG": ("9", b"two" * 999),
        "set.tar/x/3.webp": ("9", b""),
    }
    assert listing.classes == ("9", "10")
    assert listing.layout == "1 shard of samples: 2 classes, 3 images"


def test_members_of_a_sample_need_not_follow_one_another(tmp_path):
    members = {
        "1.jpg": b"1",
        "2.jpg": b"2",
        "2.cls": b"b",
        "1.cls": b"a",
        "readme.md": b"",
        "3.txt": b"",
    }
    listing = read_listing(pack(tmp_path / "set.tar", members))
    assert {label for label, _ in labelled(listing).values()} == {"a", "b"}
    assert listing.notes == ("1 file is no image by its suffix: .md 1",)


def test_a_pattern_a_folder_and_one_archive_are_the_same_samples(tmp_path, monkeypatch):
    for number in range(3):
        pack(tmp_path / f"part-{number:02d}.tar", samples(range(4 * number, 4 * number + 4)))
    whole = read_listing(tmp_path)
    pattern = list_images(str(tmp_path / "part-{00..02}.tar"))
    assert labelled(whole) == labelled(pattern)
    assert len(whole.places) == 12
    assert whole.layout == "3 shards of samples: 2 classes, 12 images"
    assert pattern.name == "part"
    monkeypatch.chdir(tmp_path)
    assert labelled(list_images("part-{00..02}.tar")) == labelled(whole)
    assert len(list_images("part-01.tar").places) == 4
    with pytest.raises(DataError, match=r"1 of 4 shards are not there: part-03.tar; correct the"):
        list_images("part-{00..03}.tar")


def test_parts_are_folders_or_words_in_names(tmp_path):
    for folder, names in (
        ("a", ("train/0.tar", "val/0.tar")),
        ("b", ("x-train-0.tar", "x_val.tar")),
    ):
        for number, name in enumerate(names):
            pack(tmp_path / folder / name, samples(range(3 + number)))
        listing = read_listing(tmp_path / folder)
        assert {part: len(each) for part, each in listing.parts.items()} == {
            "train": 3, "validation": 4,
        }  # fmt: skip
        assert len({place.name for place in listing.places}) == 7


def test_classes_txt_names_and_orders_numbered_classes(tmp_path):
    pack(tmp_path / "set.tar", samples(range(4)))
    (tmp_path / "classes.txt").write_text("zebra\nape\nowl\n\n")
    listing = read_listing(tmp_path)
    assert listing.classes == ("zebra", "ape", "owl")
    assert listing.targets.tolist() == [0, 1, 0, 1]
    assert "classes named by classes.txt" in listing.notes
    assert any(
        note.startswith("1 class without an image in the set: owl") for note in listing.notes
    )
    pack(tmp_path / "set.tar", samples(range(4), lambda number: ("owl", "ape")[number % 2]))
    assert read_listing(tmp_path / "set.tar").targets.tolist() == [2, 1, 2, 1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("zebra\n", "names 1 class, 0 to 0, but samples have 1; add lines, one a class"),
        ("a\na\n", "needs a name in each line, each once; line 1 is class 0"),
        ("a\n\nb\n", "needs a name in each line, each once"),
    ],
)
def test_a_table_of_classes_that_does_not_fit_is_refused(tmp_path, text, told):
    pack(tmp_path / "set.tar", samples(range(4)))
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=told):
        read_listing(tmp_path)


def test_names_that_the_table_of_classes_lacks_are_refused(tmp_path):
    pack(tmp_path / "set.tar", samples(range(4), lambda number: "ape" * (1 + number % 2)))
    (tmp_path / "classes.txt").write_text("ape\nowl\n")
    with pytest.raises(DataError, match=r"classes.txt does not name apeape; add lines, one a"):
        read_listing(tmp_path)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"1.jpg": b"", "2.jpg": b"", "2.cls": b"a"}, "holds 1 sample without a class: 1.jpg; wr"),
        ({"1.jpg": b"", "1.json": b'{"text": "x"}'}, "holds 1 sample without a class: 1.jpg"),
        ({"1.jpg": b"", "1.cls": b" "}, "holds 1 sample without a class: 1.jpg"),
        ({"1.jpg": b"", "1.png": b"", "1.cls": b"a"}, "holds 1 sample with several images: 1; ke"),
        ({"1.jpg": b"", "1.json": b"{"}, r"set.tar/1.json cannot be read \(.*\); correct it"),
        ({"1.jpg": b"", "1.cls": b"\xff\xfe"}, r"set.tar/1.cls cannot be read \(.*\); correct it"),
        (
            {"1.jpg": b"", "1.json": b'{"label": [1, 2]}'},
            r"says \[1, 2\], which is no single class",
        ),
        (
            {"1.jpg": b"", "1.json": b'"\\ud800"'},
            "1.json says .*, which is no text; give each image",
        ),
        ({"1.jpg": b"", "1.json": b'{"label": 0.5}'}, "says 0.5, which is no single class; give"),
        ({"1.txt": b""}, "holds no image; their names end in .png"),
        ({"1.jpg": b"", "1.cls": b"a"}, "images of one class alone, a, so"),
        ({}, "holds no image|is no tar archive"),
    ],
)
def test_samples_that_cannot_be_learnt_from_are_refused(tmp_path, members, told):
    with pytest.raises(DataError, match=told):
        read_listing(pack(tmp_path / "set.tar", members))


def test_a_name_that_stands_twice_is_refused(tmp_path):
    file = tmp_path / "set.tar"
    pack(file, samples(range(3)))
    pack(file, samples([2]), mode="a")
    with pytest.raises(DataError, match=r"holds 2 samples named twice: 002.jpg, 002.cls; write"):
        read_listing(file)


@pytest.mark.parametrize("kept", [100, 700, 1100, 2048, 3583, 4096])
def test_an_archive_that_is_cut_short_is_refused(tmp_path, kept):
    file = pack(tmp_path / "set.tar", samples(range(2)))
    assert read_listing(file).places
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"set.tar is (cut short|no tar archive or is cut short)"):
        read_listing(file)


def test_packed_joined_and_other_files_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"is a packed archive, .*; unpack it once .*or give pipe:gun"
    ):
        read_listing(pack(tmp_path / "set.tar.gz", samples(range(4)), mode="w:gz"))
    with pytest.raises(DataError, match="is a packed archive"):
        read_listing(pack(tmp_path / "set.tar", samples(range(4)), mode="w:xz"))
    one, other = (pack(tmp_path / f"{n}.tar", samples([n, n + 1])).read_bytes() for n in (0, 7))
    (tmp_path / "both.tar").write_bytes(one + other)
    with pytest.raises(DataError, match="goes on after the end of its archive, as where several"):
        read_listing(tmp_path / "both.tar")
    (tmp_path / "text.tar").write_text("no archive" * 200)
    with pytest.raises(DataError, match="is no tar archive or is cut short"):
        read_listing(tmp_path / "text.tar")


def test_what_a_command_writes_is_kept_and_read_again(tmp_path, monkeypatch):
    file = pack(tmp_path / "set of.tar", samples(range(4)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = f"pipe:gzip -c '{file}' | gunzip -c"
    first = list_images(command)
    assert [label for label, _ in labelled(first).values()] == ["0", "1", "0", "1"]
    (kept,) = (tmp_path / "cache" / "striate" / "shards").rglob("*.tar")
    assert kept.read_bytes() == file.read_bytes()
    assert first.notes == (f"{command.removeprefix('pipe:')}: kept as {kept}",)
    file.unlink()
    again = list_images(command)
    assert labelled(again) == labelled(first)
    assert again.notes[0].endswith(f"as it was fetched before; remove {kept} to run it again")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo bad >&2; echo worse >&2; exit 3", "ended with code 3: worse; run it by itself"),
        ("false | cat", "ended with code 1: no word on stderr"),
        ("true", "true wrote nothing; it must write a tar archive to stdout"),
        ("echo text", r"what echo text wrote is no tar archive or is cut short .*; run it by its"),
    ],
)
def test_a_command_that_fails_is_refused_and_nothing_is_kept(tmp_path, monkeypatch, command, told):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=told):
        read_listing(f"pipe:{command}")
    assert [*(tmp_path / "shards").rglob("*.tar")] == []


def test_a_command_in_another_folder_is_another_and_a_run_finds_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    for name, numbers in (("one", (0, 1)), ("other", (2, 3))):
        pack(tmp_path / name / "a.tar", samples(numbers))
    monkeypatch.chdir(tmp_path / "one")
    one = list_images("pipe:cat a.tar")
    monkeypatch.chdir(tmp_path / "other")
    assert list_images("pipe:cat a.tar", typed=False).places == one.places
    other = list_images("pipe:cat a.tar")
    assert [place.read() for place in other.places] == [b"image 2", b"image 3"]
    told = r"pipe:cat a.tar was run in 2 folders, whose output is kept: .*; go to the one that is m"
    with pytest.raises(UsageError, match=told):
        list_images("pipe:cat a.tar", typed=False)
    assert {place.name.partition("/")[0] for place in one.places} == {
        place.name.partition("/")[0] for place in other.places
    }
    monkeypatch.chdir(tmp_path / "one")
    assert list_images("pipe:cat a.tar").places == one.places


def test_the_output_of_commands_is_kept_where_images_are_or_in_the_user_s_folder(
    tmp_path, monkeypatch
):
    pack(tmp_path / "a.tar", samples(range(2)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    for given, folder in ((str(tmp_path / "other"), "other"), ("off", "user/striate")):
        monkeypatch.setenv("STRIATE_CACHE", given)
        listing = list_images(f"pipe:cat {tmp_path}/a.tar")
        assert listing.places[0].path.startswith(str(tmp_path / folder / "shards"))
        assert default_reading().cache == (None if given == "off" else tmp_path / folder)


def test_links_in_an_archive_are_the_files_that_they_lead_to(tmp_path):
    for name, content in (("x/1.jpg", "one"), ("x/1.cls", "a"), ("y/3.cls", "b")):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_text(content)
    (tmp_path / "set/x/2.jpg").hardlink_to(tmp_path / "set/x/1.jpg")
    (tmp_path / "set/x/2.cls").hardlink_to(tmp_path / "set/y/3.cls")
    (tmp_path / "set/y/3.jpg").symlink_to("../x/2.jpg")
    (tmp_path / "set/latest").symlink_to("x")
    subprocess.run(["tar", "-cf", "set.tar", "-C", "set", "."], cwd=tmp_path, check=True)
    listing = read_listing(tmp_path / "set.tar")
    assert labelled(listing) == {
        "set.tar/x/1.jpg": ("a", b"one"),
        "set.tar/x/2.jpg": ("b", b"one"),
        "set.tar/y/3.jpg": ("b", b"one"),
    }
    assert listing.notes == ()
    for target in ("nowhere.jpg", "4.jpg", str(tmp_path / "set/x/1.jpg")):
        (tmp_path / "set/y/4.jpg").unlink(missing_ok=True)
        (tmp_path / "set/y/4.jpg").symlink_to(target)
        subprocess.run(["tar", "-cf", "set.tar", "-C", "set", "x", "y"], cwd=tmp_path, check=True)
        with pytest.raises(
            DataError, match=r"holds 1 link to no file in it: y/4.jpg \(to .*; pack"
        ):
            read_listing(tmp_path / "set.tar")


def test_samples_with_a_class_and_no_image_are_said(tmp_path):
    members = samples(range(4)) | {"5.cls": b"0", "6.cls": b"1", "6.heic": b"", "7.txt": b""}
    members |= {"8.json": b'{"label": 1}', "info.json": b"[1, 2]", "9.json": b"{}"}
    assert "3 samples with a class and no image in set.tar, left out: 5, 6, 8" in (
        read_listing(pack(tmp_path / "set.tar", members)).notes
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ("train-0.tar", "val-0.tar", "extra-0.tar"),
            "holds 1 shard without a part in their name: extra-0.tar; others are in one: train-0.t",
        ),
        (("train/0.tar", "val/0.tar", "x.tar"), "holds 1 shard beside its folders of parts: x.tar"),
        (
            ("x.tar", "cat/1.png", "dog/1.png"),
            r"1 shard \(x.tar\) and images in files \((cat|dog)/1.png\); give --layout shards for",
        ),
    ],
)
def test_archives_beside_others_or_beside_images_are_refused(tmp_path, names, told):
    for number, name in enumerate(names):
        pack(tmp_path / name, samples(range(3 * number, 3 * number + 3)))
    with pytest.raises(DataError, match=told):
        read_listing(tmp_path)
    if "cat/1.png" in names:
        assert read_listing(tmp_path, "shards").layout.startswith("1 shard")
        assert read_listing(tmp_path, "folders").layout.startswith("class folders")


def test_a_pattern_in_a_command_stands_for_several(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    for number in range(2):
        pack(tmp_path / f"{number}.tar", samples([10 * number, 10 * number + 1]))
    listing = read_listing(f"pipe:cat {tmp_path}/{{0..1}}.tar")
    assert len(listing.places) == 4
    assert len(listing.notes) == 2


def test_braces_count_as_the_shell_s_do(tmp_path):
    shell = subprocess.run(
        ["bash", "-c", "echo {8..11} a{08..10}b{0..1} x"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    written = [*expand_braces("{8..11}"), *expand_braces("a{08..10}b{0..1}"), *expand_braces("x")]
    assert written == shell
    with pytest.raises(DataError, match=r"{5..2} in s-{5..2}.tar counts no shards; write it as"):
        expand_braces("s-{5..2}.tar")


def test_shards_are_known_by_what_is_typed(tmp_path, monkeypatch):
    assert is_shards("PIPE.TAR")
    assert not is_shards("pipes")
    monkeypatch.chdir(tmp_path)
    pack(tmp_path / "train.tar/a.tar", samples(range(4)))
    assert len(list_images("train.tar").places) == 4


def test_the_other_notes_of_json_are_left_alone(tmp_path):
    content = json.dumps({"cls": "a", "other": [1, 2, {"x": 0.5}]}).encode()
    members = {
        "1.jpg": b"",
        "1.json": content,
        "2.jpg": b"",
        "2.json": b'"b"',
        "3.jpg": b"",
        "3.json": b"7",
    }
    assert read_listing(pack(tmp_path / "s.tar", members)).classes == ("7", "a", "b")


def test_a_pattern_of_the_shell_is_answered_with_one_that_is_read(tmp_path):
    with pytest.raises(DataError, match=r"a pattern is written c-\{0000..0002\}.tar, or give the"):
        read_listing(f"{tmp_path}/c-*.tar")
