"""Which inputs each index of a map depends on: intervals along one axis, and how they compose.

Integers and shapes only, no tensors; ``tracing`` follows networks with these.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

# An empty interval: every minimum and maximum with it gives the other one.
_NO_FIRST, _NO_LAST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
# Resizing by awkward ratios, one after the other, multiplies periods. A longer one is given up:
# beyond its ends such a map stands still.
_LONGEST_PERIOD = 65_536


class Intervals:
    """For each index of an axis, the first and the last input index that it depends on.

    The border does not clip: an index whose window hangs over the edge has an interval
    that leaves the input, as if the input went on. An index that depends on nothing has
    ``first > last``. Between first and last there may be inputs that do not matter
    (dilation); nothing outside does.

    To continue beyond its ends, a map repeats itself: ``period`` indices on, every interval
    lies ``shift`` inputs on. Convolution and pooling keep a period of 1; a transposed
    convolution with stride 2 has two kinds of index, so its period is 2. Where all of the map
    repeats itself, as it does behind convolutions and pooling, one period is all that is kept.

    Intervals are never changed, and are equal only to themselves.

    Args:
        size: Length of the axis [indices].
        first: First input index, from 0, of each index: of one period, or of the whole axis and
            at least a period.
        last: The same for the last input index; the interval includes it.
        period: Indices after which the map repeats itself.
        shift: How far it has moved by then [inputs]; negative after a flip.
    """

    __slots__ = ("_arrays", "_known", "line", "period", "shift", "size")

    def __init__(
        self, size: int, first: Indices, last: Indices, period: int = 1, shift: int = 1
    ) -> None:
        self.size = size
        self.period = period
        self.shift = shift
        self.line: tuple[int, int] | None = None
        if len(first) == period == 1:
            self.line = int(first[0]), int(last[0])
        self._known: tuple[Indices, Indices] | None = _read_only(first, last)
        self._arrays: tuple[Indices, Indices] | None = None

    @classmethod
    def on_a_line(cls, size: int, first: int, last: int, shift: int) -> "Intervals":
        """Give the map of period 1 whose index 0 has the interval from ``first`` to ``last``.

        It makes no array before one is asked for: deep networks have thousands of such maps.
        """
        new = cls.__new__(cls)
        new.size, new.period, new.shift = size, 1, shift
        new.line = (first, last)
        new._known = new._arrays = None
        return new

    def __repr__(self) -> str:
        return f"Intervals(size={self.size}, period={self.period}, shift={self.shift})"

    @property
    def known(self) -> tuple[Indices, Indices]:
        """First and last input index of one period, or of the whole axis and at least that."""
        if self._known is None:
            first, last = self.line or (0, 0)
            self._known = _read_only(np.array([first]), np.array([last]))
        return self._known

    @property
    def first(self) -> Indices:
        """First input index of each index: ``(size,)``, int64."""
        return self._spelled_out()[0]

    @property
    def last(self) -> Indices:
        """Last input index of each index, included: ``(size,)``, int64."""
        return self._spelled_out()[1]

    @property
    def is_regular(self) -> bool:
        """Whether the map repeats itself from its first index on."""
        return self.line is not None or len(self.known[0]) == self.period

    @property
    def is_empty(self) -> bool:
        """Whether no index depends on anything, and that by one interval for all."""
        return self.line is not None and self.line[0] > self.line[1]

    def center(self, index: int) -> float | None:
        """Find the middle of an index's interval [inputs]; None when it depends on nothing."""
        first, last = look_up(self, np.array(index))
        return float(first + last) / 2 if first <= last else None

    def _spelled_out(self) -> tuple[Indices, Indices]:
        if self._arrays is None:
            first, last = self.known
            if len(first) >= self.size:
                self._arrays = first[: self.size], last[: self.size]
            else:
                self._arrays = _read_only(*look_up(self, np.arange(self.size, dtype=np.int64)))
        return self._arrays


def _read_only(first: Indices, last: Indices) -> tuple[Indices, Indices]:
    first.setflags(write=False)  # axes of equal length share one map
    last.setflags(write=False)
    return first, last


def inputs(size: int) -> Intervals:
    """Give the intervals of the input itself: each index depends on itself.

    Example:
        >>> inputs(3).first, inputs(3).last
        (array([0, 1, 2]), array([0, 1, 2]))
    """
    return Intervals.on_a_line(size, 0, 0, shift=1)


def constant(first: int, last: int, size: int = 1) -> Intervals:
    """Give ``size`` indices that all depend on the same interval.

    Example:
        >>> constant(0, 27, size=2).last
        array([27, 27])
    """
    return Intervals.on_a_line(size, first, last, shift=0)


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
    if intervals.line is not None:
        first, last = intervals.line
        return max(last - first + 1, 0)
    firsts, lasts = (known[: intervals.size] for known in intervals.known)
    real = firsts <= lasts
    return int((lasts[real] - firsts[real] + 1).max(initial=0))


def look_up(intervals: Intervals, indices: Indices) -> tuple[Indices, Indices]:
    """Read the intervals at any indices, beyond both ends too.

    Args:
        intervals: The map.
        indices: Of any shape.

    Returns:
        First and last input indices, each of that shape.

    Example:
        >>> look_up(slide(inputs(9), 4, kernel=3, stride=2), np.array([-1, 0, 4]))
        (array([-2,  0,  8]), array([ 0,  2, 10]))
    """
    (firsts, lasts), period = intervals.known, intervals.period
    known = len(firsts)
    if indices.size == 0 or (indices.min() >= 0 and indices.max() < known):
        return firsts[indices], lasts[indices]
    steps = np.where(indices < 0, indices // period, 0)
    steps = np.where(indices >= known, (indices - known) // period + 1, steps)
    inside = indices - steps * period
    first, last = firsts[inside], lasts[inside]
    moved = np.where(first <= last, steps * intervals.shift, 0)
    return first + moved, last + moved


def compose(
    intervals: Intervals,
    size: int,
    taps: Callable[[Indices], Indices],
    rate: Fraction,
    reached: Callable[[Indices], NDArray[np.bool_]] | None = None,
    *,
    regular: bool = False,
) -> Intervals:
    """Follow one more operation: each new index depends on all that its taps depend on.

    Args:
        intervals: What the operation reads.
        size: Length of the new axis [indices].
        taps: Of new indices, as a column ``(n, 1)``, the indices read, ``(n, taps)``.
        rate: How far the taps move on for each new index [indices read].
        reached: Of the same column, which taps are really there; all, if None.
        regular: Whether the taps move on by ``rate`` all along the axis.

    Returns:
        The intervals of the new axis.
    """
    turns = intervals.period // math.gcd(rate.numerator, intervals.period)
    period = rate.denominator * turns
    shift = intervals.shift * (rate.numerator * turns // intervals.period)
    regular = regular and intervals.is_regular and period <= _LONGEST_PERIOD
    period, shift = _bounded(period, shift)
    new = np.arange(period if regular else max(size, period), dtype=np.int64)[:, None]
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
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Intervals:
    """Follow a convolution or a pooling of ``size`` positions.

    Each window has ``kernel`` taps, ``dilation`` apart, and starts ``stride`` after its
    neighbour, the first one ``padding`` before the axis.

    Args:
        intervals: What is read.
        size: Positions of the window.
        kernel, stride, padding, dilation: As just said [indices read].

    Returns:
        The intervals of the positions.

    Example:
        >>> h1 = slide(inputs(16), 8, kernel=5, stride=2, padding=2)
        >>> h1.first, h1.last
        (array([-2,  0,  2,  4,  6,  8, 10, 12]), array([ 2,  4,  6,  8, 10, 12, 14, 16]))
    """
    line, pace = intervals.line, intervals.shift
    if line is not None and pace >= 0 and line[0] <= line[1]:
        first, last = line[0] - pace * padding, line[1] + pace * (dilation * (kernel - 1) - padding)
        return Intervals.on_a_line(size, first, last, pace * stride)
    reach = dilation * np.arange(kernel, dtype=np.int64) - padding
    return compose(
        intervals, size, lambda new: new * stride + reach, Fraction(stride), regular=True
    )


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

    Args:
        intervals: What is read.
        size: Outputs that are kept.
        kernel, stride, padding, dilation: As in ``nn.ConvTranspose1d`` [outputs].

    Returns:
        The intervals of the outputs.

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
        regular=True,
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
        regular=True,
    )


def pick(intervals: Intervals, size: int, start: int, step: int = 1) -> Intervals:
    """Follow a slice, or a flip when ``step`` is negative: index i reads ``start + step * i``.

    Zeros around a map are a slice that starts before it.

    Args:
        intervals: What is read.
        size: Indices picked.
        start, step: Of the slice [indices read].

    Example:
        >>> pick(inputs(7), 3, start=1, step=2).first
        array([1, 3, 5])
    """
    return compose(intervals, size, lambda new: start + step * new, Fraction(step), regular=True)


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
    if other.is_empty:
        return one
    alike = one.shift * other.period == other.shift * one.period
    regular = alike and one.is_regular and other.is_regular
    if alike and one.line is not None and other.line is not None:
        ends = min(one.line[0], other.line[0]), max(one.line[1], other.line[1])
        return Intervals.on_a_line(one.size, *ends, one.shift)
    period = one.period if other.shift == 0 else math.lcm(one.period, other.period)
    regular = regular and period <= _LONGEST_PERIOD
    period, shift = _bounded(period, one.shift * (period // one.period))
    indices = np.arange(period if regular else max(one.size, period), dtype=np.int64)
    first, last = look_up(one, indices)
    other_first, other_last = look_up(other, indices)
    return Intervals(
        one.size,
        np.minimum(first, other_first),
        np.maximum(last, other_last),
        period,
        shift,
    )
