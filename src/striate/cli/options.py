"""Options that several commands share, and how they print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import striate
from striate.errors import UsageError
from striate.models import find_network

if TYPE_CHECKING:
    from torch import nn

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder in which named data sets are looked for first."),
]
Device = Annotated[
    str, typer.Option("--device", help="cpu, cuda, or auto for the GPU where there is one.")
]

Input = Annotated[
    str | None, typer.Option("--input", help="Channels, height and width, as 1x32x32.")
]


def built_network(
    network: str, input_shape: str | None
) -> tuple["nn.Module", tuple[int, ...], str]:
    """Build what a person typed, a name or a run folder; give its input shape and its name."""
    shape: tuple[int, ...]
    is_run = (Path(network) / "recipe.yaml").exists()
    if is_run:
        run = striate.Run(network)
        built, name = run.network(), run.recipe.network
        shape = (run.spec.channels, *run.spec.input_size)
    else:
        shape, name = find_network(network).input_shape, network
    if input_shape is not None:
        shape = _shape(input_shape)
    if not is_run:
        built = striate.build(network, in_channels=shape[0])
    return built, shape, name


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(side) for side in text.lower().replace("×", "x").split("x"))
    except ValueError:
        shape = ()
    if len(shape) < 2 or min(shape) < 1:
        raise UsageError(f"--input is {text!r}; write channels, height and width as 3x224x224")
    return shape


def print_rich(renderable: Any) -> None:
    """Print a table on stdout, as wide as the terminal."""
    from rich.console import Console

    Console().print(renderable)


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under a header, numbers to the right; names that are typed stay whole."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        numeric = name in ("classes", "examples", "correct", "precision", "recall", "F1")
        table.add_column(
            name,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=name in ("network", "set"),
        )
    for row in rows:
        table.add_row(*row)
    print_rich(table)
