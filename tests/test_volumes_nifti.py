"""NIfTI against nibabel's and SimpleITK's own reading: values, place, units and codes."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import real_data
from striate.errors import DataError
from striate.volumes import open_volume, write_volume

RNG = np.random.default_rng(21)
DTYPES = ["uint8", "int16", "uint16", "int32", "float32", "float64"]
OBLIQUE = np.array(
    [[0.79, -0.11, 0.31, -40.5], [0.1, 0.8, 0.2, 12.25], [-0.2, -0.1, 2.9, 7], [0, 0, 0, 1]]
)


def noise(shape, dtype="uint8"):
    return RNG.normal(0, 90, shape).astype("i4").astype(dtype)


def saved(path, array, affine=OBLIQUE, kind=nibabel.Nifti1Image, **fields):
    image = kind(array, affine)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def place_of(header):
    """Every field that says where voxels lie."""
    names = ("qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c",
             "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "xyzt_units")  # fmt: skip
    return {name: header[name].tolist() for name in names}, header["pixdim"][:4].tolist()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_values_are_those_of_nibabel_with_the_axes_turned_round(tmp_path, name, dtype, kind):
    path = saved(tmp_path / name, noise((11, 7, 5), dtype), kind=kind)
    expected = np.asarray(nibabel.load(path).dataobj).T
    with open_volume(path) as source:
        assert (source.shape, source.dtype) == ((1, 5, 7, 11), np.dtype(dtype))
        assert np.array_equal(source.read()[0], expected)
        region = (slice(1, 3), slice(2, 7), slice(10, 11))
        assert np.array_equal(source.read(region)[0], expected[region])
        assert source.notes == ()


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_region_equals_the_whole_sliced(tmp_path, data):
    path = tmp_path / "a.nii.gz"
    if not path.exists():
        saved(path, noise((11, 7, 5, 3), "int16"))
    with open_volume(path) as source:
        assert source.shape == (3, 5, 7, 11)
        pairs = [
            sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
            for size in source.shape[1:]
        ]
        region = tuple(slice(*pair) for pair in pairs)
        assert np.array_equal(source.read(region), source.read()[(slice(None), *region)])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_slope_and_intercept_are_applied_once_and_said(tmp_path, name):
    stored = noise((11, 7, 5), "int16")
    image = nibabel.Nifti1Image(stored, OBLIQUE)
    image.header.set_slope_inter(0.1, -3)
    header = image.header.copy()
    header["vox_offset"] = 352
    opener = gzip.open if name.endswith("gz") else open
    with opener(tmp_path / name, "wb") as file:
        header.write_to(file)
        file.write(stored.tobytes(order="F"))
    expected = nibabel.load(tmp_path / name).get_fdata()
    assert expected.max() < 40  # scaled
    with open_volume(tmp_path / name) as source:
        assert source.dtype == np.float64
        assert np.array_equal(source.read()[0], expected.T)
        assert source.notes == ("scaled by slope 0.1 and intercept -3, as its header says",)
        write_volume(tmp_path / f"labels_{name}", noise((5, 7, 11)), like=source)
    labels = nibabel.load(tmp_path / f"labels_{name}")
    assert (labels.dataobj.slope, labels.dataobj.inter) == (1, 0)


@pytest.mark.parametrize(
    ("stored", "shape"),
    [((11, 7), (1, 7, 11)), ((11, 7, 1), (1, 1, 7, 11)), ((11, 7, 5, 2), (2, 5, 7, 11)),
     ((11, 7, 5, 1, 3), (3, 5, 7, 11))],
)  # fmt: skip
def test_axes_beyond_three_are_channels(tmp_path, stored, shape):
    array = noise(stored)
    with open_volume(saved(tmp_path / "a.nii", array)) as source:
        assert source.shape == shape
        assert np.array_equal(source.read(), array.T.reshape(shape))


def test_times_and_channels_together_are_refused(tmp_path):
    path = saved(tmp_path / "a.nii", noise((7, 5, 3, 2, 3)))
    with pytest.raises(DataError, match=r"a\.nii has the sizes 7 × 5 × 3 × 2 × 3, several beyond"):
        open_volume(path)


def test_complex_and_colored_values_are_refused(tmp_path):
    path = saved(tmp_path / "a.nii", np.zeros((7, 5, 3), "complex64"))
    with pytest.raises(DataError, match="holds complex values"):
        open_volume(path)
    rgb = np.zeros((7, 5, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(DataError, match="holds structured values"):
        open_volume(saved(tmp_path / "b.nii", rgb))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_cut_short_is_refused(tmp_path, name):
    content = saved(tmp_path / name, noise((11, 7, 5), "int16")).read_bytes()
    for length in (len(content) - 1, len(content) // 2, 200, 3):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a NIfTI file that is damaged or cut short|is empty"):
            open_volume(tmp_path / name).read()


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("name", ["labels.nii", "labels.nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_labels_lie_exactly_where_the_image_lies(tmp_path, name, dtype, channels, kind):
    image = kind(noise((11, 7, 5), "int16"), None)
    image.set_qform(np.diag([-0.7, 0.8, 2.5, 1]), 1)
    image.set_sform(OBLIQUE, 4)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "a.nii.gz")
    labels = noise((5, 7, 11) if channels is None else (channels, 5, 7, 11), dtype)
    with open_volume(tmp_path / "a.nii.gz") as like:
        assert like.spacing == (2.5, 0.8, 0.7)
        assert like.geometry.unit == "mm"
        assert np.array_equal(like.geometry.affine, image.affine)
        write_volume(tmp_path / name, labels, like=like)
    written = nibabel.load(tmp_path / name)
    assert place_of(written.header) == place_of(image.header)
    assert written.header.get_data_dtype() == dtype
    assert np.array_equal(np.asarray(written.dataobj).T, labels)
    assert np.array_equal(open_volume(tmp_path / name).read(), labels.reshape(-1, 5, 7, 11))


def test_big_endian_files_stay_big_endian(tmp_path):
    image = nibabel.Nifti1Image(
        noise((11, 7, 5), "int16"), OBLIQUE, nibabel.Nifti1Header(endianness=">")
    )
    nibabel.save(image, tmp_path / "a.nii")
    labels = noise((5, 7, 11), "uint16")
    with open_volume(tmp_path / "a.nii") as like:
        assert np.array_equal(like.read()[0], np.asarray(image.dataobj).T)
        write_volume(tmp_path / "b.nii", labels, like=like)
    written = nibabel.load(tmp_path / "b.nii")
    assert written.header.endianness == ">"
    assert np.array_equal(np.asarray(written.dataobj).T, labels)


def test_simpleitk_reads_the_same_voxels_at_the_same_places(tmp_path):
    affine = nibabel.affines.from_matvec(
        nibabel.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([0.7, 0.8, 2.5]), [4, -5, 6]
    )
    saved(tmp_path / "a.nii.gz", noise((11, 7, 5), "int16"), affine)
    labels = noise((5, 7, 11))
    with open_volume(tmp_path / "a.nii.gz") as like:
        write_volume(tmp_path / "b.nii.gz", labels, like=like)
    other = sitk.ReadImage(tmp_path / "b.nii.gz")
    assert np.array_equal(sitk.GetArrayFromImage(other), labels)
    for voxel in ((0, 0, 0), (10, 6, 4), (3, 1, 2)):
        left, posterior, superior = other.TransformIndexToPhysicalPoint(voxel)
        expected = nibabel.affines.apply_affine(affine, voxel)
        assert np.allclose((-left, -posterior, superior), expected, atol=1e-4)


def test_of_an_image_without_orientation_the_spacing_is_all_that_is_said(tmp_path):
    np.savez(tmp_path / "a.npz", image=noise((5, 7, 11)), spacing=(2.5, 0.8, 0.7))
    with open_volume(tmp_path / "a.npz") as like:
        write_volume(tmp_path / "a.nii", noise((5, 7, 11)), like=like)
    written = nibabel.load(tmp_path / "a.nii").header
    assert [float(str(step)) for step in written.get_zooms()] == [0.7, 0.8, 2.5]
    assert (written["qform_code"], written["sform_code"]) == (0, 0)


def test_units_of_micrometers_are_heeded_in_the_affine(tmp_path):
    image = nibabel.Nifti1Image(noise((11, 7, 5)), np.diag([50.0, 60, 70, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")
    with open_volume(tmp_path / "a.nii") as source:
        assert (source.spacing, source.geometry.unit) == ((70.0, 60.0, 50.0), "µm")
        assert np.allclose(source.geometry.affine, np.diag([0.05, 0.06, 0.07, 1]))
        write_volume(tmp_path / "b.nii", noise((5, 7, 11)), like=source)
        write_volume(tmp_path / "b.mha", noise((5, 7, 11)), like=source)
    assert place_of(nibabel.load(tmp_path / "b.nii").header) == place_of(image.header)
    assert sitk.ReadImage(tmp_path / "b.mha").GetSpacing() == pytest.approx((0.05, 0.06, 0.07))


def test_what_the_header_says_of_the_values_of_the_image_is_not_said_of_the_labels(tmp_path):
    image = nibabel.Nifti1Image(noise((11, 7, 5), "int16"), OBLIQUE)
    image.header["cal_max"] = 900
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a scan"))
    nibabel.save(image, tmp_path / "a.nii")
    with open_volume(tmp_path / "a.nii") as like:
        assert np.array_equal(like.read()[0], np.asarray(image.dataobj).T)
        write_volume(tmp_path / "b.nii", noise((5, 7, 11)), like=like)
    with (tmp_path / "b.nii").open("rb") as file:
        header = nibabel.Nifti1Header.from_fileobj(file)
    assert [float(header[name]) for name in ("cal_max", "scl_slope", "scl_inter")] == [0, 1, 0]
    assert len(header.extensions) == 0
    assert (tmp_path / "b.nii").stat().st_size == 352 + 5 * 7 * 11


def test_an_affine_of_another_format_is_said_in_both_ways(tmp_path):
    np.savez(tmp_path / "a.npz", image=noise((5, 7, 11)), affine=np.diag([0.7, -0.8, 2.5, 1]))
    with open_volume(tmp_path / "a.npz") as like:
        write_volume(tmp_path / "b.nii", noise((5, 7, 11)), like=like)
    header = nibabel.load(tmp_path / "b.nii").header
    for get in (header.get_qform, header.get_sform):
        affine, code = get(coded=True)
        assert code == 1
        assert np.allclose(affine, np.diag([0.7, -0.8, 2.5, 1]), atol=1e-6)


def test_a_side_too_long_for_nifti_1_is_written_as_nifti_2(tmp_path):
    for width, kind in ((32_767, nibabel.Nifti1Image), (32_768, nibabel.Nifti2Image)):
        write_volume(tmp_path / "a.nii", np.ones((2, 3, width), "uint8"), like=None)
        assert type(nibabel.load(tmp_path / "a.nii")) is kind
        with open_volume(tmp_path / "a.nii") as source:
            assert source.shape == (1, 2, 3, width)


def test_the_same_labels_give_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, np.ones((5, 7, 11), "uint8"), like=None)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_the_hippocampus_is_read_as_nibabel_reads_it_and_labels_go_back(tmp_path):
    folder = real_data("hippocampus")
    files = sorted(folder.glob("*Tr/*.nii.gz"))
    assert len(files) == 160
    some = [*files[::23], folder / "labelsTr" / "hippocampus_243.nii.gz"]
    for path in some:
        image = nibabel.load(path)
        with open_volume(path) as source:
            expected = np.asarray(image.dataobj).T
            assert source.dtype == expected.dtype
            assert np.array_equal(source.read()[0], expected)
            labels = (expected > expected.mean()).astype("uint8")
            write_volume(tmp_path / path.name, labels, like=source)
        written = nibabel.load(tmp_path / path.name)
        assert place_of(written.header) == place_of(image.header)
        assert np.array_equal(written.affine, image.affine)
        assert np.array_equal(np.asarray(written.dataobj).T, labels)
    assert source.dtype == np.float32  # a label of floats, as the data page says
