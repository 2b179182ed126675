"""The most memory that a network's maps take at once, measured on a run without numbers."""

import math
import weakref
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from striate.modes import evaluating
from striate.tracing import trace
from striate.tracing.tensors import tensors_in
from striate.tracing.values import broadcast

# By the values that they keep from training.
_NORMALIZATIONS = {"native_batch_norm", "_native_batch_norm_legit_no_training"}
_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not"}


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows how much memory the tensors that are made in it hold, and the most so far."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = self.most = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or PyTorch's compiler is imported, which takes a second

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation (called by PyTorch)."""
        result = _at_once(func, args)
        if result is None:
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


def _at_once(func: Any, args: tuple[Any, ...]) -> Any:
    """Answer the commonest operations by their shapes; None for others.

    PyTorch's own answers to them, for tensors without numbers, import its compiler: a second.
    """
    name, tensors = func.overloadpacket.__name__, tensors_in([args])
    if not tensors or not tensors[0].is_meta or name.endswith("_"):
        return None
    first = tensors[0]
    if name == "cat":
        shape, dim = list(first.shape), args[1] if len(args) > 1 else 0
        shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
        return first.new_empty(shape, dtype=_common_type(tensors))
    if name in _NORMALIZATIONS and not (len(args) > 5 and args[5] is True):
        return first.new_empty(first.shape), first.new_empty(0), first.new_empty(0)
    if torch.Tag.pointwise in func.tags or name == "_prelu_kernel":
        dtype = torch.bool if name in _COMPARISONS else _common_type(tensors)
        return first.new_empty(broadcast(*(tuple(t.shape) for t in tensors)), dtype=dtype)
    return None


def _common_type(tensors: Sequence[Tensor]) -> torch.dtype:
    return reduce(torch.promote_types, [tensor.dtype for tensor in tensors])


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
