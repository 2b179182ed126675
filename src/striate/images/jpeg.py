"""JPEG images, at full scale or reduced while they are decoded, and their damage noticed.

simplejpeg (extra ``fast``) decodes grey and RGB where it is installed: the same pixels as
Pillow's, sooner. It also reports damage inside the data, over which Pillow passes in silence;
neither can notice all of it, because the format has no checksum.
"""

import importlib
import io
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np
from PIL import ImageFile

from striate.images.pillow import ORIENTATION, open_picture, quiet, take
from striate.images.stored import Stored

REDUCTIONS = (8, 4, 2)  # scales at which libjpeg computes its inverse cosine transform
SAME_PIXELS = (
    "444",
    "422",
    "420",
    "Gray",
)  # chroma that all versions of libjpeg-turbo enlarge alike
DAMAGE = re.compile("Corrupt JPEG data|Premature end|Inconsistent progression")
TOO_MANY_BYTES = re.compile("extraneous bytes")


def read_jpeg(
    file: BinaryIO, path: Path, max_pixels: int, at_least: tuple[int, int] | None
) -> Stored:
    """Decode a JPEG.

    Args:
        file: Open at its first byte.
        path: What to call it.
        max_pixels: Larger images are refused before they are decoded.
        at_least: ``(H, W)``, upright; decoding may halve the image up to three times as long
            as it stays at least this large. None for all pixels.

    Raises:
        DataError: Too many pixels.
        Exception: Whatever the decoders stumble over in a damaged file.
    """
    data = file.read()
    picture = open_picture(io.BytesIO(data), "JPEG", max_pixels, path)
    width, height = picture.size
    reduction = 1 if at_least is None else _reduction(picture, at_least)
    shape = (-(-height // reduction), -(-width // reduction))
    pixels, damage = _decode_fast(data, picture.mode, shape, reduction)
    if pixels is None and reduction > 1:
        picture.draft(None, (width // reduction, height // reduction))
    stored = take(picture, path, decoded=pixels)
    if DAMAGE.search(damage):
        if not TOO_MANY_BYTES.search(damage):
            raise ValueError(damage)
        note = f"parts of it may be wrong: {damage}"
        stored = stored._replace(notes=(*stored.notes, note))
    return stored if reduction == 1 else stored._replace(reduced_from=(height, width))


@cache
def simplejpeg() -> ModuleType | None:
    """Import simplejpeg; None where it is not installed."""
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def _reduction(picture: ImageFile.ImageFile, at_least: tuple[int, int]) -> int:
    """Find the strongest reduction that leaves ``at_least`` pixels, and one in any case."""
    with quiet():
        lies = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    height, width = at_least[::-1] if lies else at_least
    for scale in REDUCTIONS:
        fits = -(-picture.height // scale) >= height and -(-picture.width // scale) >= width
        if fits and min(picture.size) >= scale:
            return scale
    return 1


def _decode_fast(
    data: bytes, mode: str, shape: tuple[int, int], reduction: int
) -> tuple[np.ndarray | None, str]:
    """Decode by simplejpeg what it decodes to Pillow's pixels; also say what damage it met."""
    module = simplejpeg()
    if module is None or mode not in ("L", "RGB"):
        return None, ""
    try:
        _, _, colours, chroma = module.decode_jpeg_header(data, strict=True)
        if chroma not in SAME_PIXELS or colours not in ("Gray", "YCbCr"):
            return None, ""
        pixels: np.ndarray = module.decode_jpeg(
            data,
            "GRAY" if mode == "L" else "RGB",
            min_height=shape[0],
            min_width=shape[1],
            min_factor=reduction,
        )
    except ValueError as error:
        return None, str(error)
    return (pixels, "") if pixels.shape[:2] == shape else (None, "")
