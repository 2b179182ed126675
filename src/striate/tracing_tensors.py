"""Tensors as objects in a trace: where they stand in arguments, what made them, what they share."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

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
        for home in (torch, Tensor)
        if hasattr(home, name)
    )


# Answered by the shape alone, and quick.
QUESTIONS = _spelled(
    "size dim ndimension numel nelement stride is_floating_point is_complex is_contiguous __len__"
)
# New constants: they take a map's shape, not its values.
NEW_CONSTANTS = _spelled(
    "zeros_like ones_like empty_like full_like rand_like randn_like "
    "new_zeros new_ones new_empty new_full new_tensor"
)


# What answers with a view, so that writing into the answer writes into the first argument.
VIEWS = _spelled(
    "view reshape flatten unflatten squeeze unsqueeze permute transpose swapaxes movedim moveaxis "
    "expand broadcast_to __getitem__ select narrow split chunk unbind detach contiguous to"
)


def writes(func: Function) -> bool:
    """Tell by its name whether a function writes into its first argument."""
    name = func.__name__
    return name in ("__setitem__", "__set__") or (name.endswith("_") and not name.endswith("__"))


class Lineage:
    """Which layers made a tensor, and what it is a view of.

    Tensors are known by id; whoever uses this keeps them alive.
    """

    def __init__(self) -> None:
        self._makers: dict[int, tuple[int, ...]] = {}
        self._viewed: dict[int, Tensor] = {}

    def born(self, tensors: Iterable[Tensor], *positions: int) -> None:
        """Note that the layers at some positions made what some tensors hold now."""
        makers = tuple(dict.fromkeys(positions))
        self._makers.update((id(tensor), makers) for tensor in tensors)

    def makers(self, *tensors: Tensor) -> tuple[int, ...]:
        """Give the positions of the layers that made some tensors, without repeats; -1: the input.

        Example:
            >>> lineage, image, bias = Lineage(), torch.zeros(1), torch.zeros(1)
            >>> lineage.born([image], -1)
            >>> lineage.makers(bias, image, image)
            (-1,)
        """
        return tuple(dict.fromkeys(m for t in tensors for m in self._makers.get(id(t), ())))

    def view(self, tensors: Iterable[Tensor], base: Tensor) -> None:
        """Note that some tensors show the memory of another."""
        self._viewed.update((id(tensor), base) for tensor in tensors)

    def bases(self, tensor: Tensor) -> Iterator[Tensor]:
        """Give what a tensor is a view of, and what that is a view of, and so on."""
        base = self._viewed.get(id(tensor))
        while base is not None:
            yield base
            base = self._viewed.get(id(base))
