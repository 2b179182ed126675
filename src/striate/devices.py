"""Where tensors live and computing happens."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from striate import distributed
from striate.errors import UsageError
from striate.launching import local_rank


def choose_device(name: str) -> torch.device:
    """Turn ``"auto"`` or a device's name into a device.

    Of several processes on a machine each gets a GPU of its own.

    Raises:
        UsageError: The device does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and distributed.size() > 1:
        place, count = local_rank(), torch.cuda.device_count()
        if place >= count:
            raise UsageError(
                f"process {place + 1} of this machine has no GPU, there are {count}; give torchrun "
                f"--nproc-per-node {count}, or striate --device cpu"
            )
        torch.cuda.set_device(place)
        return torch.device("cuda", place)
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # reading it back, which "meta" cannot
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UsageError(f"device {name!r} is not to be had here ({reason}); use cpu") from error
    return device


# With fewer multiply-adds a step for each thread, threads gain little and, beside another program,
# wait for one another far longer than they work.
LEAST_MULTIPLY_ADDS = 20_000_000


def suited_threads(multiply_adds: int) -> int:
    """Choose how many of PyTorch's present threads a step is worth.

    Args:
        multiply_adds: Products of one step's forward pass.

    Example:
        >>> suited_threads(0)
        1
    """
    return max(1, min(torch.get_num_threads(), multiply_adds // LEAST_MULTIPLY_ADDS))


# Of glibc's mallopt: from which size on memory is taken from the system, and given back to it.
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
_DEFAULTS = {_MMAP_MAX: 65_536, _TRIM_THRESHOLD: 128 * 1024}


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let the process keep the memory that tensors leave, for the next ones, inside the block.

    Without it, every large tensor is memory fresh from the system, which has to be cleared page by
    page: a fifth of the time of a ResNet-18's training step on a processor. It holds about a
    quarter more. Only where the C library is glibc; elsewhere nothing is changed.
    """
    keep_memory()
    try:
        yield
    finally:
        for name, value in _DEFAULTS.items():
            _set_limit(name, value)


def keep_memory() -> None:
    """Keep memory as ``memory_kept`` does, to the end of the process."""
    _set_limit(_MMAP_MAX, 0)
    _set_limit(_TRIM_THRESHOLD, 2**31 - 1)


def _set_limit(name: int, value: int) -> None:
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(name, value)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let PyTorch compute with so many threads inside the block; with None, as many as now."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
