"""The files of an image and of its mask to arrays; what a mask's values mean is not known here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from striate.datasets.class_tables import TABLE
from striate.errors import DataError
from striate.images import SUFFIXES, read_indices
from striate.images.decoding import kind_of
from striate.tile_input import as_tensor
from striate.volumes import open_volume, suffix_of

HIGHEST = 2**31  # whole numbers above are no values that people write into masks


class Pixels(NamedTuple):
    """An image as stored.

    Attributes:
        image: ``(C, *spatial)``.
        spacing: Along each spatial axis, where the files say it [mm].
        stored: NumPy's name of the files' type.
        notes: What was done on the way, in words for the user.
        affine: Of the last file, where it says one.
    """

    image: Tensor
    spacing: tuple[float, ...] | None
    stored: str
    notes: tuple[str, ...]
    affine: NDArray[Any] | None


def read_pixels(files: Sequence[Path]) -> Pixels:
    """Read an image whose channels lie in one file or in several; no value changes.

    Raises:
        DataError: A file cannot be read, or the files differ in size.
    """
    pixels: list[NDArray[Any]] = []
    notes: list[str] = []
    for path in files:
        with open_volume(path) as source:
            pixels.append(source.read())
            notes += source.notes
            geometry = source.geometry
    if len({each.shape[1:] for each in pixels}) > 1:
        raise DataError(
            f"{files[0]} and its other channels differ in size: "
            f"{', '.join('x'.join(map(str, each.shape[1:])) for each in pixels)}; bring them to one"
        )
    stored = np.concatenate(pixels) if len(pixels) > 1 else pixels[0]
    return Pixels(
        as_tensor(stored),
        geometry.spacing_in("mm"),
        stored.dtype.name,
        tuple(dict.fromkeys(notes)),
        geometry.affine,
    )


def read_values(path: Path, *, colored: bool = False) -> NDArray[Any]:
    """Read the values of a mask.

    Args:
        path: The file; in a picture with a palette the values are the palette's indices.
        colored: Give colors instead, as 0xrrggbb.

    Returns:
        ``(*spatial)``, of the smallest integer type that holds them.

    Raises:
        DataError: The file cannot be read, or holds fractions, colors that were not asked for,
            or a channel for each class; or its compression changes values.
    """
    picture = suffix_of(path) in SUFFIXES  # or a stack of them, in a TIFF
    if picture:
        _require_lossless(path)
    indices = read_indices(path) if picture and not colored else None
    if indices is not None:
        return indices
    with open_volume(path) as source:
        stored = source.read()
    if picture and len(stored) in (2, 4):
        stored = stored[:-1]  # opacity
    if stored.dtype.kind == "f" and not (np.isfinite(stored).all() and (stored % 1 == 0).all()):
        raise DataError(f"{path} holds fractions; a mask holds whole numbers, one for each class")
    if abs(stored.max()) >= HIGHEST or abs(stored.min()) >= HIGHEST:
        raise DataError(f"{path} holds {stored.max():g}; a mask holds one small number a class")
    if colored:
        return _packed(path, stored)
    grey = picture and len(stored) == 3 and bool((stored == stored[0]).all())
    if len(stored) == 3 and picture and not grey:
        raise DataError(
            f"{path} has colors; say what they mean in {TABLE} beside the folders, in lines as "
            "color,name and #000000,background and #ff0000,cell"
        )
    if len(stored) > 1 and not grey:
        raise DataError(
            f"{path} has {len(stored)} channels, as where a pixel can be of several classes "
            "(multi-label), which is not supported; write one channel with one number a class"
        )
    return _small(stored[0])


def _require_lossless(path: Path) -> None:
    """Refuse a picture whose compression mixes the values of neighbours."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return  # said when it is read
    kind = kind_of(head)
    if kind == "JPEG" or (kind == "WebP" and head[12:16] == b"VP8 "):
        raise DataError(
            f"{path} is a lossy {kind}, in which values of a mask change into others; save the "
            "mask from its source as PNG"
        )


def _small(values: NDArray[Any]) -> NDArray[Any]:
    low, high = int(values.min()), int(values.max())
    return values.astype(np.promote_types(np.min_scalar_type(low), np.min_scalar_type(high)))


def _packed(path: Path, stored: NDArray[Any]) -> NDArray[np.int32]:
    high = stored.astype(np.int64) // 256
    if ((stored == high * 256) | (stored == high * 257)).all():
        stored = high  # a TIFF's palette has 16 bits, of which 8 say the color
    if len(stored) not in (1, 3) or stored.max() > 0xFF or stored.min() < 0:
        raise DataError(
            f"{path} has {len(stored)} channels with values up to {stored.max():g}, but {TABLE} "
            "names colors; needed are red, green and blue in 0 to 255"
        )
    red, green, blue = np.broadcast_to(stored, (3, *stored.shape[1:])).astype(np.int32)
    packed: NDArray[np.int32] = (red << 16) + (green << 8) + blue
    return packed
