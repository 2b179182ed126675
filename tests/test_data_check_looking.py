"""What is seen of one image: the same of copies, and refusals of what is no file."""

import os

import numpy as np
import pytest
from PIL import Image

from checking import picture
from striate.data_check.looking import SIDE, look_at, look_at_place
from striate.datasets.listing import Place
from striate.images import DecodedImage


def seen(pixels, full_scale=255, has_alpha=False):
    pixels = np.asarray(pixels)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return look_at(DecodedImage(pixels, full_scale, (), has_alpha), "")


def test_an_image_of_any_size_and_depth_has_the_same_signatures():
    small = np.array(picture(45, 57))
    large = small.repeat(3, axis=0).repeat(2, axis=1)
    deep = small.astype(np.uint16) * 257
    for other in (large, deep, small.astype(np.float32) / 255):
        assert seen(other).differences == seen(small).differences
        colours = [
            np.frombuffer(one.colours, np.uint8).astype(int) for one in map(seen, (other, small))
        ]
        assert np.abs(colours[0] - colours[1]).max() <= 1
    assert seen(small[:, ::-1]).differences != seen(small).differences


def test_the_signature_is_the_mean_of_equal_areas():
    ramp = np.arange(SIDE * 9 * 9, dtype=np.float32).reshape(SIDE * 9, 9) / (SIDE * 81)
    means = ramp.reshape(SIDE, 9, 9).mean(axis=(1, 2))
    levels = np.frombuffer(seen(ramp, 1).colours, np.uint8).reshape(SIDE, SIDE, 3)[..., 0]
    rows = levels.astype(float).mean(axis=1)
    wanted = (means - means[0]) / (means[-1] - means[0])
    np.testing.assert_allclose((rows - rows[0]) / (rows[-1] - rows[0]), wanted, atol=0.01)


def test_an_image_with_nothing_on_it_is_told_from_one_with_little():
    dark = np.full((40, 40), 200, np.uint8)
    assert seen(dark).is_empty
    dark[0, :7] = 0  # 7 of 1,600: 99.56 % alike
    assert seen(dark).is_empty
    dark[0, :9] = 0
    assert not seen(dark).is_empty
    deep = np.full((40, 40), 200, np.uint16)
    deep[::2] = 201  # one step of 65,535 is seen where every bit is kept
    assert not seen(deep, 65_535).is_empty


def test_opacity_is_no_value_of_the_picture():
    pixels = np.full((9, 9, 4), 255, np.uint8)
    pixels[..., :3] = 7
    one = seen(pixels, has_alpha=True)
    assert (one.low, one.high, one.channels) == (7, 7, 4)


def test_a_large_jpeg_is_read_reduced_and_its_own_size_told(tmp_path):
    picture(600, 800).save(tmp_path / "large.jpg")
    one = look_at_place(Place(str(tmp_path / "large.jpg"), "large.jpg"), 10**6)
    assert one.size == (600, 800)
    assert one.refusal == ""
    assert "480,000 pixels; the limit is 1,000" in (
        look_at_place(Place(str(tmp_path / "large.jpg"), "large.jpg"), 1_000).refusal
    )


def test_a_stretch_of_an_archive_is_read(tmp_path):
    Image.fromarray(np.eye(9, dtype=np.uint8) * 200).save(tmp_path / "eye.png")
    inside = (tmp_path / "eye.png").read_bytes()
    (tmp_path / "shard.tar").write_bytes(bytes(512) + inside + bytes(99))
    place = Place(str(tmp_path / "shard.tar"), "shard.tar/eye.png", 512, len(inside))
    one = look_at_place(place, 10**6)
    assert (one.refusal, one.high) == ("", 200)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: os.mkfifo(path), "part/a.png is a pipe or device"),
        (lambda path: path.mkdir(), "part/a.png is a folder"),
        (lambda path: path.symlink_to("gone"), "part/a.png is a link to gone, which does not"),
        (lambda path: None, "part/a.png is gone since the images were listed"),
        (lambda path: path.write_bytes(b""), r"part/a.png is empty (0 bytes)"),
    ],
    ids=["pipe", "folder", "link", "missing", "empty"],
)
def test_what_is_no_file_is_refused_by_its_name_in_the_set(tmp_path, make, words):
    make(tmp_path / "a.png")
    one = look_at_place(Place(str(tmp_path / "a.png"), "part/a.png"), 10**6)
    assert one.refusal.startswith(words)
