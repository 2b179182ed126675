"""What is known of tensors without their numbers: axes that move, mix, vanish and unite."""

import pytest

from striate.errors import UsageError
from striate.intervals import inputs
from striate.tracing.values import (
    Dependence,
    Value,
    axis_number,
    broadcast,
    mixed,
    moved,
    united,
    without,
)


def value(shape, *axes):
    return Value(
        shape, None, tuple(Dependence(a, inputs(1 if a is None else shape[a])) for a in axes)
    )


def test_axes_move_mix_and_vanish():
    maps = value((1, 2, 5, 7), 2, 3)
    assert [axis for axis, _ in moved(maps, {2: 3, 3: 1})] == [3, 1]
    (rows, columns) = mixed(maps, [3])
    assert (rows.axis, columns.axis) == (2, None)
    assert (columns.intervals.first, columns.intervals.last) == (0, 6)
    less = without(maps, [1, 3])
    assert less.shape == (1, 5)
    assert [axis for axis, _ in less.axes] == [1, None]


def test_values_of_one_shape_unite_along_the_axes_that_carry_them():
    maps, gate = value((1, 2, 5, 7), 2, 3), value((2, 1, 1), None, None)
    rows, columns = united([maps, gate], (1, 2, 5, 7))
    assert (rows.axis, columns.axis) == (2, 3)
    assert rows.intervals.first.tolist() == [0, 0, 0, 0, 0]
    assert rows.intervals.last.tolist() == [0, 1, 2, 3, 4]
    turned = value((1, 2, 5, 7), 3, 2)
    rows, columns = united([maps, turned], (1, 2, 5, 7))
    assert (rows.axis, rows.intervals.last.tolist()) == (2, [6] * 5)
    assert (columns.axis, columns.intervals.first.tolist()) == (3, [0] * 7)


def test_a_stretched_axis_carries_nothing():
    (stretched,) = united([value((1, 3, 1), 2)], (1, 3, 4))
    assert stretched.axis is None
    (kept,) = united([value((1, 3, 1), 2), value((1, 3, 4), 2)], (1, 3, 4))
    assert (kept.axis, kept.intervals.first.tolist()) == (2, [0, 0, 0, 0])


def test_shapes_are_broadcast_from_the_right():
    assert broadcast((2, 1, 5), (3, 1), (1,)) == (2, 3, 5)
    with pytest.raises(UsageError, match=r"shapes \(2, 3\) and \(2, 4\) do not fit together"):
        broadcast((2, 3), (2, 4))


def test_axes_are_counted_from_either_end():
    maps = value((1, 2, 5), 2)
    assert [axis_number(maps, dim) for dim in (-3, -1, 0, 2)] == [0, 2, 0, 2]
    with pytest.raises(UsageError, match=r"shape \(1, 2, 5\) has no axis 3"):
        axis_number(maps, 3)
