"""The steps of a network on the fragments of an image, and their running.

Without gradients the fragments go one by one, or in small groups, from the step that parts them to
the end: the maps that are alive stay small enough for the caches of a processor, and their memory
is used again. With gradients every step runs once, on all fragments.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.dense_form.fragments import Phase, Slide, all_fragments, fragments

# Fragments are taken together up to so many bytes a map.
GROUP_BYTES = 2**20


class Grid(NamedTuple):
    """How a map's places in a window lie in its fragments: one number for each spatial axis.

    A map over ``positions`` windows has ``positions / fragments + spacing × (extent - 1)`` places
    in each fragment.

    Attributes:
        extent: Places of the map in one window.
        fragments: Into how many the map is parted.
        spacing: Distance of a window's neighbouring places in a fragment.
    """

    extent: tuple[int, ...]
    fragments: tuple[int, ...]
    spacing: tuple[int, ...]

    def sizes(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Give a fragment's sizes, for windows at so many positions along each axis."""
        axes = zip(positions, *self, strict=True)
        return tuple(p // f + s * (a - 1) for p, a, f, s in axes)


@dataclass
class Step:
    """What is done at once: a function of maps, or a window that parts its answers into fragments.

    Attributes:
        inputs: The values that it reads, by number; the image is 0.
        output: The value that it makes.
        grid: Of the output; of rows, of the places that they were.
        does: A function of the inputs' fragments, or the window that slides over the only input.
        products: Of a weight and an input, for each place of the output.
        trains: Whether gradients go through.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    does: Callable[..., Tensor] | Slide
    products: int = 0
    trains: bool = True
    is_waist: bool = field(default=False, init=False)
    last_reads: tuple[int, ...] = field(default=(), init=False)


class _Fragments(NamedTuple):
    """The fragments of a value that are at hand, one after the other on the batch axis."""

    data: Tensor
    phases: tuple[Phase, ...]


_Values = dict[int, _Fragments]


class Program:
    """A network's steps in their order.

    Args:
        steps: The last one gives rows ``(windows, classes)``.
        dims: Number of spatial axes.
        classes: Number of scores of a window.
    """

    def __init__(self, steps: Sequence[Step], dims: int, classes: int) -> None:
        self.steps = steps
        self.classes = classes
        self.positions = (1,) * dims
        self.alignment = tuple(
            math.lcm(*(step.grid.fragments[axis] for step in steps)) for axis in range(dims)
        )
        read = {0: 0, steps[-1].output: len(steps)}
        for position, step in enumerate(steps):
            read.update(dict.fromkeys(step.inputs, position))
        alive = {0}
        for position, step in enumerate(steps):
            step.last_reads = tuple({v for v in step.inputs if read[v] == position})
            alive = (alive - set(step.last_reads) | {step.output}) & read.keys()
            step.is_waist = alive == {step.output}

    def multiply_adds(self, positions: Sequence[int]) -> int:
        """Count the products for windows at so many positions along each axis."""
        whole = self.rounded(positions)
        return sum(
            step.products * math.prod(step.grid.sizes(whole)) * math.prod(step.grid.fragments)
            for step in self.steps
        )

    def rounded(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Round positions up so that all fragments of a value are equally large."""
        return tuple(-(-p // a) * a for p, a in zip(positions, self.alignment, strict=True))

    def run(self, images: Tensor, positions: Sequence[int], *, at_once: bool) -> Tensor:
        """Answer for every window.

        Args:
            images: ``(N, C, *spatial)``.
            positions: Of windows along each axis.
            at_once: Whether every step runs once, on all images and fragments, as gradients and
                steps that draw for all images need it.

        Returns:
            ``(N, K, *positions)``.
        """
        self.positions = self.rounded(positions)
        behind = [n - p for n, p in zip(self.positions, positions, strict=True)]
        if any(behind):
            images = F.pad(images, [n for one in reversed(behind) for n in (0, one)])
        start = (0,) * len(behind)
        if at_once:
            values = {0: _Fragments(_channels_last(images), (start,))}
            for step in self.steps:
                with nullcontext() if step.trains else torch.no_grad():
                    values[step.output] = self._all(step, values)
                for value in step.last_reads:
                    del values[value]
            joined = _joined(*values[self.steps[-1].output], self.steps[-1].grid, self.positions)
            wanted: tuple[Any, ...] = (..., *(slice(p) for p in positions))
            return joined[wanted]
        answers: list[Tensor] = []
        for number, image in enumerate(torch.split(images, 1)):
            values = {0: _Fragments(_channels_last(image), (start,))}
            for data, phases in self._descend(0, values):
                if not answers:
                    answers.append(data.new_empty((len(images), data.shape[1], *positions)))
                self._write(answers[0][number], data, phases)
        return answers[0]

    def _all(self, step: Step, values: _Values) -> _Fragments:
        """Run a step on all fragments at once."""
        if not isinstance(step.does, Slide):
            return _called(step.does, step.inputs, values)
        data, phases = values[step.inputs[0]]
        made = all_fragments(data, step.does, step.grid.sizes(self.positions))
        before = _before(step.grid, step.does)
        parted = [
            _phase(old, new, before) for new, old in itertools.product(step.does.phases(), phases)
        ]
        return _Fragments(made, tuple(parted))

    def _descend(self, start: int, values: _Values) -> Iterator[_Fragments]:
        """Run the steps from one on; give the last one's answers, group by group."""
        for number, step in enumerate(self.steps[start:], start):
            if not isinstance(step.does, Slide):
                values[step.output] = _called(step.does, step.inputs, values)
            else:
                groups = self._groups(step.grid, step.does, values[step.inputs[0]])
                if step.is_waist:
                    for group in groups:
                        yield from self._descend(number + 1, {step.output: group})
                    return
                values[step.output] = _together(list(groups))
            for value in step.last_reads:
                del values[value]
        yield values[self.steps[-1].output]

    def _groups(self, grid: Grid, slide: Slide, source: _Fragments) -> Iterator[_Fragments]:
        """Part a value into fragments; small ones are given together."""
        before = _before(grid, slide)
        group: list[_Fragments] = []
        made = fragments(source.data, slide, grid.sizes(self.positions))
        for new, data in zip(slide.phases(), made, strict=True):
            group.append(_Fragments(data, tuple(_phase(old, new, before) for old in source.phases)))
            size = data.numel() * data.element_size()
            if (len(group) + 1) * size > GROUP_BYTES:
                yield _together(group)
                group = []
        if group:
            yield _together(group)

    def _write(self, answer: Tensor, data: Tensor, phases: Sequence[Phase]) -> None:
        """Write one image's answers for some fragments, ``(windows, K)``, to their places."""
        grid = self.steps[-1].grid
        sizes = grid.sizes(self.positions)
        for phase, part in zip(phases, data.view(len(phases), *sizes, -1), strict=True):
            steps = zip(phase, grid.fragments, strict=True)
            target = answer[(slice(None), *(slice(p, None, f) for p, f in steps))]
            kept = part[tuple(slice(n) for n in target.shape[1:])]
            target.copy_(kept.movedim(-1, 0))


def _channels_last(images: Tensor) -> Tensor:
    """Lay images out channels last, also those of one channel, where PyTorch leaves it open."""
    laid = images.movedim(1, -1).contiguous()
    strides: list[int] = []
    stride = 1
    for size in reversed(laid.shape):
        strides.insert(0, stride)
        stride *= size
    return laid.as_strided(laid.shape, strides).movedim(-1, 1)


def _before(grid: Grid, slide: Slide) -> tuple[int, ...]:
    """Give the number of fragments that the input of a slide has."""
    return tuple(f // s for f, s in zip(grid.fragments, slide.stride, strict=True))


def _phase(old: Phase, new: Phase, before: Sequence[int]) -> Phase:
    return tuple(o + n * f for o, n, f in zip(old, new, before, strict=True))


def _together(group: Sequence[_Fragments]) -> _Fragments:
    if len(group) == 1:
        return group[0]
    data = torch.cat([one.data for one in group])
    return _Fragments(data, tuple(phase for one in group for phase in one.phases))


def _called(function: Callable[..., Tensor], inputs: Sequence[int], values: _Values) -> _Fragments:
    """Call a function on the fragments of all its inputs, in the order of the first's."""
    data, phases = values[inputs[0]]
    others = [_in_order(values[value], phases) for value in inputs[1:]]
    return _Fragments(function(data, *others), phases)


def _in_order(value: _Fragments, phases: tuple[Phase, ...]) -> Tensor:
    if value.phases == phases:
        return value.data
    places = [value.phases.index(phase) for phase in phases]
    return torch.unflatten(value.data, 0, (len(phases), -1))[places].flatten(0, 1)


def _joined(data: Tensor, phases: Sequence[Phase], grid: Grid, positions: Sequence[int]) -> Tensor:
    """Join the answers of all fragments, ``(fragments × N × places, K)``, to one."""
    dims, sizes = len(positions), grid.sizes(positions)
    order = sorted(range(len(phases)), key=lambda place: phases[place])
    parted = data.view(len(phases), -1, *sizes, data.shape[-1])[order]
    parted = torch.unflatten(parted, 0, grid.fragments)  # (*fragments, N, *sizes, K)
    axes = [axis for i in range(dims) for axis in (dims + 1 + i, i)]
    joined = parted.permute(dims, -1, *axes)
    return joined.reshape(*joined.shape[:2], *positions)
