"""Worker processes: quiet, on one thread, ended with their parent; a list worked off in them."""

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from threadpoolctl import threadpool_limits

from striate.errors import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 16  # items that a worker is handed at once
AHEAD = 8  # chunks for each worker that are under way
PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


def in_workers(
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], list[Result]],
    *,
    workers: int,
    remedy: str,
    begin: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Work off a list in other processes, 16 items at a time.

    Args:
        items: What is to be done; each is sent to a process.
        work: Gives a result for each of a few items; a function of a module, to be sent too.
        workers: Processes, at least 1.
        remedy: What the user can do where a process was killed.
        begin: Called first in each process.

    Yields:
        The results, in the order of the items.

    Raises:
        RunError: A process was killed.

    Example:
        >>> list(in_workers(["a", "b"], list, workers=1, remedy="give the command again"))
        ['a', 'b']
    """
    starts = iter(range(0, len(items), CHUNK))
    most = max(1, min(workers, -(-len(items) // CHUNK)))
    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(most, fork, _begin, (os.getpid(), begin))
    waiting: deque[Future[list[Result]]] = deque()
    try:
        with warnings.catch_warnings():
            # Python warns of threads beside a fork; the workers compute on one, and lock nothing.
            warnings.simplefilter("ignore", DeprecationWarning)
            for start in islice(starts, AHEAD * most):
                waiting.append(pool.submit(work, items[start : start + CHUNK]))
        while waiting:  # no more than a few ahead, so that results do not pile up
            results = waiting.popleft().result()
            for start in islice(starts, 1):
                waiting.append(pool.submit(work, items[start : start + CHUNK]))
            yield from results
    except BrokenProcessPool as error:
        raise RunError(
            f"a process that decodes images was killed, perhaps for want of memory; {remedy}"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int, begin: Callable[[], None]) -> None:
    begin_worker(parent)
    begin()


def begin_worker(parent: int) -> None:
    """Leave signals to the parent, die with it, compute on one thread, say nothing.

    Libraries in C write about damaged files to stderr themselves; what is wrong with a file is
    told by the parent.

    Args:
        parent: Its process number, which says whether it is still there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
