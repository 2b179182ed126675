"""The pictures by matplotlib: the words and numbers in them, and what is painted where."""

import base64
import io
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from striate.pictures import _draw_errors, _draw_images, confusion_matrix, result_picture

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}href"
COUNTS = [[17, 2, 0], [0, 23, 5], [1, 0, 29]]
ROWS = [{"epoch": e, "train_error": 0.5 / e, "validation_error": 0.7 / e} for e in range(1, 6)]
RED = (200, 50, 31)


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def painted(svg: str) -> np.ndarray:
    """The cells of the matrix: (K, K, 3)."""
    (image,) = ElementTree.fromstring(svg).iter(f"{SVG}image")
    file = base64.b64decode(image.get(XLINK).partition("base64,")[2])
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def picture(**changes) -> np.ndarray:
    arguments = {
        "images": np.full((7, 5, 3), 90, np.uint8),
        "targets": [0, 1, 2, 0, 1, 2, 0],
        "predictions": [0, 1, 2, 0, 1, 2, 0],
        "classes": ["ant", "bee", "cat"],
        "rows": ROWS,
        "title": "all right",
    }
    png = result_picture(**{**arguments, **changes})
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def drawn_labels(targets: list[int], predictions: list[int], names: list[str]) -> list[str]:
    axes = Figure().add_axes((0, 0, 1, 1))
    images = np.zeros((len(targets), 5, 3), np.uint8)
    _draw_images(axes, images, np.array(targets), np.array(predictions), names)
    return [text.get_text() for text in axes.texts]


def test_every_count_and_the_sums_of_rows_and_columns_are_written():
    written = texts(confusion_matrix(COUNTS, ["ant", "bee", "cat"]))
    numbers = sorted(int(text) for text in written if text.isdigit())
    assert numbers == sorted([17, 2, 23, 5, 1, 29, 19, 28, 30, 18, 25, 34, 77])
    assert "69 of 77 right: accuracy 89.61 %" in written
    for name in ("ant", "bee", "cat", "sum"):
        assert written.count(name) == 2


def test_sums_stand_beside_their_row_and_below_their_column():
    svg = confusion_matrix(COUNTS, ["ant", "bee", "cat"])
    place = {}
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        x, y = (
            re.search(r"(?:translate|rotate)\(([^)]+)\)", text.get("transform", "")),
            text.get("y"),
        )
        words = "".join(text.itertext())
        if words.isdigit():
            place[int(words)] = (float(text.get("x")), float(y)) if y else x[1]
    assert place[19][1] == place[17][1] == place[2][1]
    assert place[30][1] == place[29][1]
    assert place[18][0] == place[17][0]
    assert place[34][0] == place[29][0] == place[5][0]
    assert place[77] == (place[19][0], place[18][1])


def test_right_is_blue_wrong_is_red_none_is_white_and_more_is_stronger():
    cells = painted(confusion_matrix(COUNTS, ["ant", "bee", "cat"])).astype(int)
    red, blue = cells[..., 0] - cells[..., 2], cells[..., 2] - cells[..., 0]
    assert (np.diagonal(blue) > 60).all()
    assert red[0, 1] > 20
    assert red[1, 2] > red[0, 1] > red[2, 0] > 10
    # 2 of the 19 examples of the row, on the way from white to red by the root of that share.
    share = (2 / 19) ** 0.5
    expected = [255 * (1 - share * (1 - channel)) for channel in (0.80, 0.20, 0.10)]
    assert cells[0, 1] == pytest.approx(expected, abs=1)
    for empty in ((0, 2), (1, 0), (2, 1)):
        assert tuple(cells[empty]) == (255, 255, 255)


def test_a_class_without_examples_is_a_white_row_with_sum_0():
    svg = confusion_matrix([[3, 1], [0, 0]], ["ant", "bee"])
    assert (painted(svg)[1] == 255).all()
    assert "0" in texts(svg)
    assert "0 of 0 right" in texts(confusion_matrix([[0, 0], [0, 0]], ["ant", "bee"]))


def test_title_and_table_write_thousands_alike():
    written = texts(confusion_matrix([[43_000, 100], [0, 1100]], ["ant", "bee"]))
    assert {"43,000", "43,100", "1,200", "44,200"} <= {*written}
    assert any("of 44,200 right" in text for text in written)


def test_thirty_classes_have_numbers_and_thirty_one_do_not():
    for classes, numbered in ((30, True), (31, False)):
        counts = (7 * np.eye(classes, dtype=int)).tolist()
        written = texts(confusion_matrix(counts, [f"c{k}" for k in range(classes)]))
        assert ("7" in written) == ("sum" in written) == numbered
        assert "c30" in written or classes == 30


def test_a_thousand_classes_have_a_cell_each_and_labels_that_leave_room():
    svg = confusion_matrix(np.eye(300, dtype=int).tolist(), [f"c{k}" for k in range(300)])
    assert painted(svg).shape == (300, 300, 3)
    labels = [text for text in texts(svg) if re.fullmatch(r"c\d+", text)]
    numbers = [int(text[1:]) for text in labels[: len(labels) // 2]]
    assert numbers == list(range(0, 300, 3))


def test_any_class_name_stays_text_in_valid_xml():
    names = ["a & <b>", "$x^2$", "日本", "caf\udce9", "nul\0", "w" * 40]
    written = texts(confusion_matrix(np.eye(6, dtype=int).tolist(), names))
    for name in ("a & <b>", "$x^2$", "日本", "caf�", "nul�", "w" * 31 + "…"):
        assert written.count(name) == 2


def test_the_same_matrix_is_the_same_file():
    first = confusion_matrix(COUNTS, ["ant", "bee", "cat"])
    assert confusion_matrix(np.array(COUNTS), ["ant", "bee", "cat"]) == first


@pytest.mark.parametrize(
    ("counts", "names"),
    [
        ([[1, 0, 0]] * 2, "ab"),
        ([[1]], "ab"),
        ([[1, -1], [0, 1]], "ab"),
        ([], ""),
        (np.zeros((0, 0)), ""),
    ],
)
def test_a_matrix_that_is_not_square_or_has_negative_counts_is_refused(counts, names):
    with pytest.raises(ValueError, match="needed is a square matrix of counts"):
        confusion_matrix(counts, list(names))


def test_importing_the_room_does_not_import_matplotlib():
    check = "import striate.pictures, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_mistakes_come_last_and_name_the_answer_before_the_truth():
    labels = drawn_labels([0, 1, 2, 1], [0, 2, 2, 1], ["0", "1", "2"])
    assert labels == ["0", "2", "1", "2, not 1", "3 of 3 right answers and 1 of 1 mistakes (red)"]


def test_what_is_written_under_a_mistake_is_red():
    axes = Figure().add_axes((0, 0, 1, 1))
    labels = np.array([0, 1]), np.array([0, 0])
    _draw_images(axes, np.zeros((2, 5, 3), np.uint8), *labels, ["ant", "bee"])
    assert [text.get_color() for text in axes.texts[:2]] == ["#1c2128", "#c8321f"]


def test_the_curves_are_the_error_rates_in_percent():
    axes = Figure().add_axes((0, 0, 1, 1))
    _draw_errors(axes, [*ROWS, {"epoch": 6, "train_error": None, "validation_error": 0.25}])
    train, validation = axes.lines
    assert train.get_xdata() == pytest.approx([1, 2, 3, 4, 5])
    assert train.get_ydata() == pytest.approx([50, 25, 50 / 3, 12.5, 10])
    assert validation.get_ydata() == pytest.approx([70, 35, 70 / 3, 17.5, 14, 25])
    assert [train.get_label(), validation.get_label()] == ["train", "validation"]


def test_one_epoch_is_a_dot_on_an_axis_from_0_to_1_percent_where_nothing_is_wrong():
    axes = Figure().add_axes((0, 0, 1, 1))
    _draw_errors(axes, [{"epoch": 1, "train_error": 0.0}])
    assert axes.lines[0].get_marker() == "o"
    assert axes.get_ylim() == (0, 1)


def test_in_the_small_matrix_too_the_row_is_the_target():
    pixels = picture(targets=[0, 0, 0, 0, 1, 2, 2], predictions=[0, 0, 0, 1, 1, 2, 2])
    pixels = pixels[450:, 1100:].astype(int)

    def middle(cells: np.ndarray) -> np.ndarray:
        return np.argwhere(cells).mean(axis=0)

    blue = pixels[..., 2] - pixels[..., 0] > 60
    red = (pixels[..., 0] > 200) & (pixels[..., 0] - pixels[..., 2] > 60)
    assert red.sum() > 500
    row, column = middle(red) - middle(blue)
    assert row < 0 < column


def test_grey_images_keep_their_grey():
    assert ((picture() == 90).all(axis=2)).sum() > 7 * 100 * 60


def test_forty_images_are_shown_sixteen_of_them_mistakes_at_most():
    targets = [0] * 50 + [1] * 21
    labels = drawn_labels(targets, [0] * 71, ["ant", "elephant seal"])
    assert labels[:24] == ["ant"] * 24
    assert labels[24:40] == ["ant,\nnot elephant …"] * 16
    assert labels[40:] == ["24 of 50 right answers and 16 of 21 mistakes (red)"]
    assert len(drawn_labels([0] * 50, [0] * 50, ["ant"])) == 41
    assert drawn_labels([1] * 3, [0] * 3, ["ant", "bee"])[:3] == ["ant,\nnot bee"] * 3


def test_each_mistake_is_framed_in_red_and_nothing_else_is():
    def red_pixels(pixels: np.ndarray) -> int:
        left = pixels[:, : pixels.shape[1] * 6 // 10]
        return int((np.abs(left.astype(int) - RED).max(axis=2) < 3).sum())

    none = red_pixels(picture())
    one = red_pixels(picture(predictions=[0, 1, 2, 0, 1, 2, 1]))
    three = red_pixels(picture(predictions=[1, 2, 2, 0, 1, 2, 1]))
    assert none == 0
    assert one > 2000  # a frame of four sides of 110 pixels, 5.4 wide
    assert 2.5 < three / one < 3.5


def test_the_picture_is_1800_pixels_wide_on_white_and_shows_the_images():
    images = np.full((7, 6, 5, 3), (10, 200, 60), np.uint8)
    pixels = picture(images=images)
    assert pixels.shape == (1020, 1800, 3)
    assert (pixels[[0, -1]] == 255).all()
    assert (pixels[:, [0, -1]] == 255).all()
    green = (pixels == (10, 200, 60)).all(axis=2)
    rows, columns = np.flatnonzero(green.any(axis=1)), np.flatnonzero(green.any(axis=0))
    side = 1017 / (8 * 1.16 - 0.1)  # seven images in a row of eight places
    assert len(rows) == pytest.approx(side, rel=0.05)
    assert columns[0] == pytest.approx(45 + (0.03 + 1 / 12) * side, abs=3)
    assert columns[-1] - columns[0] == pytest.approx((6 * 1.16 + 5 / 6) * side, rel=0.03)


def test_the_error_curves_are_in_the_picture_unless_there_are_none():
    blue, orange = (0x2F, 0x6F, 0xD0), (0xB4, 0x40, 0x0A)

    def has(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
        return bool((pixels == colour).all(axis=2).any())

    both = picture()
    train = picture(rows=[{"epoch": 1, "train_error": 0.0, "validation_error": None}])
    none = picture(rows=[{"epoch": 1, "train_error": float("nan")}])
    assert [has(both, blue), has(both, orange)] == [True, True]
    assert [has(train, blue), has(train, orange)] == [True, False]
    assert [has(none, blue), has(none, orange)] == [False, False]


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["0", "1", "2"], "Ninety " * 13),
        (["a" * 30, "RING-NECKED PARAKEET", "c" * 30], "Ninety " * 25),
        (list(range(60)), "Ninety " * 90),
    ],
)
def test_nothing_touches_the_border_however_long_or_many_the_names(names, title):
    pixels = picture(classes=[str(name) for name in names], title=title)
    border = np.concatenate([pixels[:8].reshape(-1, 3), pixels[-8:].reshape(-1, 3)])
    assert (border == 255).all()
    assert (pixels[:, -8:] == 255).all()


def test_labels_and_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"predictions \(6,\); needed are"):
        picture(predictions=[0] * 6)
    with pytest.raises(ValueError, match=r"images of shape \(0, 5, 3\)"):
        picture(images=np.zeros((0, 5, 3), np.uint8), targets=[], predictions=[])
    with pytest.raises(ValueError, match="dtype float64"):
        picture(images=np.zeros((7, 5, 3)))
    with pytest.raises(ValueError, match=r"images of shape \(7, 5, 3, 4\)"):
        picture(images=np.zeros((7, 5, 3, 4), np.uint8))
    with pytest.raises(ValueError, match="the targets run from -1 to 2, but there are 3 class"):
        picture(targets=[0, 1, 2, 0, 1, 2, -1])
    with pytest.raises(ValueError, match="the predictions run from 0 to 3, but there are 3 class"):
        picture(predictions=[0, 1, 2, 0, 1, 2, 3])
