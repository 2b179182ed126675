"""Batches of windows from a store, made ahead of time by threads or processes, or on the spot.

Who makes a batch, and when, changes nothing in it.
"""

import math
import os
import pickle
import shutil
import sys
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader

from striate.devices import keep_memory
from striate.errors import RunError
from striate.image_store import ImageStore
from striate.image_store.cutting import middle_windows, training_windows
from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.scoring import batch_size_for
from striate.worker_processes import begin_worker

AHEAD = 4  # batches that each worker may be ahead, where shared memory has room for them
SHARED = Path("/dev/shm")


class Request(NamedTuple):
    """Which windows a batch holds.

    Attributes:
        images: ``(N,)``, which of the store's.
        indices: ``(N,)``, the examples' places in the epoch's training set, from which what is
            random is drawn; None asks for the middle of each image.
        epoch: Counted from 0.
    """

    images: Tensor
    indices: Tensor | None = None
    epoch: int = 0


class WindowLoader:
    """Makes the batches that are asked for, in their order.

    Args:
        store: Holds the images.
        spec: The network's input.
        recipe: How windows are cut.
        workers: Threads that work ahead where images are kept, processes where they are decoded;
            0 makes each batch when it is asked for. Fewer processes are used where shared memory
            has no room for their batches.
    """

    def __init__(self, store: ImageStore, spec: InputSpec, recipe: Recipe, workers: int) -> None:
        self.maker = _Maker(store, spec, recipe)
        values = spec.channels * math.prod(spec.input_size) * (1 if store.holds_bytes else 4)
        largest = max(recipe.batch_size, batch_size_for(spec)) * values
        room = shutil.disk_usage(SHARED).free // 2 if SHARED.is_dir() else sys.maxsize
        self.workers = workers if store.folder is not None else min(workers, room // largest)
        self.ahead = max(1, min(AHEAD, room // (largest * max(self.workers, 1))))
        self._made_by = _Workers()
        # Workers ignore signals: what ends them at the end of the program is this.
        weakref.finalize(self, _close, self._made_by)

    def batches(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Give the windows of each request, ``(N, C, h, w)``, as ``training_windows`` does.

        Raises:
            DataError: An image that is decoded anew cannot be read any more, or has changed.
            RunError: A worker was killed, or shared memory is full.
        """
        if self.workers == 0:
            yield from map(self.maker.make, requests)
            return
        if self.maker.store.folder is not None:
            yield from self._by_threads(requests)
            return
        self._made_by.requests = requests
        with told_of_workers():
            for answer in self._begin():
                if isinstance(answer, bytes):
                    raise pickle.loads(answer)  # made by _Maker, in a process of ours
                yield answer

    def _by_threads(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Cut what is kept in threads: nothing is decoded, and no memory passed on."""
        self._made_by.pool = self._made_by.pool or ThreadPoolExecutor(self.workers)
        waiting: deque[Future[Tensor]] = deque()
        try:
            for request in requests:
                waiting.append(self._made_by.pool.submit(self.maker.make, request))
                if len(waiting) > self.workers + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _begin(self) -> Iterator[Any]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*worker processes in total")
            if self._made_by.loader is None:
                self._made_by.loader = DataLoader(
                    self.maker,  # type: ignore[arg-type]
                    batch_sampler=self._made_by,  # type: ignore[arg-type]
                    num_workers=self.workers,
                    collate_fn=_unchanged,
                    worker_init_fn=partial(_begin_worker, os.getpid()),
                    prefetch_factor=self.ahead,
                    persistent_workers=True,
                    multiprocessing_context="fork",
                )
            return iter(self._made_by.loader)


@contextmanager
def told_of_workers() -> Iterator[None]:
    """Turn PyTorch's word of a worker that died, which may come at any moment, into ours.

    Raises:
        RunError: A worker was killed, or shared memory is full.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" in str(error):
            reason = "was killed, perhaps for want of memory"
        elif "shared memory" in str(error) or "/torch_" in str(error):
            reason = "found no room in shared memory (/dev/shm; of a container, --shm-size)"
        else:
            raise
        raise RunError(
            f"a process that makes batches {reason}; go on with --resume and fewer --workers"
        ) from error


class _Workers:
    """The processes or threads of a loader, and the requests of one pass.

    Iterating gives the requests: PyTorch's loader asks for them anew at every pass.
    """

    def __init__(self) -> None:
        self.requests: Iterable[Request] = ()
        self.loader: DataLoader[Any] | None = None
        self.pool: ThreadPoolExecutor | None = None

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)


class _Maker:
    """What a worker process has; ``__getitems__`` is the name under which a loader calls it."""

    def __init__(self, store: ImageStore, spec: InputSpec, recipe: Recipe) -> None:
        self.store, self.spec, self.recipe = store, spec, recipe

    def make(self, request: Request) -> Tensor:
        images, indices, epoch = request
        if indices is None:
            windows = middle_windows(self.store, images, self.spec)
        else:
            windows = training_windows(self.store, images, self.spec, self.recipe, epoch, indices)
        self.store.release()
        return windows

    def __getitems__(self, request: Request) -> Tensor | bytes:
        try:
            windows: Tensor = self.make(request).share_memory_()  # type: ignore[no-untyped-call]
            return windows
        except Exception as error:  # told in the parent, which a traceback of a worker is not
            return pickle.dumps(error)


def _unchanged(made: Any) -> Any:
    return made


def _begin_worker(parent: int, number: int) -> None:
    begin_worker(parent)
    keep_memory()


def _close(workers: _Workers) -> None:
    """Let go of the loader, whose workers then end, and of threads."""
    workers.loader = None
    if workers.pool is not None:
        workers.pool.shutdown()
