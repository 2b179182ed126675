"""What convolutions, pooling and fully connected layers do to the fragments of an image.

A rule takes ``Following``, the function and its arguments, and notes the steps of the dense form.
It answers with what it has noted, or with None if the function treats the places of a window in a
way that has no dense form; where windows have but one place, it is then called as it is.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.dense_form.following import PADS, Followed, Following, Rule, stand_in_of
from striate.dense_form.fragments import Slide, rows
from striate.dense_form.place_rules import over_places
from striate.geometry import output_size
from striate.tracing.tensors import REDUCTIONS, Function
from striate.tracing.values import each

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_BORDER = "slides windows over the border of its map; a dense form needs whole windows"


def _convolution(
    follow: Following,
    func: Function,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Followed | None:
    maps, dims = follow.maps(input), follow.dims
    if maps is None or weight.ndim != dims + 2 or follow.of(weight) or follow.of(bias):
        return None
    kernel, steps, holes = tuple(weight.shape[2:]), each(stride, dims), each(dilation, dims)
    if _pads(padding, [d * (k - 1) for d, k in zip(holes, kernel, strict=True)]):
        return None if maps.is_single else follow.refuse(PADS)
    return _convolved(follow, maps, weight, bias, (steps, holes, groups))


def _pads(padding: Any, reach: Sequence[int]) -> bool:
    if padding == "same":
        return any(reach)
    numbers = padding if isinstance(padding, tuple | list) else [padding]
    return padding != "valid" and any(numbers)


def _convolved(
    follow: Following,
    maps: Followed,
    weight: Tensor,
    bias: Tensor | None,
    numbers: tuple[tuple[int, ...], tuple[int, ...], int],
) -> Followed:
    stride, dilation, groups = numbers
    dims, single, kernel = follow.dims, (1,) * follow.dims, tuple(weight.shape[2:])
    axes = zip(maps.grid.extent, kernel, dilation, strict=True)
    extent = tuple(a - d * (k - 1) for a, k, d in axes)
    if min(extent) < 1:
        follow.refuse(f"slides a window of {kernel} over a map of {maps.grid.extent}")
    spread = tuple(d * s for d, s in zip(dilation, maps.grid.spacing, strict=True))
    convolve = _CONVOLUTIONS[dims]

    def call(data: Tensor) -> Tensor:
        return convolve(data, weight, bias, 1, 0, spread, groups)

    grid = maps.grid._replace(extent=extent)
    like = stand_in_of((len(weight), *extent), maps.stand_in.dtype)
    convolved = follow.note(call, [maps], like, grid=grid, products=weight.numel())
    if max(stride) == 1:
        return convolved
    return follow.slide(convolved, Slide(single, single, stride, "take"))


def _max_pool(
    follow: Following,
    func: Function,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Followed | None:
    numbers = (kernel_size, stride, padding, dilation, ceil_mode)
    return None if return_indices else _pooled(follow, input, "max", *numbers)


def _average_pool(
    follow: Following,
    func: Function,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Followed | None:
    total = _pooled(follow, input, "sum", kernel_size, stride, padding, 1, ceil_mode)
    count = divisor_override or math.prod(each(kernel_size, follow.dims))
    return None if total is None else _scaled(follow, total, 1 / count)


def _pooled(
    follow: Following,
    input: Tensor,
    operation: str,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil: bool,
) -> Followed | None:
    maps, dims = follow.maps(input), follow.dims
    if maps is None or maps.is_single:
        return None
    kernel, holes = each(kernel_size, dims), each(dilation, dims)
    steps = kernel if stride is None or stride == [] else each(stride, dims)
    if _pads(padding, kernel):
        follow.refuse(PADS)
    for a, k, s, d in zip(maps.grid.extent, kernel, steps, holes, strict=True):
        sizes = {output_size(a, k, stride=s, dilation=d, ceil=over) for over in {False, ceil}}
        if len(sizes) > 1:
            follow.refuse(_BORDER)
    return follow.slide(maps, Slide(kernel, holes, steps, operation))


def _scaled(follow: Following, total: Followed, scale: float) -> Followed:
    return follow.note(lambda data: data * scale, [total], total.stand_in)


def _adaptive(operation: str) -> Rule:
    def rule(
        follow: Following, func: Function, input: Tensor, output_size: Any,
        return_indices: bool = False,
    ) -> Followed | None:  # fmt: skip
        maps = follow.maps(input)
        if maps is None or maps.is_single or return_indices:
            return None
        extent = maps.grid.extent
        wanted = zip(each(output_size, follow.dims), extent, strict=True)
        sizes = [a if n is None else n for n, a in wanted]
        if any(a % n for a, n in zip(extent, sizes, strict=True)):
            follow.refuse(
                f"pools {extent} to {tuple(sizes)} by windows of different sizes; a dense form "
                "slides one"
            )
        kernel = tuple(a // n for a, n in zip(extent, sizes, strict=True))
        pooled = follow.slide(maps, Slide(kernel, (1,) * follow.dims, kernel, operation))
        return pooled if operation == "max" else _scaled(follow, pooled, 1 / math.prod(kernel))

    return rule


def _reduction(
    follow: Following, func: Function, input: Tensor, dim: Any = None, keepdim: bool = False,
    **options: Any,
) -> Followed | None:  # fmt: skip
    maps, operation = follow.maps(input), func.__name__
    if maps is None or dim is None or options:
        return None
    dims = {d % input.ndim for d in (dim if isinstance(dim, tuple | list) else [dim])}
    if dims == {1} and keepdim:
        return over_places(follow, func, input, dim, True)
    if dims != set(range(2, input.ndim)) or operation not in ("mean", "sum", "amax"):
        return None
    single, extent = (1,) * follow.dims, maps.grid.extent
    slide = Slide(extent, single, single, "max" if operation == "amax" else "sum")
    answer = follow.slide(maps, slide)
    if operation == "mean":
        answer = _scaled(follow, answer, 1 / math.prod(extent))
    return answer if keepdim else _only_rows(follow, answer)


def _only_rows(follow: Following, maps: Followed) -> Followed:
    return follow.note(rows, [maps], maps.stand_in.flatten(1), kind="rows")


def _linear(
    follow: Following, func: Function, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Followed | None:
    flat = follow.of(input)
    if flat is None or flat.kind != "flat" or follow.of(weight) or follow.of(bias):
        return None
    extent, single = flat.grid.extent, (1,) * follow.dims
    kernel = torch.unflatten(weight, 1, (-1, *extent))
    return _only_rows(follow, _convolved(follow, flat, kernel, bias, (single, single, 1)))


def _table() -> dict[Function, Rule]:
    rules: dict[Function, Rule] = dict.fromkeys(REDUCTIONS, _reduction)
    rules[F.linear] = _linear
    for dims in (1, 2, 3):
        rules[getattr(F, f"adaptive_max_pool{dims}d")] = _adaptive("max")
        named: dict[str, Rule] = {
            f"conv{dims}d": _convolution,
            f"max_pool{dims}d": _max_pool,
            f"avg_pool{dims}d": _average_pool,
            f"adaptive_avg_pool{dims}d": _adaptive("sum"),
        }
        for home in (torch, F):
            rules |= {getattr(home, n): rule for n, rule in named.items() if hasattr(home, n)}
    return rules


WINDOW_RULES = _table()
