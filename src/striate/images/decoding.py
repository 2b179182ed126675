"""The formats of image files: bytes to stored pixels, every bit kept.

Pillow decodes, except where it would lose bits without a word: TIFF goes through tifffile,
16-bit colour PNG is unpacked in two halves, and PNM is read here.
"""

import io
import logging
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import tifffile
from PIL import Image, ImageFile

from striate.errors import DataError

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
ORIENTATION, COLOUR_PROFILE = 274, 34675  # tags of TIFF and EXIF
PILLOW_LOCK = threading.Lock()


class Stored(NamedTuple):
    """Pixels as a file stores them, before they are turned upright.

    Attributes:
        pixels: ``(H, W, C)``, uint8, uint16 or float32.
        full_scale: The value that means white.
        notes: What was done, in words for the user.
        has_alpha: Whether the last channel is opacity.
        orientation: As EXIF counts it, 1 to 8; 1 is upright.
    """

    pixels: np.ndarray
    full_scale: float
    notes: tuple[str, ...] = ()
    has_alpha: bool = False
    orientation: int = 1


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


def decode(path: Path, kind: str, max_pixels: int) -> Stored:
    """Decode a file of a known format.

    Args:
        path: The file.
        kind: A key of ``SIGNATURES``.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        DataError: Too many pixels, or a kind of pixel whose white is not known.
        Exception: Whatever a decoder stumbles over in a damaged file.
    """
    if kind == "PNG":
        return _read_png(path, max_pixels)
    if kind == "TIFF":
        return _read_tiff(path, max_pixels)
    if kind == "PNM":
        return _read_pnm(path, max_pixels)
    with path.open("rb") as file:
        return _take(_open(file, kind, max_pixels, path), path)


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise DataError(
            f"{path} is {width}×{height}, {width * height:,} pixels; "
            f"the limit is {max_pixels:,}: shrink it or cut it into parts"
        )


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


def _open(file: BinaryIO, kind: str, max_pixels: int, path: Path) -> ImageFile.ImageFile:
    with quiet():
        picture = Image.open(file, formats=["PPM" if kind == "PNM" else kind])
    _check_size(path, *picture.size, max_pixels)
    return picture


def _take(picture: ImageFile.ImageFile, path: Path, bits: int = 8) -> Stored:
    """Take pixels and what is said about them from Pillow; ``bits`` is a PNG's depth."""
    notes = []
    pages = getattr(picture, "n_frames", 1)
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
    return stored if key is None else _with_transparent_colour(stored, key)


def _with_transparent_colour(stored: Stored, key: int | tuple[int, ...]) -> Stored:
    seen = (stored.pixels != np.array(key)).any(axis=2, keepdims=True)
    alpha = (seen * int(stored.full_scale)).astype(stored.pixels.dtype)
    return stored._replace(
        pixels=np.concatenate([stored.pixels, alpha], axis=2),
        has_alpha=True,
        notes=(*stored.notes, "one colour read as transparent"),
    )


def _read_png(path: Path, max_pixels: int) -> Stored:
    data = path.read_bytes()
    bits, colour = data[24], data[25]
    _open(io.BytesIO(data), "PNG", max_pixels, path).verify()  # the checksum of every chunk
    if bits == 16 and colour == 4:  # grey and alpha of 16 bits are laid out as RGBA of 8 bits
        header = data[12:24] + bytes([8, 6]) + data[26:29]
        data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
        stored = _take(_open(io.BytesIO(data), "PNG", max_pixels, path), path)
        return stored._replace(pixels=stored.pixels.view(">u2").astype(np.uint16), full_scale=65535)
    upper = _open(io.BytesIO(data), "PNG", max_pixels, path)
    if bits < 16 or colour == 0:
        return _take(upper, path, bits)
    # Of each 16-bit colour sample Pillow keeps one byte: the upper one when told the truth,
    # that PNG is big-endian ("B"), the lower one when told "L". Both make the sample.
    lower = _open(io.BytesIO(data), "PNG", max_pixels, path)
    for picture, order in ((upper, "B"), (lower, "L")):
        decoder, extents, offset, _ = picture.tile[0]
        tile = (decoder, extents, offset, f"{picture.mode};16{order}")
        picture.tile = [tile]  # type: ignore[list-item]
        picture.load()
    key = upper.info.pop("transparency", None)
    stored = _take(upper, path)
    pixels = stored.pixels.astype(np.uint16) << 8 | np.array(lower)
    stored = stored._replace(pixels=pixels, full_scale=65535)
    return stored if key is None else _with_transparent_colour(stored, key)


def _read_pnm(path: Path, max_pixels: int) -> Stored:
    data = path.read_bytes()
    if data[:2] in (b"P1", b"P4"):
        return _take(_open(io.BytesIO(data), "PNM", max_pixels, path), path)
    header = PNM_HEADER.match(data)
    if not header:
        raise ValueError("its header lacks width, height or largest value")
    width, height, white = (int(number) for number in header.groups()[1:])
    _check_size(path, width, height, max_pixels)
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


def _read_tiff(path: Path, max_pixels: int) -> Stored:
    with path.open("rb") as file:
        with quiet():
            tiff = tifffile.TiffFile(file)
            pages = len(tiff.pages)
            page = tiff.pages.first
        if not page.imagewidth * page.imagelength:
            raise ValueError("it holds no page")
        _check_size(path, page.imagewidth, page.imagelength, max_pixels)
        if page.axes not in ("YX", "YXS", "SYX"):
            raise DataError(
                f"{path} is a volume (axes {page.axes}), not an image; export its slices"
            )
        meaning = _name(page.photometric)
        if meaning not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "SEPARATED", "YCBCR"):
            raise DataError(f"{path} is a TIFF of colours {meaning}; export it as RGB or grey")
        bits, samples = page.bitspersample, page.samplesperpixel
        try:
            pixels = None if meaning in ("SEPARATED", "YCBCR") else page.asarray()
        except (ValueError, NotImplementedError) as error:
            if "imagecodecs" not in str(error):
                raise
            pixels = None
        orientation = int(page.tags[ORIENTATION].value) if ORIENTATION in page.tags else 1
        if pixels is None:
            if bits > 16 or (bits > 8 and (samples > 1 or meaning == "MINISWHITE")):
                # Pillow would drop bits, signs or the turned scale.
                raise DataError(
                    f"{path} is a TIFF of {samples} × {bits} bits, {_name(page.compression)} "
                    f"compressed, {meaning}; save it as RGB or grey, uncompressed or deflate (zip)"
                )
            file.seek(0)
            stored = _take(_open(file, "TIFF", max_pixels, path), path)
            if stored.pixels.dtype == np.uint16:
                stored = stored._replace(full_scale=2.0**bits - 1)
            if orientation != 1:  # Pillow turns a TIFF, and only a TIFF, while it loads
                note = f"turned upright by EXIF orientation {orientation}"
                stored = stored._replace(notes=(*stored.notes, note))
            return stored
        stored = _from_tifffile(page, pixels, meaning, path)
        several = (f"first of {pages} pages in the file",) if pages > 1 else ()
        profile = ("colour profile not applied",) if COLOUR_PROFILE in page.tags else ()
    notes = (*stored.notes, *several, *profile)
    return stored._replace(notes=notes, orientation=orientation)


def _from_tifffile(page: tifffile.TiffPage, pixels: np.ndarray, meaning: str, path: Path) -> Stored:
    """Tell what the values of a TIFF mean."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    pixels = pixels if page.axes != "SYX" else np.moveaxis(pixels, 0, 2)
    notes: list[str] = []
    white = 2.0**page.bitspersample - 1
    if pixels.dtype == bool:
        notes.append("black and white read as 0 and 255")
        pixels, white = pixels.astype(np.uint8) * 255, 255.0
    elif pixels.dtype.kind == "f":
        pixels, white = _float_pixels(pixels, notes, path), 1.0
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"{path} holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}, whose "
            "white is not known; save 8 or 16 bits without sign, or floats in [0, 1]"
        )
    if meaning == "MINISWHITE":
        notes.append("scale turned, as the file means white by 0")
        pixels = (white - pixels).astype(pixels.dtype)
    if meaning == "PALETTE" and page.colormap is not None:
        notes.append("palette expanded to RGB")
        pixels, white = np.moveaxis(page.colormap[:, pixels[..., 0]], 0, 2), 65535.0
    extra = [_name(sample) for sample in page.extrasamples]
    has_alpha = extra in (["ASSOCALPHA"], ["UNASSALPHA"])
    if extra == ["ASSOCALPHA"]:
        notes.append("colours divided by the opacity they were multiplied with")
        alpha = np.maximum(pixels[..., -1:].astype(np.float64), 1e-9)
        colours = np.minimum(pixels[..., :-1] * white / alpha, white)
        colours = colours if white == 1 else colours.round()
        pixels = np.concatenate([colours.astype(pixels.dtype), pixels[..., -1:]], axis=2)
    return Stored(np.ascontiguousarray(pixels), white, tuple(notes), has_alpha)


def _name(tag: int | None) -> str:
    """Name the value of a TIFF tag; a plain number where tifffile knows no name."""
    return str(getattr(tag, "name", tag))


def _float_pixels(pixels: np.ndarray, notes: list[str], path: Path) -> np.ndarray:
    low, high = float(pixels.min()), float(pixels.max())
    if not 0 <= low <= high <= 1:  # also false where a value is not a number
        raise DataError(
            f"{path} holds floats from {low:g} to {high:g}; needed are values in [0, 1]: "
            "map them yourself, the same way for every image, and save again"
        )
    if pixels.dtype == np.float64:
        notes.append("64-bit floats rounded to 32 bits")
    return pixels.astype(np.float32)
