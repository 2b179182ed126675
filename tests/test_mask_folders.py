"""Folders of images and masks, written and read back: every layout, table and refusal."""

import json
import subprocess

import numpy as np
import pytest
import SimpleITK
import tifffile
import torch
from PIL import Image

from striate.datasets import mask_folders
from striate.datasets.mask_folders import read_mask_folder
from striate.errors import DataError
from striate.volumes import Geometry, Source, open_volume, write_volume

GENERATOR = np.random.default_rng(8)
STATED = "value,name\n0,ground\n1,cell\n2,ignored\n"


def pixels(*size, dtype=np.uint8):
    return GENERATOR.integers(0, 200, size).astype(dtype)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        write_volume(path, array, like=None)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, array, photometric="rgb" if array.shape[-1] == 3 else "minisblack")
    else:
        Image.fromarray(array).save(path)
    return array


def small(folder, masks, *, table=None, suffix="png", part=""):
    """Write a folder of images with these masks."""
    for number, mask in enumerate(masks):
        values = np.asarray(mask)
        write(folder / "images" / part / f"{number}.{suffix}", pixels(*values.shape))
        write(folder / "masks" / part / f"{number}.{suffix}", values)
    if table is not None:
        (folder / "classes.csv").write_text(table)
    return folder


MASK = np.array([[0, 1, 2, 1, 0], [0, 0, 1, 1, 2], [255, 1, 0, 0, 0]], np.uint8)


def test_images_and_masks_are_paired_and_parts_kept(tmp_path):
    written = {}
    for part, count in (("train", 3), ("val", 2), ("test", 1)):
        for number in range(count):
            name = f"{part}{number}"
            image = write(tmp_path / "images" / part / f"{name}.png", pixels(3, 5))
            mask = write(tmp_path / "masks" / part / f"{name}_mask.tif", np.roll(MASK, number))
            written[f"{name}.png"] = image, mask
    masks = read_mask_folder(tmp_path, ("train", "validation", "test"))
    assert {part: len(images) for part, images in masks.parts.items()} == {
        "train": 3, "validation": 2, "test": 1,
    }  # fmt: skip
    assert (masks.name, masks.classes, masks.modalities) == (tmp_path.name, ("0", "1", "2"), ("",))
    for each in (each for images in masks.parts.values() for each in images):
        image, mask = written.pop(each.name)
        assert np.array_equal(each.image[0].numpy(), image)
        assert np.array_equal(each.mask.numpy(), mask)
    assert not written
    alone = read_mask_folder(tmp_path, ("test",))
    assert list(alone.parts) == ["test"]
    assert alone.classes == ("0", "1", "2")


def test_a_part_that_is_not_there_is_refused_if_it_alone_is_asked_for(tmp_path):
    small(tmp_path, [MASK])
    assert list(read_mask_folder(tmp_path, ("train", "test")).parts) == ["train"]
    with pytest.raises(DataError, match=r"has no test part, only train; evaluate .* with --data"):
        read_mask_folder(tmp_path, ("test",))


def test_a_stack_is_a_volume_and_16_bits_are_kept(tmp_path):
    image = write(tmp_path / "images" / "a.tif", pixels(4, 5, 7, dtype=np.uint16) * 300)
    mask = write(tmp_path / "masks" / "a.tif", pixels(4, 5, 7) % 2)
    (each,) = read_mask_folder(tmp_path, ("train",)).parts["train"]
    assert each.stored == "uint16"
    assert np.array_equal(each.image[0].numpy(), image)
    assert np.array_equal(each.mask.numpy(), mask)


def test_a_zarr_is_an_image_and_its_mask_another_format(tmp_path):
    (tmp_path / "images").mkdir()
    image = pixels(3, 5, 7, dtype=np.uint16)
    write_volume(tmp_path / "images" / "a.ome.zarr", image, like=None)
    mask = write(tmp_path / "masks" / "a.tif", pixels(3, 5, 7) % 2)
    (each,) = read_mask_folder(tmp_path, ("train",)).parts["train"]
    assert (each.name, each.stored) == ("a.ome.zarr", "uint16")
    assert np.array_equal(each.image[0].numpy(), image)
    assert np.array_equal(each.mask.numpy(), mask)


def test_a_folder_of_dicom_slices_is_an_image(tmp_path):
    folder = tmp_path / "images" / "patient.1"
    folder.mkdir(parents=True)
    image = pixels(3, 5, 7, dtype=np.int16) - 1000
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, page in enumerate(image):
        picture = SimpleITK.GetImageFromArray(page[None])
        picture.SetOrigin((0, 0, number))
        for tag, value in {
            "0008|0060": "CT", "0020|000e": "1.2.3", "0020|000d": "1.2",
            "0008|0018": f"1.2.3.{number + 1}", "0020|0032": f"0\\0\\{number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():  # fmt: skip
            picture.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{number}.dcm"))
        writer.Execute(picture)
    mask = pixels(3, 5, 7) % 2
    (tmp_path / "masks").mkdir()
    with open_volume(folder) as source:
        write_volume(tmp_path / "masks" / "patient.1.nii.gz", mask, like=source)
    masks = read_mask_folder(tmp_path, ("train",))
    (each,) = masks.parts["train"]
    assert (each.name, each.spacing, masks.notes) == ("patient.1", (1, 1, 1), ())
    assert np.array_equal(each.image[0].numpy(), image)
    assert np.array_equal(each.mask.numpy(), mask)


def test_nnunet_s_channels_and_left_out_value(tmp_path):
    facts = {
        "channel_names": {"0": "CT", "1": "PET"}, "file_ending": ".nii.gz",
        "labels": {"background": 0, "liver": 1, "ignore": 2},
    }  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    ct = write(tmp_path / "imagesTr" / "a_0000.nii.gz", pixels(3, 4, 5).astype(np.float32) - 1e3)
    write(tmp_path / "imagesTr" / "a_0001.nii.gz", pixels(3, 4, 5).astype(np.float32))
    mask = write(tmp_path / "labelsTr" / "a.nii.gz", pixels(3, 4, 5) % 3)
    masks = read_mask_folder(tmp_path, ("train",))
    assert (masks.classes, masks.modalities) == (("background", "liver"), ("CT", "PET"))
    (each,) = masks.parts["train"]
    assert np.array_equal(each.image[0].numpy(), ct)
    assert np.array_equal(each.mask.numpy(), np.where(mask == 2, 255, mask))
    assert each.spacing == (1, 1, 1)


def test_a_decathlon_folder_whose_images_have_other_channels_than_described(tmp_path):
    facts = {
        "modality": {"0": "T1", "1": "T2"}, "labels": {"0": "ground", "1": "cell"},
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    }  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    write(tmp_path / "labelsTr" / "a.nii.gz", pixels(3, 4, 5) % 2)
    write(tmp_path / "imagesTr" / "a.nii.gz", pixels(2, 3, 4, 5))
    assert read_mask_folder(tmp_path, ("train",)).parts["train"][0].image.shape == (2, 3, 4, 5)
    write(tmp_path / "imagesTr" / "a.nii.gz", pixels(3, 4, 5))
    with pytest.raises(DataError, match=r"describes 2 channels \(T1, T2\), but the images have 1"):
        read_mask_folder(tmp_path, ("train",))


def test_a_table_names_colors(tmp_path):
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
    for suffix in ("png", "tif"):
        places = pixels(6, 7) % 4
        write(tmp_path / suffix / "images" / f"a.{suffix}", pixels(6, 7))
        write(tmp_path / suffix / "masks" / f"a.{suffix}", colors[places])
        table = "color,name\n#000000,ground\n#ff0000,cell\n#0000ff,cell\n#ffffff,ignored\n"
        (tmp_path / suffix / "classes.csv").write_text(table)
        masks = read_mask_folder(tmp_path / suffix, ("train",))
        assert masks.classes == ("ground", "cell")
        expected = np.array([0, 1, 1, 255])[places]
        assert np.array_equal(masks.parts["train"][0].mask.numpy(), expected)


def test_a_palette_is_read_by_index_or_color_as_the_table_says(tmp_path):
    picture = Image.fromarray(MASK % 3, "P")
    picture.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    write(tmp_path / "images" / "a.png", pixels(3, 5))
    (tmp_path / "masks").mkdir()
    picture.save(tmp_path / "masks" / "a.png")
    by_index = read_mask_folder(tmp_path, ("train",)).parts["train"][0].mask
    assert np.array_equal(by_index.numpy(), MASK % 3)
    (tmp_path / "classes.csv").write_text("color,name\n#c80000,a\n#000000,b\n#090909,c\n")
    by_color = read_mask_folder(tmp_path, ("train",)).parts["train"][0].mask
    assert np.array_equal(by_color.numpy(), np.array([1, 2, 0])[MASK % 3])


def test_values_and_255_are_left_out_as_the_table_says(tmp_path):
    mask = read_mask_folder(small(tmp_path, [MASK], table=STATED), ("train",)).parts["train"][0]
    assert np.array_equal(mask.mask.numpy(), np.where(MASK == 2, 255, MASK))


def test_masks_of_0_and_255_need_the_table_that_is_told(tmp_path):
    small(tmp_path, [255 * (MASK == 1).astype(np.uint8)] * 2)
    with pytest.raises(DataError, match=r"hold 0, 255") as refusal:
        read_mask_folder(tmp_path, ("train",))
    subprocess.run(str(refusal.value).split("own names: ")[1], shell=True, check=True)
    masks = read_mask_folder(tmp_path, ("train",))
    assert masks.classes == ("background", "object1")
    assert np.array_equal(masks.parts["train"][0].mask.numpy(), MASK == 1)


def test_a_validation_mask_with_more_classes_than_training_is_refused_by_name(tmp_path):
    small(tmp_path, [MASK], part="train")
    small(tmp_path, [MASK % 2, MASK // 85], part="val")
    assert read_mask_folder(tmp_path, ("train",)).classes == ("0", "1", "2")
    with pytest.raises(DataError, match=r"masks.val.1.png holds 3, which no training mask holds"):
        read_mask_folder(tmp_path, ("train", "validation"))


def test_a_mask_of_another_size_is_refused(tmp_path):
    small(tmp_path, [MASK, MASK])
    write(tmp_path / "masks" / "1.png", MASK.T)
    with pytest.raises(DataError, match=r"1.png: the image is 3x5, its mask 5x3"):
        read_mask_folder(tmp_path, ("train",))


def test_pixels_without_a_number_are_refused(tmp_path):
    small(tmp_path, [MASK], suffix="tif")
    write(tmp_path / "images" / "0.tif", np.full((3, 5), np.nan, np.float32))
    with pytest.raises(DataError, match=r"0.tif holds NaN or infinite pixels"):
        read_mask_folder(tmp_path, ("train",))


def test_what_was_done_to_images_is_told_once_with_names(tmp_path):
    exif = Image.Exif()
    exif[274] = 3
    small(tmp_path, [MASK] * 4)
    for number in range(3):
        (tmp_path / "images" / f"{number}.png").unlink()
        path = tmp_path / "images" / f"{number}.jpg"
        Image.fromarray(pixels(3, 5)).save(path, exif=exif)
    assert read_mask_folder(tmp_path, ("train",)).notes == (
        "turned upright by EXIF orientation 3: 0.jpg, 1.jpg and 1 more",
    )


def test_a_mask_that_lies_elsewhere_is_told(tmp_path):
    image = pixels(3, 4, 5)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for name, folder, shift in (
        ("a", "images", 1.5), ("a", "masks", 1.5), ("b", "images", 0.0), ("b", "masks", 2.5),
    ):  # fmt: skip
        affine = np.eye(4)
        affine[0, 3] = shift
        geometry = Geometry((1, 1, 1), "mm", affine)
        like = Source(tmp_path, "", (1, 3, 4, 5), image.dtype, lambda region: image, geometry)
        write_volume(tmp_path / folder / f"{name}.nii", image % 2, like=like)
    (note,) = read_mask_folder(tmp_path, ("train",)).notes
    assert note.startswith("its mask lies elsewhere, as the files' affines say")
    assert note.endswith(": b.nii")


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    small(tmp_path, [MASK] * 3)
    (tmp_path / "images" / "2.png").write_bytes((tmp_path / "images" / "2.png").read_bytes()[:60])
    monkeypatch.setattr(mask_folders, "available_memory", lambda: 60)
    with pytest.raises(DataError, match=r"the 3 images and masks take 90B in memory, and 60B"):
        read_mask_folder(tmp_path, ("train",))
    monkeypatch.setattr(mask_folders, "available_memory", lambda: 90)
    with pytest.raises(DataError, match=r"2.png is a PNG file that is damaged or cut short"):
        read_mask_folder(tmp_path, ("train",))


def test_masks_are_bytes(tmp_path):
    small(tmp_path, [MASK.astype(np.int32)], suffix="tif")
    assert read_mask_folder(tmp_path, ("train",)).parts["train"][0].mask.dtype == torch.uint8
