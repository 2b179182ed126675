"""What functions do to rows: with one place in each, windows are a batch like any other."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from striate.dense_form.following import BATCH, Followed, Following
from striate.dense_form.fragments import Slide
from striate.dense_form.programs import Grid
from striate.tracing.tensors import RESHAPES, Function, tensors_in


def over_rows(
    follow: Following, func: Function, args: Any, kwargs: Any, given: Sequence[Followed]
) -> Followed | tuple[Followed, ...] | None:
    """Call a function on rows as it is; None if it might mix them."""
    like = follow.shape_of(func, args, kwargs)
    parts = like if isinstance(like, tuple | list) else (like,)
    if any(part.shape[:1] != (BATCH,) for part in parts):
        return None
    for tensor in tensors_in([args, kwargs]):
        if follow.of(tensor) is None and tensor.shape[:1] == (BATCH,):
            return None
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if "softmax" in func.__name__ and (dim is None or dim % given[0].stand_in.ndim == 0):
        return None
    laid = _refined(follow, [follow.rows(one) for one in given])
    if func in RESHAPES or func.__name__ in ("expand", "broadcast_to"):
        shape, stretches = parts[0].shape[1:], func not in RESHAPES

        def reshape(data: Tensor) -> Tensor:
            return data.expand(-1, *shape) if stretches else data.reshape(-1, *shape)

        return follow.note(reshape, laid, parts[0], kind="rows")
    call = follow.verbatim(func, args, kwargs, given)
    if isinstance(like, Tensor):
        products = args[1].numel() if func is F.linear and isinstance(args[1], Tensor) else 0
        return follow.note(call, laid, like, kind="rows", products=products)

    def part_of(number: int) -> Followed:
        return follow.note(lambda *data: call(*data)[number], laid, parts[number], kind="rows")

    return tuple(map(part_of, range(len(parts))))


def _refined(follow: Following, given: Sequence[Followed]) -> list[Followed]:
    """Part rows further, until all are parted into the same fragments."""
    axes = zip(*(one.grid.fragments for one in given), strict=True)
    wanted = tuple(math.lcm(*numbers) for numbers in axes)
    return [one if one.grid.fragments == wanted else _parted(follow, one, wanted) for one in given]


def _parted(follow: Following, known: Followed, wanted: tuple[int, ...]) -> Followed:
    single, shape = (1,) * follow.dims, known.stand_in.shape[1:]
    stride = tuple(w // f for w, f in zip(wanted, known.grid.fragments, strict=True))

    def as_maps(data: Tensor) -> Tensor:
        positions = () if follow.made is None else follow.made.positions
        places = known.grid.sizes(positions)
        return data.reshape(-1, *places, math.prod(shape)).movedim(-1, 1)

    maps = follow.note(as_maps, [known], known.stand_in)
    grid = Grid(single, wanted, known.grid.spacing)
    parted = follow.note(Slide(single, single, stride, "take"), [maps], known.stand_in, grid=grid)
    return follow.rows(parted)
