"""Plans for images larger than memory: tiles whose answers, side by side, are the whole answer.

A tile is a part of the whole input (``fit_axes``). Where it touches the border it ends as the
whole does; elsewhere it is larger than what it answers, so that its own ends never show.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd

from striate.errors import UsageError
from striate.lettering import amount
from striate.mirroring import Region
from striate.tiling.blending import Weights, blended_tiles
from striate.tiling.checking import check_tiles
from striate.tiling.cutting import Cutting, Piece
from striate.tiling.fitting import Axis, fit_axes

__all__ = ["Axis", "Tile", "TilePlan", "dimensions", "memory_bytes", "plan_tiles"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Tile(NamedTuple):
    """One run of the network.

    Attributes:
        source: What it reads [pixels of the image]; beyond the border the image is mirrored.
        output: What it answers [pixels of the image].
        inner: Where that lies in the network's answer.
    """

    source: Region
    output: Region
    inner: Region


@dataclass(frozen=True)
class TilePlan:
    """Which parts of an image a network is shown, and which pixels each of them answers.

    Attributes:
        shape: Of the image, ``(C, *spatial)``.
        classes: Channels of the answer.
        tiles: In their order; outputs do not overlap and cover the image.
        axes: What the tiles had to respect, along the axes that the network sees: the last ones.
        tile_shape: The largest tile, ``(C, *spatial)``.
        multiply_adds: Of all tiles.
        whole_multiply_adds: Of the whole input in one run (of each slice).
        peak_bytes: What maps, input and answer of the largest tile take, weights left out.
        notice: Where tiles overlap and are blended, because they cannot equal the whole: a
            sentence that says so. Empty where they are exact.
        blending: Then, along each axis, how much each tile counts at its pixels.
    """

    shape: tuple[int, ...]
    classes: int
    tiles: tuple[Tile, ...] = field(repr=False)
    axes: tuple[Axis, ...]
    tile_shape: tuple[int, ...]
    multiply_adds: int
    whole_multiply_adds: int
    peak_bytes: int
    notice: str = ""
    blending: tuple[dict[int, Weights], ...] = field(default=(), repr=False, compare=False)

    @property
    def waste(self) -> float:
        """The share of the work that one run over the whole input would not have had."""
        return 1 - self.whole_multiply_adds / max(self.multiply_adds, 1)

    def __str__(self) -> str:
        """Say in a line what is ahead."""
        size = "×".join(map(str, self.tile_shape[1:]))
        count = len(self.tiles)
        tiles = (
            f"{count:,} tiles of up to {size} pixels" if count > 1 else f"1 tile of {size} pixels"
        )
        return (
            f"{tiles}, {self.multiply_adds / 1e9:,.1f} billion multiply-adds "
            f"({100 * self.waste:.1f} % of them repeated), {amount(self.peak_bytes)} of memory"
        )


def memory_bytes(memory: int | str) -> int:
    """Read an amount of memory.

    Raises:
        UsageError: It is none.

    Example:
        >>> memory_bytes("500MB"), memory_bytes("1.5 GiB"), memory_bytes(4096)
        (500000000, 1610612736, 4096)
    """
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(memory))
    if parts is None or parts[2].upper() not in _UNITS or float(parts[1]) == 0:
        raise UsageError(f"memory {memory!r}: an amount is needed, for example 500MB or 2GB")
    return int(float(parts[1]) * _UNITS[parts[2].upper()])


def dimensions(network: nn.Module, shape: Sequence[int]) -> int:
    """Say how many spatial axes the network sees: those of its convolutions, or all there are.

    Example:
        >>> dimensions(nn.Conv2d(1, 2, 3), (1, 30, 256, 256))
        2
    """
    seen = {len(m.kernel_size) for m in network.modules() if isinstance(m, _ConvNd)}
    return max(seen, default=len(shape) - 1)


def plan_tiles(
    network: nn.Module,
    shape: Sequence[int],
    *,
    memory: int | str | None = None,
    blend: bool = False,
    blocks: Sequence[int] | None = None,
) -> TilePlan:
    """Cut an image into the tiles that need the least work within a limit of memory.

    Strips waste less than squares: only cuts cost, two of them for each strip. The answers of
    the tiles are those of the whole input, up to rounding. A network in two dimensions sees a
    volume slice by slice, along its first axis.

    Args:
        network: Labels pixels: one answer a pixel, fewer only at the border.
        shape: Of the image, ``(C, *spatial)``.
        memory: What input, maps and answer of a tile may take, in bytes or as ``"500MB"``; the
            weights, the image and its result are not in it. None is without limit: one tile.
        blend: Where exact tiles cannot be had, take overlapping ones whose answers are blended;
            the plan's ``notice`` then says so.
        blocks: Along each spatial axis, the length of the blocks in which the answer is stored;
            each tile then answers whole ones. Blended tiles do not.

    Raises:
        UsageError: The network does not answer by pixels, the limit is too small for its
            smallest tile, or tiles cannot equal the whole: the layers that stand against it
            are named.

    Example:
        >>> blur = nn.Conv2d(1, 2, 3, padding=1)
        >>> plan = plan_tiles(blur, (1, 5000, 4000), memory="10MB")
        >>> len(plan.tiles), plan.tile_shape, round(plan.waste, 4)
        (25, (1, 202, 4000), 0.0095)
    """
    limit = None if memory is None else memory_bytes(memory)
    seen = dimensions(network, shape)
    if blocks is not None and (len(blocks) != len(shape) - 1 or min(blocks) < 1):
        raise UsageError(
            f"blocks {tuple(blocks)} for an image of shape {tuple(shape)}: one length "
            "for each spatial axis is needed"
        )
    if len(shape) - 1 not in (seen, seen + 1) or min(shape) < 1:
        raise UsageError(
            f"an image of shape {tuple(shape)} for a network in {seen} dimensions: "
            f"channels and {seen} axes are needed, or {seen + 1} for a stack of slices"
        )
    if limit is None:
        return _exact(network, tuple(shape), seen, None, blocks)
    try:
        return _exact(network, tuple(shape), seen, limit, blocks)
    except UsageError as refusal:
        if not blend:
            raise
        return _blended(network, tuple(shape), seen, limit, str(refusal))


def _exact(
    network: nn.Module,
    shape: tuple[int, ...],
    seen: int,
    limit: int | None,
    blocks: Sequence[int] | None,
) -> TilePlan:
    channels, *sizes = shape
    slices, sizes = sizes[:-seen], sizes[-seen:]
    axes, classes, products = fit_axes(network, (channels, *sizes))
    cutting = Cutting(network, channels, axes, blocks and blocks[-seen:])
    lengths = cutting.whole if limit is None else cutting.within(limit)
    pieces = cutting.pieces(lengths)
    for place, along in enumerate(pieces):
        if len(along) > 1:
            check_tiles(network, channels, axes, place)
    return TilePlan(
        shape=shape,
        classes=classes,
        tiles=_tiles(slices, pieces),
        axes=axes,
        tile_shape=(channels, *(1 for _ in slices), *lengths),
        multiply_adds=(cutting.work(lengths) or 0) * math.prod(slices),
        whole_multiply_adds=products * math.prod(slices),
        peak_bytes=cutting.bytes(lengths),
    )


def _blended(
    network: nn.Module, shape: tuple[int, ...], seen: int, limit: int, refusal: str
) -> TilePlan:
    channels, *sizes = shape
    slices, sizes = sizes[:-seen], sizes[-seen:]
    axes, classes, products = fit_axes(network, (channels, *sizes))
    found = blended_tiles(network, (channels, *sizes), limit)
    tiles = _tiles(slices, found.pieces)
    return TilePlan(
        shape=shape,
        classes=classes,
        tiles=tiles,
        axes=axes,
        tile_shape=(channels, *(1 for _ in slices), *found.lengths),
        multiply_adds=found.multiply_adds * len(tiles),
        whole_multiply_adds=products * math.prod(slices),
        peak_bytes=found.peak_bytes,
        notice=f"tiles overlap and are blended, near the whole answer, not equal to it: {refusal}",
        blending=found.weights,
    )


def _tiles(slices: Sequence[int], pieces: Sequence[list[Piece]]) -> tuple[Tile, ...]:
    along = [*([_only(z) for z in range(count)] for count in slices), *pieces]
    return tuple(
        Tile(*(tuple(regions) for regions in zip(*parts, strict=True)))
        for parts in itertools.product(*along)
    )


def _only(place: int) -> Piece:
    return Piece(slice(place, place + 1), slice(place, place + 1), slice(0, 1))
