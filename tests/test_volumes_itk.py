"""MetaImage and NRRD against SimpleITK's own reading, and their place against NIfTI's."""

import gzip
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from measuring import MEMORY_OF_A_REGION, needs_proc
from striate.errors import DataError
from striate.volumes import open_volume, write_volume

RNG = np.random.default_rng(8)
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
NAMES = ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"]
TURNED = nibabel.eulerangles.euler2mat(0.3, -0.2, 0.1)
VOXELS = ((0, 0, 0), (10, 6, 4), (3, 1, 2))


def noise(shape, dtype="uint8"):
    return RNG.normal(0, 90, shape).astype("i4").astype(dtype)


def image_of(array, *, vector=False, spacing=(0.7, 0.8, 2.5), origin=(4.1, -5.2, 1 / 3)):
    image = sitk.GetImageFromArray(array, isVector=vector)
    dims = image.GetDimension()
    image.SetSpacing([*spacing, 1.0][:dims])
    image.SetOrigin([*origin, 0.0][:dims])
    if dims == 3:
        image.SetDirection(TURNED.ravel())
    return image


def place_of(image):
    return image.GetSpacing(), image.GetOrigin(), image.GetDirection()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("packed", [False, True])
def test_values_are_those_of_simpleitk(tmp_path, name, dtype, packed):
    array = noise((5, 7, 11), dtype)
    sitk.WriteImage(image_of(array), tmp_path / name, useCompression=packed)
    with open_volume(tmp_path / name) as source:
        assert (source.shape, source.dtype) == ((1, 5, 7, 11), np.dtype(dtype))
        assert source.spacing == pytest.approx((2.5, 0.8, 0.7), rel=1e-15)
        assert np.array_equal(source.read()[0], array)
        region = (slice(1, 3), slice(2, 7), slice(10, 11))
        assert np.array_equal(source.read(region)[0], array[region])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("stored", "vector", "shape"),
    [((7, 11), False, (1, 7, 11)), ((7, 11, 3), True, (3, 7, 11)),
     ((5, 7, 11, 2), True, (2, 5, 7, 11)), ((3, 5, 7, 11), False, (3, 5, 7, 11))],
)  # fmt: skip
def test_components_and_a_fourth_axis_are_channels(tmp_path, name, stored, vector, shape):
    array = noise(stored, "uint16")
    sitk.WriteImage(image_of(array, vector=vector), tmp_path / name)
    expected = np.moveaxis(array, -1, 0) if vector else array.reshape(shape)
    with open_volume(tmp_path / name) as source:
        assert source.shape == shape
        assert np.array_equal(source.read(), expected)
        region = (slice(1, 4), slice(2, 3), slice(0, 10))[-len(shape) + 1 :]
        assert np.array_equal(source.read(region), expected[(slice(None), *region)])


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_region_equals_the_whole_sliced(tmp_path, data):
    name = data.draw(st.sampled_from(["a.mha", "a.nrrd"]))
    array = np.arange(5 * 7 * 11 * 2, dtype="uint16").reshape(5, 7, 11, 2)
    if not (tmp_path / name).exists():
        sitk.WriteImage(image_of(array, vector=True), tmp_path / name, useCompression=True)
    pairs = [
        sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
        for size in (5, 7, 11)
    ]
    region = tuple(slice(*pair) for pair in pairs)
    with open_volume(tmp_path / name) as source:
        assert np.array_equal(source.read(region), np.moveaxis(array, -1, 0)[:, *region])


@pytest.mark.parametrize("name", ["labels.mha", "labels.nrrd"])
@pytest.mark.parametrize("like_name", ["a.mha", "a.nrrd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [None, 3])
def test_labels_lie_exactly_where_the_image_lies(tmp_path, name, like_name, dtype, channels):
    sitk.WriteImage(image_of(noise((5, 7, 11), "int16")), tmp_path / like_name)
    labels = noise((5, 7, 11) if channels is None else (channels, 5, 7, 11), dtype)
    with open_volume(tmp_path / like_name) as like:
        write_volume(tmp_path / name, labels, like=like)
    image, written = sitk.ReadImage(tmp_path / like_name), sitk.ReadImage(tmp_path / name)
    assert place_of(written) == (
        place_of(image)
        if name[-4:] == like_name[-4:]
        else tuple(pytest.approx(part, rel=1e-14, abs=1e-15) for part in place_of(image))
    )
    values = sitk.GetArrayFromImage(written)
    assert values.dtype == dtype
    assert np.array_equal(values if channels is None else np.moveaxis(values, -1, 0), labels)
    with open_volume(tmp_path / name) as source:
        assert np.array_equal(source.read(), labels.reshape(-1, 5, 7, 11))


@pytest.mark.parametrize("name", ["labels.mha", "labels.nrrd"])
def test_flat_labels_lie_where_the_flat_image_lies(tmp_path, name):
    sitk.WriteImage(image_of(noise((7, 11))), tmp_path / "a.mha")
    labels = noise((7, 11))
    with open_volume(tmp_path / "a.mha") as like:
        assert like.shape == (1, 7, 11)
        write_volume(tmp_path / name, labels, like=like)
    written = sitk.ReadImage(tmp_path / name)
    assert (written.GetSpacing(), written.GetOrigin()) == ((0.7, 0.8), (4.1, -5.2))
    assert np.array_equal(sitk.GetArrayFromImage(written), labels)


def test_a_nrrd_keeps_its_own_words_of_space(tmp_path):
    """A space of another handedness stays as it was said."""
    array = noise((5, 7, 11))
    header = (
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: right-anterior-superior\nsizes: 11 7 5\n"
        "space directions: (0.7,0.1,0) (0,0.8,0) (0,0,2.5)\nkinds: domain domain domain\n"
        'space units: "mm" "mm" "mm"\nencoding: raw\nspace origin: (1,2,3.3)\n\n'
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + array.tobytes())
    with open_volume(tmp_path / "a.nrrd") as like:
        assert np.array_equal(like.read()[0], array)
        write_volume(tmp_path / "b.nrrd", array, like=like)
        write_volume(tmp_path / "c.nrrd", np.stack([array, array]), like=like)
    said = (tmp_path / "b.nrrd").read_bytes().split(b"\n\n")[0].decode().splitlines()
    for line in header.splitlines():
        if line.startswith("space"):
            assert line in said
    assert b"space directions: none (0.7,0.1,0) (0" in (tmp_path / "c.nrrd").read_bytes()
    for name in ("b.nrrd", "c.nrrd"):
        assert place_of(sitk.ReadImage(tmp_path / name)) == place_of(
            sitk.ReadImage(tmp_path / "a.nrrd")
        )


@pytest.mark.parametrize("name", ["labels.mha", "labels.nrrd", "labels.nii.gz"])
@pytest.mark.parametrize("like_name", ["a.mha", "a.nrrd", "a.nii.gz"])
def test_a_voxel_has_one_place_in_the_eyes_of_every_reader(tmp_path, name, like_name):
    sitk.WriteImage(image_of(noise((5, 7, 11), "int16")), tmp_path / like_name)
    image = sitk.ReadImage(tmp_path / like_name)
    labels = noise((5, 7, 11))
    with open_volume(tmp_path / like_name) as like:
        write_volume(tmp_path / name, labels, like=like)
        for voxel in VOXELS:
            left, posterior, superior = image.TransformIndexToPhysicalPoint(voxel)
            place = nibabel.affines.apply_affine(like.geometry.affine, voxel)
            assert np.allclose(place, (-left, -posterior, superior), rtol=0, atol=1e-5)
            if name.endswith(".nii.gz"):
                by_nibabel = nibabel.load(tmp_path / name)
                assert by_nibabel.get_fdata()[voxel] == labels[voxel[::-1]]
                place = nibabel.affines.apply_affine(by_nibabel.affine, voxel)
                assert np.allclose(place, (-left, -posterior, superior), rtol=0, atol=1e-5)
            by_simpleitk = sitk.ReadImage(tmp_path / name)
            place = by_simpleitk.TransformIndexToPhysicalPoint(voxel)
            assert np.allclose(place, (left, posterior, superior), rtol=0, atol=1e-5)
            assert by_simpleitk[voxel] == labels[voxel[::-1]]


def test_complex_values_and_too_many_axes_are_refused(tmp_path):
    sitk.WriteImage(sitk.Image((11, 7, 5), sitk.sitkComplexFloat32), tmp_path / "a.nrrd")
    with pytest.raises(DataError, match="holds complex values"):
        open_volume(tmp_path / "a.nrrd")
    sitk.WriteImage(sitk.Image((11, 7, 5, 2), sitk.sitkVectorUInt8, 3), tmp_path / "b.mha")
    with pytest.raises(DataError, match="has the sizes 11 × 7 × 5 × 2 of 3 components; needed is"):
        open_volume(tmp_path / "b.mha")


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_short_is_refused(tmp_path, name, packed, capfd):
    sitk.WriteImage(image_of(noise((5, 7, 11), "int16")), tmp_path / name, useCompression=packed)
    content = (tmp_path / name).read_bytes()
    for length in (*range(0, len(content), 61), len(content) - 1):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(DataError, match="damaged or cut short"):
            open_volume(tmp_path / name).read()
    assert capfd.readouterr() == ("", "")


@needs_proc
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["large.mha", "large.nrrd"])
def test_a_region_of_a_large_file_takes_only_its_own_memory(tmp_path, name, packed):
    path = tmp_path / name
    sitk.WriteImage(sitk.Image((756, 456, 720), sitk.sitkUInt8), path, packed, 1)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_A_REGION, path], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 40_000


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_nrrd_of_every_order_and_encoding_is_what_simpleitk_reads(
    tmp_path, encoding, endian, channels_last
):
    array = noise((3, 5, 7, 11), "int16")
    domain = ["domain"] * 3
    kinds = [*domain, "list"] if channels_last else ["list", *domain]
    stored = array if channels_last else np.moveaxis(array, 0, -1)
    header = (
        f"NRRD0004\ntype: short\ndimension: 4\nsizes: {' '.join(map(str, stored.shape[::-1]))}\n"
        f"kinds: {' '.join(kinds)}\nendian: {endian}\nencoding: {encoding}\n\n"
    )
    data = stored.astype("<i2" if endian == "little" else ">i2").tobytes()
    if encoding == "gzip":
        data = gzip.compress(data)
    if encoding == "ascii":
        data = " ".join(map(str, stored.ravel())).encode()
    (tmp_path / "a.nrrd").write_bytes(header.encode() + data)
    expected = np.moveaxis(sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "a.nrrd")), -1, 0)
    with open_volume(tmp_path / "a.nrrd") as source:
        assert source.shape == (3, 5, 7, 11)
        assert np.array_equal(source.read(), expected)
        assert np.array_equal(source.read(), array)
