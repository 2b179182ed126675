"""Options that several commands share, and how they print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from striate.file_data import Reading

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

Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        metavar="N",
        help="Images in files: processes that decode and prepare them; as many as processors by "
        "default, 0 for none. The result is the same.",
    ),
]
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Images in files: where they are kept, decoded and reduced, for later epochs and "
        "runs; off decodes them every time. STRIATE_CACHE or the user's cache folder by default.",
    ),
]

NUMERIC = (
    *("classes", "examples", "correct", "precision", "recall", "F1"),
    *("Dice", "IoU", "HD95", "surface Dice", "value", "threshold"),
)


def chosen_reading(workers: int | None, cache: str | None) -> "Reading | None":
    """Say how images in files are to be read, from what was typed; None where nothing was."""
    if workers is None and cache is None:
        return None
    from striate.file_data import default_reading

    reading = default_reading()
    if workers is not None:
        reading = reading._replace(workers=workers)
    if cache is not None:
        reading = reading._replace(cache=None if cache == "off" else Path(cache).expanduser())
    return reading


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
