"""Readings of a trace: memory, the grid by which a network repeats itself, what a tile needs."""

import math
from collections.abc import Sequence
from fractions import Fraction

from striate.tracing.layers import Layer
from striate.tracing.values import Dependence


def most_alive(layers: Sequence[Layer], outputs: Sequence[int], input_bytes: int) -> int:
    """Find the most memory that maps take at once, layer after layer in their order [bytes].

    A map lives from the layer that makes it to the last one that reads it, or a view of it. What
    the network returns lives to the end; the input, at first, is a map like the others. Weights
    and what a layer needs for itself are not counted.

    Args:
        layers: In the order of the calls.
        outputs: Positions of the layers that the network's answer comes from.
        input_bytes: Of one example.
    """
    ends = {-1: 0}
    for position, layer in enumerate(layers):
        ends[layer.storage] = position
        for read in layer.inputs:
            ends[layers[read].storage if read >= 0 else -1] = position
    ends.update((layers[last].storage if last >= 0 else -1, len(layers)) for last in outputs)
    dying = [0] * (len(layers) + 1)
    for position, end in ends.items():
        dying[end] += layers[position].output_bytes if position >= 0 else input_bytes
    alive = most = input_bytes
    for position, layer in enumerate(layers):
        alive += layer.output_bytes
        most = max(most, alive)
        alive -= dying[position]
    return most


def alignment(layers: Sequence[Layer], axis: int) -> int | None:
    """Find the smallest step of the input by which all maps of a network move by whole indices.

    Where a tile begins on a multiple of it, the network does the same as for the whole image. A
    layer that depends on the whole axis has no grid and is left out.

    Args:
        layers: Of a trace.
        axis: Of the input's spatial axes, counted from 0.

    Returns:
        The step [input pixels]; None if some map never repeats itself.
    """
    step = 1
    for layer in layers:
        carried, intervals = layer.dependence[axis]
        if carried is None or (intervals.line is not None and intervals.shift == 0):
            continue
        if intervals.shift == 0:
            return None
        step = math.lcm(step, abs(intervals.shift))
    return step


def halo(dependence: Dependence, size: int) -> tuple[int, int] | None:
    """Say how many input pixels an output needs before and behind its own place.

    Its own place is its share of the input, of which what the outputs do not cover is the same
    at both borders: of 572 pixels and 388 outputs, output 0 lies over pixel 92.

    Args:
        dependence: Of the output on one axis of the input.
        size: Of that axis [input pixels].

    Returns:
        The pixels before and behind; None where the output does not move along the input.
    """
    carried, intervals = dependence
    rate = Fraction(intervals.shift, intervals.period)
    if carried is None or rate <= 0:
        return None
    margin = (size - intervals.size * rate) / 2
    before = behind = 0
    firsts, lasts = intervals.first.tolist(), intervals.last.tolist()
    for index, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        if first <= last:
            start = margin + index * rate
            before = max(before, math.ceil(start - first))
            behind = max(behind, math.ceil(last - (start + rate - 1)))
    return before, behind
