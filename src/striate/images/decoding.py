"""The formats of image files: bytes to stored pixels, every bit kept.

Pillow decodes, except where it would lose bits without a word: TIFF goes through tifffile,
16-bit colour PNG is unpacked in two halves, and PNM is read here.
"""

import io
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from striate.images.jpeg import read_jpeg
from striate.images.pillow import Stored, check_size, open_picture, take, with_transparent_colour
from striate.images.tiff import read_tiff

SIGNATURES = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF....WEBP",
    "BMP": rb"BM.{8}",
    "PNM": rb"P[1-6]\s",
}
SPACE = rb"(?:\s|#[^\n]*\n)+"
PNM_HEADER = re.compile(rb"P([2356])" + (SPACE + rb"(\d+)") * 3 + rb"\s")


def kind_of(head: bytes) -> str | None:
    """Tell the format from a file's first bytes.

    Example:
        >>> kind_of(b"GIF89a...")
        'GIF'
    """
    for kind, signature in SIGNATURES.items():
        if re.match(signature, head, re.DOTALL):
            return kind
    return None


def decode(
    file: BinaryIO,
    path: Path,
    kind: str,
    max_pixels: int,
    at_least: tuple[int, int] | None = None,
) -> Stored:
    """Decode a file of a known format.

    Args:
        file: Open at its first byte.
        path: What to call it.
        kind: A key of ``SIGNATURES``.
        max_pixels: Larger images are refused before they are decoded.
        at_least: ``(H, W)`` that a JPEG, upright, may be reduced to by a power of two.

    Raises:
        DataError: Too many pixels, or a kind of pixel whose white is not known.
        Exception: Whatever a decoder stumbles over in a damaged file.
    """
    if kind == "PNG":
        return _read_png(file.read(), path, max_pixels)
    if kind == "TIFF":
        return read_tiff(file, path, max_pixels)
    if kind == "PNM":
        return _read_pnm(file.read(), path, max_pixels)
    if kind == "JPEG":
        return read_jpeg(file, path, max_pixels, at_least)
    return take(open_picture(file, kind, max_pixels, path), path)


def _read_png(data: bytes, path: Path, max_pixels: int) -> Stored:
    bits, colour = data[24], data[25]
    open_picture(io.BytesIO(data), "PNG", max_pixels, path).verify()  # the checksum of every chunk
    if bits == 16 and colour == 4:  # grey and alpha of 16 bits are laid out as RGBA of 8 bits
        header = data[12:24] + bytes([8, 6]) + data[26:29]
        data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
        stored = take(open_picture(io.BytesIO(data), "PNG", max_pixels, path), path)
        return stored._replace(pixels=stored.pixels.view(">u2").astype(np.uint16), full_scale=65535)
    upper = open_picture(io.BytesIO(data), "PNG", max_pixels, path)
    if bits < 16 or colour == 0:
        return take(upper, path, bits)
    # Of each 16-bit colour sample Pillow keeps one byte: the upper one when told the truth,
    # that PNG is big-endian ("B"), the lower one when told "L". Both make the sample.
    lower = open_picture(io.BytesIO(data), "PNG", max_pixels, path)
    for picture, order in ((upper, "B"), (lower, "L")):
        decoder, extents, offset, _ = picture.tile[0]
        tile = (decoder, extents, offset, f"{picture.mode};16{order}")
        picture.tile = [tile]  # type: ignore[list-item]
        picture.load()
    key = upper.info.pop("transparency", None)
    stored = take(upper, path)
    pixels = stored.pixels.astype(np.uint16) << 8 | np.array(lower)
    stored = stored._replace(pixels=pixels, full_scale=65535)
    return stored if key is None else with_transparent_colour(stored, key)


def _read_pnm(data: bytes, path: Path, max_pixels: int) -> Stored:
    if data[:2] in (b"P1", b"P4"):
        return take(open_picture(io.BytesIO(data), "PNM", max_pixels, path), path)
    header = PNM_HEADER.match(data)
    if not header:
        raise ValueError("its header lacks width, height or largest value")
    width, height, white = (int(number) for number in header.groups()[1:])
    check_size(path, width, height, max_pixels)
    shape = (height, width, 3 if header[1] in b"36" else 1)
    count, body = height * width * shape[2], data[header.end() :]
    if header[1] in b"23":
        values = np.array(body.split(), dtype=np.int64)
    else:
        kind = np.dtype(">u2" if white > 255 else "u1")
        values = np.frombuffer(body[: count * kind.itemsize], kind)
    if len(values) != count or not 0 <= values.min() <= values.max() <= white <= 65535:
        raise ValueError(f"needed are {width}×{height} pixels from 0 to {white}, at most 65535")
    pixels = values.reshape(shape).astype(np.uint16 if white > 255 else np.uint8)
    return Stored(pixels, float(white))
