"""What pointwise functions, normalisation, reductions and products of matrices do.

Rules as in ``tracing.windows``; ``POINTWISE`` maps the functions to them. A parameter that is
added to a map is a bias of each unit, and one that multiplies it a weight of each unit: one
connection each, as LeCun counts. Normalisation and activations count nothing.
"""

import math
from collections.abc import Callable, Container
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.errors import UsageError
from striate.tracing.values import (
    Outcome,
    Rule,
    Value,
    axis_number,
    broadcast,
    is_placed,
    mixed,
    united,
    without,
)

# Each value depends on the value at its own place alone, and on nothing else's.
_FIRST_ARGUMENT_ONLY = """
    prelu dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
    relu relu6 leaky_relu rrelu elu selu celu gelu silu mish sigmoid logsigmoid hardsigmoid
    hardswish hardtanh tanh tanhshrink softplus softsign softshrink hardshrink threshold
    abs neg negative positive square sqrt rsqrt reciprocal exp expm1 log log1p sin cos erf round
    floor ceil sign detach clone contiguous
"""
_BROADCAST = "clamp clip clamp_min clamp_max pow maximum minimum lerp remainder floor_divide"
_WITH_WEIGHTS = "add sub subtract rsub mul multiply div divide true_divide truediv"
_COMPARISONS = "eq ne lt le gt ge logical_and logical_or logical_not and or xor invert"
_REDUCTIONS = "mean sum amax amin logsumexp"
_SOFTMAXES = "softmax log_softmax"
_CONVERSIONS = "to type_as cpu cuda"
_PRODUCTS = "matmul mm bmm"


# Pointwise functions


def _pointwise(input: Value, *others: Any, **options: Any) -> Outcome | None:
    if any(isinstance(v, Value) and v.axes is not None for v in (*others, *options.values())):
        return None
    if input.is_weight:
        input = input._replace(is_weight=False)
    return Outcome((input,))


def _broadcasting(*arguments: Any, **options: Any) -> Outcome:
    values = [v for v in (*arguments, *options.values()) if isinstance(v, Value)]
    shape = broadcast(*(value.shape for value in values))
    dtype = values[0].dtype
    for value in values[1:]:
        dtype = dtype if value.dtype == dtype else torch.promote_types(dtype, value.dtype)
    result = Value(shape, dtype, united(values, shape))
    return Outcome((result,), is_placed=any(is_placed(value, result) for value in values))


def _where(condition: Value, input: Any, other: Any) -> Outcome:
    return _broadcasting(input, other, condition)


def _with_weights(*arguments: Any, **options: Any) -> Outcome:
    outcome = _broadcasting(*arguments, **options)
    if any(isinstance(v, Value) and v.is_weight for v in (*arguments, *options.values())):
        return outcome._replace(connections=math.prod(outcome.values[0].shape))
    return outcome


def _comparison(*arguments: Any) -> Outcome:
    outcome = _broadcasting(*arguments)
    return outcome._replace(values=(outcome.values[0]._replace(dtype=torch.bool),))


def _conversion(input: Value, *arguments: Any, **options: Any) -> Outcome:
    for wish in (*arguments, *options.values()):
        if isinstance(wish, torch.dtype):
            return Outcome((input._replace(dtype=wish),))
        if isinstance(wish, Value):
            return Outcome((input._replace(dtype=wish.dtype),))
    return Outcome((input,))


def _converted_to(dtype: torch.dtype) -> Rule:
    return lambda input: Outcome((input._replace(dtype=dtype),))


# Normalisation and reductions


def _mixing(input: Value, axes: Container[int | None]) -> Outcome:
    return Outcome((Value(input.shape, input.dtype, mixed(input, axes)),))


def _local_response_norm(
    input: Value, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Outcome:
    return _mixing(input, [1])


def _batch_norm(
    input: Value,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Outcome:
    return _mixing(input, [a for a in range(len(input.shape)) if a != 1] if training else ())


def _instance_norm(
    input: Value,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Outcome:
    return _mixing(input, range(2, len(input.shape)) if use_input_stats else ())


def _group_norm(
    input: Value, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Outcome:
    return _mixing(input, range(1, len(input.shape)))


def _layer_norm(
    input: Value, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Outcome:
    rank = len(input.shape)
    outcome = _mixing(input, range(rank - len(normalized_shape), rank))
    return outcome._replace(is_placed=isinstance(weight, Value) and is_placed(weight, input))


def _softmax(input: Value, dim: int, dtype: Any = None) -> Outcome:
    return _mixing(input, [axis_number(input, dim)])


def _stacked_softmax(
    input: Value, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Outcome | None:
    return None if dim is None else _softmax(input, dim)


def _reduction(
    input: Value, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Outcome:
    dims = dim if isinstance(dim, tuple | list) else [dim]
    gone = (
        {axis_number(input, d) for d in dims}
        if dim not in (None, ())
        else {*range(len(input.shape))}
    )
    if not keepdim:
        return Outcome((without(input, gone),))
    shape = tuple(1 if a in gone else n for a, n in enumerate(input.shape))
    return Outcome((Value(shape, input.dtype, mixed(input, gone)),))


def _matmul(input: Value, other: Value) -> Outcome | None:
    if min(len(input.shape), len(other.shape)) < 2:
        return None
    (*batch, rows, inner), (*other_batch, other_inner, columns) = input.shape, other.shape
    if inner != other_inner:
        raise UsageError(f"shapes {input.shape} and {other.shape} do not multiply")
    shape = (*broadcast(tuple(batch), tuple(other_batch)), rows, columns)
    ends = ((input, len(batch) + 1), (other, len(other_batch)))
    sides = [
        value if value.axes is None else value._replace(axes=mixed(value, [summed]))
        for value, summed in ends
    ]
    value = Value(shape, input.dtype, united(sides, shape))
    if not (input.is_weight or other.is_weight):
        return Outcome((value,))
    placed = any(one.axis == axis for side, axis in ends for one in side.axes or ())
    products = math.prod(shape) * inner
    return Outcome((value,), products, products, is_placed=placed)


def _table() -> tuple[dict[Callable[..., Any], Rule], frozenset[Callable[..., Any]]]:
    rules: dict[Callable[..., Any], Rule] = {
        # torch's own functions of these names take their arguments in another order.
        F.batch_norm: _batch_norm,
        F.instance_norm: _instance_norm,
        F.group_norm: _group_norm,
        F.layer_norm: _layer_norm,
        F.local_response_norm: _local_response_norm,
        F.softmax: _stacked_softmax,
        F.log_softmax: _stacked_softmax,
        F.softmin: _stacked_softmax,
        Tensor.float: _converted_to(torch.float32),
        Tensor.double: _converted_to(torch.float64),
        Tensor.half: _converted_to(torch.float16),
        Tensor.bfloat16: _converted_to(torch.bfloat16),
        Tensor.requires_grad_: _pointwise,
    }
    in_place = set()
    for names, rule in (
        (_FIRST_ARGUMENT_ONLY, _pointwise),
        (_BROADCAST, _broadcasting),
        (_WITH_WEIGHTS, _with_weights),
        (_COMPARISONS, _comparison),
        (_CONVERSIONS, _conversion),
        (_REDUCTIONS, _reduction),
        (_SOFTMAXES, _softmax),
        (_PRODUCTS, _matmul),
        ("where", _where),
    ):
        for name in names.split():
            for spelling in (name, f"__{name}__", f"__r{name}__", f"{name}_", f"__i{name}__"):
                for home in (torch, F, Tensor):
                    function = getattr(home, spelling, None)
                    if callable(function):
                        rules.setdefault(function, rule)
                        if spelling.startswith("__i") or spelling == f"{name}_":
                            in_place.add(function)
    return rules, frozenset(in_place)


POINTWISE, IN_PLACE = _table()
# Whose answer at a place depends on what its arguments hold at that place, and on nothing else.
_OF_ONE_PLACE = (_pointwise, _broadcasting, _with_weights, _comparison, _where, _conversion)
PLACEWISE = frozenset(f for f, rule in POINTWISE.items() if rule in _OF_ONE_PLACE)
# Their weights scale and no more: the rules do not look at them.
UNWEIGHED = frozenset([F.batch_norm, F.instance_norm, F.group_norm])
