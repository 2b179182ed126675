"""The U of a network that goes down in resolution and up again, with copies across."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

from striate.drawing.steps import Step
from striate.drawing.svg import Box, Picture, text_width
from striate.drawing.wording import PAINTS, by, caption, heading, tooltip
from striate.tracing import Trace

_SIZE = 11.0  # of the text [units of the view box]
_LARGEST = 150.0  # height of the largest map
_ARROW = 26.0  # from bar to bar
_DOWN = 52.0  # from level to level
_MOST_STEPS = 90
_LEVEL = log(1.5)  # a side that changes by more leads to another level
_JOINS = ("addition", "concatenation")


@dataclass(frozen=True)
class U:
    """Which steps stand on which level, and what is copied across.

    Attributes:
        levels: Of each step: 0 at full resolution.
        copies: Pairs (from, to): the step on the way down, and the one on the way up that
            joins it.
        inside: Steps that are no bar of their own, but a part of the one that joins them.
    """

    levels: tuple[int, ...]
    copies: tuple[tuple[int, int], ...]
    inside: frozenset[int]


def find_u(steps: Sequence[Step]) -> U | None:
    """Look whether a network is a U: down all levels, up again, with copies from side to side.

    Args:
        steps: Of any network.

    Returns:
        None if it is not, or has more than 90 steps.
    """
    if len(steps) > _MOST_STEPS:
        return None
    levels = [0] * len(steps)
    for i, step in enumerate(steps):
        for source in step.inputs[-1:]:
            levels[i] = levels[source] + _change(steps[source], step)
    lowest = max(levels)
    bottom = levels.index(lowest)
    falls = levels[: bottom + 1] == sorted(levels[: bottom + 1])
    rises = levels[bottom:] == sorted(levels[bottom:], reverse=True)
    if not (lowest and falls and rises and set(levels) == set(range(lowest + 1))):
        return None
    copies = tuple(
        (source, i)
        for i, step in enumerate(steps)
        for source in step.inputs
        if step.kind in _JOINS and source < bottom < i and levels[source] == levels[i] < lowest
    )
    readers = [sum(i in step.inputs for step in steps) for i in range(len(steps))]
    inside = frozenset(
        source
        for _, i in copies
        if steps[i].kind == "concatenation"
        for source in steps[i].inputs
        if source > bottom and readers[source] == 1 and _leads_up(steps[source])
    )
    return U(tuple(levels), copies, inside) if copies else None


def _leads_up(step: Step) -> bool:
    return step.kind in ("transposed convolution", "resizing")


def _change(before: Step, step: Step) -> int:
    """Count the levels from one step down to the next; a halving of the sides is one."""
    if len(before.sides) != len(step.sides) or not step.sides:
        return 0
    ratio = max(log(a / b) for a, b in zip(before.sides, step.sides, strict=True))
    back = max(log(b / a) for a, b in zip(before.sides, step.sides, strict=True))
    if max(ratio, back) < _LEVEL:
        return 0
    return max(1, round(ratio / log(2))) if ratio > back else -max(1, round(back / log(2)))


def draw_u(picture: Picture, trace: Trace, steps: Sequence[Step], u: U, title: str) -> None:
    """Draw maps as bars: as high as a side, as wide as there are maps; a level a resolution.

    Args:
        picture: Drawn on.
        trace: Of the network.
        steps: Of the trace.
        u: What ``find_u`` found in them.
        title: Stands above.
    """
    bars = _bars(steps, u)
    for source, i in u.copies:
        _copy(picture, bars[source], bars[i])
    for line in _lines(steps, u):
        _lead(picture, steps, bars, u, line)
    for i, bar in bars.items():
        _draw_bar(picture, steps, bar, i, u)
    _legend(picture, steps, u, max(bar.bottom for bar in bars.values()) + 60)
    picture.head(title, caption(trace))


def _bars(steps: Sequence[Step], u: U) -> dict[int, Box]:
    """Place the bars: from left to right, those on one level with their upper ends in line."""
    largest = max(max(step.sides, default=1) for step in steps)
    height = {
        i: max(_LARGEST * sqrt(step.sides[-2:][0] / largest), 12.0) if step.sides else 12.0
        for i, step in enumerate(steps)
    }
    tops = [0.0]
    for level in range(max(u.levels)):
        highest = max(height[i] for i in height if u.levels[i] == level)
        tops.append(tops[-1] + highest + _DOWN)
    bars: dict[int, Box] = {}
    free = [0.0] * len(tops)  # where the texts of each level end
    before = -1
    for i, step in enumerate(steps):
        if i in u.inside:
            continue
        level, width = u.levels[i], max(0.9 * sqrt(step.channels), 6.0)
        texts = max(text_width(text, _SIZE) for text in _texts(steps, u, i))
        if before >= 0 and u.levels[before] != level:
            center = max((bars[before].left + bars[before].right) / 2, free[level] + width / 2)
        else:
            start = bars[before].right + _ARROW if before >= 0 else 0.0
            center = max(start + width / 2, free[level] + texts / 2 + 8)
        bars[i] = Box(center - width / 2, tops[level], center + width / 2, tops[level] + height[i])
        beside = max(7.0, width / 2 + 3) + texts
        free[level] = center + (beside if _busy(steps, u, i) else max(texts, width) / 2)
        before = i
    return bars


def _texts(steps: Sequence[Step], u: U, i: int) -> tuple[str, str]:
    """Give what stands over a bar and under it: its maps, and its size where that is new."""
    before = max((j for j in range(i) if j not in u.inside), default=-1)
    is_new = before < 0 or steps[before].sides != steps[i].sides
    return f"{steps[i].channels:,}", by(steps[i].sides) if is_new and steps[i].sides else ""


def _busy(steps: Sequence[Step], u: U, i: int) -> set[str]:
    """Tell at which ends of a bar lines from or to other bars begin or end."""
    ends = set()
    for source, target in _lines(steps, u):
        down = u.levels[target] - u.levels[source]
        if i == source and down:
            ends.add("bottom" if down > 0 else "top")
        if i == target and down:
            ends.add("top" if down > 0 else "bottom")
        if i in (source, target) and not down and not _follows(u, source, target):
            ends.add("top")
    return ends


def _lines(steps: Sequence[Step], u: U) -> list[tuple[int, int]]:
    """List which bar reads which, the copies across left out."""
    found = []
    for i, step in enumerate(steps):
        for source in step.inputs:
            if i not in u.inside and (source, i) not in u.copies:
                passed = steps[source].inputs[-1] if source in u.inside else source
                found.append((passed, i))
    return found


def _follows(u: U, source: int, target: int) -> bool:
    return all(i in u.inside for i in range(source + 1, target))


def _copy(picture: Picture, source: Box, target: Box) -> None:
    y = source.top + 0.25 * min(source.bottom - source.top, target.bottom - target.top)
    picture.line([(source.right, y), (target.left - 4, y)], "skip")
    picture.tip((target.left, y), "skip", direction="right")


def _lead(
    picture: Picture, steps: Sequence[Step], bars: dict[int, Box], u: U, line: tuple[int, int]
) -> None:
    """Draw the arrow from bar to bar, in the colour of what happens on the way."""
    source, target = line
    start, end = bars[source], bars[target]
    x0, x1 = (start.left + start.right) / 2, (end.left + end.right) / 2
    middle = [i for i in steps[target].inputs if i in u.inside]
    paint = _paint(steps[middle[0] if middle else target])
    down = u.levels[target] - u.levels[source]
    if down > 0:
        picture.curve([(x0, start.bottom), (x1, end.top - 4)], paint)
        picture.tip((x1, end.top), paint)
    elif down < 0:
        picture.curve([(x0, start.top), (x1, end.bottom + 4)], paint)
        picture.tip((x1, end.bottom), paint, direction="up")
    elif _follows(u, source, target):
        y = start.top + 0.6 * min(start.bottom - start.top, end.bottom - end.top)
        picture.line([(start.right, y), (end.left - 4, y)], paint)
        picture.tip((end.left, y), paint, direction="right")
    else:
        # Beside the middle, where lines from level to level may end.
        x0, x1 = start.right - min(start.right - x0, 1.0), end.left + min(x1 - end.left, 1.0)
        over = [(x0, start.top), (x0, start.top - 22), (x1, end.top - 22), (x1, end.top - 4)]
        picture.line(over, "to-merge", round_by=8)
        picture.tip((x1, end.top), "to-merge")


def _paint(step: Step) -> str:
    return "line" if PAINTS[step.kind] == "merge" else f"to-{PAINTS[step.kind]}"


def _draw_bar(picture: Picture, steps: Sequence[Step], bar: Box, i: int, u: U) -> None:
    step = steps[i]
    told = [steps[j] for j in step.inputs if j in u.inside]
    picture.begin("\n".join(map(tooltip, (*told, step))))
    copied = [steps[source].channels for source, target in u.copies if target == i]
    if step.kind == "concatenation" and copied:
        share = sum(copied) / max(step.channels, sum(copied) + 1)
        split = bar.left + share * (bar.right - bar.left)
        picture.rectangle(Box(bar.left, bar.top, split, bar.bottom), "input")
        picture.rectangle(Box(split, bar.top, bar.right, bar.bottom), "transposed")
    else:
        picture.rectangle(bar, PAINTS[step.kind])
    picture.end()
    over, under = _texts(steps, u, i)
    busy, center = _busy(steps, u, i), (bar.left + bar.right) / 2
    for end, text, y in (("top", over, bar.top - 5), ("bottom", under, bar.bottom + 13)):
        kind = "ink" if end == "top" else "quiet"
        if text and end in busy:
            picture.text(
                (max(center + 7, bar.right + 3), y), text, _SIZE, anchor="start", kind=kind
            )
        elif text:
            picture.text((center, y), text, _SIZE, kind=kind)


def _legend(picture: Picture, steps: Sequence[Step], u: U, y: float) -> None:
    """Say what the arrows do, in rows under the U."""
    entries: dict[tuple[str, str], None] = {}
    for step in steps:
        if step.kind not in ("input", "concatenation", "addition"):
            read = steps[step.inputs[-1]].shape if step.inputs else ()
            words = (*step.before, heading(step, read, ""), *step.after)
            entries[_paint(step), ", ".join(words)] = None
    if any(u.levels[a] == u.levels[b] and not _follows(u, a, b) for a, b in _lines(steps, u)):
        entries["to-merge", "addition"] = None
    same = all(steps[a].sides == steps[b].sides for a, b in u.copies)
    entries["skip", "copy" if same else "copy and crop"] = None
    left = picture.bounds.left if picture.bounds else 0.0
    most = max(picture.bounds.right if picture.bounds else 0.0, left + 400)
    x = left
    for paint, text in entries:
        width = 34 + text_width(text, _SIZE) + 22
        if x > left and x + width > most:
            x, y = left, y + 20
        picture.line([(x, y - 4), (x + 22, y - 4)], paint)
        picture.tip((x + 26, y - 4), paint, direction="right")
        picture.text((x + 33, y), text, _SIZE, anchor="start")
        x += width
