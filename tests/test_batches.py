"""Batches: every image once, nothing mixed, the same numbers however they are cut."""

import pytest
import torch

from striate.augmentation import mirror, outside_color, shift_colors, shift_pixels
from striate.batches import (
    input_spec,
    load_training_data,
    sized,
    split_by_class,
    steps_per_epoch,
    training_batches,
)
from striate.datasets.sets import Part
from striate.misfits import misfits, suited
from striate.models import with_defaults
from striate.preparation import normalize, prepare
from striate.randomness import uniforms
from striate.recipes import Recipe
from striate.windows import take_windows

RECIPE = Recipe(network="lecun1990", data="bars", batch_size=8)
RANGE = (0.0, 255.0)


@pytest.fixture
def spec(part):
    return input_spec(part.images, RANGE, (1, 28, 28), RECIPE)


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(part, spec):
    epochs = []
    for epoch in range(3):
        batches = list(training_batches(part, RANGE, spec, RECIPE, epoch))
        assert [len(batch.targets) for batch in batches] == [8] * 6 + [3]
        indices = torch.cat([batch.indices for batch in batches])
        assert sorted(indices.tolist()) == list(range(51))
        targets = torch.cat([batch.targets for batch in batches])
        assert torch.equal(targets, part.targets[indices])
        epochs.append(indices.tolist())
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("batch_size", [1, 2, 5, 10, 25, 50, 51, 100])
def test_no_step_has_a_single_image_unless_all_have(part, spec, batch_size):
    recipe = RECIPE.replace(batch_size=batch_size)
    sizes = [len(batch.targets) for batch in training_batches(part, RANGE, spec, recipe, 0)]
    assert sum(sizes) == 51
    assert len(sizes) == steps_per_epoch(51, batch_size)
    assert min(sizes) >= min(2, batch_size)
    assert max(sizes) <= batch_size + 1
    assert set(sizes[:-1]) <= {batch_size}


def test_an_epoch_begun_later_gives_the_same_batches(part, spec):
    recipe = RECIPE.replace(rotation=10, shift=1)
    whole = list(training_batches(part, RANGE, spec, recipe, 4))
    rest = list(training_batches(part, RANGE, spec, recipe, 4, first_step=5))
    assert len(rest) == 2
    for one, other in zip(whole[5:], rest, strict=True):
        assert torch.equal(one.images, other.images)


def test_batches_are_the_prepared_images(part, spec):
    batch = next(training_batches(part, RANGE, spec, RECIPE, 0))
    assert torch.equal(batch.images, prepare(part.images[batch.indices], RANGE, spec))


def test_batches_are_flipped_and_shifted_copies_of_the_prepared_images(part, spec):
    recipe = RECIPE.replace(flip=True, crop_padding=2)
    batch = next(training_batches(part, RANGE, spec, recipe, 3))
    plain = prepare(part.images[batch.indices], RANGE, spec)
    outside = outside_color(spec)
    mirrored = torch.where(
        (uniforms(0, 3, batch.indices, "flip", 1) < 0.5)[:, :, None, None], plain.flip(-1), plain
    )
    assert not torch.equal(mirrored, plain)
    expected = shift_pixels(mirrored, recipe, 3, batch.indices, outside)
    assert torch.equal(batch.images, expected)
    assert not torch.equal(expected, mirrored)
    assert batch.images.min() >= plain.min()  # the background comes in, nothing darker


@pytest.mark.parametrize(
    ("changes", "exact"),
    [
        ({"flip": True, "crop_padding": 3}, True),
        ({"crop": "random", "image_size": 33, "flip": True}, True),
        ({"crop": "random", "image_size": 30, "side_range": (29, 40), "flip": True}, False),
        ({"crop": "area", "image_size": 30, "shift": 2, "crop_padding": 1}, False),
    ],
)
def test_an_image_is_changed_the_same_in_any_batch(part, changes, exact):
    seen = []
    for batch_size in (51, 7):
        recipe = RECIPE.replace(batch_size=batch_size, **changes)
        spec = input_spec(part.images, RANGE, (1, 28, 28), recipe)
        batches = list(training_batches(part, RANGE, spec, recipe, 2))
        places = torch.cat([batch.indices for batch in batches]).argsort()
        seen.append(torch.cat([batch.images for batch in batches])[places])
    assert torch.allclose(*seen, rtol=0, atol=0 if exact else 1e-5)


def test_held_out_images_are_stratified_and_neither_lost_nor_shared(part):
    numbered = Part(torch.arange(51).view(51, 1, 1, 1), part.targets)
    training, validation = split_by_class(numbered, 0.3, seed=5)
    assert torch.bincount(validation.targets).tolist() == [5, 5, 5]
    together = torch.cat([training.images, validation.images]).flatten()
    assert sorted(together.tolist()) == list(range(51))
    assert torch.equal(part.targets[validation.images.flatten()], validation.targets)
    again = split_by_class(numbered, 0.3, seed=5)[1]
    assert torch.equal(again.images, validation.images)
    assert not torch.equal(split_by_class(numbered, 0.3, seed=6)[1].images, validation.images)


def test_a_class_of_one_image_stays_in_training():
    part = Part(torch.zeros(5, 1, 2, 2), torch.tensor([0, 0, 0, 0, 1]))
    training, validation = split_by_class(part, 0.01, seed=0)
    assert validation.targets.tolist() == [0]
    assert 1 in training.targets


def test_the_input_is_standardised_by_the_training_images(part, spec):
    prepared = prepare(part.images, RANGE, spec)[:, :, 6:22, 6:22]
    assert prepared.mean().abs() < 1e-4
    assert prepared.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_floats_are_measured_as_bytes_are(part, spec):
    same = input_spec(part.images.float(), RANGE, (1, 28, 28), RECIPE)
    assert same.mean == pytest.approx(spec.mean)
    assert same.std == pytest.approx(spec.std)


def test_an_input_range_maps_black_and_white(part):
    recipe = RECIPE.replace(input_range=(-0.1, 1.175))
    spec = input_spec(part.images, RANGE, (1, 16, 16), recipe)
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 16, 16)
    prepared = prepare(ends, RANGE, spec)
    assert torch.allclose(prepared[:, 0, 0, 0], torch.tensor([-0.1, 1.175]))


@pytest.mark.parametrize(
    ("own", "wanted", "asked", "size"),
    [
        (16, 28, None, 16),  # fits: padded
        (28, 32, None, 28),
        (8, 32, None, 32),  # less than half: enlarged
        (28, 16, None, 16),  # too large: reduced
        (28, 32, 20, 20),
    ],
)
def test_images_keep_their_size_if_it_fits(own, wanted, asked, size):
    images = torch.randint(255, (5, 1, own, own), dtype=torch.uint8)
    spec = input_spec(images, RANGE, (1, wanted, wanted), RECIPE.replace(image_size=asked))
    assert spec.image_size == (size, size)
    assert prepare(images, RANGE, spec).shape == (5, 1, wanted, wanted)


@pytest.mark.parametrize(
    ("own", "side", "size"),
    [((16, 16), 40, (40, 40)), ((375, 500), 256, (256, 341)), ((500, 375), 29, (39, 29))],
)
def test_an_image_size_beyond_the_input_is_the_shorter_side(own, side, size):
    images = torch.randint(255, (3, 1, *own), dtype=torch.uint8)
    spec = input_spec(images, RANGE, (1, 28, 28), RECIPE.replace(image_size=side))
    assert (spec.image_size, spec.input_size) == (size, (28, 28))
    assert spec.has_window
    assert prepare(images, RANGE, spec).shape == (3, 1, 28, 28)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"crop": "random"},
            "crop random takes a window of a larger image, but lecun1990 reads 28x28 and images "
            "are 16x16; --image-size above 28, or --crop center",
        ),
        (
            {"crop": "random", "image_size": 28},
            "crop random takes a window of a larger image, but lecun1990 reads 28x28 and images "
            "are 28x28; --image-size above 28, or --crop center",
        ),
        (
            {"crop": "area"},
            "crop area resizes to all of the input, but lecun1990 reads 28x28 and images are "
            "16x16; --image-size 28 or more, or --crop center",
        ),
        (
            {"crop": "random", "image_size": 40, "side_range": "27,50"},
            "side_range begins at 27, but lecun1990 reads 28x28; --side-range from 28 on",
        ),
        (
            {"crop_padding": 28},
            "crop_padding is 28, so that images may leave the input of 28x28 altogether; "
            "--crop-padding below 28",
        ),
        (
            {"pca_color": 0.1},
            "pca_color shifts red, green and blue, but the images have 1 channel; --pca-color 0",
        ),
        ({"patience": 3}, "patience needs a validation part; --validation 0.1"),
        ({"schedule": "plateau"}, "schedule plateau needs a validation part; --validation 0.1"),
    ],
)
def test_what_the_images_do_not_allow_is_told_with_the_option_that_changes_it(
    part, changes, message
):
    recipe = RECIPE.replace(**changes)
    spec = input_spec(part.images, RANGE, (1, 28, 28), recipe)
    (misfit,) = misfits(recipe, spec, has_validation=False)
    assert "; ".join(misfit) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"crop": "random", "image_size": 29, "side_range": "28,50", "crop_padding": 27},
        {"crop": "area", "image_size": 28, "patience": 3, "schedule": "plateau"},
        {"crop": "random", "side_range": "28,31"},
    ],
)
def test_what_the_images_just_allow_is_no_misfit(part, changes):
    recipe = RECIPE.replace(**changes)
    spec = input_spec(part.images, RANGE, (1, 28, 28), recipe)
    assert misfits(recipe, spec, has_validation=True) == []


def test_without_an_image_size_images_are_as_large_as_the_middle_of_side_range(part):
    recipe = RECIPE.replace(crop="random", side_range=(31, 50))
    spec = input_spec(part.images, RANGE, (1, 28, 28), recipe)
    assert spec.image_size == (40, 40)
    spec = input_spec(part.images, RANGE, (1, 28, 28), recipe.replace(image_size=33))
    assert spec.image_size == (33, 33)


def test_the_shift_of_colours_is_in_the_batches(part):
    recipe = RECIPE.replace(pca_color=0.1)
    colour = Part(part.images * torch.tensor([1, 0, 1], dtype=torch.uint8)[:, None, None], part[1])
    spec = input_spec(colour.images, RANGE, (3, 28, 28), recipe)
    assert spec.color_axes is not None
    batch = next(training_batches(colour, RANGE, spec, recipe, 1))
    plain = prepare(colour.images[batch.indices], RANGE, spec)
    assert torch.equal(batch.images, shift_colors(plain, spec, recipe, 1, batch.indices))
    assert not torch.allclose(batch.images, plain, atol=1e-3)
    assert input_spec(colour.images, RANGE, (3, 28, 28), RECIPE).color_axes is None


@pytest.mark.parametrize("crop", ["random", "area"])
def test_batches_are_windows_flipped_normalised_and_the_same_from_any_start(part, crop):
    recipe = RECIPE.replace(crop=crop, image_size=32, flip=True, rotation=10)
    spec = input_spec(part.images, RANGE, (1, 28, 28), recipe)
    whole = list(training_batches(part, RANGE, spec, recipe, 4))
    rest = list(training_batches(part, RANGE, spec, recipe, 4, first_step=5))
    assert [batch.images.shape[1:] for batch in whole] == [(1, 28, 28)] * 7
    for one, other in zip(whole[5:], rest, strict=True):
        assert torch.equal(one.images, other.images)
    batch = next(training_batches(part, RANGE, spec, recipe.replace(rotation=0), 4))
    stored = mirror(part.images[batch.indices], recipe, 4, batch.indices)
    windows = take_windows(stored, RANGE, spec, recipe, 4, batch.indices)
    assert torch.equal(batch.images, normalize(windows, spec))


def test_the_background_is_what_lies_along_the_borders():
    images = torch.full((7, 1, 9, 9), 200, dtype=torch.uint8)
    images[:, :, 2:7, 2:7] = 10
    spec = input_spec(images, RANGE, (1, 16, 16), RECIPE)
    assert spec.background == pytest.approx((200 / 255,))
    assert prepare(images, RANGE, spec)[0, 0, 0, 0] == pytest.approx(
        (200 / 255 - spec.mean[0]) / spec.std[0], rel=1e-4
    )


def test_a_constant_channel_is_not_divided_by_zero():
    images = torch.full((5, 1, 16, 16), 9, dtype=torch.uint8)
    spec = input_spec(images, RANGE, (1, 16, 16), RECIPE)
    assert spec.std == (1.0,)
    assert prepare(images, RANGE, spec).abs().max() < 1e-6


@pytest.mark.parametrize("size", [1, 5, 19, 100, 1197, 60_000])
def test_small_sets_get_at_least_20_steps_an_epoch_and_1200_in_all(size):
    recipe = sized(RECIPE.replace(batch_size=128, epochs=20), (), size)
    steps = steps_per_epoch(size, recipe.batch_size)
    assert steps >= min(20, size)
    assert steps * recipe.epochs >= 1200
    given = {"batch_size", "epochs"}
    assert sized(RECIPE, given, size) == RECIPE


def test_training_never_reads_the_test_part(small_set):
    for name in ("images-idx3", "labels-idx1"):
        (small_set / f"t10k-{name}-ubyte").write_bytes(b"damaged")
    data = load_training_data(Recipe(network="lecun1990", data=str(small_set), validation=0.2))
    assert (len(data.training.targets), len(data.validation.targets)) == (42, 9)
    everything = load_training_data(Recipe(network="lecun1990", data=str(small_set), validation=0))
    assert everything.validation is None
    assert len(everything.training.targets) == 51


def test_the_validation_part_of_a_set_is_used_as_it_is():
    data = load_training_data(Recipe(network="lenet5", data="digits"))
    assert (len(data.training.targets), len(data.validation.targets)) == (1197, 300)


def test_what_a_network_s_own_recipe_has_gives_way_to_the_images_and_is_told():
    own = with_defaults(Recipe(network="resnet18", data="digits", image_size=32))
    recipe, notes = suited(own, {"network", "data", "image_size"}, 1, (3, 224, 224))
    assert (recipe.pca_color, recipe.crop, recipe.side_range) == (0, "center", None)
    assert recipe.protocol == "single"
    assert notes == [
        "pca_color of resnet18 is off: it shifts red, green and blue, the images have 1 channel",
        "crop and protocol of resnet18 are off: at image_size 32 there is no room around its 224 "
        "pixels",
    ]
    assert suited(recipe, {"network", "data", "image_size"}, 1, (3, 224, 224)) == (recipe, [])


def test_what_a_person_chose_does_not_give_way():
    own = with_defaults(Recipe(network="resnet18", data="digits", image_size=32))
    given = {"network", "data", "image_size", "pca_color", "crop", "protocol"}
    assert suited(own, given, 1, (3, 224, 224)) == (own, [])
    colour = with_defaults(Recipe(network="resnet18", data="photographs"))
    assert suited(colour, {"network", "data"}, 3, (3, 224, 224)) == (colour, [])


def test_right_angles_take_the_place_of_a_network_s_own_mirrors_unless_both_are_typed():
    recipe = RECIPE.replace(flip=True, turns=True)
    assert not suited(recipe, ["turns"], 1, (1, 28, 28))[0].flip
    assert suited(recipe, ["turns", "flip"], 1, (1, 28, 28))[0].flip
    assert suited(recipe.replace(turns=False), [], 1, (1, 28, 28))[0].flip
