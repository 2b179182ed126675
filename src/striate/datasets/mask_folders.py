"""From the files of a folder to a set of images with masks in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from striate.datasets.catalogue import PARTS
from striate.datasets.class_tables import ClassTable, counted, numbered
from striate.datasets.mask_layouts import MaskLayout, recognize_masks
from striate.datasets.mask_memory import available_memory, require_memory
from striate.datasets.mask_reading import Pixels, read_pixels, read_values
from striate.datasets.masks import MaskedImage, MaskSet, check_masks, named
from striate.datasets.pairing import Pair
from striate.errors import DataError
from striate.volumes import open_volume

Values = dict[Path, NDArray[Any]]  # of each mask that was read


def read_mask_folder(folder: Path, parts: Sequence[str]) -> MaskSet:
    """Read parts of the set of images with masks that lies in a folder.

    What a mask's values mean stands in ``classes.csv`` in the folder: a line ``value,name`` or
    ``color,name`` (as ``#ff0000,car``) for each class, in the classes' order; values named
    ``ignored`` are left out, as 255 is if it is not named. Without a table, masks hold
    0, 1, 2, ... and 255; the training masks say how many there are.

    Raises:
        DataError: The layout is not known, a file is missing or damaged, sizes differ, or a
            mask holds what no class is; the file is named. Or the images do not fit into memory.
    """
    layout = recognize_masks(folder)
    wanted = {part: layout.parts[part] for part in PARTS if part in parts and part in layout.parts}
    if not wanted:
        remedy = (
            "evaluate another folder with --data FOLDER, images in FOLDER/test/images and their "
            "masks in FOLDER/test/masks"
            if "test" in parts
            else "put images into train/images and their masks into train/masks"
        )
        raise DataError(
            f"{folder} has no {' or '.join(parts)} part, only {', '.join(layout.parts)}; {remedy}"
        )
    require_memory([pair for pairs in wanted.values() for pair in pairs], available_memory())
    values: Values = {}
    table = layout.table or _numbered(folder, layout, values)
    read, notes = {}, dict[str, list[str]]()
    for part, pairs in wanted.items():
        read[part] = tuple(_read(pair, table, values, notes) for pair in pairs)
    check_masks(read, table.classes)
    channels = next(iter(read.values()))[0].image.shape[0]
    modalities = layout.modalities or ("",) * channels
    if len(modalities) != channels:
        raise DataError(
            f"{folder} describes {len(modalities)} channels ({', '.join(modalities)}), but the "
            f"images have {channels}; correct the description"
        )
    told = tuple(f"{note}: {named(names)}" for note, names in notes.items())
    name = folder.resolve().name
    return MaskSet(name, table.classes, modalities, read, str(folder), told)


def _numbered(folder: Path, layout: MaskLayout, values: Values) -> ClassTable:
    """Number the classes by the training masks; what is read is kept for later."""
    deciding = layout.parts.get("train") or next(iter(layout.parts.values()))
    values.update({pair.mask: read_values(pair.mask) for pair in deciding})
    return numbered({path: counted(own) for path, own in values.items()}, folder)


def _read(
    pair: Pair, table: ClassTable, values: Mapping[Path, NDArray[Any]], notes: dict[str, list[str]]
) -> MaskedImage:
    pixels = read_pixels(pair.images)
    own = values.get(pair.mask)
    if own is None:
        own = read_values(pair.mask, colored=table.colored)
    mask = torch.from_numpy(table.apply(pair.mask, own))
    name = pair.images[0].name
    for note in (*pixels.notes, *_displaced(pixels, pair.mask)):
        notes.setdefault(note, []).append(name)
    return MaskedImage(name, pixels.image, mask, pixels.spacing, pixels.stored)


def _displaced(pixels: Pixels, mask: Path) -> tuple[str, ...]:
    """Notice a mask that lies elsewhere than its image, as their files say."""
    if pixels.affine is None:
        return ()
    with open_volume(mask) as source:
        other = source.geometry.affine
    if other is None or np.allclose(pixels.affine, other, rtol=0, atol=1e-2):
        return ()
    return ("its mask lies elsewhere, as the files' affines say, and was laid on it all the same",)
