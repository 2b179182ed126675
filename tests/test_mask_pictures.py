"""Images beside masks: what is painted where, which words there are, which sizes are refused."""

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from striate.mask_pictures import as_picture, masks_picture

BLUE, RED, PURPLE, GREY = (31, 63, 224), (224, 20, 31), (160, 32, 192), (184, 190, 198)
CLASSES = ("ground", "cell", "nucleus")


@pytest.fixture
def words(monkeypatch):
    """All that is written while a picture is made: texts, and the legends' names."""
    found = []
    text, legend = Figure.text, Figure.legend

    def write(self, x, y, s, **how):
        found.append(s)
        return text(self, x, y, s, **how)

    def explain(self, **how):
        found.extend(patch.get_label() for patch in how["handles"])
        return legend(self, **how)

    monkeypatch.setattr(Figure, "text", write)
    monkeypatch.setattr(Figure, "legend", explain)
    return found


def picture(rows, classes=CLASSES, title="unet on cells"):
    with Image.open(io.BytesIO(masks_picture(rows, classes=classes, title=title))) as image:
        return np.array(image.convert("RGB")).astype(int)


def share(pixels, colour):
    """The share of a picture that has a colour."""
    return (np.abs(pixels - np.array(colour)).max(axis=-1) <= 2).mean()


def row(mask, labels, *, title="first", channels=1):
    generator = np.random.default_rng(0)
    image = generator.integers(90, 170, (channels, *mask.shape)).astype(np.uint8)
    return title, image, mask.astype(np.uint8), labels.astype(np.uint8)


def parts():
    """Masks of one size whose four quarters are of different classes."""
    mask = np.zeros((40, 40), int)
    mask[:20, 20:], mask[20:, :20] = 1, 2
    return mask, mask.copy()


def test_each_kind_of_error_has_its_colour_and_its_name(words):
    mask, labels = parts()
    assert all(share(picture([row(mask, labels)]), colour) == 0 for colour in (BLUE, RED, PURPLE))
    assert not any(word.startswith("error:") for word in words)
    labels[:10, 20:] = 0  # a cell missed
    labels[:10, :20] = 1  # ground taken for a cell
    labels[30:, :20] = 1  # a nucleus taken for a cell
    shares = [share(picture([row(mask, labels)]), colour) for colour in (BLUE, RED, PURPLE)]
    assert {"error: taken for ground", "error: is ground", "error: another class"} < {*words}
    # Each is an eighth of one of the four panels, and as much as the others.
    assert min(shares) > 0.01
    assert max(shares) < 1.3 * min(shares)


def test_errors_lie_where_they_are():
    mask, labels = parts()
    labels[:10, 20:] = 0
    pixels = picture([row(mask, labels)])
    width = pixels.shape[1]
    blue = np.abs(pixels - np.array(BLUE)).max(axis=-1) <= 2
    rows, columns = np.nonzero(blue[:, width * 3 // 4 :])  # the legend is at the left
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    # 10 x 20 pixels in the upper right of the last panel, whose side is twice as long.
    assert wide == pytest.approx(2 * tall, abs=3)
    assert width * 3 // 4 + columns.max() == pytest.approx(width - 0.25 * 150, abs=3)
    assert rows.min() == pytest.approx((1.0 + 0.32) * 150, abs=3)  # below title and caption


def test_what_is_left_out_is_grey_and_never_an_error(words):
    mask, labels = parts()
    mask[:20] = 255
    labels[:20] = 1
    pixels = picture([row(mask, labels)])
    assert share(pixels, GREY) > 0.05
    assert all(share(pixels, colour) == 0 for colour in (BLUE, RED, PURPLE))
    assert "left out" in words


def test_words_name_the_classes_that_are_there_the_rows_and_the_picture(words):
    mask, labels = parts()
    mask[mask == 2] = labels[labels == 2] = 0
    picture([row(mask, labels, title="slice 7: Dice 0.9"), row(mask, labels, title="a $ b")])
    assert {"slice 7: Dice 0.9", "a $ b", "unet on cells", "image", "errors", "cell"} < {*words}
    assert "nucleus" not in words
    assert "ground" not in words  # the first class is not painted


def test_many_classes_are_named_up_to_a_number(words):
    mask = np.arange(900).reshape(30, 30) // 20
    names = [f"class {number}" for number in range(45)]
    picture([row(mask, mask)], classes=names)
    assert "class 24" in words
    assert "class 25" not in words
    assert "and 20 more" in words


def test_grey_values_are_stretched_and_colours_are_kept():
    dark = np.linspace(1000, 1100, 400).reshape(1, 20, 20).astype(np.int32)
    shown = as_picture(dark)
    assert shown.shape == (20, 20, 3)
    assert shown.min() == 0
    assert shown.max() == 1
    color = np.full((3, 4, 5), 51, np.uint8)
    color[1] = 102
    assert as_picture(color)[2, 3].tolist() == pytest.approx([0.2, 0.4, 0.2])
    two = np.stack([dark[0], 0 * dark[0]])
    assert np.array_equal(as_picture(two), shown)
    flat = np.full((1, 3, 3), 7.0)
    flat[0, 0, 0] = np.nan
    assert np.isfinite(as_picture(flat)).all()


@pytest.mark.parametrize("sizes", [((8, 60),) * 6, ((60, 8),) * 6, ((1, 1), (60, 8), (8, 60)) * 2])
def test_images_of_any_shape_and_six_rows_fit_on_the_page(sizes):
    masks = [np.ones(size, int) for size in sizes]
    pixels = picture([row(mask, mask, title=str(number)) for number, mask in enumerate(masks)])
    height, width = pixels.shape[:2]
    assert 1200 <= width <= 1800
    assert height <= 3200
    assert (pixels[:, -8:] == 255).all()  # nothing is cut at the page's edge
    assert (pixels[-8:] == 255).all()


def test_sizes_that_do_not_fit_are_refused():
    mask, labels = parts()
    with pytest.raises(ValueError, match=r"0 images .*; needed are 1 to 6"):
        masks_picture([], classes=CLASSES, title="")
    with pytest.raises(ValueError, match=r"7 images .*; needed are 1 to 6"):
        masks_picture([row(mask, labels)] * 7, classes=CLASSES, title="")
    with pytest.raises(ValueError, match=r"\(40, 40\), \(40, 39\).*mask and labels \(H, W\)"):
        masks_picture([row(mask, labels[:, 1:])], classes=CLASSES, title="")


def test_matplotlib_is_imported_when_a_picture_is_made():
    program = "import sys, striate.mask_pictures; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
