"""Odd TIFF files, with what reading each of them must give."""

import numpy as np
from PIL import Image

from odd_samples import BILEVEL, CMYK, COLOUR, DEEP, FLOAT, GRADED, GREY, PALETTE, PHOTO, PICTURE
from odd_writing import packed_tiff, tiff, written

# As in odd_files.
TIFFS = {
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
        tiff(DEEP, photometric="minisblack", planarconfig="contig"),
        DEEP,
        65_535,
        False,
        "",
    ),
    "tiff-deflate": (tiff(COLOUR, compression="zlib", predictor=True), COLOUR, 255, False, ""),
    "tiff-lzw": (
        written(Image.fromarray(COLOUR), "TIFF", compression="tiff_lzw"),
        COLOUR,
        255,
        False,
        "",
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
        tiff(GREY, **PALETTE),
        np.moveaxis(PALETTE["colormap"][:, GREY], 0, 2),
        *(65_535, False, "palette expanded"),
    ),
    "tiff-float": (tiff(FLOAT), FLOAT, 1, False, ""),
    "tiff-float-16": (
        tiff(FLOAT.astype(np.float16)),
        FLOAT.astype(np.float16).astype(np.float32),
        1,
        False,
        "",
    ),
    "tiff-float-64": (tiff(FLOAT.astype(np.float64) / 3), FLOAT / 3, 1, False, "rounded to 32"),
    "tiff-pages": (
        tiff(np.stack([GREY, GREY, 255 - GREY]), photometric="minisblack"),
        GREY,
        255,
        False,
        "first of 3 pages",
    ),
    "tiff-float-64-big-endian": (
        tiff(FLOAT.astype(">f8"), byteorder=">"),
        FLOAT,
        1,
        False,
        "rounded",
    ),
    "tiff-2-bit": (packed_tiff(b"\x1b", 4, 2), [[0, 85, 170, 255]]),
    "tiff-big-endian": (
        tiff(DEEP[..., :3], byteorder=">", photometric="rgb"),
        DEEP[..., :3],
        65_535,
    ),
    "tiff-bigtiff": (tiff(COLOUR, bigtiff=True, photometric="rgb"), COLOUR),
    "tiff-tiled": (tiff(DEEP[..., :3], tile=(16, 16), photometric="rgb"), DEEP[..., :3], 65_535),
    "tiff-tiled-planes": (
        tiff(
            np.moveaxis(DEEP, 2, 0).copy(),
            tile=(16, 16),
            photometric="minisblack",
            planarconfig="separate",
        ),
        DEEP,
        65_535,
    ),
    "tiff-five-bands": (
        tiff(np.dstack([GRADED, GREY]), photometric="minisblack", planarconfig="contig"),
        np.dstack([GRADED, GREY]),
    ),
    "tiff-five-float-bands": (
        tiff(np.dstack([FLOAT] * 5), photometric="minisblack", planarconfig="contig"),
        np.dstack([FLOAT] * 5),
        1,
    ),
    "tiff-packbits": (written(Image.fromarray(COLOUR), "TIFF", compression="packbits"), COLOUR),
    "tiff-jpeg": (
        written(PICTURE, "TIFF", compression="jpeg", quality=100),
        PHOTO,
        255,
        False,
        "",
        30,
    ),
    "tiff-cmyk": (written(CMYK, "TIFF"), PHOTO, 255, False, "CMYK converted"),
    "tiff-8-white-is-0": (tiff(GREY, photometric="miniswhite"), 255 - GREY, 255, False, "turned"),
    "tiff-1-bit-white-is-0": (
        tiff(BILEVEL, photometric="miniswhite"),
        255 * ~BILEVEL,
        255,
        False,
        "turned",
    ),
    "tiff-lzw-palette": (
        written(Image.fromarray(GREY % 3).convert("P"), "TIFF", compression="tiff_lzw"),
        np.dstack([GREY % 3] * 3),
        255,
        False,
        "palette expanded",
    ),
    "tiff-profile": (
        written(Image.fromarray(COLOUR), "TIFF", icc_profile=b"a profile"),
        COLOUR,
        255,
        False,
        "colour profile not applied",
    ),
    "tiff-turned": (
        tiff(COLOUR, photometric="rgb", extratags=[(274, "H", 1, 8, True)]),
        np.rot90(COLOUR),
        255,
        False,
        "orientation 8",
    ),
    "tiff-alpha": (tiff(GRADED, photometric="rgb", extrasamples=["unassalpha"]), GRADED, 255, True),
    "tiff-grey-alpha": (
        tiff(
            GRADED[..., :2],
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        GRADED[..., :2],
        255,
        True,
    ),
    "tiff-float-predictor": (tiff(FLOAT, compression="zlib"), FLOAT, 1),
}
