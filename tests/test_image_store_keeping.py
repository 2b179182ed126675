"""What is kept on disk: found again by content, whole after a kill, shared by two runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from filing import listed, photographs
from striate.image_store import Form, open_store
from striate.image_store.keeping import ALIGNMENT, Cache, Segment

SIDE = Form(side=32)
FILL = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
from filing import listed
from striate.image_store import Form, filling, open_store
filling.SECONDS_BETWEEN_COMMITS = 0.0
workers = int(sys.argv[3])
print("begun", flush=True)
open_store(listed(Path(sys.argv[1])), Form(side=32), cache=Path(sys.argv[2]), workers=workers)
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("photos"), 60)


def contents(store):
    return [(store.pixels(i).tobytes(), store.pixels(i).shape) for i in range(len(store))]


def filling(photos, cache, workers):
    command = [sys.executable, "-c", FILL, str(photos), str(cache), str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)


@pytest.mark.parametrize(("workers", "after"), [(0, 0.02), (2, 0.03), (2, 0.08)])
def test_a_kill_while_filling_loses_no_named_image_and_the_next_run_ends_in_the_same(
    photos, tmp_path, workers, after
):
    process = filling(photos, tmp_path, workers)
    process.stdout.readline()
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    whole, _ = open_store(listed(photos), SIDE, cache=None)
    store, _ = open_store(listed(photos), SIDE, cache=tmp_path)
    assert contents(store) == contents(whole)
    kept = sum(file.stat().st_size for file in tmp_path.rglob("*.pixels"))
    assert kept <= sum(len(pixels) + ALIGNMENT for pixels, _ in contents(whole))


def test_two_runs_at_once_fill_one_cache_with_each_image_once(photos, tmp_path):
    both = [filling(photos, tmp_path, 0) for _ in range(2)]
    for process in both:
        assert process.wait() == 0
        process.stdout.close()
    whole, _ = open_store(listed(photos), SIDE, cache=None)
    store, _ = open_store(listed(photos), SIDE, cache=tmp_path)
    assert contents(store) == contents(whole)
    kept = sum(file.stat().st_size for file in tmp_path.rglob("*.pixels"))
    assert kept <= sum(len(pixels) + ALIGNMENT for pixels, _ in contents(whole))


def test_workers_of_a_killed_run_end_with_it(photos, tmp_path):
    process = filling(photos, tmp_path, 2)
    process.stdout.readline()
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(50):
        alive = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=False)
        if alive.returncode:
            return
        time.sleep(0.1)
    pytest.fail(f"processes {alive.stdout.split()} outlived their run")


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
