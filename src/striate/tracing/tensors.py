"""Tensors as objects in a trace: where they stand in arguments, what made them, what they share."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.tracing.values import Value

Function = Callable[..., Any]


def tensors_in(tree: Any) -> list[Tensor]:
    """List the tensors of nested lists, tuples and dicts, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    found = []
    for branch in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(branch, Tensor):
            found.append(branch)
        elif isinstance(branch, list | tuple | dict):
            found += tensors_in(branch)
    return found


def mapped(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    """Change the tensors of nested lists, tuples and dicts."""
    if isinstance(tree, Tensor):
        return change(tree)
    if type(tree) is dict:
        return {key: mapped(branch, change) for key, branch in tree.items()}
    if type(tree) not in (list, tuple):
        return tree
    return type(tree)(
        [mapped(b, change) if isinstance(b, Tensor | list | tuple | dict) else b for b in tree]
    )


def _spelled(names: str) -> frozenset[Function]:
    return frozenset(
        getattr(home, name)
        for name in names.split()
        for home in (torch, Tensor, F)
        if hasattr(home, name)
    )


# Answered by the shape alone, and quick.
QUESTIONS = _spelled(
    "size dim ndimension numel nelement stride is_floating_point is_complex is_contiguous __len__"
)
# New constants: they take a map's shape, not its values. Those of the first line are even.
UNIFORM_CONSTANTS = _spelled(
    "zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full"
)
NEW_CONSTANTS = UNIFORM_CONSTANTS | _spelled("empty_like rand_like randn_like new_empty new_tensor")
# What answers with a view, so that writing into the answer writes into the first argument.
# Dropout is among them because a trace follows evaluation, where it hands its argument on.
VIEWS = _spelled(
    "view reshape flatten unflatten squeeze unsqueeze permute transpose swapaxes movedim moveaxis "
    "expand broadcast_to __getitem__ select narrow split chunk unbind detach contiguous to "
    "view_as reshape_as "
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"
)
# What takes the shape or the type of its second argument, and nothing else of it.
LIKE_THE_SECOND = _spelled("view_as reshape_as expand_as type_as")
# What may lay the places of a map out as features.
RESHAPES = _spelled("view reshape flatten unflatten view_as reshape_as")
# What leaves no places apart.
REDUCTIONS = _spelled("mean sum amax amin logsumexp")


def writes(func: Function) -> bool:
    """Tell by its name whether a function writes into its first argument."""
    name = func.__name__
    return name in ("__setitem__", "__set__") or (name.endswith("_") and not name.endswith("__"))


# What a person wrote where a function of this name is then called.
_WRITTEN_AS = {
    "__bool__": "a condition",
    "__int__": "int()",
    "__float__": "float()",
    "__index__": "an index or range()",
    "__format__": "a formatted string",
    "__contains__": "in",
    "__getitem__": "a mask as index",
}


def why_refused(func: Function, error: Exception) -> str:
    """Say why a function cannot be followed by shapes, where torch's meta kernels refuse it."""
    reason = str(error).strip().partition("\n")[0]
    if "meta" not in reason.lower() and func.__name__ != "__format__":
        return f"{func.__name__} failed on shapes alone: {reason}"
    written = _WRITTEN_AS.get(func.__name__, f"{func.__name__}()")
    return (
        f"{written} needs the values of a map, but only shapes are followed, nothing is computed; "
        "let sizes decide, or give a network without this step"
    )


class Storage:
    """Memory that one or more tensors share.

    Attributes:
        layer: Position of the layer that filled it first; -1 for the input's.
        bytes: For one example.
    """

    __slots__ = ("bytes", "layer")

    def __init__(self, layer: int, size: int) -> None:
        self.layer = layer
        self.bytes = size


class Record:
    """What is known of one tensor that depends on the input.

    Attributes:
        tensor: It itself, kept so that no other takes its id.
        value: Shape, type and dependence.
        makers: Positions of the layers that made what it holds; -1 is the network's input.
        storage: The memory it lies in.
        trains: Whether it depends on trainable values, so that autograd goes back through it.
        is_laid_out: Whether places of the input have become features, as flattening does.
        base: What it is a view of.
        views: What are views of it.
        parts: Of each call that parted what it is a view of, which part it is or is a view of.
    """

    __slots__ = (
        *("base", "is_laid_out", "makers", "parts", "storage", "tensor", "trains", "value"),
        "views",
    )

    def __init__(self, tensor: Tensor, value: Value, makers: tuple[int, ...], storage: Storage):
        self.tensor = tensor
        self.value = value
        self.makers = makers
        self.storage = storage
        self.trains = False
        self.is_laid_out = False
        self.base: Record | None = None
        self.views: list[Record] | None = None
        self.parts: dict[int, int] | None = None

    def is_view_of(self, base: "Record", part: tuple[int, int] | None = None) -> None:
        """Note that it shows another's memory, or, of what a call parted, one part."""
        self.base = base
        self.trains, self.is_laid_out = base.trains, base.is_laid_out
        if base.views is None:
            base.views = []
        base.views.append(self)
        self.parts = base.parts
        if part is not None:
            self.parts = {**(base.parts or {}), part[0]: part[1]}

    def relatives(self) -> Iterator["Record"]:
        """Give all that may hold something else now that this one was written into."""
        root = self
        while root.base is not None:
            root = root.base
        waiting = [root]
        while waiting:
            record = waiting.pop()
            if record.views is not None:
                waiting += record.views
            if record is not self and not self._lies_apart_from(record):
                yield record

    def _lies_apart_from(self, other: "Record") -> bool:
        parts = other.parts
        if self.parts is None or parts is None:
            return False
        return any(parts.get(call, part) != part for call, part in self.parts.items())
