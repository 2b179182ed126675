"""Windows slid over maps at every place, and the answers sorted into fragments.

A map that a network would read at every ``stride``-th place is read at all of them; the answers
that lie ``stride`` apart make up a fragment, so that the next layer meets neighbours again. A
fragment is told by its phase, the place of its first answer, and lies on the batch axis.

Source: A. Giusti, D. C. Ciresan, J. Masci, L. M. Gambardella and J. Schmidhuber, "Fast image
scanning with deep max-pooling convolutional neural networks", ICIP 2013; from memory, its text was
not at hand.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Phase = tuple[int, ...]


class Slide(NamedTuple):
    """A window that slides over maps: one number for each spatial axis [places of the map].

    Attributes:
        kernel: Places that it reads.
        dilation: Distance between them.
        stride: Number of fragments that its answers fall into.
        operation: "max", "sum", or "take" for windows of one place.
    """

    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    stride: tuple[int, ...]
    operation: str

    def phases(self) -> list[Phase]:
        """List the phases in the order in which fragments are given."""
        return list(itertools.product(*(range(s) for s in self.stride)))


def fragments(maps: Tensor, slide: Slide, sizes: Sequence[int]) -> Iterator[Tensor]:
    """Give one fragment after the other; gradients are not needed.

    Along each axis the maxima are taken once for all fragments that differ in later axes alone.

    Args:
        maps: ``(N, C, *spatial)``.
        slide: What slides.
        sizes: Of a fragment, for each spatial axis.

    Returns:
        For each phase ``(N, C, *sizes)``; views where the windows have one place.
    """
    return _fragments(maps, 2, slide, sizes)


def _fragments(maps: Tensor, axis: int, slide: Slide, sizes: Sequence[int]) -> Iterator[Tensor]:
    if axis == maps.ndim:
        yield maps
        return
    kernel, dilation, stride = (numbers[axis - 2] for numbers in slide[:3])
    span = stride * (sizes[axis - 2] - 1) + 1
    before = (slice(None),) * axis
    for phase in range(stride):
        starts = range(phase, phase + kernel * dilation, dilation)
        parts = [maps[(*before, slice(start, start + span, stride))] for start in starts]
        reduced = parts[0]
        if slide.operation == "max" and kernel > 1:
            reduced = torch.maximum(parts[0], parts[1])
            for part in parts[2:]:
                torch.maximum(reduced, part, out=reduced)
        elif slide.operation == "sum" and kernel > 1:
            reduced = parts[0] + parts[1]
            for part in parts[2:]:
                reduced += part
        yield from _fragments(reduced, axis + 1, slide, sizes)


def all_fragments(maps: Tensor, slide: Slide, sizes: Sequence[int]) -> Tensor:
    """Give all fragments at once, in a way that gradients pass.

    Args:
        maps: ``(N, C, *spatial)``.
        slide: What slides.
        sizes: Of a fragment, for each spatial axis.

    Returns:
        ``(phases × N, C, *sizes)``, the phases in their order.
    """
    for axis in reversed(range(2, maps.ndim)):  # columns first: equal ones are as in a window
        kernel, dilation, stride = (numbers[axis - 2] for numbers in slide[:3])
        places = stride * sizes[axis - 2]
        maps = maps.narrow(axis, 0, places + dilation * (kernel - 1))
        if kernel > 1 and slide.operation == "max":
            maps = _SlidingMax.apply(maps, axis, kernel, dilation)  # type: ignore[no-untyped-call]
        elif kernel > 1:
            maps = sum(maps.narrow(axis, i * dilation, places) for i in range(kernel))  # type: ignore[assignment]
    dims = maps.ndim - 2
    if max(slide.stride) == 1:
        return maps
    for axis in reversed(range(dims)):
        maps = torch.unflatten(maps, axis + 2, (sizes[axis], slide.stride[axis]))
    places_axes, phase_axes = range(2, 2 + 2 * dims, 2), range(3, 3 + 2 * dims, 2)
    # In the memory order of channels last, which is how the maps come.
    parted = maps.permute(*phase_axes, 0, *places_axes, 1)
    return parted.reshape(-1, *sizes, maps.shape[1]).movedim(-1, 1)


class _SlidingMax(torch.autograd.Function):
    """The largest of the places of a window along one axis; of equal ones the first is meant."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, axis: int, kernel: int, dilation: int) -> Tensor:
        ctx.window = (axis, kernel, dilation)
        ctx.save_for_backward(maps)
        first, second, *others = _SlidingMax.parts(maps, axis, kernel, dilation)
        largest = torch.maximum(first, second)
        for part in others:
            torch.maximum(largest, part, out=largest)
        return largest

    @staticmethod
    def parts(maps: Tensor, axis: int, kernel: int, dilation: int) -> list[Tensor]:
        size = maps.shape[axis] - dilation * (kernel - 1)
        return [maps.narrow(axis, i * dilation, size) for i in range(kernel)]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None, None]:
        (maps,) = ctx.saved_tensors
        parts = _SlidingMax.parts(maps, *ctx.window)
        largest_before = parts[:1]
        for part in parts[1:-1]:
            largest_before.append(torch.maximum(largest_before[-1], part))
        result = torch.zeros_like(maps)
        targets = _SlidingMax.parts(result, *ctx.window)
        left = torch.empty_like(parts[0]).copy_(slopes[0])  # in the maps' order in memory
        while largest_before:
            excess = parts.pop() - largest_before.pop()
            # Where the excess is positive the slope is this place's: what a comparison and a
            # choice would say, in one quick step.
            own = torch.ops.aten.threshold_backward(left, excess, 0)
            targets.pop().add_(own)
            left -= own
        targets.pop().add_(left)
        return result, None, None, None


def rows(maps: Tensor) -> Tensor:
    """Lay every place out as a row: ``(N, C, *spatial)`` to ``(N × places, C)``."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])
