"""OME-Zarr 0.4 and 0.5 and plain Zarr against zarr's own reading and the written metadata."""

import json

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from striate.errors import DataError
from striate.volumes import is_volume, open_volume, write_volume
from striate.volumes.ome_zarr import create_zarr
from striate.volumes.sources import Geometry

RNG = np.random.default_rng(4)
DTYPES = ["uint8", "int16", "uint16", "int32", "float32", "float64"]
SPACE = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]


def noise(shape, dtype="uint8"):
    return RNG.normal(0, 90, shape).astype("i4").astype(dtype)


def saved(path, array, version="0.4", axes=None, changes=None):
    """An OME-Zarr as its specification has it, written by hand."""
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    chunks = tuple(max(2, size // 4) for size in array.shape)
    data = group.create_array("full", shape=array.shape, dtype=array.dtype, chunks=chunks)
    data[...] = array
    changes = changes or [{"type": "scale", "scale": [1.0] * (array.ndim - 3) + [0.3, 0.2, 0.1]}]
    picture = {
        "axes": axes or [{"name": "c", "type": "channel"}][: array.ndim - 3] + SPACE,
        "datasets": [{"path": "full", "coordinateTransformations": changes}],
    }
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": version, **picture}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [picture]}
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stored", [(5, 7, 11), (3, 5, 7, 11)])
def test_a_picture_of_either_version_is_read_whole_and_by_regions(tmp_path, version, dtype, stored):
    array = noise(stored, dtype)
    with open_volume(saved(tmp_path / "a.zarr", array, version)) as source:
        expected = array.reshape(-1, 5, 7, 11)
        assert (source.shape, source.dtype) == (expected.shape, np.dtype(dtype))
        assert (source.spacing, source.geometry.unit) == ((0.3, 0.2, 0.1), "µm")
        assert source.format == f"OME-Zarr {version}"
        assert np.array_equal(source.read(), expected)
        region = (slice(1, 4), slice(2, 3), slice(0, 10))
        assert np.array_equal(source.read(region), expected[(slice(None), *region)])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_region_equals_the_whole_sliced(tmp_path, data):
    array = np.arange(3 * 5 * 7 * 11, dtype="uint16").reshape(3, 5, 7, 11)
    if not (tmp_path / "a.zarr").exists():
        saved(tmp_path / "a.zarr", array)
    pairs = [
        sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
        for size in (5, 7, 11)
    ]
    region = tuple(slice(*pair) for pair in pairs)
    with open_volume(tmp_path / "a.zarr") as source:
        assert np.array_equal(source.read(region), array[:, *region])


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("stored", [(7, 11), (5, 7, 11), (3, 5, 7, 11)])
def test_a_plain_array_is_read_by_its_number_of_axes(tmp_path, form, stored):
    array = noise(stored, "uint16")
    path = tmp_path / "plain"
    zarr.create_array(path, data=array, zarr_format=form)
    assert is_volume(path)
    with open_volume(path) as source:
        assert source.shape == ((1, *stored) if len(stored) < 4 else stored)
        assert np.array_equal(source.read(), array.reshape(source.shape))


def test_names_of_axes_in_a_plain_array_count(tmp_path):
    array = noise((3, 7, 11))
    zarr.create_array(tmp_path / "a.zarr", data=array, dimension_names=["channel", "y", "x"])
    with open_volume(tmp_path / "a.zarr") as source:
        assert source.shape == (3, 7, 11)


def test_a_picture_inside_the_layout_of_bioformats_is_found(tmp_path):
    outer = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    outer.attrs["bioformats2raw.layout"] = 3
    array = noise((1, 2, 1, 7, 11))
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *SPACE]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0, 0.25, 0.5]}]
    saved(tmp_path / "a.zarr" / "0", array, axes=axes, changes=scale)
    with open_volume(tmp_path / "a.zarr") as source:
        assert source.shape == (2, 7, 11)
        assert source.spacing == (0.25, 0.5)
        assert np.array_equal(source.read(), array[0, :, 0])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(5, 7, 11), (3, 5, 7, 11), (67, 131, 259)])
def test_labels_are_written_in_the_version_and_place_of_the_image(tmp_path, version, dtype, shape):
    moved = [
        {"type": "scale", "scale": [0.3, 0.2, 0.1]},
        {"type": "translation", "translation": [4.0, 5.0, 6.5]},
    ]
    saved(tmp_path / "a.zarr", np.zeros(shape[-3:], "uint8"), version, changes=moved)
    labels = noise(shape, dtype)
    with open_volume(tmp_path / "a.zarr") as like:
        write_volume(tmp_path / "b.zarr", labels, like=like)
    group = zarr.open_group(tmp_path / "b.zarr", mode="r")
    assert group.metadata.zarr_format == (2 if version == "0.4" else 3)
    assert np.array_equal(group["0"][...], labels)
    said = group.attrs.get("ome", group.attrs)
    picture = said["multiscales"][0]
    channels = len(shape) - 3
    assert picture["axes"] == [{"name": "c", "type": "channel"}][:channels] + SPACE
    scale, translation = picture["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [1.0] * channels + [0.3, 0.2, 0.1]
    assert translation["translation"] == [0.0] * channels + [4.0, 5.0, 6.5]
    assert said.get("version", picture.get("version")) == version
    first = "/".join(["0"] * len(shape))
    assert (tmp_path / "b.zarr" / "0" / (first if version == "0.4" else f"c/{first}")).is_file()
    with open_volume(tmp_path / "b.zarr") as source:
        assert np.array_equal(source.read(), labels.reshape(source.shape))
        assert source.geometry.native == like.geometry.native


def test_a_change_of_the_whole_picture_comes_after_that_of_its_array(tmp_path):
    moved = [
        {"type": "scale", "scale": [3.0, 2.0, 1.0]},
        {"type": "translation", "translation": [4.0, 5.0, 6.5]},
    ]
    saved(tmp_path / "a.zarr", noise((5, 7, 11)), changes=moved)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    picture = group.attrs["multiscales"][0]
    whole = [{"type": "scale", "scale": [10.0, 10.0, 100.0]}]
    group.attrs["multiscales"] = [picture | {"coordinateTransformations": whole}]
    with open_volume(tmp_path / "a.zarr") as source:
        assert source.spacing == (30.0, 20.0, 100.0)
        assert source.geometry.native.translation == (40.0, 50.0, 650.0)


def test_what_a_reader_needs_is_in_files_that_any_program_can_read(tmp_path):
    write_volume(tmp_path / "a.zarr", noise((7, 11)), like=None)
    attributes = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    assert attributes["multiscales"][0]["version"] == "0.4"
    assert json.loads((tmp_path / "a.zarr" / "0" / ".zarray").read_text())["shape"] == [7, 11]


def test_blocks_can_be_written_by_anyone_into_a_made_zarr(tmp_path):
    geometry = Geometry((0.3, 0.2, 0.1), "nm")
    array = create_zarr(tmp_path / "a.zarr", (67, 131, 5), np.dtype("uint8"), False, geometry)
    block = tuple(slice(0, step) for step in array.chunks)
    zarr.open_group(tmp_path / "a.zarr", mode="r+")["0"][block] = 3
    with open_volume(tmp_path / "a.zarr") as source:
        expected = np.zeros((67, 131, 5))
        expected[block] = 3
        assert np.array_equal(source.read()[0], expected)
        assert (source.spacing, source.geometry.unit) == ((0.3, 0.2, 0.1), "nm")


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [((300, 400, 500), (64, 128, 128)), ((4, 900, 1000), (4, 512, 512)), ((3000, 77), (1024, 77)),
     ((1, 2000, 2000), (1, 1024, 1024)), ((33, 400, 500), (33, 128, 128))],
)  # fmt: skip
def test_a_chunk_has_about_a_million_voxels_also_of_thin_volumes(tmp_path, shape, chunks):
    array = create_zarr(tmp_path / "a.zarr", shape, np.dtype("uint8"), False, Geometry())
    assert array.chunks == chunks


def test_what_holds_no_picture_is_refused(tmp_path):
    zarr.create_group(tmp_path / "a.zarr").create_group("plate")
    with pytest.raises(DataError, match=r"without an OME picture .*; it holds plate: name one"):
        open_volume(tmp_path / "a.zarr")
    zarr.create_array(tmp_path / "b.zarr", data=np.zeros((2, 3, 5, 7, 11)))
    with pytest.raises(DataError, match=r"holds an array of \(2, 3, 5, 7, 11\); needed are two"):
        open_volume(tmp_path / "b.zarr")
    times = [{"name": "t", "type": "time"}, *SPACE]
    saved(tmp_path / "c.zarr", noise((2, 5, 7, 11)), axes=times)
    with pytest.raises(DataError, match="has the axes T 2 × Z 5 × Y 7 × X 11, which can be read"):
        open_volume(tmp_path / "c.zarr")
    (tmp_path / "d.zarr").mkdir()
    with pytest.raises(DataError, match="is a folder without a DICOM series or a Zarr"):
        open_volume(tmp_path / "d.zarr")
    (tmp_path / "a.zarr" / "zarr.json").write_text("{")
    with pytest.raises(DataError, match="damaged or cut short"):
        open_volume(tmp_path / "a.zarr")
    saved(tmp_path / "e.zarr", noise((5, 7, 11)))
    chunk = tmp_path / "e.zarr" / "full" / "0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:5])
    source = open_volume(tmp_path / "e.zarr")
    with source, pytest.raises(DataError, match="damaged or cut short"):
        source.read()
