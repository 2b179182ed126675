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
from striate.lettering import amount
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


def cut(axis: Axis, length: int, block: int = 1) -> list[Piece]:
    """Cut an axis into pieces of at most a length.

    Args:
        axis: From ``fit_axes``.
        length: Of a piece's input; more than the overlap.
        block: Of the output: each piece answers whole blocks.

    Returns:
        The pieces in their order; none, if the length does not suffice for a block.

    Example:
        >>> axis = Axis(9, size=10, before=0, outputs=10, step=2, front=2, back=2, hindrances=())
        >>> [(piece.source.start, piece.source.stop, piece.output.stop) for piece in cut(axis, 6)]
        [(0, 6, 4), (2, 8, 6), (4, 10, 9)]
    """
    pieces: list[Piece] = []
    lost, first = axis.size - axis.outputs, 0
    while first < axis.image:
        start = end = 0
        if axis.step:
            start = max((first - axis.front) // axis.step * axis.step, 0)
            last = (start + length - lost - axis.back) // block * block
            end = last + lost + axis.back
            end += (axis.size - end) % axis.step
        if start + length >= axis.size or end >= axis.size:
            last, end = axis.image, axis.size
        if last <= first:
            return []
        last = min(last, axis.image)
        source = slice(start - axis.before, end - axis.before)
        pieces.append(Piece(source, slice(first, last), slice(first - start, last - start)))
        first = last
    return pieces


class Cutting:
    """Looks for the best lengths of tiles; remembers what traces said.

    Args:
        network: As the axes were found for.
        channels: Of the image.
        axes: From ``fit_axes``.
        blocks: Along each axis, of the output; each tile answers whole ones.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: int,
        axes: Sequence[Axis],
        blocks: Sequence[int] | None = None,
    ) -> None:
        self.network = network
        self.blocks = tuple(blocks or (1 for _ in axes))
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

    def pieces(self, lengths: Sequence[int]) -> list[list[Piece]]:
        """Cut all axes."""
        return [cut(*each) for each in zip(self.axes, lengths, self.blocks, strict=True)]

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
        for pieces in self.pieces(lengths):
            sources = [piece.source for piece in pieces]
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
        most = _MOST_LENGTHS[len(self.axes)]
        along = [_lengths(*each, most) for each in zip(self.axes, self.blocks, strict=True)]
        measured = [_measured(*each) for each in zip(self.axes, self.blocks, along, strict=True)]
        places = np.indices([len(lengths) for lengths in along]).reshape(len(along), -1)
        lengths = np.stack([n[i] for n, i in zip(along, places, strict=True)], axis=1)
        shown, tiles = np.ones(len(lengths)), np.ones(len(lengths))
        for (counts, totals), place in zip(measured, places, strict=True):
            tiles *= counts[place]
            shown *= totals[place]
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
                "tiles be blended (--blend, in Python blend=True)"
            )
        smallest = min([*tried, self.whole], key=self.bytes)
        return (
            f"{amount(limit)} of memory are too little for the smallest tile of this network, "
            f"{'×'.join(map(str, smallest))} pixels; give {amount(self.bytes(smallest))}"
        )


def _count(axis: Axis, lengths: Lengths) -> Lengths:
    return 1 - (lengths - axis.size) // np.maximum(lengths - axis.overlap, 1)


def _measured(axis: Axis, block: int, lengths: Lengths) -> tuple[Lengths, Lengths]:
    """Count the pieces of each length, and add up their inputs."""
    if axis.step and block == 1:
        counts = _count(axis, lengths)
        return counts, axis.size + (counts - 1) * axis.overlap
    sources = [[piece.source for piece in cut(axis, int(n), block)] for n in lengths]
    totals = [sum(source.stop - source.start for source in each) for each in sources]
    return np.array([len(each) for each in sources]), np.array(totals)


def _lengths(axis: Axis, block: int, most: int) -> Lengths:
    """List the lengths of tiles along one axis: of those that make as many tiles, the shortest."""
    least = axis.overlap + axis.step + (block - 1)
    least += (axis.size - least) % max(axis.step, 1)
    if not axis.step or least >= axis.size:
        return np.array([axis.size])
    if block > 1:
        # A block further on, the grid of the network may lie up to a step elsewhere.
        lengths = np.arange(least + axis.step, axis.size, block)
        kept = np.append(lengths + (axis.size - lengths) % axis.step, axis.size)
        kept = np.unique(np.minimum(kept, axis.size))
    else:
        lengths = np.arange(least, axis.size + 1, axis.step)
        kept = lengths[np.unique(_count(axis, lengths), return_index=True)[1]]
    if len(kept) > most:
        kept = kept[np.unique(np.geomspace(1, len(kept), most).astype(np.int64)) - 1]
    return kept
