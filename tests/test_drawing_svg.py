"""The SVG under the drawings: widths against real fonts, colours against their ground, escaping."""

import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from sketching import rooms
from striate.drawing.svg import _KINDS, _PAINT, Box, Picture, text_width

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SVG = "{http://www.w3.org/2000/svg}"
WRITTEN = "".join(map(chr, range(32, 127))) + "×–…·→−"


def finished(picture: Picture, title: str = "", theme: str = "auto") -> ElementTree.Element:
    return ElementTree.fromstring(picture.finish(title, theme=theme))


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize("character", WRITTEN)
def test_no_character_is_wider_than_the_table_says(character, bold):
    file = FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    real = ImageFont.truetype(str(file), 1000).getlength(character) / 1000
    assert real <= text_width(character, 1, bold=bold) <= 1.3 * real + 0.1


@given(st.text(alphabet=WRITTEN, max_size=40), st.sampled_from([9, 12, 18]))
def test_no_text_is_wider_than_the_drawing_leaves_room_for(text, size):
    real = ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), 100).getlength(text) * size / 100
    assert real <= text_width(text, size) + 0.01


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("<b> & \"quotes\" 'too'", "<b> & \"quotes\" 'too'"),
        ("caf\udce9", "caf\N{REPLACEMENT CHARACTER}"),
        ("a\x00b]]>", "a\N{REPLACEMENT CHARACTER}b]]>"),
        ("шрифт 文字 🦆", "шрифт 文字 🦆"),
    ],
)
def test_any_text_can_be_a_title_a_text_and_a_tooltip(title, told):
    picture = Picture()
    picture.begin(title)
    picture.text((0, 0), title, 12)
    picture.end()
    root = finished(picture, title)
    assert [element.text for element in root.iter(f"{SVG}title")] == [told, told]
    assert [element.text for element in root.iter(f"{SVG}text")] == [told]


def test_the_picture_covers_whatever_is_drawn_and_a_margin():
    picture = Picture()
    picture.rectangle(Box(-10, 3, 5, 20), "input")
    picture.circle((30, 7), 4, "merge")
    picture.curve([(0, 0), (12, 50)], "line")
    picture.text((34, 60), "wide", 10, anchor="start")
    left, top, width, height = map(float, finished(picture).get("viewBox").split())
    ((_, room),) = rooms(picture.finish("", theme="auto"))
    assert (left, top) == (-30, -20)
    assert left + width == pytest.approx(room.right + 20, abs=0.06)
    assert top + height == pytest.approx(room.bottom + 20, abs=0.06)


def test_a_line_with_round_corners_ends_where_it_should():
    picture = Picture()
    picture.line([(0, 0), (0, 20), (30, 20), (30, 5)], "line", round_by=8)
    (path,) = (p.get("d") for p in finished(picture).iter(f"{SVG}path"))
    assert path == "M0 0L0 12Q0 20 8 20L22 20Q30 20 30 12.5L30 5"


@pytest.mark.parametrize(
    ("theme", "light", "dark"),
    [("auto", True, True), ("light", True, False), ("dark", False, True)],
)
def test_a_theme_holds_its_own_colours(theme, light, dark):
    picture = Picture()
    picture.text((0, 0), "text", 12)
    style = finished(picture, theme=theme).find(f"{SVG}style").text
    assert ("#1c2128" in style, "#e6e9ee" in style) == (light, dark)
    assert ("prefers-color-scheme" in style) == (theme == "auto")


def test_the_style_names_what_is_drawn_and_nothing_else():
    picture = Picture()
    picture.circle((0, 0), 4, "merge")
    style = finished(picture, theme="light").find(f"{SVG}style").text
    assert set(re.findall(r"\.([\w-]+) \{ (?:fill|stroke): #", style)) == {"paper", "merge"}


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_texts_stand_out_from_every_ground_and_lines_from_the_paper():
    paint = {(row[0], row[1]): row[2:] for row in _PAINT}
    for theme in (0, 1):
        paper = paint["paper", "fill"][theme]
        grounds = [paper, *(areas[2 * theme] for areas in _KINDS.values())]
        for words in ("ink", "quiet"):
            weak = [g for g in grounds if contrast(paint[words, "fill"][theme], g) < 4.5]
            assert weak == [], words
        lines = {row[0]: row[2 + theme] for row in _PAINT if row[1] == "stroke"}
        weak = {kind for kind, colour in lines.items() if contrast(colour, paper) < 3}
        assert weak == set()
