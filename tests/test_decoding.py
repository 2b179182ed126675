"""Odd image files, written byte by byte or by other libraries, against their exact pixels."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from striate.errors import DataError
from striate.images.decoding import decode, kind_of
from striate.images.pillow import Stored

RNG = np.random.default_rng(16)
RAMP = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
COLOUR[0, 1] = COLOUR[2, 3] ^ (0, 1, 0)  # like the transparent colour but for one channel
DEEP = RNG.integers(0, 65_536, (6, 7, 4), dtype=np.uint16)
MANY = 1_000_000
GREY_TYPE, RGB_TYPE, LA_TYPE, RGBA_TYPE = 0, 2, 4, 6


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def paeth(left: int, up: int, corner: int) -> int:
    distances = [abs(left + up - corner - value) for value in (left, up, corner)]
    return (left, up, corner)[distances.index(min(distances))]


def filtered(rows: list[bytes], width: int) -> bytes:
    """Rows under the five filters of the PNG standard in turn; width: bytes of a pixel."""
    out, above = b"", bytes(len(rows[0]) if rows else 0)
    for number, row in enumerate(rows):
        left, corner = bytes(width) + row, bytes(width) + above
        guesses = {
            0: lambda i, left=left, up=above, corner=corner: 0,
            1: lambda i, left=left, up=above, corner=corner: left[i],
            2: lambda i, left=left, up=above, corner=corner: up[i],
            3: lambda i, left=left, up=above, corner=corner: (left[i] + up[i]) // 2,
            4: lambda i, left=left, up=above, corner=corner: paeth(left[i], up[i], corner[i]),
        }
        guess = guesses[(number + 3) % 5]
        kind = bytes([(number + 3) % 5])
        out += kind + bytes((value - guess(i)) % 256 for i, value in enumerate(row))
        above = row
    return out


def png(pixels, bits, colour, *, interlaced=False, extra=b"") -> bytes:
    """A PNG of samples of 8 or 16 bits, by the standard, without any image library."""
    height, width = pixels.shape[:2]
    big = pixels.astype(">u2" if bits == 16 else np.uint8)
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes = [*starts, (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]
    data = b""
    for top, left, down, across in passes:
        part = big[top::down, left::across]
        pixel = part.dtype.itemsize * (part.shape[2] if part.ndim == 3 else 1)
        if part.size:
            data += filtered([row.tobytes() for row in part], pixel)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def packed_png(rows: bytes, width: int, bits: int, extra: bytes = b"") -> bytes:
    """A grey PNG of one line and fewer than 8 bits."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, GREY_TYPE, 0, 0, 0))
    body = header + extra + chunk(b"IDAT", zlib.compress(b"\0" + rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def packed_tiff(data: bytes, width: int, bits: int) -> bytes:
    """A grey TIFF of one line, uncompressed, any number of bits."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, 1), (273, 122), (277, 1)]
    tags += [(278, 1), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def big(values) -> bytes:
    """16-bit values as PNG and PNM store them."""
    return values.astype(">u2").tobytes()


def written(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def tiff(pixels, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def palette(transparency=None) -> bytes:
    picture = Image.fromarray(GREY % 3).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    return written(picture, "PNG", **({"transparency": transparency} if transparency else {}))


def stored(data: bytes, max_pixels: int = MANY) -> Stored:
    return decode(io.BytesIO(data), Path("file"), kind_of(data), max_pixels)


COLOURS = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])[GREY % 3]
OPACITY = np.array([0, 128, 255])[GREY % 3]
KEY = COLOUR[2, 3]
KEYED = np.dstack([COLOUR, 255 * (COLOUR != KEY).any(axis=2)])
DEEP_KEY = np.dstack([DEEP[..., :3], 65_535 * (DEEP[..., :3] != DEEP[1, 2, :3]).any(axis=2)])
BILEVEL = GREY > 127
FLOAT = RNG.random((5, 7), dtype=np.float32)
PALETTE_TIFF = {"photometric": "palette", "colormap": RNG.integers(0, 65_536, (3, 256), np.uint16)}

# name: file, exact pixels without the channel axis of grey, full scale, alpha, words of the notes
FILES = {
    "png-1-bit": (written(Image.fromarray(BILEVEL), "PNG"), BILEVEL * 255, 255, False, "0 and 255"),
    "png-2-bit": (packed_png(b"\x1b", 4, 2), [[0, 85, 170, 255]], 255, False, ""),
    "png-4-bit": (packed_png(b"\x01\xf0", 3, 4), [[0, 17, 255]], 255, False, ""),
    "png-grey": (png(GREY, 8, GREY_TYPE), GREY, 255, False, ""),
    "png-grey-16": (png(DEEP[..., 0], 16, GREY_TYPE), DEEP[..., 0], 65_535, False, ""),
    "png-la": (png(COLOUR[..., :2], 8, LA_TYPE), COLOUR[..., :2], 255, True, ""),
    "png-la-16": (png(DEEP[..., :2], 16, LA_TYPE), DEEP[..., :2], 65_535, True, ""),
    "png-rgb": (png(COLOUR, 8, RGB_TYPE), COLOUR, 255, False, ""),
    "png-rgb-16": (png(DEEP[..., :3], 16, RGB_TYPE), DEEP[..., :3], 65_535, False, ""),
    "png-rgba-16": (png(DEEP, 16, RGBA_TYPE), DEEP, 65_535, True, ""),
    "png-rgb-16-interlaced": (
        *(png(DEEP[..., :3], 16, RGB_TYPE, interlaced=True), DEEP[..., :3], 65_535, False, ""),
    ),
    "png-la-16-interlaced": (
        *(png(DEEP[..., :2], 16, LA_TYPE, interlaced=True), DEEP[..., :2], 65_535, True, ""),
    ),
    "png-palette": (palette(), COLOURS, 255, False, "palette expanded to RGB"),
    "png-palette-transparent": (
        *(palette(bytes([0, 128, 255])), np.dstack([COLOURS, OPACITY]), 255, True, "to RGBA"),
    ),
    "png-4-bit-key": (
        packed_png(b"\x01\x20", 3, 4, chunk(b"tRNS", b"\0\2")),
        *([[[0, 255], [17, 255], [34, 0]]], 255, True, "one colour read as transparent"),
    ),
    "png-rgb-key": (
        png(COLOUR, 8, RGB_TYPE, extra=chunk(b"tRNS", big(KEY))),
        *(KEYED, 255, True, "one colour read as transparent"),
    ),
    "png-rgb-16-key": (
        png(DEEP[..., :3], 16, RGB_TYPE, extra=chunk(b"tRNS", big(DEEP[1, 2, :3]))),
        *(DEEP_KEY, 65_535, True, "one colour read as transparent"),
    ),
    "gif": (
        written(Image.fromarray(GREY), "GIF"),
        *(np.dstack([GREY] * 3), 255, False, "palette expanded to RGB"),
    ),
    "gif-two-frames": (
        written(
            Image.fromarray(GREY), "GIF", save_all=True, append_images=[Image.fromarray(255 - GREY)]
        ),
        *(np.dstack([GREY] * 3), 255, False, "first of 2 pictures"),
    ),
    "webp": (written(Image.fromarray(COLOUR), "WEBP", lossless=True), COLOUR, 255, False, ""),
    "bmp": (written(Image.fromarray(COLOUR), "BMP"), COLOUR, 255, False, ""),
    "pbm": (b"P4 3 1\n\xa0", [[0, 255, 0]], 255, False, "0 and 255"),
    "pgm-plain": (b"P2 # made by hand\n2 1 9\n7 9\n", [[7, 9]], 9, False, ""),
    "pgm-16": (b"P5 7 6 65535\n" + big(DEEP[..., 0]), DEEP[..., 0], 65_535, False, ""),
    "ppm": (b"P6\n#\n7 5\n255\n" + COLOUR.tobytes(), COLOUR, 255, False, ""),
    "ppm-12": (b"P6 1 1 4095 \x0f\xff\0\1\1\0", [[[4095, 1, 256]]], 4095, False, ""),
    "tiff-1-bit": (tiff(BILEVEL, photometric="minisblack"), BILEVEL * 255, 255, False, "0 and 255"),
    "tiff-4-bit": (packed_tiff(b"\x12\xf0", 3, 4), [[17, 34, 255]], 255, False, ""),
    "tiff-12-bit": (packed_tiff(b"\x12\x3f\xff", 2, 12), [[0x123, 0xFFF]], 4095, False, ""),
    "tiff-grey-16": (tiff(DEEP[..., 0]), DEEP[..., 0], 65_535, False, ""),
    "tiff-grey-16-big-endian": (tiff(DEEP[..., 0], byteorder=">"), DEEP[..., 0], 65_535, False, ""),
    "tiff-rgba-16": (
        *(tiff(DEEP, photometric="rgb", extrasamples=["unassalpha"]), DEEP, 65_535, True, ""),
    ),
    "tiff-rgb-planes": (
        tiff(np.moveaxis(COLOUR, 2, 0).copy(), photometric="rgb", planarconfig="separate"),
        *(COLOUR, 255, False, ""),
    ),
    "tiff-four-channels": (
        tiff(DEEP, photometric="minisblack", planarconfig="contig"), DEEP, 65_535, False, "",
    ),
    "tiff-deflate": (tiff(COLOUR, compression="zlib", predictor=True), COLOUR, 255, False, ""),
    "tiff-lzw": (
        written(Image.fromarray(COLOUR), "TIFF", compression="tiff_lzw"), COLOUR, 255, False, "",
    ),
    "tiff-lzw-16": (
        written(Image.fromarray(DEEP[..., 0]), "TIFF", compression="tiff_lzw"),
        *(DEEP[..., 0], 65_535, False, ""),
    ),
    "tiff-fax": (
        written(Image.fromarray(BILEVEL), "TIFF", compression="group4"),
        *(BILEVEL * 255, 255, False, "0 and 255"),
    ),
    "tiff-white-is-0": (
        tiff(DEEP[..., 0], photometric="miniswhite"),
        *(65_535 - DEEP[..., 0], 65_535, False, "turned"),
    ),
    "tiff-palette": (
        tiff(GREY, **PALETTE_TIFF), np.moveaxis(PALETTE_TIFF["colormap"][:, GREY], 0, 2),
        *(65_535, False, "palette expanded"),
    ),
    "tiff-float": (tiff(FLOAT), FLOAT, 1, False, ""),
    "tiff-float-16": (
        tiff(FLOAT.astype(np.float16)), FLOAT.astype(np.float16).astype(np.float32), 1, False, "",
    ),
    "tiff-float-64": (tiff(FLOAT.astype(np.float64) / 3), FLOAT / 3, 1, False, "rounded to 32"),
    "tiff-pages": (tiff(np.stack([GREY, GREY, 255 - GREY]), photometric="minisblack"), GREY, 255,
                   False, "first of 3 pages"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_its_exact_pixels(name):
    data, pixels, full_scale, has_alpha, words = FILES[name]
    pixels = np.array(pixels)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    got = stored(data)
    assert got.pixels.shape == pixels.shape
    assert np.abs(got.pixels.astype(np.float64) - pixels).max() <= (1e-7 if "64" in name else 0)
    assert got.pixels.dtype == (np.uint8 if full_scale < 256 else np.uint16) or full_scale == 1
    assert (got.full_scale, got.has_alpha, got.orientation) == (full_scale, has_alpha, 1)
    assert got.pixels.flags.writeable
    assert words in " ".join(got.notes)
    assert bool(got.notes) == bool(words)


def test_no_flipped_bit_of_a_palette_png_gives_other_pixels():
    colours = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(colours).quantize(16)
    data, pixels = written(picture, "PNG", compress_level=9), np.array(picture.convert("RGB"))
    silent = []
    for bit in range(8 * 33, 8 * len(data)):  # after the header, which one cannot doubt
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(Exception):
            if not (stored(bytes(flipped)).pixels == pixels).all():
                silent.append(bit)
    assert silent == []


@pytest.mark.parametrize(
    "write",
    [
        lambda: png(RAMP, 16, GREY_TYPE),
        lambda: png(np.dstack([RAMP, RAMP[::-1]]), 16, LA_TYPE),
        lambda: png(np.dstack([RAMP, RAMP[::-1], RAMP.T]), 16, RGB_TYPE),
        lambda: png(np.dstack([RAMP, RAMP[::-1], RAMP.T, RAMP]), 16, RGBA_TYPE),
        lambda: tiff(np.dstack([RAMP, RAMP[::-1], RAMP.T]), photometric="rgb"),
        lambda: b"P5 256 256 65535\n" + big(RAMP),
    ],
    ids=["png-grey", "png-la", "png-rgb", "png-rgba", "tiff-rgb", "pgm"],
)
def test_a_ramp_of_16_bits_keeps_its_65_536_levels(write):
    pixels = stored(write()).pixels
    assert (pixels[..., 0] == RAMP).all()
    assert all(len(np.unique(channel)) == 65_536 for channel in np.moveaxis(pixels, 2, 0))


def test_cmyk_is_converted_and_said_and_a_profile_is_left_alone_and_said():
    cyan = Image.new("CMYK", (16, 8), (255, 0, 0, 0))
    got = stored(written(cyan, "JPEG", quality=100, icc_profile=b"a profile"))
    assert got.pixels.shape == (8, 16, 3)
    assert np.abs(got.pixels.astype(int) - (0, 255, 255)).max() <= 3
    assert "CMYK converted to RGB" in got.notes[0]
    assert got.notes[1:] == ("colour profile not applied",)
    separated = stored(written(cyan, "TIFF"))
    assert (separated.pixels == (0, 255, 255)).all()


def test_colours_multiplied_with_their_opacity_are_divided_again():
    colours = np.array([[[100, 50, 0, 128], [9, 9, 9, 255], [0, 0, 0, 0]]], np.uint8)
    got = stored(tiff(colours, photometric="rgb", extrasamples=["assocalpha"]))
    assert got.pixels[0].tolist() == [[199, 100, 0, 128], [9, 9, 9, 255], [0, 0, 0, 0]]
    assert got.has_alpha
    assert "divided" in got.notes[0]


def test_the_orientation_of_a_tiff_is_found_or_already_applied():
    tag = [(274, "H", 1, 6, True)]
    assert stored(tiff(COLOUR, extratags=tag)).orientation == 6
    exif = Image.Exif()
    exif[274] = 6
    lzw = written(Image.fromarray(COLOUR), "TIFF", compression="tiff_lzw", exif=exif)
    got = stored(lzw)
    assert (got.pixels == np.rot90(COLOUR, -1)).all()
    assert (got.orientation, got.notes) == (1, ("turned upright by EXIF orientation 6",))


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (FLOAT * 3 - 1, {}, r"floats from -0\.77.* to 1\.86.*needed are values in \[0, 1\]: map"),
        (FLOAT * 1.5, {}, r"floats from 0\.\d+ to 1\.\d+"),
        (FLOAT * np.nan, {}, r"floats from nan to nan"),
        (GREY.astype(np.int16), {}, r"int16 values from \d+ to \d+.*save 8 or 16 bits"),
        (DEEP.astype(np.uint32), {"photometric": "rgb"}, r"uint32 values .* white is not known"),
        (COLOUR, {"photometric": "cielab"}, r"TIFF of colours CIELAB; export it as RGB"),
        (np.zeros((16, 16, 16), np.uint8), {"volumetric": True, "tile": (16,) * 3}, "is a volume"),
    ],
    ids=["range", "above", "nan", "signed", "32-bit", "lab", "volume"],
)  # fmt: skip
def test_values_without_a_known_white_are_refused(pixels, options, message):
    with pytest.raises(DataError, match=message):
        stored(tiff(pixels, **options))


def test_deep_colour_that_only_pillow_could_unpack_is_refused_rather_than_cut():
    data = bytearray(tiff(DEEP[..., :3], photometric="rgb"))
    where = data.index(struct.pack("<HHI", 259, 3, 1))  # the tag of the compression
    data[where + 8] = 5
    with pytest.raises(DataError, match=r"3 × 16 bits, LZW compressed, RGB; save it .* deflate"):
        stored(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        png(GREY, 8, GREY_TYPE),
        png(DEEP, 16, RGBA_TYPE),
        tiff(GREY),
        b"P5 7 5 255\n" + GREY.tobytes(),
        written(Image.fromarray(GREY), "BMP"),
    ],
    ids=["png", "png-16", "tiff", "pgm", "bmp"],
)
def test_too_many_pixels_are_refused_before_decoding(data):
    cut = data[: len(data) - 10]  # decoding would fail, the size is still there
    with pytest.raises(DataError, match=r"is 7×\d, (35|42) pixels; the limit is 34: shrink it"):
        stored(cut if data[:2] != b"II" else data, max_pixels=34)
