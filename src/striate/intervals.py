"""Which inputs each index of a map depends on: intervals along one axis, and how they compose.

Integers and shapes only, no tensors; ``tracing`` follows networks with these.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from striate.errors import UsageError

Indices = NDArray[np.int64]

# An empty interval: every minimum and maximum with it gives the other one.
_NO_FIRST, _NO_LAST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
# Resizing by awkward ratios, one after the other, multiplies periods. A longer one is given up:
# beyond its ends such a map stands still.
_LONGEST_PERIOD = 65_536


@dataclass(frozen=True, eq=False)
class Intervals:
    """For each index of an axis, the first and the last input index that it depends on.

    The border does not clip: an index whose window hangs over the edge has an interval
    that leaves the input, as if the input went on. An index that depends on nothing has
    ``first > last``. Between first and last there may be inputs that do not matter
    (dilation); nothing outside does.

    To continue beyond its ends, a map repeats itself: ``period`` indices on, every interval
    lies ``shift`` inputs on. Convolution and pooling keep a period of 1; a transposed
    convolution with stride 2 has two kinds of index, so its period is 2.

    Attributes:
        size: Length of the axis [indices].
        period: Indices after which the map repeats itself.
        shift: How far it has moved by then [inputs]; negative after a flip.
        first: ``(size,)``, int64, input indices from 0.
        last: ``(size,)``, int64; the interval includes it.
    """

    size: int
    known_first: Indices = field(repr=False)  # at least one period, even if the axis is shorter
    known_last: Indices = field(repr=False)
    period: int = 1
    shift: int = 1

    def __post_init__(self) -> None:
        self.known_first.setflags(write=False)  # axes of equal length share one map
        self.known_last.setflags(write=False)

    @property
    def first(self) -> Indices:
        """First input index of each index."""
        return self.known_first[: self.size]

    @property
    def last(self) -> Indices:
        """Last input index of each index, included."""
        return self.known_last[: self.size]


def inputs(size: int) -> Intervals:
    """Give the intervals of the input itself: each index depends on itself.

    Example:
        >>> inputs(3).first, inputs(3).last
        (array([0, 1, 2]), array([0, 1, 2]))
    """
    indices = np.arange(size, dtype=np.int64)
    return Intervals(size, indices, indices)


def constant(first: int, last: int, size: int = 1) -> Intervals:
    """Give ``size`` indices that all depend on the same interval.

    Example:
        >>> constant(0, 27, size=2).last
        array([27, 27])
    """
    return Intervals(size, np.full(size, first), np.full(size, last), period=1, shift=0)


def nothing(size: int = 1) -> Intervals:
    """Give ``size`` indices that depend on no input, as zeros put beside a map do."""
    return constant(_NO_FIRST, _NO_LAST, size)


def hull(intervals: Intervals, size: int = 1) -> Intervals:
    """Let ``size`` indices depend on everything that a whole axis depends on.

    Example:
        >>> whole = hull(inputs(28))
        >>> whole.first, whole.last
        (array([0]), array([27]))
    """
    return constant(int(intervals.first.min()), int(intervals.last.max()), size)


@lru_cache(maxsize=256)
def largest_field(intervals: Intervals) -> int:
    """Measure the longest interval [inputs]; 0 when there is no dependence.

    Example:
        >>> largest_field(slide(slide(inputs(9), 7, kernel=3), 5, kernel=3))
        5
    """
    real = intervals.first <= intervals.last
    lengths = intervals.last[real] - intervals.first[real] + 1
    return int(lengths.max(initial=0))


def look_up(intervals: Intervals, indices: Indices) -> tuple[Indices, Indices]:
    """Read the intervals at any indices, beyond both ends too.

    The indices have any shape, and so has each of the two answers.

    Example:
        >>> look_up(slide(inputs(9), 4, kernel=3, stride=2), np.array([-1, 0, 4]))
        (array([-2,  0,  8]), array([ 0,  2, 10]))
    """
    known, period = len(intervals.known_first), intervals.period
    if indices.size == 0 or (indices.min() >= 0 and indices.max() < known):
        return intervals.known_first[indices], intervals.known_last[indices]
    steps = np.where(indices < 0, indices // period, 0)
    steps = np.where(indices >= known, (indices - known) // period + 1, steps)
    inside = indices - steps * period
    first, last = intervals.known_first[inside], intervals.known_last[inside]
    moved = np.where(first <= last, steps * intervals.shift, 0)
    return first + moved, last + moved


def compose(
    intervals: Intervals,
    size: int,
    taps: Callable[[Indices], Indices],
    rate: Fraction,
    reached: Callable[[Indices], NDArray[np.bool_]] | None = None,
) -> Intervals:
    """Follow one more operation: each new index depends on all that its taps depend on.

    Args:
        intervals: What the operation reads.
        size: Length of the new axis [indices].
        taps: Of new indices, as a column ``(n, 1)``, the indices read, ``(n, taps)``.
        rate: How far the taps move on for each new index [indices read].
        reached: Of the same column, which taps are really there; all, if None.

    Returns:
        The intervals of the new axis.
    """
    turns = intervals.period // math.gcd(rate.numerator, intervals.period)
    shift = intervals.shift * (rate.numerator * turns // intervals.period)
    period, shift = _bounded(rate.denominator * turns, shift)
    new = np.arange(max(size, period), dtype=np.int64)[:, None]
    first, last = look_up(intervals, taps(new))
    if reached is not None:
        there = reached(new)
        first, last = np.where(there, first, _NO_FIRST), np.where(there, last, _NO_LAST)
    return Intervals(size, first.min(axis=1), last.max(axis=1), period, shift)


def _bounded(period: int, shift: int) -> tuple[int, int]:
    return (period, shift) if period <= _LONGEST_PERIOD else (1, 0)


@lru_cache(maxsize=256)
def slide(
    intervals: Intervals,
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Intervals:
    """Follow a convolution or a pooling of ``size`` positions.

    Each window has ``kernel`` taps, ``dilation`` apart, and starts ``stride`` after its
    neighbour, the first one ``padding`` before the axis.

    Example:
        >>> h1 = slide(inputs(16), 8, kernel=5, stride=2, padding=2)
        >>> h1.first, h1.last
        (array([-2,  0,  2,  4,  6,  8, 10, 12]), array([ 2,  4,  6,  8, 10, 12, 14, 16]))
    """
    reach = dilation * np.arange(kernel, dtype=np.int64) - padding
    return compose(intervals, size, lambda new: new * stride + reach, Fraction(stride))


@lru_cache(maxsize=256)
def slide_transposed(
    intervals: Intervals,
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Intervals:
    """Follow a transposed convolution, of which ``size`` outputs are kept after ``padding``.

    Example:
        >>> up = slide_transposed(inputs(2), 4, kernel=3, stride=2, padding=1)
        >>> up.first, up.last
        (array([0, 0, 1, 1]), array([0, 1, 1, 2]))
    """
    reach = padding - dilation * np.arange(kernel, dtype=np.int64)
    return compose(
        intervals,
        size,
        lambda new: (new + reach) // stride,
        Fraction(1, stride),
        lambda new: (new + reach) % stride == 0,
    )


def adapt(intervals: Intervals, size: int) -> Intervals:
    """Follow an adaptive pooling: output i reads from floor(i n/m) up to ceil((i + 1) n/m).

    Example:
        >>> halves = adapt(inputs(5), 2)
        >>> halves.first, halves.last
        (array([0, 2]), array([2, 4]))
    """
    old = intervals.size
    longest = -(-old // size) + 1
    ahead = np.arange(longest, dtype=np.int64)
    return compose(
        intervals,
        size,
        # A window shorter than the longest reads its last index again.
        lambda new: np.minimum(new * old // size + ahead, -(-(new + 1) * old // size) - 1),
        Fraction(old, size),
    )


def pick(intervals: Intervals, size: int, start: int, step: int = 1) -> Intervals:
    """Follow a slice, or a flip when ``step`` is negative: index i reads ``start + step * i``.

    Zeros around a map are a slice that starts before it.

    Example:
        >>> pick(inputs(7), 3, start=1, step=2).first
        array([1, 3, 5])
    """
    return compose(intervals, size, lambda new: start + step * new, Fraction(step))


@lru_cache(maxsize=256)
def unite(one: Intervals, other: Intervals) -> Intervals:
    """Let each index depend on what it depends on in either of two maps of the same size.

    Example:
        >>> both = unite(inputs(3), slide(inputs(3), 3, kernel=3, padding=1))
        >>> both.first, both.last
        (array([-1,  0,  1]), array([1, 2, 3]))
    """
    if one is other:
        return one
    if one.shift == 0:  # what does not move on leaves the pace to the other
        one, other = other, one
    period = one.period if other.shift == 0 else math.lcm(one.period, other.period)
    period, shift = _bounded(period, one.shift * (period // one.period))
    indices = np.arange(max(one.size, period), dtype=np.int64)
    first, last = look_up(one, indices)
    other_first, other_last = look_up(other, indices)
    return Intervals(
        one.size,
        np.minimum(first, other_first),
        np.maximum(last, other_last),
        period,
        shift,
    )


class Dependence(NamedTuple):
    """Where a tensor carries one axis of the input.

    Attributes:
        axis: The tensor's axis along which the interval changes; None when all of the tensor
            has the same one.
        intervals: One for each index of that axis; a single one when ``axis`` is None.
    """

    axis: int | None
    intervals: Intervals


class Value(NamedTuple):
    """What is known of a tensor without its numbers.

    Attributes:
        shape: With the batch axis.
        axes: One for each spatial axis of the input; None for a constant.
        is_weight: Whether it is a parameter, or computed from parameters alone.
    """

    shape: tuple[int, ...]
    dtype: Any
    axes: tuple[Dependence, ...] | None
    is_weight: bool = False


class Window(NamedTuple):
    """What slides over a map, and by which numbers: one for each spatial axis [pixels]."""

    operation: str  # (transposed) convolution, max pooling, average pooling, resizing
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1


class Outcome(NamedTuple):
    """What a function answers, what it counts, and the window that it slid."""

    values: tuple[Value, ...]
    connections: int = 0
    multiply_adds: int = 0
    is_tuple: bool = False
    window: Window | None = None


Rule = Callable[..., Outcome | None]  # None: not known in this form


def moved(value: Value, moves: dict[int, int]) -> tuple[Dependence, ...]:
    """Send each carrying axis to its new place; what has none there becomes whole."""
    return tuple(
        Dependence(moves[axis], intervals) if axis in moves else Dependence(None, hull(intervals))
        for axis, intervals in value.axes or ()
    )


def mixed(value: Value, axes: Iterable[int]) -> tuple[Dependence, ...]:
    """Mix all indices of some axes, which stay in place."""
    return moved(value, {axis: axis for axis in set(range(len(value.shape))) - set(axes)})


def without(value: Value, gone: Iterable[int]) -> Value:
    """Mix all indices of some axes and leave these axes out."""
    kept = sorted(set(range(len(value.shape))) - set(gone))
    places = {axis: place for place, axis in enumerate(kept)}
    return Value(tuple(value.shape[a] for a in kept), value.dtype, moved(value, places))


def axis_number(value: Value, dim: int) -> int:
    """Count an axis from the front, however it was counted.

    Raises:
        UsageError: There is no such axis.
    """
    rank = len(value.shape)
    if not -rank <= dim < rank:
        raise UsageError(f"a map of shape {value.shape} has no axis {dim}")
    return dim % rank


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Find the shape that several shapes stretch to.

    Raises:
        UsageError: Two lengths differ and neither is 1.
    """
    longest = max(map(len, shapes))
    padded = [(1,) * (longest - len(shape)) + shape for shape in shapes]
    sizes = []
    for lengths in zip(*padded, strict=True):
        size = max(lengths)
        if any(length not in (1, size) for length in lengths):
            named = " and ".join(str(shape) for shape in dict.fromkeys(shapes))
            raise UsageError(f"maps of shapes {named} do not fit together")
        sizes.append(size)
    return tuple(sizes)


def united(values: Iterable[Value], shape: tuple[int, ...]) -> tuple[Dependence, ...]:
    """Unite the dependence of values that are broadcast to one shape; constants add none."""
    shifted = []
    for value in values:
        ahead = len(shape) - len(value.shape)
        # An axis of length 1 that is stretched carries nothing any more.
        kept = {a: a + ahead for a, n in enumerate(value.shape) if n == shape[a + ahead]}
        if value.axes is not None:
            shifted.append(moved(value, kept))
    if len(shifted) == 1:
        return shifted[0]
    axes = []
    for pieces in zip(*shifted, strict=True):
        axis = next((piece.axis for piece in pieces if piece.axis is not None), None)
        along = [i if a == axis else hull(i, 1 if axis is None else shape[axis]) for a, i in pieces]
        axes.append(Dependence(axis, reduce(unite, along)))
    return tuple(axes)
