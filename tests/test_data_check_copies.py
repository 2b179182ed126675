"""Copies: the same bytes, and pictures that were compressed, shrunk or shifted since."""

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from checking import picture
from conftest import real_data
from striate.data_check.copies import (
    LIKENESS,
    _Groups,
    close_pairs,
    directions,
    nearly_same,
    same_bytes,
)
from striate.data_check.looking import Seen, look_at
from striate.images import DecodedImage


def seen(picture, number):
    return look_at(DecodedImage(np.array(picture.convert("RGB")), 255, ()), str(number))


def compressed(picture, quality):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def changed(picture, way):
    width, height = picture.size
    return {
        "compressed": lambda: compressed(picture, 40),
        "halved": lambda: picture.resize((width // 2, height // 2)),
        "shifted": lambda: Image.fromarray(np.roll(np.array(picture), 1, axis=1)),
        "grey": lambda: picture.convert("L"),
    }[way]()


@pytest.fixture(scope="module")
def photographs():
    paths = sorted(real_data("imagenet-sample").rglob("*.JPEG"))
    return [Image.open(path).convert("RGB") for path in paths]


def test_one_hundred_different_photographs_are_no_copies(photographs):
    assert len(photographs) == 100
    assert nearly_same([seen(one, number) for number, one in enumerate(photographs)]) == []


@pytest.mark.parametrize("way", ["compressed", "halved", "shifted", "grey"])
def test_changed_photographs_are_found_again(photographs, way):
    originals = photographs[:40]
    copies = [changed(one, way) for one in originals]
    looked = [seen(one, number) for number, one in enumerate([*originals, *copies])]
    groups = nearly_same(looked)
    assert {len(group) for group in groups} == {2}
    assert all(second == first + 40 for first, second in groups)
    assert len(groups) >= 38


def test_the_search_finds_the_pairs_that_comparing_all_finds():
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (700, 256, 3))
    colours[300:600] = colours[:300] + rng.normal(0, rng.uniform(5, 60, (300, 1, 1)), (300, 256, 3))
    vectors = directions(colours.clip(0, 255).astype(np.uint8))
    every = np.argwhere(np.triu(vectors @ vectors.T >= LIKENESS, 1))
    assert 50 < len(every) < 290
    found = np.sort(np.concatenate(list(close_pairs(vectors))), axis=1)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, every.tolist()))


def test_the_search_crosses_the_borders_of_its_blocks():
    colours = np.random.default_rng(4).integers(0, 256, (2_600, 256, 3), dtype=np.uint8)
    colours[1_300:] = colours[:1_300]
    pairs = np.concatenate(list(close_pairs(directions(colours))))
    assert sorted(map(sorted, pairs.tolist())) == [[i, i + 1_300] for i in range(1_300)]


def test_many_images_that_are_nearly_equal_are_one_group_in_little_memory():
    rng = np.random.default_rng(5)
    frames = rng.integers(40, 200, (256, 3)) + rng.normal(0, 3, (1_500, 256, 3))
    one = Seen(size=(64, 64), differences=7)
    looked = [
        one._replace(content=str(number), colours=frame.astype(np.uint8).tobytes())
        for number, frame in enumerate(frames)
    ]
    tracemalloc.start()
    try:
        assert nearly_same(looked) == [tuple(range(1_500))]
        assert tracemalloc.get_traced_memory()[1] < 150 * 2**20
    finally:
        tracemalloc.stop()


@given(
    pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30),
    cut=st.integers(0, 30),
)
def test_groups_are_those_that_walking_from_number_to_number_reaches(pairs, cut):
    together = _Groups(20)
    for some in (pairs[:cut], pairs[cut:]):
        together.join(np.array(some, dtype=np.int64).reshape(-1, 2))
    reached = [{number} for number in range(20)]
    for _ in range(20):
        for a, b in pairs:
            reached[a] |= reached[b]
            reached[b] |= reached[a]
    walked = sorted({tuple(sorted(group)) for group in reached if len(group) > 1})
    assert [tuple(group.tolist()) for group in together.groups()] == walked


def test_equal_bytes_are_one_group_and_stand_for_one_another():
    one, other = picture(), picture()
    looked = [seen(one, "a"), seen(other, "b"), seen(one, "a"), seen(compressed(one, 90), "c")]
    assert same_bytes(looked) == [(0, 2)]
    assert nearly_same(looked) == [(0, 3)]
    assert same_bytes([Seen(refusal="broken"), Seen(refusal="broken")]) == []


def test_small_and_empty_images_are_not_taken_for_copies():
    small, plain = picture(24, 24), Image.new("RGB", (64, 64), (9, 9, 9))
    looked = [
        *(seen(small, "a"), seen(compressed(small, 95), "b")),
        *(seen(plain, "c"), seen(compressed(plain, 50), "d")),
    ]
    assert nearly_same(looked) == []


def test_brightness_differences_decide_where_grey_values_agree():
    one = seen(picture(), "a")
    seven, eight = (one.differences ^ (2**bits - 1) for bits in (7, 8))
    assert nearly_same([one, one._replace(content="b", differences=seven)]) == [(0, 1)]
    assert nearly_same([one, one._replace(content="b", differences=eight)]) == []
