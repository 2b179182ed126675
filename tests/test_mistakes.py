"""The page of mistakes, read back: its pictures, its words, its table."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from striate.mistakes import Mistake, mistakes_page

CLASSES = ["ant", "bee & <co>", "cat"]
RNG = np.random.default_rng(7)


class Reader(HTMLParser):
    """Collects the tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip() and self.tags[-1][0] != "style":
            self.words.append(data.strip())

    def pictures(self) -> list[np.ndarray]:
        sources = [attributes["src"] for tag, attributes in self.tags if tag == "img"]
        prefix = "data:image/png;base64,"
        assert all(source.startswith(prefix) for source in sources)
        files = [base64.b64decode(source.removeprefix(prefix)) for source in sources]
        return [np.asarray(Image.open(io.BytesIO(file))) for file in files]

    def table(self) -> list[tuple[str, str, int]]:
        cells = self.words[self.words.index("times") + 1 :]
        cells = cells[: len(cells) // 3 * 3]
        return [(a, b, int(n)) for a, b, n in zip(*[iter(cells)] * 3, strict=True)]


def mistake(target: int, predicted: int, where: str = "7", **changes) -> Mistake:
    image = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
    return Mistake(image, target, predicted, 0.913, 0.0421, where)._replace(**changes)


def page_of(mistakes: list[Mistake], **changes) -> str:
    arguments = {"title": "run", "examples": 41, "num_mistakes": len(mistakes), "classes": CLASSES}
    return mistakes_page(mistakes, **{**arguments, **changes})


def test_the_pictures_come_back_to_the_pixel_and_in_the_order_given():
    images = [
        RNG.integers(0, 256, shape, dtype=np.uint8)
        for shape in [(5, 7), (11, 3, 3), (320, 9), (1, 1)]
    ]
    page = page_of([mistake(0, 2, image=image) for image in images])
    for drawn, image in zip(Reader(page).pictures(), images, strict=True):
        assert drawn.shape == image.shape
        assert (drawn == image).all()
    assert "reduced" not in page


def test_small_pictures_are_enlarged_pixel_by_pixel_and_large_ones_are_not():
    images = [np.zeros((160, 7), np.uint8), np.zeros((7, 161), np.uint8)]
    tags = Reader(page_of([mistake(0, 1, image=image) for image in images])).tags
    assert [attributes.get("class") for tag, attributes in tags if tag == "img"] == [
        "enlarged",
        None,
    ]


def test_a_picture_above_320_pixels_is_reduced_in_proportion_and_the_page_says_so():
    page = page_of([mistake(0, 1, image=np.full((641, 1282, 3), 77, np.uint8))])
    (picture,) = Reader(page).pictures()
    assert picture.shape == (160, 320, 3)
    assert (picture == 77).all()
    assert "Images larger than 320 pixels are shown reduced." in page


def test_a_card_tells_truth_answer_probabilities_and_place():
    words = Reader(page_of([mistake(1, 2, "photos/a<b>.png")])).words
    start = words.index("bee & <co>, taken for")
    assert words[start : start + 7] == [
        "bee & <co>, taken for", "cat", "cat", "91.3 %", "bee & <co>", "4.2 %", "photos/a<b>.png"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0009, "below 0.1 %"), (0.001, "0.1 %"), (0.999, "99.9 %"), (0.9991, "above 99.9 %")],
)
def test_a_probability_is_never_rounded_to_0_or_100(probability, text):
    assert text in Reader(page_of([mistake(0, 1, target_probability=probability)])).words


def test_the_page_says_how_many_are_wrong_and_what_worst_means():
    text = " ".join(Reader(page_of([mistake(0, 1)] * 3, num_mistakes=5)).words)
    assert "5 of 41 images are wrong (12.20 %). The 3 worst are shown" in text
    assert "where the network gave the true class the least probability" in text
    assert "5 of 41 images are wrong (12.20 %). All are shown" in " ".join(
        Reader(page_of([mistake(0, 1)] * 5)).words
    )


def test_a_page_without_mistakes_says_so():
    reader = Reader(page_of([]))
    assert "There are no mistakes: all 41 images are right." in reader.words
    assert not {"img", "table"} & {tag for tag, _ in reader.tags}


def test_the_confused_pairs_are_counted_among_those_shown_the_most_frequent_first():
    pairs = [(2, 0), (1, 0), (2, 0), (0, 2), (1, 0), (2, 0)]
    reader = Reader(page_of([mistake(*pair) for pair in pairs], num_mistakes=9))
    assert "Counted among the 6 mistakes above." in reader.words
    assert reader.table() == [("cat", "ant", 3), ("bee & <co>", "ant", 2), ("ant", "cat", 1)]


def test_with_a_confusion_matrix_the_pairs_are_counted_among_all_mistakes():
    confusion = [[11, 0, 4], [1, 12, 0], [0, 2, 11]]
    reader = Reader(page_of([mistake(1, 0)], num_mistakes=7, confusion=confusion))
    assert "Counted among all 7 mistakes." in reader.words
    assert reader.table() == [("ant", "cat", 4), ("cat", "bee & <co>", 2), ("bee & <co>", "ant", 1)]


def test_of_many_pairs_the_first_twenty_are_listed_and_the_rest_counted():
    names = [f"c{k}" for k in range(23)]
    shown = [mistake(k, k - 1, image=np.zeros((1, 1), np.uint8)) for k in range(1, 23)]
    reader = Reader(page_of(shown, classes=names))
    assert len(reader.table()) == 20
    assert reader.words[-1] == "and 2 pairs with fewer."


def test_the_page_loads_and_runs_nothing_and_no_text_becomes_markup():
    evil = '"><script src="http://127.0.0.1/x.js"></script>'
    page = page_of([mistake(0, 1, evil)], title=evil, classes=[evil, evil + "2", "c"])
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "figure", "img",
        "figcaption", "strong", "em", "span", "b", "small", "table", "tr", "th", "td",
    }  # fmt: skip
    assert not re.search(r"url\(|@import|\son\w+=|href=", page)
    assert f"{evil}: mistakes" in reader.words


def test_a_path_that_is_not_utf_8_can_be_written():
    assert "caf�.png".encode() in page_of([mistake(0, 1, "caf\udce9.png")]).encode()


def test_counts_and_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 mistakes to show of 1 in 41 examples"):
        page_of([mistake(0, 1)] * 2, num_mistakes=1)
    with pytest.raises(ValueError, match="1 mistakes to show of 42 in 41 examples"):
        page_of([mistake(0, 1)], num_mistakes=42)
    with pytest.raises(ValueError, match="confusion matrix holds 3 mistakes, not 2"):
        page_of([mistake(0, 1)] * 2, confusion=[[5, 2, 0], [0, 5, 1], [0, 0, 5]])
    for image in (np.zeros((5, 7)), np.zeros((5, 7, 4), np.uint8), np.zeros(5, np.uint8)):
        with pytest.raises(ValueError, match=r"needed is uint8 of shape \(H, W\) or \(H, W, 3\)"):
            page_of([mistake(0, 1, image=image)])
