"""DICOM series as SimpleITK writes them: order, place, rescaling, and what is refused."""

import numpy as np
import pytest
import SimpleITK as sitk

from striate.errors import DataError
from striate.volumes import is_volume, open_volume, write_volume

RNG = np.random.default_rng(3)
ROWS = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)  # a sagittal series


def saved(folder, array, *, uid="1.2.3", gaps=None, scale=None, words="T1"):
    """Write slices under names that are not in the order of their positions."""
    folder.mkdir(exist_ok=True)
    normal = np.cross(ROWS[:3], ROWS[3:])
    at = np.cumsum(gaps if gaps is not None else [2.5] * len(array))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, pixels in enumerate(array):
        image = sitk.GetImageFromArray(pixels[None])
        image.SetSpacing((0.7, 0.8, 2.5))
        position = np.array([4.0, -5, 6]) + normal * at[number]
        image.SetOrigin(position)
        image.SetDirection(np.stack([ROWS[:3], ROWS[3:], normal], axis=1).ravel())
        tags = {
            "0008|0060": "MR", "0020|000e": uid, "0020|000d": "1.2", "0008|103e": words,
            "0008|0018": f"{uid}.{number + 1}", "0020|0013": str(number),
            "0020|0032": "\\".join(f"{step:.10g}" for step in position),
            "0020|0037": "\\".join(f"{step:g}" for step in ROWS),
        }  # fmt: skip
        if scale is not None:
            tags |= {"0028|1053": str(scale[0]), "0028|1052": str(scale[1])}
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}_{(7 * number) % len(array)}_{number}.dcm"))
        writer.Execute(image)
    return folder


def noise(shape=(6, 9, 13), dtype="int16"):
    return RNG.integers(0, 900, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_a_series_is_read_in_the_order_of_its_positions(tmp_path, dtype):
    array = noise(dtype="int16").astype(dtype)
    folder = saved(tmp_path / "scan", array)
    assert is_volume(folder)
    with open_volume(folder) as source:
        assert (source.shape, source.dtype, source.format) == ((1, 6, 9, 13), dtype, "DICOM")
        assert source.spacing == pytest.approx((2.5, 0.8, 0.7))
        assert np.array_equal(source.read()[0], array)
        region = (slice(2, 5), slice(3, 4), slice(0, 12))
        assert np.array_equal(source.read(region)[0], array[region])
        assert source.read((slice(3, 3),) * 3).shape == (1, 0, 0, 0)


def test_its_place_is_that_of_simpleitk_also_in_what_is_written(tmp_path):
    folder = saved(tmp_path / "scan", noise())
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    expected = reader.Execute()
    labels = noise(dtype="uint8")
    with open_volume(folder) as like:
        for name in ("a.nii.gz", "a.mha", "a.nrrd"):
            write_volume(tmp_path / name, labels, like=like)
            image = sitk.ReadImage(tmp_path / name)
            assert np.array_equal(sitk.GetArrayFromImage(image), labels)
            for voxel in ((0, 0, 0), (12, 8, 5), (3, 1, 2)):
                place = expected.TransformIndexToPhysicalPoint(voxel)
                assert np.allclose(image.TransformIndexToPhysicalPoint(voxel), place, atol=1e-4)


def test_slope_and_intercept_are_applied_once_and_said(tmp_path):
    array = noise()
    with open_volume(saved(tmp_path / "scan", array, scale=(2, -1024))) as source:
        files = sorted(source.path.iterdir(), key=lambda file: int(file.stem.split("_")[-1]))
        stored = [np.frombuffer(file.read_bytes()[-2 * 9 * 13 :], "<i2") for file in files]
        expected = np.reshape(stored, array.shape) * 2.0 - 1024
        assert np.array_equal(source.read()[0], expected)
        assert source.notes == ("rescaled by slope and intercept, as its headers say",)


def test_one_slice_and_one_file_are_volumes_too(tmp_path):
    array = noise((1, 9, 13))
    folder = saved(tmp_path / "scan", array)
    for path in (folder, next(folder.iterdir())):
        with open_volume(path) as source:
            assert source.shape == (1, 1, 9, 13)
            assert source.format == "DICOM"
            assert np.array_equal(source.read()[0], array)


def test_several_series_are_listed(tmp_path):
    folder = saved(tmp_path / "scan", noise(), words="T1 axial")
    saved(folder, noise((3, 9, 13)), uid="1.2.4", words="scout")
    with pytest.raises(DataError, match=r"holds 2 DICOM series \(T1 axial of 6, .*scout of 3, "):
        open_volume(folder)


def test_a_missing_or_doubled_slice_is_refused(tmp_path):
    gaps = [2.5, 2.5, 2.5, 5.0, 2.5, 2.5]
    folder = saved(tmp_path / "scan", noise(), gaps=gaps)
    with pytest.raises(DataError, match=r"not evenly spaced \(5 mm after slice 3, 2\.5 mm elsewh"):
        open_volume(folder)
    folder = saved(tmp_path / "again", noise(), gaps=[2.5, 2.5, 0.0, 2.5, 2.5, 2.5])
    with pytest.raises(DataError, match=r"not evenly spaced \(0 mm after slice 2"):
        open_volume(folder)


def test_slices_of_different_sizes_are_refused(tmp_path):
    folder = saved(tmp_path / "scan", noise((3, 9, 13)))
    (tmp_path / "more").mkdir()
    other = saved(tmp_path / "more", noise((1, 9, 15)), gaps=[12.5])
    next(other.iterdir()).rename(folder / "z.dcm")
    with pytest.raises(DataError, match=r"holds slices of different sizes .* take the others out"):
        open_volume(folder)


@pytest.mark.parametrize("number", [0, 2, 5])
@pytest.mark.parametrize("left", [0.3, 0.99])
def test_a_damaged_slice_is_refused_in_one_line(tmp_path, number, left, capfd):
    folder = saved(tmp_path / "scan", noise())
    file = sorted(folder.iterdir())[number]
    content = file.read_bytes()
    file.write_bytes(content[: int(left * len(content))])
    with pytest.raises(DataError, match=r"scan is a DICOM file that is damaged or cut short"):
        open_volume(folder).read()
    assert capfd.readouterr() == ("", "")


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    assert not is_volume(tmp_path)
    with pytest.raises(DataError, match="is a folder without a DICOM series or a Zarr; name a fi"):
        open_volume(tmp_path)
