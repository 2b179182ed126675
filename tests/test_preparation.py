"""One way from pixels to the network's input, against Pillow, torch and plain arithmetic."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from striate.preparation import InputSpec, fit, normalize, prepare, resize, resized_size, to_unit

SIDES = st.integers(2, 40)


@settings(deadline=None)
@given(old=st.tuples(SIDES, SIDES), new=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
def test_resize_is_torch_s_antialiased_bilinear(old, new, seed):
    images = torch.rand(2, 3, *old, generator=torch.Generator().manual_seed(seed))
    expected = F.interpolate(images, size=new, mode="bilinear", antialias=True)
    assert torch.allclose(resize(images, new), expected, atol=1e-5)


@pytest.mark.parametrize("new", [(9, 5), (61, 83), (37, 20)])
def test_resize_is_pillow_s(new):
    image = np.random.default_rng(0).random((37, 53), dtype=np.float32)
    expected = Image.fromarray(image).resize(new[::-1], Image.Resampling.BILINEAR)
    ours = resize(torch.from_numpy(image)[None, None], new)[0, 0]
    assert np.allclose(ours, np.asarray(expected), atol=1e-5)


def test_resize_works_on_volumes_and_keeps_constants():
    assert torch.allclose(
        resize(torch.full((1, 2, 5, 7, 6), 0.3), (3, 9, 11)), torch.tensor(0.3), atol=1e-6
    )


def test_a_size_that_is_right_is_left_alone():
    images = torch.rand(2, 1, 7, 5)
    assert torch.equal(resize(images, (7, 5)), images)


@pytest.mark.parametrize(
    ("stored", "value_range", "unit"),
    [
        (torch.tensor([0, 51, 255], dtype=torch.uint8), (0, 255), [0, 0.2, 1]),
        (torch.tensor([0, 4, 16], dtype=torch.uint8), (0, 16), [0, 0.25, 1]),
        (torch.tensor([-1, 0.5, 1]), (-1, 1), [0, 0.75, 1]),
    ],
)
def test_stored_values_map_to_the_unit_interval(stored, value_range, unit):
    assert to_unit(stored, value_range).tolist() == pytest.approx(unit)


def test_images_stand_in_the_middle_of_the_background_and_are_standardised():
    spec = InputSpec(
        channels=2, image_size=(4, 3), input_size=(9, 6), mean=(0.5, 0.1), std=(0.25, 2),
        background=(0.0, 1.0),
    )  # fmt: skip
    images = torch.rand(5, 2, 4, 3)
    framed = fit(images, spec)
    expected = torch.zeros(5, 2, 9, 6)
    expected[:, 1] = 1
    expected[:, :, 2:6, 1:4] = images
    assert torch.equal(framed, expected)
    normal = normalize(framed, spec)
    assert torch.allclose(normal[:, 0], (framed[:, 0] - 0.5) / 0.25)
    assert torch.allclose(normal[:, 1], (framed[:, 1] - 0.1) / 2)


def test_of_a_larger_image_the_middle_is_read_and_its_aspect_kept():
    spec = InputSpec(
        channels=1, image_size=(12, 16), input_size=(8, 8), mean=(0.5,), std=(0.25,),
        background=(0.0,), training_size=(24, 32),
    )  # fmt: skip
    images = torch.rand(2, 1, 12, 16)
    assert torch.equal(fit(images, spec), images[:, :, 2:10, 4:12])
    assert resized_size((24, 32), spec) == (12, 16)
    assert resized_size((90, 30), spec) == (36, 12)  # another aspect: its own shorter side
    tall = torch.rand(2, 1, 90, 30)
    assert torch.equal(fit(tall, spec), resize(tall, (36, 12))[:, :, 14:22, 2:10])
    framed = spec.model_copy(update={"image_size": (6, 8)})
    assert resized_size((90, 30), framed) == (6, 8)


def test_one_background_for_all_channels_gives_the_same_frame_as_one_for_each():
    images = torch.rand(5, 3, 4, 7)
    spec = InputSpec(
        channels=3, image_size=(4, 7), input_size=(9, 8), mean=(0.0,) * 3, std=(1.0,) * 3,
        background=(0.25,) * 3,
    )  # fmt: skip
    nearly = spec.model_copy(update={"background": (0.25, 0.25, 0.2500001)})
    assert torch.allclose(fit(images, spec), fit(images, nearly))
    assert fit(images, spec).shape == (5, 3, 9, 8)


def test_a_spec_reads_back_equal():
    spec = InputSpec(
        channels=1, image_size=(28, 28), input_size=(32, 32), mean=(0.1,), std=(0.3,),
        background=(0.0,), figure_extent=0.7,
    )  # fmt: skip
    assert InputSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("background", [(0.2, 0.2), (0.0, 0.7)])
@pytest.mark.parametrize("size", [(9, 8), (5, 6), (4, 3), (3, 2), (2, 3)])
def test_preparing_in_fewer_passes_gives_the_same_bits(background, size):
    spec = InputSpec(
        channels=2, image_size=(4, 3), input_size=size, mean=(0.31, 0.1), std=(0.27, 2),
        background=background,
    )  # fmt: skip
    stored = torch.randint(256, (7, 2, 4, 3), dtype=torch.uint8)
    plain = normalize(fit(to_unit(stored, (0, 255)), spec), spec)
    assert torch.equal(prepare(stored, (0, 255), spec), plain)
    floats = stored / 128 - 1
    kept = floats.clone()
    plain = normalize(fit(to_unit(floats, (-1, 1)), spec), spec)
    assert torch.equal(prepare(floats, (-1, 1), spec), plain)
    assert torch.equal(floats, kept)  # the caller's images are not touched
