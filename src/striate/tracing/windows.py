"""What convolutions, linear layers and pooling do to shapes and dependence.

A rule takes the arguments of a torch function, tensors replaced by ``Value``, and answers with
an ``Outcome``, or with None where it does not know the arguments. ``WINDOWS`` maps the functions
themselves, so that a stranger's function of the same name is never mistaken for one.

Connections and multiply-adds count every tap of every position, those over padding too.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.geometry import output_size, transposed_size
from striate.intervals import Intervals, adapt, slide, slide_transposed
from striate.tracing.values import Dependence, Outcome, Rule, Value, Window, each, mixed, spatially


def _fitting(sizes: Sequence[int], value: Value, kernel: Sequence[int]) -> None:
    if min(sizes) < 1:
        raise UsageError(
            f"a window of {'×'.join(map(str, kernel))} does not fit a map of shape "
            f"{value.shape[1:]}; a larger input is needed"
        )


class _Grid(NamedTuple):
    """What a convolution does along each axis, and how many products it takes."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    before: tuple[int, ...]
    dilations: tuple[int, ...]
    shape: tuple[int, ...]
    outputs: int
    products: int
    is_cut: bool


@lru_cache(maxsize=1024)
def _grid(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Any,
    dilation: tuple[int, ...],
) -> _Grid:
    units, channels, *kernel = weight
    sizes: Sequence[int] = shape[-len(kernel) :]
    old = sizes
    if padding == "same":
        before = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    else:
        before = each(0 if padding == "valid" else padding, len(kernel))
        windows = zip(sizes, kernel, stride, before, dilation, strict=True)
        sizes = [output_size(n, k, stride=s, padding=p, dilation=d) for n, k, s, p, d in windows]
    shape = (*shape[: -len(kernel) - 1], units, *sizes)
    outputs = math.prod(shape)
    products = outputs * channels * math.prod(kernel)
    places = zip(old, sizes, kernel, stride, before, dilation, strict=True)
    cut = any(_is_cut(*place) for place in places)
    return _Grid(tuple(sizes), stride, before, dilation, shape, outputs, products, cut)


def _is_cut(old: int, new: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    """Tell whether indices at the far end are in no window, other than between windows."""
    reach = dilation * (kernel - 1) + 1
    return reach >= stride and (new - 1) * stride - padding + reach < old


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
        _check_channels(input, dims, weight.shape[1] * groups)
        if type(padding) is list:
            padding = tuple(padding)
        strides, dilations = each(stride, dims), each(dilation, dims)
        grid = _grid(input.shape, weight.shape, strides, padding, dilations)
        kernel = weight.shape[2:]
        _fitting(grid.sizes, input, kernel)
        start = len(input.shape) - dims
        axes = []
        for one in mixed(input, [start - 1]):
            axis = one.axis
            if axis is not None and axis >= start:
                i = axis - start
                numbers = (grid.sizes[i], kernel[i], strides[i], grid.before[i], dilations[i])
                one = Dependence(axis, slide(one.intervals, *numbers))
            axes.append(one)
        value = Value(grid.shape, input.dtype, tuple(axes))
        connections = grid.products + (0 if bias is None else grid.outputs)
        window = Window("convolution", kernel, strides, dilations, groups)
        return Outcome((value,), connections, grid.products, window=window, is_cut=grid.is_cut)

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
        strides, before = each(stride, dims), each(padding, dims)
        after, dilations = each(output_padding, dims), each(dilation, dims)
        windows = zip(input.shape[-dims:], kernel, strides, before, after, dilations, strict=True)
        sizes = [
            transposed_size(n, k, stride=s, padding=p, output_padding=o, dilation=d)
            for n, k, s, p, o, d in windows
        ]
        _fitting(sizes, input, kernel)

        def follow(i: int, intervals: Intervals) -> Intervals:
            window = {"stride": strides[i], "padding": before[i], "dilation": dilations[i]}
            return slide_transposed(intervals, sizes[i], kernel[i], **window)

        value = spatially(input, sizes, follow, units * groups)
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
    features = len(input.shape) - 1
    value = Value(shape, input.dtype, mixed(input, [features]))
    placed = any(axis == features for axis, _ in input.axes or ())
    connections = products + (bias is not None) * math.prod(shape)
    return Outcome((value,), connections, products, is_placed=placed)


def _pool(
    input: Value, kernel: tuple[int, ...], stride: Any, padding: Any, dilation: Any, ceil: bool
) -> tuple[Value, tuple[tuple[int, ...], ...], bool]:
    """Slide a window; with what comes out, give its kernel, stride, dilation, and what is cut."""
    dims = len(kernel)
    strides = kernel if stride is None or stride == [] else each(stride, dims)
    paddings, dilations = each(padding, dims), each(dilation, dims)
    windows = list(zip(kernel, strides, paddings, dilations, strict=True))
    old = input.shape[-dims:]
    sizes = [
        output_size(n, k, stride=s, padding=p, dilation=d, ceil=ceil)
        for n, (k, s, p, d) in zip(old, windows, strict=True)
    ]
    _fitting(sizes, input, kernel)

    def follow(i: int, intervals: Intervals) -> Intervals:
        return slide(intervals, sizes[i], *windows[i])

    cut = any(_is_cut(n, m, *w) for n, m, w in zip(old, sizes, windows, strict=True))
    return spatially(input, sizes, follow), (kernel, strides, dilations), cut


def _pooled(
    operation: str,
    value: Value,
    numbers: tuple[tuple[int, ...], ...],
    *,
    places: bool,
    is_cut: bool = False,
    is_placed: bool = False,
) -> Outcome:
    values = (value, value._replace(dtype=torch.int64)) if places else (value,)
    kernel, stride, dilation = numbers
    window = Window(operation, kernel, stride, dilation)
    return Outcome(values, 0, 0, places, is_placed, window, is_cut)


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
        kernel = each(kernel_size, dims)
        value, numbers, cut = _pool(input, kernel, stride, padding, dilation, ceil_mode)
        places = always_indices or return_indices
        return _pooled("max pooling", value, numbers, places=places, is_cut=cut)

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
        kernel = each(kernel_size, dims)
        if dims == 3:  # PyTorch's does without the padding here, and here alone
            _fitting(
                [n - k + 1 for n, k in zip(input.shape[-3:], kernel, strict=True)], input, kernel
            )
        value, numbers, cut = _pool(input, kernel, stride, padding, 1, ceil_mode)
        return _pooled("average pooling", value, numbers, places=False, is_cut=cut)

    return rule


def _adaptive_pool(dims: int, operation: str, *, always_indices: bool = False) -> Rule:
    def rule(input: Value, output_size: Any, return_indices: bool = False) -> Outcome:
        old = input.shape[-dims:]
        asked = zip(each(output_size, dims), old, strict=True)
        sizes = [n if new is None else new for new, n in asked]
        value = spatially(input, sizes, lambda i, intervals: adapt(intervals, sizes[i]))
        rank = len(value.shape)
        single = [axis for axis in range(rank - dims, rank) if value.shape[axis] == 1]
        value = value._replace(axes=mixed(value, single))
        # The windows follow the size of the map, not its places.
        placed = any(axis is not None for axis, _ in value.axes or ())
        both = list(zip(old, sizes, strict=True))
        kernel = tuple(max(-(-(i + 1) * n // m) - i * n // m for i in range(m)) for n, m in both)
        numbers = (kernel, tuple(max(n // m, 1) for n, m in both), (1,) * dims)
        places = always_indices or return_indices
        return _pooled(operation, value, numbers, places=places, is_placed=placed)

    return rule


def _windows() -> dict[Callable[..., Any], Rule]:
    rules: dict[Callable[..., Any], Rule] = {
        F.linear: _linear,
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
