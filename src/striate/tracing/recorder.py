"""The recorder of a trace: it answers torch functions by rules, and attributes them to layers."""

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from striate.errors import UsageError
from striate.intervals import inputs, nothing
from striate.tracing.keeping import KEEPS, keep_everything
from striate.tracing.layers import Layer
from striate.tracing.tensors import (
    LIKE_THE_SECOND,
    NEW_CONSTANTS,
    QUESTIONS,
    REDUCTIONS,
    RESHAPES,
    UNIFORM_CONSTANTS,
    VIEWS,
    Function,
    Record,
    Storage,
    mapped,
    tensors_in,
    writes,
)
from striate.tracing.values import Dependence, Outcome, Rule, Value, moved, united

_META = torch.device("meta")


class _Leaf:
    """A module that is one layer, while it runs."""

    __slots__ = ("connections", "counts", "inputs", "kind", "made", "module", "multiply_adds", "name")

    def __init__(self, name: str, kind: str, module: nn.Module, counts: Any) -> None:
        self.name = name
        self.kind = kind
        self.module = module
        self.counts = counts
        self.connections = 0
        self.multiply_adds = 0
        self.inputs: dict[int, None] = {}
        self.made: list[Record] = []


class _Call(NamedTuple):
    """One call of a function that depends on the input.

    Attributes:
        func: What is called.
        args: As the network gave them.
        kwargs: As the network gave them.
        given: The tensors among them that depend on the input.
        constants: The other tensors among them.
    """

    func: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: list[Record]
    constants: list[Tensor]


class Recorder(TorchFunctionMode):
    """Answers the torch functions that a network calls, and keeps its layers.

    Args:
        network: What will run.
        modules: All of its modules with their paths.
        rules: Of a torch function, what it does to shapes and dependence.
        in_place: The functions that write their answer into their first argument.

    Attributes:
        layers: The layers that have run, in their order.
        unknown: Names of the layers that could not be followed, as keys.
        placed: Names of the layers that treat places of the input differently, as keys.
        independent: The dependence of what does not depend on the input.
        kept: The memory that autograd keeps for the way back, by id.
        uncounted: Of each parameter of the network that no layer has used, how many trainable
            values it has.
    """

    def __init__(
        self,
        network: nn.Module,
        modules: Iterable[tuple[str, nn.Module]],
        rules: Mapping[Function, Rule],
        in_place: Set[Function],
    ) -> None:
        super().__init__()
        self.layers: list[Layer] = []
        self.unknown: dict[str, None] = {}
        self.placed: dict[str, None] = {}
        self.independent: tuple[Dependence, ...] = ()
        self.kept: dict[int, Storage] = {}
        self.uncounted: dict[int, int] = {}
        self._network = network
        self._rules = rules
        self._in_place = in_place
        self._names: dict[int, str] = {}
        self._origins: dict[int, tuple[nn.Parameter, ...]] = {}
        for name, module in modules:
            self._names[id(module)] = name
            for parameter in module._parameters.values():
                if parameter is not None:
                    size = parameter.numel() if parameter.requires_grad else 0
                    self.uncounted[id(parameter)] = size
                    self._origins[id(parameter)] = (parameter,)
            for buffer in module._buffers.values():
                self._origins[id(buffer)] = ()
        self._own_names = set(self._names.values())
        self._path: list[str] = []
        self._leaf: _Leaf | None = None
        self._calls: Counter[str] = Counter()
        # What depends on the input, by id, and the constants made on the way, that none takes
        # their id.
        self._known: dict[int, Record] = {}
        self._uniform: set[int] = set()
        self._constants: list[Any] = []
        self._parted = 0
        self._overwritten: list[tuple[Tensor, Tensor]] = []

    def begin(self, input_shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Make the input of one example; its last axes, or its only one, are followed."""
        shape = (1, *input_shape)
        start = 1 if len(input_shape) == 1 else 2
        maps = {size: inputs(size) for size in shape}
        axes = tuple(Dependence(axis, maps[shape[axis]]) for axis in range(start, len(shape)))
        self.independent = tuple(Dependence(None, nothing()) for _ in axes)
        return self._tensor(Value(shape, dtype, axes), -1).tensor

    def value(self, tensor: Tensor) -> Value:
        """Say what is known of a tensor; one that was never seen is a constant."""
        record = self._known.get(id(tensor))
        if record is not None:
            return record.value
        return Value(
            *(tuple(tensor.shape), tensor.dtype, None),
            is_weight=bool(self._sources([tensor])),
            is_uniform=id(tensor) in self._uniform,
        )

    def makers(self, tensors: Iterable[Tensor]) -> tuple[int, ...]:
        """Give the positions of the layers that made some tensors, without repeats."""
        records = [self._known[id(t)] for t in tensors if id(t) in self._known]
        return tuple(dict.fromkeys(maker for record in records for maker in record.makers))

    def undo_writes(self) -> None:
        """Give tensors that the network wrote into, its buffers say, their old values."""
        for tensor, old in reversed(self._overwritten):
            tensor.copy_(old)

    # Modules

    def enter(self, module: nn.Module, arguments: Any) -> None:
        """Note that a module begins (a forward pre-hook)."""
        if self._leaf is not None:
            return
        kind = type(module).__name__
        name = self._names.get(id(module))
        if name is None:
            name = f"{self._path[-1] if self._path else ''}.{kind}".lstrip(".")
        self._path.append(name)
        counts: Any = module.counts if callable(getattr(type(module), "counts", None)) else None
        # A network that is one module of functions alone is told function by function.
        whole = module is self._network and not type(module).__module__.startswith("torch.nn.")
        if counts is not None or not (module._modules or whole):
            self._leaf = _Leaf(self._unused(name or kind, own=True), kind, module, counts)

    def leave(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        """Note that a module is done (a forward hook); what it passed on comes back as its own."""
        leaf = self._leaf
        if leaf is None:
            self._path.pop()
            return None
        if leaf.module is not module:
            return None
        self._path.pop()
        self._leaf = None
        records = [
            record
            for tensor in tensors_in([output])
            if (record := self._known.get(id(tensor))) is not None
        ]
        if not records:  # no layer, so whatever it kept elsewhere was made by those before
            for record in leaf.made:
                record.makers = tuple(leaf.inputs)
            return None
        position = len(self.layers)
        if any([position not in record.makers for record in records]):
            output = mapped(output, lambda tensor: self._passed_on(tensor, leaf))
        if leaf.counts is not None:
            leaf.connections, leaf.multiply_adds = leaf.counts(records[0].value.shape)
        parameters = module.parameters() if module._modules else module._parameters.values()
        self._close(
            *(leaf.name, leaf.kind, records),
            parameters=[p for p in parameters if p is not None],
            counts=(leaf.connections, leaf.multiply_adds),
            inputs=tuple(leaf.inputs),
        )
        return output

    def _passed_on(self, tensor: Tensor, leaf: _Leaf) -> Tensor:
        """Give what a layer returns as it came a second name, so that its readers are told apart.

        Nothing else is done to what the layer made itself, nor to constants.
        """
        record, position = self._known.get(id(tensor)), len(self.layers)
        if record is None or position in record.makers:
            return tensor
        leaf.inputs.update(dict.fromkeys(record.makers))
        twin = self._tensor(record.value, position, record.storage)
        twin.trains, twin.is_laid_out = record.trains, record.is_laid_out
        twin.is_view_of(record)
        return twin.tensor

    def _unused(self, name: str, *, own: bool = False) -> str:
        """Number a name from its second use on; a module's own name is left to the module."""
        calls = self._calls
        while True:
            calls[name] += 1
            count = calls[name]
            numbered = name if count == 1 else f"{name}_{count}"
            if (own and count == 1) or numbered not in self._own_names:
                return numbered

    def _close(
        self,
        name: str,
        kind: str,
        results: Sequence[Record],
        *,
        parameters: Sequence[nn.Parameter],
        counts: tuple[int, int],
        inputs: tuple[int, ...],
    ) -> None:
        position, uncounted, new = len(self.layers), self.uncounted, 0
        for parameter in parameters:
            size = uncounted.get(id(parameter))
            if size is None:  # hidden from the network: it is kept, that none takes its id
                self._constants.append(parameter)
                size = parameter.numel() if parameter.requires_grad else 0
            new += size
            uncounted[id(parameter)] = 0
        value, storage = results[0].value, results[0].storage
        filled = storage.bytes if storage.layer == position else 0
        if len(results) > 1:
            new_ones = {r.storage for r in results if r.storage.layer == position}
            filled = sum([one.bytes for one in new_ones])
        self.layers.append(
            Layer(
                *(name, kind, value.shape[1:], new, *counts, value.axes or self.independent),
                *(inputs, filled, position if filled else storage.layer),
            )
        )

    # Functions

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in QUESTIONS:
            return func(*args, **kwargs)
        call = _Call(func, args, kwargs, [], [])
        values = self._read(args, call)
        options = {key: self._read((item,), call)[0] for key, item in kwargs.items()}
        if func in LIKE_THE_SECOND:
            del call.given[1:]
        if func in NEW_CONSTANTS or not call.given:
            return self._constant(call)
        if func.__name__ == "__get__":
            return self._attribute(func, call.given[0])
        leaf, position = self._leaf, len(self.layers)
        kind = func.__name__.strip("_")
        name = leaf.name if leaf else f"{self._path[-1] if self._path else ''}.{kind}".lstrip(".")
        try:
            outcome = self._by_rule(func, values, options)
            answer = self._by_torch(call) if outcome is None else self._answer(call, outcome)
        except UsageError as error:
            raise UsageError(f"{name} ({leaf.kind if leaf else kind}): {error}") from error
        result, records = answer
        if not records:
            return result
        counts = (0, 0) if outcome is None else (outcome.connections, outcome.multiply_adds)
        read = dict.fromkeys([maker for record in call.given for maker in record.makers])
        if leaf is None:
            name = self._unused(name)
        self._note(call, outcome, records, name)
        for record in records:
            record.makers = (position,)
        if leaf is None:
            self._close(
                *(name, kind, records),
                parameters=self._sources(call.constants) if call.constants else (),
                counts=counts,
                inputs=tuple(read),
            )
        else:
            read.pop(position, None)
            leaf.inputs.update(read)
            leaf.connections += counts[0]
            leaf.multiply_adds += counts[1]
            leaf.made += records
        return result

    def _read(self, items: Iterable[Any], call: _Call) -> list[Any]:
        """Put values in the place of tensors, and sort these by what depends on the input."""
        values: list[Any] = []
        for item in items:
            if isinstance(item, Tensor):
                record = self._known.get(id(item))
                if record is None:
                    call.constants.append(item)
                    values.append(self.value(item))
                else:
                    call.given.append(record)
                    values.append(record.value)
            elif isinstance(item, tuple | list):
                read = self._read(item, call)
                values.append(type(item)(read) if type(item) in (tuple, list) else item)
            elif type(item) is dict:
                values.append(dict(zip(item, self._read(item.values(), call), strict=True)))
            else:
                values.append(item)
        return values

    def _by_rule(
        self, func: Function, values: list[Any], options: dict[str, Any]
    ) -> Outcome | None:
        rule = self._rules.get(func)
        if rule is None or "out" in options:
            return None
        try:
            return rule(*values, **options)
        except TypeError:
            try:
                inspect.signature(rule).bind(*values, **options)
            except TypeError:
                return None  # the function is called in a form that its rule does not know
            raise

    def _is_written(self, call: _Call) -> bool:
        """Tell whether a function with a rule writes its answer into its first argument."""
        return call.func in self._in_place or call.kwargs.get("inplace", False) is True

    def _answer(self, call: _Call, outcome: Outcome) -> tuple[Any, list[Record]]:
        values, func, position = outcome.values, call.func, len(self.layers)
        if self._is_written(call):
            target: Tensor = call.args[0]
            if tuple(target.shape) != values[0].shape:
                raise UsageError(f"{values[0].shape} cannot be written into {tuple(target.shape)}")
            return target, [self._write(target, values[0], call)]
        base = self._known.get(id(call.args[0])) if func in VIEWS and call.args else None
        storage = None if base is None else base.storage
        records = [self._tensor(value, position, storage) for value in values]
        if base is not None:
            self._parted += 1
            for part, record in enumerate(records):
                record.is_view_of(base, (self._parted, part) if outcome.is_tuple else None)
        if outcome.is_tuple:
            return tuple([record.tensor for record in records]), records
        return records[0].tensor, records

    def _by_torch(self, call: _Call) -> tuple[Any, list[Record]]:
        func, args = call.func, call.args
        originals: dict[int, Tensor] = {}

        def on_meta(tensor: Tensor) -> Tensor:
            twin = tensor if tensor.is_meta else tensor.to("meta")
            originals[id(twin)] = tensor
            return twin

        meta_args, meta_kwargs = mapped(args, on_meta), mapped(call.kwargs, on_meta)
        try:
            result = func(*meta_args, **meta_kwargs)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"{func.__name__} failed on shapes alone, a trace has no values: {reason}"
            ) from error
        axes = united([Value((), None, moved(r.value, {})) for r in call.given], ())
        result = mapped(result, lambda tensor: originals.get(id(tensor), tensor))
        written = tensors_in([result])
        if writes(func) and isinstance(args[0], Tensor):
            written.append(args[0])
        return result, [
            self._write(tensor, Value(tuple(tensor.shape), tensor.dtype, axes), call)
            for tensor in written
        ]

    def _write(self, target: Tensor, value: Value, call: _Call) -> Record:
        """Note what a tensor holds now, and that what shares its memory holds it too."""
        position, record = len(self.layers), self._known.get(id(target))
        if record is None:
            return self._know(target, value, position)
        foreign = any([one is not record for one in call.given])
        record.value = value
        for other in record.relatives():
            other.makers = tuple(dict.fromkeys((*other.makers, position)))
            if foreign:
                whole = [v._replace(shape=(), axes=moved(v, {})) for v in (other.value, value)]
                other.value = other.value._replace(axes=united(whole, ()), is_weight=False)
        return record

    def _note(
        self, call: _Call, outcome: Outcome | None, records: list[Record], name: str
    ) -> None:
        """Note what autograd keeps, and what treats the places of the input differently."""
        given, func, first = call.given, call.func, records[0]
        trains = any([p.requires_grad for p in self._sources(call.constants)])
        laid_out = any([record.is_laid_out for record in given]) and func not in REDUCTIONS
        if outcome is None:
            self.unknown[name] = None
        elif outcome.is_placed or (laid_out and outcome.multiply_adds):
            self.placed[name] = None
            laid_out = laid_out and not outcome.multiply_adds
        elif func in RESHAPES and not laid_out:
            laid_out = _lays_out(given[0].value, first.value)
        goes_back = trains or any([record.trains for record in given])
        for record in records:
            record.trains, record.is_laid_out = goes_back, laid_out
        keeping = keep_everything if outcome is None else KEEPS.get(func)
        if keeping is not None and goes_back:
            for storage in keeping(given, first, trains):
                self.kept[id(storage)] = storage

    def _attribute(self, func: Any, record: Record) -> Any:
        result = func(record.tensor)
        if isinstance(result, Tensor):
            value = record.value
            places = {axis: axis for axis in range(len(value.shape))}
            if func.__self__.__name__ in ("T", "mT", "H", "mH"):
                places |= {result.ndim - 2: result.ndim - 1, result.ndim - 1: result.ndim - 2}
            elif result.shape != record.tensor.shape:
                places = {}
            seen = Value(tuple(result.shape), result.dtype, moved(value, places))
            view = self._know(result, seen, *record.makers, storage=record.storage)
            view.trains, view.is_laid_out = record.trains, record.is_laid_out
            view.is_view_of(record)
        return result

    def _constant(self, call: _Call) -> Any:
        """Run a function of constants really: its values may be asked for."""
        func, args, kwargs = call.func, call.args, call.kwargs
        if call.constants and any([tensor.is_meta for tensor in call.constants]):
            args, kwargs = mapped((args, kwargs), lambda tensor: tensor.to("meta"))
        target = kwargs.get("out", args[0] if args and writes(func) else None)
        if isinstance(target, Tensor) and not target.is_meta:
            self._overwritten.append((target, target.clone()))
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and func in UNIFORM_CONSTANTS:
            self._constants.append(result)
            self._uniform.add(id(result))
        elif origins := self._sources(call.constants):
            for tensor in tensors_in([result]):
                self._origins[id(tensor)] = origins
                self._constants.append(tensor)
        return result

    def _sources(self, tensors: Iterable[Tensor]) -> tuple[nn.Parameter, ...]:
        """Name the parameters that constants come from."""
        found: dict[int, nn.Parameter] = {}
        for tensor in tensors:
            sources = self._origins.get(id(tensor))
            if sources is None:
                sources = (tensor,) if isinstance(tensor, nn.Parameter) else ()
            for parameter in sources:
                found[id(parameter)] = parameter
        return tuple(found.values())

    def _tensor(self, value: Value, layer: int, storage: Storage | None = None) -> Record:
        tensor = torch.empty(value.shape, dtype=value.dtype, device=_META)
        return self._know(tensor, value, layer, storage=storage)

    def _know(
        self, tensor: Tensor, value: Value, *makers: int, storage: Storage | None = None
    ) -> Record:
        if storage is None:
            storage = Storage(makers[-1], math.prod(value.shape) * value.dtype.itemsize)
        record = self._known[id(tensor)] = Record(tensor, value, makers, storage)
        return record


def _lays_out(before: Value, after: Value) -> bool:
    """Tell whether a reshape turns places of the input into something else."""
    axes = zip(before.axes or (), after.axes or (), strict=True)
    return any(
        old.axis is not None and before.shape[old.axis] > 1 and new.axis is None
        for old, new in axes
    )
