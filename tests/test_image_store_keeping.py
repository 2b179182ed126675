"""What is kept on disk: found again by content, whole after a kill, shared by two runs."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from filing import listed, photographs
from striate.errors import RunError
from striate.image_store import Form, open_store
from striate.image_store import filling as store_filling
from striate.image_store.filling import read_place
from striate.image_store.keeping import ALIGNMENT, VERSION, Cache, Segment

SIDE = Form(side=32)
LAST = "warm/059.webp"
INDEX = f"images-{VERSION}/side-32/index.db"
FILL = """
import sys
import time
sys.path.insert(0, "tests")
from pathlib import Path
from filing import listed
from striate.image_store import Form, filling, open_store
filling.SECONDS_BETWEEN_COMMITS = 0.0
read = filling.read_place
def held(place, *rest):
    if place.name == sys.argv[4]:
        time.sleep(60)
    return read(place, *rest)
filling.read_place = held
workers = int(sys.argv[3])
open_store(listed(Path(sys.argv[1])), Form(side=32), cache=Path(sys.argv[2]), workers=workers)
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("photos"), 60)


def contents(store):
    return [(store.pixels(i).tobytes(), store.pixels(i).shape) for i in range(len(store))]


def filling(photos, cache, workers, until=""):
    """Fill a cache in another process, which rests before it decodes one of the images."""
    command = [sys.executable, "-c", FILL, str(photos), str(cache), str(workers), until]
    return subprocess.Popen(command, start_new_session=True)


def named(cache):
    """Count the images that the index names; none where it is not there yet."""
    try:
        with closing(sqlite3.connect(f"file:{cache / INDEX}?mode=ro", uri=True)) as index:
            return index.execute("SELECT COUNT(*) FROM images").fetchone()[0]
    except sqlite3.OperationalError:  # no file, no table, or it is being written
        return 0


def running(option, process):
    """List the processes of a group (-g), or the children (-P), of one."""
    command = ["pgrep", option, str(process.pid)]
    return subprocess.run(command, capture_output=True, check=False).stdout.split()


def wait_until(is_so, seconds=60.0):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def kill(process):
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize(("workers", "least"), [(0, 1), (2, 1), (2, 48)])
def test_a_kill_while_filling_loses_no_named_image_and_the_next_run_ends_in_the_same(
    photos, tmp_path, monkeypatch, workers, least
):
    process = filling(photos, tmp_path, workers, until=LAST)
    wait_until(lambda: named(tmp_path) >= least)
    kill(process)
    before = named(tmp_path)
    assert least <= before < 60
    whole, _ = open_store(listed(photos), SIDE, cache=None)
    read = []
    monkeypatch.setattr(
        *(store_filling, "read_place"),
        lambda place, *rest: read.append(place) or read_place(place, *rest),
    )
    store, _ = open_store(listed(photos), SIDE, cache=tmp_path)
    assert contents(store) == contents(whole)
    assert len(read) == 60 - before
    kept = sum(file.stat().st_size for file in tmp_path.rglob("*.pixels"))
    assert kept <= sum(len(pixels) + ALIGNMENT for pixels, _ in contents(whole))


def test_two_runs_at_once_fill_one_cache_with_each_image_once(photos, tmp_path):
    both = [filling(photos, tmp_path, 0) for _ in range(2)]
    for process in both:
        assert process.wait() == 0
    whole, _ = open_store(listed(photos), SIDE, cache=None)
    store, _ = open_store(listed(photos), SIDE, cache=tmp_path)
    assert contents(store) == contents(whole)
    kept = sum(file.stat().st_size for file in tmp_path.rglob("*.pixels"))
    assert kept <= sum(len(pixels) + ALIGNMENT for pixels, _ in contents(whole))


def test_workers_of_a_killed_run_end_with_it(photos, tmp_path):
    process = filling(photos, tmp_path, 2, until=LAST)
    wait_until(lambda: named(tmp_path) >= 1)
    workers = running("-P", process)
    assert len(workers) == 2
    kill(process)
    wait_until(lambda: not running("-g", process), seconds=5.0)


def test_bytes_that_no_index_names_are_given_back(photos, tmp_path):
    open_store(listed(photos), SIDE, cache=tmp_path)
    segment = next(tmp_path.rglob("*.pixels"))
    size = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(b"half an image")
    orphan = segment.with_name("7-0.pixels")
    orphan.write_bytes(b"nobody names me")
    with Cache(tmp_path, SIDE).filling() as waited:
        assert not waited
    assert segment.stat().st_size == size
    assert not orphan.exists()


def test_a_segment_of_a_name_that_is_taken_gets_the_next(tmp_path):
    first, second = Segment(tmp_path), Segment(tmp_path)
    try:
        assert first.name != second.name
        assert first.append(np.arange(3, dtype=np.uint8)) == 0
        assert first.append(np.arange(3, dtype=np.uint16)) == ALIGNMENT
    finally:
        first.file.close()
        second.file.close()
    assert Path(tmp_path, first.name).stat().st_size == ALIGNMENT + 6


def test_equal_files_are_one_image_and_a_second_run_does_not_pull_it_away(photos, tmp_path):
    both = tmp_path / "both"
    for name in ("first", "second"):
        shutil.copytree(photos, both / name)
    store, _ = open_store(listed(both), SIDE, cache=tmp_path / "cache", workers=2)
    with Cache(tmp_path / "cache", SIDE).filling():
        pass  # gives back what is not named
    open_store(listed(both / "first"), SIDE, cache=tmp_path / "cache")
    half = contents(open_store(listed(both / "first"), SIDE, cache=None)[0])
    assert contents(store) == half + half


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_pixels_that_are_gone_are_read_again(photos, tmp_path, damage):
    before = contents(open_store(listed(photos), SIDE, cache=tmp_path)[0])
    segment = next(tmp_path.rglob("*.pixels"))
    if damage == "gone":
        segment.unlink()
    else:
        os.truncate(segment, segment.stat().st_size // 2)
    assert contents(open_store(listed(photos), SIDE, cache=tmp_path)[0]) == before
    assert contents(open_store(listed(photos), SIDE, cache=tmp_path)[0]) == before


def test_a_file_put_back_with_its_old_time_and_size_is_read_again(tmp_path):
    photo = tmp_path / "photos" / "a" / "1.ppm"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"P6 8 8 255 " + bytes(192))
    times = photo.stat()
    open_store(listed(tmp_path / "photos"), SIDE, cache=tmp_path / "cache")
    photo.write_bytes(b"P6 8 8 255 " + b"\xde" * 192)
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))
    store, _ = open_store(listed(tmp_path / "photos"), SIDE, cache=tmp_path / "cache")
    assert (store.pixels(0) == 0xDE).all()


def test_an_index_that_is_none_is_said_with_the_remedy(photos, tmp_path):
    index = tmp_path / "images-2" / "side-32" / "index.db"
    index.parent.mkdir(parents=True)
    index.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(RunError, match=r"cannot be kept in .*side-32.*delete.*--cache off"):
        open_store(listed(photos), SIDE, cache=tmp_path)


def test_a_full_disk_is_said_with_the_remedy(photos, tmp_path, monkeypatch):
    def full(segment, pixels):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Segment, "append", full)
    for workers in (0, 2):
        with pytest.raises(RunError, match=r"No space left on device.*free the disk"):
            open_store(listed(photos), SIDE, cache=tmp_path, workers=workers)


def test_whoever_has_to_wait_is_told(photos, tmp_path):
    cache = Cache(tmp_path, SIDE)
    told = []
    with cache.filling():
        child = os.fork()
        if child == 0:
            try:
                with Cache(tmp_path, SIDE).filling(lambda words: os._exit(7)):
                    os._exit(1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    with cache.filling(told.append):
        assert told == []
