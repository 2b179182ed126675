"""Which mask belongs to which image, by names."""

from pathlib import Path

import pytest

from striate.datasets.pairing import files_of, pairs_of, stem_of
from striate.errors import DataError


def folders(tmp_path, images, masks):
    for folder, names in (("images", images), ("masks", masks)):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    return tmp_path / "images", tmp_path / "masks"


def test_pairs_are_found_by_stem_and_ending_whatever_the_suffix(tmp_path):
    names = folders(
        tmp_path,
        ["b.jpg", "a.png", "c.v1.nii.gz", "d.TIF", "e.ome.tif"],
        ["a.tif", "b_mask.png", "c.v1_seg.nii.gz", "d_L.png", "e.png"],
    )
    pairs = [(*[path.name for path in pair.images], pair.mask.name) for pair in pairs_of(*names)]
    assert pairs == [
        ("a.png", "a.tif"), ("b.jpg", "b_mask.png"), ("c.v1.nii.gz", "c.v1_seg.nii.gz"),
        ("d.TIF", "d_L.png"), ("e.ome.tif", "e.png"),
    ]  # fmt: skip


def test_an_image_that_ends_as_masks_do_keeps_its_own_mask(tmp_path):
    images, masks = folders(tmp_path, ["a.png", "a_gt.png"], ["a.png", "a_gt.png"])
    assert [pair.mask.name for pair in pairs_of(images, masks)] == ["a.png", "a_gt.png"]


@pytest.mark.parametrize(
    ("images", "masks", "told"),
    [
        ("abcde", "a", r"4 images without a mask in .*masks: b.png, c.png, d.png and 1 more; put"),
        ("a", "abc", r"2 masks without an image in .*images: b.png, c.png; put them there under"),
        ("", "", r"images is empty; put images there"),
    ],
)
def test_what_has_no_partner_is_named(tmp_path, images, masks, told):
    names = ([f"{stem}.png" for stem in stems] for stems in (images, masks))
    with pytest.raises(DataError, match=told):
        pairs_of(*folders(tmp_path, *names))


def test_two_files_of_one_stem_are_refused(tmp_path):
    images, masks = folders(tmp_path, ["a.png", "a.jpg"], ["a.png"])
    with pytest.raises(DataError, match=r"images.a.jpg and a.png have one name"):
        pairs_of(images, masks)


def test_what_is_no_image_is_left_out_and_folders_are_volumes(tmp_path):
    images, _ = folders(
        tmp_path, [".DS_Store", "Thumbs.db", "notes.TXT", "a.mhd", "a.raw", "b.nhdr"], []
    )
    for name in ("c.ome.zarr", "patient.1", "patient.2"):
        (images / name).mkdir()
    assert list(files_of(images)) == ["a", "b", "c", "patient.1", "patient.2"]


def test_a_dot_in_a_name_is_part_of_it():
    assert stem_of(Path("slice.7.png")) == "slice.7"
