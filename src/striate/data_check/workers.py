"""How a worker process of the check begins."""

import ctypes
import os
import signal
import sys

from threadpoolctl import threadpool_limits

PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


def begin_worker() -> None:
    """Leave Ctrl-C to the parent, die with it, compute on one thread, say nothing.

    Libraries in C write about damaged files to stderr themselves; what is wrong with a file
    stands in the report.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() == 1:
            os._exit(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
