"""What a trace knows while a network runs: of maps, which depend on its input, and of constants."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from striate.tracing.tensors import (
    UNIFORM_CONSTANTS,
    Function,
    Record,
    Storage,
    mapped,
    tensors_in,
    writes,
)
from striate.tracing.values import Value, moved, united


class Call(NamedTuple):
    """One call of a function that depends on the input.

    Attributes:
        func: What is called.
        args: As the network gave them.
        kwargs: As the network gave them.
        given: The tensors among them that depend on the input.
        constants: The other tensors among them.
        weighs: Whether the constants matter for more than the scale of the result.
    """

    func: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: list[Record]
    constants: list[Tensor]
    weighs: bool = True


class Knowledge:
    """What is known of tensors.

    Args:
        parameters: The network's.
        buffers: The network's.

    Attributes:
        records: Of each tensor that depends on the input, by id.
        hidden: What is not to be freed before the end, that no other tensor takes its id.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], buffers: Iterable[Tensor]) -> None:
        self.records: dict[int, Record] = {}
        self.hidden: list[Any] = []
        # The parameters that a constant is, or comes from.
        self._origins: dict[int, tuple[nn.Parameter, ...]] = {id(p): (p,) for p in parameters}
        self._origins.update((id(buffer), ()) for buffer in buffers)
        self._uniform: set[int] = set()
        self._likes: dict[tuple[tuple[int, ...], torch.dtype], Tensor] = {}
        self._overwritten: list[tuple[Tensor, Tensor]] = []

    def value(self, tensor: Tensor) -> Value:
        """Say what is known of a tensor; one that was never seen is a constant."""
        record = self.records.get(id(tensor))
        return self._constant(tensor) if record is None else record.value

    def _constant(self, tensor: Tensor) -> Value:
        origins = self._origins.get(id(tensor))
        if origins is None:
            origins = self._origin(tensor)
        is_uniform = id(tensor) in self._uniform
        return Value(tuple(tensor.shape), tensor.dtype, None, bool(origins), is_uniform)

    def _origin(self, tensor: Tensor) -> tuple[nn.Parameter, ...]:
        """Note a constant that was not there before the network ran; it is kept, with its id."""
        self.hidden.append(tensor)
        origins = (tensor,) if isinstance(tensor, nn.Parameter) else ()
        self._origins[id(tensor)] = origins
        return origins

    def tensor(self, value: Value, layer: int, storage: Storage | None = None) -> Record:
        """Make a tensor that a layer gives, in new memory or in some that is there."""
        shape, dtype = value.shape, value.dtype
        like = self._likes.get((shape, dtype))
        if like is None:
            like = self._likes[shape, dtype] = torch.empty(shape, dtype=dtype, device="meta")
        # Of all ways to make a tensor of a known kind this is the quickest.
        return self.know(like.detach(), value, (layer,), storage)

    def know(
        self, tensor: Tensor, value: Value, makers: tuple[int, ...], storage: Storage | None = None
    ) -> Record:
        """Note what a tensor is, which layers made it, and in whose memory it lies, if not new."""
        if storage is None:
            storage = Storage(makers[-1], math.prod(value.shape) * value.dtype.itemsize)
        record = self.records[id(tensor)] = Record(tensor, value, makers, storage)
        return record

    def makers(self, tensors: Iterable[Tensor]) -> tuple[int, ...]:
        """Give the positions of the layers that made some tensors, without repeats."""
        records = [self.records[id(t)] for t in tensors if id(t) in self.records]
        return tuple(dict.fromkeys(maker for record in records for maker in record.makers))

    def read(self, items: Iterable[Any], call: Call) -> list[Any]:
        """Put values in the place of tensors, and sort these by what depends on the input."""
        values: list[Any] = []
        known = self.records
        for item in items:
            kind = type(item)
            if item is None or kind is int or kind is bool or kind is float:
                values.append(item)
            elif isinstance(item, Tensor):
                record = known.get(id(item))
                if record is None:
                    call.constants.append(item)
                    values.append(self._constant(item) if call.weighs else None)
                else:
                    call.given.append(record)
                    values.append(record.value)
            elif kind is tuple and len(item) == 2 and type(item[0]) is type(item[1]) is int:
                values.append(item)  # a stride, a padding
            elif isinstance(item, tuple | list):
                read = self.read(item, call)
                values.append(kind(read) if kind in (tuple, list) else item)
            elif kind is dict:
                values.append(dict(zip(item, self.read(item.values(), call), strict=True)))
            else:
                values.append(item)
        return values

    def write(self, target: Tensor, value: Value, call: Call, layer: int) -> Record:
        """Note what a tensor holds now, and that what shares its memory holds it too."""
        record = self.records.get(id(target))
        if record is None:
            return self.know(target, value, (layer,))
        foreign = any(one is not record for one in call.given)
        record.value = value
        for other in record.relatives():
            other.makers = tuple(dict.fromkeys((*other.makers, layer)))
            if foreign:
                whole = [v._replace(shape=(), axes=moved(v, {})) for v in (other.value, value)]
                other.value = other.value._replace(axes=united(whole, ()), is_weight=False)
        return record

    def compute(self, call: Call) -> Any:
        """Run a function of constants really: its values may be asked for."""
        func, args, kwargs = call.func, call.args, call.kwargs
        if call.constants and any(tensor.is_meta for tensor in call.constants):
            args, kwargs = mapped((args, kwargs), lambda tensor: tensor.to("meta"))
        target = kwargs.get("out", args[0] if args and writes(func) else None)
        if isinstance(target, Tensor) and not target.is_meta:
            self._overwritten.append((target, target.clone()))
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and func in UNIFORM_CONSTANTS:
            self.hidden.append(result)
            self._uniform.add(id(result))
        elif origins := self.sources(call.constants):
            for tensor in tensors_in([result]):
                self._origins[id(tensor)] = tuple(origins)
                self.hidden.append(tensor)
        return result

    def sources(self, constants: Iterable[Tensor]) -> list[nn.Parameter]:
        """Name the parameters that constants come from; repeats may be."""
        found: list[nn.Parameter] = []
        for tensor in constants:
            origins = self._origins.get(id(tensor))
            found += self._origin(tensor) if origins is None else origins
        return found

    def undo_writes(self) -> None:
        """Give tensors that the network wrote into, its buffers say, their old values."""
        for tensor, old in reversed(self._overwritten):
            tensor.copy_(old)
