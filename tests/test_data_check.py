"""The check of a whole set: each fault is found, nothing else is, however many processes look."""

import os
import signal

import numpy as np
import pytest
import tifffile
import torch

from checking import listing_of, make_faulty, picture
from odd_files import KEPT
from odd_refusals import REFUSED
from striate import data_check
from striate.data_check import check, check_in_memory
from striate.data_check.finding import findings
from striate.data_check.looking import Seen
from striate.datasets import load
from striate.datasets.image_layouts import read_listing
from striate.datasets.sets import ImageSet, Part
from striate.errors import RunError


def test_each_fault_is_found_once_and_the_grave_ones_first(tmp_path):
    report = check(make_faulty(tmp_path), max_pixels=100_000)
    found = {finding.kind: finding for finding in report.findings}
    names = {
        kind: [tuple(report.names[i] for i in group) for group in finding.groups]
        for kind, finding in found.items()
    }
    assert names == {
        "broken": [("train/cat/text.jpg",)],
        "too large": [("train/dog/large.png",)],
        "empty class": [()],
        "missing class": [()],
        "other label": [("train/cat/1.png", "train/dog/1.png")],
        "part to part": [("test/cat/0.png", "train/cat/0.png")],
        "near, part to part": [("test/cat/near.jpg", "train/cat/3.png")],
        "one value": [("train/dog/plain.png",)],
        "twice": [("train/cat/2.png", "train/cat/twice.png")],
        "other name": [("train/dog/other.jpg",)],
    }
    assert found["empty class"].details == ("yak",)
    assert found["missing class"].details == ("owl, in test",)
    assert found["broken"].details[0].startswith("train/cat/text.jpg: holds text")
    serious = [finding.is_serious for finding in report.findings]
    assert serious == [True] * 8 + [False] * 2
    assert report.must_be_looked_at


def test_the_figures_of_the_set_count_every_readable_image(tmp_path):
    report = check(make_faulty(tmp_path), max_pixels=100_000)
    told = report.to_dict()
    assert told["images"] == 17
    assert told["readable"] == 15
    assert told["classes"]["cat"] == {"test": 2, "train": 5}
    assert told["classes"]["yak"] == {"test": 0, "train": 0}
    assert told["height"] == [40, 48, 48]
    assert told["kinds"][0]["images"] == 15
    assert told["notes"] == {"read as PNG, which it is, though it is named .jpg": 1}
    assert told["listing_notes"] == ["1 hidden file left out"]


def test_processes_see_what_one_sees(tmp_path, capfd):
    folder = tmp_path / "train" / "all"
    folder.mkdir(parents=True)
    for name, file in KEPT.items():
        (folder / f"{name}.{name.split('-')[0]}").write_bytes(file.content)
    for name, (content, _) in REFUSED.items():
        (folder / f"{name}.{name.split('-')[0]}").write_bytes(content)
    listing, done = listing_of(tmp_path, ("all",)), []
    report = check(listing, workers=2, told=lambda count, whole: done.append((count, whole)))
    assert capfd.readouterr() == ("", "")  # not even from libraries in C
    assert report.seen == check(listing).seen
    whole = len(KEPT) + len(REFUSED)
    assert done[-1] == (whole, whole)
    refused = {
        report.names[i].split("/")[-1].rpartition(".")[0]
        for finding in report.findings
        if finding.kind in ("broken", "too large")
        for (i,) in finding.groups
    }
    assert refused == set(REFUSED)


def test_a_sound_set_has_nothing_to_look_at(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                picture().save(tmp_path / part / name / f"{number}.png")
    report = check(listing_of(tmp_path, ("cat", "dog")))
    assert report.findings == ()
    assert not report.must_be_looked_at


def test_groups_in_two_parts_are_told_with_an_image_of_each_part_first(tmp_path):
    parts = {"train": [0, 1, 2, 3], "test": [4, 5]}
    seen = [Seen(size=(9, 9), high=1.0, content=str(i), differences=i) for i in range(6)]
    names, groups = [f"{i}.png" for i in range(6)], ["a", "b", "a", "a", "a", "c"]
    (finding,) = findings(("x",), [0] * 6, parts, seen, names, groups=groups)
    assert (finding.kind, finding.is_serious) == ("group in two parts", True)
    assert finding.groups == ((0, 4, 2, 3),)
    assert finding.details == ("a: train 3, test 1",)
    assert findings(("x",), [0] * 6, {"train": [*range(6)]}, seen, names, groups=groups) == ()


def test_empty_class_folders_pipes_and_dead_links_must_be_looked_at(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        picture().save(tmp_path / name / "1.png")
        picture().save(tmp_path / name / "2.png")
    (tmp_path / "owl").mkdir()
    (tmp_path / "cat" / "gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    report = check(read_listing(tmp_path))
    assert {finding.kind: finding.details for finding in report.findings} == {
        "broken": (
            "cat/gone.png: is a link to nowhere, which does not exist; mend or remove it",
            "dog/pipe.png: is a pipe or device; save the image as a file first",
        ),
        "empty class": ("owl",),
    }
    assert report.must_be_looked_at
    assert report.balance() == {"cat": {"train": 2}, "dog": {"train": 2}}


def test_pages_that_are_not_read_are_told(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        pages = generator.integers(0, 256, (20, 20, 5), np.uint8)
        tifffile.imwrite(tmp_path / name / "1.tif", pages)
    report = check(read_listing(tmp_path))
    assert [(f.kind, f.is_serious, f.details) for f in report.findings] == [
        (
            "more pages",
            False,
            tuple(f"{c}/1.tif: first of 20 pages in the file" for c in ("cat", "dog")),
        )
    ]


def test_a_large_class_beside_a_small_one_is_told_but_stops_nobody():
    images = torch.arange(12 * 64, dtype=torch.uint8).view(12, 1, 8, 8) * 7 + torch.arange(
        12, dtype=torch.uint8
    ).view(12, 1, 1, 1)
    part = Part(images, torch.tensor([0] * 11 + [1]))
    report, _ = check_in_memory(ImageSet("a", ("cat", "dog"), (0, 255), {"train": part}, "here"))
    assert [(f.kind, f.details) for f in report.findings] == [("imbalance", ("cat 11, dog 1",))]
    assert not report.must_be_looked_at


def test_a_set_in_memory_is_looked_at_too():
    digits = load("digits")
    report, pixels = check_in_memory(digits)
    assert not report.must_be_looked_at
    assert len(report.seen) == len(pixels) == 1_797
    part = digits.parts["test"]
    assert (pixels["test image 7"] == part.images[7].permute(1, 2, 0).numpy()).all()
    leaking = Part(part.images[:2].clone(), torch.tensor([0, 1]))
    leaking.images[1] = digits.parts["train"].images[5]
    parts = {"train": digits.parts["train"], "test": leaking}
    report, _ = check_in_memory(ImageSet("a", digits.classes, (0, 16), parts, "here"))
    leak = next(finding for finding in report.findings if finding.kind == "part to part")
    assert [[report.names[i] for i in group] for group in leak.groups] == [
        ["train image 5", "test image 1"]
    ]


def test_a_killed_process_ends_the_check_with_a_remedy(tmp_path, monkeypatch):
    listing = make_faulty(tmp_path)

    def die(_places, max_pixels):
        os.kill(os.getpid(), signal.SIGKILL)

    die.__module__, die.__qualname__ = data_check.__name__, "look_at_chunk"
    monkeypatch.setattr(data_check, "look_at_chunk", die)
    with pytest.raises(RunError, match=r"was killed, perhaps for .*fewer --workers"):
        check(listing, workers=2)


def test_an_image_read_with_doubts_must_be_looked_at():
    doubtful = Seen(size=(9, 9), high=1.0, notes=("parts of it may be wrong: too many bytes",))
    (finding,) = findings(("cat",), [0], {"train": [0]}, [doubtful], ["a.jpg"])
    assert (finding.kind, finding.is_serious, finding.groups) == ("suspect", True, ((0,),))
    assert finding.details == ("a.jpg: parts of it may be wrong: too many bytes",)
