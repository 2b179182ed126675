"""What Pillow decodes, without its silent losses and without its warnings."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from striate.errors import DataError
from striate.images.stored import Stored, check_size, with_transparent_colour

ORIENTATION = 274  # tag of TIFF and EXIF
PILLOW_LOCK = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the decoders' own warnings from the terminal while headers are read.

    Locked, because warning filters and Pillow's size limit belong to the whole process;
    the long part of decoding happens outside.
    """
    logger = logging.getLogger("tifffile")
    with PILLOW_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, disabled = Image.MAX_IMAGE_PIXELS, logger.disabled
        Image.MAX_IMAGE_PIXELS, logger.disabled = None, True  # our own limit is checked instead
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, logger.disabled = limit, disabled


def open_picture(file: BinaryIO, kind: str, max_pixels: int, path: Path) -> ImageFile.ImageFile:
    """Read a picture's header.

    Raises:
        DataError: It has more than ``max_pixels``.
        ValueError: It is damaged.
    """
    with quiet():
        try:
            picture = Image.open(file, formats=["PPM" if kind == "PNM" else kind])
        except UnidentifiedImageError as error:  # its words name the address of an object
            raise ValueError("its header is not understood") from error
    check_size(path, *picture.size, max_pixels)
    return picture


def take(
    picture: ImageFile.ImageFile, path: Path, bits: int = 8, decoded: np.ndarray | None = None
) -> Stored:
    """Take pixels and what is said about them from Pillow.

    Args:
        picture: From ``open_picture``.
        path: What to call it.
        bits: A PNG's depth.
        decoded: The pixels, where another decoder found them; ``(H, W)`` or ``(H, W, 3)``.

    Raises:
        DataError: A kind of pixel whose white is not known.
    """
    notes = []
    pages = getattr(picture, "n_frames", 1)
    if decoded is None:
        picture.load()
    with quiet():
        orientation = picture.getexif().get(ORIENTATION, 1)
    mode, key = picture.mode, picture.info.get("transparency")
    if mode in ("P", "PA"):
        mode, key = "RGBA" if picture.has_transparency_data else "RGB", None
        notes.append(f"palette expanded to {mode}")
    elif mode in ("CMYK", "YCbCr"):
        notes.append(f"{mode} converted to RGB without a colour profile")
        mode = "RGB"
    elif mode not in ("1", "L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L"):
        raise DataError(f"{path} holds pixels of kind {mode}; export it as RGB or grey")
    pixels = decoded
    if pixels is None:
        pixels = np.array(picture if mode == picture.mode else picture.convert(mode))
    if mode == "1":
        notes.append("black and white read as 0 and 255")
        pixels = pixels.astype(np.uint8) * 255
    elif mode.startswith("I;16"):
        pixels = pixels.astype(np.uint16)
    if pages > 1:
        notes.append(f"first of {pages} pictures in the file")
    if "icc_profile" in picture.info:
        notes.append("colour profile not applied")
    if mode == "L" and key is not None:  # Pillow scales grey of 2 and 4 bits to 8, but not the key
        key *= 255 // (2**bits - 1)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    white = float(np.iinfo(pixels.dtype).max)
    stored = Stored(pixels, white, tuple(notes), mode in ("LA", "RGBA"), orientation)
    return stored if key is None else with_transparent_colour(stored, key)
