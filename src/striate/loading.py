"""Batches of windows from a store, made ahead of time by worker processes or on the spot.

Which process makes a batch, and when, changes nothing in it.
"""

import pickle
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader

from striate.devices import memory_kept
from striate.errors import RunError
from striate.image_store import ImageStore
from striate.image_store.cutting import middle_windows, training_windows
from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.worker_processes import begin_worker

AHEAD = 4  # batches that each worker may be ahead


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
        workers: Processes that work ahead; 0 makes each batch when it is asked for.
    """

    def __init__(self, store: ImageStore, spec: InputSpec, recipe: Recipe, workers: int) -> None:
        self.maker = _Maker(store, spec, recipe)
        self.workers = workers
        self._queue = _Queue()
        self._loader: DataLoader[Any] | None = None

    def batches(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Give the windows of each request, ``(N, C, h, w)``, as ``training_windows`` does.

        Raises:
            DataError: An image that is decoded anew cannot be read any more.
            RunError: A worker was killed.
        """
        if self.workers == 0:
            yield from map(self.maker.make, requests)
            return
        self._queue.requests = requests
        try:
            for answer in self._begin():
                if isinstance(answer, bytes):
                    raise pickle.loads(answer)  # made by _Maker, in a process of ours
                yield answer
        except RuntimeError as error:
            self._loader = None
            if "worker" not in str(error):
                raise
            raise RunError(
                "a process that makes batches was killed, perhaps for want of memory; go on with "
                "--resume and fewer --workers"
            ) from error

    def _begin(self) -> Iterator[Any]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*worker processes in total")
            self._loader = (
                self._loader
                if self._loader is not None
                else DataLoader(
                    self.maker,  # type: ignore[arg-type]
                    batch_sampler=self._queue,  # type: ignore[arg-type]
                    num_workers=self.workers,
                    collate_fn=_unchanged,
                    worker_init_fn=_begin_worker,
                    prefetch_factor=AHEAD,
                    persistent_workers=True,
                    multiprocessing_context="fork",
                )
            )
            return iter(self._loader)


class _Queue:
    """The requests of one pass, for the loader, which asks for them anew at every pass."""

    requests: Iterable[Request] = ()

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
            return self.make(request)
        except Exception as error:  # told in the parent, which a traceback of a worker is not
            return pickle.dumps(error)


def _unchanged(made: Any) -> Any:
    return made


def _begin_worker(number: int) -> None:
    begin_worker()
    memory_kept().__enter__()
