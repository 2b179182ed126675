"""A trace as the steps that a person draws: convolution, normalisation and activation are one."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod

from striate.tracing import Layer, Trace, Window

MERGES = ("addition", "concatenation", "product")

# Layers that weigh, pool and join nothing, and are told all the same.
_TOLD = {
    **{name.lower(): name for name in ("ReLU", "ReLU6", "SiLU", "GELU", "ELU", "SELU", "CELU")},
    **{name: name for name in ("tanh", "sigmoid", "softmax", "mish", "softplus", "dropout")},
    **dict.fromkeys(("leakyrelu", "leaky_relu"), "leaky ReLU"),
    **dict.fromkeys(("localresponsenorm", "local_response_norm"), "LRN"),
    **dict.fromkeys(("logsoftmax", "log_softmax"), "log softmax"),
    **{f"{name}_norm": f"{name} norm" for name in ("batch", "instance", "group", "layer")},
    "prelu": "PReLU",
    "rrelu": "RReLU",
    "scaledtanh": "tanh",
    "hardswish": "hard swish",
    "hardsigmoid": "hard sigmoid",
    "hardtanh": "hard tanh",
}
_ARITHMETIC = {
    **dict.fromkeys(("add", "iadd", "radd", "sub", "isub", "rsub", "subtract"), "addition"),
    **dict.fromkeys(("mul", "imul", "rmul", "multiply", "div", "truediv", "divide"), "product"),
}
_JOINS = {
    **_ARITHMETIC,
    **dict.fromkeys(("cat", "concat", "stack"), "concatenation"),
    **dict.fromkeys(("matmul", "bmm", "imatmul", "einsum"), "product"),
}
_REDUCTIONS = {"mean": "average pooling", "amax": "max pooling", "max": "max pooling"}


@dataclass(frozen=True)
class Step:
    """Layers of a trace that are drawn as one.

    Attributes:
        kind: "input", "convolution", "transposed convolution", "max pooling", "average pooling",
            "subsampling", "resizing", "linear", "addition", "concatenation", "product",
            "light" (normalisation and activation alone) or "other".
        name: Of its main layer in the trace.
        label: What the main layer is: the module's class or the function.
        layers: Positions in ``Trace.layers``.
        shape: Of its output, without the batch axis.
        window: What it slides.
        before: Normalisations and activations before the main layer.
        after: Those after it.
        parameters: Trainable values that no earlier step has used.
        inputs: Numbers of the steps that it reads.
    """

    kind: str
    name: str
    label: str
    layers: tuple[int, ...]
    shape: tuple[int, ...]
    window: Window | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    parameters: int
    inputs: tuple[int, ...]

    @property
    def sides(self) -> tuple[int, ...]:
        """Give the spatial size; nothing for features alone."""
        return self.shape[:-1] if self.kind == "linear" else self.shape[1:]

    @property
    def channels(self) -> int:
        """Give the number of maps, or of features."""
        return self.shape[-1 if self.kind == "linear" else 0] if self.shape else 1


@dataclass
class _Group:
    """Layers that will be one step; ``inputs`` are the first members of other groups."""

    members: list[int]
    inputs: list[int]
    head: int | None = None


def steps(trace: Trace) -> tuple[Step, ...]:
    """Gather the layers of a trace into steps, each after those that it reads.

    A step has at most one layer that weighs, pools or joins: its main layer. Layers around it
    belong to it where nothing else reads what lies between.

    Args:
        trace: Of any network.

    Returns:
        The input first.

    Example:
        >>> from torch import nn
        >>> from striate.tracing import trace
        >>> network = nn.Sequential(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.ReLU())
        >>> [(step.kind, step.after) for step in steps(trace(network, (1, 28, 28)))]
        [('input', ()), ('convolution', ('batch norm', 'ReLU'))]
    """
    groups = sorted(_Collection(trace).groups.values(), key=lambda group: group.members[-1])
    number = {group.members[0]: i for i, group in enumerate(groups)}
    return tuple(
        _step(trace, group, tuple(sorted(number[source] for source in group.inputs)))
        for group in groups
    )


class _Collection:
    """Gathers layers into groups, in one pass over the trace."""

    def __init__(self, trace: Trace) -> None:
        self.layers = trace.layers
        self.groups = {-1: _Group([-1], [], head=-1)}
        self.group_of = {-1: -1}
        self.readers: dict[int, set[int]] = {i: set() for i in range(-1, len(trace.layers))}
        for i, layer in enumerate(trace.layers):
            for source in layer.inputs:
                self.readers[source].add(i)
        for i in range(len(trace.layers)):
            self._take(i, _kind(trace, i))

    def _take(self, i: int, kind: str | None) -> None:
        """Make a group of one layer, of what it absorbs, and of the group that it continues."""
        sources = list(dict.fromkeys(self.group_of[source] for source in self.layers[i].inputs))
        absorbed: list[int] = []
        if len(sources) > 1:
            light = [s for s in sources if self._is_light(s) and self._read_within(s, {i})]
            roots = {root for s in light for root in self.groups[s].inputs}
            if len(roots | (set(sources) - set(light))) == 1 and kind in (None, *MERGES):
                absorbed, kind = light, None  # branches that weigh nothing, from one place
            else:
                absorbed = [s for s in light if not self._tells(s)]
                kind = kind or "other"
        members = [m for s in absorbed for m in self.groups[s].members]
        inputs = list(
            dict.fromkeys(
                root for s in sources for root in (self.groups[s].inputs if s in absorbed else [s])
            )
        )
        for s in absorbed:
            del self.groups[s]
        group = _Group(sorted([*members, i]), inputs, None if kind is None else i)
        if len(inputs) == 1 and self._read_within(inputs[0], set(group.members)):
            above = self.groups[inputs[0]]
            if group.head is None or (above.head is None and kind not in MERGES):
                head = above.head if group.head is None else group.head
                group = _Group(above.members + group.members, above.inputs, head)
        self.groups[group.members[0]] = group
        self.group_of.update(dict.fromkeys(group.members, group.members[0]))

    def _is_light(self, key: int) -> bool:
        return self.groups[key].head is None

    def _tells(self, key: int) -> bool:
        return bool(told(self.layers[m].kind for m in self.groups[key].members))

    def _read_within(self, key: int, also: set[int]) -> bool:
        """Tell whether only a group itself and some other layers read what it makes."""
        members = self.groups[key].members
        return all(self.readers[m] <= {*members, *also} for m in members)


def _kind(trace: Trace, position: int) -> str | None:
    """Name what a layer does; None for what neither weighs, pools nor joins."""
    layer = trace.layers[position]
    spelled = layer.kind.strip("_")
    if len(layer.inputs) > 1:
        return _JOINS.get(spelled, "other")
    if layer.window is not None and len(layer.window.kernel) == len(layer.output_shape) - 1:
        pools = layer.window.operation.endswith("pooling")
        if pools and layer.parameters:
            return "subsampling"
        is_light = pools and (max(layer.window.kernel) == 1 or bool(told([layer.kind])))
        return None if is_light else layer.window.operation
    if spelled in _REDUCTIONS and prod(layer.output_shape) < prod(_read_shape(trace, layer)):
        return _REDUCTIONS[spelled]
    if layer.connections and spelled not in _ARITHMETIC:
        return "linear"
    return "other" if layer.name in trace.unknown and not told([layer.kind]) else None


def _read_shape(trace: Trace, layer: Layer) -> tuple[int, ...]:
    first = layer.inputs[0] if layer.inputs else -1
    return trace.input_shape if first < 0 else trace.layers[first].output_shape


def _step(trace: Trace, group: _Group, inputs: tuple[int, ...]) -> Step:
    members = tuple(m for m in group.members if m >= 0)
    layers = [trace.layers[m] for m in members]
    if group.head == -1:
        after = told(layer.kind for layer in layers)
        parameters = sum(layer.parameters for layer in layers)
        shape = trace.input_shape
        return Step("input", "", "", members, shape, None, (), after, parameters, inputs)
    head = layers[0] if group.head is None else trace.layers[group.head]
    kind = "light" if group.head is None else _kind(trace, group.head) or "other"
    first = 0 if group.head is None else members.index(group.head)
    return Step(
        kind=kind,
        name=head.name,
        label=head.kind,
        layers=members,
        shape=_shape(head, layers[first:]),
        window=head.window,
        before=told(layer.kind for layer in layers[:first]),
        after=told(layer.kind for layer in layers[first + (kind != "light") :]),
        parameters=sum(layer.parameters for layer in layers),
        inputs=inputs,
    )


def _shape(head: Layer, following: Sequence[Layer]) -> tuple[int, ...]:
    """Give the shape of what comes out; a mere reshape of the same values does not count."""
    shape = head.output_shape
    for layer in following:
        if prod(layer.output_shape) != prod(shape):
            shape = layer.output_shape
    return shape


def told(kinds: Iterable[str]) -> tuple[str, ...]:
    """Name those of some layers that are worth a word, in the words of the papers.

    Example:
        >>> told(["BatchNorm2d", "flatten", "relu_", "RMSNorm"])
        ('batch norm', 'ReLU', 'RMS norm')
    """
    words = (_word(kind) for kind in kinds)
    return tuple(word for word, _ in groupby(word for word in words if word))


def _word(kind: str) -> str | None:
    bare = re.sub(r"[123]d$", "", kind.strip("_"))
    known = _TOLD.get(bare.lower())
    if known:
        return known
    return spaced(bare) if bare.lower().endswith(("norm", "norm2", "act")) else None


def spaced(name: str) -> str:
    """Write the name of a class as words.

    Example:
        >>> spaced("BatchNorm"), spaced("RadialBasisOutput"), spaced("LRN")
        ('batch norm', 'radial basis output', 'LRN')
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[0-9]+", name)
    return " ".join(w if len(w) > 1 and w.isupper() else w.lower() for w in words) or name
