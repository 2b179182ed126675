"""A classifier's own ``forward``, run on stand-ins for windows, gives its dense form's steps."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from striate.dense_form.fragments import Slide, rows
from striate.dense_form.programs import Grid, Program, Step
from striate.errors import UsageError
from striate.layers import Dropout
from striate.tracing import RULES
from striate.tracing.pointwise import IN_PLACE
from striate.tracing.tensors import QUESTIONS, VIEWS, Function, mapped, tensors_in

# The stand-ins' batch. Axes of this length are the batch; no network has such an axis of its own.
BATCH = 8191
STATISTICS = (
    "takes its statistics from the windows of a batch; put the layer into evaluation, where it "
    "has kept ones"
)
PADS = (
    "pads its maps, which sees the border of the window; a classifier of windows is dense only "
    "without padding"
)


class Followed(NamedTuple):
    """What stands behind a stand-in.

    Attributes:
        stand_in: A tensor without values, of the shape that the network would see.
        value: Its number in the program.
        grid: Where its places lie; of rows, of the places that they were.
        kind: "maps"; "flat" for maps that the network has flattened and no one has read; or
            "rows", one for each window, which is a batch like any other.
        memory: What it shares with its views.
        version: How often that memory had been written into when this was made.
    """

    stand_in: Tensor
    value: int
    grid: Grid
    kind: str
    memory: int
    version: int

    @property
    def is_single(self) -> bool:
        """Tell whether a window has one place, so that the windows are a batch."""
        return self.kind == "rows" or max(self.grid.extent) == 1


Rule = Callable[..., Any]  # of Following and the function's arguments; None: not over maps


class Following(TorchFunctionMode):
    """Answers the torch functions that a network calls, and notes what they do to fragments.

    Args:
        rules: Of a torch function, what it does to maps.
        over_rows: What any function does to rows, and to maps of one place in each window.
        spreads: Whether windows spread over the maps as they are, by dilation, and nothing is
            parted into fragments.

    Attributes:
        dims: Number of spatial axes.
        made: The program, once it is made.
    """

    def __init__(self, rules: dict[Function, Rule], over_rows: Rule, *, spreads: bool) -> None:
        super().__init__()
        self._rules = rules
        self._over_rows = over_rows
        self._spreads = spreads
        self._steps: list[Step] = []
        self._known: dict[int, Followed] = {}
        self._versions: list[int] = []
        self._path: list[tuple[str, nn.Module]] = []
        self.dims = 0
        self.made: Program | None = None

    # Running

    def program(self, network: nn.Module, images: Tensor, window: Sequence[int]) -> Program:
        """Follow a network over one window.

        Raises:
            UsageError: A layer stops it; its name is told.
        """
        self.dims, self._device = len(window), images.device
        single = (1,) * self.dims
        hooks = []
        for name, module in network.named_modules():
            if isinstance(module, Dropout) and module.training and module.told is not None:
                vars(module)["forward"] = partial(self._dropped, module, len(images))
            enter = partial(self._enter, name)
            hooks.append(module.register_forward_pre_hook(enter, prepend=True))
            hooks.append(module.register_forward_hook(self._leave))
        try:
            with _disable_current_modes():  # who measures memory is not shown stand-ins
                stand_in = stand_in_of((images.shape[1], *window), images.dtype)
                self._know(stand_in, 0, Grid(tuple(window), single, single), "maps")
                with self:
                    answer = network(stand_in)
                classes = self._answer(network, answer)
        finally:
            for hook in hooks:
                hook.remove()
        self.made = Program(self._steps, self.dims, classes)
        return self.made

    def _answer(self, network: nn.Module, answer: Any) -> int:
        known = self._known.get(id(answer)) if isinstance(answer, Tensor) else None
        kind = type(network).__name__
        if known is None:
            raise UsageError(
                f"{kind} answers a window with a {type(answer).__name__} that does not come from "
                "it, or with several tensors; one, (N, classes), is needed"
            )
        shape = tuple(known.stand_in.shape)
        if not known.is_single or math.prod(shape[1:]) != shape[1 if len(shape) > 1 else 0]:
            raise UsageError(
                f"{kind} answers a window with {shape[1:]}; one score for each class, "
                "(N, classes), is needed"
            )
        known = self.rows(known)
        flat = stand_in_of(shape[1:2], known.stand_in.dtype)
        self.note(lambda data: data.flatten(1), [known], flat, kind="rows")
        return shape[1]

    def _enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        self._path.append((name, module))
        if module.training and isinstance(module, _BatchNorm):
            self._func = F.batch_norm
            self.refuse(STATISTICS)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._path.pop()

    def refuse(self, reason: str) -> NoReturn:
        """Refuse with the name of the layer that runs."""
        name, module = self._path[-1] if self._path else ("", None)
        kind = self._func.__name__.strip("_")
        if module is not None and name and not module._modules:
            kind = type(module).__name__
        else:
            name = f"{name}.{kind}".lstrip(".")
        raise UsageError(f"{name} ({kind}) {reason}")

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answer one function (called by PyTorch)."""
        kwargs = kwargs or {}
        tensors = tensors_in([args, kwargs])
        given = [self._known[id(t)] for t in tensors if id(t) in self._known]
        if not given or func in QUESTIONS:
            return func(*args, **kwargs)
        self._func = func
        if func.__name__ == "__get__":
            return self._attribute(func, args[0])
        if any(one.version != self._versions[one.memory] for one in given):
            self.refuse("reads a map that was changed in place through another name of it")
        if func not in RULES or "out" in kwargs:
            self.refuse(f"calls {func.__name__}, which is not followed")
        if func is F.batch_norm and (kwargs.get("training") is True or True in args[5:6]):
            self.refuse(STATISTICS)
        target = None
        if func in IN_PLACE or kwargs.get("inplace") is True:
            target, func = args[0], _out_of_place(func)
            kwargs = {key: v for key, v in kwargs.items() if key != "inplace"}
        answer = self._follow(func, args, kwargs, given)
        if func in VIEWS:
            answer = mapped(answer, partial(self._sharing, given[0]))
        return answer if target is None else self._written(target, answer)

    def _follow(self, func: Function, args: Any, kwargs: Any, given: Sequence[Followed]) -> Any:
        answer = None
        if all(one.kind != "rows" for one in given) and func in self._rules:
            answer = self._rules[func](self, func, *args, **kwargs)
        if answer is None and all(one.is_single for one in given):
            answer = self._over_rows(self, func, args, kwargs, given)
        if answer is None:
            self.refuse(
                f"calls {func.__name__} over the places of a window in a way that has no dense "
                "form; its windows can only be answered one by one"
            )
        if isinstance(answer, Followed):
            return answer.stand_in
        return tuple(part.stand_in for part in answer)

    def _sharing(self, base: Followed, stand_in: Tensor) -> Tensor:
        """Note that a view shares the memory of what it is a view of."""
        known = self._known[id(stand_in)]
        shared = known._replace(memory=base.memory, version=base.version)
        self._known[id(stand_in)] = shared
        return stand_in

    def _attribute(self, func: Any, stand_in: Tensor) -> Any:
        if func.__self__.__name__ == "device":
            return self._device
        result = func(stand_in)
        if isinstance(result, Tensor):
            self.refuse(f"reads .{func.__self__.__name__}, which is not followed")
        return result

    def _written(self, target: Tensor, answer: Tensor) -> Tensor:
        """Let a stand-in mean what was written into it."""
        old, new = self._known.get(id(target)), self._known[id(answer)]
        if old is None or old.stand_in.shape != new.stand_in.shape:
            self.refuse("writes maps into a tensor of another shape, or into a constant")
        self._versions[old.memory] += 1
        version = self._versions[old.memory]
        written = new._replace(stand_in=target, memory=old.memory, version=version)
        self._known[id(target)] = written
        return target

    def _dropped(self, layer: Dropout, images: int, stand_in: Tensor) -> Tensor:
        """Let a layer that was told of its images draw the masks of all their fragments."""
        known = self._known[id(stand_in)]

        def drop(data: Tensor) -> Tensor:
            parts = data.reshape(math.prod(known.grid.fragments), images, -1).transpose(0, 1)
            return Dropout.forward(layer, parts).transpose(0, 1).reshape(data.shape)

        return self.note(drop, [known], stand_in, kind=known.kind).stand_in

    # What rules use

    def of(self, tensor: Any) -> Followed | None:
        """Say what stands behind a tensor; None behind a constant."""
        return self._known.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def maps(self, tensor: Any) -> Followed | None:
        """Say what stands behind maps; None behind anything else."""
        known = self.of(tensor)
        return known if known is not None and known.kind == "maps" else None

    def note(
        self,
        does: Callable[..., Tensor] | Slide,
        given: Sequence[Followed],
        like: Tensor,
        *,
        kind: str = "maps",
        grid: Grid | None = None,
        products: int = 0,
    ) -> Followed:
        """Note a step; its answer looks like the tensor given, its grid is the first input's."""
        values, output = tuple(one.value for one in given), len(self._steps) + 1
        grid = grid or given[0].grid
        trains = torch.is_grad_enabled()
        self._steps.append(Step(values, output, grid, does, products, trains))
        return self._know(like.detach(), output, grid, kind)

    def slide(self, maps: Followed, slide: Slide) -> Followed:
        """Note a window that slides over maps, by the numbers that the network has for it."""
        extent, parted, stride, spacing = [], [], [], []
        for a, f, s, k, d, t in zip(*maps.grid, *slide[:3], strict=True):
            places = (a - d * (k - 1) - 1) // t + 1
            if places < 1:
                self.refuse(f"slides a window of {d * (k - 1) + 1} over a map of {a}")
            parts = 1 if self._spreads or places == 1 else t
            extent.append(places)
            parted.append(f * parts)
            stride.append(parts)
            spacing.append(s * t if self._spreads and places > 1 else s)
        grid = Grid(tuple(extent), tuple(parted), tuple(spacing))
        like = stand_in_of((maps.stand_in.shape[1], *extent), maps.stand_in.dtype)
        dilation = tuple(d * s for d, s in zip(slide.dilation, maps.grid.spacing, strict=True))
        done = slide._replace(dilation=dilation, stride=tuple(stride))
        return self.note(done, [maps], like, grid=grid)

    def aligned(self, given: Sequence[Followed]) -> bool:
        """Tell whether the same places of maps lie at the same places of their fragments."""
        first = given[0]
        return all(one.kind == first.kind and one.grid == first.grid for one in given)

    def rows(self, known: Followed) -> Followed:
        """Make rows of what has one place in each window."""
        if known.kind == "rows":
            return known
        shape = known.stand_in.shape[1:]

        def lay_out(data: Tensor) -> Tensor:
            return rows(data).view(-1, *shape)

        return self.note(lay_out, [known], known.stand_in, kind="rows")

    def shape_of(self, func: Function, args: Any, kwargs: Any) -> Any:
        """Ask torch for the shape of an answer, without values."""

        def on_meta(tensor: Tensor) -> Tensor:
            return tensor if tensor.is_meta else tensor.detach().to("meta")

        try:
            with torch.no_grad():
                return func(*mapped(args, on_meta), **mapped(kwargs, on_meta))
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            self.refuse(f"failed on shapes alone: {reason}")

    def verbatim(
        self, func: Function, args: Any, kwargs: Any, given: Sequence[Followed]
    ) -> Callable[..., Tensor]:
        """Make a function call that has fragments in the place of stand-ins."""
        kept = [one.stand_in for one in given]

        def call(*data: Tensor) -> Tensor:
            table = dict(zip(map(id, kept), data, strict=True))
            swapped = mapped((args, kwargs), lambda tensor: table.get(id(tensor), tensor))
            result: Tensor = func(*swapped[0], **swapped[1])
            return result

        return call

    def _know(self, stand_in: Tensor, value: int, grid: Grid, kind: str) -> Followed:
        self._versions.append(0)
        known = Followed(stand_in, value, grid, kind, len(self._versions) - 1, 0)
        self._known[id(stand_in)] = known
        return known


def stand_in_of(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Make a tensor of a window's shape without values."""
    return torch.empty((BATCH, *shape), dtype=dtype, device="meta")


def _out_of_place(func: Function) -> Function:
    """Find the function that answers what another writes into its first argument."""
    name = func.__name__
    plain = name.replace("__i", "__", 1) if name.endswith("__") else name.removesuffix("_")
    if plain == name:
        return func
    homes: tuple[Any, ...] = (torch, F, Tensor)
    found: Function = next(getattr(home, plain) for home in homes if hasattr(home, plain))
    return found
