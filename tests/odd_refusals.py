"""Files that must not be read as images, with a part of what their refusal says."""

import io
import struct
import zipfile

import numpy as np
from PIL import Image

from odd_samples import BILEVEL, COLOUR, DEEP, FLOAT, GREY, JPEG, PICTURE, WIDE
from odd_writing import (
    GREY_TYPE,
    RGB_TYPE,
    bmp,
    chunk,
    framed,
    packed_png,
    png,
    tiff,
    with_sof,
    with_tag,
    written,
)

PNG, PHOTO_JPEG = png(COLOUR, 8, RGB_TYPE), written(PICTURE, "JPEG", **JPEG)
PROGRESSIVE = written(PICTURE, "JPEG", **JPEG, progressive=True)
GIF, WEBP = written(PICTURE.convert("P"), "GIF"), written(PICTURE, "WEBP")
TIFF, LZW = tiff(COLOUR, photometric="rgb"), written(PICTURE, "TIFF", compression="tiff_lzw")


def header(width: int, height: int, bits: int = 8, colour: int = GREY_TYPE) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("seven.png", PNG)
    return file.getvalue()


# name, whose first part is the suffix: file, a part of the refusal
REFUSED = {
    "png-empty": (b"", "is empty (0 bytes)"),
    "jpg-text": (b"not found\n", "holds text, starting with 'not found\\n'"),
    "jpg-html": (b"<!DOCTYPE html><html>", "holds text, starting with '<!DOCTYPE html>"),
    "png-zip": (zipped(), "holds a ZIP archive"),
    "png-gzip": (b"\x1f\x8b\x08" + bytes(20), "holds a gzip file"),
    "jpg-pdf": (b"%PDF-1.7\n%\xe2\xe3", "holds a PDF document"),
    "jpg-heic": (bytes(4) + b"ftypheic" + bytes(30), "holds a HEIC photo"),
    "jpg-avif": (bytes(4) + b"ftypavif" + bytes(30), "holds an AVIF picture"),
    "png-svg": (b"<svg/>\n", "holds text, starting with '<svg/>"),
    "png-numpy": (b"\x93NUMPY\1\0v\0{'descr'", "holds a NumPy array"),
    "tif-hdf": (b"\x89HDF\r\n\x1a\n" + bytes(30), "holds an HDF5 file"),
    "jpg-pointer": (b"version https://git-lfs.github.com/spec/v1\n", "holds a pointer of Git LFS"),
    "png-bytes": (bytes(range(9)), "starting with the bytes 00 01 02 03"),
    "png-zeros": (bytes(5_000), "starting with the bytes 00 00"),
    "png-signature-only": (PNG[:8], "is a PNG file that is damaged or cut short"),
    "png-half": (half(PNG), "is a PNG file that is damaged or cut short"),
    "png-without-end": (PNG[:-12], "is a PNG file that is damaged or cut short"),
    "png-without-pixels": (framed(header(7, 5)), "is a PNG file that is damaged or cut short"),
    "png-no-zlib": (framed(header(7, 5), chunk(b"IDAT", b"abc")), "damaged or cut short"),
    "png-rows-missing": (framed(header(7, 50), PNG[33:-12]), "damaged or cut short"),
    "png-without-palette": (
        framed(header(7, 5, 8, 3), chunk(b"IDAT", PNG[41:-16])),
        "damaged or cut short",
    ),
    "png-wrong-checksum": (PNG[:30] + b"\0" + PNG[31:], "damaged or cut short"),
    "png-zero-wide": (framed(header(0, 5), chunk(b"IDAT", b"")), "damaged or cut short"),
    "png-zero-high": (framed(header(5, 0), chunk(b"IDAT", b"")), "damaged or cut short"),
    "png-bomb": (framed(header(30_000, 30_000), PNG[33:-12]), "is 30000×30000, 900,000,000 pixels"),
    "png-absurd": (framed(header(2**31 - 1, 2**31 - 1), PNG[33:-12]), "2147483647×2147483647"),
    "png-text-bomb": (
        framed(
            header(7, 5), chunk(b"zTXt", b"a\0\0" + written(Image.new("L", (4000, 4000)), "PNG"))
        ),
        "damaged or cut short",
    ),
    "png-3-bits": (packed_png(b"\0", 2, 3), "damaged or cut short"),
    "jpg-start-only": (PHOTO_JPEG[:3], "is a JPEG file that is damaged or cut short"),
    "jpg-header-only": (PHOTO_JPEG[:300], "is a JPEG file that is damaged or cut short"),
    "jpg-half": (half(PHOTO_JPEG), "is a JPEG file that is damaged or cut short"),
    "jpg-last-byte-lost": (PHOTO_JPEG[:-1], "is a JPEG file that is damaged or cut short"),
    "jpg-progressive-half": (half(PROGRESSIVE), "is a JPEG file that is damaged or cut short"),
    "jpg-half-then-zeros": (half(PHOTO_JPEG) + bytes(2_000), "damaged or cut short"),
    "jpg-12-bits": (with_sof(PHOTO_JPEG, 4, 12), "is a JPEG file that is damaged or cut short"),
    "jpg-lossless": (with_sof(PHOTO_JPEG, 1, 0xC3), "is a JPEG file that is damaged or cut short"),
    "jpg-hierarchical": (with_sof(PHOTO_JPEG, 1, 0xC5), "damaged or cut short"),
    "jpg-zero-high": (with_sof(with_sof(PHOTO_JPEG, 5, 0), 6, 0), "damaged or cut short"),
    "jpg-absurd": (with_sof(with_sof(PHOTO_JPEG, 5, 0xFF), 7, 0xFF), "the limit is 200,000,000"),
    "gif-half": (half(GIF), "is a GIF file that is damaged or cut short"),
    "gif-header-only": (GIF[:13], "is a GIF file that is damaged or cut short"),
    "webp-half": (half(WEBP), "is a WebP file that is damaged or cut short"),
    "webp-header-only": (WEBP[:30], "is a WebP file that is damaged or cut short"),
    "bmp-half": (half(written(PICTURE, "BMP")), "is a BMP file that is damaged or cut short"),
    "bmp-bomb": (bmp(24, b"", 30_000, 30_000), "900,000,000 pixels; the limit is"),
    "bmp-5-bits": (bmp(5, bytes(99), 3, 3), "is a BMP file that is damaged or cut short"),
    "pgm-no-size": (b"P5 hello", "header lacks width, height or largest value"),
    "pgm-cut": (b"P5 7 5 255\n" + GREY.tobytes()[:-1], "needed are 7×5 pixels from 0 to 255"),
    "pgm-above-white": (b"P5 2 1 9\n\x08\x0a", "needed are 2×1 pixels from 0 to 9"),
    "pgm-negative": (b"P2 2 1 9\n3 -4", "needed are 2×1 pixels from 0 to 9"),
    "pgm-white-of-17-bits": (b"P2 1 1 70000\n3", "at most 65535"),
    "pgm-zero-wide": (b"P5 0 3 255\n", "is a PNM file that is damaged or cut short"),
    "pgm-bomb": (b"P5 30000 30000 255\n", "900,000,000 pixels; the limit is"),
    "pam": (b"P7\nWIDTH 1\nHEIGHT 1\n", "holds text, starting with 'P7"),
    "pfm-cut": (b"Pf 7 5 -1\n" + FLOAT.tobytes()[:-1], "is a PNM file that is damaged"),
    "pfm-no-size": (b"Pf hello", "header lacks width, height or scale"),
    "pfm-above-1": (b"Pf 7 5 -1\n" + (FLOAT * 255).tobytes(), "needed are values in [0, 1]: map"),
    "pfm-nan": (b"Pf 7 5 -1\n" + (FLOAT * np.nan).tobytes(), "floats from nan to nan"),
    "tif-half": (half(TIFF), "is a TIFF file that is damaged or cut short"),
    "tif-header-only": (TIFF[:8], "is a TIFF file that is damaged or cut short"),
    "tif-wrong-directory": (TIFF[:4] + struct.pack("<I", 2**31) + TIFF[8:], "damaged or cut short"),
    "tif-directory-in-circles": (with_tag(TIFF, 273, 2**31), "damaged or cut short"),
    "tif-lzw-half": (LZW[:8] + bytes(len(LZW) // 2) + LZW[len(LZW) // 2 + 8 :], "damaged"),
    "tif-deflate-wrong": (with_tag(LZW, 259, 8), "damaged or cut short"),
    "tif-lzma-wrong": (with_tag(TIFF, 259, 34_925), "is a TIFF file that is damaged or cut short"),
    "tif-lerc": (with_tag(TIFF, 259, 34_887), "LERC compressed, RGB; save it"),
    "tif-signed": (tiff(GREY.astype(np.int16)), "int16 values from"),
    "tif-signed-8": (tiff(GREY.astype(np.int8)), "int8 values from"),
    "tif-32-bits": (tiff(DEEP[..., 0].astype(np.uint32)), "uint32 values from"),
    "tif-64-bits": (tiff(DEEP[..., 0].astype(np.uint64)), "uint64 values from"),
    "tif-complex": (tiff(FLOAT.astype(np.complex64)), "complex64 values"),
    "tif-float-above-1": (tiff(FLOAT * 255), "needed are values in [0, 1]: map"),
    "tif-float-nan": (tiff(np.where(BILEVEL, FLOAT, np.float32("nan"))), "floats from nan"),
    "tif-float-infinite": (tiff(np.where(BILEVEL, FLOAT, np.float32("inf"))), "to inf; needed"),
    "tif-lab": (tiff(COLOUR, photometric="cielab"), "is a TIFF of colours CIELAB"),
    "tif-volume": (
        tiff(np.zeros((16, 16, 16), np.uint8), volumetric=True, tile=(16, 16, 16)),
        "is a volume (axes ZYX)",
    ),
    "tif-16-bit-colour-lzw": (
        with_tag(tiff(DEEP[..., :3], photometric="rgb"), 259, 5),
        "3 × 16 bits, LZW compressed, RGB; save it",
    ),
    "tif-bomb": (with_tag(with_tag(tiff(WIDE), 256, 30_000), 257, 30_000), "the limit is"),
    "tif-zero-wide": (with_tag(TIFF, 256, 0), "is a TIFF file that is damaged or cut short"),
}
