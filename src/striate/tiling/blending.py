"""Overlapping tiles with weights, for networks whose tiles cannot equal the whole."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from striate.errors import UsageError
from striate.lettering import amount
from striate.tiling.cutting import Piece
from striate.tiling.fitting import Axis, fit_axes
from striate.tiling.memory import peak_bytes

# Tiles begin on multiples of it, so that networks with as many halvings see one grid.
_GRID = 16
# Of a tile's length, the share that it has in common with the next one, at least.
_OVERLAP = 1 / 4

Weights = NDArray[np.float32]


class Blend(NamedTuple):
    """Tiles of one size, and how much each counts where they overlap.

    Attributes:
        pieces: Along each axis.
        weights: Along each axis, of each piece's outputs by its first one; at every pixel, those
            of all pieces add up to 1.
        lengths: Of a tile's input.
        multiply_adds: Of one tile.
        peak_bytes: Of one tile, and of the answers that wait for the next tiles.
    """

    pieces: list[list[Piece]]
    weights: tuple[dict[int, Weights], ...]
    lengths: tuple[int, ...]
    multiply_adds: int
    peak_bytes: int


def blended_tiles(network: nn.Module, shape: Sequence[int], limit: int) -> Blend:
    """Find the largest tiles within a limit of memory.

    Args:
        network: Labels pixels.
        shape: Of the image, ``(C, *spatial)``, with the axes that the network sees.
        limit: Of the memory [bytes].

    Raises:
        UsageError: No tile is small enough.
    """
    channels, *sizes = shape
    tile = list(sizes)
    while True:
        axes, classes, products = fit_axes(network, (channels, *tile))
        lengths = tuple(axis.size for axis in axes)
        waiting = 2 * 4 * classes * tile[0] * math.prod(sizes[1:])
        needed = peak_bytes(network, (channels, *lengths)) + waiting
        if needed <= limit:
            break
        longest = max(range(len(tile)), key=lambda axis: tile[axis])
        if tile[longest] <= _GRID:
            raise UsageError(
                f"{amount(limit)} of memory are too little for tiles of "
                f"{'×'.join(map(str, tile))} pixels; give {amount(needed)}"
            )
        tile[longest] = max(tile[longest] * 3 // 4 // _GRID, 1) * _GRID
    pieces = [_pieces(axis, size) for axis, size in zip(axes, sizes, strict=True)]
    weights = tuple(_weights(along, size) for along, size in zip(pieces, sizes, strict=True))
    return Blend(pieces, weights, lengths, products, needed)


def _pieces(axis: Axis, size: int) -> list[Piece]:
    """Lay tiles of one length over an axis, evenly; the last one may reach beyond the image."""
    length = axis.image
    stride = max(int(length * (1 - _OVERLAP)) // _GRID, 1) * _GRID
    count = 1 + max(-((length - size) // stride), 0)
    last = -(-(size - length) // _GRID) * _GRID
    pieces = []
    for number in range(count):
        start = round(last * number / max(count - 1, 1) / _GRID) * _GRID
        stop = min(start + length, size)
        source = slice(start - axis.before, start - axis.before + axis.size)
        pieces.append(Piece(source, slice(start, stop), slice(0, stop - start)))
    return pieces


def _weights(pieces: Sequence[Piece], size: int) -> dict[int, Weights]:
    total = np.zeros(size)
    ramps = {}
    for piece in pieces:
        length = piece.output.stop - piece.output.start
        ramp = np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)).astype(np.float64)
        ramps[piece.output.start] = ramp
        total[piece.output] += ramp
    return {
        start: (ramp / total[start : start + len(ramp)]).astype(np.float32)
        for start, ramp in ramps.items()
    }


def weight_of(weights: Sequence[dict[int, Weights]], output: Sequence[slice]) -> Weights:
    """Multiply a tile's weights along all axes: ``(*tile)``."""
    along = [one[part.start] for one, part in zip(weights, output, strict=True)]
    product = along[0]
    for one in itertools.islice(along, 1, None):
        product = product[..., None] * one
    return product
