"""What is seen of one image: its form, its values, and two signatures that copies share."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from striate.datasets.listing import Place
from striate.errors import DataError
from striate.image_store.filling import read_content
from striate.images import DecodedImage, read_image

ENOUGH = (128, 128)  # height and width that a JPEG is decoded at, at least [pixels]
SIDE = 16  # of the signature in colour [pixels]
FEW = 64  # pixels, of which nothing is said
LEVELS = 2  # by which a pixel of 8 bits may miss the median of an empty image
EMPTY = 0.995  # share of pixels that are alike in an image with nothing on it


class Seen(NamedTuple):
    """What is kept of an image that was looked at.

    Attributes:
        refusal: Why it cannot be read; empty of one that can.
        content: SHA-256 of its bytes, in hexadecimal.
        size: ``(H, W)``, upright.
        channels: With opacity.
        dtype: Of the stored values.
        full_scale: The value that means white.
        low: The smallest value; of a large JPEG that of its reduced form.
        high: The largest.
        is_empty: Whether 99.5 % of its pixels are alike.
        differences: Bits that say where an 8 × 9 reduction grows brighter to the right, uint64.
        colours: ``16 * 16 * 3`` bytes, a reduction to 16 × 16 pixels, stretched to all levels.
        notes: What reading it did, in words for the user.
    """

    refusal: str = ""
    content: str = ""
    size: tuple[int, int] = (0, 0)
    channels: int = 0
    dtype: str = ""
    full_scale: float = 0.0
    low: float = 0.0
    high: float = 0.0
    is_empty: bool = False
    differences: int = 0
    colours: bytes = b""
    notes: tuple[str, ...] = ()


def look_at_place(place: Place, max_pixels: int) -> Seen:
    """Read and decode the image at a place.

    Args:
        place: Where its bytes are.
        max_pixels: Larger images are refused before they are decoded.
    """
    try:
        content = read_content(place)
    except DataError as error:
        return Seen(refusal=str(error))
    digest = hashlib.sha256(content).hexdigest()
    try:
        image = read_image(
            Path(place.name), content=content, max_pixels=max_pixels, at_least=ENOUGH
        )
    except DataError as error:
        return Seen(refusal=str(error), content=digest)
    except MemoryError:
        return Seen(refusal=f"{place.name} needs more memory than there is", content=digest)
    return look_at(image, digest)


def look_at(image: DecodedImage, content: str) -> Seen:
    """Measure a decoded image.

    Args:
        image: The image.
        content: SHA-256 of its bytes, in hexadecimal.

    Example:
        >>> seen = look_at(DecodedImage(np.full((8, 8, 1), 7, np.uint8), 255, ()), "")
        >>> seen.low, seen.high, seen.is_empty
        (7.0, 7.0, True)
    """
    pixels = image.pixels[..., : -1 if image.has_alpha else None]
    low, high = float(pixels.min()), float(pixels.max())
    floats = pixels.astype(np.float32)
    height, width = pixels.shape[:2]
    grey = floats.mean(axis=2)
    bright = _overlap(height, 8) @ grey @ _overlap(width, 9).T
    differences = np.packbits(bright[:, 1:] > bright[:, :-1]).view(np.uint64)[0]
    rgb = floats if pixels.shape[2] == 3 else grey[..., None]
    small = np.einsum(
        "ih,hwc,jw->ijc", *(_overlap(height, SIDE), rgb, _overlap(width, SIDE)), optimize=True
    )
    spread = max(float(small.max() - small.min()), 1e-6)
    levels = ((small - small.min()) * (255 / spread)).round().astype(np.uint8)
    return Seen(
        content=content,
        size=image.reduced_from or (height, width),
        channels=image.pixels.shape[2],
        dtype=str(image.pixels.dtype),
        full_scale=image.full_scale,
        low=low,
        high=high,
        is_empty=low == high or _is_empty(pixels),
        differences=int(differences),
        colours=np.broadcast_to(levels, (SIDE, SIDE, 3)).tobytes(),
        notes=image.notes,
    )


def look_at_chunk(places: Sequence[Place], max_pixels: int) -> list[Seen]:
    """Look at several images, for a worker process."""
    return [look_at_place(place, max_pixels) for place in places]


def _is_empty(pixels: np.ndarray) -> bool:
    if pixels.shape[0] * pixels.shape[1] < FEW:
        return False
    near = LEVELS if pixels.dtype == np.uint8 else 0
    alike = np.abs(pixels - np.median(pixels, axis=(0, 1)).astype(np.float32)) <= near
    return bool(alike.all(axis=2).mean() >= EMPTY)


@lru_cache(maxsize=256)
def _overlap(size: int, cells: int) -> np.ndarray:
    """Give how much of each pixel lies in each of so many equal cells, ``(cells, size)``."""
    edges = np.arange(cells + 1) * (size / cells)
    pixels = np.arange(size)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: np.ndarray = (covered.clip(0) * (cells / size)).astype(np.float32)
    return weights
