"""From the files of a folder to a set of images with masks in memory."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from striate.datasets.mask_layouts import MaskLayout, Pair, recognize_masks
from striate.datasets.masks import IGNORED, MaskedImage, MaskSet, check_masks
from striate.errors import DataError
from striate.images import read_indices
from striate.tile_input import as_tensor
from striate.volumes import is_volume, open_volume

TABLE = "classes.csv"
LEFT_OUT = "ignored"
# More values than this without a table are numbers of objects rather than of classes.
MOST_UNNAMED = 64

Table = dict[int, str]  # a mask's value, or red, green and blue as 0xrrggbb, and its class


def read_mask_folder(folder: Path, parts: Sequence[str]) -> MaskSet:
    """Read parts of the set of images with masks that lies in a folder.

    What a mask's values mean stands in ``classes.csv`` in the folder: a line ``value,name`` or
    ``color,name`` (as ``#ff0000,car``) for each class, in the classes' order; values named
    ``ignored`` are left out, as 255 always is if it is not named. Without a table, masks hold
    0, 1, 2, ... and 255.

    Raises:
        DataError: The layout is not known, a file is missing or damaged, sizes differ, or a
            mask holds what no class is; the file is named.
    """
    layout = recognize_masks(folder)
    table = _table(folder, layout)
    names = [] if table is None else list(dict.fromkeys(table.values()))
    classes = tuple(name for name in names if name != LEFT_OUT)
    read: dict[str, tuple[MaskedImage, ...]] = {
        part: tuple(_read(pair, table, classes) for pair in layout.parts[part])
        for part in ("train", "validation", "test")
        if part in layout.parts and (part in parts or (table is None and part == "train"))
    }
    if table is None:
        classes = _numbered(read["train"])
    for part in read.values():
        check_masks(part, classes)
    first = next(iter(read.values()))[0]
    modalities = layout.modalities or ("",) * first.image.shape[0]
    kept = {part: read[part] for part in read if part in parts}
    return MaskSet(folder.resolve().name, classes, modalities, kept, str(folder))


def notes_of(masks: MaskSet) -> list[str]:
    """Say what is odd about a set and still can be learnt from, a line each."""
    notes = []
    for part, images in masks.parts.items():
        flat = [each.name for each in images if each.image.min() == each.image.max()]
        empty = [each.name for each in images if len(torch.unique(each.mask)) == 1]
        for names, what in ((flat, "one value everywhere"), (empty, "one class in all its mask")):
            if names:
                more = f" and {len(names) - 2} more" if len(names) > 2 else ""
                notes.append(f"{part}: {what} in {', '.join(names[:2])}{more}")
    return notes


def _table(folder: Path, layout: MaskLayout) -> Table | None:
    file = folder / TABLE
    if not file.is_file():
        return layout.names
    table: Table = {}
    with file.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            given = row.get("value") or row.get("index") or row.get("color") or ""
            name = (row.get("name") or "").strip()
            try:
                value = int(given.strip().removeprefix("#"), 16 if given.startswith("#") else 10)
            except ValueError:
                value = -1
            if value < 0 or not name:
                raise DataError(
                    f"{file}, line {number}: needed is value,name as 1,cell, or color,name as "
                    f"#ff0000,car under such a heading, not {','.join(map(str, row.values()))}"
                )
            table[value] = name
    if len({*table.values()} - {LEFT_OUT}) < 2:
        raise DataError(f"{file} names fewer than two classes; give each value of the masks a line")
    return table


def _read(pair: Pair, table: Table | None, classes: tuple[str, ...]) -> MaskedImage:
    pixels, spacing = [], None
    for path in pair.images:
        with open_volume(path) as source:
            pixels.append(source.read())
            spacing = source.spacing
    if len({each.shape[1:] for each in pixels}) > 1:
        raise DataError(
            f"{pair.images[0]} and its other channels differ in size: "
            f"{', '.join('x'.join(map(str, each.shape[1:])) for each in pixels)}"
        )
    stored = np.concatenate(pixels)
    mask = torch.from_numpy(_mask(pair.mask, table, classes))
    image = as_tensor(stored)
    return MaskedImage(pair.images[0].name, image, mask, spacing, stored.dtype.name)


def _mask(path: Path, table: Table | None, classes: tuple[str, ...]) -> NDArray[np.uint8]:
    values = _values(path, colored=table is not None and max(table) > 0xFF)
    present = np.unique(values).tolist()
    if table is None:
        return _unnamed(path, values, present)
    foreign = [value for value in present if value not in table and value != IGNORED]
    if foreign:
        shown = ", ".join(f"#{v:06x}" if max(table) > 0xFF else str(v) for v in foreign[:5])
        raise DataError(f"{path} holds {shown}, which {TABLE} does not name; add a line for it")
    mask = np.full(values.shape, IGNORED, np.uint8)
    for value, name in table.items():
        if name != LEFT_OUT:
            mask[values == value] = classes.index(name)
    return mask


def _values(path: Path, *, colored: bool) -> NDArray[np.int64]:
    """Read a mask's values, (*spatial); colours as 0xrrggbb."""
    if is_volume(path):
        with open_volume(path) as source:
            stored = source.read()
    else:
        stored = read_indices(path, colored=colored)
    if stored.dtype.kind == "f" and not np.array_equal(stored, np.round(stored)):
        raise DataError(f"{path} holds fractions; a mask holds whole numbers, one for each class")
    if len(stored) == 3 and colored:
        red, green, blue = stored.astype(np.int64)
        packed: NDArray[np.int64] = (red << 16) + (green << 8) + blue
        return packed
    if len(stored) > 1 and any((channel != stored[0]).any() for channel in stored[1:3]):
        raise DataError(
            f"{path} has colours; name them in {TABLE} beside the folders: color,name, then "
            "#000000,background and so on"
        )
    plain: NDArray[np.int64] = stored[0].astype(np.int64)
    return plain


def _unnamed(path: Path, values: NDArray[np.int64], present: list[int]) -> NDArray[np.uint8]:
    classes = [value for value in present if value != IGNORED]
    if len(classes) > MOST_UNNAMED:
        raise DataError(
            f"{path} holds {len(classes)} different values, as where each object has a number of "
            f"its own; give all objects of a class one value, or name the values in {TABLE}"
        )
    if (
        classes
        and (min(classes) < 0 or max(classes) > MOST_UNNAMED or classes == [0])
        and (present != [0])
    ):
        shown = ", ".join(map(str, present[:8]))
        raise DataError(
            f"{path} holds {shown}; needed are 0, 1, 2, ... (255 is left out), or a table {TABLE}: "
            f"value,name, then {present[0]},background and {present[-1]},cell, say"
        )
    return values.astype(np.uint8)


def _numbered(part: Sequence[MaskedImage]) -> tuple[str, ...]:
    """Name classes by their numbers, up to the highest in the training masks."""
    highest = max(_top(each) for each in part)
    return tuple(str(number) for number in range(max(highest, 1) + 1))


def _top(each: MaskedImage) -> int:
    counted = each.mask[each.mask != IGNORED]
    return int(counted.max()) if counted.numel() else 0
