"""One layer of a trace."""

from fractions import Fraction
from typing import NamedTuple

from striate.intervals import largest_field
from striate.tracing.values import Dependence, Window


class Layer(NamedTuple):
    """One call of a module, or of a torch function outside such a module.

    Attributes:
        name: The module's path in the network; for a function ``<path>.<function>``. From the
            second call on with a number: ``relu_2``.
        kind: The module's class or the function's name.
        output_shape: Without the batch axis.
        parameters: Trainable values that no earlier layer has used.
        connections: For one example: inputs multiplied by a weight, plus one for each bias.
        multiply_adds: For one example: products, biases left out.
        dependence: For each spatial axis of the input, which interval each output depends on.
        inputs: Positions in ``Trace.layers`` of the layers whose outputs it reads, in the order
            of its arguments, without repeats; -1 for the network's input.
        output_bytes: Memory that its outputs newly fill, for one example; 0 if they lie in
            memory of an earlier layer: views, and what is written in place.
        storage: Position of the layer in whose memory its outputs lie, its own if they are new;
            -1 for the input's.
        window: What it slides over its input; None if nothing, or more than one.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    connections: int
    multiply_adds: int
    dependence: tuple[Dependence, ...]
    inputs: tuple[int, ...]
    output_bytes: int
    storage: int
    window: Window | None

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """For each spatial axis of the input, the longest extent that one output depends on.

        The border does not clip it, nor does it tell how much of it is padding [input pixels].
        """
        return tuple([largest_field(intervals) for _, intervals in self.dependence])

    @property
    def field_center(self) -> tuple[float | None, ...]:
        """Where the field of the first output lies [input pixels; the first one's centre is 0].

        None where the output does not depend on the input.
        """
        return tuple([intervals.center(0) for _, intervals in self.dependence])

    @property
    def field_stride(self) -> tuple[Fraction, ...]:
        """How far the fields of neighbouring outputs are apart on average [input pixels].

        0 where all outputs have the same field; negative after a flip.
        """
        return tuple([Fraction(i.shift, i.period) for _, i in self.dependence])
