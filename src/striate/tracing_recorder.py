"""The recorder of a trace: it answers torch functions by rules, and attributes them to layers."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from striate.errors import UsageError
from striate.intervals import (
    Dependence,
    Outcome,
    Rule,
    Value,
    Window,
    inputs,
    largest_field,
    moved,
    nothing,
    united,
)
from striate.tracing_tensors import (
    NEW_CONSTANTS,
    QUESTIONS,
    VIEWS,
    Lineage,
    mapped,
    tensors_in,
    writes,
)

Function = Callable[..., Any]


@dataclass(frozen=True)
class Layer:
    """One call of a module, or of a torch function outside such a module.

    Attributes:
        name: The module's path in the network; for a function ``<path>.<function>``. From the
            second call on with a number: ``relu_2``.
        kind: The module's class or the function's name.
        output_shape: Without the batch axis.
        parameters: Trainable values that no earlier layer has used.
        connections: For one example: inputs multiplied by a weight, plus one for each bias.
        multiply_adds: For one example: products, biases left out.
        receptive_field: For each spatial axis of the input, the longest extent that one output
            depends on, the border not clipping it [input pixels].
        dependence: For each spatial axis of the input, which interval each output depends on.
        inputs: Positions in ``Trace.layers`` of the layers whose outputs it reads, in the order
            of its arguments, without repeats; -1 for the network's input.
        window: What it slides over its input; None if nothing, or more than one.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    connections: int
    multiply_adds: int
    receptive_field: tuple[int, ...]
    dependence: tuple[Dependence, ...] = field(repr=False)
    inputs: tuple[int, ...]
    window: Window | None


@dataclass
class _Call:
    """A layer while it runs."""

    name: str
    kind: str
    module: nn.Module | None = None
    counts: Callable[[tuple[int, ...]], tuple[int, int]] | None = None
    connections: int = 0
    multiply_adds: int = 0
    windows: list[Window] = field(default_factory=list)
    inputs: dict[int, None] = field(default_factory=dict)
    made: list[Tensor] = field(default_factory=list)


class Recorder(TorchFunctionMode):
    """Answers the torch functions that a network calls, and keeps its layers.

    Args:
        network: What will run.
        rules: Of a torch function, what it does to shapes and dependence.
        in_place: The functions that write their answer into their first argument.

    Attributes:
        layers: The layers that have run, in their order.
        unknown: Names of the layers that could not be followed, as keys.
        independent: The dependence of what does not depend on the input.
    """

    def __init__(
        self, network: nn.Module, rules: Mapping[Function, Rule], in_place: Set[Function]
    ) -> None:
        super().__init__()
        self.layers: list[Layer] = []
        self.unknown: dict[str, None] = {}
        self.independent: tuple[Dependence, ...] = ()
        self._network = network
        self._rules = rules
        self._in_place = in_place
        self._names = {id(module): name for name, module in network.named_modules()}
        self._own_names = set(self._names.values())
        self._path: list[str] = []
        self._leaf: _Call | None = None
        self._calls: Counter[str] = Counter()
        self._counted: set[int] = set()
        # What is known of tensors, by id; they are kept, so that no other takes their id.
        self._kept: list[Any] = []
        self._values: dict[int, Value] = {}
        self._sources: dict[int, tuple[nn.Parameter, ...]] = {}
        self._lineage = Lineage()
        self._overwritten: list[tuple[Tensor, Tensor]] = []

    def begin(self, input_shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Make the input of one example; its last axes, or its only one, are followed."""
        shape = (1, *input_shape)
        start = 1 if len(input_shape) == 1 else 2
        maps = {size: inputs(size) for size in shape}
        axes = tuple(Dependence(axis, maps[shape[axis]]) for axis in range(start, len(shape)))
        self.independent = tuple(Dependence(None, nothing()) for _ in axes)
        x = self._tensor(Value(shape, dtype, axes))
        self._lineage.born([x], -1)
        return x

    def value(self, tensor: Tensor) -> Value:
        """Say what is known of a tensor; one that was never seen is a constant."""
        known = self._values.get(id(tensor))
        return known or Value(tuple(tensor.shape), tensor.dtype, None, bool(self._origins(tensor)))

    def undo_writes(self) -> None:
        """Give tensors that the network wrote into, its buffers say, their old values."""
        for tensor, old in reversed(self._overwritten):
            tensor.copy_(old)

    # Modules

    def enter(self, module: nn.Module, arguments: Any) -> None:
        """Note that a module begins (a forward pre-hook)."""
        if self._leaf is not None:
            return
        above = self._path[-1] if self._path else ""
        kind = type(module).__name__
        name = self._names.get(id(module), f"{above}.{kind}".lstrip("."))
        self._path.append(name)
        stated = getattr(module, "counts", None)
        counts = stated if callable(stated) else None
        # A network that is one module of functions alone is told function by function.
        whole = module is self._network and not type(module).__module__.startswith("torch.nn.")
        if counts is not None or (next(module.children(), None) is None and not whole):
            self._leaf = _Call(self._unused(name or kind, own=True), kind, module, counts)

    def leave(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        """Note that a module is done (a forward hook); what it passed on comes back as its own."""
        leaf = self._leaf
        if leaf is not None and leaf.module is not module:
            return None
        self._path.pop()
        self._leaf = None
        if leaf is None:
            return None
        results = [self.value(tensor) for tensor in tensors_in([output])]
        depending = [value for value in results if value.axes is not None]
        if not depending:  # no layer, so whatever it kept elsewhere was made by those before
            self._lineage.born(leaf.made, *leaf.inputs)
            return None
        output = mapped(output, lambda tensor: self._passed_on(tensor, leaf))
        if leaf.counts is not None:
            leaf.connections, leaf.multiply_adds = leaf.counts(depending[0].shape)
        self._close(leaf, depending[0], tuple(module.parameters()))
        return output

    def _passed_on(self, tensor: Tensor, leaf: _Call) -> Tensor:
        """Give what a layer returns as it came a second name, so that its readers are told apart.

        Nothing else is done to what the layer made itself, nor to constants.
        """
        makers, position = self._lineage.makers(tensor), len(self.layers)
        if not makers or position in makers:
            return tensor
        leaf.inputs.update(dict.fromkeys(makers))
        twin = self._tensor(self.value(tensor))
        self._lineage.view([twin], tensor)
        self._lineage.born([twin], position)
        return twin

    def _unused(self, name: str, *, own: bool = False) -> str:
        """Number a name from its second use on; a module's own name is left to the module."""
        while True:
            self._calls[name] += 1
            count = self._calls[name]
            numbered = name if count == 1 else f"{name}_{count}"
            if numbered not in self._own_names or (own and count == 1):
                return numbered

    def _close(self, call: _Call, output: Value, parameters: tuple[nn.Parameter, ...]) -> None:
        new = {
            id(p): p.numel() for p in parameters if p.requires_grad and id(p) not in self._counted
        }
        self._counted.update(new)
        axes = output.axes or self.independent
        self.layers.append(
            Layer(
                name=call.name,
                kind=call.kind,
                output_shape=output.shape[1:],
                parameters=sum(new.values()),
                connections=call.connections,
                multiply_adds=call.multiply_adds,
                receptive_field=tuple(largest_field(intervals) for _, intervals in axes),
                dependence=axes,
                inputs=tuple(call.inputs),
                window=call.windows[0] if len(call.windows) == 1 else None,
            )
        )

    # Functions

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in QUESTIONS or func in NEW_CONSTANTS:
            return func(*args, **kwargs)
        given = tensors_in((*args, kwargs) if kwargs else args)
        if not any(id(tensor) in self._values for tensor in given):
            return self._constant(func, args, kwargs, given)
        kind = func.__name__.strip("_")
        if func.__name__ == "__get__":
            return self._attribute(func, args[0])
        path = self._path[-1] if self._path else ""
        call = self._leaf or _Call(f"{path}.{kind}".lstrip("."), kind)
        position = len(self.layers)
        call.inputs.update({m: None for m in self._lineage.makers(*given) if m != position})
        try:
            outcome = self._by_rule(func, args, kwargs)
            if outcome is None:
                result, values = self._by_torch(func, args, kwargs, given)
            else:
                result, values = self._answer(func, args, kwargs, outcome)
                call.connections += outcome.connections
                call.multiply_adds += outcome.multiply_adds
                call.windows += [outcome.window] if outcome.window else []
            call.made += self._made(func, args, kwargs, result)
        except UsageError as error:
            raise UsageError(f"{call.name} ({call.kind}): {error}") from error
        if values:
            if self._leaf is None:
                call.name = self._unused(call.name)
                self._close(call, values[0], self._origins(*given))
            if outcome is None:
                self.unknown[call.name] = None
        return result

    def _is_written(self, func: Function, kwargs: dict[str, Any]) -> bool:
        """Tell whether a function with a rule writes its answer into its first argument."""
        return func in self._in_place or kwargs.get("inplace", False) is True

    def _made(
        self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> list[Tensor]:
        """Note that the layer now running made what a function answers or has written into."""
        position = len(self.layers)
        made = [tensor for tensor in tensors_in([result]) if id(tensor) in self._values]
        if (self._is_written(func, kwargs) or writes(func)) and isinstance(args[0], Tensor):
            made.append(args[0])
            for base in self._lineage.bases(args[0]):
                self._lineage.born([base], *self._lineage.makers(base), position)
        self._lineage.born(made, position)
        return made

    def _by_rule(
        self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Outcome | None:
        rule = self._rules.get(func)
        if rule is None or "out" in kwargs:
            return None
        values, options = mapped(args, self.value), mapped(kwargs, self.value)
        try:
            return rule(*values, **options)
        except TypeError:
            try:
                inspect.signature(rule).bind(*values, **options)
            except TypeError:
                return None  # the function is called in a form that its rule does not know
            raise

    def _answer(
        self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], outcome: Outcome
    ) -> tuple[Any, list[Value]]:
        values = list(outcome.values)
        if self._is_written(func, kwargs):
            target = args[0]
            if tuple(target.shape) != values[0].shape:
                raise UsageError(f"{values[0].shape} cannot be written into {tuple(target.shape)}")
            self._write(target, values[0], tensors_in(args[1:]))
            return target, values
        tensors = tuple(self._tensor(value) for value in values)
        if func in VIEWS and args:
            self._lineage.view(tensors, args[0])
        return tensors if outcome.is_tuple else tensors[0], values

    def _by_torch(
        self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], given: list[Tensor]
    ) -> tuple[Any, list[Value]]:
        originals: dict[int, Tensor] = {}

        def on_meta(tensor: Tensor) -> Tensor:
            twin = tensor if tensor.is_meta else tensor.to("meta")
            originals[id(twin)] = tensor
            return twin

        meta_args, meta_kwargs = mapped(args, on_meta), mapped(kwargs, on_meta)
        try:
            result = func(*meta_args, **meta_kwargs)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"{func.__name__} failed on shapes alone, a trace has no values: {reason}"
            ) from error
        known = [self._values[id(tensor)] for tensor in given if id(tensor) in self._values]
        axes = united([Value((), None, moved(value, {})) for value in known], ())
        result = mapped(result, lambda tensor: originals.get(id(tensor), tensor))
        written = tensors_in([result])
        if writes(func) and isinstance(args[0], Tensor):
            written.append(args[0])
        values = [Value(tuple(tensor.shape), tensor.dtype, axes) for tensor in written]
        for tensor, value in zip(written, values, strict=True):
            self._write(tensor, value, given)
        return result, values

    def _write(self, target: Tensor, value: Value, news: Iterable[Tensor]) -> None:
        """Note what a tensor holds now, and that what it is a view of holds it too."""
        foreign = any(id(tensor) in self._values and tensor is not target for tensor in news)
        self._know(target, value)
        for base in self._lineage.bases(target) if foreign else ():
            old = self.value(base)
            whole = [v._replace(shape=(), axes=moved(v, {})) for v in (old, value) if v.axes]
            self._know(base, old._replace(axes=united(whole, ()), is_weight=False))

    def _attribute(self, func: Any, tensor: Tensor) -> Any:
        result = func(tensor)
        if isinstance(result, Tensor):
            value = self.value(tensor)
            places = {axis: axis for axis in range(len(value.shape))}
            if func.__self__.__name__ in ("T", "mT", "H", "mH"):
                places |= {result.ndim - 2: result.ndim - 1, result.ndim - 1: result.ndim - 2}
            elif result.shape != tensor.shape:
                places = {}
            self._know(result, Value(tuple(result.shape), result.dtype, moved(value, places)))
            self._lineage.view([result], tensor)
            self._lineage.born([result], *self._lineage.makers(tensor))
        return result

    def _constant(
        self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], given: list[Tensor]
    ) -> Any:
        """Run a function of constants really: its values may be asked for."""
        if any(tensor.is_meta for tensor in given):
            args, kwargs = mapped((args, kwargs), lambda tensor: tensor.to("meta"))
        target = kwargs.get("out", args[0] if args and writes(func) else None)
        if isinstance(target, Tensor) and not target.is_meta:
            self._overwritten.append((target, target.clone()))
        result = func(*args, **kwargs)
        origins = self._origins(*given)
        if origins:
            for tensor in tensors_in([result]):
                self._sources[id(tensor)] = origins
                self._kept.append(tensor)
        return result

    def _origins(self, *tensors: Tensor) -> tuple[nn.Parameter, ...]:
        """Name the parameters that constants come from."""
        origins: dict[int, nn.Parameter] = {}
        for tensor in tensors:
            sources = (tensor,) if isinstance(tensor, nn.Parameter) else ()
            for parameter in self._sources.get(id(tensor), sources):
                origins[id(parameter)] = parameter
        return tuple(origins.values())

    def _tensor(self, value: Value) -> Tensor:
        tensor = torch.empty(value.shape, dtype=value.dtype, device="meta")
        self._know(tensor, value)
        return tensor

    def _know(self, tensor: Tensor, value: Value) -> None:
        self._values[id(tensor)] = value
        self._kept.append(tensor)
