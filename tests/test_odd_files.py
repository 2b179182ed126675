"""The corpus of odd and broken files: kept, converted and said, or refused."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from odd_files import KEPT
from odd_refusals import REFUSED
from odd_samples import COLOUR
from odd_writing import RGB_TYPE, png
from striate.errors import DataError
from striate.images import read_image


def test_the_corpus_is_large_and_holds_every_format():
    kinds = {name.split("-")[0] for name in KEPT}
    assert kinds == {"png", "jpeg", "gif", "webp", "bmp", "pbm", "pgm", "ppm", "pfm", "tiff"}
    assert len(KEPT) + len(REFUSED) >= 200
    assert len({content for content, *_ in KEPT.values()}) == len(KEPT)
    assert len({content for content, _ in REFUSED.values()}) == len(REFUSED)


@pytest.mark.parametrize("name", KEPT)
def test_a_readable_file_gives_its_pixels_and_says_what_was_done(tmp_path, name):
    file = KEPT[name]
    path = tmp_path / f"{name}.{name.split('-')[0]}"
    path.write_bytes(file.content)
    image = read_image(path)
    pixels = np.array(file.pixels)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    assert image.pixels.shape == pixels.shape
    rounding = 1e-7 if "float-64" in name else 0
    assert np.abs(image.pixels.astype(np.float64) - pixels).max() <= file.within + rounding
    dtype = np.float32 if file.full_scale == 1 else np.uint8 if file.full_scale < 256 else np.uint16
    assert image.pixels.dtype == dtype
    assert (image.full_scale, image.has_alpha) == (file.full_scale, file.has_alpha)
    assert image.pixels.flags.writeable
    assert file.words in " ".join(image.notes)
    assert bool(image.notes) == bool(file.words)
    inside = read_image(path, content=file.content)
    assert (inside.pixels == image.pixels).all()
    assert inside.notes == image.notes


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_file_is_refused_in_one_line_that_names_it(tmp_path, name):
    content, words = REFUSED[name]
    path = tmp_path / f"{name}.{name.split('-')[0]}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert " object at 0x" not in str(caught.value)
    with pytest.raises(DataError, match=re.escape(words)) as inside:
        read_image(path, content=content)
    assert str(inside.value) == str(caught.value)


@pytest.mark.parametrize("name", ["größe 图.png", "two\nlines.png", "a'b\"c%20.png", "-.png"])
def test_a_file_may_have_any_name(tmp_path, name):
    (tmp_path / name).write_bytes(png(COLOUR, 8, RGB_TYPE))
    assert (read_image(tmp_path / name).pixels == COLOUR).all()


def test_a_name_that_is_no_text_is_read(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    path.write_bytes(png(COLOUR, 8, RGB_TYPE))
    assert (read_image(path).pixels == COLOUR).all()
