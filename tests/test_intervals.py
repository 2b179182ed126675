"""Intervals against sets of indices, followed one by one in plain loops."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from striate.geometry import output_size, transposed_size
from striate.intervals import (
    adapt,
    compose,
    constant,
    hull,
    inputs,
    largest_field,
    look_up,
    nothing,
    pick,
    slide,
    slide_transposed,
    unite,
)

SIDE = 19

convolutions = st.tuples(
    st.just("slide"), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 3)
)
transposed = st.tuples(
    st.just("transposed"),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 2),
)
slices = st.tuples(st.just("pick"), st.integers(-3, 3), st.integers(1, 3))
steps = st.one_of(convolutions, transposed, slices, st.just(("flip",)))


def followed(stack):
    """The intervals by the code under test."""
    intervals = inputs(SIDE)
    for kind, *numbers in stack:
        n = intervals.size
        if kind == "slide":
            k, s, p, d = numbers
            size = output_size(n, k, stride=s, padding=p, dilation=d)
            assume(1 <= size <= 60)
            intervals = slide(intervals, size, k, stride=s, padding=p, dilation=d)
        elif kind == "transposed":
            k, s, p, d = numbers
            size = transposed_size(n, k, stride=s, padding=p, dilation=d)
            assume(1 <= size <= 60)
            intervals = slide_transposed(intervals, size, k, stride=s, padding=p, dilation=d)
        elif kind == "pick":
            start, step = numbers
            size = (n - start - 1) // step + 1
            assume(1 <= size <= 60)
            intervals = pick(intervals, size, start, step)
        else:
            intervals = pick(intervals, n, n - 1, -1)
    return intervals


def reached(stack, index, sizes):
    """All inputs that one index depends on, on a grid without borders: the plain way."""
    if not stack:
        return {index}
    kind, *numbers = stack[-1]
    if kind == "slide":
        k, s, p, d = numbers
        taps = [index * s - p + d * j for j in range(k)]
    elif kind == "transposed":
        k, s, p, d = numbers
        taps = [i for i in range(-99, 99) for j in range(k) if i * s - p + d * j == index]
    elif kind == "pick":
        taps = [numbers[0] + numbers[1] * index]
    else:
        taps = [sizes[-1] - 1 - index]
    return set().union(*(reached(stack[:-1], tap, sizes[:-1]) for tap in taps), set())


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=1, max_size=3))
def test_stacks_of_operations_reach_what_single_steps_reach_without_a_border(stack):
    result = followed(stack)
    sizes = [followed(stack[:depth]).size for depth in range(len(stack))]
    assert len(result.first) == len(result.last) == result.size
    for index, (first, last) in enumerate(zip(result.first, result.last, strict=True)):
        inside = reached(stack, index, sizes)
        if inside:
            assert (first, last) == (min(inside), max(inside))
        else:
            assert first > last


def test_gaps_of_a_transposed_convolution_depend_on_nothing():
    sparse = slide_transposed(inputs(3), 7, kernel=1, stride=3)
    assert [bool(f <= b) for f, b in zip(sparse.first, sparse.last, strict=True)] == [
        *(True, False, False) * 2,
        True,
    ]
    assert largest_field(sparse) == 1
    wide = slide(sparse, 5, kernel=3)
    assert wide.first.tolist() == [0, 1, 1, 1, 2]
    assert wide.last.tolist() == [0, 1, 1, 1, 2]
    beyond = look_up(sparse, np.array([-3, -2, 9, 10]))
    assert beyond[0][[0, 2]].tolist() == beyond[1][[0, 2]].tolist() == [-1, 3]
    assert (beyond[0] > beyond[1])[[1, 3]].tolist() == [True, True]


@given(st.integers(1, 17), st.integers(1, 11))
def test_adaptive_windows_are_those_of_the_formula(size, wanted):
    pooled = adapt(inputs(size), wanted)
    assert pooled.first.tolist() == [i * size // wanted for i in range(wanted)]
    assert pooled.last.tolist() == [math.ceil((i + 1) * size / wanted) - 1 for i in range(wanted)]


def test_padding_by_own_values_does_not_move_in_step():
    mirrored = compose(inputs(4), 6, lambda i: abs(i - 1), Fraction(1))
    assert mirrored.first.tolist() == [1, 0, 1, 2, 3, 4]
    rolled = compose(inputs(5), 5, lambda i: (i - 2) % 5, Fraction(1))
    windows = slide(rolled, 3, kernel=3)
    assert windows.first.tolist() == [0, 0, 0]  # 3 4 0, 4 0 1, 0 1 2
    assert windows.last.tolist() == [4, 4, 2]
    assert largest_field(windows) == 5


def test_united_maps_depend_on_both_also_beyond_the_border():
    fine = slide_transposed(inputs(4), 8, kernel=2, stride=2)
    coarse = slide(inputs(8), 8, kernel=3, padding=1)
    both = unite(fine, coarse)
    for index in (-3, 0, 5, 9):
        pairs = [look_up(m, np.array([index])) for m in (fine, coarse, both)]
        if 0 <= index < 8:
            assert pairs[2][0] == min(pairs[0][0], pairs[1][0])
            assert pairs[2][1] == max(pairs[0][1], pairs[1][1])
    assert unite(coarse, coarse) is coarse
    level = unite(constant(2, 3, size=8), coarse)
    assert level.first.tolist() == [-1, 0, 1, 2, 2, 2, 2, 2]
    assert level.last.tolist() == [3, 3, 3, 4, 5, 6, 7, 8]
    assert (level.period, level.shift) == (1, 1)


def test_united_maps_of_different_periods_repeat_together():
    halves = slide_transposed(slide(inputs(12), 6, 1, stride=2), 12, 3, stride=2)
    thirds = slide_transposed(slide(inputs(12), 4, 2, stride=3), 12, 4, stride=3)
    both = unite(halves, thirds)
    assert (halves.period, thirds.period, both.period, both.shift) == (2, 3, 6, 6)
    places = np.arange(-20, 40)
    one, other, together = (look_up(m, places) for m in (halves, thirds, both))
    assert together[0].tolist() == np.minimum(one[0], other[0]).tolist()
    assert together[1].tolist() == np.maximum(one[1], other[1]).tolist()


def test_nothing_adds_nothing():
    kept = unite(nothing(5), inputs(5))
    assert kept.first.tolist() == kept.last.tolist() == [0, 1, 2, 3, 4]
    assert largest_field(nothing(5)) == 0
    assert largest_field(hull(nothing(5))) == 0


def test_endless_periods_are_given_up_beyond_the_ends():
    intervals = inputs(6)
    for odd in (1_009, 1_013, 1_019):
        intervals = compose(intervals, 5, lambda i, m=odd: i * 6 // m, Fraction(6, odd))
    assert (intervals.period < 65_537, intervals.shift) == (True, 0)
    assert [a.tolist() for a in look_up(intervals, np.array([-7, 99]))] == [[0, 0], [0, 0]]


def test_shared_maps_cannot_be_written():
    window = slide(inputs(5), 3, kernel=3)
    for array in (window.first, window.last):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


@pytest.mark.parametrize("rates", [(1, 2), (2, 1), (1, -1), (0, 1), (2, 0), (3, 3)])
def test_maps_of_different_rates_unite_index_by_index(rates):
    def at_rate(rate, kernel):
        if rate < 0:
            return pick(inputs(20), 6, start=19, step=rate)
        return constant(3, 7, 6) if rate == 0 else slide(inputs(20), 6, kernel, rate)

    one, other = at_rate(rates[0], 2), at_rate(rates[1], 3)
    together = unite(one, other)
    assert together.first.tolist() == np.minimum(one.first, other.first).tolist()
    assert together.last.tolist() == np.maximum(one.last, other.last).tolist()
    assert together.is_regular == (rates == (3, 3))


def test_a_regular_map_keeps_one_period_and_knows_every_index():
    up = slide_transposed(slide(inputs(50), 24, kernel=3, stride=2), 72, kernel=4, stride=3)
    assert (up.period, up.shift, len(up.known[0])) == (3, 2, 3)
    assert (len(up.first), up.first[40], up.last[40]) == (
        72,
        *(a[0] for a in look_up(up, np.array([40]))),
    )
    assert up.center(1) == (up.first[1] + up.last[1]) / 2
    assert (nothing(5).center(0), inputs(5).center(-2)) == (None, -2)
