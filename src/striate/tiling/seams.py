"""What a cut inside an image spoils, along one axis, read from a trace.

A tile that begins on a multiple of the network's step, and whose length differs from the whole
input's by such a multiple, is treated as that part of the whole is, but for the outputs near a
cut: there the tile shows the network its end, and what the network adds at an end (zeros or
mirrored maps around a convolution, windows cut short), where the whole has more of the image.
Which outputs those are follows from three things that the trace knows: which maps are read
beyond their ends, where in the input these ends lie, and which outputs look that far.
"""

from typing import NamedTuple

import numpy as np

from striate.intervals import Indices, Intervals, largest_field, look_up
from striate.tracing import Layer, Trace

_FAR = 2**40


def reached(result: Trace) -> list[int]:
    """Give the positions of the layers that the network's answer depends on, in their order."""
    waiting, found = [p for p in result.outputs if p >= 0], set[int]()
    while waiting:
        position = waiting.pop()
        if position not in found:
            found.add(position)
            waiting += [p for p in result.layers[position].inputs if p >= 0]
    return sorted(found)


def mixing_layers(result: Trace, axis: int) -> tuple[str, ...]:
    """Name the layers that mix a whole axis of the image, as global pooling does.

    What only passes such a mixture on is not named.
    """
    named: list[str] = []
    mixed: set[int] = set()
    for position in reached(result):
        layer = result.layers[position]
        if _is_mixed(layer, axis):
            if mixed.isdisjoint(layer.inputs):
                named.append(_called(layer))
            mixed.add(position)
    return tuple(named)


def uneven_layers(result: Trace, axis: int) -> tuple[str, ...]:
    """Name the first layer whose map does not repeat itself, or only after the longest way."""
    layers = [result.layers[position] for position in reached(result)]
    broken = [layer for layer in layers if _ends(layer.dependence[axis].intervals) is None]
    if not broken:
        longest = max(abs(layer.dependence[axis].intervals.shift) for layer in layers)
        broken = [x for x in layers if abs(x.dependence[axis].intervals.shift) == longest]
    return (_called(broken[0]),)


def _is_mixed(layer: Layer, axis: int) -> bool:
    carried, intervals = layer.dependence[axis]
    return carried is None and not intervals.is_empty


def _called(layer: Layer) -> str:
    return layer.name if layer.name.endswith(layer.kind) else f"{layer.name} ({layer.kind})"


def step(result: Trace, axis: int) -> int:
    """Find by how many pixels the network repeats itself, answering pixel by pixel; 0 if never."""
    carried, intervals = result.dependence[axis]
    found = result.alignment[axis]
    if carried is None or found is None or intervals.shift != intervals.period:
        return 0
    if any(_is_mixed(result.layers[position], axis) for position in reached(result)):
        return 0
    return found if _cuts(result, axis) is not None else 0


def spoiled(result: Trace, axis: int) -> tuple[int, int]:
    """Count the outputs that a cut before them, and a cut behind them, spoils.

    Args:
        result: Of a network that has a ``step`` along the axis.
        axis: Of the input's spatial axes.

    Returns:
        The outputs at the start and at the end.
    """
    cuts, intervals = _cuts(result, axis), result.dependence[axis].intervals
    part = _regular_part(intervals)
    if cuts is None or part is None:
        raise ValueError(f"axis {axis} has no step")
    (begin, end), size, period = part, intervals.size, intervals.period
    # Continued beyond the ends, so that a field larger than the image is measured too.
    reach = 2 * (largest_field(intervals) + result.input_shape[axis + 1])
    places = np.arange(-reach, size + reach, dtype=np.int64)
    inside = begin + (places - begin) % period
    first, last = look_up(intervals, inside)
    front = int(places[first + places - inside <= cuts[0]].max(initial=-1)) + 1
    back = size - int(places[last + places - inside >= cuts[1]].min(initial=size))
    return max(front, begin), max(back, size - end)


class _Ends(NamedTuple):
    """What lies at the ends of a map, and just beyond them [input pixels].

    Attributes:
        low: The first input that its regular part depends on.
        high: The last one.
        before: The first input that the index before the regular part would depend on.
        behind: The last one of the index behind it.
        is_torn: Whether the map has more than its regular part.
    """

    low: int
    high: int
    before: int
    behind: int
    is_torn: bool


def _ends(intervals: Intervals) -> _Ends | None:
    """Find the ends of a map; None where it does not repeat itself."""
    part = _regular_part(intervals)
    if part is None:
        return None
    (begin, end), period, shift = part, intervals.period, intervals.shift
    places = np.arange(begin, begin + period)
    first, last = look_up(intervals, places)
    real = first <= last
    if not real.any():
        return None
    turns = (end - 1 - places[real]) // period  # to the last index of each kind
    first, last = first[real], last[real]
    if shift < 0:
        low, high = int((first + turns * shift).min()), int(last.max())
        before, behind = int((first + (turns + 1) * shift).max()), int((last - shift).min())
    else:
        low, high = int(first.min()), int((last + turns * shift).max())
        before, behind = int((first - shift).max()), int((last + (turns + 1) * shift).min())
    return _Ends(low, high, before, behind, (begin, end) != (0, intervals.size))


def _regular_part(intervals: Intervals) -> tuple[int, int] | None:
    """Find the longest range around the middle in which a map repeats itself."""
    size, period, shift = intervals.size, intervals.period, intervals.shift
    if shift == 0:
        return None
    if intervals.is_regular:
        return 0, size
    first, last = intervals.first, intervals.last
    if size < 2 * period:
        return None
    there = first <= last
    holds = there[period:] & there[:-period]
    with np.errstate(over="ignore"):
        holds &= first[period:] - first[:-period] == shift
        holds &= last[period:] - last[:-period] == shift
    middle = len(holds) // 2
    breaks = np.flatnonzero(~holds)
    if not holds[middle]:
        return None
    begin = int(breaks[breaks < middle].max(initial=-1)) + 1
    end = int(breaks[breaks > middle].min(initial=len(holds))) + period
    if _looks_afar(first, last, begin, end):
        return None
    return begin, end


def _looks_afar(first: Indices, last: Indices, begin: int, end: int) -> bool:
    """Tell whether the ends of a map look further in than a mirror does, as circular ones do."""
    size = len(first)
    inward, outward = last[min(2 * begin, end - 1)], first[max(2 * end - size - 1, begin)]
    real = first <= last
    front, back = np.arange(size) < begin, np.arange(size) >= end
    return bool((last[front & real] > inward).any() or (first[back & real] < outward).any())


def _cuts(result: Trace, axis: int) -> tuple[int, int] | None:
    """Find the inputs by which one knows that an output is spoiled.

    It is spoiled by a cut at the start if it depends on the first of them or on one before, by a
    cut at the end if on the second or on one behind. None where a map does not repeat itself.
    """
    before, behind = -1, result.input_shape[axis + 1]
    for position in reached(result):
        layer = result.layers[position]
        intervals = layer.dependence[axis].intervals
        if intervals.is_empty:
            continue
        own = _ends(intervals)
        if own is None:
            return None
        if own.is_torn:
            before, behind = max(before, own.before), min(behind, own.behind)
        for source in _read_beyond(result, layer, axis):
            ends = _ends(source)
            if ends is None:
                return None
            if own.low <= ends.before:
                before = max(before, ends.before)
            if own.high >= ends.behind:
                behind = min(behind, ends.behind)
    return before, behind


def _read_beyond(result: Trace, layer: Layer, axis: int) -> list[Intervals]:
    """Give the maps that a layer may read beyond their ends.

    The image is left out: its ends are always counted. So are maps that are joined, or cropped
    to be joined: that one of them lies further in than the others does not mean that.
    """
    maps = [result.layers[p].dependence[axis].intervals for p in layer.inputs if p >= 0]
    size = layer.dependence[axis].intervals.size
    joins = len(layer.inputs) > 1 and layer.window is None and layer.multiply_adds == 0
    return [m for m in maps if not m.is_empty and not (joins and m.size >= size)]
