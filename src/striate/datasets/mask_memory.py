"""Whether images and masks fit into memory, before they are read."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from striate.datasets.pairing import Pair
from striate.errors import DataError
from striate.images import SUFFIXES
from striate.lettering import amount
from striate.tile_input import as_tensor
from striate.volumes import is_volume, open_volume

MEMINFO = Path("/proc/meminfo")


def available_memory(meminfo: Path = MEMINFO) -> int | None:
    """Say how much memory programs can still have [bytes]; None where the system does not tell.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "meminfo"
        >>> _ = path.write_text("MemTotal: 2048 kB\\nMemAvailable: 1024 kB\\n")
        >>> available_memory(path)
        1048576
    """
    try:
        lines = meminfo.read_text("ascii").splitlines()
    except OSError:
        return None
    fields = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(fields[0][1]) * 1024 if fields else None


def memory_of(pair: Pair) -> int:
    """Say what an image and its mask take in memory [bytes], without decoding them."""
    total = 0
    for path in pair.images:
        shape, dtype = _picture(path) if _is_picture(path) else _volume(path)
        total += math.prod(shape) * as_tensor(np.empty(0, dtype)).element_size()
    return total + math.prod(shape[1:])


def require_memory(pairs: Sequence[Pair], available: int | None) -> None:
    """Refuse images that do not fit into memory.

    Args:
        pairs: All that is to be read.
        available: From ``available_memory``.

    Raises:
        DataError: They take more than there is; both are told.
    """
    if available is None:
        return
    needed = sum(map(memory_of, pairs))
    if needed > available:
        raise DataError(
            f"the {len(pairs)} images and masks take {amount(needed)} in memory, and "
            f"{amount(available)} are free; train on fewer or smaller ones, or on a machine "
            "with more memory"
        )


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not is_volume(path)


def _picture(path: Path) -> tuple[tuple[int, ...], str]:
    """Take size and depth from a picture's head; Pillow decodes nothing before it is asked."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            dtype = "uint16" if opened.mode.startswith("I;16") else "uint8"
            return (len(opened.getbands()), opened.height, opened.width), dtype
    except (UnidentifiedImageError, OSError, SyntaxError):
        return (0, 0, 0), "uint8"  # refused in words when it is read


def _volume(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with open_volume(path) as source:
        return source.shape, source.dtype
