"""What convolutions, pooling, padding and resizing do to shapes and dependence.

A rule takes the arguments of a torch function, tensors replaced by ``Value``, and answers with
an ``Outcome``, or with None where it does not know the arguments. ``WINDOWS`` maps the functions
themselves, so that a stranger's function of the same name is never mistaken for one.

Connections and multiply-adds count every tap of every position, those over padding too.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.geometry import output_size, transposed_size
from striate.intervals import (
    Dependence,
    Indices,
    Intervals,
    Outcome,
    Rule,
    Value,
    Window,
    adapt,
    compose,
    mixed,
    pick,
    slide,
    slide_transposed,
)


def _spatially(
    value: Value,
    sizes: Sequence[int],
    follow: Callable[[int, Intervals], Intervals],
    units: int | None = None,
) -> Value:
    """Send the last axes through ``follow(i, intervals)``; ``units`` mix all channels."""
    if min(sizes) < 1:
        raise UsageError(f"nothing would be left of a map of shape {value.shape[1:]}")
    start = len(value.shape) - len(sizes)
    shape = (*value.shape[:start], *sizes)
    axes = (value.axes if units is None else mixed(value, [start - 1])) or ()
    if units is not None:
        shape = (*value.shape[: start - 1], units, *sizes)
    return Value(
        shape,
        value.dtype,
        tuple(
            Dependence(a, i if a is None or a < start else follow(a - start, i)) for a, i in axes
        ),
    )


def _each(number: Any, dims: int) -> tuple[int, ...]:
    """Spread one number, or a list of one, over all spatial axes."""
    numbers = tuple(number) if isinstance(number, Sequence) else (number,)
    return numbers * dims if len(numbers) == 1 else numbers


def _fitting(sizes: Sequence[int], value: Value, kernel: Sequence[int]) -> None:
    if min(sizes) < 1:
        raise UsageError(
            f"a window of {'×'.join(map(str, kernel))} does not fit a map of shape "
            f"{value.shape[1:]}; a larger input is needed"
        )


def _convolution(dims: int) -> Rule:
    def rule(
        input: Value,
        weight: Value,
        bias: Value | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Outcome | None:
        if weight.axes is not None or (bias is not None and bias.axes is not None):
            return None
        units, channels, *kernel = weight.shape
        _check_channels(input, dims, channels * groups)
        strides, dilations = _each(stride, dims), _each(dilation, dims)
        sizes: Sequence[int] = input.shape[-dims:]
        if padding == "same":
            before = tuple(d * (k - 1) // 2 for d, k in zip(dilations, kernel, strict=True))
        else:
            before = _each(0 if padding == "valid" else padding, dims)
            windows = zip(sizes, kernel, strides, before, dilations, strict=True)
            sizes = [
                output_size(n, k, stride=s, padding=p, dilation=d) for n, k, s, p, d in windows
            ]
        _fitting(sizes, input, kernel)

        def follow(i: int, intervals: Intervals) -> Intervals:
            window = {"stride": strides[i], "padding": before[i], "dilation": dilations[i]}
            return slide(intervals, sizes[i], kernel[i], **window)

        value = _spatially(input, sizes, follow, units)
        outputs = math.prod(value.shape)
        products = outputs * channels * math.prod(kernel)
        window = Window("convolution", tuple(kernel), strides, dilations, groups)
        connections = products + (bias is not None) * outputs
        return Outcome((value,), connections, products, window=window)

    return rule


def _transposed_convolution(dims: int) -> Rule:
    def rule(
        input: Value,
        weight: Value,
        bias: Value | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Outcome | None:
        if weight.axes is not None or (bias is not None and bias.axes is not None):
            return None
        channels, units, *kernel = weight.shape
        _check_channels(input, dims, channels)
        strides, before = _each(stride, dims), _each(padding, dims)
        after, dilations = _each(output_padding, dims), _each(dilation, dims)
        windows = zip(input.shape[-dims:], kernel, strides, before, after, dilations, strict=True)
        sizes = [
            transposed_size(n, k, stride=s, padding=p, output_padding=o, dilation=d)
            for n, k, s, p, o, d in windows
        ]
        _fitting(sizes, input, kernel)

        def follow(i: int, intervals: Intervals) -> Intervals:
            window = {"stride": strides[i], "padding": before[i], "dilation": dilations[i]}
            return slide_transposed(intervals, sizes[i], kernel[i], **window)

        value = _spatially(input, sizes, follow, units * groups)
        products = math.prod(input.shape) * units * math.prod(kernel)
        connections = products + (bias is not None) * math.prod(value.shape)
        window = Window("transposed convolution", tuple(kernel), strides, dilations, groups)
        return Outcome((value,), connections, products, window=window)

    return rule


def _check_channels(value: Value, dims: int, needed: int) -> None:
    if len(value.shape) <= dims or value.shape[-dims - 1] != needed:
        raise UsageError(f"{needed} channels are needed, not a map of shape {value.shape[1:]}")


def _linear(input: Value, weight: Value, bias: Value | None = None) -> Outcome | None:
    if weight.axes is not None or (bias is not None and bias.axes is not None):
        return None
    if input.shape[-1] != weight.shape[-1]:
        raise UsageError(
            f"{weight.shape[-1]} features are needed, not a map of shape {input.shape[1:]}"
        )
    shape = (*input.shape[:-1], *weight.shape[:-1])
    products = math.prod(shape) * weight.shape[-1]
    value = Value(shape, input.dtype, mixed(input, [len(input.shape) - 1]))
    return Outcome((value,), products + (bias is not None) * math.prod(shape), products)


def _pool(
    input: Value, kernel: tuple[int, ...], stride: Any, padding: Any, dilation: Any, ceil: bool
) -> tuple[Value, tuple[tuple[int, ...], ...]]:
    """Slide a window; with what comes out, give its kernel, stride and dilation."""
    dims = len(kernel)
    strides = kernel if stride is None or stride == [] else _each(stride, dims)
    paddings, dilations = _each(padding, dims), _each(dilation, dims)
    windows = list(zip(kernel, strides, paddings, dilations, strict=True))
    sizes = [
        output_size(n, k, stride=s, padding=p, dilation=d, ceil=ceil)
        for n, (k, s, p, d) in zip(input.shape[-dims:], windows, strict=True)
    ]
    _fitting(sizes, input, kernel)

    def follow(i: int, intervals: Intervals) -> Intervals:
        k, s, p, d = windows[i]
        return slide(intervals, sizes[i], k, stride=s, padding=p, dilation=d)

    return _spatially(input, sizes, follow), (kernel, strides, dilations)


def _pooled(
    operation: str, value: Value, numbers: tuple[tuple[int, ...], ...], indices: bool = False
) -> Outcome:
    kernel, stride, dilation = numbers
    values = (value, value._replace(dtype=torch.int64)) if indices else (value,)
    window = Window(operation, kernel, stride, dilation)
    return Outcome(values, is_tuple=indices, window=window)


def _max_pool(dims: int, *, always_indices: bool = False) -> Rule:
    def rule(
        input: Value,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Outcome:
        kernel = _each(kernel_size, dims)
        value, numbers = _pool(input, kernel, stride, padding, dilation, ceil_mode)
        return _pooled("max pooling", value, numbers, always_indices or return_indices)

    return rule


def _average_pool(dims: int) -> Rule:
    def rule(
        input: Value,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Outcome:
        kernel = _each(kernel_size, dims)
        return _pooled("average pooling", *_pool(input, kernel, stride, padding, 1, ceil_mode))

    return rule


def _adaptive_pool(dims: int, operation: str, *, always_indices: bool = False) -> Rule:
    def rule(input: Value, output_size: Any, return_indices: bool = False) -> Outcome:
        asked = zip(_each(output_size, dims), input.shape[-dims:], strict=True)
        sizes = [old if new is None else new for new, old in asked]
        value = _spatially(input, sizes, lambda i, intervals: adapt(intervals, sizes[i]))
        each = list(zip(input.shape[-dims:], sizes, strict=True))
        kernel = tuple(max(-(-(i + 1) * n // m) - i * n // m for i in range(m)) for n, m in each)
        numbers = (kernel, tuple(max(n // m, 1) for n, m in each), (1,) * dims)
        return _pooled(operation, value, numbers, always_indices or return_indices)

    return rule


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

        if mode == "constant":
            return pick(intervals, sizes[i], start=-before[i])
        return compose(intervals, sizes[i], inside, Fraction(1))

    return Outcome((_spatially(input, sizes, follow),))


def _resample(
    intervals: Intervals, size: int, scale: Fraction, offset: Fraction, around: int = 0
) -> Intervals:
    """Follow an interpolation whose output i lies at ``offset + scale * i`` of what it reads.

    It reads the indices on both sides of that place, one alone where the place is an index,
    and ``around`` more on each side: 0 linear, 1 cubic.
    """
    unit = math.lcm(scale.denominator, offset.denominator)
    step, start = int(scale * unit), int(offset * unit)

    def taps(new: Indices) -> Indices:
        place = new * step + start
        return np.concatenate([place // unit - around, -(-place // unit) + around], axis=1)

    return compose(intervals, size, taps, scale)


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
        factors = _each(scale_factor, dims)
        sizes = [math.floor(n * factor) for n, factor in zip(old, factors, strict=True)]
        scales = [1 / Fraction(str(factor)) for factor in factors]
    else:
        sizes = list(_each(size, dims))
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
    value = _spatially(input, sizes, follow)
    return Outcome((value,), window=Window("resizing", one, one, one))


def _windows() -> dict[Callable[..., Any], Rule]:
    rules: dict[Callable[..., Any], Rule] = {
        F.linear: _linear,
        F.pad: _pad,
        F.interpolate: _interpolate,
    }
    for dims in (1, 2, 3):
        # torch's own function of this name answers with indices, always.
        rules[getattr(F, f"adaptive_max_pool{dims}d")] = _adaptive_pool(dims, "max pooling")
        with_indices = getattr(F, f"adaptive_max_pool{dims}d_with_indices")
        rules[with_indices] = _adaptive_pool(dims, "max pooling", always_indices=True)
        for home in (torch, F):
            named = {
                f"conv{dims}d": _convolution(dims),
                f"conv_transpose{dims}d": _transposed_convolution(dims),
                f"max_pool{dims}d": _max_pool(dims),
                f"max_pool{dims}d_with_indices": _max_pool(dims, always_indices=True),
                f"avg_pool{dims}d": _average_pool(dims),
                f"adaptive_avg_pool{dims}d": _adaptive_pool(dims, "average pooling"),
            }
            rules |= {getattr(home, n): rule for n, rule in named.items() if hasattr(home, n)}
    return rules


WINDOWS = _windows()
