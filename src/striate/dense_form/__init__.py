"""A classifier of windows as a network that answers for every position of the window at once.

Every layer is computed once for each place of the image, though a window's layers would stride over
it: the answers are sorted into fragments, each what some windows see (Giusti et al. 2013), or
the windows of later layers are spread (dilation). By count, both take as many products; fragments
need the number of positions to be a multiple of all strides together, so that a few positions
more are computed, while dilated convolutions are slower. The form with less to do is taken, the
latter's products counting ``DILATION_COST`` times.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from striate.dense_form.following import Following
from striate.dense_form.over_rows import over_rows
from striate.dense_form.place_rules import PLACE_RULES
from striate.dense_form.programs import Program
from striate.dense_form.twins import twin
from striate.dense_form.window_rules import WINDOW_RULES
from striate.errors import UsageError
from striate.intervals import Intervals, slide
from striate.layers import Dropout
from striate.modes import evaluating
from striate.tracing import trace
from striate.tracing.values import Outcome, Value, Window, spatially

__all__ = ["DenseForm", "dense"]

RULES = PLACE_RULES | WINDOW_RULES
# Time of a product in the form by dilation over that in fragments (benchmarks/dense_n4.py).
DILATION_COST = 1.7
# A form that differs from the windows by more than rounding is not given out [machine epsilons].
TOLERANCE = 1000


def dense(network: nn.Module, window: int | Sequence[int]) -> "DenseForm":
    """Turn a classifier of windows into a network that answers for every position of the window.

    The weights are shared: who trains one trains the other. The mode is not; the form starts in
    the network's, and the network itself stays as it is. Before the form is given out, it is
    compared with the network on a few windows, wherever the network's input channels are known
    from its convolutions; otherwise before the first answer.

    Args:
        network: Takes ``(N, C, *window)`` and answers ``(N, classes)``. It may have
            convolutions, pooling, activations, normalisation over channels, batch normalisation
            in evaluation, flattening, fully connected layers, skips, joints of maps, dropout;
            in training, dropout draws a mask for the image, not one for each window.
        window: The side of the window, or one for each spatial axis [pixels].

    Returns:
        A module that maps ``(N, C, H, W)`` to ``(N, classes, H - w + 1, W - w + 1)``, volumes and
        signals likewise. Position 0 is the first window that fits; borders are the caller's.

    Raises:
        UsageError: The network does not take such windows, or a layer, which is named, has no
            dense form: it pads maps inside the window, treats places of the window differently,
            or cannot be followed.

    Source:
        A. Giusti, D. C. Ciresan, J. Masci, L. M. Gambardella and J. Schmidhuber, "Fast image
        scanning with deep max-pooling convolutional neural networks", ICIP 2013.

    Example:
        >>> head = [nn.Flatten(), nn.Linear(6 * 4 * 4, 3)]
        >>> network = nn.Sequential(nn.Conv2d(1, 6, 4), nn.MaxPool2d(2), nn.ReLU(), *head)
        >>> form = dense(network, window=11)
        >>> form(torch.zeros(5, 1, 20, 31)).shape
        torch.Size([5, 3, 10, 21])
    """
    if not isinstance(network, nn.Module):
        raise UsageError(f"a torch.nn.Module is needed, not a {type(network).__name__}")
    sides = list(window) if isinstance(window, Sequence) else [window]
    if not sides or any(not isinstance(side, int) or side < 1 for side in sides):
        raise UsageError(f"window {window!r}: a whole number of pixels, or one an axis, is needed")
    form = DenseForm(network, window)
    error: Exception | None = None
    for channels, dims in _inputs(network):
        shape = (channels, *form.sides(dims)) if form.fits(dims) else ()
        try:
            trace(network, shape)
        except (UsageError, ValueError, RuntimeError) as refusal:
            error = error or refusal
        else:
            form.check(channels, dims)
            return form
    if error is not None:
        raise error
    return form


def _inputs(network: nn.Module) -> Iterator[tuple[int, int]]:
    """Give the input channels and the spatial axes that a network may have."""
    found: dict[tuple[int, int], None] = {}
    for module in network.modules():
        channels = getattr(module, "in_channels", None)
        kernels = getattr(module, "weight", getattr(module, "kernels", None))
        if isinstance(channels, int) and channels > 0 and isinstance(kernels, Tensor):
            found[channels, getattr(module, "dims", kernels.ndim - 2)] = None
    yield from found


class DenseForm(nn.Module):
    """A classifier of windows, for every position of the window; made by ``dense``.

    Attributes:
        network: The classifier's twin: its weights, a mode of its own.
        window: The side of the window, or one for each spatial axis [pixels].

    Shape:
        - images: ``(N, C, *spatial)``, each side at least the window's
        - returns: ``(N, classes, *(spatial - window + 1))``

    Raises:
        UsageError: An image is smaller than the window, or a layer has no dense form in the
            present mode: batch normalisation in training.
    """

    def __init__(self, network: nn.Module, window: int | Sequence[int]) -> None:
        super().__init__()
        self.network = twin(network)
        self.window = window if isinstance(window, int) else tuple(window)
        self.training = network.training
        self._checked: set[tuple[int, int]] = set()

    def forward(self, images: Tensor) -> Tensor:
        """Answer for every position of the window."""
        dims = images.ndim - 2
        if not self.fits(dims):
            raise UsageError(
                f"images of shape {tuple(images.shape)}: (N, C, *spatial) with a side for each "
                f"of the window's, {self.window}, is needed"
            )
        sides = self.sides(dims)
        if any(n < w for n, w in zip(images.shape[2:], sides, strict=True)):
            raise UsageError(
                f"images of {'×'.join(map(str, images.shape[2:]))} are smaller than the window, "
                f"{'×'.join(map(str, sides))}; mirror their borders first"
            )
        answers: Tensor = answer_windows(images, self, *self.network.parameters())
        return answers

    def answer(self, images: Tensor) -> Tensor:
        """Answer as ``forward``, of images that fit."""
        channels, dims = images.shape[1], images.ndim - 2
        self.require_channels(channels, dims)
        program, positions = self.program(images), self._positions(images.shape)
        learns = images.requires_grad or any(p.requires_grad for p in self.parameters())
        drops = [m for m in self.network.modules() if isinstance(m, Dropout) and m.training]
        told = any(layer.told is not None for layer in drops)
        at_once = told or (torch.is_grad_enabled() and learns)
        return program.run(images, positions, at_once=at_once)

    def program(self, images: Tensor) -> Program:
        """Choose the steps that have less to do for images of this shape."""
        positions = self._positions(images.shape)
        parted = self._follow(images, spreads=False)
        if parted.rounded(positions) == positions:
            return parted
        spread = self._follow(images, spreads=True)
        costs = DILATION_COST * spread.multiply_adds(positions), parted.multiply_adds(positions)
        return spread if costs[0] < costs[1] else parted

    def _follow(self, images: Tensor, *, spreads: bool) -> Program:
        following = Following(RULES, over_rows, spreads=spreads)
        return following.program(twin(self.network), images, self.sides(images.ndim - 2))

    def _positions(self, shape: Sequence[int]) -> tuple[int, ...]:
        sides = self.sides(len(shape) - 2)
        return tuple(n - w + 1 for n, w in zip(shape[2:], sides, strict=True))

    def sides(self, dims: int) -> tuple[int, ...]:
        """Give the window's side along each axis [pixels]."""
        return (self.window,) * dims if isinstance(self.window, int) else self.window

    def fits(self, dims: int) -> bool:
        """Tell whether the window may have so many axes."""
        return 1 <= dims <= 3 and len(self.sides(dims)) == dims

    def check(self, channels: int, dims: int) -> None:
        """Compare both forms with the network, in evaluation, on the windows of a small image.

        Raises:
            UsageError: A layer has no dense form, or the forms differ from the network.
        """
        sides = self.sides(dims)
        weights = [p for p in self.network.parameters() if p.is_floating_point()]
        example = weights[0] if weights else torch.empty(0)
        shape = (1, channels, *(side + 1 for side in sides))
        drawn = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        images = drawn.to(device=example.device, dtype=example.dtype)
        with evaluating(self.network), torch.no_grad():
            programs = [self._follow(images, spreads=spreads) for spreads in (False, True)]
            if not example.is_meta:
                _compare(self.network, programs, images, sides)
        self._checked.add((channels, dims))

    def require_channels(self, channels: int, dims: int) -> None:
        """Check as ``check``, once; a layer's own refusal of the channels is put into words."""
        if (channels, dims) in self._checked:
            return
        known = sorted({number for number, axes in self._checked if axes == dims})
        try:
            self.check(channels, dims)
        except RuntimeError as error:
            if not known:
                raise
            raise UsageError(
                f"images of {channels} channels: the network reads {' or '.join(map(str, known))}; "
                "give it (N, C, *spatial) with as many"
            ) from error

    def extra_repr(self) -> str:
        """Show what ``print(form)`` should say."""
        return f"window={self.window}"


def _compare(
    network: nn.Module, programs: Sequence[Program], images: Tensor, sides: Sequence[int]
) -> None:
    """Refuse a network whose programs differ from it on any of an image's windows."""
    corners = itertools.product((0, 1), repeat=len(sides))
    cuts: list[tuple[Any, ...]] = [
        (..., *(slice(c, c + side) for c, side in zip(corner, sides, strict=True)))
        for corner in corners
    ]
    # One window a call, in which a network that mixes the images of a batch has nothing to mix.
    windows = torch.cat([network(images[cut]) for cut in cuts])
    largest = windows.abs().max().item()
    for program in programs:
        answers = program.run(images, (2,) * len(sides), at_once=False)
        difference = (answers.flatten(2)[0].T - windows).abs().max().item()
        if difference > TOLERANCE * torch.finfo(images.dtype).eps * largest:
            raise UsageError(
                f"{type(network).__name__} answers its windows differently from its dense form, by "
                f"{difference / largest:.1g} of the largest score; something in it depends on more "
                "than its window, so that windows can only be answered one by one"
            )


def answer_windows(images: Tensor, form: DenseForm, *parameters: Tensor) -> Tensor:
    """Answer for every position of the window; a torch function, so that a trace has its rule.

    Args:
        images: ``(N, C, *spatial)``.
        form: What answers.
        parameters: The form's, for those who count them.
    """
    if has_torch_function_unary(images):
        answers: Tensor = handle_torch_function(
            answer_windows, (images,), images, form, *parameters
        )
        return answers
    return form.answer(images)


def _rule(images: Value, form: DenseForm, *parameters: Any) -> Outcome:
    """Say what a trace should know: each answer depends on its window; biases are not counted."""
    example = torch.empty(images.shape, dtype=images.dtype, device="meta")
    program, sides = form.program(example), form.sides(len(images.shape) - 2)
    positions = [n - w + 1 for n, w in zip(images.shape[2:], sides, strict=True)]

    def follow(axis: int, intervals: Intervals) -> Intervals:
        return slide(intervals, positions[axis], sides[axis], 1, 0, 1)

    value = spatially(images, positions, follow, program.classes)
    products = program.multiply_adds(positions)
    single = (1,) * len(sides)
    window = Window("windows", sides, single, single)
    return Outcome((value,), products, products, window=window)


answer_windows.rule = _rule  # type: ignore[attr-defined]
