"""From one call of a torch function, what computes its strips."""

import math
from collections.abc import Callable
from types import EllipsisType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from striate.errors import UsageError
from striate.intervals import Intervals
from striate.strips.computing import (
    Convolution,
    Resizing,
    Sliding,
    TransposedConvolution,
    last_channels,
)
from striate.strips.maps import ROW_AXIS, Compute
from striate.tracing.values import each


class Shaped(Protocol):
    """What has a shape."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102


class Lines:
    """First and last row that is read, of each row."""

    def __init__(self, first: Any, last: Any) -> None:
        self.first, self.last = first, last


def made(
    func: Callable[..., Any], named: dict[str, Any], seen: Shaped, lines: Intervals
) -> tuple[Compute | None, Intervals | Lines]:
    """Give what computes the strips of one call, and which rows each row reads.

    Args:
        func: The torch function.
        named: Its arguments by name, without the map.
        seen: The map.
        lines: Which rows each row reads, by the rules of ``tracing``.
    """
    name, dims = func.__name__.strip("_"), len(seen.shape) - 2
    if name in ("cat", "concat"):
        _check_join(named, dims)
        return None, lines
    if name == "interpolate":
        return _resizing(named, seen)
    if name == "pad":
        return _pad(named, len(seen.shape)), lines
    if name == f"conv{dims}d":
        return _convolution(func, named, dims), lines
    if name == f"conv_transpose{dims}d":
        return _transposed(func, named, seen, lines)
    if name.partition("_with")[0] == f"max_pool{dims}d":
        return _max_pool(named, dims), lines
    if name == f"avg_pool{dims}d":
        return _average_pool(named, dims), lines
    raise UsageError("is not known in strips")


def slices(given: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    """Spell out an index as one slice an axis; None if it is more than that.

    Example:
        >>> slices((..., slice(2, -2)), (1, 3, 7, 9))[3]
        slice(2, 7, 1)
    """
    items = list(given)
    if any(not isinstance(item, slice | EllipsisType) for item in items):
        return None
    if Ellipsis not in items:
        items.append(Ellipsis)
    place = items.index(Ellipsis)
    items[place : place + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    exact = tuple(slice(*item.indices(n)) for item, n in zip(items, shape, strict=True))
    return exact if exact[ROW_AXIS].step == 1 else None


def _check_join(named: dict[str, Any], dims: int) -> None:
    if named["dim"] not in (1, -dims - 1):
        raise UsageError(f"joins maps along axis {named['dim']}; strips know channels alone")


def _weights(named: dict[str, Any], dims: int) -> dict[str, Any]:
    bias = named["bias"]
    weight = named["weight"].detach().contiguous(memory_format=last_channels(dims))
    return {"weight": weight, "bias": None if bias is None else bias.detach()}


def _convolution(func: Callable[..., Any], named: dict[str, Any], dims: int) -> Convolution:
    weights, dilation = _weights(named, dims), each(named["dilation"], dims)
    padding = named["padding"]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weights["weight"].shape[2:], strict=True)]
        if any(n % 2 for n in total[1:]):
            raise UsageError('pads one side more than the other by padding="same"')
        padding = tuple(n // 2 for n in total)
    before = (0,) * dims if padding == "valid" else each(padding, dims)
    return Convolution(
        func,
        **weights,
        stride=each(named["stride"], dims),
        padding=(0, *before[1:]),
        dilation=dilation,
        groups=named["groups"],
    )


def _transposed(
    func: Callable[..., Any], named: dict[str, Any], seen: Shaped, lines: Intervals
) -> tuple[TransposedConvolution, Lines]:
    dims = len(seen.shape) - 2
    numbers: dict[str, Any] = {
        name: each(named[name], dims)
        for name in ("stride", "padding", "output_padding", "dilation")
    }
    spread = TransposedConvolution(
        func,
        **_weights(named, dims),
        **numbers,
        groups=named["groups"],
        rows=seen.shape[ROW_AXIS],
    )
    rows = np.arange(lines.size)
    first = np.array([spread.first_read(row) for row in rows.tolist()])
    return spread, Lines(first, (rows + numbers["padding"][0]) // numbers["stride"][0])


def _max_pool(named: dict[str, Any], dims: int) -> Sliding:
    kernel = each(named["kernel_size"], dims)
    stride, padding = _stride(named, kernel), each(named["padding"], dims)
    numbers = (kernel, stride, (0, *padding[1:]), each(named["dilation"], dims))
    pool = F.max_pool2d if dims == 2 else F.max_pool3d
    return Sliding(lambda strip: pool(strip, *numbers, named["ceil_mode"]), -math.inf)


def _average_pool(named: dict[str, Any], dims: int) -> Sliding:
    kernel = each(named["kernel_size"], dims)
    stride, padding = _stride(named, kernel), each(named["padding"], dims)
    if named["ceil_mode"] or (padding[0] and not named["count_include_pad"]):
        raise UsageError("averages over fewer values at the border")
    counted = (named["count_include_pad"], named["divisor_override"])
    numbers = (kernel, stride, (0, *padding[1:]), False, *counted)
    pool: Any = F.avg_pool2d if dims == 2 else F.avg_pool3d
    return Sliding(lambda strip: pool(strip, *numbers), 0.0)


def _stride(named: dict[str, Any], kernel: tuple[int, ...]) -> tuple[int, ...]:
    stride = named["stride"]
    return kernel if stride is None or stride == [] else each(stride, len(kernel))


def _pad(named: dict[str, Any], rank: int) -> Sliding:
    pad = list(named["pad"])
    if named["mode"] != "constant":
        raise UsageError(f"pads by {named['mode']}; strips know constant values alone")
    value = float(named["value"] or 0)
    place = 2 * (rank - 1 - ROW_AXIS)  # of the rows' two numbers, counted from the last axis
    if min(pad[place : place + 2], default=0) < 0:
        raise UsageError("cuts rows off by padding; use a slice")
    pad[place : place + 2] = [0] * len(pad[place : place + 2])
    if not any(pad):
        return Sliding(lambda strip: strip, value)
    return Sliding(lambda strip: F.pad(strip, pad, value=value), value)


def _resizing(named: dict[str, Any], seen: Shaped) -> tuple[Resizing, Lines]:
    mode, dims, rows = named["mode"], len(seen.shape) - 2, seen.shape[ROW_AXIS]
    linear = {2: "bilinear", 3: "trilinear"}[dims]
    if mode not in ("nearest", "nearest-exact", linear) or named["antialias"]:
        raise UsageError(f"resizes by {mode}; strips know nearest and {linear}")
    options: dict[str, Any] = {"mode": mode}
    if mode == linear:
        options["align_corners"] = named["align_corners"]
    along: dict[str, Any] = dict(options, mode="linear") if mode == linear else dict(options)
    size, factor = named["size"], named["scale_factor"]
    if size is None and named["recompute_scale_factor"]:
        sides = zip(seen.shape[ROW_AXIS:], each(factor, dims), strict=True)
        size = tuple(math.floor(n * f) for n, f in sides)
    if size is not None:
        options["size"], along["size"] = each(size, dims), each(size, dims)[0]
    else:
        factors = each(factor, dims)
        options["scale_factor"], along["scale_factor"] = (1.0, *factors[1:]), factors[0]
    indices = torch.arange(rows, dtype=torch.float64).view(1, 1, -1)
    places: Tensor = F.interpolate(indices, **along)[0, 0]
    lines = Lines(places.floor().long().numpy(), places.ceil().long().numpy())
    return Resizing(places, options, size is not None), lines
