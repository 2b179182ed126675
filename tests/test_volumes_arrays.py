"""NPY and NPZ against numpy's own reading, whole, by regions and written back."""

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from measuring import MEMORY_OF_A_REGION, needs_proc
from striate.errors import DataError
from striate.volumes import open_volume, write_volume

RNG = np.random.default_rng(2)
SHAPES = {(7, 11): (1, 7, 11), (5, 7, 11): (1, 5, 7, 11), (3, 5, 7, 11): (3, 5, 7, 11)}


def noise(shape, dtype="uint8"):
    return RNG.normal(0, 90, shape).astype("i4").astype(dtype)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", "bool", ">i2", "uint16", "int64", "float16", "float64"])
@pytest.mark.parametrize(("stored", "shape"), SHAPES.items())
def test_arrays_are_read_in_any_order_and_type(tmp_path, name, order, dtype, stored, shape):
    array = np.asarray(noise(stored, dtype), order=order)
    np.save(tmp_path / name, array) if name == "a.npy" else np.savez(tmp_path / name, mask=array)
    with open_volume(tmp_path / name) as source:
        assert source.shape == shape
        assert source.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
        assert np.array_equal(source.read(), array.reshape(shape))
        region = (slice(1, 4), slice(2, 3), slice(0, 10))[-len(shape) + 1 :]
        assert np.array_equal(source.read(region), array.reshape(shape)[(slice(None), *region)])


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_region_equals_the_whole_sliced(tmp_path, data):
    array = np.arange(3 * 5 * 7 * 11).reshape(3, 5, 7, 11)
    np.save(tmp_path / "a.npy", array)
    edges = [
        sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
        for size in array.shape[1:]
    ]
    region = tuple(slice(*pair) for pair in edges)
    with open_volume(tmp_path / "a.npy") as source:
        assert np.array_equal(source.read(region), array[(slice(None), *region)])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(7, 11), (5, 7, 11), (3, 5, 7, 11)])
def test_what_is_written_is_what_numpy_reads(tmp_path, dtype, shape):
    labels = noise(shape, dtype)
    write_volume(tmp_path / "a.npy", labels, like=None)
    spacing = (2.5, 0.8, 0.7)[-len(shape) :]
    np.savez(tmp_path / "spaced.npz", image=labels, axes="CZYX"[-len(shape) :], spacing=spacing)
    with open_volume(tmp_path / "spaced.npz") as like:
        write_volume(tmp_path / "a.npz", labels, like=like)
    assert np.array_equal(np.load(tmp_path / "a.npy"), labels)
    with np.load(tmp_path / "a.npz") as packed:
        assert np.array_equal(packed["labels"], labels)
        assert packed["labels"].dtype == dtype
    with open_volume(tmp_path / "a.npz") as source:
        assert np.array_equal(source.read(), labels.reshape(source.shape))
        assert source.spacing == spacing
        assert source.notes == ()


def test_channels_of_a_flat_image_survive_in_npz_and_the_affine_too(tmp_path):
    labels = noise((3, 7, 11), "float32")
    np.savez(tmp_path / "like.npz", image=noise((7, 11)), affine=np.diag([1.0, 2, 3, 1]))
    with open_volume(tmp_path / "like.npz") as like:
        write_volume(tmp_path / "a.npz", labels, like=like)
    with open_volume(tmp_path / "a.npz") as source:
        assert source.shape == (3, 7, 11)
        assert np.array_equal(source.read(), labels)
        assert np.array_equal(source.geometry.affine, np.diag([1.0, 2, 3, 1]))


def test_the_same_labels_give_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_volume(tmp_path / name, np.ones((5, 7, 11), "uint8"), like=None)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.zeros((5, 7)), "b": np.zeros((5, 7))}, r"holds 2 arrays \(a, b\), and one is n"),
        ({"a": np.zeros(5)}, r"holds an array of \(5,\); needed are two axes"),
        ({"a": np.zeros((5, 7)), "axes": np.array("ZYX")}, "names the axes 'ZYX' of an array of"),
        ({"a": np.zeros((5, 7), "c8")}, "holds complex values"),
        ({"a": np.array([[None]])}, "holds object values"),
    ],
)
def test_what_is_no_single_array_of_numbers_is_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=words):
        open_volume(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_file_cut_short_is_refused(tmp_path, name):
    stream = io.BytesIO()
    (np.save if name == "a.npy" else np.savez_compressed)(stream, noise((5, 7, 11)))
    content = stream.getvalue()
    for length in range(0, len(content) - 1, 23):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(DataError, match="damaged or cut short"):
            open_volume(tmp_path / name).read()


@needs_proc
def test_a_region_of_a_gigabyte_takes_only_its_own_memory(tmp_path):
    path = tmp_path / "large.npy"
    large = np.lib.format.open_memmap(path, "w+", "uint8", (1024, 1024, 1024))
    del large
    assert path.stat().st_size > 2**30
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_A_REGION, path], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 40_000
