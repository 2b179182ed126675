"""The IDX format of the MNIST files: tensors of any rank and of six number types.

    bytes      content
    0, 1       zero
    2          type: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64
    3          rank
    4 ...      size of each axis, 4 bytes each; then the values, row-major

All numbers are big-endian. Source: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST
database of handwritten digits", http://yann.lecun.com/exdb/mnist, "The IDX file format".
"""

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from striate.datasets.sets import Part, check_targets
from striate.datasets.unpacking import read_unpacked
from striate.errors import DataError, UsageError
from striate.files import write_file

TYPES: dict[int, np.dtype[np.generic]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def read_idx(path: Path) -> Tensor:
    """Read an IDX file, plain or gzipped.

    Returns:
        The values, in the file's shape and number type.

    Raises:
        DataError: The file cannot be read, is not IDX, or is shorter or longer than its
            header says.
    """
    content = read_unpacked(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        known = ", ".join(f"{code:02x}" for code in TYPES)
        raise DataError(
            f"{path} is not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'}, "
            f"an IDX file with 00 00, one of {known}, and its rank"
        )
    dtype, rank = TYPES[content[2]], content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(
            f"{path} is cut short: it holds {len(content):,} bytes, and the header alone takes "
            f"{start:,} for its rank of {rank}; fetch it again"
        )
    shape = struct.unpack(f">{rank}I", content[4:start])
    needed = start + math.prod(shape) * dtype.itemsize
    if len(content) != needed:
        state = "cut short" if len(content) < needed else "too long"
        raise DataError(
            f"{path} is {state}: it holds {len(content):,} bytes, and its header asks for "
            f"{needed:,} ({dtype.name} of shape {shape}); fetch it again"
        )
    values = np.frombuffer(content, dtype, offset=start).astype(dtype.newbyteorder("="))
    try:
        return torch.from_numpy(values).reshape(shape)
    except RuntimeError as error:  # no values, but sizes beyond what 64 bits can address
        raise DataError(f"{path} has an impossible shape: {shape}; fetch it again") from error


def write_idx(path: Path, values: Tensor) -> None:
    """Write a tensor as an IDX file, gzipped if the name ends in ``.gz``.

    Args:
        path: Where to write; the folder must exist.
        values: Any shape; uint8, int8, int16, int32, float32 or float64.

    Raises:
        UsageError: IDX has no such number type.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "labels-idx1-ubyte.gz")
        >>> write_idx(path, torch.tensor([5, 0, 4], dtype=torch.uint8))
        >>> read_idx(path)
        tensor([5, 0, 4], dtype=torch.uint8)
    """
    name = str(values.dtype).removeprefix("torch.")
    codes = {dtype.name: code for code, dtype in TYPES.items()}
    if name not in codes:
        raise UsageError(f"IDX cannot hold {name}; convert to one of {', '.join(codes)}")
    header = struct.pack(f">HBB{values.dim()}I", 0, codes[name], values.dim(), *values.shape)
    content = header + values.cpu().numpy().astype(TYPES[codes[name]]).tobytes()
    write_file(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def read_idx_part(images_path: Path, labels_path: Path, *, num_classes: int) -> Part:
    """Read a file of grey images and the file of their labels.

    Returns:
        Images ``(N, 1, H, W)``, uint8, and their classes.

    Raises:
        DataError: One of the files is damaged, holds something else, or does not belong to
            the other; or a label is none of the classes.
    """
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != torch.uint8 or images.dim() != 3 or images.numel() == 0:
        raise DataError(
            f"{images_path} holds {images.dtype} of shape {tuple(images.shape)}, "
            "not images: torch.uint8 of shape (N, H, W)"
        )
    if labels.is_floating_point() or labels.dim() != 1:
        raise DataError(
            f"{labels_path} holds {labels.dtype} of shape {tuple(labels.shape)}, "
            "not labels: whole numbers of shape (N,)"
        )
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images):,} images, {labels_path.name} beside it "
            f"{len(labels):,} labels; bring the two files that belong together"
        )
    targets = labels.to(torch.int64)
    check_targets(targets, num_classes, labels_path)
    return Part(images.unsqueeze(1), targets)
