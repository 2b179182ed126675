"""The binary version of CIFAR-10: records of one label and one planar colour image.

A record is 1 byte of label and 3,072 bytes of image: 32x32 red, then green, then blue,
each row by row.

Source: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
"""

from pathlib import Path

import numpy as np
import torch

from striate.datasets.sets import Part, check_targets
from striate.errors import DataError

IMAGE_SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32


def read_cifar_part(*paths: Path, num_classes: int) -> Part:
    """Read batch files and join them in the order given.

    Args:
        paths: Batch files of any number of records.
        num_classes: The labels run from 0 to this less one.

    Returns:
        Images ``(N, 3, 32, 32)``, uint8, channels red, green, blue; and their classes.

    Raises:
        DataError: A file cannot be read, is empty or is not a whole number of records; or a
            label is none of the classes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "test_batch.bin")
        >>> _ = path.write_bytes(bytes([6]) + bytes([255]) * 3072)
        >>> read_cifar_part(path, num_classes=10).images.shape
        torch.Size([1, 3, 32, 32])
    """
    counts = [_count_records(path) for path in paths]
    images = np.empty((sum(counts), *IMAGE_SHAPE), np.uint8)
    targets = np.empty(sum(counts), np.int64)
    start = 0
    for path, count in zip(paths, counts, strict=True):
        records = np.fromfile(path, np.uint8, count * RECORD).reshape(count, RECORD)
        check_targets(torch.from_numpy(records[:, 0]), num_classes, path)
        targets[start : start + count] = records[:, 0]
        images[start : start + count] = records[:, 1:].reshape(count, *IMAGE_SHAPE)
        start += count
    return Part(torch.from_numpy(images), torch.from_numpy(targets))


def _count_records(path: Path) -> int:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
    except OSError as error:
        raise DataError(f"could not read {path}: {error.strerror or error}") from error
    if size == 0 or size % RECORD:
        raise DataError(
            f"{path} holds {size:,} bytes, not a whole number of records of {RECORD:,}; "
            "fetch it again"
        )
    return size // RECORD
