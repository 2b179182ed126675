"""TIFF: stacks of every kind against tifffile's own reading, by regions, and written back."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from conftest import real_data
from measuring import MEMORY_OF_A_REGION, needs_proc
from striate.errors import DataError
from striate.images import read_image
from striate.volumes import open_volume, write_volume
from striate.volumes.tiff_pages import Pages

RNG = np.random.default_rng(12)
DTYPES = ["uint8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
SHAPES = {"YX": (23, 37), "ZYX": (5, 23, 37), "CYX": (3, 23, 37), "ZCYX": (5, 2, 23, 37)}
LAYOUTS = {
    "plain": {},
    "big_endian": {"byteorder": ">"},
    "deflate": {"compression": "zlib", "rowsperstrip": 7},
    "predicted": {"compression": "zlib", "rowsperstrip": 7, "predictor": 2},
    "tiles": {"compression": "zlib", "tile": (16, 32)},
    "plain_tiles": {"tile": (16, 16)},
    "bigtiff": {"bigtiff": True, "compression": "zlib"},
}


def noise(shape, dtype="uint8"):
    values = RNG.normal(0, 90, shape)
    return (
        values.astype(dtype) if np.dtype(dtype).kind == "f" else values.astype("i4").astype(dtype)
    )


def in_our_order(array, axes):
    """The axes of our reading, written a second way: C first, then Z, Y, X."""
    array = array if "C" in axes else array[None]
    axes = axes if "C" in axes else "C" + axes
    return np.einsum(f"{axes}->{''.join(a for a in 'CZYX' if a in axes)}", array)


def pages_by_pillow(path):
    with Image.open(path) as picture:
        return [np.array(page) for page in ImageSequence.Iterator(picture)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("axes", "shape"), SHAPES.items())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_whole_and_by_regions(tmp_path, dtype, axes, shape, layout):
    if layout == "predicted" and np.dtype(dtype).kind == "f":
        pytest.skip("the predictor is one of whole numbers")
    array, path = noise(shape, dtype), tmp_path / "a.tif"
    tifffile.imwrite(
        path, array, metadata={"axes": axes}, photometric="minisblack", **LAYOUTS[layout]
    )
    expected = in_our_order(array, axes)
    with open_volume(path) as source:
        assert source.shape == expected.shape
        assert source.dtype == expected.dtype
        whole = source.read()
        assert whole.dtype == expected.dtype
        assert np.array_equal(whole, expected)
        region = (slice(1, 4), slice(5, 18), slice(30, 36))[-len(source.shape[1:]) :]
        assert np.array_equal(source.read(region), expected[(slice(None), *region)])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_region_equals_the_whole_sliced(tmp_path, data):
    layout = data.draw(st.sampled_from(sorted(LAYOUTS)))
    path = tmp_path / f"{layout}.tif"
    if not path.exists():
        tifffile.imwrite(
            path, noise((4, 2, 29, 41), "uint16"), metadata={"axes": "ZCYX"},
            photometric="minisblack", **LAYOUTS[layout],
        )  # fmt: skip
    with open_volume(path) as source:
        bounds = [
            sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
            for size in source.shape[1:]
        ]
        region = tuple(slice(*pair) for pair in bounds)
        assert np.array_equal(source.read(region), source.read()[(slice(None), *region)])


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("options", [{}, LAYOUTS["deflate"], LAYOUTS["tiles"]], ids=str)
def test_colors_are_channels_in_either_order_of_samples(tmp_path, planar, options):
    colors = noise((5, 23, 37, 3))
    stored = colors if planar == "contig" else colors.transpose(0, 3, 1, 2)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, **options)
    with open_volume(path) as source:
        assert source.shape == (3, 5, 23, 37)
        region = (slice(2, 4), slice(6, 22), slice(3, 35))
        expected = colors.transpose(3, 0, 1, 2)[(slice(None), *region)]
        assert np.array_equal(source.read(region), expected)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "jpeg", "raw"])
def test_pages_that_another_program_wrote_are_slices(tmp_path, compression):
    pages = (noise((4, 40, 50)) // 2) if compression == "jpeg" else noise((4, 40, 50), "uint16")
    pictures = [Image.fromarray(page) for page in pages]
    path = tmp_path / "a.tif"
    pictures[0].save(path, compression=compression, save_all=True, append_images=pictures[1:])
    expected = pages_by_pillow(path)
    assert len(expected) == 4
    with open_volume(path) as source:
        assert source.shape == (1, 4, 40, 50)
        assert np.array_equal(source.read()[0], expected)
        assert np.array_equal(
            source.read((slice(2, 3), slice(9, 11), slice(0, 7)))[0, 0], expected[2][9:11, :7]
        )


def test_a_strip_is_decoded_once_for_neighboring_regions(tmp_path, monkeypatch):
    decoded, real = [], Pages._chunk
    monkeypatch.setattr(
        Pages, "_chunk", lambda self, *place: decoded.append(place) or real(self, *place)
    )
    tifffile.imwrite(
        tmp_path / "a.tif", noise((3, 23, 37)), photometric="minisblack", **LAYOUTS["deflate"]
    )
    with open_volume(tmp_path / "a.tif") as source:
        for column in range(0, 37, 5):
            source.read((slice(1, 2), slice(5, 9), slice(column, column + 5)))
    assert decoded == [(1, 0), (1, 1)]


def test_black_and_white_and_turned_scales_are_read_as_images_reads_them(tmp_path):
    masks = noise((3, 9, 13)) > 128
    grey, deep = noise((3, 9, 13)), noise((3, 9, 13), "uint16")
    for name, expected, stored, options in (
        ("bits", masks * 255, masks, {"photometric": "minisblack"}),
        ("turned_bits", 255 - masks * 255, masks, {"photometric": "miniswhite"}),
        ("turned", 255 - grey, grey, {"photometric": "miniswhite"}),
        ("turned_and_deep", 65535 - deep, deep, {"photometric": "miniswhite"}),
    ):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, stored, **options)
        first = tmp_path / "first.tif"
        tifffile.imwrite(first, stored[0], **options)
        with open_volume(path) as source:
            assert np.array_equal(source.read()[0], expected), name
            image = read_image(first)
            assert np.array_equal(source.read()[0, 0], image.pixels[..., 0])
            assert source.notes[-1] == image.notes[-1]


def test_a_stack_of_palette_pages_gives_its_indices_and_one_picture_its_colors(tmp_path):
    labels = noise((3, 9, 13)) % 5
    colormap = RNG.integers(0, 65536, (3, 256)).astype("uint16")
    for stored, name in ((labels, "stack.tif"), (labels[0], "one.tif")):
        tifffile.imwrite(tmp_path / name, stored, photometric="palette", colormap=colormap)
    with open_volume(tmp_path / "stack.tif") as source:
        assert np.array_equal(source.read()[0], labels)
        assert source.notes[-1] == "palette left out: its indices are read"
    with open_volume(tmp_path / "one.tif") as source:
        assert np.array_equal(source.read(), colormap[:, labels[0]])


def test_an_unnamed_axis_is_depth_and_said(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 23, 37)), photometric="minisblack")
    with open_volume(tmp_path / "a.tif") as source:
        assert source.shape == (1, 5, 23, 37)
        assert source.notes == ("axis Q of 5 read as depth",)


@pytest.mark.parametrize("axes", ["TZYX", "QQYX", "CSYX"])
def test_axes_that_can_be_read_in_several_ways_are_refused(tmp_path, axes):
    path = tmp_path / "a.tif"
    metadata = None if axes == "QQYX" else {"axes": axes}
    tifffile.imwrite(path, noise((4, 3, 9, 13)), photometric="minisblack", metadata=metadata or {})
    with pytest.raises(DataError, match=r"a\.tif has the axes . 4 × . 3 × Y 9 × X 13, which can"):
        open_volume(path)


def test_complex_values_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 7), "complex64"))
    with pytest.raises(DataError, match=r"a\.tif holds complex values .complex64.; needed are"):
        open_volume(tmp_path / "a.tif")


def test_a_stack_cut_short_anywhere_is_refused_or_gives_all_its_voxels(tmp_path, capfd):
    refusals = []
    for layout in ("plain", "deflate", "tiles"):
        path, cut = tmp_path / "a.tif", tmp_path / "cut.tif"
        tifffile.imwrite(path, noise((5, 23, 37)), photometric="minisblack", **LAYOUTS[layout])
        with open_volume(path) as source:
            expected = source.read()
        content = path.read_bytes()
        for length in range(0, len(content), len(content) // 40):
            cut.write_bytes(content[:length])
            try:
                with open_volume(cut) as source:
                    assert np.array_equal(source.read(), expected)
            except DataError as error:
                refusals.append(str(error))
    assert len(refusals) > 100
    assert not any("\n" in refusal for refusal in refusals)
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(5, 23, 37), (23, 37), (3, 5, 23, 37), (3, 23, 37), (1, 7, 5)])
def test_what_is_written_is_read_back_by_us_and_by_tifffile(tmp_path, name, dtype, shape):
    labels, path = noise(shape, dtype), tmp_path / name
    spatial = shape if shape in [(5, 23, 37), (1, 7, 5)] else shape[-2:] if len(shape) < 4 else None
    spatial = spatial or shape[1:]
    tifffile.imwrite(tmp_path / "like.tif", np.zeros(spatial, "uint8"), photometric="minisblack")
    with open_volume(tmp_path / "like.tif") as like:
        if spatial == (1, 7, 5):  # a stack of one page is one picture
            labels = labels[0]
        write_volume(path, labels, like=like)
    assert np.array_equal(tifffile.imread(path), labels)
    with open_volume(path) as source:
        assert np.array_equal(source.read(), labels.reshape(source.shape))
        assert source.format == ("OME-TIFF" if "ome" in name else "TIFF")
    assert np.array_equal(pages_by_pillow(path), labels.reshape(-1, *labels.shape[-2:]))
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_physical_sizes_of_ome_are_carried_over_exactly(tmp_path):
    sizes = {"PhysicalSizeX": 0.1083, "PhysicalSizeY": 0.1083, "PhysicalSizeZ": 0.3}
    units = {f"{name}Unit": "nm" for name in sizes}
    image = noise((5, 2, 23, 37), "uint16")
    metadata = {"axes": "ZCYX", **sizes, **units}
    tifffile.imwrite(tmp_path / "a.ome.tif", image, photometric="minisblack", metadata=metadata)
    with open_volume(tmp_path / "a.ome.tif") as like:
        assert like.shape == (2, 5, 23, 37)
        assert (like.spacing, like.geometry.unit) == ((0.3, 0.1083, 0.1083), "nm")
        for name in ("labels.ome.tif", "labels.tif"):
            write_volume(tmp_path / name, image[:, 0] % 3, like=like)
            with open_volume(tmp_path / name) as labels:
                assert labels.shape == (1, 5, 23, 37)
                assert labels.spacing == like.spacing
                assert labels.geometry.unit == "nm"
    with tifffile.TiffFile(tmp_path / "labels.ome.tif") as written:
        pixels = tifffile.xml2dict(written.ome_metadata)["OME"]["Image"]["Pixels"]
    assert {name: pixels[name] for name in (*sizes, *units)} == {**sizes, **units}


@pytest.mark.parametrize("channels", [None, 2])
def test_an_image_of_imagej_comes_back_as_one_with_its_sizes(tmp_path, channels):
    image = noise((5, 2, 23, 37), "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif", image, imagej=True, resolution=(1 / 0.25, 1 / 0.5),
        metadata={"axes": "ZCYX", "spacing": 3.5, "unit": "um"},
    )  # fmt: skip
    labels = np.swapaxes(image, 0, 1) if channels else image[:, 0]
    with open_volume(tmp_path / "a.tif") as like:
        assert (like.spacing, like.geometry.unit) == ((3.5, 0.5, 0.25), "µm")
        write_volume(tmp_path / "b.tif", labels, like=like)
    with tifffile.TiffFile(tmp_path / "b.tif") as written:
        assert written.is_imagej
        assert written.imagej_metadata["spacing"] == 3.5
        assert written.imagej_metadata["slices"] == 5
        assert written.series[0].shape == ((5, 2, 23, 37) if channels else (5, 23, 37))
    with open_volume(tmp_path / "b.tif") as source:
        assert np.array_equal(source.read(), labels.reshape(source.shape))
        assert source.spacing == (3.5, 0.5, 0.25)
        assert source.geometry.unit == "µm"


def test_resolution_tags_of_a_plain_tiff_are_carried_over(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", noise((23, 37)), resolution=((300, 7), (302, 7)), resolutionunit=3
    )
    with open_volume(tmp_path / "a.tif") as like:
        assert like.spacing is None
        write_volume(tmp_path / "b.tif", noise((23, 37)), like=like)
    with tifffile.TiffFile(tmp_path / "b.tif") as written:
        tags = written.pages.first.tags
    assert [tags[number].value for number in (282, 283, 296)] == [(300, 7), (302, 7), 3]


class Enormous:
    """Labels of a size that nobody keeps in memory: all 7."""

    dtype = np.dtype("uint8")

    def __init__(self, *shape):
        self.shape = shape

    def __getitem__(self, index):
        index = index if isinstance(index, tuple) else (index,)
        index = (*index, *[slice(None)] * (len(self.shape) - len(index)))
        sizes = [
            len(range(size)[part])
            for part, size in zip(index, self.shape, strict=True)
            if isinstance(part, slice)
        ]
        assert np.prod(sizes) < 200e6
        return np.full(sizes, 7, self.dtype)


def test_labels_are_streamed_and_become_a_bigtiff_only_where_they_must(tmp_path, monkeypatch):
    write_volume(tmp_path / "small.tif", Enormous(3, 700, 900), like=None)
    assert (tmp_path / "small.tif").read_bytes()[:4] == struct.pack("<2sH", b"II", 42)
    monkeypatch.setattr(zlib, "compress", lambda data: b"")
    write_volume(tmp_path / "large.tif", Enormous(17, 16_384, 16_384), like=None)
    assert (tmp_path / "large.tif").read_bytes()[:4] == struct.pack("<2sH", b"II", 43)


@needs_proc
def test_a_region_of_a_gigabyte_takes_only_its_own_memory(tmp_path):
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, shape=(1024, 1024, 1024), dtype="uint8", photometric="minisblack")
    assert path.stat().st_size > 2**30
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_A_REGION, path], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 40_000


def test_the_membranes_of_isbi_2012_are_read_as_tifffile_reads_them(tmp_path):
    folder = real_data("isbi2012")
    for name in ("train-volume.tif", "train-labels.tif"):
        expected = tifffile.imread(folder / name)
        with open_volume(folder / name) as source:
            assert source.shape == (1, 30, 512, 512)
            assert np.array_equal(source.read()[0], expected)
            region = (slice(3, 5), slice(100, 333), slice(40, 41))
            assert np.array_equal(source.read(region)[0], expected[region])
            write_volume(tmp_path / name, expected, like=source)
        assert np.array_equal(tifffile.imread(tmp_path / name), expected)
        assert len(pages_by_pillow(tmp_path / name)) == 30
