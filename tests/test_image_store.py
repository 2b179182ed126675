"""Images read once, kept and read again: the same bytes with and without cache and workers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from filing import listed, photographs
from striate.errors import DataError
from striate.image_store import Form, open_store
from striate.image_store.forms import keep
from striate.images import read_image

SIDE = Form(side=32)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("photos"), 40)


def contents(store):
    return [(store.pixels(i).tobytes(), store.pixels(i).shape) for i in range(len(store))]


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("cached", [False, True])
def test_cache_and_workers_change_no_byte(photos, tmp_path, workers, cached):
    listing = listed(photos)
    plain = [keep(read_image(Path(p.path), at_least=(32, 32)), SIDE) for p in listing.places]
    for _ in range(2):  # the second time from the cache
        cache = tmp_path / "cache" if cached else None
        store, refused = open_store(listing, SIDE, cache=cache, workers=workers)
        assert refused == [None] * 40
        assert contents(store) == [(k.pixels.tobytes(), k.pixels.shape) for k in plain]
        assert [tuple(own) for own in store.own_sizes.tolist()] == [k.own_size for k in plain]
        values = [k.pixels.reshape(-1, 3).astype(np.int64) for k in plain]
        assert store.sums.tolist() == [v.sum(axis=0).tolist() for v in values]
        assert store.squares.tolist() == [(v**2).sum(axis=0).tolist() for v in values]


def test_the_second_run_decodes_nothing_and_a_changed_file_alone_is_decoded(photos, tmp_path):
    listing = listed(photos)
    first, _ = open_store(listing, SIDE, cache=tmp_path, workers=0)
    before = contents(first)
    segments = {file: file.stat().st_size for file in tmp_path.rglob("*.pixels")}
    again, _ = open_store(listing, SIDE, cache=tmp_path, workers=0)
    assert {file: file.stat().st_size for file in tmp_path.rglob("*.pixels")} == segments
    assert contents(again) == before
    changed = Path(listing.places[3].path)
    content = changed.read_bytes()
    try:
        Image.fromarray(np.full((40, 50, 3), 9, np.uint8)).save(changed)
        third, _ = open_store(listing, SIDE, cache=tmp_path, workers=0)
        assert contents(third)[:3] + contents(third)[4:] == before[:3] + before[4:]
        assert (third.pixels(3) == 9).all()
        assert third.fingerprint(listing) != first.fingerprint(listing)
    finally:
        changed.write_bytes(content)
    back, _ = open_store(listing, SIDE, cache=tmp_path, workers=0)
    assert contents(back) == before
    assert back.fingerprint(listing) == first.fingerprint(listing)


def test_equal_files_elsewhere_are_found_by_their_content(photos, tmp_path):
    first, _ = open_store(listed(photos), SIDE, cache=tmp_path / "cache", workers=0)
    size = sum(file.stat().st_size for file in tmp_path.rglob("*.pixels"))
    moved = tmp_path / "moved"
    moved.symlink_to(photos)
    copy, _ = open_store(listed(moved.resolve()), SIDE, cache=tmp_path / "cache", workers=0)
    subprocess.run(["cp", "-r", photos, tmp_path / "copied"], check=True)
    copied = listed(tmp_path / "copied")
    copy, _ = open_store(copied, SIDE, cache=tmp_path / "cache", workers=0)
    assert contents(copy) == contents(first)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.pixels")) == size
    assert copy.fingerprint(copied) == first.fingerprint(listed(photos))


def test_the_fingerprint_knows_labels_names_and_parts(photos):
    store, _ = open_store(listed(photos), SIDE, cache=None)
    whole = listed(photos)
    other_part = listed(photos, {"train": list(range(39)), "test": [39]})
    other_label = listed(photos)
    other_label.targets[0] = 1
    prints = {store.fingerprint(each) for each in (whole, other_part, other_label)}
    assert len(prints) == 3


def test_what_cannot_be_read_is_refused_by_name_and_the_rest_is_there(tmp_path):
    photos = photographs(tmp_path / "photos", 6)
    (photos / "cold" / "000b.png").write_bytes(b"")
    (photos / "warm" / "900.png").write_text("this is no image")
    (photos / "warm" / "901.png").symlink_to("nowhere")
    store, refused = open_store(listed(photos), SIDE, cache=tmp_path / "cache")
    reasons = [each.reason for each in refused if each]
    assert len(store) == 6
    assert [reason.split(" ")[0] for reason in reasons] == [
        "cold/000b.png", "warm/900.png", "warm/901.png",
    ]  # fmt: skip
    assert "is empty (0 bytes)" in reasons[0]
    assert "is a link to nowhere, which does not exist; mend or remove it" in reasons[2]


def test_without_a_cache_a_file_that_goes_away_is_named(tmp_path):
    photos = photographs(tmp_path / "photos", 2)
    store, _ = open_store(listed(photos), SIDE, cache=None)
    next(photos.glob("cold/*")).unlink()
    with pytest.raises(DataError, match=r"cold/000.jpg is gone since the images were listed"):
        store.pixels(0)


def test_without_a_cache_a_file_that_changes_is_refused(tmp_path):
    photos = photographs(tmp_path / "photos", 2)
    store, _ = open_store(listed(photos), SIDE, cache=None)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(next(photos.glob("cold/*")))
    with pytest.raises(DataError, match="has changed since training began"):
        store.pixels(0)


def test_a_reader_in_another_process_maps_for_itself(photos, tmp_path):
    store, _ = open_store(listed(photos), SIDE, cache=tmp_path)
    before = contents(store)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, bytes([contents(store) == before]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1) == b"\x01"
    store.release()
    assert contents(store) == before


def test_a_thousand_images_take_little_memory(tmp_path):
    """What is held grows by some hundred bytes an image, not by its pixels."""
    photos = tmp_path / "photos" / "all"
    photos.mkdir(parents=True)
    for number in range(1000):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        (photos / f"{number}.ppm").write_bytes(b"P6 64 64 255 " + pixels.tobytes())
    script = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
import torch
from filing import listed
from striate.image_store import Form, open_store
listing = listed(Path(sys.argv[1]))
usage = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
few = listing.keeping(torch.arange(1000) < 10)
open_store(few, Form(size=(64, 64)), cache=Path(sys.argv[2]))  # what is imported once
before = usage()
store, _ = open_store(listing, Form(size=(64, 64)), cache=Path(sys.argv[2]))
for index in range(1000):
    store.pixels(index).sum()
    store.release()
print(usage() - before)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "photos"), str(tmp_path / "cache")]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < 6_000_000  # the pixels are 12 MB


def test_images_of_other_depths_keep_every_level(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    (tmp_path / "s" / "a").mkdir(parents=True)
    Image.fromarray(ramp).save(tmp_path / "s" / "a" / "ramp.png")
    store, _ = open_store(listed(tmp_path / "s"), Form(side=256), cache=tmp_path / "cache")
    assert not store.holds_bytes
    assert np.array_equal(store.pixels(0)[..., 0], ramp)
    assert store.full_scales.tolist() == [65535]
    assert torch.equal(store.sums, torch.tensor([[ramp.sum(dtype=np.float64)]]))
