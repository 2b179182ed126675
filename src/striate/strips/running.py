"""Computing a network strip by strip, and the memory in which rows wait for their readers."""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from striate.strips.maps import ROW_AXIS, Follower, Map, Reading
from striate.strips.scheduling import Schedule, is_block, memory_needed

Read = Callable[[int, int], Tensor]
Write = Callable[[int, int, Tensor], object]


class Block:
    """Rows in one piece of memory, for readers whose strips overlap."""

    def __init__(self, memory: Tensor) -> None:
        self._memory = memory
        self._start = self._stop = self._place = 0

    def room(self, count: int) -> Tensor:
        """Give memory for the next rows, which count as there."""
        held = self._stop - self._start
        if self._place + held + count > self._memory.shape[ROW_AXIS]:
            kept = self._memory.narrow(ROW_AXIS, self._place, held)
            kept = kept if held <= self._place else kept.clone()
            self._memory.narrow(ROW_AXIS, 0, held).copy_(kept)
            self._place = 0
        self._stop += count
        return self._memory.narrow(ROW_AXIS, self._place + held, count)

    def drop(self, first: int) -> None:
        """Let the rows before one go."""
        first = min(first, self._stop)
        self._place += max(first - self._start, 0)
        self._start = max(first, self._start)

    def pieces(self, start: int, stop: int) -> list[Tensor]:
        """Show rows."""
        return [self._memory.narrow(ROW_AXIS, self._place + start - self._start, stop - start)]


class Pieces:
    """Rows as they were made, for readers that read each row once."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, Tensor]] = deque()

    def add(self, first: int, rows: Tensor) -> None:
        """Keep new rows."""
        self._pieces.append((first, rows))

    def drop(self, first: int) -> None:
        """Let the pieces go of which all rows lie before one."""
        while self._pieces and _end(*self._pieces[0]) <= first:
            self._pieces.popleft()

    def pieces(self, start: int, stop: int) -> list[Tensor]:
        """Show rows."""
        found = []
        for first, rows in self._pieces:
            begin, end = max(start, first), min(stop, _end(first, rows))
            if begin < end:
                found.append(rows.narrow(ROW_AXIS, begin - first, end - begin))
        return found


def _end(first: int, rows: Tensor) -> int:
    return first + rows.shape[ROW_AXIS]


def run(maps: Sequence[Map], step: int, like: Tensor, read: Read, write: Write) -> None:
    """Compute the last map from the first, strip by strip.

    Args:
        maps: Each behind those that it reads.
        step: Rows of the image that are read at once.
        like: Says where and in which type maps are kept.
        read: Gives rows of the image.
        write: Takes rows of the answer.
    """
    schedule = Schedule(maps, step)
    work = _Work(maps, like, [is_block(readers) for readers in schedule.readers], step)
    for position, first, last in schedule:
        if position == 0:
            work.keep(0, first, read(first, last).to(like)[None])
        elif position == len(maps) - 1:
            write(first, last, work.made(position, first, last)[0])
        else:
            work.make(position, first, last)
        schedule.done[position] = last
        for reading in maps[position].readings:
            work.stores[reading.source].drop(schedule.needed(reading.source))


class _Work:
    """The maps and the rows of them that wait."""

    def __init__(
        self, maps: Sequence[Map], like: Tensor, in_block: Sequence[bool], step: int
    ) -> None:
        most, _ = memory_needed(maps, step)
        self._maps, self._like = maps, like
        self.stores: list[Block | Pieces] = [
            Block(_empty(one, rows, like)) if block else Pieces()
            for one, rows, block in zip(maps, most, in_block, strict=True)
        ]

    def keep(self, position: int, first: int, rows: Tensor) -> None:
        """Put new rows where their readers find them."""
        store = self.stores[position]
        if isinstance(store, Block):
            store.room(rows.shape[ROW_AXIS]).copy_(rows)
        else:
            store.add(first, rows)

    def make(self, position: int, first: int, last: int) -> None:
        """Compute rows, if possible straight to where their readers find them."""
        one, store = self._maps[position], self.stores[position]
        if isinstance(store, Block) and one.compute is None and not one.after:
            self._join(one, store.room(last - first), first, last)
        elif isinstance(store, Block) and one.after and one.after[-1].kind == "relu":
            before = self._computed(one, first, last, one.after[:-1])
            torch.clamp_min(before, 0, out=store.room(last - first))
        else:
            self.keep(position, first, self.made(position, first, last))

    def made(self, position: int, first: int, last: int) -> Tensor:
        """Compute rows."""
        one = self._maps[position]
        return self._computed(one, first, last, one.after)

    def _computed(self, one: Map, first: int, last: int, after: Sequence[Follower]) -> Tensor:
        if one.compute is None:
            strip = _empty(one, last - first, self._like)
            self._join(one, strip, first, last)
        else:
            strips = [self._strip(reading, first, last) for reading in one.readings]
            strip = one.compute(strips, one.readings[0].edge(first, last), (first, last))
        for function in after:
            strip = function.alone(strip)
        return strip

    def _strip(self, reading: Reading, first: int, last: int) -> Tensor:
        pieces = self._pieces(reading, first, last)
        if len(pieces) == 1:
            return pieces[0]
        if pieces:
            return torch.cat(pieces, ROW_AXIS)
        return _empty(self._maps[reading.source], 0, self._like)

    def _join(self, one: Map, room: Tensor, first: int, last: int) -> None:
        """Copy maps side by side."""
        channel = 0
        for reading in one.readings:
            row = 0
            for piece in self._pieces(reading, first, last):
                channels, rows = piece.shape[1], piece.shape[ROW_AXIS]
                room[:, channel : channel + channels, row : row + rows].copy_(piece)
                row += rows
            channel += channels

    def _pieces(self, reading: Reading, first: int, last: int) -> list[Tensor]:
        pieces = self.stores[reading.source].pieces(*reading.range(first, last))
        return pieces if reading.cut is None else [piece[reading.cut] for piece in pieces]


def _empty(one: Map, rows: int, like: Tensor) -> Tensor:
    """Give memory for rows of a map, each row in one piece."""
    channels, *rest = one.shape
    return like.new_empty(1, rows, *rest, channels).movedim(-1, 1)
