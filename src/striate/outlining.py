"""Networks without their weights: shapes alone, for whatever only counts."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

# What draws initial weights; where there is no memory, nothing is left to do.
_INITIAL_WEIGHTS = [name for name in dir(init) if name.endswith("_") and not name.startswith("_")]


def _leave(tensor: Tensor, *arguments: Any, **options: Any) -> Tensor:
    return tensor


class Outlining(TorchFunctionMode):
    """While this is entered, the weights of networks that are built take no memory and no time.

    ``torch.empty``, with which PyTorch's layers make their weights, gives tensors on the meta
    device; initial weights are not drawn; whatever is computed from such a tensor stays there.
    All other constants are real, so that tables of connections and codes can be computed from.

    Example:
        >>> with Outlining():
        ...     layer = torch.nn.Linear(10**6, 10**6)
        >>> layer.weight.device, layer.weight.numel()
        (device(type='meta'), 1000000000000)
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Answer one function (called by PyTorch)."""
        kwargs = kwargs or {}
        if func is torch.empty:
            made = func(*args, **{**kwargs, "device": "meta"})
            return made if made.numel() else func(*args, **kwargs)
        if _holds_meta(args):
            if func.__name__.endswith("_") and not func.__name__.endswith("__"):
                return args[0]  # filled in place
            args = _on_meta(args)
        return func(*args, **kwargs)

    def __enter__(self) -> "Outlining":
        self._drawing = {name: getattr(init, name) for name in _INITIAL_WEIGHTS}
        for name in _INITIAL_WEIGHTS:
            setattr(init, name, _leave)
        return super().__enter__()  # type: ignore[no-untyped-call,no-any-return]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for name, function in self._drawing.items():
            setattr(init, name, function)


def _holds_meta(items: Any) -> bool:
    for item in items:
        if isinstance(item, Tensor):
            if item.is_meta:
                return True
        elif isinstance(item, list | tuple) and _holds_meta(item):
            return True
    return False


def _on_meta(items: Any) -> Any:
    return type(items)(
        [
            item.to("meta")
            if isinstance(item, Tensor)
            else _on_meta(item)
            if type(item) in (list, tuple)
            else item
            for item in items
        ]
    )
