"""Sets of images with a mask each, in memory: every pixel has a class."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from striate.errors import DataError
from striate.segmentation_losses import IGNORED

__all__ = ["IGNORED", "MaskSet", "MaskedImage", "check_masks"]


class MaskedImage(NamedTuple):
    """An image, or a volume, and the class of each of its pixels.

    Attributes:
        name: For messages: the file, and the page of a stack.
        image: ``(C, *spatial)``, values as stored; spatial axes slowest first.
        mask: ``(*spatial)``, uint8 class indices; ``IGNORED`` is left out of loss and figures.
        spacing: Size of a pixel along each spatial axis, where the file says it [mm].
        stored: NumPy's name of the file's type, where torch computes in another.
    """

    name: str
    image: Tensor
    mask: Tensor
    spacing: tuple[float, ...] | None = None
    stored: str | None = None


@dataclass(frozen=True)
class MaskSet:
    """A set of images with masks, and where it was found.

    Attributes:
        name: The set's name, or that of its folder.
        classes: Names of the classes, in the order of the class indices.
        modalities: For each channel what made it, ``"CT"`` or ``"MRI"`` say; ``""`` where that
            is not known.
        parts: Those of the asked-for parts that the set has, in the order train, validation,
            test.
        source: Where the files were found.
    """

    name: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    parts: dict[str, tuple[MaskedImage, ...]]
    source: str

    def fingerprint(self) -> str:
        """SHA-256 over names of parts, shapes and bytes of all images and masks.

        Example:
            >>> import torch
            >>> one = MaskedImage("a", torch.zeros(1, 2, 3), torch.zeros(2, 3, dtype=torch.uint8))
            >>> here = MaskSet("a", ("no", "yes"), ("",), {"train": (one,)}, "here")
            >>> here.fingerprint()[:12]
            '...'
        """
        digest = hashlib.sha256()
        for name, part in self.parts.items():
            for each in part:
                for values in (each.image, each.mask):
                    digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
                    digest.update(values.contiguous().numpy().data)
        return digest.hexdigest()


def check_masks(part: Sequence[MaskedImage], classes: Sequence[str]) -> None:
    """Refuse masks that do not fit their images or hold what is no class.

    Raises:
        DataError: Sizes differ, or a value is neither a class index nor ``IGNORED``; the image
            is named.

    Example:
        >>> import torch
        >>> image, mask = torch.zeros(1, 2, 2), torch.tensor([[0, 1], [7, 255]], dtype=torch.uint8)
        >>> check_masks([MaskedImage("slice 3", image, mask)], ["cell", "membrane"])
        Traceback (most recent call last):
        striate.errors.DataError: slice 3: its mask holds 7, which is none of the classes 0 to 1...
    """
    for each in part:
        if each.image.shape[1:] != each.mask.shape:
            raise DataError(
                f"{each.name}: the image is {'x'.join(map(str, each.image.shape[1:]))}, its mask "
                f"{'x'.join(map(str, each.mask.shape))}; put the right mask beside it"
            )
        wrong = (each.mask >= len(classes)) & (each.mask != IGNORED)
        if wrong.any():
            raise DataError(
                f"{each.name}: its mask holds {int(each.mask[wrong][0])}, which is none of the "
                f"classes 0 to {len(classes) - 1} and not {IGNORED}; correct the mask"
            )
