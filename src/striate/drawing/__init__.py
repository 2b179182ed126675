"""A trace as a drawing: blocks of maps, the graph of layers, or the U of a U-Net."""

from striate.drawing.graph import draw_graph
from striate.drawing.steps import steps
from striate.drawing.svg import Picture, check_theme
from striate.tracing import Trace


def draw(trace: Trace, title: str, style: str | None = None, *, theme: str = "auto") -> str:
    """Draw."""
    check_theme(theme)
    picture = Picture()
    draw_graph(picture, trace, steps(trace), title)
    return picture.finish(title, theme=theme)
