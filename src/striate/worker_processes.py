"""How a worker process begins: quietly, on one thread, and not to outlive its parent."""

import ctypes
import os
import signal
import sys

from threadpoolctl import threadpool_limits

PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


def begin_worker() -> None:
    """Leave Ctrl-C to the parent, die with it, compute on one thread, say nothing.

    Libraries in C write about damaged files to stderr themselves; what is wrong with a file is
    told by the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() == 1:
            os._exit(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
