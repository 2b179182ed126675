"""Maps that nobody else waits for are made together with those that they come from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from striate.strips.computing import Convolution, Pointwise, TransposedConvolution
from striate.strips.maps import Map


def fused(maps: Sequence[Map], answer: int) -> list[Map]:
    """Leave out the maps that the answer does not need, and join pointwise functions to others.

    A normalisation by constants behind a convolution goes into its weights.

    Args:
        maps: Each behind those that it reads.
        answer: Position of the network's answer.

    Returns:
        The maps that are left; the last is the answer.
    """
    needed = {answer}
    for position in range(answer, -1, -1):
        if position in needed:
            needed |= {reading.source for reading in maps[position].readings}
    times_read = [0] * len(maps)
    for position in needed:
        for reading in maps[position].readings:
            times_read[reading.source] += 1
    kept: list[Map] = []
    places: dict[int, int] = {}
    for position in sorted(needed | {0}):
        one = maps[position]
        alone = len(one.readings) == 1 and times_read[one.readings[0].source] == 1
        for reading in one.readings:
            reading.source = places[reading.source]
        before = kept[one.readings[0].source] if alone else None
        if before is not None and isinstance(one.compute, Pointwise) and _follows(one, before):
            _append(before, one.compute)
            places[position] = one.readings[0].source
        else:
            places[position] = len(kept)
            kept.append(one)
    return kept


def _follows(one: Map, before: Map) -> bool:
    """Tell whether a map is made of all of another one, which is no image."""
    reading = one.readings[0]
    whole = reading.cut is None and one.rows == before.rows and one.shape == before.shape
    return whole and bool(before.readings)


def _append(before: Map, function: Pointwise) -> None:
    if (
        function.kind == "batch_norm"
        and not before.after
        and isinstance(before.compute, Convolution | TransposedConvolution)
    ):
        before.compute.fold(*_scale_and_shift(function))
    else:
        before.after.append(function)


def _scale_and_shift(function: Pointwise) -> tuple[Tensor, Tensor]:
    """Read what a normalisation by constants multiplies and adds to each channel."""
    _, mean, variance, weight, bias, _, _, eps = function.arguments
    scale = torch.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight.detach()
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias.detach()
