"""Which maps autograd keeps for the way back, function by function.

The table follows PyTorch's derivatives. Left out: what is no map (weights, the mean and deviation
of a normalisation), and the masks of dropout, which a trace in evaluation does not meet.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.tracing.tensors import Record, Storage

# What a call keeps: (what it reads and depends on, its result, whether its constants train).
Keeping = Callable[[Sequence[Record], Record, bool], list[Storage]]

_WEIGHTED = "linear"  # the map that weights multiply, if they train
_INPUT = """
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    leaky_relu silu gelu mish softplus hardswish hardsigmoid hardtanh relu6 elu celu selu logsigmoid
    hardshrink softshrink threshold log log1p abs square sin cos erf pow clamp clamp_min clamp_max
    prelu avg_pool1d avg_pool2d avg_pool3d batch_norm instance_norm group_norm layer_norm
"""
_AVERAGED = "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
_INPUT_AND_PLACES = """
    max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices
    max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices
    adaptive_max_pool3d_with_indices
"""
_RESULT = "relu sigmoid tanh softmax log_softmax exp sqrt rsqrt reciprocal"
_INPUT_AND_RESULT = "amax amin logsumexp"
_PRODUCTS = "mul multiply matmul mm bmm"
_QUOTIENTS = "div divide true_divide truediv"
_BOTH = "maximum minimum"

_BYTES_OF_A_PLACE = 8  # a maximum's place is an int64


def _weighted(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    return [given[0].storage] if trains else []


def _input(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    return [given[0].storage] if given[0].trains or trains else []


def _averaged(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    """An average of the whole map is a mean for PyTorch, which keeps nothing."""
    return [] if set(result.value.shape[2:]) == {1} else _input(given, result, trains)


def _input_and_places(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    if not given[0].trains:
        return []
    places = Storage(result.storage.layer, _BYTES_OF_A_PLACE * math.prod(result.value.shape))
    return [given[0].storage, places]


def _result(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    return [result.storage] if given[0].trains else []


def _input_and_result(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    return [given[0].storage, result.storage] if given[0].trains else []


def _product(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    if len(given) == 1:
        return [given[0].storage] if trains else []
    one, other = given[:2]
    kept = [one.storage] if other.trains else []
    return [*kept, other.storage] if one.trains else kept


def _quotient(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    if len(given) == 1:
        return [given[0].storage] if trains else []
    one, other = given[:2]
    if other.trains:
        return [one.storage, other.storage]
    return [other.storage] if one.trains else []


def _both(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    return [record.storage for record in given] if result.trains else []


def _normalized_locally(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    """PyTorch's is a chain: squares, zeros around the channels, their average, power, quotient."""
    if not given[0].trains:
        return []
    size = result.storage.bytes
    return [given[0].storage, *(Storage(result.storage.layer, size) for _ in range(3))]


def keep_everything(given: Sequence[Record], result: Record, trains: bool) -> list[Storage]:
    """Keep what an unknown function reads and what it answers."""
    return [*(record.storage for record in given), result.storage] if result.trains else []


def _table() -> dict[Callable[..., Any], Keeping]:
    table: dict[Callable[..., Any], Keeping] = {F.local_response_norm: _normalized_locally}
    for names, keeping in (
        (_WEIGHTED, _weighted),
        (_INPUT, _input),
        (_AVERAGED, _averaged),
        (_INPUT_AND_PLACES, _input_and_places),
        (_RESULT, _result),
        (_INPUT_AND_RESULT, _input_and_result),
        (_PRODUCTS, _product),
        (_QUOTIENTS, _quotient),
        (_BOTH, _both),
    ):
        for name in names.split():
            for spelling in (name, f"__{name}__", f"__r{name}__", f"{name}_", f"__i{name}__"):
                for home in (torch, F, Tensor):
                    function = getattr(home, spelling, None)
                    if callable(function):
                        table[function] = keeping
    return table


KEEPS = _table()
