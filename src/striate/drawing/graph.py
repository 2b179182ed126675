"""The graph of layers, as in the figures of GoogLeNet and ResNet."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from textwrap import wrap

from striate.drawing.folding import Fold, folded
from striate.drawing.layout import Layout, lay_out
from striate.drawing.steps import MERGES, Step
from striate.drawing.svg import Box, Picture, Point, text_width
from striate.drawing.wording import PAINTS, around, by, caption, heading, tooltip, usual
from striate.tracing import Trace

_SIZE, _SMALL = 12.0, 10.0  # of the text [units of the view box]
_GAP = 18.0  # between boxes of a row
_ARROW = 24.0  # between rows
_RADIUS = 11.0  # of an addition
_MARGIN = 12.0  # of the frame around what is repeated
_GUTTER = 44.0  # between columns
_LOWEST = 720.0  # a drawing that is no higher has one column
_ASPECT = 1.4
_MOST_LINE = 44  # characters of a line of a summary

Usual = tuple[tuple[str, ...], tuple[str, ...]] | None


@dataclass(frozen=True)
class _Lines:
    """What stands in a box: small before, large, small after."""

    before: str
    heading: str
    after: str

    @property
    def size(self) -> tuple[float, float]:
        """Give width and height of the box around it."""
        small = max(text_width(self.before, _SMALL), text_width(self.after, _SMALL))
        width = max(text_width(self.heading, _SIZE), small) + 18
        return max(width, 64), 26 + 13 * (bool(self.before) + bool(self.after))


@dataclass(frozen=True)
class _Block:
    """A stretch of the network with places relative to its entry at (0, 0)."""

    fold: Fold
    boxes: dict[int, Box]
    lines: dict[int, _Lines]
    layout: Layout
    tops: tuple[float, ...]
    bottoms: tuple[float, ...]
    left: float
    right: float

    @property
    def height(self) -> float:
        """Measure from the entry to the lower end, frame included."""
        return self.bottoms[-1] + (_MARGIN if self.fold.times > 1 else 0)


def draw_graph(picture: Picture, trace: Trace, steps: Sequence[Step], title: str) -> None:
    """Draw boxes and arrows in one or more columns, repeats once and counted.

    Args:
        picture: Drawn on.
        trace: Of the network.
        steps: Of the trace.
        title: Stands above.
    """
    most = usual(steps)
    blocks = [_block(steps, fold, most) for fold in folded(steps)]
    x = 0.0
    entry: Point | None = None
    for column in _columns(blocks):
        left, right = min(b.left for b in column), max(b.right for b in column)
        center = x - left
        y = 0.0
        if entry is not None:
            _continue(picture, entry, (center, y), x - _GUTTER / 2)
        for block in column:
            _draw_block(picture, steps, block, (center, y))
            y += block.height
        entry = (center, y)
        x += right - left + _GUTTER
    picture.head(title, caption(trace, most))


def _block(steps: Sequence[Step], fold: Fold, most: Usual) -> _Block:
    if fold.summary:
        return _summary(fold, steps)
    numbers = fold.drawn
    lines = {i: _lines(steps, fold, i, most) for i in numbers}
    sizes = {
        i: (2 * _RADIUS, 2 * _RADIUS) if _is_round(steps[i]) else lines[i].size for i in numbers
    }
    # The words of an addition stand beside it.
    room = {
        i: sizes[i][0] + 2 * (8 + text_width(lines[i].after, _SMALL))
        if _is_round(steps[i]) and lines[i].after
        else sizes[i][0]
        for i in numbers
    }
    layout = lay_out({i: steps[i].inputs for i in numbers}, room, _GAP)
    return _stacked(fold, layout, lines, sizes, room)


def _lines(steps: Sequence[Step], fold: Fold, i: int, most: Usual) -> _Lines:
    step = steps[i]
    read = steps[step.inputs[0]].shape if step.inputs else ()
    counts = [steps[j].channels for j in fold.steps[i - fold.steps[0] :: len(fold.drawn)]]
    channels = f"{min(counts):,}…{max(counts):,}" if len(set(counts)) > 1 else None
    before, after = around(step, most)
    sides = step.sides
    changes = all(steps[j].sides != sides for j in step.inputs)
    if step.inputs and max(sides, default=1) > 1 and changes:
        after = " · ".join(filter(None, (by(sides), after)))
    return _Lines(before, heading(step, read, channels), after)


def _is_round(step: Step) -> bool:
    return step.kind in ("addition", "product")


def _stacked(
    fold: Fold,
    layout: Layout,
    lines: dict[int, _Lines],
    sizes: dict[int, tuple[float, float]],
    room: dict[int, float],
) -> _Block:
    """Put rows under one another, below the entry and the upper side of a frame."""
    framed = fold.times > 1
    tops, bottoms = [], []
    y = _ARROW + _MARGIN * framed if fold.steps[0] else 0.0
    for row in range(max(layout.rows.values()) + 1):
        height = max(sizes[i][1] for i in fold.drawn if layout.rows[i] == row)
        tops.append(y)
        bottoms.append(y + height)
        y += height + _ARROW
    boxes = {}
    for i in fold.drawn:
        (width, height), row, x = sizes[i], layout.rows[i], layout.centers[i]
        top = (tops[row] + bottoms[row] - height) / 2
        boxes[i] = Box(x - width / 2, top, x + width / 2, top + height)
    lanes = [x for chain in layout.lanes.values() for _, x in chain]
    left = min([layout.centers[i] - room[i] / 2 for i in fold.drawn] + lanes)
    right = max([layout.centers[i] + room[i] / 2 for i in fold.drawn] + lanes)
    if framed:
        left, right = left - _MARGIN, right + _MARGIN
        right += 8 + text_width(_times(fold), 14, bold=True)
    return _Block(fold, boxes, lines, layout, tuple(tops), tuple(bottoms), left, right)


def _times(fold: Fold) -> str:
    return f"× {fold.times}" if fold.times > 1 else ""


def _summary(fold: Fold, steps: Sequence[Step]) -> _Block:
    """Make one box of a stretch that is too tangled to be drawn."""
    rows = [row for text in fold.summary for row in wrap(text, _MOST_LINE)]
    width = max(text_width(row, _SIZE) for row in rows) + 24
    height = 17.0 * len(rows) + 34
    number = fold.steps[-1]
    lines = {number: _Lines("", f"{len(fold.steps):,} steps", "\n".join(rows))}
    layout = Layout({number: 0}, {number: 0.0})
    boxes = {number: Box(-width / 2, _ARROW, width / 2, _ARROW + height)}
    return _Block(fold, boxes, lines, layout, (_ARROW,), (_ARROW + height,), -width / 2, width / 2)


def _draw_block(picture: Picture, steps: Sequence[Step], block: _Block, entry: Point) -> None:
    fold, (x, y) = block.fold, entry
    if fold.times > 1:
        mark = text_width(_times(fold), 14, bold=True) + 8
        frame = Box(
            x + block.left,
            y + block.tops[0] - _MARGIN,
            x + block.right - mark,
            y + block.bottoms[-1] + _MARGIN,
        )
        picture.rectangle(frame, "frame", round_by=10)
        middle = (frame.top + frame.bottom) / 2
        picture.text(
            (frame.right + 6, middle + 5), _times(fold), 14, anchor="start", kind="ink bold"
        )
    for i, box in block.boxes.items():
        placed = Box(box.left + x, box.top + y, box.right + x, box.bottom + y)
        if fold.summary:
            _draw_edge(picture, [entry, ((placed.left + placed.right) / 2, placed.top)], "line")
            count = sum(steps[j].parameters for j in fold.steps)
            picture.begin(f"{len(fold.steps):,} steps, {count:,} parameters")
            _draw_summary(picture, block.lines[i], placed)
            picture.end()
            continue
        _draw_edges(picture, steps, block, i, entry)
        repeats = [steps[j] for j in fold.steps[i - fold.steps[0] :: len(fold.drawn)]]
        picture.begin(tooltip(steps[i], repeats))
        _draw_step(picture, steps[i], block.lines[i], placed)
        picture.end()


def _draw_edges(
    picture: Picture, steps: Sequence[Step], block: _Block, i: int, entry: Point
) -> None:
    """Draw what a box reads: lines that arrive at its upper side, from left to right."""
    x, y = entry
    box = block.boxes[i]
    paths = []
    for source in steps[i].inputs:
        start = entry
        if source in block.boxes:
            above = block.boxes[source]
            start = ((above.left + above.right) / 2 + x, above.bottom + y)
        path = [start]
        for row, place in block.layout.lanes.get((source, i), []):
            path += [(x + place, y + block.tops[row]), (x + place, y + block.bottoms[row])]
        readers = sum(source in steps[j].inputs for j in block.boxes)
        kind = "line"
        if len(path) > 1 and readers > 1 and steps[i].kind in MERGES:
            fits = steps[i].kind == "concatenation" or steps[source].shape == steps[i].shape
            kind = "skip" if fits else "skip dotted"
        paths.append((path, kind))
    paths.sort(key=lambda found: found[0][-1][0])
    center, radius = (box.left + box.right) / 2 + x, (box.right - box.left) / 2
    apart = min(14.0, 1.4 * radius / max(len(paths), 1))
    for place, (path, kind) in enumerate(paths):
        aside = (place - (len(paths) - 1) / 2) * apart
        drop = radius - sqrt(radius**2 - aside**2) if _is_round(steps[i]) else 0.0
        _draw_edge(picture, [*path, (center + aside, box.top + y + drop)], kind)


def _draw_edge(picture: Picture, points: Sequence[Point], kind: str) -> None:
    *before, (x, y) = points
    picture.curve([*before, (x, y - 5)], kind)
    picture.tip((x, y), kind.split()[0])


def _draw_step(picture: Picture, step: Step, lines: _Lines, box: Box) -> None:
    paint = PAINTS[step.kind]
    center = (box.left + box.right) / 2
    if _is_round(step):
        middle = (box.top + box.bottom) / 2
        picture.circle((center, middle), _RADIUS, paint)
        picture.text((center, middle + 5), lines.heading, 15)
        if lines.after:
            beside = (box.right + 6, middle + 3.5)
            picture.text(beside, lines.after, _SMALL, anchor="start", kind="quiet")
        return
    picture.rectangle(box, paint, round_by=12 if paint in ("merge", "input") else 4)
    y = box.top + (17.5 if not lines.before else 14)
    if lines.before:
        picture.text((center, y), lines.before, _SMALL, kind="quiet")
        y += 15
    picture.text((center, y), lines.heading, _SIZE)
    if lines.after:
        picture.text((center, y + 14), lines.after, _SMALL, kind="quiet")


def _draw_summary(picture: Picture, lines: _Lines, box: Box) -> None:
    picture.rectangle(box, "other", round_by=4)
    center = (box.left + box.right) / 2
    picture.text((center, box.top + 19), lines.heading, _SIZE, kind="ink bold")
    for row, text in enumerate(lines.after.split("\n")):
        picture.text((center, box.top + 40 + 17 * row), text, _SIZE)


def _columns(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """Break the blocks into columns, so that the page is a little wider than high."""
    total = sum(block.height for block in blocks)
    best = [list(blocks)]
    if total <= _LOWEST:
        return best
    off = float("inf")
    for number in range(1, 13):
        columns = _broken(blocks, number)
        width = sum(max(b.right for b in c) - min(b.left for b in c) + _GUTTER for c in columns)
        height = max(sum(block.height for block in column) for column in columns)
        if abs(log(width / height / _ASPECT)) < off:
            off, best = abs(log(width / height / _ASPECT)), columns
    return best


def _broken(blocks: Sequence[_Block], number: int) -> list[list[_Block]]:
    """Break into at most so many columns; the highest is as low as can be, to the unit."""
    low, high = max(b.height for b in blocks), sum(b.height for b in blocks)
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if len(_filled(blocks, middle)) <= number else (middle, high)
    return _filled(blocks, high)


def _filled(blocks: Sequence[_Block], most: float) -> list[list[_Block]]:
    columns: list[list[_Block]] = [[]]
    height = 0.0
    for block in blocks:
        if columns[-1] and height + block.height > most:
            columns.append([])
            height = 0.0
        columns[-1].append(block)
        height += block.height
    return columns


def _continue(picture: Picture, end: Point, start: Point, gutter: float) -> None:
    """Lead the line from the foot of a column to the head of the next."""
    (x0, y0), (x1, y1) = end, start
    around = [(x0, y0 + 16), (gutter, y0 + 16), (gutter, y1 - 16), (x1, y1 - 16)]
    picture.line([end, *around, start], "line", round_by=8)
