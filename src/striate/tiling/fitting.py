"""The whole input for an image: mirrored where the network needs more, up to a legal size."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from torch import nn

from striate.errors import UsageError
from striate.tiling.seams import mixing_layers, spoiled, step, uneven_layers
from striate.tracing import Trace, trace

# Sizes are tried one after the other until the network accepts one.
_TRIES = 1024
# A longer step is rather an uneven resizing than a chain of poolings: larger sizes are tried too.
_LONGEST_STEP = 64
_MOST_KNOWN = 64


class Axis(NamedTuple):
    """What tiles along one axis have to respect [pixels].

    Attributes:
        image: Length of the image.
        size: Length of the whole input: the image and what is mirrored.
        before: How much is mirrored before the image.
        outputs: Length of the whole input's answer; the first ones are those of the image.
        step: By how much the network repeats itself; 0 where it does not.
        front: Outputs that a cut before them spoils.
        back: Outputs that a cut behind them spoils.
        hindrances: Names of the layers because of which there is no step.
    """

    image: int
    size: int
    before: int
    outputs: int
    step: int
    front: int
    back: int
    hindrances: tuple[str, ...]

    @property
    def overlap(self) -> int:
        """How much two neighbouring tiles share, so that each output is whole in one of them."""
        if not self.step:
            return 0  # there is one alone
        needed = self.size - self.outputs + self.front + self.back
        return needed + (self.size - needed) % self.step


class Fitted(NamedTuple):
    """What ``fit_axes`` found of a network and an image.

    Attributes:
        axes: What tiles along each axis have to respect.
        classes: Channels of the answer.
        multiply_adds: Of one run over the whole input.
    """

    axes: tuple[Axis, ...]
    classes: int
    multiply_adds: int


class _Fit(NamedTuple):
    """How a network takes one shape of input."""

    result: Trace
    lost: tuple[int, ...]  # along each axis, pixels without an answer
    steps: tuple[int, ...]

    def is_even(self, axis: int) -> bool:
        """Tell whether another size would not be better, as far as a step goes."""
        found = self.steps[axis]
        return 0 < found <= _LONGEST_STEP or bool(
            found == 0 and (mixing_layers(self.result, axis) or self.result.position_dependent)
        )


# Of each network that still exists: how it was built when it was asked, and the latest answers.
_known: WeakKeyDictionary[nn.Module, tuple[str, dict[tuple[int, ...], Fitted]]]
_known = WeakKeyDictionary()


def fit_axes(network: nn.Module, shape: Sequence[int]) -> Fitted:
    """Find the whole input for an image: its legal size and, along each axis, what tiles need.

    Args:
        network: Labels pixels: one answer a pixel, fewer only at the border.
        shape: Of the image, ``(C, *spatial)``.

    Returns:
        The axes, the classes and the multiply-adds. They are remembered as long as the network
        exists and is not built anew: finding a legal size takes many traces.

    Raises:
        UsageError: The network accepts no size near the image's, or does not answer by pixels.
    """
    built, shape = repr(network), tuple(shape)
    before, answers = _known.get(network, ("", {}))
    if before != built:
        _known[network] = (built, answers := {})
    if shape not in answers:
        while len(answers) >= _MOST_KNOWN:
            del answers[next(iter(answers))]
        answers[shape] = _fitted(network, shape)
    return answers[shape]


def _fitted(network: nn.Module, shape: tuple[int, ...]) -> Fitted:
    channels, *sizes = shape
    count = len(sizes)
    fit = _try(network, shape)
    if isinstance(fit, UsageError) or any(fit.lost) or not all(map(fit.is_even, range(count))):
        least = max(sizes)
        cubes = ((channels, *[side] * count) for side in range(least, least + _TRIES))
        base = _best(network, cubes, range(count))
        side = base.result.input_shape[1]
        lengths = []
        for axis, size in enumerate(sizes):
            # The others stay at a length that the network accepts.
            start = max(size, size + base.lost[axis] - max(base.steps[axis] - 1, 0))
            others = [side] * count
            lines = (
                (channels, *others[:axis], length, *others[axis + 1 :])
                for length in range(start, max(start, side) + max(base.steps[axis], _LONGEST_STEP))
            )
            found = _best(network, lines, [axis], {axis: size})
            lengths.append(found.result.input_shape[1 + axis])
        fit = _try(network, (channels, *lengths))
        if isinstance(fit, UsageError):
            raise fit
    axes = tuple(_axis(fit, axis, size) for axis, size in enumerate(sizes))
    return Fitted(axes, fit.result.output_shape[0], fit.result.multiply_adds)


def _axis(fit: _Fit, axis: int, image: int) -> Axis:
    result, lost, found = fit.result, fit.lost[axis], fit.steps[axis]
    size = result.input_shape[1 + axis]
    front, back = spoiled(result, axis) if found else (0, 0)
    named: tuple[str, ...] = ()
    if not found:
        named = mixing_layers(result, axis) or result.position_dependent
        named = named or uneven_layers(result, axis)
    return Axis(image, size, lost // 2, size - lost, found, front, back, named)


def _best(
    network: nn.Module,
    shapes: Iterable[tuple[int, ...]],
    axes: Iterable[int],
    wanted: dict[int, int] | None = None,
) -> _Fit:
    """Take the first shape that the network accepts, or a somewhat larger one if that is even."""
    refusal = ""
    found: _Fit | None = None
    tries = 0
    for shape in shapes:
        fit = _try(network, shape)
        if isinstance(fit, UsageError):
            refusal = refusal or str(fit)
        elif all(shape[1 + a] - fit.lost[a] >= n for a, n in (wanted or {}).items()):
            if all(map(fit.is_even, axes)):
                return fit
            found = found or fit
        tries += found is not None
        if tries > _LONGEST_STEP:
            break
    if found is None:
        raise UsageError(f"no input of a size near the image's is accepted: {refusal}")
    return found


def _try(network: nn.Module, shape: Sequence[int]) -> _Fit | UsageError:
    try:
        result = trace(network, shape)
    except (ValueError, RuntimeError, AssertionError) as error:
        # What a network raises at a size that it does not accept is its own choice.
        return error if isinstance(error, UsageError) else UsageError(str(error))
    count = len(shape) - 1
    answer = result.output_shape
    lost = [n - o for n, o in zip(shape[1:], answer[1:], strict=False)]
    if len(answer) != count + 1 or min(lost) < 0:
        return UsageError(
            f"the network answers {answer} for an image of shape {tuple(shape)}; one that labels "
            f"pixels answers (classes, {'size, ' * (count - 1)}size), at most a value a pixel"
        )
    placed = bool(result.position_dependent)
    steps = tuple(0 if placed else step(result, axis) for axis in range(count))
    return _Fit(result, tuple(lost), steps)
