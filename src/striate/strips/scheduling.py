"""The order in which rows are made, and the memory that they take."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from striate.strips.maps import Map, Reading


class Made(NamedTuple):
    """Rows of one map that can be made now."""

    position: int
    first: int
    last: int


class Schedule:
    """In which order the rows of all maps are made, so many rows of the image at a time.

    Args:
        maps: Each behind those that it reads; the last is the network's answer.
        step: Rows of the image that are read at once.

    Attributes:
        done: Of each map, how many rows are made.
        readers: Of each map, who reads it, by position and reading.
    """

    def __init__(self, maps: Sequence[Map], step: int) -> None:
        self._maps = maps
        image = maps[0].rows
        self._most = [max(1, math.ceil(step * one.rows / image)) for one in maps]
        self.done = [0] * len(maps)
        self.readers: list[list[tuple[int, Reading]]] = [[] for _ in maps]
        for position, one in enumerate(maps):
            for reading in one.readings:
                self.readers[reading.source].append((position, reading))

    def __iter__(self) -> Iterator[Made]:
        """Name rows to make; they count as made when the next ones are asked for."""
        done, maps = self.done, self._maps
        while done[-1] < maps[-1].rows:
            for position, one in enumerate(maps):
                first = done[position]
                last = min(first + self._most[position], one.rows)
                for reading in one.readings:
                    last = min(last, reading.ready(done[reading.source]))
                if last > first:
                    yield Made(position, first, last)
                    done[position] = last

    def needed(self, position: int) -> int:
        """Give the first row of a map that somebody still needs."""
        rows = [reading.needed(self.done[reader]) for reader, reading in self.readers[position]]
        return min((row for row in rows if row is not None), default=self._maps[position].rows)


def is_block(readers: Sequence[tuple[int, Reading]]) -> bool:
    """Tell whether a map must lie in one piece."""
    return any(reading.overlaps for _, reading in readers)


def memory_needed(maps: Sequence[Map], step: int) -> tuple[list[int], int]:
    """Go through a schedule without computing.

    Returns:
        Of each map, the most rows that wait at once, the strip being made included; and the most
        memory of all maps together [bytes].
    """
    schedule = Schedule(maps, step)
    bytes_a_row = [4 * math.prod(one.shape) for one in maps]
    in_block = [is_block(readers) for readers in schedule.readers]
    dropped, most = [0] * len(maps), [0] * len(maps)
    waits: list[deque[tuple[int, int]]] = [deque() for _ in maps]
    loose = most_loose = 0
    for position, first, last in schedule:
        size = (last - first) * bytes_a_row[position]
        strips = 0
        for reading in maps[position].readings:
            start, stop = reading.range(first, last)
            strips += (stop - start) * bytes_a_row[reading.source]
        # The strip being made, its first form, and what is put together or padded for it.
        most_loose = max(most_loose, loose + strips + 2 * size)
        most[position] = max(most[position], last - dropped[position])
        if not in_block[position] and position < len(maps) - 1:
            waits[position].append((last, size))
            loose += size
        schedule.done[position] = last
        for reading in maps[position].readings:
            source = reading.source
            dropped[source] = min(schedule.needed(source), schedule.done[source])
            while waits[source] and waits[source][0][0] <= dropped[source]:
                loose -= waits[source].popleft()[1]
    blocks = sum(n * b for n, b, block in zip(most, bytes_a_row, in_block, strict=True) if block)
    return most, blocks + most_loose
