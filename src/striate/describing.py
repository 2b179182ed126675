"""A trace as a table, on the terminal and in Markdown."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from striate.tracing import Layer, Trace

DEFINITIONS = (
    "Connections: inputs multiplied by a weight, plus one for each bias. "
    "Multiply-adds: products alone. Both for one example."
)


def describe_table(trace: Trace, name: str) -> Table:
    """Lay a trace out for a terminal of 80 columns or more.

    Layers of one block stand under its name. Layers that neither count anything nor change
    the shape or the receptive field (activations, dropout) are left out; the caption says
    how many. From 10^12 on, connections and multiply-adds are given in millions, marked M.

    Args:
        trace: Of the network.
        name: How the network is called.

    Returns:
        A table for ``rich.print``.

    Example:
        >>> from rich.console import Console
        >>> from torch import nn
        >>> from striate.tracing import trace
        >>> network = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.MaxPool2d(2))
        >>> Console(width=80).print(describe_table(trace(network, (1, 28, 28)), "small"))
        small, input 1×28×28
        <BLANKLINE>
        layer                           output  field  parameters  connections  mult-adds
        ...
        0 Conv2d                       6×24×24      5         156       89,856     86,400
        2 MaxPool2d                    6×12×12      6           –            –          –
        ...
    """
    shown = _telling_layers(trace)
    table = Table(
        title=f"{name}, input {_by(trace.input_shape)}",
        title_justify="left",
        title_style="bold",
        caption=_caption(trace, len(trace.layers) - len(shown)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=True,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("layer", "total", overflow="fold", ratio=1)
    table.add_column("output", "", justify="right", no_wrap=True)
    table.add_column("field", "", justify="right", no_wrap=True)
    # Twelve digits and their commas are the most that 80 columns hold twice.
    in_millions = max(trace.connections, trace.multiply_adds) >= 10**12
    write = _millions if in_millions else _number
    heads = ("M connections", "M mult-adds") if in_millions else ("connections", "mult-adds")
    table.add_column("parameters", f"{trace.parameters:,}", justify="right", no_wrap=True)
    for heading, total in zip(heads, (trace.connections, trace.multiply_adds), strict=True):
        table.add_column(heading, write(total), justify="right", no_wrap=True)
    above = ""
    for layer in shown:
        path, _, own = layer.name.rpartition(".")
        if path != above:
            table.add_row(Text(path, "bold"))
            above = path
        indent = "  " if path else ""
        kind = "" if own.startswith(layer.kind) else layer.kind
        table.add_row(
            Text.assemble(indent, own, " ", (kind, "dim")),
            _by(layer.output_shape),
            _field(layer.receptive_field),
            _number(layer.parameters),
            write(layer.connections),
            write(layer.multiply_adds),
        )
    return table


def to_markdown(trace: Trace) -> str:
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
        Connections: inputs multiplied by a weight, plus one for each bias. Multiply-adds: ...
    """
    lines = [
        "| layer | kind | output | field | parameters | connections | multiply-adds |",
        "|:--|:--|--:|--:|--:|--:|--:|",
    ]
    for layer in trace.layers:
        cells = (f"`{layer.name}`", layer.kind, _by(layer.output_shape))
        numbers = (f"{n:,}" for n in _counts(layer))
        lines.append(_row(*cells, _field(layer.receptive_field), *numbers))
    totals = (trace.parameters, trace.connections, trace.multiply_adds)
    lines.append(_row("**total**", "", "", "", *(f"**{n:,}**" for n in totals)))
    return "\n".join((*lines, "", _caption(trace, hidden=0)))


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


def _caption(trace: Trace, hidden: int) -> str:
    lines = [DEFINITIONS]
    if hidden:
        lines.append(f"Not shown: {hidden:,} layers that count nothing and change no shape.")
    if trace.unknown:
        lines.append(f"Could not be followed, and not counted: {', '.join(trace.unknown)}.")
    return "\n".join(lines)


def _by(numbers: Sequence[int]) -> str:
    return "×".join(map(str, numbers))


def _field(numbers: Sequence[int]) -> str:
    return _by(numbers) if len(set(numbers)) > 1 else f"{numbers[0]:,}"


def _number(count: int) -> str:
    return f"{count:,}" if count else "–"


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f}" if count else "–"
