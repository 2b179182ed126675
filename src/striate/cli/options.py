"""Options that several commands share, and how they print."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON for a program to read.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder in which named data sets are looked for first."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="cpu, cuda, or auto for the GPU where there is one."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="Threads to compute with; 1 where other work keeps the processors busy.",
    ),
]

NUMERIC = (
    *("classes", "examples", "correct", "precision", "recall", "F1"),
    *("Dice", "IoU", "HD95", "surface Dice", "value", "threshold"),
)


def print_rich(renderable: Any) -> None:
    """Print a table on stdout, as wide as the terminal."""
    from rich.console import Console

    Console().print(renderable)


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under a header, numbers to the right; names that are typed stay whole."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        numeric = name.split(" (")[0] in NUMERIC
        table.add_column(
            name,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=name in ("network", "set"),
        )
    for row in rows:
        table.add_row(*row)
    print_rich(table)
