"""What changes of shape, parts of maps and their joining do.

Rules as in ``tracing.windows``; ``SHAPES`` maps the functions to them. A reshape that mixes axes
makes everything depend on the whole extent of the mixed axes; axes that it leaves alone keep
their intervals.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.errors import UsageError
from striate.intervals import Intervals, constant, hull, look_up, nothing, pick
from striate.tracing.values import (
    Dependence,
    Outcome,
    Rule,
    Value,
    axis_number,
    broadcast,
    is_placed,
    moved,
    united,
    without,
)

_PLAIN_INDEX = (int, slice, EllipsisType, type(None))


def _one(value: Value, shape: Iterable[int], axes: tuple[Dependence, ...]) -> Outcome:
    return Outcome((Value(tuple(shape), value.dtype, axes),))


def _listed(numbers: Sequence[Any]) -> tuple[int, ...]:
    """Read ``f(x, 2, 3)`` and ``f(x, (2, 3))`` alike."""
    if len(numbers) == 1 and isinstance(numbers[0], tuple | list):
        return tuple(numbers[0])
    return tuple(numbers)


def _reshape(input: Value, *shape: Any) -> Outcome | None:
    if len(shape) == 1 and isinstance(shape[0], torch.dtype):
        return None
    wanted = list(_listed(shape))
    total = math.prod(input.shape)
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted[wanted.index(-1)] = total // rest if rest > 0 else 0
    if math.prod(wanted) != total:
        raise UsageError(f"a map of shape {input.shape} cannot take the shape {_listed(shape)}")
    if tuple(wanted) == input.shape:
        return Outcome((input,))
    # Walk along both shapes; where the products meet, a group of axes ends. Only a group of
    # one axis on both sides leaves its indices as they were. Axes of length 1 join no group.
    places: dict[int, int] = {}
    old = [(a, n) for a, n in enumerate(input.shape) if n > 1]
    new = [(a, n) for a, n in enumerate(wanted) if n > 1]
    while old and new:
        old_group, new_group = [old.pop(0)], [new.pop(0)]
        while (size := math.prod(n for _, n in old_group)) != (
            new_size := math.prod(n for _, n in new_group)
        ):
            (old_group if size < new_size else new_group).append(
                old.pop(0) if size < new_size else new.pop(0)
            )
        if len(old_group) == len(new_group) == 1:
            places[old_group[0][0]] = new_group[0][0]
    return _one(input, wanted, moved(input, places))


def _reshape_as(input: Value, other: Value) -> Outcome | None:
    return _reshape(input, other.shape)


def _flatten(input: Value, start_dim: int = 0, end_dim: int = -1) -> Outcome | None:
    if not input.shape:
        return _reshape(input, 1)
    start, end = axis_number(input, start_dim), axis_number(input, end_dim)
    joined = math.prod(input.shape[start : end + 1])
    return _reshape(input, [*input.shape[:start], joined, *input.shape[end + 1 :]])


def _unflatten(input: Value, dim: int, sizes: Sequence[int]) -> Outcome | None:
    axis = axis_number(input, dim)
    return _reshape(input, [*input.shape[:axis], *sizes, *input.shape[axis + 1 :]])


def _squeeze(input: Value, dim: Any = None) -> Outcome:
    dims = range(len(input.shape)) if dim is None else _listed([dim])
    gone = [a for d in dims if input.shape[a := axis_number(input, d)] == 1]
    return Outcome((without(input, gone),))


def _unsqueeze(input: Value, dim: int) -> Outcome:
    place = axis_number(input._replace(shape=(*input.shape, 1)), dim)
    shape = (*input.shape[:place], 1, *input.shape[place:])
    return _one(input, shape, moved(input, {a: a + (a >= place) for a in range(len(input.shape))}))


def _permute(input: Value, *dims: Any) -> Outcome:
    order = [axis_number(input, d) for d in _listed(dims)]
    places = {axis: place for place, axis in enumerate(order)}
    return _one(input, [input.shape[a] for a in order], moved(input, places))


def _transpose(input: Value, dim0: int = -2, dim1: int = -1) -> Outcome:
    order = list(range(len(input.shape)))
    one, other = axis_number(input, dim0), axis_number(input, dim1)
    order[one], order[other] = other, one
    return _permute(input, order)


def _movedim(input: Value, source: Any, destination: Any) -> Outcome:
    sources = [axis_number(input, d) for d in _listed([source])]
    targets = [axis_number(input, d) for d in _listed([destination])]
    order = [a for a in range(len(input.shape)) if a not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return _permute(input, order)


def _expand(input: Value, *sizes: Any) -> Outcome:
    wanted = _listed(sizes)
    ahead = len(wanted) - len(input.shape)
    shape = tuple(input.shape[a - ahead] if size == -1 else size for a, size in enumerate(wanted))
    if ahead < 0 or broadcast(shape, input.shape) != shape:
        raise UsageError(f"a map of shape {input.shape} does not expand to {wanted}")
    return _one(input, shape, united([input], shape))


def _flip(input: Value, *dims: Any) -> Outcome:
    turned = {axis_number(input, d) for d in _listed(dims)}
    axes = [
        Dependence(a, pick(i, i.size, start=i.size - 1, step=-1) if a in turned else i)
        for a, i in input.axes or ()
    ]
    return _one(input, input.shape, tuple(axes))


def _getitem(input: Value, index: Any) -> Outcome | None:
    items = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(i, bool) or not isinstance(i, _PLAIN_INDEX) for i in items):
        return None
    used = sum(isinstance(item, int | slice) for item in items)
    if used > len(input.shape):
        raise UsageError(f"a map of shape {input.shape} has no {used} axes to take parts of")
    if not any(isinstance(item, EllipsisType) for item in items):
        items.append(...)
    place = next(i for i, item in enumerate(items) if isinstance(item, EllipsisType))
    items[place : place + 1] = [slice(None)] * (len(input.shape) - used)
    shape: list[int] = []
    followed: list[tuple[int | None, Callable[[Intervals], Intervals]]] = []
    for item in items:
        if item is None:
            shape.append(1)
            continue
        size = input.shape[len(followed)]
        if isinstance(item, int):
            if not -size <= item < size:
                raise UsageError(f"a map of shape {input.shape} has no index {item}")
            followed.append((None, _only(item % size)))
            continue
        start, stop, step = item.indices(size)
        length = len(range(start, stop, step))
        if length == 0:
            raise UsageError(f"nothing would be left of a map of shape {input.shape}")
        followed.append((len(shape), _part(start, step, length)))
        shape.append(length)
    axes = []
    for axis, intervals in input.axes or ():
        new, follow = (None, hull) if axis is None else followed[axis]
        axes.append(Dependence(new, follow(intervals)))
    return _one(input, shape, tuple(axes))


def _only(index: int) -> Callable[[Intervals], Intervals]:
    def follow(intervals: Intervals) -> Intervals:
        first, last = look_up(intervals, np.array([index]))
        return constant(int(first[0]), int(last[0]))

    return follow


def _part(start: int, step: int, size: int) -> Callable[[Intervals], Intervals]:
    def follow(intervals: Intervals) -> Intervals:
        if (start, step, size) == (0, 1, intervals.size):
            return intervals
        return pick(intervals, size, start, step)

    return follow


def _select(input: Value, dim: int, index: int) -> Outcome | None:
    return _getitem(input, (slice(None),) * axis_number(input, dim) + (index,))


def _unbind(input: Value, dim: int = 0) -> Outcome | None:
    outcomes = [_select(input, dim, i) for i in range(input.shape[axis_number(input, dim)])]
    parts = tuple(value for outcome in outcomes if outcome for value in outcome.values)
    return Outcome(parts, is_tuple=True)


def _narrow(input: Value, dim: int, start: int, length: int) -> Outcome | None:
    axis = axis_number(input, dim)
    start %= input.shape[axis]
    if start + length > input.shape[axis]:
        raise UsageError(f"axis {axis} of {input.shape} ends before {start + length}")
    return _getitem(input, (slice(None),) * axis + (slice(start, start + length),))


def _split(input: Value, split_size: Any, dim: int = 0) -> Outcome | None:
    axis = axis_number(input, dim)
    size = input.shape[axis]
    sizes = split_size
    if isinstance(split_size, int):
        sizes = [min(split_size, size - start) for start in range(0, size, split_size)]
    parts: list[Value] = []
    start = 0
    for length in sizes:
        part = _narrow(input, axis, start, length)
        parts += part.values if part is not None else ()
        start += length
    if start != size:
        raise UsageError(f"parts of {list(sizes)} do not make up axis {axis} of {input.shape}")
    return Outcome(tuple(parts), is_tuple=True)


def _chunk(input: Value, chunks: int, dim: int = 0) -> Outcome | None:
    return _split(input, -(-input.shape[axis_number(input, dim)] // chunks), dim)


def _cat(tensors: Sequence[Value], dim: int = 0) -> Outcome:
    axis = axis_number(tensors[0], dim)
    sizes = [value.shape[axis] for value in tensors]
    shape = (*tensors[0].shape[:axis], sum(sizes), *tensors[0].shape[axis + 1 :])
    stretched = [
        value._replace(shape=(*value.shape[:axis], sum(sizes), *value.shape[axis + 1 :]))
        for value in tensors
    ]
    if any(value.shape != shape for value in stretched):
        shapes = " and ".join(str(value.shape) for value in tensors)
        raise UsageError(f"maps of shapes {shapes} cannot be joined along axis {axis}")
    axes = []
    for k in range(max(len(value.axes or ()) for value in tensors)):
        # A value's own view of input axis k, or None for a constant, which depends on nothing.
        views = [None if value.axes is None else value.axes[k] for value in tensors]
        if any(view is not None and view.axis == axis for view in views):
            pieces = [
                nothing(n) if v is None else v.intervals if v.axis == axis else hull(v.intervals, n)
                for v, n in zip(views, sizes, strict=True)
            ]
            axes.append(Dependence(axis, _joined(pieces)))
        else:
            seen = zip(stretched, views, strict=True)
            axes += united([v._replace(axes=(view,)) for v, view in seen if view], shape)
    result = Value(shape, tensors[0].dtype, tuple(axes))
    return Outcome((result,), is_placed=any(is_placed(value, result) for value in tensors))


def _joined(pieces: Sequence[Intervals]) -> Intervals:
    first = np.concatenate([piece.first for piece in pieces])
    last = np.concatenate([piece.last for piece in pieces])
    paces = [(p.period, p.shift) for p in pieces if p.shift and p.period <= len(first)]
    return Intervals(len(first), first, last, *(paces or [(1, 0)])[0])


def _stack(tensors: Sequence[Value], dim: int = 0) -> Outcome:
    return _cat([_unsqueeze(value, dim).values[0] for value in tensors], dim)


def _shapes() -> dict[Callable[..., Any], Rule]:
    named: dict[str, Rule] = {
        "reshape": _reshape,
        "view": _reshape,
        "reshape_as": _reshape_as,
        "view_as": _reshape_as,
        "flatten": _flatten,
        "unflatten": _unflatten,
        "squeeze": _squeeze,
        "unsqueeze": _unsqueeze,
        "permute": _permute,
        "transpose": _transpose,
        "swapaxes": _transpose,
        "movedim": _movedim,
        "moveaxis": _movedim,
        "expand": _expand,
        "broadcast_to": _expand,
        "flip": _flip,
        "__getitem__": _getitem,
        "select": _select,
        "narrow": _narrow,
        "split": _split,
        "chunk": _chunk,
        "unbind": _unbind,
        "cat": _cat,
        "concat": _cat,
        "stack": _stack,
    }
    homes = (torch, Tensor)
    return {getattr(h, n): rule for n, rule in named.items() for h in homes if hasattr(h, n)}


SHAPES = _shapes()
