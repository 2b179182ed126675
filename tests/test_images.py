"""Reading image files: what is turned, renamed, mixed and said, and what is refused."""

import contextlib
import io
import os
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from striate.errors import DataError
from striate.images import DecodedImage, image_files, read_image, to_channels

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
KINDS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "ppm": "PPM"}


def saved(path, pixels=COLOUR, kind=None, **options):
    Image.fromarray(pixels).save(path, kind, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_every_exif_orientation_is_turned_upright_and_said(tmp_path, orientation, kind):
    corner = np.zeros((16, 24), np.uint8)
    corner[:8, :8] = 255  # white at the top left, and nowhere else
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path / f"photo.{kind}", corner, exif=exif)
    image = read_image(path)
    assert image.pixels.shape[:2] == ((16, 24) if orientation < 5 else (24, 16))
    # Where EXIF 2.3 says that row 0 and column 0 of the file belong.
    row, column = ["tl", "tr", "br", "bl", "lt", "rt", "rb", "lb"][orientation - 1]
    vertical, horizontal = (row, column) if orientation < 5 else (column, row)
    bright = image.pixels[..., 0] > 127
    assert bright[:8].any() == (vertical == "t")
    assert bright[:, :8].any() == (horizontal == "l")
    upright = ImageOps.exif_transpose(Image.open(path))
    assert (image.pixels[..., 0] == np.array(upright.convert("L"))).all()
    said = (f"turned upright by EXIF orientation {orientation}",)
    assert [note for note in image.notes if "EXIF" in note] == list(said if orientation > 1 else ())


def test_a_corrupt_exif_block_does_not_reach_the_terminal(tmp_path, capfd, caplog):
    path = saved(tmp_path / "photo.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(9))
    assert read_image(path).pixels.shape == (24, 40, 3)
    for content in (b"II*\0\x10\0\0\0" + bytes(30), b"II*\0garbage and so on"):
        (tmp_path / "odd.tif").write_bytes(content)
        with pytest.raises(DataError, match="is a TIFF file that is damaged"):
            read_image(tmp_path / "odd.tif")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_file_is_read_by_what_it_holds_and_not_by_its_name(tmp_path):
    image = read_image(saved(tmp_path / "photo.jpg", kind="PNG"))
    assert (image.pixels == COLOUR).all()
    assert image.notes == ("read as PNG, which it is, though it is named .jpg",)
    assert read_image(saved(tmp_path / "PHOTO.JPEG")).notes == ()
    assert read_image(saved(tmp_path / "nameless", kind="BMP")).notes == ()


@pytest.mark.parametrize("suffix", [*KINDS, "tif"])
def test_a_file_cut_short_anywhere_is_refused_or_gives_all_its_pixels(tmp_path, suffix, capfd):
    whole = saved(tmp_path / f"whole.{suffix}")
    pixels, data = read_image(whole).pixels, whole.read_bytes()
    cut, lengths, refusals = tmp_path / f"cut.{suffix}", range(0, len(data), len(data) // 60), []
    for length in lengths:
        cut.write_bytes(data[:length])
        try:
            assert (read_image(cut).pixels == pixels).all()
        except DataError as error:
            refusals.append(str(error))
    assert len(refusals) >= len(lengths) - 2
    assert [refusal for refusal in refusals if "\n" in refusal] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_half_a_file_is_refused_in_one_line(tmp_path, suffix):
    path = saved(tmp_path / f"half.{suffix}", progressive=True)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(
        DataError, match=r"half\.\w+ is a \w+ file .* cut short \(.*\); none of it is used: copy"
    ):
        read_image(path)


@pytest.mark.parametrize("level", [0, 9])
def test_one_flipped_bit_in_a_png_is_noticed(tmp_path, level):
    path = saved(tmp_path / "bit.png", compress_level=level)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="is a PNG file that is damaged"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"odd\.png is empty \(0 bytes\); copy or export it again"),
        (b"<html>\nNot found", r"holds text, starting with '<html>.*; needed is PNG, JPEG, .*PNM"),
        ("größe;höhe".encode(), r"holds text, starting with 'größe;höhe'"),
        (b"\0\1\2\3\xff", r"something else, starting with the bytes 00 01 02 03 ff; needed is"),
        (b"\x89PNG\r\n\x1a\n", r"is a PNG file that is damaged or cut short"),
        (b"P5 3 1 300 \0\0\0\0\1\x2d", r"PNM file .*3×1 pixels from 0 to 300"),
        (b"P6 hello", r"PNM file .*header lacks width, height or largest value"),
    ],
    ids=["empty", "html", "utf-8", "bytes", "header", "above-white", "pnm"],
)
def test_what_is_no_image_is_refused_with_what_it_is(tmp_path, content, message):
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_pipes_and_missing_files_are_refused(tmp_path):
    saved(tmp_path / "seven.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("gone.png")
    (tmp_path / "linked.png").symlink_to("seven.png")
    assert (read_image(tmp_path / "linked.png").pixels == COLOUR).all()
    with pytest.raises(DataError, match=r"link\.png is a link to gone\.png, which does not exist"):
        read_image(tmp_path / "link.png")
    with pytest.raises(DataError, match=r"folder\.png is a folder; name the image files in it"):
        read_image(tmp_path / "folder.png")
    with pytest.raises(DataError, match="is a pipe or device; save the image as a file"):
        read_image(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"does not exist; did you mean 'seven\.png'\?"):
        read_image(tmp_path / "sven.png")
    with pytest.raises(DataError, match="does not exist; check the name and the folder"):
        read_image(tmp_path / "nowhere" / "seven.png")


@contextlib.contextmanager
def another_user():
    """Give up the rights of root, which no permission stops, for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_file_without_permission_is_refused(tmp_path):
    with tempfile.TemporaryDirectory() as name:  # other users may not even look into tmp_path
        folder = Path(name)
        folder.chmod(0o755)
        saved(folder / "secret.png").chmod(0)
        (folder / "closed").mkdir(mode=0)
        with another_user():
            with pytest.raises(DataError, match=r"secret\.png cannot be read \(Permission denied"):
                read_image(folder / "secret.png")
            with pytest.raises(
                DataError, match=r"cannot be reached \(Permission .*the folder's per"
            ):
                image_files([folder / "closed" / "inner.png"])


def test_a_huge_picture_is_refused_by_its_header_and_a_large_one_gives_no_warning(tmp_path):
    bomb = tmp_path / "bomb.bmp"
    header = saved(bomb, GREY).read_bytes()[:54]
    size = np.array([30_000, 30_000], "<u4").tobytes()
    bomb.write_bytes(header[:18] + size + header[26:] + bytes(2_000))
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(
        DataError, match=r"bomb\.bmp is 30000×30000, 900,000,000 pixels; the limit is 200,000,000"
    ):
        read_image(bomb)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = saved(tmp_path / "wide.png", np.zeros((1, 100_000), np.uint8))
        Image.MAX_IMAGE_PIXELS = 60_000  # Pillow would warn
        try:
            assert read_image(wide).pixels.shape == (1, 100_000, 1)
            assert Image.MAX_IMAGE_PIXELS == 60_000
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def test_threads_may_read_at_the_same_time(tmp_path):
    paths = [saved(tmp_path / f"{i}.png", COLOUR[i:]) for i in range(11)]
    filters = list(warnings.filters)
    with ThreadPoolExecutor(5) as pool:
        images = list(pool.map(read_image, paths * 3))
    assert all((images[i].pixels == COLOUR[i % 11 :]).all() for i in range(33))
    assert warnings.filters == filters


def test_folders_are_walked_in_order_without_hidden_files_and_strangers(tmp_path):
    for name in ("b/2.PNG", "b/10.tif", "a/x.jpg", ".cache/no.png", "b/.no.png", "b/notes.txt"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    given = tmp_path / "set/b/notes.txt"
    found = image_files([given, tmp_path / "set"])
    names = [path.relative_to(tmp_path / "set").as_posix() for path in found]
    assert names == ["b/notes.txt", "a/x.jpg", "b/10.tif", "b/2.PNG"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no image and no other file; .*\.png \.jpg"):
        image_files([tmp_path / "empty"])
    (tmp_path / "empty" / "a.csv").touch()
    with pytest.raises(DataError, match=r"holds no image but 1 other files \(a\.csv\); images"):
        image_files([tmp_path / "empty"])
    with pytest.raises(DataError, match=r"sett does not exist; did you mean 'set'\?"):
        image_files([tmp_path / "sett"])


def test_rgb_becomes_grey_by_luminance_and_keeps_its_bits_where_channels_agree():
    deep = RNG.integers(0, 65_536, (5, 7, 3), dtype=np.uint16)
    grey, notes = to_channels(DecodedImage(deep, 65_535, ()), 1)
    assert grey.dtype == np.float32
    exact = deep.astype(np.float64) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey[..., 0], exact, rtol=1e-6)
    assert notes == ("RGB to grey by luminance (BT.601)",)
    same, notes = to_channels(DecodedImage(np.repeat(deep[..., :1], 3, 2), 65_535, ()), 1)
    assert same.dtype == np.uint16
    assert (same == deep[..., :1]).all()
    assert notes == ("three equal channels read as grey",)
    two = np.dstack([deep[..., 0], deep[..., 0], deep[..., 1]])
    assert to_channels(DecodedImage(two, 65_535, ()), 1)[1] == (
        "RGB to grey by luminance (BT.601)",
    )


def test_grey_becomes_rgb_by_repetition_and_equal_channels_are_left_alone():
    grey = DecodedImage(GREY[..., None], 255, ())
    assert (to_channels(grey, 3)[0] == np.dstack([GREY] * 3)).all()
    assert to_channels(grey, 1)[0] is grey.pixels
    rgba = DecodedImage(np.dstack([COLOUR, GREY]), 255, (), has_alpha=True)
    assert to_channels(rgba, 4)[0] is rgba.pixels


def test_transparency_is_laid_on_white_or_under_white_ink_on_black():
    pixels = np.array([[[0, 255], [100, 51], [9, 0]]], np.uint8)  # grey and alpha
    grey, notes = to_channels(DecodedImage(pixels, 255, (), has_alpha=True), 1)
    np.testing.assert_allclose(grey[0, :, 0], [0, 224, 255], rtol=1e-6)  # 100 / 5 + 255 * 4 / 5
    assert notes == ("transparency laid on white",)
    ink = np.dstack([np.full((5, 7, 3), 65_535), 9_362 * np.arange(35).reshape(5, 7) % 65_536])
    white = DecodedImage(ink.astype(np.uint16), 65_535, (), has_alpha=True)
    rgb, notes = to_channels(white, 3)
    np.testing.assert_allclose(rgb, np.repeat(ink[..., 3:], 3, 2), atol=0.01)
    assert notes == ("transparency laid on black, the image being white",)
    opaque = DecodedImage(np.dstack([COLOUR, GREY * 0 + 255]), 255, (), has_alpha=True)
    rgb, notes = to_channels(opaque, 3)
    assert (rgb == COLOUR).all()
    assert rgb.dtype == np.uint8
    assert notes == ("alpha channel left out: all opaque",)


@pytest.mark.parametrize(("given", "wanted"), [(2, 1), (4, 3), (5, 1), (3, 2)])
def test_channels_without_a_fixed_way_between_are_refused(tmp_path, given, wanted):
    file = io.BytesIO()
    pixels = RNG.integers(0, 256, (6, 7, given), dtype=np.uint8)
    colours = "rgb" if given == 3 else "minisblack"
    tifffile.imwrite(file, pixels, photometric=colours, planarconfig="contig")
    (tmp_path / "many.tif").write_bytes(file.getvalue())
    image = read_image(tmp_path / "many.tif")
    assert (to_channels(image, given)[0] == pixels).all()
    with pytest.raises(DataError, match=rf"{given} channels, the network reads {wanted}; choose"):
        to_channels(image, wanted)
