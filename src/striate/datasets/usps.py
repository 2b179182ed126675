"""The USPS digits as text: a line is the digit and 256 grey values in -1 .. 1.

Source: T. Hastie, R. Tibshirani and J. Friedman, "The Elements of Statistical Learning",
data sets, zip.info: 16x16 row by row, ink is 1 and paper is -1.
"""

import io
import warnings
from pathlib import Path

import numpy as np
import torch

from striate.datasets.sets import Part, check_targets
from striate.datasets.unpacking import read_unpacked
from striate.errors import DataError

SIDE = 16


def read_usps_part(path: Path, *, num_classes: int) -> Part:
    """Read a text file of digits, plain or gzipped.

    Returns:
        Images ``(N, 1, 16, 16)``, float32 in [-1, 1], ink being 1; and their classes.

    Raises:
        DataError: The file cannot be read, a line does not have 257 numbers, a grey value
            is outside -1 .. 1, or a label is none of the classes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "zip.test")
        >>> _ = path.write_text("6.0000" + " -1.0000" * 255 + " 0.2970")
        >>> part = read_usps_part(path, num_classes=10)
        >>> part.targets, part.images[0, 0, 15, 14:]
        (tensor([6]), tensor([-1.0000,  0.2970]))
    """
    text = read_unpacked(path)
    columns = 1 + SIDE * SIDE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns of a file without numbers
            table = np.loadtxt(io.BytesIO(text), np.float32, comments=None, ndmin=2)
    except (ValueError, UserWarning) as error:
        raise DataError(
            f"{path} is not USPS text, {columns} numbers to a line: {_first_line(error)}"
        ) from error
    if table.shape[1] != columns:
        raise DataError(f"{path} has {table.shape[1]} numbers to a line, not {columns}")
    labels, pixels = table[:, 0], table[:, 1:]
    outside = np.argwhere(~(np.abs(pixels) <= 1))
    if len(outside):
        row, column = outside[0]
        raise DataError(
            f"{path}: grey value {pixels[row, column]} of image {row} is outside -1 to 1; "
            "fetch the file again"
        )
    fractions = np.flatnonzero(labels % 1 != 0)
    if len(fractions):
        row = fractions[0]
        raise DataError(f"{path}: label {labels[row]} of image {row} is not a whole number")
    targets = torch.from_numpy(labels.astype(np.int64))
    check_targets(targets, num_classes, path)
    return Part(torch.from_numpy(pixels.reshape(-1, 1, SIDE, SIDE)), targets)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".;")
