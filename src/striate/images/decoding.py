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
from striate.images.pillow import open_picture, take
from striate.images.stored import Stored, check_size, unit_floats, with_transparent_colour
from striate.images.tiff import read_tiff

SIGNATURES = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF....WEBP",
    "BMP": rb"BM.{8}",
    "PNM": rb"P[1-6Ff]\s",
}
FOREIGN = {  # what people take for images, or find in their place
    "a HEIC photo": rb".{4}ftyp(?:heic|heix|hevc|mif1)",
    "an AVIF picture": rb".{4}ftypavi[fs]",
    "a JPEG XL picture": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "a JPEG 2000 picture": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "an OpenEXR picture": rb"\x76\x2f\x31\x01",
    "a Photoshop picture": rb"8BPS",
    "a PDF document": rb"%PDF-",
    "a ZIP archive": rb"PK\x03\x04",
    "a gzip file": rb"\x1f\x8b",
    "an HDF5 file": rb"\x89HDF",
    "a NumPy array": rb"\x93NUMPY",
    "a pointer of Git LFS instead of the file (git lfs pull fetches it)": rb"version https://git-lfs",
}
SPACE = rb"(?:\s|#[^\n]*\n)+"
USUAL_GAMMA = 0.45455  # 1 / 2.2, about that of sRGB
PFM_HEADER = re.compile(rb"P([Ff])\s+(\d+)\s+(\d+)\s+([-+.\deE]+)\s")
PNM_HEADER = re.compile(rb"P([2356])" + (SPACE + rb"(\d+)") * 3 + rb"\s")


def kind_of(head: bytes) -> str | None:
    """Tell the format from a file's first bytes.

    Example:
        >>> kind_of(b"GIF89a...")
        'GIF'
    """
    return _matching(SIGNATURES, head)


def what_else(head: bytes) -> str:
    """Say what a file is that is none of the known images, from its first bytes.

    Example:
        >>> what_else(b"not found"), what_else(b"PK\\3\\4")
        ("text, starting with 'not found'", 'a ZIP archive')
    """
    foreign = _matching(FOREIGN, head)
    if foreign:
        return foreign
    text = head.decode("utf-8", errors="ignore")[:32]
    if len(text) > 3 and all(c.isprintable() or c in "\t\r\n" for c in text):
        return f"text, starting with {text!r}"
    return f"something else, starting with the bytes {head[:8].hex(' ')}"


def _matching(signatures: dict[str, bytes], head: bytes) -> str | None:
    for name, signature in signatures.items():
        if re.match(signature, head, re.DOTALL):
            return name
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
    if kind == "BMP":
        return _read_bmp(file, path, max_pixels)
    return take(open_picture(file, kind, max_pixels, path), path)


def _read_bmp(file: BinaryIO, path: Path, max_pixels: int) -> Stored:
    bits = file.read(30)[28:]
    file.seek(0)
    stored = take(open_picture(file, "BMP", max_pixels, path), path)
    if bits == b"\x20\0" and not stored.has_alpha:  # by the standard it means nothing
        return stored._replace(notes=(*stored.notes, "fourth byte of the pixels left out"))
    return stored


def _read_png(data: bytes, path: Path, max_pixels: int) -> Stored:
    header = open_picture(io.BytesIO(data), "PNG", max_pixels, path)
    header.verify()  # the checksum of every chunk
    stored = _png_pixels(data, path, max_pixels)
    notes, known = stored.notes, header.info
    gamma = known.get("gamma", USUAL_GAMMA)
    if abs(gamma - USUAL_GAMMA) > 0.001 and not {"srgb", "icc_profile"} & known.keys():
        notes = (*notes, f"gamma of {gamma:g} not applied")
    significant = data.find(b"sBIT", 33, data.find(b"IDAT"))
    if data[24] == 16 and significant > 0 and data[significant + 4] < 16:
        notes = (*notes, f"{data[significant + 4]} significant bits of 16, kept as stored")
    return stored._replace(notes=notes)


def _png_pixels(data: bytes, path: Path, max_pixels: int) -> Stored:
    bits, colour = data[24], data[25]
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
    if data[:2] in (b"PF", b"Pf"):
        return _read_pfm(data, path, max_pixels)
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


def _read_pfm(data: bytes, path: Path, max_pixels: int) -> Stored:
    header = PFM_HEADER.match(data)
    if not header:
        raise ValueError("its header lacks width, height or scale")
    width, height, colours = int(header[2]), int(header[3]), 3 if header[1] == b"F" else 1
    check_size(path, width, height, max_pixels)
    kind = np.dtype("<f4" if header[4].startswith(b"-") else ">f4")
    values = np.frombuffer(data, kind, height * width * colours, header.end())
    pixels, _ = unit_floats(
        values.reshape(height, width, colours)[::-1], path
    )  # from the bottom up
    return Stored(pixels, 1.0)
