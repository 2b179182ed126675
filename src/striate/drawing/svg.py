"""Shapes and text on a picture that knows how large it is: our own SVG, light and dark."""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from math import hypot
from textwrap import wrap
from typing import NamedTuple

from striate.lettering import legal, shorten

Point = tuple[float, float]

THEMES = ("auto", "light", "dark")

# What each kind of layer is painted with: area and line on light, area and line on dark.
_KINDS = {
    "input": ("#f3f5f7", "#57606a", "#262c34", "#a3acb8"),
    "convolution": ("#dce9fb", "#2f6fd0", "#1d3350", "#74a9ff"),
    "transposed": ("#d3f1ee", "#117a72", "#143c3a", "#5cd0c5"),
    "pooling": ("#fde5d6", "#b4400a", "#4b2613", "#ffa05c"),
    "linear": ("#e8e0fb", "#6a43c4", "#33265a", "#b89bff"),
    "norm": ("#dcf2e2", "#24803f", "#173d27", "#6fd08c"),
    "merge": ("#fff2c2", "#8a6a00", "#443910", "#e2c44a"),
    "other": ("#eceff2", "#57606a", "#2b323b", "#a3acb8"),
}
# What each other class of elements is painted with: property, colour on light, colour on dark.
_PAINT = (
    ("paper", "fill", "#ffffff", "#15181d"),
    ("ink", "fill", "#1c2128", "#e6e9ee"),
    ("quiet", "fill", "#57606a", "#a3acb8"),
    ("line", "stroke", "#57606a", "#a3acb8"),
    ("line-tip", "fill", "#57606a", "#a3acb8"),
    ("faint", "stroke", "#8c959f", "#6b7480"),
    ("frame", "stroke", "#8c959f", "#6b7480"),
    ("skip", "stroke", "#8250a8", "#c7a0f0"),
    ("skip-tip", "fill", "#8250a8", "#c7a0f0"),
    ("window", "stroke", "#1c2128", "#e6e9ee"),
    ("window-line", "stroke", "#57606a", "#a3acb8"),
    ("window-unit", "fill", "#1c2128", "#e6e9ee"),
    *((kind, "fill", paint[0], paint[2]) for kind, paint in _KINDS.items()),
    *((kind, "stroke", paint[1], paint[3]) for kind, paint in _KINDS.items()),
    *((f"to-{kind}", "stroke", paint[1], paint[3]) for kind, paint in _KINDS.items()),
    *((f"to-{kind}-tip", "fill", paint[1], paint[3]) for kind, paint in _KINDS.items()),
)

# Widths of characters in DejaVu Sans [hundredths of the font size], rounded up; it is the widest
# of the fonts that the drawing asks for.
_WIDTHS = {
    character: width / 100
    for width, characters in (
        (30, "'IJijl"),
        (35, " ,./:;\\|·"),
        (40, "()-[]ft"),
        (45, "!r"),
        (50, '"*_`–'),
        (55, "?csz"),
        (60, "FLkvxy"),
        (65, "$0123456789EPSTYabdeghnopqu{}"),
        (70, "ABCKRVXZ"),
        (75, "NU"),
        (80, "&DGHOQ"),
        (85, "#+<=>^w~×→−"),
        (90, "M"),
        (100, "%@Wm…"),
    )
    for character in characters
}
_MOST_IN_A_LINE, _MOST_IN_A_TITLE = 96, 60  # characters
_WIDEST = 1.3  # of any other character; emoji are that wide
_BOLDER = 1.27


class Box(NamedTuple):
    """An upright rectangle [units of the view box]."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass
class Picture:
    """What has been drawn so far.

    Attributes:
        parts: Elements in the order of drawing.
        texts: The room that each text takes, at most.
        bounds: What all of it covers.
    """

    parts: list[str] = field(default_factory=list)
    texts: list[tuple[str, Box]] = field(default_factory=list)
    bounds: Box | None = None

    def text(
        self, place: Point, text: str, size: float, *, anchor: str = "middle", kind: str = "ink"
    ) -> None:
        """Write a line with its baseline at a place; ``kind`` "ink bold" is bold."""
        room = text_room(place, text, size, anchor=anchor, bold="bold" in kind)
        self.texts.append((text, room))
        self._cover(room)
        align = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.parts.append(
            f'<text class="{kind}" x="{_short(place[0])}" y="{_short(place[1])}" '
            f'font-size="{_short(size)}"{align}>{escape(legal(text), quote=False)}</text>'
        )

    def rectangle(self, box: Box, kind: str, *, round_by: float = 0, more: str = "") -> None:
        """Draw a rectangle; ``kind`` names its paint, ``more`` further attributes."""
        self._cover(box)
        corner = f' rx="{_short(round_by)}"' if round_by else ""
        self.parts.append(
            f'<rect class="{kind}" x="{_short(box.left)}" y="{_short(box.top)}" '
            f'width="{_short(box.right - box.left)}" height="{_short(box.bottom - box.top)}"'
            f"{corner}{more}/>"
        )

    def polygon(self, corners: Sequence[Point], kind: str) -> None:
        """Draw a closed outline through corners."""
        self._reach(corners)
        path = "L".join(f"{_short(x)} {_short(y)}" for x, y in corners)
        self.parts.append(f'<path class="{kind}" d="M{path}Z"/>')

    def circle(self, center: Point, radius: float, kind: str) -> None:
        """Draw a circle."""
        x, y = center
        self._cover(Box(x - radius, y - radius, x + radius, y + radius))
        self.parts.append(
            f'<circle class="{kind}" cx="{_short(x)}" cy="{_short(y)}" r="{_short(radius)}"/>'
        )

    def line(self, points: Sequence[Point], kind: str, *, round_by: float = 0) -> None:
        """Draw straight lines from point to point; upright ones may have round corners."""
        self._reach(points)
        path = f"M{_pair(points[0])}"
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            if round_by:
                path += f"L{_pair(_towards(corner, before, round_by))}"
                path += f"Q{_pair(corner)} {_pair(_towards(corner, after, round_by))}"
            else:
                path += f"L{_pair(corner)}"
        self.parts.append(f'<path class="{kind}" d="{path}L{_pair(points[-1])}" fill="none"/>')

    def curve(self, points: Sequence[Point], kind: str) -> None:
        """Draw a line that goes down from point to point and bends between them."""
        self._reach(points)
        path = f"M{_short(points[0][0])} {_short(points[0][1])}"
        for (x0, y0), (x1, y1) in pairwise(points):
            if abs(x0 - x1) < 0.05:
                path += f"V{_short(y1)}"
            else:
                middle = _short((y0 + y1) / 2)
                path += f"C{_short(x0)} {middle} {_short(x1)} {middle} {_short(x1)} {_short(y1)}"
        self.parts.append(f'<path class="{kind}" d="{path}" fill="none"/>')

    def tip(self, place: Point, kind: str = "line", *, direction: str = "down") -> None:
        """Draw the head of an arrow of some kind that ends at a place."""
        x, y = place
        back, side = 6.5, 3.2
        corners = {
            "down": [(x - side, y - back), (x + side, y - back)],
            "up": [(x - side, y + back), (x + side, y + back)],
            "right": [(x - back, y - side), (x - back, y + side)],
        }[direction]
        self.polygon([place, *corners], f"{kind}-tip")

    def head(self, title: str, lines: Sequence[str]) -> None:
        """Write a title and some lines over all that has been drawn."""
        bounds = self.bounds or Box(0, 0, 0, 0)
        rows = [row for line in lines for row in wrap(line, _MOST_IN_A_LINE)]
        y = bounds.top - 30 - 17 * (len(rows) - 1)
        name = shorten(" ".join(title.split()), _MOST_IN_A_TITLE)
        self.text((bounds.left, y - 22), name, 18, anchor="start", kind="ink bold")
        for row, text in enumerate(rows):
            place = (bounds.left, y + 17 * row)
            self.text(place, text, 12, anchor="start", kind="quiet")

    def begin(self, tooltip: str) -> None:
        """Begin a group of elements that tells more when the pointer rests on it."""
        self.parts.append(f"<g><title>{escape(legal(tooltip), quote=False)}</title>")

    def end(self) -> None:
        """End the group."""
        self.parts.append("</g>")

    def finish(self, title: str, *, theme: str, margin: float = 20) -> str:
        """Give the SVG file."""
        used = {"paper", *re.findall(r'(?<=class=")[\w-]+', "".join(self.parts))}
        bounds = self.bounds or Box(0, 0, 0, 0)
        left, top = bounds.left - margin, bounds.top - margin
        width = bounds.right - bounds.left + 2 * margin
        height = bounds.bottom - bounds.top + 2 * margin
        frame = (
            f'x="{_short(left)}" y="{_short(top)}" width="{_short(width)}" '
            f'height="{_short(height)}"'
        )
        return "\n".join(
            [
                '<svg xmlns="http://www.w3.org/2000/svg" class="striate-drawing" role="img" '
                f'viewBox="{_short(left)} {_short(top)} {_short(width)} {_short(height)}" '
                f'width="{width:.0f}" height="{height:.0f}">',
                f"<title>{escape(legal(title), quote=False)}</title>",
                f"<style>{_style(theme, used)}</style>",
                f'<rect class="paper" {frame}/>',
                *self.parts,
                "</svg>\n",
            ]
        )

    def _cover(self, box: Box) -> None:
        b = self.bounds or box
        self.bounds = Box(
            min(b.left, box.left),
            min(b.top, box.top),
            max(b.right, box.right),
            max(b.bottom, box.bottom),
        )

    def _reach(self, points: Sequence[Point]) -> None:
        for x, y in points:
            self._cover(Box(x, y, x, y))


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Give an upper bound of a text's width in the fonts that the drawing asks for.

    Example:
        >>> text_width("5×5", 10), text_width("il", 10)
        (21.5, 6.0)
    """
    width = sum(_WIDTHS.get(character, _WIDEST) for character in text) * size
    return round(width * (_BOLDER if bold else 1), 3)


def text_room(place: Point, text: str, size: float, *, anchor: str, bold: bool = False) -> Box:
    """Give the room that a line of text takes, its baseline being at a place."""
    width = text_width(text, size, bold=bold)
    left = place[0] - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
    return Box(left, place[1] - 0.78 * size, left + width, place[1] + 0.24 * size)


def _short(number: float) -> str:
    """Write a coordinate with one digit after the point at most."""
    return f"{round(number, 1) + 0.0:g}" if abs(number) < 1e5 else f"{number:.0f}"


def _pair(point: Point) -> str:
    return f"{_short(point[0])} {_short(point[1])}"


def _towards(start: Point, end: Point, distance: float) -> Point:
    """Go from one point towards another, at most half the way."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = min(distance / max(hypot(dx, dy), 1e-9), 0.5)
    return start[0] + share * dx, start[1] + share * dy


def _style(theme: str, used: Set[str]) -> str:
    """The colours; every rule names the drawing, so that it stays out of a page around."""
    paints = [row for row in _PAINT if row[0] in used]
    light, dark = (
        "\n".join(f".striate-drawing .{row[0]} {{ {row[1]}: {row[column]} }}" for row in paints)
        for column in (2, 3)
    )
    rules = (
        '\n.striate-drawing { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", '
        "sans-serif }\n"
        ".striate-drawing .bold { font-weight: 600 }\n"
        ".striate-drawing .faint { stroke-width: 0.8 }\n"
        ".striate-drawing .skip { stroke-width: 1.4 }\n"
        ".striate-drawing .dotted { stroke-dasharray: 2 3 }\n"
        ".striate-drawing .window { fill: none; stroke-width: 1.2 }\n"
        ".striate-drawing .window-line { stroke-width: 0.8 }\n"
        ".striate-drawing path { stroke-linejoin: round }\n"
        ".striate-drawing .frame { fill: none; stroke-dasharray: 5 4 }\n"
    )
    if theme == "auto":
        return f"{rules}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    return f"{rules}{light if theme == 'light' else dark}\n"
