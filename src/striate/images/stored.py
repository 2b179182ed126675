"""Pixels as files store them, and what every format must check."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from striate.errors import DataError


class Stored(NamedTuple):
    """Pixels as a file stores them, before they are turned upright.

    Attributes:
        pixels: ``(H, W, C)``, uint8, uint16 or float32.
        full_scale: The value that means white.
        notes: What was done, in words for the user.
        has_alpha: Whether the last channel is opacity.
        orientation: As EXIF counts it, 1 to 8; 1 is upright.
        reduced_from: ``(H, W)`` of the file's pixels where fewer were decoded.
    """

    pixels: np.ndarray
    full_scale: float
    notes: tuple[str, ...] = ()
    has_alpha: bool = False
    orientation: int = 1
    reduced_from: tuple[int, int] | None = None


def check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Refuse an image of too many pixels.

    Raises:
        DataError: There are more than ``max_pixels``.
    """
    if width * height > max_pixels:
        raise DataError(
            f"{path} is {width}×{height}, {width * height:,} pixels; "
            f"the limit is {max_pixels:,}: shrink it or cut it into parts"
        )


def with_transparent_colour(stored: Stored, key: int | tuple[int, ...]) -> Stored:
    """Add an alpha channel in which one colour alone is transparent."""
    seen = (stored.pixels != np.array(key)).any(axis=2, keepdims=True)
    alpha = (seen * int(stored.full_scale)).astype(stored.pixels.dtype)
    return stored._replace(
        pixels=np.concatenate([stored.pixels, alpha], axis=2),
        has_alpha=True,
        notes=(*stored.notes, "one colour read as transparent"),
    )


def unit_floats(pixels: np.ndarray, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Give floats in [0, 1] as 32 bits, and what was done, in words for the user.

    Raises:
        DataError: A value lies outside, or is not a number.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not 0 <= low <= high <= 1:  # also false where a value is not a number
        raise DataError(
            f"{path} holds floats from {low:g} to {high:g}; needed are values in [0, 1]: "
            "map them yourself, the same way for every image, and save again"
        )
    rounded = ("64-bit floats rounded to 32 bits",) if pixels.dtype.itemsize == 8 else ()
    return pixels.astype(np.float32), rounded
