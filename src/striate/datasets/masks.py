"""Sets of images with a mask each, in memory: every pixel has a class."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from striate.errors import DataError
from striate.segmentation_losses import IGNORED
from striate.tile_input import Statistics

__all__ = ["IGNORED", "MaskSet", "MaskedImage", "check_masks", "named", "oddities"]


class MaskedImage(NamedTuple):
    """An image, or a volume, and the class of each of its pixels.

    Attributes:
        name: For messages: the file, and the page of a stack.
        image: ``(C, *spatial)``, values as stored; spatial axes slowest first.
        mask: ``(*spatial)``, uint8 class indices; ``IGNORED`` is left out of loss and figures.
        spacing: Size of a pixel along each spatial axis, where the file says it [mm].
        stored: NumPy's name of the file's type, where torch computes in another.
        own: Of a slice of a volume, the statistics of the whole volume.
    """

    name: str
    image: Tensor
    mask: Tensor
    spacing: tuple[float, ...] | None = None
    stored: str | None = None
    own: Statistics | None = None


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
        notes: What was done or noticed when they were read, in words for the user.
    """

    name: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    parts: dict[str, tuple[MaskedImage, ...]]
    source: str
    notes: tuple[str, ...] = ()

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


def check_masks(parts: Mapping[str, Sequence[MaskedImage]], classes: Sequence[str]) -> None:
    """Refuse images that no network could read, and masks that do not fit them.

    Args:
        parts: The images of each part.
        classes: Names of the classes.

    Raises:
        DataError: An image has other channels than the first, or holds NaN or infinity; sizes
            of image and mask differ; a mask's value is neither a class index nor ``IGNORED``.

    Example:
        >>> import torch
        >>> image, mask = torch.zeros(1, 2, 2), torch.tensor([[0, 1], [7, 255]], dtype=torch.uint8)
        >>> check_masks({"train": [MaskedImage("slice 3", image, mask)]}, ["cell", "membrane"])
        Traceback (most recent call last):
        striate.errors.DataError: slice 3: its mask holds 7, which is none of the classes 0 to 1...
    """
    images = [each for part in parts.values() for each in part]
    for each in images:
        if each.image.shape[1:] != each.mask.shape:
            raise DataError(
                f"{each.name}: the image is {'x'.join(map(str, each.image.shape[1:]))}, its mask "
                f"{'x'.join(map(str, each.mask.shape))}; put the right mask beside it"
            )
        if each.image.shape[0] != images[0].image.shape[0]:
            raise DataError(
                f"{each.name} has {_channels(each)}, {images[0].name} {_channels(images[0])}; "
                "bring all images to one number"
            )
        if each.mask.dim() != images[0].mask.dim():
            raise DataError(
                f"{each.name} has {each.mask.dim()} axes, {images[0].name} {images[0].mask.dim()}; "
                "keep images and volumes apart"
            )
        if each.image.is_floating_point() and not torch.isfinite(each.image).all():
            raise DataError(
                f"{each.name} holds NaN or infinite pixels; give them a number, and 255 in the "
                "mask to leave them out"
            )
        wrong = (each.mask >= len(classes)) & (each.mask != IGNORED)
        if wrong.any():
            raise DataError(
                f"{each.name}: its mask holds {int(each.mask[wrong][0])}, which is none of the "
                f"classes 0 to {len(classes) - 1} and not {IGNORED}; correct the mask"
            )


def _channels(each: MaskedImage) -> str:
    count = each.image.shape[0]
    return f"{count} channel{'s' * (count != 1)}"


def oddities(masks: MaskSet) -> list[str]:
    """Say what is odd about a set and still can be learnt from, a line each.

    Constant images, masks of one class alone or of nothing, and classes that no training mask
    holds.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[0, 255]], dtype=torch.uint8)
        >>> part = (MaskedImage("slice 3", torch.tensor([[[5, 8]]]), mask),)
        >>> oddities(MaskSet("a", ("no", "yes"), ("",), {"train": part}, "here"))
        ['train: no class but no in the mask of slice 3', 'train: no mask holds yes']
    """
    found = []
    for part, images in masks.parts.items():
        held: Counter[int] = Counter()
        groups: dict[str, list[str]] = {}
        for each in images:
            counts = torch.bincount(each.mask.flatten(), minlength=IGNORED + 1)[:IGNORED]
            present = counts.nonzero().flatten().tolist()
            held.update(present)
            if each.image.min() == each.image.max():
                groups.setdefault("one value everywhere in", []).append(each.name)
            if not present:
                groups.setdefault("nothing but pixels to leave out in the mask of", []).append(
                    each.name
                )
            if len(present) == 1:
                name = masks.classes[present[0]]
                groups.setdefault(f"no class but {name} in the mask of", []).append(each.name)
        found += [f"{part}: {what} {named(names)}" for what, names in groups.items()]
        absent = [name for index, name in enumerate(masks.classes) if not held[index]]
        if part == "train" and absent:
            found.append(f"train: no mask holds {', '.join(absent)}")
    return found


def named(names: Sequence[str]) -> str:
    """Name the first two of many.

    Example:
        >>> named(["a", "b", "c"])
        'a, b and 1 more'
    """
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
