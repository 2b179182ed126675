"""Sets of images in memory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from striate.errors import DataError


class Part(NamedTuple):
    """Images and their classes: the training, validation or test part of a set.

    Attributes:
        images: ``(N, C, H, W)``, values as stored: uint8, or float32 where the files hold
            fractions. Contiguous.
        targets: ``(N,)``, int64 class indices.
    """

    images: Tensor
    targets: Tensor


@dataclass(frozen=True)
class ImageSet:
    """A set of images with its classes, and where it was found.

    Attributes:
        name: The set's name, or that of its folder.
        classes: Names of the classes, in the order of the class indices.
        value_range: The stored values that mean black and white.
        parts: Those of the asked-for parts that the set has, in the order train,
            validation, test.
        source: Where the files were found.
    """

    name: str
    classes: tuple[str, ...]
    value_range: tuple[float, float]
    parts: dict[str, Part]
    source: str

    def fingerprint(self) -> str:
        """SHA-256 over the names, shapes and bytes of the loaded parts.

        Equal data gives an equal fingerprint wherever it lies; another value, order, shape
        or part gives another. 47 MB take about 30 ms.

        Example:
            >>> import torch
            >>> part = Part(torch.zeros(2, 1, 3, 5, dtype=torch.uint8), torch.tensor([1, 0]))
            >>> here = ImageSet("a", ("no", "yes"), (0, 255), {"train": part}, "here")
            >>> there = ImageSet("b", ("no", "yes"), (0, 255), {"train": part}, "there")
            >>> here.fingerprint() == there.fingerprint()
            True
        """
        digest = hashlib.sha256()
        for name, part in self.parts.items():
            for kind, values in part._asdict().items():
                digest.update(f"{name} {kind} {values.dtype} {tuple(values.shape)}\n".encode())
                digest.update(values.contiguous().numpy())
        return digest.hexdigest()


def check_targets(targets: Tensor, num_classes: int, path: Path) -> None:
    """Refuse class indices that no class has.

    Raises:
        DataError: The first target outside 0 .. num_classes - 1, with the file it came from.

    Example:
        >>> import torch
        >>> check_targets(torch.tensor([3, 10, 4]), 10, Path("labels"))
        Traceback (most recent call last):
        striate.errors.DataError: labels: label 10 of image 1 is none of the classes 0 to 9...
    """
    wrong = ((targets < 0) | (targets >= num_classes)).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise DataError(
            f"{path}: label {int(targets[index])} of image {index} is none of the classes "
            f"0 to {num_classes - 1}; correct or replace the file"
        )
