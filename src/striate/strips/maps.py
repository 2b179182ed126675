"""The maps of a network as they stream by: which rows each reads of others, how it computes them.

A row is everything at one index of the first spatial axis: a line of an image, a slice of a
volume. Strips are tensors ``(1, C, rows, *rest)``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rows = npt.NDArray[np.int64]
ROW_AXIS = 2  # of a strip


class Edge(NamedTuple):
    """How many rows of a window lie beyond the real border of the map that it reads."""

    before: int
    behind: int


class Reading:
    """Which rows of a map the rows of another one depend on.

    Args:
        source: Position of the map that is read.
        size: How many of its rows there are to read, behind the first ``shift`` ones.
        first: For each row of the reader, the first row it reads; negative beyond the border.
        last: The last one, included; may lie beyond the far border.
        shift: Rows of the source that a crop leaves out at the near border.
        cut: What a crop leaves of the other axes.

    Attributes:
        overlaps: Whether a row may be read by two rows of the reader.
    """

    def __init__(
        self,
        source: int,
        size: int,
        first: Rows,
        last: Rows,
        *,
        shift: int = 0,
        cut: tuple[slice, ...] | None = None,
    ) -> None:
        self.source, self.size, self.shift, self.cut = source, size, shift, cut
        self._first, self._last = first, last
        inside = np.clip(first, 0, size - 1)
        self._needed = np.minimum.accumulate(inside[::-1])[::-1] + shift
        self._ends = np.maximum.accumulate(np.clip(last, -1, size - 1)) + shift
        self.overlaps = bool((first[1:] <= last[:-1]).any())

    def ready(self, available: int) -> int:
        """Count the reader's rows for which the source's first ``available`` rows are enough."""
        return int(np.searchsorted(self._ends, available))

    def needed(self, done: int) -> int | None:
        """Give the first row that is needed after the reader's first ``done``; None if none."""
        return int(self._needed[done]) if done < len(self._needed) else None

    def range(self, first: int, last: int) -> tuple[int, int]:
        """Give the source's rows, start and stop, that the reader's rows first to last read."""
        start = min(max(int(self._first[first]), 0), self.size)
        stop = min(int(self._last[last - 1]) + 1, self.size)
        return start + self.shift, max(start, stop) + self.shift

    def edge(self, first: int, last: int) -> Edge:
        """Say how many of the rows that these rows read lie beyond the borders."""
        start, end = int(self._first[first]), int(self._last[last - 1])
        total = end - start + 1
        return Edge(min(max(-start, 0), total), min(max(end - self.size + 1, 0), total))


class Follower(Protocol):
    """A pointwise function that follows where a map is made.

    Attributes:
        kind: Its name.
    """

    kind: str

    def alone(self, strip: Tensor) -> Tensor:
        """Compute from one strip, which nobody needs any more."""


# From the strips that are read, each with what lies beyond the border, and which rows are wanted.
Compute = Callable[[Sequence[Tensor], Edge, tuple[int, int]], Tensor]


@dataclass
class Map:
    """One map of a network.

    Attributes:
        name: Of the layer that makes it.
        shape: Of one row: ``(C, *rest)``.
        rows: How many there are in the whole image.
        readings: What it is computed from; none for the image itself.
        compute: How; None for the image, and for maps side by side, which are only copied.
        after: Pointwise functions that follow and that nobody else waits for.
    """

    name: str
    shape: tuple[int, ...]
    rows: int
    readings: tuple[Reading, ...] = ()
    compute: Compute | None = None
    after: list[Follower] = field(default_factory=list)


def padded(strip: Tensor, edge: Edge, fill: float) -> Tensor:
    """Put rows of one value where a window hangs over the border."""
    if edge == (0, 0):
        return strip
    n, channels, rows, *rest = strip.shape
    shape = (n, rows + sum(edge), *rest, channels)
    whole = torch.full(shape, fill, dtype=strip.dtype, device=strip.device).movedim(-1, 1)
    whole.narrow(ROW_AXIS, edge.before, rows).copy_(strip)
    return whole
