"""A trace as a drawing: blocks of maps, the graph of layers, or the U of a U-Net."""

from striate.drawing.blocks import draw_blocks, is_chain
from striate.drawing.graph import draw_graph
from striate.drawing.steps import steps
from striate.drawing.svg import Picture, check_theme
from striate.tracing import Trace


def draw(trace: Trace, title: str, style: str | None = None, *, theme: str = "auto") -> str:
    """Draw."""
    check_theme(theme)
    picture = Picture()
    found = steps(trace)
    if style == "graph" or not is_chain(found):
        draw_graph(picture, trace, found, title)
    else:
        draw_blocks(picture, trace, found, title)
    return picture.finish(title, theme=theme)
