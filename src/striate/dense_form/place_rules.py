"""What functions that leave places as they are, or only some of them, do to fragments; flattening.

Rules as in ``dense_form.window_rules``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.dense_form.following import BATCH, PADS, Followed, Following, Rule, stand_in_of
from striate.dense_form.fragments import Slide, rows
from striate.tracing.pointwise import PLACEWISE
from striate.tracing.tensors import RESHAPES, Function, tensors_in

_PLACES = (
    "treats the places of a window by different constants; a dense form treats all places alike"
)


def over_places(follow: Following, func: Function, *args: Any, **kwargs: Any) -> Followed | None:
    """Call a function of each place alone on fragments as it is."""
    tensors = tensors_in([args, kwargs])
    given = [known for known in map(follow.of, tensors) if known is not None]
    if not follow.aligned(given):
        return None
    constants = [tensor for tensor in tensors if follow.of(tensor) is None]
    is_flat = given[0].kind == "flat"
    if func not in (F.prelu, torch.prelu, F.batch_norm) or is_flat:
        for constant in constants:
            if constant.numel() > 1 and (is_flat or _differs(constant, follow.dims)):
                return None if given[0].is_single else follow.refuse(_PLACES)
    like = follow.shape_of(func, args, kwargs)
    call = follow.verbatim(func, args, kwargs, given)
    return follow.note(call, given, like, kind=given[0].kind)


def _differs(constant: Tensor, dims: int) -> bool:
    """Tell whether a constant differs among places or images."""
    return max(constant.shape[-dims:]) > 1 or len(constant) > 1 < constant.ndim - dims


def _normalized(
    follow: Following, func: Function, input: Tensor, *args: Any, **kwargs: Any
) -> Followed | None:
    if follow.maps(input) is None:
        return None
    return over_places(follow, func, input, *args, **kwargs)


def _softmax(
    follow: Following, func: Function, input: Tensor, dim: Any = None, *args: Any, **options: Any
) -> Any:
    if dim is None or dim % input.ndim != 1 or follow.maps(input) is None:
        return None
    return over_places(follow, func, input, dim, *args, **options)


# Parts and joints


def _cat(follow: Following, func: Function, tensors: Any, dim: int = 0) -> Any:
    if dim % tensors[0].ndim != 1 or any(follow.maps(tensor) is None for tensor in tensors):
        return None
    return over_places(follow, func, tensors, dim)


def _pad(
    follow: Following, func: Function, input: Tensor, pad: Any, mode: str = "constant",
    value: float | None = None,
) -> Any:  # fmt: skip
    maps = follow.maps(input)
    if maps is None:
        return None
    spatial, channels = list(pad[: 2 * follow.dims]), list(pad[2 * follow.dims :])
    if maps.is_single or len(channels) > 2:
        return None
    if any(n > 0 for n in spatial):
        follow.refuse(PADS)
    if any(channels):
        no_places = [0] * (2 * follow.dims)
        maps = over_places(follow, func, input, no_places + channels, mode, value) or maps
    pairs = [(-spatial[i], -spatial[i + 1]) for i in range(0, len(spatial), 2)][::-1]
    pairs = [(0, 0)] * (follow.dims - len(pairs)) + pairs
    ends = zip(pairs, maps.grid.extent, strict=True)
    return _cropped(follow, maps, [slice(first, a - last, 1) for (first, last), a in ends])


def _getitem(follow: Following, func: Function, input: Tensor, index: Any) -> Any:
    maps = follow.maps(input)
    if maps is None or maps.is_single:
        return None
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [item for item in items if not isinstance(item, Tensor)]:
        place = items.index(Ellipsis)
        items[place : place + 1] = [slice(None)] * (input.ndim + 1 - len(items))
    items += [slice(None)] * (input.ndim - len(items))
    if len(items) != input.ndim or items[0] != slice(None) or not isinstance(items[1], slice):
        return None
    spatial = items[2:]
    if all(isinstance(item, int) for item in spatial):
        sides = zip(spatial, maps.grid.extent, strict=True)
        cut = [slice(i % a, i % a + 1, 1) for i, a in sides]
        center = _cropped(follow, _parted(follow, maps, items[1]), cut)
        return follow.note(rows, [center], center.stand_in.flatten(1), kind="rows")
    if not all(isinstance(item, slice) for item in spatial):
        return None
    return _cropped(follow, _parted(follow, maps, items[1]), spatial)


def _parted(follow: Following, maps: Followed, channels: slice) -> Followed:
    index = (slice(None), channels)
    return follow.note(lambda data: data[index], [maps], maps.stand_in[index])


def _cropped(follow: Following, maps: Followed, places: Sequence[slice]) -> Followed:
    """Keep some places of each window, the same distance apart."""
    kept = [range(*p.indices(a)) for p, a in zip(places, maps.grid.extent, strict=True)]
    if not all(kept):
        follow.refuse("keeps nothing of a map")
    starts = [k.start * s for k, s in zip(kept, maps.grid.spacing, strict=True)]
    # From the first place kept to the last, and none behind them.
    extent = tuple(k[-1] - k[0] + 1 for k in kept)
    removed = zip(maps.grid.extent, extent, maps.grid.spacing, starts, strict=True)
    behind = [(a - e) * s - start for a, e, s, start in removed]
    index = (..., *(slice(i, -j or None) for i, j in zip(starts, behind, strict=True)))
    like = stand_in_of((maps.stand_in.shape[1], *extent), maps.stand_in.dtype)
    grid = maps.grid._replace(extent=extent)
    cropped = follow.note(lambda data: data[index], [maps], like, grid=grid)
    steps, single = tuple(k.step for k in kept), (1,) * follow.dims
    return (
        cropped if steps == single else follow.slide(cropped, Slide(single, single, steps, "take"))
    )


def _narrow(
    follow: Following, func: Function, input: Tensor, dim: int, start: int, length: int
) -> Any:
    items = [slice(None)] * input.ndim
    items[dim] = slice(start, start + length)
    return _getitem(follow, func, input, tuple(items))


def _split(follow: Following, func: Function, input: Tensor, count: Any, dim: int = 0) -> Any:
    maps = follow.maps(input)
    if maps is None or dim % input.ndim != 1:
        return None
    parts, start = [], 0
    for part in follow.shape_of(func, (input, count, dim), {}):
        parts.append(_parted(follow, maps, slice(start, start + part.shape[1])))
        start += part.shape[1]
    return tuple(parts)


def _reshape(
    follow: Following, func: Function, input: Tensor, *args: Any, **kwargs: Any
) -> Followed | None:
    known = follow.of(input)
    if known is None or (known.kind == "maps" and known.is_single):
        return None
    like = follow.shape_of(func, (input, *args), kwargs)
    if like.shape != known.stand_in.shape:
        if tuple(like.shape) != (BATCH, known.stand_in[0].numel()):
            return None
        return follow.note(lambda data: data, [known], like, kind="flat")
    return follow.note(lambda data: data, [known], like, kind=known.kind)


def _table() -> dict[Function, Rule]:
    rules: dict[Function, Rule] = dict.fromkeys(PLACEWISE, over_places)
    rules |= dict.fromkeys(RESHAPES, _reshape)
    rules |= {F.batch_norm: _normalized, F.local_response_norm: _normalized}
    rules |= {F.pad: _pad, Tensor.__getitem__: _getitem}
    named: dict[str, Rule] = {
        "softmax": _softmax,
        "log_softmax": _softmax,
        "cat": _cat,
        "concat": _cat,
        "narrow": _narrow,
        "split": _split,
        "chunk": _split,
    }
    for home in (torch, F, Tensor):
        rules |= {getattr(home, n): rule for n, rule in named.items() if hasattr(home, n)}
    return rules


PLACE_RULES = _table()
