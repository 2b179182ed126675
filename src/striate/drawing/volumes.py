"""Maps as bodies: sheets one behind the other, cuboids as deep as there are maps, and bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

from striate.drawing.svg import Picture, Point

_LARGEST = 150.0  # height of the largest map [units of the view box]
_HIGHEST = 130.0  # of the bar with the most units
_LEAST = 9.0
_BAR = 11.0  # width
_MOST_SHEETS = 16
_SHEETS_UP_TO = 32  # maps; with more, a network is drawn in cuboids
_ACROSS, _UP = 0.42, 0.30  # where a side goes that leads away from the reader


@dataclass(frozen=True)
class Scale:
    """How large maps and bars are drawn in one network.

    Attributes:
        side: The longest side of a map [pixels].
        units: The most units of a layer without maps.
        sheets: Whether maps are sheets; otherwise they are cuboids.
    """

    side: int
    units: int
    sheets: bool

    def length(self, side: int) -> float:
        """Scale a side of a map: by its square root, so that large and small can be seen."""
        return max(_LARGEST * sqrt(side / self.side), _LEAST)


@dataclass(frozen=True)
class Volume:
    """A body whose bounds have their middle at (0, 0).

    Attributes:
        polygons: What is seen of it, from back to front.
        face: Of the map in front: a corner, and the sides that lead from it across and down.
        unit: Where lines that lead to it end.
        width: Of its bounds.
        height: Of its bounds.
    """

    polygons: tuple[tuple[Point, ...], ...]
    face: tuple[Point, Point, Point]
    unit: Point
    width: float
    height: float

    def on_face(self, center: Point, across: float, down: float) -> Point:
        """Find a place on the map in front, by shares of its sides."""
        (x, y), (ux, uy), (vx, vy) = self.face
        return (
            center[0] + x + across * ux + down * vx,
            center[1] + y + across * uy + down * vy,
        )


def scale_of(shapes: Sequence[tuple[int, ...]]) -> Scale:
    """Choose the scale that fits all layers of a network.

    Args:
        shapes: Of each layer: channels first, and then the sides.
    """
    maps = [shape for shape in shapes if is_map(shape)]
    flat = [prod(shape) for shape in shapes if not is_map(shape)]
    return Scale(
        side=max((max(shape[1:]) for shape in maps), default=1),
        units=max(flat, default=1),
        sheets=max((shape[0] for shape in maps), default=1) <= _SHEETS_UP_TO,
    )


def is_map(shape: Sequence[int]) -> bool:
    """Tell maps from layers whose units have no place."""
    return len(shape) > 1 and max(shape[1:]) > 1


def volume_of(shape: tuple[int, ...], scale: Scale) -> Volume:
    """Give a layer its body.

    Example:
        >>> bar = volume_of((84,), Scale(side=32, units=84, sheets=True))
        >>> bar.width, bar.height
        (11.0, 130.0)
    """
    if not is_map(shape):
        height = max(_HIGHEST * sqrt(prod(shape) / scale.units), _LEAST)
        face = ((0.0, 0.0), (_BAR, 0.0), (0.0, height))
        return _centered([_rectangle(0, 0, _BAR, height)], face, (0, height / 2))
    channels, *sides = shape
    height = scale.length(sides[-2] if len(sides) > 1 else sides[0])
    width = scale.length(sides[-1]) if len(sides) > 1 else _LEAST
    if not scale.sheets and len(sides) < 3:
        thickness = max(1.1 * sqrt(channels), 3.0)
        away = (_ACROSS * width, -_UP * width)
        polygons = _cuboid(0, 0, thickness, height, away)
        return _centered(polygons, ((thickness, 0), away, (0, height)), (0, 0.4 * height))
    deep = scale.length(sides[0]) if len(sides) > 2 else 0.0
    sheets = min(channels, _MOST_SHEETS if not deep else 5)
    apart = min(6.0 if not deep else 9.0, 64 / sheets)
    polygons = []
    for i in reversed(range(sheets)):
        x, y = -i * apart, -i * apart
        if deep:
            polygons += _cuboid(x, y, width, height, (_ACROSS * deep, -_UP * deep))
        else:
            polygons.append(_rectangle(x, y, width, height))
    unit = (0.25 * width, 0.3 * height)
    return _centered(polygons, ((0, 0), (width, 0), (0, height)), unit)


def _rectangle(x: float, y: float, width: float, height: float) -> tuple[Point, ...]:
    return (x, y), (x + width, y), (x + width, y + height), (x, y + height)


def _cuboid(
    x: float, y: float, width: float, height: float, away: Point
) -> list[tuple[Point, ...]]:
    """Give upper, right and front side of a cuboid."""
    (a, b), right, low = away, x + width, y + height
    return [
        ((x, y), (x + a, y + b), (right + a, y + b), (right, y)),
        ((right, y), (right + a, y + b), (right + a, low + b), (right, low)),
        _rectangle(x, y, width, height),
    ]


def _centered(
    polygons: Sequence[tuple[Point, ...]], face: tuple[Point, Point, Point], unit: Point
) -> Volume:
    xs = [x for polygon in polygons for x, _ in polygon]
    ys = [y for polygon in polygons for _, y in polygon]
    dx, dy = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    corner, across, down = face
    return Volume(
        polygons=tuple(tuple((x - dx, y - dy) for x, y in polygon) for polygon in polygons),
        face=((corner[0] - dx, corner[1] - dy), across, down),
        unit=(unit[0] - dx, unit[1] - dy),
        width=max(xs) - min(xs),
        height=max(ys) - min(ys),
    )


def draw_volume(picture: Picture, volume: Volume, center: Point, paint: str) -> None:
    """Draw a body around a place."""
    for polygon in volume.polygons:
        picture.polygon([(x + center[0], y + center[1]) for x, y in polygon], paint)
