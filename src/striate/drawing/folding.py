"""Repeats found from the structure of a network, so that 152 layers fit a page."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from striate.drawing.steps import Step, spaced

MOST_BOXES = 64  # without folding
_MOST_SKIPS = 24  # edges of a block beyond one for each step; more could not be told apart
_MOST_IN_A_BLOCK = 16  # steps between two places that all paths go through
_MOST_FOLDED = 160  # boxes; beyond, repeats that differ in their channels are folded too
_LONGEST_PERIOD = 12


@dataclass(frozen=True)
class Fold:
    """A stretch of a network that is drawn once.

    Attributes:
        drawn: Numbers of the steps that are drawn; those of the first repeat.
        steps: Numbers of all steps that it stands for.
        times: How often the drawn steps come, one after the other.
        alike: Whether the repeats are equal, and do not only have the same form.
        summary: For what is too tangled to be drawn: what it consists of. Then ``drawn`` is
            empty.
    """

    drawn: tuple[int, ...]
    steps: tuple[int, ...]
    times: int = 1
    alike: bool = True
    summary: tuple[str, ...] = ()

    @property
    def boxes(self) -> int:
        """Count what has to be drawn."""
        return len(self.drawn) or 1


def folded(steps: Sequence[Step]) -> tuple[Fold, ...]:
    """Cut a network where all its paths meet, and fold equal neighbours.

    Up to 64 steps nothing is folded. Beyond, equal blocks in a row are drawn once and counted;
    beyond 160 boxes also those that differ only in their numbers of channels. A block with more
    edges than can be told apart is summed up.

    Args:
        steps: Of a network.

    Returns:
        Stretches that follow one another; every step is in one of them.

    Example:
        >>> from torch import nn
        >>> from striate.drawing.steps import steps
        >>> from striate.tracing import trace
        >>> layers = [nn.Conv1d(2, 2, 1) for _ in range(80)]
        >>> network = nn.Sequential(nn.Conv1d(1, 2, 1), *layers)
        >>> [(fold.drawn, fold.times) for fold in folded(steps(trace(network, (1, 9))))]
        [((0,), 1), ((1,), 1), ((2,), 80)]
    """
    blocks = cut(steps)
    skips = [sum(len(steps[i].inputs) - 1 for i in block) > _MOST_SKIPS for block in blocks]
    if len(steps) <= MOST_BOXES:
        return tuple(
            Fold((), block, summary=summarized(steps, block)) if tangled else Fold(block, block)
            for block, tangled in zip(blocks, skips, strict=True)
        )
    tangled = [
        many or len(block) > _MOST_IN_A_BLOCK for block, many in zip(blocks, skips, strict=True)
    ]
    exact = _fold(steps, blocks, tangled, alike=True)
    if sum(fold.boxes for fold in exact) <= _MOST_FOLDED:
        return exact
    similar = _fold(steps, blocks, tangled, alike=False)
    if sum(fold.boxes for fold in similar) <= _MOST_FOLDED:
        return similar
    return _fold(steps, blocks, [len(block) > 1 for block in blocks], alike=False)


def cut(steps: Sequence[Step]) -> tuple[tuple[int, ...], ...]:
    """Cut behind every step that all paths go through; such a step ends its block."""
    blocks: list[tuple[int, ...]] = []
    block: list[int] = []
    furthest = [0] * len(steps)  # for each step, the last one that reads it
    for i, step in enumerate(steps):
        for source in step.inputs:
            furthest[source] = i
    reach = 0
    for i in range(len(steps)):
        block.append(i)
        if reach <= i:
            blocks.append(tuple(block))
            block = []
        reach = max(reach, furthest[i])
    return (*blocks, tuple(block)) if block else tuple(blocks)


def _fold(
    steps: Sequence[Step],
    blocks: Sequence[tuple[int, ...]],
    tangled: Sequence[bool],
    *,
    alike: bool,
) -> tuple[Fold, ...]:
    marks = [
        (_mark(steps, block, alike=alike), is_tangled)
        for block, is_tangled in zip(blocks, tangled, strict=True)
    ]
    folds: list[Fold] = []
    start = 0
    for period, times in _repeats(marks, [len(block) for block in blocks]):
        part = blocks[start : start + period * times]
        drawn = tuple(i for block in part[:period] for i in block)
        everything = tuple(i for block in part for i in block)
        if any(tangled[start : start + period]):
            folds.append(Fold((), everything, 1, alike, summarized(steps, everything)))
        elif times == 2 and len(drawn) == 1:
            folds += [Fold(block, block) for block in part]
        else:
            folds.append(Fold(drawn, everything, times, alike))
        start += period * times
    return tuple(folds)


def _mark(steps: Sequence[Step], block: tuple[int, ...], *, alike: bool) -> Hashable:
    """Give what two blocks that are to be folded must have in common."""
    first = block[0]
    marks: list[Hashable] = []
    for i in block:
        step = steps[i]
        wiring = tuple(max(source - first, -1) for source in step.inputs)
        form = (form_of(step), step.before, step.after, wiring)
        marks.append((*form, step.shape, step.window, step.parameters) if alike else form)
    return tuple(marks)


def form_of(step: Step) -> str:
    """Say what a step is, whatever its number of channels."""
    kernel = (
        "×".join(map(str, step.window.kernel)) if step.window and step.kind in _WINDOWED else ""
    )
    name = step.kind
    if step.kind in ("light", "other"):
        name = ", ".join(step.after) or spaced(step.label)
    return f"{kernel} {name}".strip()


_WINDOWED = ("convolution", "transposed convolution")


def _repeats(marks: Sequence[Hashable], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Find, from the front, what repeats: (length of a period, number of repeats)."""
    found = []
    start = 0
    while start < len(marks):
        best = (0, 1, 1)  # boxes saved, period, repeats
        for period in range(1, min(_LONGEST_PERIOD, (len(marks) - start) // 2) + 1):
            times, size = 1, sum(sizes[start : start + period])
            while (
                marks[start : start + period]
                == marks[start + times * period : start + (times + 1) * period]
            ):
                times += 1
            saved = size * (times - 1)
            if saved > best[0]:
                best = (saved, period, times)
        found.append(best[1:])
        start += best[1] * best[2]
    return found


def summarized(steps: Sequence[Step], numbers: Sequence[int]) -> tuple[str, ...]:
    """Say in a few lines what a tangled stretch consists of.

    Returns:
        Its period, if it has one, or its commonest steps, and how many of each.
    """
    forms = [form_of(steps[i]) for i in numbers]
    lines = []
    start = 0
    for period, times in _repeats(forms, [1] * len(forms)):
        lines.append((times, " → ".join(forms[start : start + period])))
        start += period * times
    if len(lines) <= 6:
        return tuple(f"{times} × ({text})" if times > 1 else text for times, text in lines)
    counts = Counter(forms).most_common(6)
    rest = len(forms) - sum(count for _, count in counts)
    told = [f"{count} × {form}" for form, count in counts]
    return (*told, f"{rest} more") if rest else tuple(told)
