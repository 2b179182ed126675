"""A plan over two workers on this machine; one of them is killed."""

import os
import signal
import sys
import time

import numpy as np
import pytest
import torch
import zarr
from distributed import Client, LocalCluster

import striate.cluster
from labelling import UNet
from striate.cluster import Job, label_zarr_on_cluster, predict_on_cluster, run_tile
from striate.errors import RunError, UsageError
from striate.tiled_prediction import labels_of, run_plan
from striate.tiling import plan_tiles

# Dask's own threads and sockets are closed a little after their owners.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SHAPE, BLOCKS = (1, 157, 61), (16, 32)


@pytest.fixture
def job(tmp_path):
    torch.manual_seed(0)
    network, image = UNet(levels=2), torch.rand(SHAPE)
    plan = plan_tiles(network, SHAPE, memory="100KB", blocks=BLOCKS)
    assert len(plan.tiles) > 5
    return Job(network, plan, Opening(image), create(tmp_path / "labels.zarr"))


class Opening:
    """Read from an image that travels along; slowly, if that is wanted."""

    def __init__(self, image, seconds=0.0):
        self.image, self.seconds = image, seconds

    def __call__(self):
        def read(region):
            time.sleep(self.seconds)
            return self.image[(slice(None), *region)]

        return read


def create(path):
    zarr.create_array(str(path), shape=SHAPE[1:], dtype="uint8", chunks=BLOCKS, fill_value=9)
    return str(path)


def local(job):
    """Label by the same plan here."""
    labels = np.full(SHAPE[1:], 9, np.uint8)

    def write(region, logits):
        labels[region] = labels_of(logits).numpy()

    run_plan(job.network, job.plan, job.open_read(), write)
    return labels


def test_two_workers_give_the_bytes_of_one_program(job):
    steps = []
    predict_on_cluster(job, "local:2", progress=lambda *step: steps.append(step), threads=1)
    assert steps == [(n + 1, len(job.plan.tiles)) for n in range(len(job.plan.tiles))]
    assert zarr.open_array(job.array)[:].tobytes() == local(job).tobytes()


def test_a_killed_workers_tiles_are_done_again(job):
    job = job._replace(open_read=Opening(job.open_read.image, seconds=0.3))
    killed = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            pids = list(client.run(os.getpid).values())

        def kill(done, count):
            if done == 2:
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

        predict_on_cluster(job, cluster.scheduler_address, progress=kill, threads=1)
    assert killed
    assert zarr.open_array(job.array)[:].tobytes() == local(job).tobytes()


def test_the_zarr_appears_when_it_is_complete(job, tmp_path):
    out = tmp_path / "out.zarr"
    seen = []
    label_zarr_on_cluster(
        job, out, create, "local:1", progress=lambda *step: seen.append(out.exists())
    )
    assert not any(seen)
    assert zarr.open_array(str(out))[:].tobytes() == local(job).tobytes()
    assert {path.name for path in tmp_path.iterdir()} == {"out.zarr", "labels.zarr"}


def test_each_tile_writes_its_own_blocks_alone(job):
    array = zarr.open_array(job.array)
    for number, tile in enumerate(job.plan.tiles):
        before = array[:]
        assert run_tile(job, number, 1) == number
        changed = np.argwhere(array[:] != before)
        assert len(changed) == before[tile.output].size
        assert (before[tile.output] == 9).all()
    assert array[:].tobytes() == local(job).tobytes()


class Failing:
    def __call__(self):
        raise ValueError("the disk is gone")


def test_a_tile_that_fails_again_and_again_is_told_in_a_line(job):
    with pytest.raises(RunError, match=r"a tile failed on the cluster at local:1: .*disk is gone"):
        predict_on_cluster(job._replace(open_read=Failing()), "local:1")


@pytest.mark.parametrize("address", ["local", "local:0", "local:two", "here", ""])
def test_what_is_no_address_is_refused(job, address):
    with pytest.raises(UsageError, match=r"cluster '.*': a scheduler's address is needed, tcp://"):
        predict_on_cluster(job, address)


def test_a_cluster_that_is_not_there_is_told_in_a_line(job, monkeypatch):
    monkeypatch.setattr(striate.cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(RunError, match=r"no cluster answers at tcp://127\.0\.0\.1:9: .+"):
        predict_on_cluster(job, "tcp://127.0.0.1:9")


def test_tiles_that_share_a_block_and_other_labels_are_refused(job, tmp_path):
    apart = plan_tiles(job.network, SHAPE, memory="100KB", blocks=(20, 32))
    with pytest.raises(UsageError, match=r"share blocks of \(16, 32\).* with blocks=\(16, 32\)"):
        predict_on_cluster(job._replace(plan=apart), "local:1")
    other = zarr.create_array(str(tmp_path / "o.zarr"), shape=(5, 5), dtype="uint8", chunks=(5, 5))
    assert other.shape == (5, 5)
    with pytest.raises(UsageError, match=r"an array of \(5, 5\), uint8, for labels of \(157, 61\)"):
        predict_on_cluster(job._replace(array=str(tmp_path / "o.zarr")), "local:1")


def test_without_dask_the_remedy_is_told(job, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"needs distributed.*pip install 'striate\[scale\]'"):
        predict_on_cluster(job, "local:1")
