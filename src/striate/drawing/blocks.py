"""Blocks of maps from left to right, as in the figures of LeNet-5 and AlexNet."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from striate.drawing.steps import Step, spaced
from striate.drawing.svg import Picture, Point, text_width
from striate.drawing.volumes import Volume, draw_volume, is_map, scale_of, volume_of
from striate.drawing.wording import PAINTS, by, caption, operation, tooltip
from striate.tracing import Trace

_SIZE, _SMALL = 12.0, 11.0  # of the text [units of the view box]
_GAP = 46.0  # between blocks
_BETWEEN = 10.0  # between repeats of a block, and between texts
_MOST_REPEATS = 3  # drawn; more are counted
_WIDEST = 1300.0  # of a row
_TOWERS_APART = 26.0


@dataclass(frozen=True)
class _Block:
    """Equal layers in a row, drawn side by side, each perhaps in two towers.

    Attributes:
        steps: The layers.
        reads: The shape that the first of them reads.
        volume: Of one of them, or of one tower of it.
        towers: 1, or 2 where the next or this convolution keeps two halves of the maps apart.
        above: The lines over it.
        below: The lines under what leads to it.
    """

    steps: tuple[Step, ...]
    reads: tuple[int, ...]
    volume: Volume
    towers: int
    above: tuple[str, ...]
    below: tuple[str, ...]

    @property
    def drawn(self) -> int:
        """Count the repeats that are drawn."""
        return min(len(self.steps), _MOST_REPEATS)

    @property
    def width(self) -> float:
        """Measure all repeats."""
        return self.drawn * self.volume.width + (self.drawn - 1) * _BETWEEN

    @property
    def height(self) -> float:
        """Measure all towers."""
        return self.towers * self.volume.height + (self.towers - 1) * _TOWERS_APART


def runs(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """Gather neighbours in a chain that do the same to maps of the same size.

    Example:
        >>> from torch import nn
        >>> from striate.drawing.steps import steps
        >>> from striate.tracing import trace
        >>> network = nn.Sequential(*(nn.Conv1d(2, 2, 3, padding=1) for _ in range(4)))
        >>> [len(run) for run in runs(steps(trace(network, (2, 9))))]
        [1, 4]
    """
    found: list[list[Step]] = [[steps[0]]]
    for before, step in pairwise(steps):
        if _looks(before) == _looks(step):
            found[-1].append(step)
        else:
            found.append([step])
    return [tuple(run) for run in found]


def _looks(step: Step) -> tuple[object, ...]:
    return step.kind, step.label, step.shape, step.window, step.before, step.after


def is_chain(steps: Sequence[Step]) -> bool:
    """Tell whether every step reads the one before, and nothing else."""
    return all(step.inputs == (i,) for i, step in enumerate(steps[1:]))


def draw_blocks(picture: Picture, trace: Trace, steps: Sequence[Step], title: str) -> None:
    """Draw what each layer makes, and between the layers what makes it.

    Sides of maps follow the square root of their length, and so do the number of maps and of
    units, so that 1×1×4096 and 224×224×3 can both be seen.

    Args:
        picture: Drawn on.
        trace: Of the network.
        steps: Of the trace, in a chain.
        title: Stands above.
    """
    y, end = 0.0, None
    for row in _rows(_blocks(steps)):
        places = _places(row)
        half = max(block.height for block in row) / 2
        y += half + 44
        if end is not None:
            left = min(0.0, places[0] - row[0].width / 2) - 12
            start = (places[0] - row[0].width / 2 - 4, y)
            _lead_on(picture, end, start, (left, y - half - 58))
        for i, block in enumerate(row):
            before = (row[i - 1], places[i - 1]) if i else None
            _draw(picture, block, (places[i], y))
            _connect(picture, before, (block, places[i]), y)
        for i, block in enumerate(row):
            from_x = places[i - 1] + row[i - 1].width / 2 if i else None
            _write_below(picture, block, places[i], from_x, y + half + 24)
        end = (places[-1] + row[-1].width / 2 + 4, y)
        y += half + 24 + 15 * max(len(block.below) for block in row) + 40
    picture.head(title, caption(trace))


def _blocks(steps: Sequence[Step]) -> list[_Block]:
    scale = scale_of([(step.channels, *step.sides) for step in steps])
    towers = _towers(steps)
    names = [name for name in map(_paper_name, (step.name for step in steps)) if name]
    named = len(set(names)) == len(names)
    blocks = []
    first = 0
    for run in runs(steps):
        reads = steps[first - 1] if first else None
        both = towers[first]
        shape = (run[0].channels // both, *run[0].sides)
        blocks.append(
            _Block(
                steps=run,
                reads=(reads.channels, *reads.sides) if reads else (),
                volume=volume_of(shape, scale),
                towers=both,
                above=_above(run, named=named, last=first + len(run) == len(steps)),
                below=_below(run, (reads.channels, *reads.sides) if reads else ()),
            )
        )
        first += len(run)
    return blocks


def _towers(steps: Sequence[Step]) -> list[int]:
    """Find the layers whose maps are kept in two halves, as on the two GPUs of AlexNet."""
    towers = [1] * len(steps)
    for i in reversed(range(1, len(steps))):
        step = steps[i]
        halves = step.kind == "convolution" and step.window is not None and step.window.groups == 2
        if halves and step.channels > 2:
            towers[i] = 2
        if (halves or (_pools(step) and towers[i] == 2)) and i > 1:
            towers[i - 1] = 2
    for i, step in enumerate(steps):
        if _pools(step) and towers[i - 1] == 2:
            towers[i] = 2
    return towers


def _pools(step: Step) -> bool:
    return step.kind in ("max pooling", "average pooling", "subsampling")


def _above(run: Sequence[Step], *, named: bool, last: bool) -> tuple[str, ...]:
    step = run[0]
    shape = (step.channels, *step.sides)
    size = f"{step.channels:,}@{by(step.sides)}" if is_map(shape) else f"{step.channels:,}"
    if step.kind == "input":
        return "input", size
    name = _paper_name(step.name) if named and len(run) == 1 else ""
    if last and name in ("", "output"):
        return "output", size
    if re.fullmatch(r"[A-Z]\d+", name):
        return f"{name}: {'feature maps' if is_map(shape) else 'layer'}", size
    return (name, size) if name else (size,)


def _paper_name(name: str) -> str:
    """Give a layer's own name where a reader would know it: C1, conv3_1, fc6, output."""
    own = name.rpartition(".")[2]
    if re.fullmatch(r"[a-z]\d+", own):
        return own.upper()
    known = r"(conv|fc|pool|dense|linear)_?\d+([a-z]|_\d+)?|output"
    return own if re.fullmatch(known, own) else ""


def _below(run: Sequence[Step], reads: tuple[int, ...]) -> tuple[str, ...]:
    step = run[0]
    if step.kind == "input":
        return ()
    count = f"{len(run)} × " if len(run) > 1 else ""
    lines = [count + _operation(step, reads)]
    window = step.window
    if window and step.kind != "resizing" and not (is_map(reads) and step.sides == ()):
        numbers = [by(window.kernel)]
        if window.stride != window.kernel and max(window.stride) > 1:
            numbers.append(f"stride {by(sorted(set(window.stride)))}")
        if max(window.dilation) > 1:
            numbers.append(f"dilation {by(sorted(set(window.dilation)))}")
        lines.append(", ".join(numbers))
        if window.groups > 1:
            lines.append(f"{window.groups} groups")
    words = [*step.before, *step.after]
    return (*lines, ", ".join(words)) if words else tuple(lines)


def _operation(step: Step, reads: tuple[int, ...]) -> str:
    if step.kind == "linear":
        plain = operation(step) == "linear"
        return "full connection" if plain else operation(step)
    if step.kind == "convolution" and step.window is not None:
        whole = step.window.kernel == reads[1:] and step.window.groups == 1
        return "full connection" if whole and len(reads) > 1 else "convolutions"
    if step.kind == "transposed convolution":
        return "transposed convolutions"
    return step.kind if step.kind not in ("light", "other") else spaced(step.label)


def _rows(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """Break the blocks into rows of about the same width."""
    places = _places(blocks)
    width = places[-1] + blocks[-1].width / 2
    number = ceil(width / _WIDEST)
    rows: list[list[_Block]] = [[] for _ in range(number)]
    for block, place in zip(blocks, places, strict=True):
        rows[min(int(place / width * number), number - 1)].append(block)
    return [row for row in rows if row]


def _places(row: Sequence[_Block]) -> list[float]:
    """Find the middle of each block, so that neither bodies nor texts overlap."""
    places: list[float] = []
    right = above_right = below_right = 0.0
    for i, block in enumerate(row):
        half = block.width / 2
        over = max((text_width(line, _SIZE) for line in block.above), default=0) / 2
        under = max((text_width(line, _SMALL) for line in block.below), default=0)
        if i == 0:
            x = max(half, over) + (under + 24 if block.below else 0)
            below_right = x - half if block.below else 0.0
        else:
            # The text below stands in the middle between two blocks.
            from_text = 2 * (below_right + _BETWEEN + under / 2) - right
            left = max(right + _GAP, right + under / 2, from_text)
            x = max(left + half, above_right + _BETWEEN + over)
            below_right = (right + x - half) / 2 + under / 2
        places.append(x)
        right, above_right = x + half, x + over
    return places


def _centers(block: _Block, place: Point) -> list[list[Point]]:
    """Find the middle of each body: for each tower, from left to right."""
    x, y = place
    step = block.volume.width + _BETWEEN
    left = x - block.width / 2 + block.volume.width / 2
    apart = block.volume.height + _TOWERS_APART
    return [
        [
            (left + i * step, y + (tower - (block.towers - 1) / 2) * apart)
            for i in range(block.drawn)
        ]
        for tower in range(block.towers)
    ]


def _draw(picture: Picture, block: _Block, place: Point) -> None:
    picture.begin("\n".join(tooltip(step) for step in block.steps))
    for tower in _centers(block, place):
        for center in tower:
            draw_volume(picture, block.volume, center, PAINTS[block.steps[0].kind])
    picture.end()
    x, y = place
    top = y - block.height / 2 - 9 - 15 * (len(block.above) - 1)
    for i, line in enumerate(block.above):
        picture.text((x, top + 15 * i), line, _SIZE)


def _write_below(picture: Picture, block: _Block, x: float, from_x: float | None, y: float) -> None:
    """Write what leads to a block under the middle of the way to it."""
    under = max((text_width(line, _SMALL) for line in block.below), default=0)
    left = x - block.width / 2
    middle = left - 12 - under / 2 if from_x is None else (from_x + left) / 2
    for i, line in enumerate(block.below):
        kind = "ink" if i == 0 else "quiet"
        picture.text((middle, y + 15 * i), line, _SMALL, kind=kind)


def _lead_on(picture: Picture, end: Point, start: Point, by_way_of: Point) -> None:
    """Lead the line from the end of a row to the head of the next."""
    (x0, y0), (x1, y1) = end, by_way_of
    path = [end, (x0 + 18, y0), (x0 + 18, y1), (x1, y1), (x1, start[1]), start]
    picture.line(path, "line", round_by=8)
    picture.tip(start, direction="right")


def _connect(
    picture: Picture, before: tuple[_Block, float] | None, block: tuple[_Block, float], y: float
) -> None:
    """Draw the lines that converge from a window to the unit that reads it."""
    this, x = block
    targets = _centers(this, (x, y))
    for tower in targets:
        for one, other in pairwise(tower):
            _converge(picture, this, this, one, other)
    if before is None:
        return
    sources = _centers(before[0], (before[1], y))
    step = this.steps[0]
    apart = _pools(step) or (step.window is not None and step.window.groups == 2)
    for i, source in enumerate(sources):
        for j, target in enumerate(targets):
            if i == j or not (apart and this.towers == before[0].towers == 2):
                _converge(picture, before[0], this, source[-1], target[0])


def _converge(
    picture: Picture, before: _Block, block: _Block, source: Point, target: Point
) -> None:
    step, (x, y) = block.steps[0], target
    left, high = x - block.volume.width / 2, block.volume.height
    if step.window is None or not is_map(block.reads) or step.kind == "resizing":
        for down in (0.0, 1.0):
            start = before.volume.on_face(source, 1, down)
            picture.line([start, (left, y + (down - 0.5) * high)], "faint")
        return
    sides = block.reads[1:]
    reach = [
        min(1.0, ((k - 1) * d + 1) / n)
        for k, d, n in zip(step.window.kernel, step.window.dilation, sides, strict=True)
    ]
    across, down = reach[-1], (reach[-2] if len(reach) > 1 else reach[-1])
    if len(reach) == 1:
        across = 1.0
    x0, y0 = 0.72 * (1 - across), 0.3 * (1 - down)
    corners = [
        before.volume.on_face(source, x0 + i * across, y0 + j * down)
        for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))
    ]
    picture.polygon(corners, "window")
    unit = (x + block.volume.unit[0], y + block.volume.unit[1])
    picture.line([corners[1], unit], "window-line")
    picture.line([corners[2], unit], "window-line")
    picture.circle(unit, 1.8, "window-unit")
