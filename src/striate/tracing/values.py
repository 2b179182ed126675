"""What the trace knows of a tensor without its numbers, and what rules on functions answer."""

import inspect
from collections.abc import Callable, Container, Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

from striate.errors import UsageError
from striate.intervals import Intervals, hull, unite


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
        dtype: The tensor's type.
        axes: One for each spatial axis of the input; None for a constant.
        is_weight: Whether it is a parameter, or computed from parameters alone.
        is_uniform: Whether it is a constant that is known to be the same everywhere.
    """

    shape: tuple[int, ...]
    dtype: Any
    axes: tuple[Dependence, ...] | None
    is_weight: bool = False
    is_uniform: bool = False


class Window(NamedTuple):
    """What slides over a map, and by which numbers: one for each spatial axis [pixels]."""

    operation: str  # (transposed) convolution, max pooling, average pooling, resizing
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1


class Outcome(NamedTuple):
    """What a function answers, what it counts, and the window that it slid.

    Attributes:
        values: Of its results.
        connections: Inputs multiplied by a weight, and biases, over all results.
        multiply_adds: Products among them.
        is_tuple: Whether the results come as a tuple.
        is_placed: Whether it treats different places of a map by different constants.
        window: What it slid over a map.
        is_cut: Whether no window reaches the far end of a map, so that indices there are unread.
    """

    values: tuple[Value, ...]
    connections: int = 0
    multiply_adds: int = 0
    is_tuple: bool = False
    is_placed: bool = False
    window: Window | None = None
    is_cut: bool = False


Rule = Callable[..., Outcome | None]  # None: not known in this form


def moved(value: Value, moves: dict[int, int]) -> tuple[Dependence, ...]:
    """Send each carrying axis to its new place; what has none there becomes whole.

    Args:
        value: What is read.
        moves: Old axis → new axis.
    """
    return tuple(
        [
            Dependence(moves[axis], intervals)
            if axis in moves
            else Dependence(None, hull(intervals))
            for axis, intervals in value.axes or ()
        ]
    )


def mixed(value: Value, axes: Container[int | None]) -> tuple[Dependence, ...]:
    """Mix all indices of some axes, which stay in place.

    Args:
        value: What is read.
        axes: Which; others stay as they are.
    """
    old = value.axes or ()
    for axis, _ in old:
        if axis in axes:
            break
    else:
        return old
    return tuple(
        [Dependence(None, hull(one.intervals)) if one.axis in axes else one for one in old]
    )


def spatially(
    value: Value,
    sizes: Sequence[int],
    follow: Callable[[int, Intervals], Intervals],
    units: int | None = None,
) -> Value:
    """Send the last axes through an operation on each of them.

    Args:
        value: What is read.
        sizes: New lengths of the last axes.
        follow: Number of the axis among them, and its intervals → the new intervals.
        units: Channels that the operation makes, each of all old ones; None keeps them.

    Returns:
        The new maps.

    Raises:
        UsageError: A length is below 1.
    """
    if min(sizes) < 1:
        raise UsageError(f"nothing would be left of a map of shape {value.shape[1:]}")
    start = len(value.shape) - len(sizes)
    shape = (*value.shape[:start], *sizes)
    axes = (value.axes if units is None else mixed(value, [start - 1])) or ()
    if units is not None:
        shape = (*value.shape[: start - 1], units, *sizes)
    return Value(
        shape,
        value.dtype,
        tuple(
            [
                one if one[0] is None or one[0] < start else _along(one, follow, start)
                for one in axes
            ]
        ),
    )


def _along(
    one: Dependence, follow: Callable[[int, Intervals], Intervals], start: int
) -> Dependence:
    axis = one.axis or 0
    return Dependence(axis, follow(axis - start, one.intervals))


def each(number: Any, dims: int) -> tuple[int, ...]:
    """Spread one number, or a list of one, over all spatial axes.

    Args:
        number: A number, or a sequence of one or of ``dims``.
        dims: Spatial axes.
    """
    if type(number) is tuple and len(number) == dims:
        return number
    if isinstance(number, tuple | list):
        return tuple(number) * dims if len(number) == 1 else tuple(number)
    return (number,) * dims


def without(value: Value, gone: Iterable[int]) -> Value:
    """Mix all indices of some axes and leave these axes out.

    Args:
        value: What is read.
        gone: Axes, counted from the front.
    """
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
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
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
    """Unite the dependence of values that are broadcast to one shape; constants add none.

    Args:
        values: Each broadcasts to the shape.
        shape: Of the result.

    Returns:
        For each spatial axis of the input, where it lies in the result.
    """
    shifted = []
    for value in values:
        if value.axes is None:
            continue
        if value.shape == shape:
            shifted.append(value.axes)
            continue
        ahead = len(shape) - len(value.shape)
        # An axis of length 1 that is stretched carries nothing any more.
        kept = {a: a + ahead for a, n in enumerate(value.shape) if n == shape[a + ahead]}
        shifted.append(moved(value, kept))
    if len(shifted) == 1:
        return shifted[0]
    axes = []
    for pieces in zip(*shifted, strict=True):
        axis = next((piece.axis for piece in pieces if piece.axis is not None), None)
        size = 1 if axis is None else shape[axis]
        along = [i if a == axis else hull(i, size) for a, i in pieces]
        axes.append(Dependence(axis, reduce(unite, along)))
    return tuple(axes)


def is_placed(value: Value, maps: Value) -> bool:
    """Tell whether a constant, broadcast to maps, differs from place to place of the input."""
    if value.axes is not None or value.is_uniform:
        return False
    ahead = len(maps.shape) - len(value.shape)
    return any(
        axis is not None and axis >= ahead and value.shape[axis - ahead] > 1
        for axis, _ in maps.axes or ()
    )


def lays_out(before: Value, after: Value) -> bool:
    """Tell whether a reshape turned places of the input into features."""
    axes = zip(before.axes or (), after.axes or (), strict=True)
    return any(
        old.axis is not None and before.shape[old.axis] > 1 and new.axis is None
        for old, new in axes
    )


def asked(rule: Rule | None, values: list[Any], options: dict[str, Any]) -> Outcome | None:
    """Ask a rule; None where there is none, or it does not know these arguments.

    Args:
        rule: Of the function that was called.
        values, options: What it was called with.

    Returns:
        What the rule says.
    """
    if rule is None or "out" in options:
        return None
    try:
        return rule(*values, **options)
    except TypeError:
        try:
            inspect.signature(rule).bind(*values, **options)
        except TypeError:
            return None  # the function is called in a form that its rule does not know
        raise
