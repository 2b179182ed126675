"""Batches made ahead: one, four and no workers make the same ones, and come to grief aloud."""

import multiprocessing
import os
import shutil
import signal

import pytest
import torch

from filing import listed, photographs
from striate import loading
from striate.errors import DataError, RunError
from striate.image_store import Form, open_store
from striate.loading import Request, WindowLoader, told_of_workers
from striate.preparation import InputSpec
from striate.recipes import Recipe

SPEC = InputSpec(
    channels=3, image_size=(40, 40), input_size=(32, 32), kept_side=48,
    mean=(0.5,) * 3, std=(0.2,) * 3, background=(0.5,) * 3,
)  # fmt: skip
RECIPE = Recipe(network="resnet18", data="photos", crop="area")


def requests(epoch):
    return [Request(part, part, epoch) for part in torch.arange(30).flip(0).split(7)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("photos"), 30)


def batches(loader):
    made = [batch for epoch in (0, 1) for batch in loader.batches(requests(epoch))]
    return made + list(loader.batches([Request(torch.arange(4))]))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("workers", [1, 4])
def test_workers_and_cache_change_no_byte(photos, tmp_path, workers, cached):
    plain, _ = open_store(listed(photos), Form(side=48), cache=None)
    store, _ = open_store(listed(photos), Form(side=48), cache=tmp_path if cached else None)
    expected = batches(WindowLoader(plain, SPEC, RECIPE, 0))
    made = batches(WindowLoader(store, SPEC, RECIPE, workers))
    assert len(made) == 11
    assert all(torch.equal(a, b) for a, b in zip(made, expected, strict=True))


def test_a_pass_that_is_left_does_not_disturb_the_next(photos):
    store, _ = open_store(listed(photos), Form(side=48), cache=None)
    loader = WindowLoader(store, SPEC, RECIPE, 2)
    next(loader.batches(requests(0)))
    expected = WindowLoader(store, SPEC, RECIPE, 0).batches(requests(1))
    for made, wanted in zip(loader.batches(requests(1)), expected, strict=True):
        assert torch.equal(made, wanted)


def test_a_file_that_goes_away_is_named_by_the_worker_that_wants_it(tmp_path):
    photos = photographs(tmp_path / "photos", 30)
    store, _ = open_store(listed(photos), Form(side=48), cache=None)
    next(photos.glob("warm/029*")).unlink()
    with pytest.raises(
        DataError, match=r"warm/029\.webp is gone since the images were listed; bring"
    ):
        batches(WindowLoader(store, SPEC, RECIPE, 2))


def test_a_killed_worker_is_said_with_the_remedy(photos, monkeypatch):
    store, _ = open_store(listed(photos), Form(side=48), cache=None)
    make = loading.training_windows

    def fatal(store, images, spec, recipe, epoch, indices):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(store, images, spec, recipe, epoch, indices)

    monkeypatch.setattr(loading, "training_windows", fatal)
    with pytest.raises(RunError, match=r"makes batches was killed.*--resume and fewer --workers"):
        batches(WindowLoader(store, SPEC, RECIPE, 1))


def test_a_worker_that_dies_while_the_network_computes_is_said_too():
    words = "was killed, perhaps for want of memory; go on with"
    with pytest.raises(RunError, match=words), told_of_workers():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    with pytest.raises(RuntimeError, match="a fault of our own"), told_of_workers():
        raise RuntimeError("a fault of our own")


def test_small_shared_memory_means_fewer_workers_and_fewer_batches_ahead(photos, monkeypatch):
    store, _ = open_store(listed(photos), Form(side=48), cache=None)
    largest = 250 * 3 * 32 * 32  # an evaluation's batch of bytes
    room = largest * 6
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, room))
    loader = WindowLoader(store, SPEC, RECIPE, 4)
    assert (loader.workers, loader.ahead) == (3, 1)
    room = largest
    assert WindowLoader(store, SPEC, RECIPE, 4).workers == 0


def test_workers_end_with_their_loader_and_leave_signals_to_the_parent(photos):
    store, _ = open_store(listed(photos), Form(side=48), cache=None)
    loader = WindowLoader(store, SPEC, RECIPE, 2)
    list(loader.batches(requests(0)))
    workers = [worker.pid for worker in multiprocessing.active_children()]
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGINT)
    assert len(list(loader.batches(requests(1)))) == len(requests(1))
    del loader
    assert multiprocessing.active_children() == []
