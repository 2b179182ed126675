"""The recorder of a trace: it answers torch functions by rules, and attributes them to layers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from striate.errors import UsageError
from striate.tracing.keeping import KEEPS, Keeping, keep_everything
from striate.tracing.knowledge import Call, Knowledge
from striate.tracing.layers import Layer
from striate.tracing.pointwise import UNWEIGHED
from striate.tracing.tensors import (
    LIKE_THE_SECOND,
    NEW_CONSTANTS,
    QUESTIONS,
    REDUCTIONS,
    RESHAPES,
    VIEWS,
    Function,
    Record,
    Storage,
    mapped,
    tensors_in,
    why_refused,
    writes,
)
from striate.tracing.values import (
    Dependence,
    Outcome,
    Rule,
    Value,
    Window,
    asked,
    lays_out,
    moved,
    united,
)


class _Leaf:
    """A module that is one layer, while it runs."""

    __slots__ = (
        *("connections", "counts", "inputs", "kind", "made", "module", "multiply_adds", "name"),
        "windows",
    )

    def __init__(self, name: str, kind: str, module: nn.Module, counts: Any) -> None:
        self.name = name
        self.kind = kind
        self.module = module
        self.counts = counts
        self.connections = 0
        self.multiply_adds = 0
        self.inputs: dict[int, None] = {}
        self.made: list[Record] = []
        self.windows: list[Window] = []


class _Traits(NamedTuple):
    """What the tables say of one function, looked up once."""

    kind: str
    rule: Rule | None
    keeping: Keeping | None
    is_constant: bool
    is_attribute: bool
    is_view: bool
    is_written: bool
    is_like_the_second: bool
    weighs: bool


class Recorder(TorchFunctionMode):
    """Answers the torch functions that a network calls, and keeps its layers.

    Args:
        network: What will run.
        modules: All of its modules with their paths.
        rules: Of a torch function, what it does to shapes and dependence.
        in_place: The functions that write their answer into their first argument.

    Attributes:
        knowledge: What is known of the tensors.
        independent: The dependence of what does not depend on the input.
        layers: The layers that have run, in their order.
        unknown: Names of the layers that could not be followed, as keys.
        placed: Names of the layers that treat places of the input differently, as keys.
        cut: Names of the layers that leave the far end of a map unread, as keys.
        kept: The memory that autograd keeps for the way back, by id.
        uncounted: Of each parameter of the network, by id, how many trainable values it has, and
            0 once a layer has used it.
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
        self.cut: dict[str, None] = {}
        self.kept: dict[int, Storage] = {}
        self._network = network
        self._rules = rules
        self._in_place = in_place
        self._traits: dict[Function, _Traits] = {}
        self._names = {id(module): name for name, module in modules}
        self._own_names = set(self._names.values())
        own = [(m._parameters.values(), m._buffers.values()) for _, m in modules]
        parameters = [p for some, _ in own for p in some if p is not None]
        buffers = [b for _, some in own for b in some if b is not None]
        self.uncounted = {id(p): p.numel() if p.requires_grad else 0 for p in parameters}
        self.knowledge = Knowledge(parameters, buffers)
        self.independent: tuple[Dependence, ...] = ()
        self._path: list[str] = []
        self._leaf: _Leaf | None = None
        self._calls: Counter[str] = Counter()
        self._parted = 0

    # Modules

    def enter(self, module: nn.Module) -> None:
        """Note that a module begins."""
        if self._leaf is not None:
            return
        kind = type(module).__name__
        name = self._names.get(id(module))
        if name is None:
            name = self._under_path(kind)
        self._path.append(name)
        counts: Any = module.counts if callable(getattr(type(module), "counts", None)) else None
        # A network that is one module of functions alone is told function by function.
        whole = module is self._network and not type(module).__module__.startswith("torch.nn.")
        if counts is not None or not (module._modules or whole):
            self._leaf = _Leaf(self._unused(name or kind, own=True), kind, module, counts)

    def leave(self, module: nn.Module, output: Any) -> Any:
        """Note that a module is done; give its answer, what it passed on as its own."""
        leaf = self._leaf
        if leaf is None:
            self._path.pop()
            return output
        if leaf.module is not module:
            return output
        self._path.pop()
        self._leaf = None
        known = self.knowledge.records
        tensors = [output] if isinstance(output, Tensor) else tensors_in([output])
        records = [known[id(tensor)] for tensor in tensors if id(tensor) in known]
        if not records:  # no layer, so whatever it kept elsewhere was made by those before
            for record in leaf.made:
                record.makers = tuple(leaf.inputs)
            return output
        position = len(self.layers)
        for record in records:
            if position not in record.makers:
                output = mapped(output, lambda tensor: self._passed_on(tensor, leaf))
                break
        if leaf.counts is not None:
            leaf.connections, leaf.multiply_adds = leaf.counts(records[0].value.shape)
        self._close(
            *(leaf.name, leaf.kind, records, (leaf.connections, leaf.multiply_adds)),
            parameters=module.parameters() if module._modules else module._parameters.values(),
            inputs=tuple(leaf.inputs),
            window=leaf.windows[0] if len(leaf.windows) == 1 else None,
        )
        return output

    def _passed_on(self, tensor: Tensor, leaf: _Leaf) -> Tensor:
        """Give what a layer returns as it came a second name, so that its readers are told apart.

        Nothing else is done to what the layer made itself, nor to constants.
        """
        record, position = self.knowledge.records.get(id(tensor)), len(self.layers)
        if record is None or position in record.makers:
            return tensor
        leaf.inputs.update(dict.fromkeys(record.makers))
        twin = self.knowledge.tensor(record.value, position, record.storage)
        twin.is_view_of(record)
        return twin.tensor

    def _under_path(self, kind: str) -> str:
        path = self._path[-1] if self._path else ""
        return f"{path}.{kind}" if path else kind

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
        counts: tuple[int, int],
        *,
        parameters: Iterable[nn.Parameter | None],
        inputs: tuple[int, ...],
        window: Window | None,
    ) -> None:
        position, uncounted, new = len(self.layers), self.uncounted, 0
        for parameter in parameters:
            if parameter is None:
                continue
            size = uncounted.get(id(parameter))
            if size is None:  # hidden from the network: it is kept, that none takes its id
                self.knowledge.hidden.append(parameter)
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
                *(inputs, filled, position if filled else storage.layer, window),
            )
        )

    # Functions

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in QUESTIONS:
            return func(*args, **kwargs)
        traits = self._traits.get(func) or self._look_up(func)
        call, read_in = Call(func, args, kwargs, [], [], traits.weighs), self.knowledge.read
        values = read_in(args, call)
        options = dict(zip(kwargs, read_in(kwargs.values(), call), strict=True)) if kwargs else {}
        if traits.is_like_the_second:
            del call.given[1:]
        if traits.is_constant or not call.given:
            return self.knowledge.compute(call)
        if traits.is_attribute:
            return self._attribute(func, call.given[0])
        leaf, position, kind = self._leaf, len(self.layers), traits.kind
        name = self._under_path(kind) if leaf is None else leaf.name
        read = dict.fromkeys([maker for record in call.given for maker in record.makers])
        try:
            outcome = asked(traits.rule, values, options)
            if outcome is None:
                result, records = self._by_torch(call)
            else:
                result, records = self._answer(call, traits, outcome)
        except UsageError as error:
            raise UsageError(f"{name}{f' ({leaf.kind})' if leaf else ''}: {error}") from error
        if not records:
            return result
        if leaf is None:
            name = self._unused(name)
        self._note(call, traits, outcome, records, name)
        counts, window = (0, 0), None
        if outcome is not None:
            counts, window = (outcome.connections, outcome.multiply_adds), outcome.window
        for record in records:
            record.makers = (position,)
        if leaf is None:
            sources = self.knowledge.sources(call.constants) if call.constants else ()
            self._close(
                *(name, kind, records, counts),
                parameters=sources,
                inputs=tuple(read),
                window=window,
            )
        else:
            read.pop(position, None)
            leaf.inputs.update(read)
            leaf.connections += counts[0]
            leaf.multiply_adds += counts[1]
            leaf.made += records
            leaf.windows += () if window is None else (window,)
        return result

    def _look_up(self, func: Function) -> _Traits:
        traits = self._traits[func] = _Traits(
            kind=func.__name__.strip("_"),
            rule=self._rules.get(func) or getattr(func, "rule", None),  # of its own
            keeping=KEEPS.get(func),
            is_constant=func in NEW_CONSTANTS,
            is_attribute=func.__name__ == "__get__",
            is_view=func in VIEWS,
            is_written=func in self._in_place,
            is_like_the_second=func in LIKE_THE_SECOND,
            weighs=func not in UNWEIGHED,
        )
        return traits

    def _answer(self, call: Call, traits: _Traits, outcome: Outcome) -> tuple[Any, list[Record]]:
        values, position = outcome.values, len(self.layers)
        if traits.is_written or call.kwargs.get("inplace", False) is True:
            target: Tensor = call.args[0]
            if tuple(target.shape) != values[0].shape:
                raise UsageError(f"{values[0].shape} cannot be written into {tuple(target.shape)}")
            return target, [self.knowledge.write(target, values[0], call, position)]
        base = call.given[0] if traits.is_view else None
        if base is None:
            records = [self.knowledge.tensor(value, position) for value in values]
        else:
            records = [self.knowledge.tensor(value, position, base.storage) for value in values]
            self._parted += 1
            for part, record in enumerate(records):
                record.is_view_of(base, (self._parted, part) if outcome.is_tuple else None)
        if outcome.is_tuple:
            return tuple([record.tensor for record in records]), records
        return records[0].tensor, records

    def _by_torch(self, call: Call) -> tuple[Any, list[Record]]:
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
            raise UsageError(why_refused(func, error)) from error
        axes = united([Value((), None, moved(r.value, {})) for r in call.given], ())
        result = mapped(result, lambda tensor: originals.get(id(tensor), tensor))
        written = tensors_in([result])
        if writes(func) and isinstance(args[0], Tensor):
            written.append(args[0])
        return result, [
            self.knowledge.write(
                *(tensor, Value(tuple(tensor.shape), tensor.dtype, axes), call, len(self.layers))
            )
            for tensor in written
        ]

    def _note(
        self,
        call: Call,
        traits: _Traits,
        outcome: Outcome | None,
        records: list[Record],
        name: str,
    ) -> None:
        """Note what autograd keeps, and what treats the places of the input differently."""
        given, func = call.given, call.func
        trains = laid_out = False
        for parameter in self.knowledge.sources(call.constants) if call.constants else ():
            trains = trains or parameter.requires_grad
        goes_back = trains
        for record in given:
            goes_back = goes_back or record.trains
            laid_out = laid_out or record.is_laid_out
        if outcome is not None and outcome.is_cut:
            self.cut[name] = None
        if outcome is None:
            self.unknown[name] = None
        elif outcome.is_placed or (laid_out and outcome.connections):
            self.placed[name] = None
            laid_out = False
        elif func in RESHAPES and not laid_out:
            laid_out = lays_out(given[0].value, records[0].value)
        elif laid_out:
            laid_out = func not in REDUCTIONS
        for record in records:
            record.trains, record.is_laid_out = goes_back, laid_out
        keeping = keep_everything if outcome is None else traits.keeping
        if keeping is not None and goes_back:
            for storage in keeping(given, records[0], trains):
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
            self.knowledge.know(result, seen, record.makers, record.storage).is_view_of(record)
        return result
