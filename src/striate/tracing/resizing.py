"""What padding and interpolation do to shapes and dependence.

Rules as in ``tracing.windows``; ``RESIZING`` maps the functions to them.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch.nn import functional as F

from striate.errors import UsageError
from striate.intervals import Indices, Intervals, adapt, compose, pick
from striate.tracing.values import Outcome, Rule, Value, Window, each, spatially


def _pad(
    input: Value, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Outcome | None:
    dims = len(pad) // 2
    before, after = pad[-2::-2], pad[::-2]
    old = input.shape[-dims:]
    sizes = [b + n + a for b, n, a in zip(before, old, after, strict=True)]
    reach = [max(b, a) for b, a in zip(before, after, strict=True)]
    spare = {"constant": math.inf, "replicate": math.inf, "circular": 0, "reflect": -1}
    if mode not in spare:
        return None
    if any(longest > n + spare[mode] for longest, n in zip(reach, old, strict=True)):
        raise UsageError(f"a map of shape {input.shape[1:]} is too small for {mode} by {reach}")

    def follow(i: int, intervals: Intervals) -> Intervals:
        def inside(new: Indices) -> Indices:
            place = new - before[i]
            if mode == "circular":
                return place % old[i]
            if mode == "replicate":
                return np.clip(place, 0, old[i] - 1)
            turn = max(2 * old[i] - 2, 1)  # reflect: forth and back without the ends
            return np.minimum(place % turn, -place % turn)

        if before[i] == after[i] == 0:
            return intervals
        if mode == "constant":
            return pick(intervals, sizes[i], start=-before[i])
        return compose(intervals, sizes[i], inside, Fraction(1))

    return Outcome((spatially(input, sizes, follow),))


def _resample(
    intervals: Intervals, size: int, scale: Fraction, offset: Fraction, around: int = 0
) -> Intervals:
    """Follow an interpolation whose output i lies at ``offset + scale * i`` of what it reads.

    It reads the indices on both sides of that place, one alone where the place is an index,
    and ``around`` more on each side: 0 linear, 1 cubic.
    """
    unit = 2 * scale.denominator  # the offset is (scale - 1) / 2 or 0: whole numbers both
    step, start = int(scale * unit), int(offset * unit)

    def taps(new: Indices) -> Indices:
        place = new * step + start
        return np.concatenate([place // unit - around, -(-place // unit) + around], axis=1)

    return compose(intervals, size, taps, scale, regular=True)


def _nearest(intervals: Intervals, size: int, scale: Fraction, offset: float = 0) -> Intervals:
    """Follow the copying of neighbours: output i reads floor((i + offset) * scale).

    The product is rounded to single precision, as PyTorch does it.
    """
    ratio = np.float32(float(scale))
    return compose(
        intervals,
        size,
        lambda new: np.floor((new + offset).astype(np.float32) * ratio).astype(np.int64),
        scale,
        regular=Fraction(float(ratio)) == scale,  # no rounding in the product
    )


def _interpolate(
    input: Value,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Outcome | None:
    dims = len(input.shape) - 2
    old = input.shape[2:]
    if antialias:
        return None
    if size is None:
        factors = each(scale_factor, dims)
        sizes = [math.floor(n * factor) for n, factor in zip(old, factors, strict=True)]
        scales = [1 / Fraction(str(factor)) for factor in factors]
    else:
        sizes = list(each(size, dims))
    if size is not None or recompute_scale_factor:
        scales = [Fraction(n, m) for n, m in zip(old, sizes, strict=True)]

    def follow(i: int, intervals: Intervals) -> Intervals:
        if mode == "area":
            return adapt(intervals, sizes[i])
        if mode in ("nearest", "nearest-exact"):
            return _nearest(intervals, sizes[i], scales[i], 0 if mode == "nearest" else 0.5)
        around = 1 if mode == "bicubic" else 0
        if align_corners:
            scale = Fraction(old[i] - 1, max(sizes[i] - 1, 1))
            return _resample(intervals, sizes[i], scale, Fraction(0), around)
        return _resample(intervals, sizes[i], scales[i], (scales[i] - 1) / 2, around)

    one = (1,) * dims
    value = spatially(input, sizes, follow)
    return Outcome((value,), window=Window("resizing", one, one, one))


RESIZING: dict[Callable[..., Any], Rule] = {F.pad: _pad, F.interpolate: _interpolate}
