"""A trace as a table, on the terminal and in Markdown."""

import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from rich.console import Console, ConsoleOptions
from rich.text import Text

from striate.tracing import Layer, Trace
from striate.tracing.sizes import LegalSizes

_GAP = "  "

DEFINITIONS = (
    "Parameters: trainable values, those of a shared layer once. "
    "Connections: inputs multiplied by a weight, plus one for each bias. "
    "Multiply-adds: products alone. Field: input pixels that a unit depends on, padding among "
    "them. Connections, multiply-adds and memory are those of one example."
)


@dataclass(frozen=True)
class Description:
    """A trace laid out for a terminal of 80 columns or more; rich prints it.

    Layers of one block stand under its name. Blocks that follow one another and count the same
    are folded into one, with the sums of their counts and the field of the last. Layers that
    neither count anything nor change the shape or the receptive field (activations, dropout)
    are left out; the lines below say how many. From 10^12 on, connections and multiply-adds are
    given in millions, marked M. The sums that layers are missing from, because they could not be
    followed, are marked ≥.

    Attributes:
        trace: Of the network.
        name: How the network is called.
        folded: Whether blocks alike are folded.
        sizes: The input sizes that the network accepts, to be told below.

    Example:
        >>> from rich.console import Console
        >>> from torch import nn
        >>> from striate.tracing import trace
        >>> network = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.MaxPool2d(2))
        >>> Console(width=80).print(Description(trace(network, (1, 28, 28)), "small"))
        small, input 1×28×28
        <BLANKLINE>
        layer         output  field  parameters  connections  mult-adds
        ───────────────────────────────────────────────────────────────
        0 Conv2d     6×24×24      5         156       89,856     86,400
        2 MaxPool2d  6×12×12      6           –            –          –
        ───────────────────────────────────────────────────────────────
        total                               156       89,856     86,400
        <BLANKLINE>
        Parameters: trainable values, ...
    """

    trace: Trace
    name: str
    folded: bool = True
    sizes: LegalSizes | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Give the lines (called by rich)."""
        trace = self.trace
        shown = _telling_layers(trace)
        sections = _sections(shown, folded=self.folded)
        # Twelve digits and their commas are the most that 80 columns hold twice.
        in_millions = max(trace.connections, trace.multiply_adds) >= 10**12
        write = _millions if in_millions else _number
        mark = "M " if in_millions else ""
        head = ("output", "field", "parameters", f"{mark}connections", f"{mark}mult-adds")
        totals = (trace.connections, trace.multiply_adds)
        least = _least(trace)
        sums = (f"{least}{write(n) if n or not least else 0}" for n in totals)
        foot = ("", "", f"{trace.parameters:,}", *sums)
        body = [
            (row.name, row.kind, (*row.looks, _number(row.counts[0]), *map(write, row.counts[1:])))
            for section in sections
            for row in section.rows
        ]
        widths = [
            max(map(len, column)) for column in zip(head, foot, *(b[2] for b in body), strict=True)
        ]
        longest = max((len(f"{name} {kind}".rstrip()) for name, kind, _ in body), default=0)
        room = options.max_width - sum(widths) - len(_GAP) * len(widths)
        first = max(min(longest, room), len("total"))
        rule = Text("─" * (first + sum(widths) + len(_GAP) * len(widths)), "dim")

        def line(name: Text, cells: Sequence[str]) -> Iterator[Text]:
            numbers = "".join(f"{_GAP}{c:>{w}}" for c, w in zip(cells, widths, strict=True))
            for number, part in enumerate(_wrapped(name, first)):
                part.pad_right(first - len(part))
                yield part if number else part + Text(numbers)

        yield Text(f"{self.name}, input {_by(trace.input_shape)}\n", "bold")
        yield from line(Text("layer"), head)
        yield rule
        rows = iter(body)
        for section in sections:
            if section.heading:
                yield Text(section.heading, "bold")
            for name, kind, cells in itertools.islice(rows, len(section.rows)):
                yield from line(Text.assemble(name, (f" {kind}".rstrip(), "dim")), cells)
        yield rule
        yield from line(Text("total", "bold"), foot)
        yield Text()
        hidden = len(trace.layers) - len(shown)
        folded = any(section.heading.endswith(" alike") for section in sections)
        yield Text(_caption(trace, hidden, self.sizes, folded=folded))


def to_markdown(trace: Trace, *, sizes: LegalSizes | None = None) -> str:
    """Write every layer of a trace as a Markdown table, with totals and definitions.

    Example:
        >>> from torch import nn
        >>> from striate.tracing import trace
        >>> print(to_markdown(trace(nn.Conv2d(1, 6, 5), (1, 32, 32))))
        | layer | kind | output | field | parameters | connections | multiply-adds |
        |:--|:--|--:|--:|--:|--:|--:|
        | `Conv2d` | Conv2d | 6×28×28 | 5 | 156 | 122,304 | 117,600 |
        | **total** |  |  |  | **156** | **122,304** | **117,600** |
        <BLANKLINE>
        Parameters: trainable values, those of a shared layer once. Connections: inputs ...
    """
    lines = [
        "| layer | kind | output | field | parameters | connections | multiply-adds |",
        "|:--|:--|--:|--:|--:|--:|--:|",
    ]
    for layer in trace.layers:
        cells = (f"`{layer.name}`", layer.kind, _by(layer.output_shape))
        numbers = (f"{n:,}" for n in _counts(layer))
        lines.append(_row(*cells, _field(layer.receptive_field), *numbers))
    least, totals = _least(trace), (trace.connections, trace.multiply_adds)
    counts = (f"**{least}{n:,}**" for n in totals)
    lines.append(_row("**total**", "", "", "", f"**{trace.parameters:,}**", *counts))
    return "\n".join((*lines, "", _caption(trace, 0, sizes)))


class _Row(NamedTuple):
    """One layer, or one of each of the blocks alike."""

    name: str
    kind: str
    looks: tuple[str, str]
    counts: tuple[int, ...]


class _Section(NamedTuple):
    """Rows under the name of their block."""

    heading: str
    rows: list[_Row]


def _wrapped(name: Text, width: int) -> Iterator[Text]:
    """Cut a name before its kind, or where it must be."""
    indent = len(name.plain) - len(name.plain.lstrip())
    while len(name) > width:
        space = name.plain.rfind(" ", 0, width + 1)
        cut = space if space > indent else width
        yield name[:cut]
        name = Text(" " * indent) + name[cut + (cut == space) :]
    yield name


def _sections(layers: Sequence[Layer], *, folded: bool) -> list[_Section]:
    """Put layers under the names of their blocks; fold blocks alike."""
    sections: list[_Section] = []
    _fill(sections, layers, 0, folded=folded)
    return sections


def _fill(sections: list[_Section], layers: Sequence[Layer], depth: int, *, folded: bool) -> None:
    """Add the layers below one path of ``depth`` names, in their order."""
    units = [tuple(unit) for _, unit in groupby(layers, key=lambda layer: _path(layer, depth + 1))]
    for _, group in groupby(units, key=lambda unit: _mark(unit, depth + 1)):
        alike = list(group)
        first, last = alike[0][0], alike[-1][0]
        if len(alike[0]) == 1 or len(_path(first, depth + 2)) == depth + 1:  # not blocks of layers
            heading = ".".join(_path(first, depth))
            if not sections or sections[-1].heading != heading:
                sections.append(_Section(heading, []))
            sections[-1].rows.extend(_row_of(unit, depth) for unit in alike)
        elif folded and len(alike) > 1:
            ends = f"{'.'.join(_path(first, depth + 1))} … {'.'.join(_path(last, depth + 1))}"
            rows = [_row_of(row, depth + 1) for row in zip(*alike, strict=True)]
            sections.append(_Section(f"{ends}, {len(alike)} alike", rows))
        else:
            for unit in alike:
                _fill(sections, unit, depth + 1, folded=folded)


def _row_of(alike: Sequence[Layer], depth: int) -> _Row:
    layer = alike[-1]
    own = _below(alike[0], depth)
    return _Row(
        name=f"  {own}" if depth else own,
        kind="" if own.startswith(layer.kind) else layer.kind,
        looks=(_by(layer.output_shape), _field(layer.receptive_field)),
        counts=tuple(sum(each) for each in zip(*map(_counts, alike), strict=True)),
    )


def _path(layer: Layer, depth: int) -> list[str]:
    return layer.name.split(".")[:depth]


def _below(layer: Layer, depth: int) -> str:
    return ".".join(layer.name.split(".")[depth:])


def _mark(unit: Sequence[Layer], depth: int) -> list[Hashable]:
    """Give what blocks alike have in common; single layers have nothing, and are not folded."""
    return [
        (_below(layer, depth), layer.kind, layer.output_shape, _counts(layer)) for layer in unit
    ]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _telling_layers(trace: Trace) -> list[Layer]:
    """Leave out the layers that count nothing and look like the one before."""
    shown: list[Layer] = []
    before: tuple[Sequence[int], Sequence[int]] = (trace.input_shape, ())
    for layer in trace.layers:
        looks = (layer.output_shape, layer.receptive_field)
        if any(_counts(layer)) or looks != before:
            shown.append(layer)
        before = looks
    return shown


def _counts(layer: Layer) -> tuple[int, int, int]:
    return layer.parameters, layer.connections, layer.multiply_adds


def _caption(
    trace: Trace, hidden: int, sizes: LegalSizes | None = None, *, folded: bool = False
) -> str:
    lines = [
        DEFINITIONS,
        f"Memory: {_bytes(trace.training_bytes)} of maps kept for the way back in training, at "
        f"most {_bytes(trace.inference_bytes)} of maps at once in evaluation; weights not among "
        "them.",
    ]
    if sizes is not None:
        lines.append(f"Input sizes, of the sides 1 to {sizes.most}: {sizes}.")
    if trace.unused:
        count = sum(trace.unused.values())
        lines.append(f"Not used in evaluation: {', '.join(trace.unused)} ({count:,} parameters).")
    if trace.position_dependent:
        names = ", ".join(trace.position_dependent)
        lines.append(f"Tell places of the input apart, or may: {names}.")
    if trace.cut:
        lines.append(f"Leave rows or columns at the far end unread: layers {', '.join(trace.cut)}.")
    if folded:
        lines.append("Blocks alike: the sums of their counts, the field of the last.")
    if hidden:
        lines.append(f"Not shown: {hidden:,} layers that count nothing and change no shape.")
    if trace.unknown:
        lines.append(
            f"Could not be followed, and not counted: {', '.join(trace.unknown)}. "
            "Connections and multiply-adds are therefore at least (≥) these."
        )
    return "\n".join(lines)


def _least(trace: Trace) -> str:
    """Give what marks a sum that layers are missing from."""
    return "≥ " if trace.unknown else ""


def _bytes(count: int) -> str:
    """Give a size with three digits, in powers of 1,000."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _by(numbers: Sequence[int]) -> str:
    return "×".join(map(str, numbers))


def _field(numbers: Sequence[int]) -> str:
    return _by(numbers) if len(set(numbers)) > 1 else f"{numbers[0]:,}"


def _number(count: int) -> str:
    return f"{count:,}" if count else "–"


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f}" if count else "–"
