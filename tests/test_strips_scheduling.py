"""Rows in order: what each map reads, when it can go on, and what may be forgotten."""

import numpy as np
import pytest
import torch
from torch import nn

from striate import build
from striate.strips import rows_a_step
from striate.strips.fusing import fused
from striate.strips.maps import Edge, Reading, padded
from striate.strips.recording import record
from striate.strips.scheduling import Schedule, is_block, memory_needed


def convolution(size: int, kernel: int, stride: int, padding: int) -> Reading:
    rows = np.arange((size + 2 * padding - kernel) // stride + 1)
    first = rows * stride - padding
    return Reading(0, size, first, first + kernel - 1)


def test_a_reading_knows_what_it_needs_and_what_it_no_longer_needs():
    reading = convolution(size=9, kernel=3, stride=2, padding=1)  # 5 rows
    assert [reading.ready(n) for n in (0, 1, 2, 3, 4, 8, 9)] == [0, 0, 1, 1, 2, 4, 5]
    assert [reading.needed(n) for n in (0, 1, 4, 5)] == [0, 1, 7, None]
    assert reading.range(0, 1) == (0, 2)
    assert reading.range(3, 5) == (5, 9)
    assert reading.edge(0, 5) == Edge(1, 1)
    assert reading.edge(1, 4) == Edge(0, 0)
    assert reading.overlaps
    assert not convolution(size=9, kernel=2, stride=2, padding=0).overlaps


def test_rows_that_lie_in_padding_alone_read_nothing():
    reading = convolution(size=3, kernel=1, stride=1, padding=2)
    assert reading.range(0, 2) == (0, 0)
    assert reading.edge(0, 2) == Edge(2, 0)
    assert reading.range(5, 7) == (3, 3)
    assert reading.edge(5, 7) == Edge(0, 2)


def test_a_crop_shifts_what_is_read():
    rows = np.arange(4)
    reading = Reading(0, 4, rows, rows, shift=3)
    assert reading.range(1, 3) == (4, 6)
    assert reading.ready(5) == 2
    assert reading.needed(1) == 4


def test_padding_is_put_at_both_ends():
    strip = torch.ones(1, 2, 3, 4)
    whole = padded(strip, Edge(2, 1), 7.0)
    assert whole[0, 1, :, 2].tolist() == [7, 7, 1, 1, 1, 7]
    assert padded(strip, Edge(0, 0), 7.0) is strip


def test_a_schedule_makes_each_row_once_and_only_from_rows_that_are_there():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3, padding=1))
    maps = fused(*record(network, (1, 23, 9)))
    schedule = Schedule(maps, 4)
    made = []
    for position, first, last in schedule:
        assert first == schedule.done[position]
        for reading in maps[position].readings:
            stop = reading.range(first, last)[1]
            assert schedule.needed(reading.source) <= reading.range(first, last)[0]
            assert stop <= schedule.done[reading.source]
        made.append((position, first, last))
        schedule.done[position] = last
    assert [max(b for p, _, b in made if p == one) for one in range(4)] == [23, 21, 10, 10]
    assert made[:5] == [(0, 0, 4), (1, 0, 2), (2, 0, 1), (0, 4, 8), (1, 2, 6)]
    assert [is_block(readers) for readers in schedule.readers] == [True, False, True, False]


def test_memory_grows_with_the_strips_and_not_with_the_image():
    network = build("unet_padded", width=2, depth=2)
    short, long = (fused(*record(network, (1, rows, 64))) for rows in (256, 1024))
    sizes = [memory_needed(short, step)[1] for step in (4, 16, 64)]
    assert sizes == sorted(sizes)
    assert memory_needed(long, 16)[1] == memory_needed(short, 16)[1]


@pytest.mark.parametrize(("memory", "rows"), [(10**9, 132), (10**7, 132), (10**6, 8)])
def test_the_strips_are_as_high_as_memory_allows(memory, rows):
    maps = fused(*record(build("unet_padded", width=1, depth=2), (1, 512, 1004)))
    assert rows_a_step(maps, memory) == rows
    assert memory_needed(maps, rows)[1] <= memory
    assert rows == 132 or memory_needed(maps, 2 * rows)[1] > memory
