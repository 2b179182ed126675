"""The door of volumes: formats by suffix, what is refused, files that are whole or absent."""

import errno
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.errors import DataError, RunError, UsageError
from striate.images import read_image
from striate.volumes import FORMATS, WRITABLE, is_volume, open_volume, suffix_of, write_volume

RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 4, (5, 23, 37)).astype("uint8")


@pytest.mark.parametrize(("mode", "name"), [("L", "a.png"), ("RGB", "a.bmp"), ("RGBA", "a.webp")])
def test_a_picture_is_read_as_images_reads_it_channels_first(tmp_path, mode, name):
    pixels = RNG.integers(0, 256, (23, 37, 4), dtype="uint8")
    Image.fromarray(pixels).convert(mode).save(tmp_path / name)
    with open_volume(tmp_path / name) as source:
        expected = np.moveaxis(read_image(tmp_path / name).pixels, 2, 0)
        assert source.shape == expected.shape == (len(mode), 23, 37)
        assert np.array_equal(source.read(), expected)
        region = (slice(3, 9), slice(30, None))
        assert np.array_equal(source.read(region), expected[:, 3:9, 30:])


def test_suffixes_are_known_whatever_their_case():
    assert all(suffix_of(Path(f"scan.v1{suffix.upper()}")) == suffix for suffix in FORMATS)
    assert suffix_of(Path("folder.tif/plain")) == ""
    assert is_volume(Path("A.TIF"))
    assert not is_volume(Path("a.png"))
    assert not is_volume(Path("notes.txt"))


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"scam\.nii\.gz does not exist; did you mean 'scan\.nii"):
        open_volume(tmp_path / "scam.nii.gz")


@pytest.mark.parametrize(
    ("region", "words"),
    [((slice(0, 2),), "does not fit the spatial axes"), ((slice(0, 9, 2),) * 3, "without step")],
)
def test_a_region_that_does_not_fit_is_refused(tmp_path, region, words):
    write_volume(tmp_path / "a.tif", LABELS, like=None)
    with open_volume(tmp_path / "a.tif") as source, pytest.raises(ValueError, match=words):
        source.read(region)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_what_was_read_outlives_the_file_and_may_be_changed(tmp_path, suffix):
    path, labels = tmp_path / f"a{suffix}", LABELS[0] if suffix == ".png" else LABELS
    write_volume(path, labels, like=None)
    with open_volume(path) as source:
        first = source.read()
        first += 1
        assert np.array_equal(source.read(), labels[None])
    assert np.array_equal(first, labels[None] + 1)


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path):
    write_volume(tmp_path / "a.tif", LABELS, like=None)
    with open_volume(tmp_path / "a.tif") as like:
        with pytest.raises(UsageError, match=r"no format has the suffix '\.xyz'; known: \.tif"):
            write_volume(tmp_path / "b.xyz", LABELS, like=like)
        with pytest.raises(DataError, match="labels of int64 cannot be written; needed is uint8"):
            write_volume(tmp_path / "b.tif", LABELS.astype("int64"), like=like)
        with pytest.raises(DataError, match=r"labels of \(5, 23, 36\) do not fit the image"):
            write_volume(tmp_path / "b.tif", LABELS[..., 1:], like=like)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_labels_of_one_slice_become_a_png(tmp_path, dtype):
    labels = LABELS[0].astype(dtype) * (np.iinfo(dtype).max // 3)
    write_volume(tmp_path / "a.png", labels, like=None)
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.array(picture), labels)
    with open_volume(tmp_path / "a.png") as source:
        assert source.dtype == dtype
        assert np.array_equal(source.read()[0], labels)


@pytest.mark.parametrize("labels", [LABELS, LABELS[0].astype("float32"), LABELS[None, :3]])
def test_what_a_png_cannot_hold_is_refused(tmp_path, labels):
    with pytest.raises(DataError, match=r"a PNG cannot hold \w+ of \(.*\); needed is one slice"):
        write_volume(tmp_path / "a.png", labels, like=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_folder_of_other_things_is_not_replaced(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is a folder, which would be replaced; choose another"):
        write_volume(tmp_path / name, LABELS, like=None)
    assert (tmp_path / name / "notes.txt").read_text() == "mine"


THROUGH = [suffix for suffix in WRITABLE if suffix not in (".png", ".npy")]


@pytest.mark.parametrize("source_suffix", THROUGH)
@pytest.mark.parametrize("suffix", THROUGH)
def test_labels_and_spacing_pass_from_any_format_to_any_other(tmp_path, source_suffix, suffix):
    spacing, labels = (2.5, 0.8, 0.7), RNG.random((3, 5, 23, 37)).astype("float32")
    path = tmp_path / f"a{source_suffix}"
    np.savez(tmp_path / "spaced.npz", image=LABELS, spacing=spacing)
    with open_volume(tmp_path / "spaced.npz") as spaced:
        write_volume(path, LABELS, like=spaced)
    with open_volume(path) as like:
        assert np.array_equal(like.read()[0], LABELS)
        write_volume(tmp_path / f"b{suffix}", labels, like=like)
        with open_volume(tmp_path / f"b{suffix}") as source:
            assert source.dtype == np.float32
            assert np.array_equal(source.read(), labels)
            assert np.allclose(source.geometry.spacing_in("mm"), like.geometry.spacing_in("mm"))
            assert source.spacing == pytest.approx(spacing)


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.nii.gz", "nibabel"), ("a.mha", "SimpleITK"), ("a.nrrd", "SimpleITK"), ("a.zarr", "zarr")],
)
def test_without_its_package_a_format_is_refused_in_one_line(tmp_path, monkeypatch, name, package):
    write_volume(tmp_path / name, LABELS, like=None)
    monkeypatch.setitem(sys.modules, package, None)
    words = rf"needs {package}, which is not installed: pip install 'striate\[volumes\]'"
    with pytest.raises(DataError, match=words):
        open_volume(tmp_path / name)
    if package != "SimpleITK":  # whose formats are written without it
        with pytest.raises(DataError, match=words):
            write_volume(tmp_path / f"new_{name}", LABELS, like=None)


def test_a_package_is_loaded_only_for_its_format(tmp_path):
    write_volume(tmp_path / "a.tif", LABELS, like=None)
    code = (
        "import sys; from pathlib import Path; from striate.volumes import open_volume; "
        "open_volume(Path(sys.argv[1])).read(); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path / "a.tif"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert {"tifffile", "striate.volumes.tiff"} <= set(done.stdout.split())
    assert {"nibabel", "SimpleITK", "zarr", "torch", "scipy"} & set(done.stdout.split()) == set()


# ---------------------------------------------------------------- whole or absent


class Dying:
    """Labels that end the process, or fail, when they are read for the n-th time."""

    dtype, shape = LABELS.dtype, (3, 600, 65_536)

    def __init__(self, n, end):
        self.n, self.end = n, end

    def __getitem__(self, index):
        self.n -= 1
        if self.n < 0:
            self.end()
        return np.broadcast_to(np.uint8(3), self.shape)[index]


@pytest.fixture(params=[suffix for suffix in WRITABLE if suffix != ".png"])
def suffix(request):
    return request.param


def content(path):
    with open_volume(path) as source:
        return source.read().tobytes()


@pytest.mark.parametrize("reads", [0, 1, 2])
def test_a_death_while_writing_leaves_what_was_there_and_the_next_write_clears_up(
    tmp_path, suffix, reads
):
    path = tmp_path / f"labels{suffix}"
    write_volume(path, LABELS, like=None)
    child = os.fork()
    if child == 0:
        try:
            write_volume(path, Dying(reads, lambda: os._exit(9)), like=None)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert content(path) == LABELS.tobytes()
    assert len(list(tmp_path.iterdir())) == 2
    write_volume(path, LABELS[::-1], like=None)
    assert content(path) == LABELS[::-1].tobytes()
    assert list(tmp_path.iterdir()) == [path]


def die_at(call, at):
    """End this process at a call of ``os``."""
    calls, real = itertools.count(1), getattr(os, call)

    def dying(*arguments, **keywords):
        if next(calls) == at:
            os._exit(9)
        return real(*arguments, **keywords)

    setattr(os, call, dying)


@pytest.mark.parametrize("call", ["fsync", "replace", "rename", "rmdir"])
def test_a_death_at_the_end_leaves_the_old_or_the_new(tmp_path, suffix, call):
    path = tmp_path / f"labels{suffix}"
    write_volume(path, LABELS, like=None)
    for at in range(1, 40):
        child = os.fork()
        if child == 0:
            die_at(call, at)
            try:
                write_volume(path, LABELS[::-1], like=None)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if path.exists():
            assert content(path) in (LABELS.tobytes(), LABELS[::-1].tobytes())
        write_volume(path, LABELS, like=None)
        assert content(path) == LABELS.tobytes()
        assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
        if code != 9:
            break
    assert code == 1


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, suffix):
    path = tmp_path / f"labels{suffix}"
    write_volume(path, LABELS, like=None)

    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunError, match=r"could not write .*labels.*: No space left on device; wha"):
        write_volume(path, Dying(1, full), like=None)
    assert content(path) == LABELS.tobytes()
    assert list(tmp_path.iterdir()) == [path]
