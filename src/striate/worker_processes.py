"""How a worker process begins: quietly, on one thread, and not to outlive its parent."""

import ctypes
import os
import signal
import sys

from threadpoolctl import threadpool_limits

PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


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
