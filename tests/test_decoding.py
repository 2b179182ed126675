"""Odd image files, written byte by byte or by other libraries, against their exact pixels."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from odd_samples import COLOUR, DEEP, FLOAT, GREY
from odd_writing import GREY_TYPE, LA_TYPE, RGB_TYPE, RGBA_TYPE, big, png, tiff, written
from striate.errors import DataError
from striate.images.decoding import decode, kind_of
from striate.images.stored import Stored

MANY = 1_000_000
RAMP = np.arange(65_536, dtype=np.uint16).reshape(256, 256)


def stored(data: bytes, max_pixels: int = MANY) -> Stored:
    return decode(io.BytesIO(data), Path("file"), kind_of(data), max_pixels)


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


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_pages_that_are_channels_are_read_as_channels_and_other_stacks_are_said(kind):
    planes = np.random.default_rng(0).integers(0, 65_536, (5, 12, 9), np.uint16)
    got = stored(tiff(planes, **{kind: True}, metadata={"axes": "CYX"}))
    assert (got.pixels == np.moveaxis(planes, 0, 2)).all()
    assert got.notes == ()
    stack = stored(tiff(planes, **{kind: True}, metadata={"axes": "ZYX"}))
    assert (stack.pixels[..., 0] == planes[0]).all()
    assert stack.notes == ("first of 5 pages in the file",)
    with pytest.raises(DataError, match=r"is 9×60, 540 pixels; the limit is 539"):
        stored(tiff(planes, **{kind: True}, metadata={"axes": "CYX"}), max_pixels=539)


def test_channels_in_other_files_are_missed_and_further_images_are_said(tmp_path):
    planes = np.random.default_rng(0).integers(0, 256, (3, 8, 9), np.uint8)
    (tmp_path / "whole.ome.tif").write_bytes(tiff(planes, ome=True, metadata={"axes": "CYX"}))
    with tifffile.TiffFile(tmp_path / "whole.ome.tif") as file:
        words = file.ome_metadata
    first = tiff(planes[0], description=words, metadata=None)
    with pytest.raises(DataError, match="has 1 of the 3 channels that it names; save all"):
        stored(first)
    with tifffile.TiffWriter(tmp_path / "two.ome.tif") as file:
        file.write(planes, metadata={"axes": "CYX"})
        file.write(planes[:2], metadata={"axes": "CYX"})
    got = stored((tmp_path / "two.ome.tif").read_bytes())
    assert (got.pixels[..., 0] == planes[0]).all()
    assert got.notes == ("first of 5 pages in the file",)


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
