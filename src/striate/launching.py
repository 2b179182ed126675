"""What torchrun tells each of the processes that it starts, before they know one another."""

import os
import sys
from typing import NoReturn

# torchrun sets all of these; others set some of them for purposes of their own.
_SIGNS = frozenset({"TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR"})


def is_launched() -> bool:
    """Say whether torchrun started this process."""
    return os.environ.keys() >= _SIGNS


def speaks() -> bool:
    """Say whether this process is the one that people hear: the first, or the only one."""
    return not is_launched() or os.environ["RANK"] == "0"


def local_rank() -> int:
    """Give this process's place among those that torchrun started on this machine."""
    return int(os.environ["LOCAL_RANK"]) if is_launched() else 0


def leave(code: int) -> NoReturn:
    """End this process with a code, at once when what it has to say is said.

    PyTorch's threads of messages now and then abort a process that is taken down piece by piece,
    which torchrun would take for a failure.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def attempt() -> str:
    """Name the start that this process belongs to: another after a restart by torchrun."""
    return f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')} of {os.environ['WORLD_SIZE']}"
