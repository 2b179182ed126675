"""Images with masks: parts, slices, standardisation, balance and the length of an epoch."""

import numpy as np
import pytest
import tifffile
import torch

from striate.datasets.masks import MaskedImage
from striate.errors import DataError, UsageError
from striate.losses import balanced
from striate.mask_data import (
    MaskData,
    as_shown,
    class_shares,
    class_weights,
    fitted,
    load_mask_data,
    tile_spec,
    tiles_per_epoch,
    with_weights,
)
from striate.models.unet_borders import border_weights
from striate.patches import Tiles
from striate.recipes import Recipe

RECIPE = Recipe(network="unet", data="isbi2012")


def image(*size, channels=1, low=0, dtype=torch.uint8, seed=0, spacing=None):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(low, low + 200, (channels, *size), generator=generator).to(dtype)
    mask = torch.randint(0, 3, size, generator=generator).to(torch.uint8)
    return MaskedImage(f"image {seed}", pixels, mask, spacing)


def data_of(*training, modalities=("",), validation=()):
    return MaskData(training, validation, ("a", "b", "c"), modalities, "", "here")


def test_isbi_s_parts_are_of_both_halves_of_the_stack(isbi2012):
    loaded = load_mask_data(RECIPE, 2, isbi2012.parent)
    assert (len(loaded.training), len(loaded.validation)) == (22, 2)
    assert loaded.classes == ("membrane", "cell")
    membranes = [float((each.mask == 0).float().mean()) for each in loaded.training]
    assert 0.19 < np.mean(membranes) < 0.25
    spec = tile_spec(loaded, (64, 64), RECIPE)
    assert (spec.intensity, spec.dtype, spec.channels) == ("set", "uint8", 1)


def test_hippocampus_is_standardised_volume_by_volume(hippocampus):
    recipe = RECIPE.replace(network="vnet", data="hippocampus")
    loaded = load_mask_data(recipe, 3, hippocampus.parent)
    assert (len(loaded.training), len(loaded.validation)) == (56, 8)
    spec = tile_spec(loaded, (16, 16, 16), recipe)
    assert (spec.intensity, spec.spacing) == ("image", (1.0, 1.0, 1.0))
    names = [each.name for each in (*loaded.training, *loaded.validation)]
    assert len({*names}) == 64


def test_without_validation_all_the_rest_of_the_set_trains(isbi2012):
    loaded = load_mask_data(RECIPE.replace(validation=0), 2, isbi2012.parent)
    assert (len(loaded.training), len(loaded.validation)) == (22, 0)


def test_a_network_for_images_sees_volumes_slice_by_slice():
    volume = image(3, 4, 5, spacing=(9.0, 2.0, 1.0))
    slices = fitted([volume], 2, "unet")
    assert [each.name for each in slices] == [f"image 0, slice {i}" for i in range(3)]
    assert torch.equal(slices[1].image, volume.image[:, 1])
    assert torch.equal(slices[2].mask, volume.mask[2])
    assert slices[0].spacing == (2.0, 1.0)
    with pytest.raises(UsageError, match=r"vnet reads volumes of 3 axes, but image 0 has 2"):
        fitted([image(4, 5)], 3, "vnet")


@pytest.mark.parametrize(
    ("modalities", "axes", "dtype", "wanted"),
    [
        (("CT",), 3, torch.int16, "ct"), (("MRI",), 2, torch.uint8, "image"),
        (("",), 3, torch.uint8, "image"), (("",), 2, torch.uint8, "set"),
        (("FLAIR", "T1w"), 2, torch.uint8, "image"), (("EM",), 2, torch.uint8, "set"),
    ],
)  # fmt: skip
def test_intensity_follows_what_made_the_images(modalities, axes, dtype, wanted):
    each = image(*(6,) * axes, dtype=dtype, channels=len(modalities))
    loaded = data_of(each, modalities=modalities)
    assert tile_spec(loaded, (4,) * axes, RECIPE).intensity == wanted
    assert tile_spec(loaded, (4,) * axes, RECIPE.replace(intensity="set")).intensity == "set"


def test_ct_keeps_the_middle_of_the_values_inside_the_masks():
    each = image(20, 30, dtype=torch.float32)
    each.image[:, each.mask == 0] = 1e6
    spec = tile_spec(data_of(each), (4, 4), RECIPE.replace(intensity="ct"))
    inside = each.image[0][each.mask != 0].numpy()
    assert spec.low[0] == pytest.approx(np.percentile(inside, 0.5), abs=1e-3)
    assert spec.high[0] == pytest.approx(np.percentile(inside, 99.5), abs=1e-3)
    kept = np.clip(each.image.numpy(), spec.low[0], spec.high[0])
    assert (spec.mean[0], spec.std[0]) == pytest.approx((kept.mean(), kept.std()), rel=1e-5)
    empty = each._replace(mask=torch.zeros_like(each.mask))
    with pytest.raises(DataError, match=r"all masks are empty.*--intensity set"):
        tile_spec(data_of(empty), (4, 4), RECIPE.replace(intensity="ct"))


def test_masks_of_one_class_alone_teach_nothing_and_what_is_odd_is_told(isbi2012, tmp_path):
    folder = tmp_path / "cells"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.csv").write_text("value,name\n0,ground\n1,cell\n")
    pixels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    for number in range(3):
        tifffile.imwrite(folder / "images" / f"{number}.tif", pixels)
        tifffile.imwrite(folder / "masks" / f"{number}.tif", pixels * 0)
    recipe = RECIPE.replace(data=str(folder))
    with pytest.raises(DataError, match=r"all training masks of .*cells hold one class alone"):
        load_mask_data(recipe, 2)
    tifffile.imwrite(folder / "masks" / "1.tif", pixels % 2)
    notes = load_mask_data(recipe, 2).notes
    assert notes == ("train: no class but ground in the mask of 0.tif, 2.tif",)
    assert load_mask_data(RECIPE, 2, isbi2012.parent).notes == ()


def test_balanced_classes_weigh_the_same_and_one_on_average():
    masks = [torch.tensor([[0, 0, 0, 1], [255, 2, 0, 0]], dtype=torch.uint8)]
    part = [MaskedImage("", mask[None].float(), mask) for mask in masks]
    shares = class_shares(part, 3)
    assert shares == pytest.approx([5 / 7, 1 / 7, 1 / 7])
    weights = balanced(shares)
    assert [w * s for w, s in zip(weights, shares, strict=True)] == pytest.approx([1 / 3] * 3)
    assert balanced([0.5, 0.0, 0.5]) == (1.0, 1.0, 1.0)


def test_weights_of_pixels_hold_the_weights_of_their_classes():
    each = image(16, 17)
    recipe = RECIPE.replace(border_weight=4, border_sigma=2)
    plain = with_weights(data_of(each), recipe)[0]
    wanted = border_weights(each.mask.numpy(), w0=4, sigma=2, balance=(1, 1, 1))
    assert np.array_equal(plain.numpy(), wanted)
    weighed = recipe.replace(class_weights="balanced")
    balance = class_weights(data_of(each), weighed)
    wanted = border_weights(each.mask.numpy(), w0=4, sigma=2, balance=balance)
    assert np.array_equal(with_weights(data_of(each), weighed)[0].numpy(), wanted)
    assert with_weights(data_of(each), RECIPE) is None


def test_an_epoch_covers_the_images_once_in_whole_batches_of_at_least_twenty():
    part = [image(100, 100), image(50, 100)]
    assert tiles_per_epoch(part, (10, 10), 4) == 152  # 150 tiles cover them
    assert tiles_per_epoch(part, (50, 50), 4) == 80


def test_a_slice_is_standardised_as_its_volume_is_in_training_and_in_evaluation():
    volume = image(5, 6, 7, dtype=torch.float32)
    volume.image[:] += torch.arange(5.0).view(1, 5, 1, 1) * 100
    slices = fitted([volume], 2, "unet")
    spec = tile_spec(data_of(*slices, modalities=("MRI",)), (4, 4), RECIPE)
    assert spec.intensity == "image"
    whole = as_shown(volume, spec)
    for number, each in enumerate(slices):
        assert torch.allclose(as_shown(each, spec), whole[:, number], atol=1e-6)
        tiles = Tiles([each], spec.model_copy(update={"tile": (6, 7)}), (6, 7), RECIPE)
        seen = tiles.batch(0, torch.tensor([0])).images[0]
        assert torch.allclose(seen, whole[:, number], atol=1e-6)


def test_another_depth_is_brought_to_that_of_training_and_mixed_ones_are_refused():
    bytes_ = image(6, 7)
    spec = tile_spec(data_of(bytes_), (4, 4), RECIPE)
    deep = bytes_._replace(image=bytes_.image.to(torch.int32) * 257, stored="uint16")
    assert torch.allclose(as_shown(deep, spec), as_shown(bytes_, spec), atol=1e-5)
    with pytest.raises(DataError, match=r"stored as uint16 and uint8.*--intensity image"):
        tile_spec(data_of(bytes_, deep), (4, 4), RECIPE.replace(intensity="set"))
