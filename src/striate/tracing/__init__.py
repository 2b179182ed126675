"""One symbolic run of a network: shapes, counts and dependence of every layer.

No number is computed. While the network's own ``forward`` runs, every torch function it calls
is answered by a rule on shapes; a function without a rule is left to torch's meta kernels, is
taken to depend on everything, and its layer is named in ``Trace.unknown``.
"""

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from striate.errors import UsageError
from striate.intervals import inputs, nothing
from striate.tracing.layers import Layer
from striate.tracing.pointwise import IN_PLACE, POINTWISE
from striate.tracing.readings import alignment, halo, most_alive
from striate.tracing.recorder import Recorder
from striate.tracing.resizing import RESIZING
from striate.tracing.shapes import SHAPES
from striate.tracing.tensors import tensors_in
from striate.tracing.values import Dependence, Value, Window
from striate.tracing.windows import WINDOWS

__all__ = ["Layer", "Trace", "Window", "trace"]

RULES = {**POINTWISE, **RESIZING, **SHAPES, **WINDOWS}


@dataclass(frozen=True)
class Trace:
    """What one example does in a network.

    Attributes:
        input_shape: Without the batch axis: channels first, or features alone.
        output_shape: Without the batch axis.
        parameters: Trainable values of the whole network, shared ones once.
        connections: Sum over the layers, for one example.
        multiply_adds: Sum over the layers, for one example.
        layers: In the order of the calls.
        unknown: Names of the layers with a function that could not be followed; their shapes
            are right, their connections are not counted, their receptive field is taken whole.
        dependence: For each spatial axis of the input, which interval each output depends on.
        outputs: Positions in ``layers`` of those whose outputs the network returns; -1 for its
            input.
        unused: Of each module with trainable values that evaluation does not use, how many it
            has: classifiers for training alone, for example.
        position_dependent: Names of the layers that treat places of the input differently: a
            weight for each place, a table of positions, a linear layer over flattened maps. Behind
            a reshape that turns places into features, each layer whose weights meet them is named:
            which axis holds the places is not known there.
        cut: Names of the layers whose windows leave rows or columns at the far end unread; what
            is between windows is not meant.
        input_bytes: Memory of one example.
        training_bytes: Memory of the maps that autograd keeps for the way back, for one example,
            each once: what weights multiply, what normalisation and pooling read, what most
            activations answer, and 8 bytes for the place of each maximum. Not counted: weights,
            gradients, masks of dropout, layers for training alone.
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    connections: int
    multiply_adds: int
    layers: tuple[Layer, ...] = field(repr=False)
    unknown: tuple[str, ...]
    dependence: tuple[Dependence, ...] = field(repr=False)
    outputs: tuple[int, ...] = field(repr=False)
    unused: dict[str, int]
    position_dependent: tuple[str, ...]
    cut: tuple[str, ...]
    input_bytes: int
    training_bytes: int

    @property
    def inference_bytes(self) -> int:
        """The most memory that maps take at once in evaluation, for one example.

        The layers run in their order; a map lives until its last reader is done, and the input
        is one of the maps. Views and what is written in place take none of their own. Not
        counted: weights, and what a layer needs for itself while it runs.
        """
        return most_alive(self.layers, self.outputs, self.input_bytes)

    @property
    def alignment(self) -> tuple[int | None, ...]:
        """For each spatial axis, the smallest step by which the network's grid repeats itself.

        A tile that begins on a multiple of it is treated as the whole image is [input pixels].
        None where some map never repeats itself.
        """
        return tuple(alignment(self.layers, axis) for axis in range(len(self.dependence)))

    @property
    def halo(self) -> tuple[tuple[int, int] | None, ...]:
        """For each spatial axis, the input pixels that an output needs before and behind its own.

        None where the output does not move along the input, as behind a global average.
        """
        sizes = self.input_shape[-len(self.dependence) :]
        return tuple(halo(one, n) for one, n in zip(self.dependence, sizes, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON takes it."""
        return {
            "input_shape": list(self.input_shape),
            "parameters": self.parameters,
            "connections": self.connections,
            "multiply_adds": self.multiply_adds,
            "training_bytes": self.training_bytes,
            "inference_bytes": self.inference_bytes,
            "unused": self.unused,
            "unknown": list(self.unknown),
            "position_dependent": list(self.position_dependent),
            "cut": list(self.cut),
            "alignment": list(self.alignment),
            "halo": [one if one is None else list(one) for one in self.halo],
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "output_shape": list(layer.output_shape),
                    "parameters": layer.parameters,
                    "connections": layer.connections,
                    "multiply_adds": layer.multiply_adds,
                    "receptive_field": list(layer.receptive_field),
                    "field_center": list(layer.field_center),
                    "field_stride": [float(stride) for stride in layer.field_stride],
                    "inputs": list(layer.inputs),
                    "output_bytes": layer.output_bytes,
                }
                for layer in self.layers
            ],
        }


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Let the garbage collector rest: all that a trace makes is kept to its end."""
    resting = not gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not resting:
            gc.enable()


@_without_collecting()
def trace(network: nn.Module, input_shape: Sequence[int]) -> Trace:
    """Follow one example of a shape through a network, without computing a number.

    The network is followed as in evaluation, and is left as it was: mode, buffers, hooks. A
    convolution counts every tap of every position, those over padding too. Pooling, activations,
    normalisation and additions of maps have no connections. Of several outputs, the first is
    the network's.

    Args:
        network: Any module whose ``forward`` takes one tensor with a batch axis.
        input_shape: Of one example, without the batch axis: ``(C, *spatial)``, or ``(features,)``
            whose receptive field is then measured over the features.

    Raises:
        UsageError: The network does not fit the shape, asks for the values of a map, or does
            not return a tensor.

    Example:
        >>> t = trace(nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2)), (1, 32, 32))
        >>> t.output_shape, t.parameters, t.connections, t.multiply_adds
        ((6, 14, 14), 156, 122304, 117600)
        >>> [(layer.name, layer.kind, layer.receptive_field) for layer in t.layers]
        [('0', 'Conv2d', (5, 5)), ('1', 'Tanh', (5, 5)), ('2', 'AvgPool2d', (6, 6))]
    """
    modules = _check(network, input_shape)
    recorder = Recorder(network, modules, RULES, IN_PLACE)
    parameters = {
        id(p): p for _, module in modules for p in module._parameters.values() if p is not None
    }
    dtypes = (p.dtype for p in parameters.values() if p.is_floating_point())
    image = _input(tuple(input_shape), next(dtypes, torch.get_default_dtype()))
    x = recorder.knowledge.tensor(image, -1).tensor
    recorder.independent = tuple(Dependence(None, nothing()) for _ in image.axes or ())
    with (
        _left_as_it_was(modules),
        torch.random.fork_rng(devices=[]),
        torch.no_grad(),
        _told_of_calls(recorder),
        recorder,
    ):
        try:
            output = network(x)
        finally:
            recorder.knowledge.undo_writes()
    tensors = tensors_in([output])
    if not tensors:
        raise UsageError(
            f"{type(network).__name__} returned a {type(output).__name__}; "
            "a tensor, or a list or dict of tensors, is needed"
        )
    result = recorder.knowledge.value(tensors[0])
    return Trace(
        input_shape=tuple(input_shape),
        output_shape=result.shape[1:],
        parameters=sum(p.numel() for p in parameters.values() if p.requires_grad),
        connections=sum(layer.connections for layer in recorder.layers),
        multiply_adds=sum(layer.multiply_adds for layer in recorder.layers),
        layers=tuple(recorder.layers),
        unknown=tuple(recorder.unknown),
        dependence=result.axes or recorder.independent,
        outputs=recorder.knowledge.makers(tensors),
        unused=_unused(modules, recorder.uncounted),
        position_dependent=tuple(recorder.placed),
        cut=tuple(recorder.cut),
        input_bytes=math.prod(image.shape) * image.dtype.itemsize,
        training_bytes=sum(storage.bytes for storage in recorder.kept.values()),
    )


def _unused(modules: Sequence[tuple[str, nn.Module]], uncounted: dict[int, int]) -> dict[str, int]:
    """Name the largest modules of which no trainable value was used, and single parameters."""
    unused: dict[str, int] = {}
    if not any(uncounted.values()):
        return unused
    done: set[int] = set()
    for name, module in modules:
        own = {id(p): p for p in module.parameters() if p.requires_grad}
        left = {key: uncounted[key] for key in own if uncounted[key] and key not in done}
        if left and name and len(left) == len(own):
            unused[name] = sum(left.values())
            done.update(left)
    for name, module in modules:
        for own_name, parameter in module._parameters.items():
            if parameter is not None and uncounted[id(parameter)] and id(parameter) not in done:
                unused[f"{name}.{own_name}".lstrip(".")] = uncounted[id(parameter)]
                done.add(id(parameter))
    return unused


def _input(input_shape: tuple[int, ...], dtype: torch.dtype) -> Value:
    """Give the input of one example; its last axes, or its only one, are followed."""
    shape = (1, *input_shape)
    start = 1 if len(input_shape) == 1 else 2
    maps = {size: inputs(size) for size in shape}
    axes = tuple(Dependence(axis, maps[shape[axis]]) for axis in range(start, len(shape)))
    return Value(shape, dtype, axes)


def _check(network: nn.Module, input_shape: Sequence[int]) -> list[tuple[str, nn.Module]]:
    """Refuse what cannot be traced; list the modules, each once, by their paths."""
    if not isinstance(network, nn.Module):
        raise UsageError(f"a torch.nn.Module is needed, not a {type(network).__name__}")
    if not input_shape or any(not isinstance(n, int) or n < 1 for n in input_shape):
        raise UsageError(
            f"input shape {tuple(input_shape)}: whole numbers from 1 are needed, channels first "
            "and without the batch, for example (1, 32, 32)"
        )
    modules = list(network.named_modules())
    for name, module in modules:
        if isinstance(module, LazyModuleMixin):
            own: tuple[Any, ...] = (*vars(module)["_parameters"].values(),)
            own = (*own, *vars(module)["_buffers"].values())
            if any(tensor is not None and is_lazy(tensor) for tensor in own):
                raise UsageError(
                    f"{name} ({type(module).__name__}) has no shape yet: "
                    "call the network once on a real batch"
                )
    return modules


@contextmanager
def _left_as_it_was(modules: Sequence[tuple[str, nn.Module]]) -> Iterator[None]:
    """Go into evaluation; at the end put back mode, buffers, what forward stored, everything."""
    kept = []
    for _, module in modules:
        own = vars(module)
        dicts = [(one, one.copy()) for one in own.values() if type(one) is dict]
        kept.append((own, own.copy(), dicts))
        own["training"] = False
    try:
        yield
    finally:
        for own, attributes, dicts in kept:
            own.clear()
            own.update(attributes)
            for container, content in dicts:
                container.clear()
                container.update(content)


@contextmanager
def _told_of_calls(recorder: Recorder) -> Iterator[None]:
    """Let the recorder know when any module begins and ends."""
    original: Any = nn.Module._call_impl

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        recorder.enter(module)
        return recorder.leave(module, original(module, *args, **kwargs))

    setattr(nn.Module, "_call_impl", call)  # noqa: B010
    try:
        yield
    finally:
        setattr(nn.Module, "_call_impl", original)  # noqa: B010
