"""`striate draw`: a network as an SVG file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from striate.cli.networks import Input, NetworkArgument, typed_network
from striate.errors import UsageError


def draw(
    network: NetworkArgument,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Write FILE.svg.")],
    input_shape: Input = None,
    style: Annotated[
        str | None,
        typer.Option("--style", metavar="NAME", help="blocks, graph or u; by default what fits."),
    ] = None,
    theme: Annotated[
        str,
        typer.Option(
            "--theme", metavar="NAME", help="light, dark, or auto for what the reader prefers."
        ),
    ] = "auto",
) -> None:
    """Draw a network as the papers draw theirs: blocks of maps, a graph of layers, a U."""
    if out.suffix != ".svg":
        raise UsageError(f"{out} is not .svg, and the drawing is; name the file so")
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is not a folder; make it first, or write elsewhere")
    from striate.drawing import draw as draw_trace
    from striate.files import write_file

    typed = typed_network(network, input_shape)
    write_file(out, draw_trace(typed.trace(), typed.name, style=style, theme=theme))
    print(f"{typed.name} drawn in {out}", file=sys.stderr)
