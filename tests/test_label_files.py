"""Files to be labelled, and where their labels go."""

from pathlib import Path

import pytest

from striate.errors import DataError, UsageError
from striate.label_files import mask_files, outputs_for


def test_outputs_never_meet_inputs_or_one_another(tmp_path):
    one, two = tmp_path / "a" / "x.tif", tmp_path / "b" / "x.tif"
    for path in (one, two):
        path.parent.mkdir()
        path.write_bytes(b"")
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(b"")
    assert outputs_for([one], None, overwrite=False) == [Path("labels/x.tif")]
    assert outputs_for([picture], tmp_path / "o", overwrite=False) == [tmp_path / "o" / "photo.png"]
    assert outputs_for([one], tmp_path / "y.tif", overwrite=False) == [tmp_path / "y.tif"]
    with pytest.raises(UsageError, match=r"x.tif and .*x.tif would both be labelled in"):
        outputs_for([one, two], tmp_path / "o", overwrite=False)
    with pytest.raises(UsageError, match="is the image itself"):
        outputs_for([one], one, overwrite=True)
    with pytest.raises(UsageError, match="exists; replace it with --overwrite"):
        outputs_for([one], two, overwrite=False)
    assert outputs_for([one], two, overwrite=True) == [two]
    with pytest.raises(UsageError, match=r"y.tif is a file, but there are 2 images"):
        outputs_for([one, picture], tmp_path / "y.tif", overwrite=False)
    assert mask_files([tmp_path / "a", two]) == [one, two]
    assert mask_files([tmp_path]) == [one, two, picture]
    for name, count in (("g.bmp", 1), ("g.jpg", 1), ("g.csv", 2)):
        with pytest.raises(UsageError, match=rf"{name}: labels are not written as .\w+; .*\.nii"):
            outputs_for([one, picture][:count], tmp_path / name, overwrite=False)
    header = tmp_path / "scan.mhd"
    assert outputs_for([header], tmp_path / "o", overwrite=False) == [tmp_path / "o" / "scan.mha"]
    with pytest.raises(UsageError, match=r"y.mhd: .mhd is not written; known: "):
        outputs_for([one], tmp_path / "y.mhd", overwrite=False)
    with pytest.raises(DataError, match="does not exist"):
        mask_files([tmp_path / "absent.tif"])


def test_a_folder_without_images_is_refused_with_each_suffix_once(tmp_path):
    with pytest.raises(DataError, match=r"holds no image or volume") as refusal:
        mask_files([tmp_path])
    suffixes = str(refusal.value).split("suffix: ")[1].split()
    assert len(suffixes) == len(set(suffixes))
