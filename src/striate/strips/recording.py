"""One run of a network on shapes alone, which gives its maps and what each reads of others.

The functions that the network calls are answered by the rules of ``tracing``; those say also
which rows a row depends on. A function that a strip is not enough for is refused by its layer.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from striate.errors import UsageError
from striate.intervals import Intervals, inputs
from striate.modes import evaluating
from striate.strips import making
from striate.strips.computing import Pointwise, Slot
from striate.strips.maps import ROW_AXIS, Compute, Map, Reading
from striate.tracing import RULES
from striate.tracing.pointwise import IN_PLACE, POINTWISE
from striate.tracing.tensors import QUESTIONS, mapped, tensors_in, writes
from striate.tracing.values import Dependence, Outcome, Value, asked

_DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"}
_SAME = {"contiguous", "detach", "to", "float", "feature_alpha_dropout", *_DROPOUTS}
_STALE = "a map that was written into under another name"


class Seen(NamedTuple):
    """A map as a network holds it: all of it, or what a crop leaves.

    Attributes:
        position: Of the map.
        shape: ``(1, C, rows, *rest)``, behind the crop.
        shift: Rows that the crop leaves out at the near border.
        cut: What the crop leaves of the other axes.
        family: Tensors of one number share their memory.
    """

    position: int
    shape: tuple[int, ...]
    family: int
    shift: int = 0
    cut: tuple[slice, ...] | None = None


class Recording(TorchFunctionMode):
    """Answers the functions that a network calls by shapes, and keeps its maps.

    Args:
        network: What will run.
        shape: Of the image: ``(C, rows, *rest)``.

    Attributes:
        maps: In the order of the calls; the first is the image.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.maps = [Map("image", (shape[0], *shape[2:]), shape[1])]
        self._names = {id(module): name for name, module in network.named_modules()}
        self._path = [type(network).__name__]
        self._seen: dict[int, Seen] = {}
        self._stale: set[int] = set()
        self._kept: list[Tensor] = []

    def image(self) -> Tensor:
        """Give what the network takes for its image."""
        channels, *rest = self.maps[0].shape
        return self._tensor(Seen(0, (1, channels, self.maps[0].rows, *rest), 0))

    def position(self, answer: Any) -> int:
        """Find the map that the network returned."""
        if not isinstance(answer, Tensor):
            raise UsageError(
                f"{self._path[0]} returned a {type(answer).__name__}; strips need one map"
            )
        seen = self._seen.get(id(answer))
        if seen is None:
            raise UsageError(f"{self._path[0]} returned what does not depend on the image")
        if id(answer) in self._stale:
            raise UsageError(f"{self._path[0]} returned {_STALE}")
        return seen.position if _is_whole(seen) else self._copy(seen).position

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Know by name which module runs."""

        def enter(module: nn.Module, given: Any) -> None:
            name = self._names.get(id(module))
            self._path.append(name or self._path[-1])

        def leave(module: nn.Module, given: Any, answer: Any) -> None:
            self._path.pop()

        before = register_module_forward_pre_hook(enter)
        after = register_module_forward_hook(leave)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answer one function (called by PyTorch)."""
        kwargs = kwargs or {}
        given = [self._seen[id(t)] for t in tensors_in([args, kwargs]) if id(t) in self._seen]
        if not given:
            return func(*args, **kwargs)
        try:
            if any(id(t) in self._stale for t in tensors_in([args, kwargs])):
                raise UsageError(f"reads {_STALE}")
            if func in QUESTIONS or func.__name__ == "__get__":
                answer = func(*args, **kwargs)
                if tensors_in([answer]):
                    raise UsageError("is not known")
                return answer
            return self._answer(func, args, kwargs, given)
        except UsageError as error:
            kind = func.__name__.strip("_")
            raise UsageError(f"{self._path[-1]} ({kind}): {error}") from error

    def _answer(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any, given: list[Seen]
    ) -> Tensor:
        kind = func.__name__.strip("_")
        outcome = self._outcome(func, args, kwargs)
        shape = outcome.values[0].shape
        dependence = outcome.values[0].axes or ()
        if len(shape) <= ROW_AXIS or not dependence or dependence[0].axis != ROW_AXIS:
            raise UsageError("needs the whole map at once")
        if outcome.is_placed:
            raise UsageError("treats rows differently by their place")
        if outcome.values[0].dtype != torch.float32:
            raise UsageError(f"gives {outcome.values[0].dtype}; strips are float32")
        lines: Intervals | making.Lines = dependence[0].intervals
        if kind in _SAME:
            if kind in _DROPOUTS and _is_training(func, args, kwargs):
                raise UsageError("drops units at random")
            return self._tensor(given[0])
        if kind in ("getitem", "narrow"):
            return self._tensor(self._cropped(given[0], kind, args, kwargs, shape))
        compute: Compute | None
        if func in POINTWISE:
            compute = self._pointwise(func, args, kwargs)
        else:
            compute, lines = making.made(
                func, _bound(RULES[func], args, kwargs), given[0], dependence[0].intervals
            )
        first, last = lines.first, lines.last
        if isinstance(compute, Pointwise) or compute is None:
            own = np.arange(shape[ROW_AXIS])
            if not (np.array_equal(first, own) and np.array_equal(last, own)):
                raise UsageError("reads other rows than its own")
        readings = tuple(self._reading(seen, first, last) for seen in given)
        made = self._add(shape, readings, compute)
        if func in IN_PLACE or writes(func) or kwargs.get("inplace", False) is True:
            return self._written(args[0], made)
        return self._tensor(made)

    def _outcome(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Outcome:
        def value(tensor: Tensor) -> Any:
            seen = self._seen.get(id(tensor))
            if seen is None:
                weight = isinstance(tensor, nn.Parameter)
                return Value(tuple(tensor.shape), tensor.dtype, None, is_weight=weight)
            axis = Dependence(ROW_AXIS, inputs(seen.shape[ROW_AXIS]))
            return Value(seen.shape, torch.float32, (axis,))

        outcome = asked(RULES.get(func), mapped(list(args), value), mapped(dict(kwargs), value))
        if outcome is None or outcome.is_tuple:
            raise UsageError("is not known in strips")
        return outcome

    def _pointwise(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Pointwise:
        slots = iter(range(len(args) + len(kwargs) + 1))

        def slot(tensor: Tensor) -> Any:
            return Slot(next(slots)) if id(tensor) in self._seen else tensor

        options = {name: one for name, one in kwargs.items() if name != "inplace"}
        arguments = tuple(mapped(list(args), slot))
        name = func.__name__
        if name.endswith("_") and not name.endswith("__"):
            func = _home_of(name[:-1])
        elif func in IN_PLACE:
            func = getattr(Tensor, f"__{name[3:]}")
        elif "inplace" in _parameters(func):
            # By position it would be written into as well.
            place = _parameters(func).index("inplace")
            arguments = tuple(False if i == place else one for i, one in enumerate(arguments))
        kind = func.__name__.strip("_")
        if kind == "batch_norm":
            options = _bound(F.batch_norm, args, kwargs)
            return Pointwise(func, (Slot(0), *options.values()), {}, kind)
        return Pointwise(func, arguments, mapped(options, slot), kind)

    def _cropped(
        self, seen: Seen, kind: str, args: Any, kwargs: Any, shape: tuple[int, ...]
    ) -> Seen:
        if seen.cut is not None:
            seen = self._copy(seen)
        if kind == "narrow":
            axis, start, length = _bound(RULES[torch.narrow], args, kwargs).values()
            given: tuple[Any, ...] = (slice(None),) * (axis % len(seen.shape))
            given = (*given, slice(start % seen.shape[axis], start % seen.shape[axis] + length))
        else:
            given = args[1] if isinstance(args[1], tuple) else (args[1],)
        index = making.slices(given, seen.shape)
        if index is None:
            raise UsageError("is known in strips for slices without steps along the rows alone")
        rows = index[ROW_AXIS]
        rest = (*index[:ROW_AXIS], slice(None), *index[ROW_AXIS + 1 :])
        return Seen(seen.position, shape, seen.family, seen.shift + rows.start, rest)

    def _reading(self, seen: Seen, first: Any, last: Any) -> Reading:
        size = seen.shape[ROW_AXIS]
        return Reading(seen.position, size, first, last, shift=seen.shift, cut=seen.cut)

    def _copy(self, seen: Seen) -> Seen:
        """Make a map of what a crop leaves."""
        own = np.arange(seen.shape[ROW_AXIS])
        copy = Pointwise(torch.clone, (Slot(0),), {}, "clone")
        return self._add(seen.shape, (self._reading(seen, own, own),), copy)

    def _add(
        self, shape: tuple[int, ...], readings: tuple[Reading, ...], compute: Compute | None
    ) -> Seen:
        _, channels, rows, *rest = shape
        self.maps.append(Map(self._path[-1], (channels, *rest), rows, readings, compute))
        return Seen(len(self.maps) - 1, shape, len(self.maps) - 1)

    def _tensor(self, seen: Seen) -> Tensor:
        tensor = torch.empty(seen.shape, device="meta")
        self._kept.append(tensor)
        self._seen[id(tensor)] = seen
        return tensor

    def _written(self, target: Tensor, made: Seen) -> Tensor:
        family = self._seen[id(target)].family
        self._stale |= {key for key, seen in self._seen.items() if seen.family == family}
        self._stale.discard(id(target))
        self._seen[id(target)] = made
        return target


def _is_whole(seen: Seen) -> bool:
    return seen.shift == 0 and seen.cut is None


def _parameters(func: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        return []


def _is_training(func: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    known = _parameters(func)
    if known:
        return bool(_bound(func, args, kwargs)["training"])
    return bool(kwargs.get("train", args[2] if len(args) > 2 else True))


def _bound(rule: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """Name a function's arguments, the first left out."""
    bound = inspect.signature(rule).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(list(bound.arguments.items())[1:])


def _home_of(name: str) -> Callable[..., Any]:
    for home in (torch, F, Tensor):
        if hasattr(home, name):
            return getattr(home, name)  # type: ignore[no-any-return]
    raise UsageError("is not known in strips")


def record(network: nn.Module, shape: Sequence[int]) -> tuple[list[Map], int]:
    """List the maps of a network on an image of a shape, and say which one it returns.

    Raises:
        UsageError: A layer needs more than a strip at a time, or the shape does not fit.
    """
    strange = {t.dtype for t in network.state_dict().values() if t.is_floating_point()}
    if strange - {torch.float32}:
        named = " and ".join(sorted(map(str, strange)))
        raise UsageError(f"{type(network).__name__} has weights of {named}; strips are float32")
    recording = Recording(network, shape)
    with evaluating(network), torch.no_grad(), recording.naming():
        image = recording.image()
        with recording:
            answer = network(image)
    return recording.maps, recording.position(answer)
