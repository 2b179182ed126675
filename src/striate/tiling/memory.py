"""The most memory that a network's maps take at once, measured on a run without numbers."""

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from striate.modes import evaluating
from striate.tracing import trace
from striate.tracing.tensors import tensors_in


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows how much memory the tensors that are made in it hold, and the most so far."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation (called by PyTorch)."""
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in([result]):
            self.count(tensor)
        return result

    def count(self, tensor: Tensor) -> None:
        """Count the memory of a tensor as long as it lives; views of it are not counted again."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.held += size
            self.most = max(self.most, self.held)
            weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.held -= size


def peak_bytes(network: nn.Module, shape: Sequence[int]) -> int:
    """Measure the most memory that one example's maps take at once in evaluation.

    Unlike ``Trace.inference_bytes``, it counts what the network's own ``forward`` still holds in
    its variables, and the places of maxima that pooling makes beside its answer.

    Args:
        network: Its weights are not counted.
        shape: Of the example, without the batch axis.

    Returns:
        The bytes, the input among them: here two maps of eight channels, and the input.

    Example:
        >>> peak_bytes(nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU()), (1, 10, 10))
        6800
    """
    weights = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    meta = {name: tensor.detach().to("meta") for name, tensor in weights.items()}
    dtypes = (w.dtype for w in weights.values() if w.is_floating_point())
    dtype = next(dtypes, torch.get_default_dtype())
    meter = _Meter()
    try:
        with evaluating(network), torch.no_grad(), meter:
            image = torch.empty((1, *shape), dtype=dtype, device="meta")
            torch.func.functional_call(network, meta, (image,))
    except (RuntimeError, NotImplementedError, ValueError):
        # It asks for values, or mixes in tensors that have some.
        return trace(network, shape).inference_bytes
    return max(meter.most, math.prod(shape) * dtype.itemsize)
