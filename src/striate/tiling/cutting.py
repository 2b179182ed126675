"""Cutting axes into pieces, and the choice of their lengths by work and memory."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from striate.errors import UsageError
from striate.tiling.fitting import Axis
from striate.tiling.memory import peak_bytes
from striate.tracing import trace

Lengths = NDArray[np.int64]

# Lengths of tiles that are compared along each axis, by the number of axes.
_MOST_LENGTHS = {1: 4000, 2: 400, 3: 48}
# What a tile costs beside its work, as so many pixels more.
_PIXELS_FOR_A_TILE = 1000
_NEARLY_EQUAL = 0.02
_SMALLEST_TRIED = 8


class Piece(NamedTuple):
    """A tile along one axis; as in ``Tile``."""

    source: slice
    output: slice
    inner: slice


def cut(axis: Axis, length: int) -> list[Piece]:
    """Cut an axis into pieces of a length; the last one may be shorter.

    Example:
        >>> axis = Axis(9, size=10, before=0, outputs=10, step=2, front=2, back=2, hindrances=())
        >>> [(piece.source.start, piece.source.stop, piece.output.stop) for piece in cut(axis, 6)]
        [(0, 6, 4), (2, 8, 6), (4, 10, 9)]
    """
    ends = [axis.size]
    starts = [0]
    if length < axis.size:
        stride = length - axis.overlap
        starts = [*range(0, axis.size - length, stride)]
        starts.append(starts[-1] + stride)
        ends = [*(start + length for start in starts[:-1]), axis.size]
    firsts = [0, *(start + axis.front for start in starts[1:]), axis.image]
    pieces = []
    for start, end, first, last in zip(starts, ends, firsts[:-1], firsts[1:], strict=True):
        last = min(last, axis.image)
        if first < last:
            source = slice(start - axis.before, end - axis.before)
            inner = slice(first - start, last - start)
            pieces.append(Piece(source, slice(first, last), inner))
    return pieces


class Cutting:
    """Looks for the best lengths of tiles; remembers what traces said."""

    def __init__(self, network: nn.Module, channels: int, axes: Sequence[Axis]) -> None:
        self.network = network
        self.channels = channels
        self.axes = axes
        self.whole = tuple(axis.size for axis in axes)
        self._products: dict[tuple[int, ...], int | None] = {}
        self._bytes: dict[tuple[int, ...], int] = {}

    def bytes(self, lengths: tuple[int, ...]) -> int:
        """Measure the memory of one tile."""
        if lengths not in self._bytes:
            self._bytes[lengths] = peak_bytes(self.network, (self.channels, *lengths))
        return self._bytes[lengths]

    def products(self, lengths: tuple[int, ...]) -> int | None:
        """Count the multiply-adds of one tile; None if the network refuses it."""
        if lengths not in self._products:
            lost = tuple(axis.size - axis.outputs for axis in self.axes)
            self._products[lengths] = None
            with suppress(ValueError, RuntimeError, AssertionError):
                result = trace(self.network, (self.channels, *lengths))
                answer = tuple(n - o for n, o in zip(lengths, lost, strict=True))
                if result.output_shape[1:] == answer:
                    self._products[lengths] = result.multiply_adds
        return self._products[lengths]

    def work(self, lengths: tuple[int, ...]) -> int | None:
        """Count the multiply-adds of all tiles; None if the network refuses one of them."""
        counted = []
        for axis, length in zip(self.axes, lengths, strict=True):
            sources = [piece.source for piece in cut(axis, length)]
            counted.append(Counter(source.stop - source.start for source in sources))
        total = 0
        for shape in itertools.product(*counted):
            products = self.products(shape)
            if products is None:
                return None
            total += products * math.prod(c[n] for c, n in zip(counted, shape, strict=True))
        return total

    def within(self, limit: int) -> tuple[int, ...]:
        """Find the lengths of the tile that stays within a limit of memory with the least work.

        Raises:
            UsageError: There is none; the message says why.
        """
        if self.bytes(self.whole) <= limit:
            return self.whole
        lengths = self._candidates()
        left = np.ones(len(lengths), dtype=bool)
        pixels = lengths.prod(axis=1)
        # A first guess, a little bold; each tile that was too large makes it more careful.
        for_a_pixel = 0.9 * self.bytes(self.whole) / math.prod(self.whole)
        while True:
            fitting = np.flatnonzero(left & (pixels * for_a_pixel <= limit))
            if len(fitting) == 0:
                return self._smallest(lengths[left], limit)
            found = tuple(lengths[fitting[0]].tolist())
            left[fitting[0]] = False
            if self.work(found) is not None:
                needed = self.bytes(found)
                if needed <= limit:
                    return found
                for_a_pixel = max(for_a_pixel, needed / math.prod(found))

    def _smallest(self, lengths: Lengths, limit: int) -> tuple[int, ...]:
        """Try the smallest tiles, where the guess at their memory leaves none."""
        tried = []
        for place in lengths.prod(axis=1).argsort(kind="stable")[:_SMALLEST_TRIED]:
            found = tuple(lengths[place].tolist())
            if self.work(found) is not None:
                if self.bytes(found) <= limit:
                    return found
                tried.append(found)
        raise UsageError(self._too_small(limit, tried))

    def _candidates(self) -> Lengths:
        """List the lengths that are worth a try, the least work first: ``(n, axes)``."""
        along = [_lengths(axis, _MOST_LENGTHS[len(self.axes)]) for axis in self.axes]
        grids = np.meshgrid(*along, indexing="ij")
        lengths = np.stack([grid.ravel() for grid in grids], axis=1)
        shown, tiles = np.ones(len(lengths)), np.ones(len(lengths))
        for place, axis in enumerate(self.axes):
            counts = _count(axis, lengths[:, place])
            shown *= axis.size + (counts - 1) * axis.overlap
            tiles *= counts
        # Of nearly equal ones, those that leave the last axes whole: files lie that way.
        cost = shown + tiles * _PIXELS_FOR_A_TILE
        order = np.lexsort([cost, *-lengths.T, np.log(cost / cost.min()) // _NEARLY_EQUAL])
        return lengths[order]

    def _too_small(self, limit: int, tried: Sequence[tuple[int, ...]]) -> str:
        fixed = [axis for axis in self.axes if not axis.step]
        if fixed:
            names = ", ".join(dict.fromkeys(name for axis in fixed for name in axis.hindrances))
            return (
                f"{amount(limit)} of memory would need tiles, which cannot equal the whole answer "
                f"because of {names}; give {amount(self.bytes(self.whole))}, or let overlapping "
                "tiles be blended"
            )
        smallest = min([*tried, self.whole], key=self.bytes)
        return (
            f"{amount(limit)} of memory are too little for the smallest tile of this network, "
            f"{'×'.join(map(str, smallest))} pixels; give {amount(self.bytes(smallest))}"
        )


def amount(memory: int) -> str:
    """Write an amount of memory, rounded up, so that it can be given back.

    Example:
        >>> amount(1_234_567_890), amount(12_345_678), amount(900)
        ('1.24GB', '12.4MB', '900B')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if memory >= size:
            digits = max(2 - int(math.log10(memory / size)), 0)
            scale = 10**digits
            return f"{math.ceil(memory * scale / size) / scale:g}{unit}"
    return f"{memory}B"


def _count(axis: Axis, lengths: Lengths) -> Lengths:
    if not axis.step:
        return np.ones_like(lengths)
    return 1 - (lengths - axis.size) // np.maximum(lengths - axis.overlap, 1)


def _lengths(axis: Axis, most: int) -> Lengths:
    """List the lengths of tiles along one axis: of those that make as many tiles, the shortest."""
    if not axis.step or axis.overlap + axis.step >= axis.size:
        return np.array([axis.size])
    lengths = np.arange(axis.overlap + axis.step, axis.size + 1, axis.step)
    _, first = np.unique(_count(axis, lengths), return_index=True)
    kept = lengths[first]
    if len(kept) > most:
        kept = kept[np.unique(np.geomspace(1, len(kept), most).astype(np.int64)) - 1]
    return kept
