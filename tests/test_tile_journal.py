"""A prediction that was killed goes on where it was, and ends in the same bytes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tile_crashing
from labelling import UNet
from striate.errors import RunError
from striate.tile_journal import TileJournal, fingerprint, predict_to_file, working_folder
from striate.tiled_prediction import whole
from striate.tiling import plan_tiles

PROGRAM = Path(tile_crashing.__file__)
ALL_TILES = 5


def reference():
    network, image, _ = tile_crashing.prepared()
    return whole(network, image).argmax(0).to(torch.uint8).numpy().tobytes()


def test_the_file_has_the_labels_and_the_folder_is_gone(tmp_path):
    assert tile_crashing.work(tmp_path / "out") == ALL_TILES
    assert (tmp_path / "out").read_bytes() == reference()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_dying_at_any_write_sync_or_rename_loses_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, "all"], capture_output=True, text=True, check=True
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) > 2 * ALL_TILES  # a write and a sync for each tile
    assert {result["died_at"] for result in results} >= {"write", "fsync", "replace", "unlink"}
    assert [result for result in results if not result["same"] or result["litter"]] == []
    runs = [result["runs"] for result in results]
    assert set(runs) >= {*range(ALL_TILES + 1)}  # what is on the disk is not done again


@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_after_sigkill_the_same_call_goes_on_to_the_same_bytes(tmp_path, tiles):
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, PROGRAM, out], stdout=subprocess.PIPE, text=True)
    for _ in range(tiles + 1):
        assert process.stdout.readline()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert not out.exists()
    assert tile_crashing.work(out) <= ALL_TILES - tiles
    assert out.read_bytes() == reference()
    assert not working_folder(out).exists()


def test_work_on_another_image_begins_anew(tmp_path):
    folder = tmp_path / "work"
    journal = TileJournal(folder, (3, 5), "one")
    journal.labels[:] = 7
    journal.add(4)
    journal.close()
    again = TileJournal(folder, (3, 5), "one")
    assert 4 in again
    assert len(again) == 1
    assert (again.labels == 7).all()
    again.close()
    for shape, work in [((3, 5), "other"), ((5, 3), "other")]:
        other = TileJournal(folder, shape, work)
        assert len(other) == 0
        assert other.labels.shape == shape
        assert (other.labels == 0).all()
        other.close()


@pytest.mark.parametrize("torn", ["3", "12", "9"])
def test_a_torn_last_line_does_not_count(tmp_path, torn):
    folder = tmp_path / "work"
    journal = TileJournal(folder, (2,), "work")
    journal.add(1)
    journal.close()
    with (folder / "journal").open("a") as file:
        file.write(torn)
    again = TileJournal(folder, (2,), "work")
    assert [n for n in range(200) if n in again] == [1]
    again.add(2)
    again.close()
    third = TileJournal(folder, (2,), "work")
    assert [n for n in range(200) if n in third] == [1, 2]
    third.close()


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    journal = TileJournal(tmp_path / "work", (2,), "work")
    with pytest.raises(RunError, match=r"another process works in .*; wait for its end"):
        TileJournal(tmp_path / "work", (2,), "work")
    journal.close()


def test_a_folder_that_cannot_be_made_is_refused_in_a_line(tmp_path):
    with pytest.raises(RunError, match=r"could not write .*: No such file or directory"):
        TileJournal(tmp_path / "absent" / "work", (2,), "work")


def test_every_part_of_the_work_changes_its_fingerprint():
    network = UNet(levels=2)
    plan = plan_tiles(network, (1, 70, 60), memory="60KB")
    same = fingerprint(network, plan, {"path": "a", "size": 3})
    assert same == fingerprint(network, plan, {"size": 3, "path": "a"})
    others = [
        fingerprint(network, plan, {"path": "a", "size": 4}),
        fingerprint(network, plan_tiles(network, (1, 70, 60)), {"path": "a", "size": 3}),
        fingerprint(nn.Sequential(network), plan, {"path": "a", "size": 3}),
    ]
    with torch.no_grad():
        network.head.bias[0] += 1
    others.append(fingerprint(network, plan, {"path": "a", "size": 3}))
    assert len({same, *others}) == 5


def test_what_a_failing_writer_leaves_is_used_the_next_time(tmp_path):
    network, image, plan = tile_crashing.prepared()
    given = []

    def read(region):
        given.append(region)
        return image[(slice(None), *region)]

    def fail(labels):
        raise OSError("no room")

    out = tmp_path / "out"
    with pytest.raises(OSError, match="no room"):
        predict_to_file(network, plan, read, out, fail, settings={})
    assert len(given) == len(plan.tiles)
    kept = []
    predict_to_file(
        network, plan, read, out, lambda labels: kept.append(np.array(labels)), settings={}
    )
    assert len(given) == len(plan.tiles)
    assert kept[0].tobytes() == reference()
