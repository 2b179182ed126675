"""The memory that reading takes, measured in a process of its own."""

from pathlib import Path

import pytest

# ru_maxrss would also count what the parent had; this file counts the program itself.
STATUS = Path("/proc/self/status")
needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="needs /proc/self/status")

# Prints how far reading 20 × 256 × 256 voxels raises the peak of memory, in kilobytes.
MEMORY_OF_A_REGION = """
import sys
from pathlib import Path
from striate.volumes import open_volume


def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


with open_volume(Path(sys.argv[1])) as source:
    source.read((slice(0, 1),) * 3)
    before = peak()
    part = source.read((slice(700, 720), slice(200, 456), slice(500, 756)))
    assert part.shape == (1, 20, 256, 256), part.shape
    print(peak() - before)
"""
