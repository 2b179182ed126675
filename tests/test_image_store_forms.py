"""Reducing images: never enlarged, one level from the exact answer, every type kept."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.image_store.forms import Form, keep, resized
from striate.images import DecodedImage
from striate.preparation import resize

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


@given(own=SIZES, side=st.integers(1, 80))
def test_the_shorter_side_is_reduced_and_the_aspect_kept_and_nothing_grows(own, side):
    height, width = Form(side=side).reduced(own)
    assert min(height, width) == min(min(own), side)
    assert height <= own[0]
    assert width <= own[1]
    assert height / width == pytest.approx(own[0] / own[1], abs=0.5 / min(height, width) * 61)


@given(own=SIZES, size=SIZES)
def test_each_axis_is_reduced_by_itself_to_an_exact_size(own, size):
    assert Form(size=size).reduced(own) == (min(own[0], size[0]), min(own[1], size[1]))


@settings(deadline=None)
@given(own=SIZES, new=SIZES, channels=st.integers(1, 6), seed=st.integers(0, 99))
def test_bytes_are_within_one_level_of_the_exact_resize_and_others_equal_it(
    own, new, channels, seed
):
    draw = np.random.default_rng(seed)
    levels = draw.integers(0, 256, (*own, channels), dtype=np.uint8)
    planes = torch.from_numpy(levels.astype(np.float32)).permute(2, 0, 1)[None]
    exact = resize(planes, new)[0].permute(1, 2, 0).numpy()
    small = resized(levels, new)
    assert small.dtype == np.uint8
    assert np.abs(small.astype(np.float32) - exact).max() <= 1.01  # rounded twice
    floats = levels.astype(np.float32) / 255
    assert np.allclose(resized(floats, new), exact / 255, rtol=0, atol=1e-6)
    words = levels.astype(np.uint16) * 257
    assert np.abs(resized(words, new) - exact * 257).max() <= 0.51


def test_an_image_of_the_right_size_is_the_very_same():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert keep(DecodedImage(pixels, 255, ()), Form(side=2)).pixels is pixels


def test_transparency_is_laid_on_its_ground_and_rounded_to_the_type_of_the_file():
    half = np.array([[[100, 50, 0, 128]]], np.uint8)
    kept = keep(DecodedImage(half, 255, ("from a camera",), has_alpha=True), Form(side=9))
    assert kept.pixels.dtype == np.uint8
    assert kept.pixels.tolist() == [[[177, 152, 127]]]  # 128/255 of it, the rest white
    assert kept.notes == ("from a camera", "transparency laid on white")


def test_a_photograph_decoded_at_a_half_is_reduced_to_what_the_whole_would_be():
    half = DecodedImage(np.zeros((188, 250, 3), np.uint8), 255, (), reduced_from=(375, 500))
    kept = keep(half, Form(side=100))
    assert kept.own_size == (375, 500)
    assert kept.pixels.shape == (100, 133, 3)
