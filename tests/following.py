"""A second way to know what an output depends on: where its gradient is not zero."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.tracing import Trace, trace


class Calling(nn.Module):
    """A network that calls one function."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def first_tensor(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def reaches(function: Callable[[Tensor], Any], shape: tuple[int, ...], axis: int | None, of: int):
    """For each index along an axis of the output, which input indices along ``of`` move it.

    Sums of outputs are differentiated, so their weights must be positive.
    """
    torch.manual_seed(7)
    moved = False
    for _ in range(3):  # a maximum has a gradient at one place only
        x = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
        output = first_tensor(function(x * 1.0))
        others = [a for a in range(output.ndim) if a != axis]
        sums = (output.sum(others) if others else output).reshape(-1)
        eye = torch.eye(len(sums), dtype=torch.float64)
        (slopes,) = torch.autograd.grad(sums, x, eye, is_grads_batched=True, allow_unused=True)
        moved |= slopes.abs().sum([a + 1 for a in range(x.ndim) if a != of]).numpy() > 0
    return [np.flatnonzero(row) for row in moved]


def follow(function: Callable[[Tensor], Any], shape: tuple[int, ...], *, exact: bool) -> Trace:
    """Check a trace's shape against running, and its intervals against gradients.

    Args:
        function: Of a tensor with a batch axis.
        shape: Of its input, without the batch axis.
        exact: Whether the intervals, clipped by the border, end where the gradients end, and
            are given up only where no axis tells them apart. Otherwise they only have to
            contain the gradients.
    """
    network = Calling(function)
    result = trace(network, shape)
    output = first_tensor(function(torch.rand(1, *shape, dtype=torch.float64)))
    assert result.output_shape == tuple(output.shape[1:])
    start = 1 if len(shape) == 1 else 2
    for of, (axis, intervals) in enumerate(result.dependence, start):
        assert len(intervals.first) == (1 if axis is None else output.shape[axis])
        seen = reaches(function, shape, axis, of)
        if exact and axis is None:
            for other in range(output.ndim):
                apart = {tuple(inside) for inside in reaches(function, shape, other, of)}
                assert len(apart) == 1, f"axis {other} carries input axis {of}"
        for first, last, inside in zip(intervals.first, intervals.last, seen, strict=True):
            clipped = max(first, 0), min(last, shape[of - 1] - 1)
            if len(inside):
                assert clipped[0] <= inside[0] <= inside[-1] <= clipped[1]
                assert not exact or clipped == (inside[0], inside[-1])
            else:
                assert not exact or clipped[0] > clipped[1]
    return result
