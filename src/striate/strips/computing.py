"""How a strip of each kind of map is computed from strips of the maps that it reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.strips.maps import ROW_AXIS, Edge, padded

# PyTorch leaves a single input whose first four sides multiply to no more than this to another
# convolution, the slower one in three dimensions.
_SLOW_UP_TO = 20_480


def last_channels(dims: int) -> torch.memory_format:
    """Name the order in memory in which a row lies in one piece."""
    return torch.channels_last if dims == 2 else torch.channels_last_3d


@dataclass
class Convolution:
    """A convolution whose windows have their rows, zeros beyond the border included."""

    function: Callable[..., Tensor]
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __call__(self, strips: Sequence[Tensor], edge: Edge, wanted: tuple[int, int]) -> Tensor:
        """Convolve one strip."""
        strip, rows = padded(strips[0], edge, 0.0), wanted[1] - wanted[0]
        is_slow = strip.ndim == 5 and strip[..., 0].numel() <= _SLOW_UP_TO
        parts = 1 if not is_slow or self.groups > 1 else 2 if rows % 2 == 0 else rows
        if parts > 1:
            each = rows // parts * self.stride[0]
            length = each - self.stride[0] + self.dilation[0] * (self.weight.shape[2] - 1) + 1
            # (1, C, parts, H, W, length), as a batch
            strip = strip.unfold(ROW_AXIS, length, each)[0].permute(1, 0, 4, 2, 3)
        numbers = (self.stride, self.padding, self.dilation, self.groups)
        result = self.function(strip, self.weight, self.bias, *numbers)
        if parts == 1:
            return result
        # (parts, K, rows a part, H, W), whose rows lie one behind the other
        return result.transpose(0, 1).flatten(1, 2)[None]

    def fold(self, scale: Tensor, shift: Tensor) -> None:
        """Take over what multiplies and adds to each channel of the result."""
        each = (-1,) + (1,) * (self.weight.ndim - 1)
        self.weight = self.weight * scale.view(each)
        self.bias = shift if self.bias is None else self.bias * scale + shift


@dataclass
class TransposedConvolution:
    """A transposed convolution, of which the rows that are wanted are cut out."""

    function: Callable[..., Tensor]
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]
    rows: int  # of the map that is read

    def first_read(self, row: int) -> int:
        """Give the first row that a row of the result reads, or one before it if it reads none."""
        place = row + self.padding[0]
        reach = self.dilation[0] * (self.weight.shape[2] - 1)
        first = min(-((reach - place) // self.stride[0]), place // self.stride[0])
        return min(max(first, 0), self.rows - 1)

    def __call__(self, strips: Sequence[Tensor], edge: Edge, wanted: tuple[int, int]) -> Tensor:
        """Spread one strip."""
        first, last = wanted
        start = first + self.padding[0] - self.first_read(first) * self.stride[0]
        reach = self.dilation[0] * (self.weight.shape[2] - 1)
        made = (strips[0].shape[ROW_AXIS] - 1) * self.stride[0] + reach + 1
        more = max(start + last - first - made, 0)
        spread = self.function(
            strips[0],
            self.weight,
            self.bias,
            self.stride,
            (0, *self.padding[1:]),
            (more, *self.output_padding[1:]),
            self.groups,
            self.dilation,
        )
        return spread.narrow(ROW_AXIS, start, last - first)

    def fold(self, scale: Tensor, shift: Tensor) -> None:
        """Take over what multiplies and adds to each channel of the result."""
        shape = self.weight.shape
        parts = self.weight.view(self.groups, -1, *shape[1:])
        each = (self.groups, 1, -1) + (1,) * (len(shape) - 2)
        self.weight = (parts * scale.view(each)).view(shape)
        self.bias = shift if self.bias is None else self.bias * scale + shift


@dataclass
class Sliding:
    """Pooling, or rows of one value put around: a function on strips that have their borders."""

    function: Callable[[Tensor], Tensor]
    fill: float

    def __call__(self, strips: Sequence[Tensor], edge: Edge, wanted: tuple[int, int]) -> Tensor:
        """Slide over one strip."""
        return self.function(padded(strips[0], edge, self.fill))


@dataclass
class Resizing:
    """Interpolation: first between rows, then along the other axes as PyTorch does it.

    Args:
        places: ``(rows,)``, where each row of the result lies in the map that is read [rows].
        others: The arguments of ``interpolate`` of a strip whose rows are right.
        by_size: Whether ``others`` names a size, which then needs the number of rows.
    """

    places: Tensor
    others: dict[str, Any]
    by_size: bool

    def __call__(self, strips: Sequence[Tensor], edge: Edge, wanted: tuple[int, int]) -> Tensor:
        """Resize one strip."""
        strip, (first, last) = strips[0], wanted
        places = self.places[first:last]
        above = places.floor()
        origin = int(above[0])
        near = (above - origin).long().to(strip.device)
        rows = strip.index_select(ROW_AXIS, near)
        if bool((places != above).any()):
            far = strip.index_select(ROW_AXIS, (places.ceil() - origin).long().to(strip.device))
            share = (places - above).to(strip).view(-1, *(1,) * (strip.ndim - 3))
            rows = rows.lerp_(far, share.expand_as(rows))
        if self.by_size:
            sizes = {"size": (last - first, *self.others["size"][1:])}
            return F.interpolate(rows, **{**self.others, **sizes})
        return F.interpolate(rows, **self.others)


class Slot(int):
    """Which of the strips stands in this place among a function's arguments."""


@dataclass
class Pointwise:
    """A function that makes each row from the same rows of what it reads.

    Attributes:
        kind: The function's name.
    """

    function: Callable[..., Tensor]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    kind: str

    def __call__(self, strips: Sequence[Tensor], edge: Edge, wanted: tuple[int, int]) -> Tensor:
        """Compute one strip."""
        options = {name: _filled(one, strips) for name, one in self.options.items()}
        return self.function(*_filled(self.arguments, strips), **options)

    def alone(self, strip: Tensor) -> Tensor:
        """Compute from one strip, which nobody needs any more."""
        if self.kind == "relu":
            return torch.relu_(strip)
        return self([strip], Edge(0, 0), (0, 0))


def _filled(tree: Any, strips: Sequence[Tensor]) -> Any:
    if isinstance(tree, Slot):
        return strips[tree]
    if type(tree) in (list, tuple):
        return type(tree)(_filled(branch, strips) for branch in tree)
    return tree
