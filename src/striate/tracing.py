"""One symbolic run of a network: shapes, counts and dependence of every layer.

No number is computed. While the network's own ``forward`` runs, every torch function it calls
is answered by a rule on shapes; a function without a rule is left to torch's meta kernels, is
taken to depend on everything, and its layer is named in ``Trace.unknown``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parameter import is_lazy

from striate.errors import UsageError
from striate.intervals import Dependence
from striate.tracing_pointwise import IN_PLACE, POINTWISE
from striate.tracing_recorder import Layer, Recorder
from striate.tracing_shapes import SHAPES
from striate.tracing_tensors import tensors_in
from striate.tracing_windows import WINDOWS

__all__ = ["Layer", "Trace", "trace"]

RULES = {**POINTWISE, **SHAPES, **WINDOWS}


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
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    connections: int
    multiply_adds: int
    layers: tuple[Layer, ...] = field(repr=False)
    unknown: tuple[str, ...]
    dependence: tuple[Dependence, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON takes it."""
        return {
            "input_shape": list(self.input_shape),
            "parameters": self.parameters,
            "connections": self.connections,
            "multiply_adds": self.multiply_adds,
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "output_shape": list(layer.output_shape),
                    "parameters": layer.parameters,
                    "connections": layer.connections,
                    "multiply_adds": layer.multiply_adds,
                    "receptive_field": list(layer.receptive_field),
                }
                for layer in self.layers
            ],
        }


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
    _check(network, input_shape)
    recorder = Recorder(network, RULES, IN_PLACE)
    parameters = list(network.parameters())
    dtypes = (p.dtype for p in parameters if p.is_floating_point())
    x = recorder.begin(tuple(input_shape), next(dtypes, torch.get_default_dtype()))
    with _left_as_it_was(network), torch.random.fork_rng(devices=[]), torch.no_grad():
        for module in network.modules():
            module.training = False
        hooks = (
            register_module_forward_pre_hook(recorder.enter),
            register_module_forward_hook(recorder.leave),
        )
        try:
            with recorder:
                output = network(x)
        finally:
            for hook in hooks:
                hook.remove()
            recorder.undo_writes()
    tensors = tensors_in([output])
    if not tensors:
        raise UsageError(
            f"{type(network).__name__} returned a {type(output).__name__}; "
            "a tensor, or a list or dict of tensors, is needed"
        )
    result = recorder.value(tensors[0])
    return Trace(
        input_shape=tuple(input_shape),
        output_shape=result.shape[1:],
        parameters=sum(p.numel() for p in parameters if p.requires_grad),
        connections=sum(layer.connections for layer in recorder.layers),
        multiply_adds=sum(layer.multiply_adds for layer in recorder.layers),
        layers=tuple(recorder.layers),
        unknown=tuple(recorder.unknown),
        dependence=result.axes or recorder.independent,
    )


def _check(network: nn.Module, input_shape: Sequence[int]) -> None:
    if not isinstance(network, nn.Module):
        raise UsageError(f"a torch.nn.Module is needed, not a {type(network).__name__}")
    if not input_shape or any(not isinstance(n, int) or n < 1 for n in input_shape):
        raise UsageError(
            f"input shape {tuple(input_shape)}: whole numbers from 1 are needed, channels first "
            "and without the batch, for example (1, 32, 32)"
        )
    for name, module in network.named_modules():
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if isinstance(module, LazyModuleMixin) and any(is_lazy(tensor) for tensor in own):
            raise UsageError(
                f"{name} ({type(module).__name__}) has no shape yet: "
                "call the network once on a real batch"
            )


@contextmanager
def _left_as_it_was(network: nn.Module) -> Iterator[None]:
    """Put every attribute of every module back: mode, buffers, what forward stored."""
    kept = [
        (
            module,
            dict(vars(module)),
            [(d, dict(d)) for d in vars(module).values() if type(d) is dict],
        )
        for module in network.modules()
    ]
    try:
        yield
    finally:
        for module, attributes, contents in kept:
            vars(module).clear()
            vars(module).update(attributes)
            for container, content in contents:
                container.clear()
                container.update(content)
