"""The 1,797 digits inside scikit-learn, read without importing scikit-learn.

Its import takes more than a second; the file it reads takes ten milliseconds.
"""

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from striate.datasets.catalogue import DATASETS
from striate.datasets.sets import ImageSet, Part
from striate.datasets.unpacking import read_unpacked
from striate.errors import DataError

FILE = "datasets/data/digits.csv.gz"
SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"  # unpacked
COUNT = 1_797
HELD_OUT = 300


def load_digits(parts: Sequence[str]) -> ImageSet:
    """Load scikit-learn's handwritten digits in their fixed split.

    Args:
        parts: Which of train (1,197 images), validation (300) and test (300).

    Returns:
        Images ``(N, 1, 8, 8)``, uint8 in 0 .. 16, ink being 16.

    Raises:
        DataError: scikit-learn is not installed, or its file is missing or not the known one.

    Example:
        >>> load_digits(["test"]).parts["test"].images.shape
        torch.Size([300, 1, 8, 8])
    """
    specification = importlib.util.find_spec("sklearn")
    if specification is None or specification.origin is None:
        raise DataError("the set digits is inside scikit-learn: pip install scikit-learn")
    path = Path(specification.origin).parent / FILE
    content = read_unpacked(path)
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"{path} is not the known file of {COUNT:,} digits: reinstall scikit-learn")
    table = np.array(content.replace(b"\n", b",").split(b",")[:-1]).astype(np.uint8)
    table = table.reshape(COUNT, 65)
    images = torch.from_numpy(table[:, :64].copy()).reshape(COUNT, 1, 8, 8)
    targets = torch.from_numpy(table[:, 64].astype(np.int64))
    members = split(targets)
    named = DATASETS["digits"]
    return ImageSet(
        name=named.name,
        classes=named.classes,
        value_range=named.value_range,
        parts={part: Part(images[members[part]], targets[members[part]]) for part in parts},
        source=f"scikit-learn {importlib.metadata.version('scikit-learn')}, {FILE}",
    )


def split(targets: Tensor) -> dict[str, Tensor]:
    """Divide the digits into three parts by arithmetic alone.

    The images are put in order of class, those of a class in the order of the file, and
    numbered p = 0, 1, ..., 1796. Image p belongs to

    - test where (300 p) mod 1797 is 0 to 299,
    - validation where it is 900 to 1199,
    - train elsewhere.

    300 p mod 1797 takes each multiple of 3 below 1797 three times, so validation and test
    have exactly 300 each. Either takes every sixth image, or now and then every fifth, so
    both are stratified to within one image a class and spread evenly through the file,
    whose order is that of the writers.

    Args:
        targets: ``(1797,)``, the classes in the order of the file.

    Returns:
        For each part, the indices of its images in the file, rising.
    """
    order = targets.argsort(stable=True)
    phase = torch.arange(COUNT) * HELD_OUT % COUNT
    test = phase < HELD_OUT
    validation = (phase >= 3 * HELD_OUT) & (phase < 4 * HELD_OUT)
    masks = {"train": ~(test | validation), "validation": validation, "test": test}
    return {part: order[mask].sort().values for part, mask in masks.items()}
