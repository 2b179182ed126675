"""The tiles of a plan over the workers of a Dask cluster, each block of a Zarr written once.

Every tile is a task. It reads its part of the image, runs the network and writes whole blocks,
so that no two tasks touch one block, and a task that is done again, because its worker was
killed, writes the same. Workers need this package and the same paths, nothing else: the network
and the way to read the image are sent to them.
"""

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn

from striate.display import Progress
from striate.errors import RunError, UsageError
from striate.files import replacing
from striate.mirroring import Read
from striate.modes import evaluating
from striate.tiled_prediction import answer, labels_of
from striate.tiling import TilePlan

# How often a task is done again after its worker died, or it failed.
RETRIES = 3
CONNECT_SECONDS = 30

# A worker runs one tile at a time: the plan's memory is for one.
_ONE_AT_A_TIME = threading.Lock()


class Job(NamedTuple):
    """What every tile needs, sent to a worker once.

    Attributes:
        network: On the processor.
        plan: Whose tiles answer whole blocks of ``array``.
        open_read: Gives a way to read the image, on any machine.
        array: The path of the Zarr array of labels.
    """

    network: nn.Module
    plan: TilePlan
    open_read: Callable[[], Read]
    array: str


def predict_on_cluster(
    job: Job, address: str, *, progress: Progress | None = None, threads: int | None = None
) -> None:
    """Run a plan's tiles on a cluster, into a Zarr array that is there already.

    Args:
        job: What to run. Its network and ``open_read`` travel by pickle, or cloudpickle.
        address: Of the scheduler, ``tcp://host:8786``, or ``local:2`` for two workers here.
        progress: Called after each tile with the number of tiles done and of all.
        threads: With which a tile is computed; those of its worker, if None.

    Raises:
        UsageError: The address is none, Dask is not installed, or the plan is of blended tiles
            or of tiles that share a block.
        RunError: The cluster cannot be reached, or a tile failed again and again.
    """
    _check(job)
    distributed = _distributed()
    cloudpickle = _package("cloudpickle")
    packed = cloudpickle.dumps(job)
    with _client(distributed, address) as client:
        unpacked = client.submit(pickle.loads, packed, pure=False, retries=RETRIES)
        futures = [
            client.submit(run_tile, unpacked, number, threads, pure=False, retries=RETRIES)
            for number in range(len(job.plan.tiles))
        ]
        try:
            for number, future in enumerate(distributed.as_completed(futures)):
                future.result()
                if progress is not None:
                    progress(number + 1, len(futures))
        except Exception as error:
            client.cancel(futures)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise RunError(f"a tile failed on the cluster at {address}: {reason}") from error


def run_tile(job: Job, number: int, threads: int | None = None) -> int:
    """Compute one tile and write its labels (called by a worker); give the tile's number."""
    zarr = _package("zarr")
    with _ONE_AT_A_TIME, evaluating(job.network), torch.inference_mode():
        torch.set_num_threads(threads or _own_threads())
        tile = job.plan.tiles[number]
        logits = answer(job.network, job.plan, tile, job.open_read())
        array = zarr.open_array(job.array, mode="r+")
        array[tile.output] = labels_of(logits).numpy()
    return number


def _own_threads() -> int:
    try:
        return int(_distributed().get_worker().state.nthreads)
    except ValueError:  # not on a worker
        return torch.get_num_threads()


def _check(job: Job) -> None:
    plan = job.plan
    if plan.blending:
        raise UsageError(f"blended tiles are not run on a cluster; {plan.notice}")
    array = _package("zarr").open_array(job.array, mode="r")
    if array.shape != plan.shape[1:] or array.dtype != "uint8":
        raise UsageError(
            f"the Zarr has an array of {array.shape}, {array.dtype}, for labels of "
            f"{plan.shape[1:]}, uint8"
        )
    for tile in plan.tiles:
        for part, block, size in zip(tile.output, array.chunks, array.shape, strict=True):
            if part.stop % block and part.stop != size:
                raise UsageError(
                    f"tiles would share blocks of {array.chunks} pixels: make the plan with "
                    f"blocks={tuple(array.chunks)}"
                )


@contextmanager
def _client(distributed: ModuleType, address: str) -> Iterator[Any]:
    """Connect to a cluster, or start one here; leave it, or stop it, at the end."""
    count = workers_here(address)
    try:
        if count:
            with (
                distributed.LocalCluster(
                    n_workers=count, threads_per_worker=1, dashboard_address=None
                ) as cluster,
                distributed.Client(cluster) as client,
            ):
                yield client
        else:
            with distributed.Client(address, timeout=CONNECT_SECONDS) as client:
                yield client
    except OSError as error:
        raise RunError(f"no cluster answers at {address}: {error}") from error


def workers_here(address: str) -> int:
    """Read from an address how many workers are to be started here; 0 is another cluster.

    Raises:
        UsageError: It is no address.

    Example:
        >>> workers_here("local:2"), workers_here("tcp://host:8786")
        (2, 0)
    """
    kind, _, count = address.partition(":")
    if kind == "local" and count.isdigit() and int(count) > 0:
        return int(count)
    if "://" in address:
        return 0
    raise UsageError(
        f"cluster {address!r}: a scheduler's address is needed, tcp://host:8786, or "
        "local:2 for two workers here"
    )


def _distributed() -> ModuleType:
    return _package("distributed")


def _package(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"a cluster needs {name}, which is not installed: pip install 'striate[scale]'"
        ) from error


def label_zarr_on_cluster(
    job: Job,
    out: Path,
    create: Callable[[Path], str],
    address: str,
    *,
    progress: Progress | None = None,
) -> None:
    """Label an image into a new Zarr, which appears under its name when it is complete.

    Args:
        job: Its ``array`` is not looked at.
        out: The folder of the Zarr, on a path that all workers see.
        create: Makes the Zarr in a folder and gives the path of its array of labels.
        address: As for ``predict_on_cluster``.
        progress: As for ``predict_on_cluster``.

    Raises:
        UsageError: As of ``predict_on_cluster``.
        RunError: As of ``predict_on_cluster``, or the disk cannot be written.
    """
    with replacing(out) as beside:
        array = create(beside.absolute())
        predict_on_cluster(job._replace(array=array), address, progress=progress)
