"""JPEG: two decoders that agree in every pixel, reduced scales, damage inside the data."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from conftest import real_data
from striate.errors import DataError
from striate.images import jpeg, read_image

SIZES = [(1, 1), (1, 100), (3, 5), (17, 31), (64, 48), (301, 203)]  # (H, W)
needs_simplejpeg = pytest.mark.skipif(
    jpeg.simplejpeg() is None, reason="the extra fast is not installed"
)


def photo(height: int, width: int) -> Image.Image:
    """Smooth colours with detail at every scale, as photographs have."""
    rng = np.random.default_rng(height * 1_000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    smooth = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int64)
    return Image.fromarray((smooth + rng.integers(-9, 9, smooth.shape)).clip(0, 255).astype("u1"))


def written(picture: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def both(data: bytes, monkeypatch, at_least=None):
    """The image read with simplejpeg, and without."""
    fast = read_image(Path("a.jpg"), content=data, at_least=at_least)
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "simplejpeg", lambda: None)
        return fast, read_image(Path("a.jpg"), content=data, at_least=at_least)


@needs_simplejpeg
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_both_decoders_give_the_same_pixels(monkeypatch, mode, progressive):
    for size in SIZES:
        picture = photo(*size).convert(mode)
        for quality in (30, 100):
            for chroma in (0, 1, 2):
                for restarts in ({}, {"restart_marker_blocks": 3}):
                    data = written(
                        picture,
                        quality=quality,
                        subsampling=chroma,
                        progressive=progressive,
                        **restarts,
                    )
                    fast, slow = both(data, monkeypatch)
                    assert (fast.pixels == slow.pixels).all()
                    assert fast.notes == slow.notes
                    for factor in (2, 4, 8):
                        least = (-(-size[0] // factor), -(-size[1] // factor))
                        fast, slow = both(data, monkeypatch, least)
                        assert fast.pixels.shape == slow.pixels.shape
                        assert (fast.pixels == slow.pixels).all()
                        assert fast.reduced_from == slow.reduced_from


@needs_simplejpeg
def test_both_decoders_agree_on_real_photographs(monkeypatch):
    folder = real_data("imagenet-sample")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    assert len(paths) > 50
    for path in paths[::5]:
        for least in (None, (120, 120)):
            fast, slow = both(path.read_bytes(), monkeypatch, least)
            assert (fast.pixels == slow.pixels).all()


@needs_simplejpeg
def test_simplejpeg_is_used_where_it_may_be_and_nowhere_else(monkeypatch):
    used = []
    real = jpeg.simplejpeg()

    class Watching:
        decode_jpeg_header = staticmethod(real.decode_jpeg_header)

        @staticmethod
        def decode_jpeg(*args, **options):
            used.append(args[1])
            return real.decode_jpeg(*args, **options)

    monkeypatch.setattr(jpeg, "simplejpeg", lambda: Watching)
    picture = photo(20, 30)
    for given in (picture, picture.convert("L"), picture.convert("CMYK")):
        read_image(Path("a.jpg"), content=written(given))
    read_image(Path("a.jpg"), content=written(picture, keep_rgb=True))
    assert used == ["RGB", "GRAY"]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("least", "size"),
    [
        ((201, 301), (201, 301)),
        ((102, 151), (201, 301)),
        ((101, 151), (101, 151)),
        ((101, 152), (201, 301)),
        ((26, 38), (26, 38)),
        ((1, 1), (26, 38)),
        ((500, 500), (201, 301)),
    ],
)
def test_a_jpeg_is_halved_while_it_stays_large_enough(monkeypatch, fast, least, size):
    if not fast:
        monkeypatch.setattr(jpeg, "simplejpeg", lambda: None)
    picture = photo(201, 301)
    image = read_image(Path("a.jpg"), content=written(picture), at_least=least)
    assert image.pixels.shape == (*size, 3)
    assert image.reduced_from == (None if size == (201, 301) else (201, 301))
    factor = round(301 / size[1])  # the last row and column stand for fewer pixels: left out
    high, wide = 201 // factor, 301 // factor
    means = np.array(picture)[: high * factor, : wide * factor].mean(axis=(0, 1))
    np.testing.assert_allclose(image.pixels[:high, :wide].mean(axis=(0, 1)), means, atol=1)


def test_the_wanted_size_is_that_of_the_upright_image():
    exif = Image.Exif()
    exif[274] = 6
    data = written(photo(40, 160), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    image = read_image(Path("a.jpg"), content=data, at_least=(80, 20))
    assert image.pixels.shape == (80, 20, 3)
    assert image.reduced_from == (160, 40) == upright.size[::-1]
    assert read_image(Path("a.jpg"), content=data, at_least=(20, 80)).reduced_from is None


def test_other_formats_are_never_reduced():
    file = io.BytesIO()
    photo(64, 64).save(file, "PNG")
    image = read_image(Path("a.png"), content=file.getvalue(), at_least=(8, 8))
    assert image.pixels.shape == (64, 64, 3)
    assert image.reduced_from is None


@needs_simplejpeg
@pytest.mark.parametrize("at_least", [None, (30, 40)])
def test_damage_that_pillow_passes_over_is_refused(at_least):
    data = written(photo(120, 160), quality=95)
    middle = len(data) // 2
    for damaged in (
        data[:middle] + data[middle + middle // 2 :],
        data[:middle] + b"\xff\xd9" + data[middle:],
    ):
        with pytest.raises(DataError, match=r"a\.jpg is a JPEG file that is damaged .*Corrupt"):
            read_image(Path("a.jpg"), content=damaged, at_least=at_least)
    longer = data[:-2] + b"abcdef" * 9 + data[-2:]
    image = read_image(Path("a.jpg"), content=longer, at_least=at_least)
    assert "parts of it may be wrong: Corrupt JPEG data" in image.notes[0]
    assert read_image(Path("a.jpg"), content=data + b"behind the end").notes == ()
