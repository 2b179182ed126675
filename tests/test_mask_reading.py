"""Files of images and masks to arrays: no value changes, whatever the file's depth and kind."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from striate.datasets.mask_reading import read_pixels, read_values
from striate.errors import DataError
from striate.volumes import Geometry, open_volume, write_volume

SMALL = np.array([[0, 3, 1, 2], [3, 3, 0, 1], [2, 0, 1, 1]], np.uint8)


def gray_png(path, values, bits):
    """Write a grey PNG of 1, 2 or 4 bits a pixel, by the format's own rules."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    rows = b""
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows += bytes([0, *(int(text[i : i + 8], 2) for i in range(0, len(text), 8))])
    head = struct.pack(">IIBBBBB", len(values[0]), len(values), bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))
    return path


def palette(path, colors=(0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 255)):
    picture = Image.fromarray(SMALL, "P")
    picture.putpalette(colors)
    picture.save(path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_values_of_images_are_kept_to_the_last(tmp_path, dtype):
    ends = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    pixels = np.array([[ends.min, 5, 7], [ends.max, 1, 0]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    read = read_pixels([tmp_path / "a.tif"])
    assert read.stored == np.dtype(dtype).name
    assert read.image.shape == (1, 2, 3)
    assert np.array_equal(read.image[0].numpy().astype(np.float64), pixels.astype(np.float64))
    assert read.spacing is None


def test_a_png_of_16_bits_is_kept(tmp_path):
    Image.fromarray(np.array([[65535, 256, 1]], np.uint16)).save(tmp_path / "a.png")
    read = read_pixels([tmp_path / "a.png"])
    assert read.image.tolist() == [[[65535, 256, 1]]]
    assert read.stored == "uint16"


def test_channels_of_several_files_are_put_together_in_order(tmp_path):
    for name, value in (("a", 3), ("b", 4)):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((5, 7), value, np.uint8))
    read = read_pixels([tmp_path / "b.tif", tmp_path / "a.tif"])
    assert read.image[:, 2, 3].tolist() == [4, 3]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((7, 5), np.uint8))
    with pytest.raises(DataError, match=r"b.tif and its other channels differ in size: 5x7, 7x5"):
        read_pixels([tmp_path / "b.tif", tmp_path / "a.tif"])


def test_spacing_is_in_millimeters_and_notes_are_handed_on(tmp_path):
    array = np.zeros((3, 5, 7), np.uint8)
    np.savez(tmp_path / "a.npz", image=array, spacing=(50, 4, 4))
    with open_volume(tmp_path / "a.npz") as like:
        write_volume(tmp_path / "a.ome.tif", array, like=like)
    with open_volume(tmp_path / "a.ome.tif") as source:
        assert source.geometry.unit in ("", "µm")
        expected = Geometry((50, 4, 4), source.geometry.unit).spacing_in("mm")
    assert read_pixels([tmp_path / "a.ome.tif"]).spacing == expected
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(SMALL).save(tmp_path / "a.jpg", exif=exif)
    read = read_pixels([tmp_path / "a.jpg"])
    assert read.image.shape == (1, 4, 3)
    assert read.notes == ("turned upright by EXIF orientation 6",)


@pytest.mark.parametrize("suffix", ["png", "tif", "gif", "bmp"])
def test_a_palette_s_indices_are_the_values_and_its_colors_if_asked_for(tmp_path, suffix):
    path = palette(tmp_path / f"a.{suffix}")
    assert np.array_equal(read_values(path), SMALL)
    packed = np.array([0x000000, 0xC80000, 0x00C800, 0x0000FF])
    assert np.array_equal(read_values(path, colored=True), packed[SMALL])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_pictures_of_few_bits_are_not_stretched(tmp_path, bits):
    values = SMALL % 2**bits
    assert np.array_equal(read_values(gray_png(tmp_path / "a.png", values, bits)), values)


def test_a_picture_of_one_bit_holds_0_and_1(tmp_path):
    for name in ("a.tif", "a.bmp", "a.pbm"):
        Image.fromarray(SMALL > 1).save(tmp_path / name)
        assert np.array_equal(read_values(tmp_path / name), SMALL > 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32])
def test_stacks_and_pictures_of_any_type_give_whole_numbers(tmp_path, dtype):
    for values in (SMALL, np.stack([SMALL] * 5)):
        tifffile.imwrite(tmp_path / "a.tif", values.astype(dtype), photometric="minisblack")
        read = read_values(tmp_path / "a.tif")
        assert np.array_equal(read, values)
        assert read.dtype == np.uint8


def test_opacity_and_equal_channels_are_no_colors(tmp_path):
    for channels in ([SMALL] * 3, [SMALL] * 3 + [SMALL * 9], [SMALL, SMALL * 9]):
        Image.fromarray(np.stack(channels, axis=-1)).save(tmp_path / "a.png")
        assert np.array_equal(read_values(tmp_path / "a.png"), SMALL)


def test_colors_are_packed_grey_too(tmp_path):
    pixels = np.array([[[1, 2, 3], [255, 0, 128]]], np.uint8)
    for name in ("a.png", "a.tif"):
        if name == "a.tif":
            tifffile.imwrite(tmp_path / name, pixels, photometric="rgb")
        else:
            Image.fromarray(pixels).save(tmp_path / name)
        assert read_values(tmp_path / name, colored=True).tolist() == [[0x010203, 0xFF0080]]
        with pytest.raises(DataError, match=r"has colors; say what they mean in classes.csv besid"):
            read_values(tmp_path / name)
    Image.fromarray(SMALL).save(tmp_path / "b.png")
    assert np.array_equal(
        read_values(tmp_path / "b.png", colored=True), 0x010101 * SMALL.astype(int)
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([[0, 0.5]], r"a.tif holds fractions; a mask holds whole numbers"),
        ([[0, np.nan]], r"holds fractions"),
        ([[0, np.inf]], r"holds fractions"),
        ([[0, 1e12]], r"holds 1e\+12; a mask holds one small number a class"),
    ],
)
def test_what_is_no_whole_number_is_refused(tmp_path, values, told):
    tifffile.imwrite(tmp_path / "a.tif", np.array(values, np.float32))
    with pytest.raises(DataError, match=told):
        read_values(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_lossy_mask_is_refused_whatever_its_name(tmp_path, name):
    kind = "WEBP" if name.endswith("webp") else "JPEG"
    Image.fromarray(np.kron(SMALL, np.ones((8, 8), np.uint8))).save(tmp_path / name, kind)
    with pytest.raises(
        DataError, match=rf"{name} is a lossy \w+, in which values of a mask.*save.* as PNG"
    ):
        read_values(tmp_path / name)
    with pytest.raises(DataError, match=r"lossy"):
        read_values(tmp_path / name, colored=True)


def test_a_lossless_webp_is_a_mask(tmp_path):
    Image.fromarray(SMALL).save(tmp_path / "a.webp", lossless=True)
    assert np.array_equal(read_values(tmp_path / "a.webp"), SMALL)


def test_a_channel_for_each_class_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.stack([SMALL] * 5), metadata={"axes": "CYX"},
        photometric="minisblack",
    )  # fmt: skip
    with pytest.raises(DataError, match=r"has 5 channels, as where .*multi-label.*not supported"):
        read_values(tmp_path / "a.tif")
    write_volume(tmp_path / "a.nii", np.stack([SMALL[None]] * 3), like=None)
    with pytest.raises(DataError, match=r"has 3 channels, as where .*multi-label"):
        read_values(tmp_path / "a.nii")


def test_16_bit_values_are_no_colors(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[300, 2]], np.uint16))
    with pytest.raises(
        DataError, match=r"has 1 channels with values up to 300, but classes.csv na"
    ):
        read_values(tmp_path / "a.tif", colored=True)


def test_the_tensor_is_its_own(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SMALL)
    read = read_pixels([tmp_path / "a.tif"]).image
    read += 1
    assert torch.equal(read_pixels([tmp_path / "a.tif"]).image + 1, read)
