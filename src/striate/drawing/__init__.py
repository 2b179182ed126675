"""A trace as a drawing: blocks of maps, the graph of layers, or the U of a U-Net."""

from striate.drawing.blocks import draw_blocks, is_chain, runs
from striate.drawing.graph import draw_graph
from striate.drawing.steps import steps
from striate.drawing.svg import THEMES, Picture
from striate.drawing.ushape import draw_u, find_u
from striate.errors import UsageError, did_you_mean
from striate.tracing import Trace

STYLES = ("blocks", "graph", "u")
_MOST_BLOCKS = 30  # runs of equal layers; with more, the graph is easier to read


def draw(trace: Trace, title: str, *, style: str | None = None, theme: str = "auto") -> str:
    """Draw a network as the papers draw theirs.

    Layers that follow one another without branching are blocks of maps, as in the figures of
    LeNet-5 and AlexNet; a network that goes down in resolution and up again, with copies
    across, is a U; any other is a graph of layers, as in the figures of GoogLeNet and ResNet.
    What repeats is drawn once and counted where the drawing would be large.

    Args:
        trace: Of the network.
        title: Any text; cut at 60 characters in the drawing.
        style: "blocks", "graph" or "u"; chosen by the network if None.
        theme: "auto" follows the reader's choice of light or dark; "light" and "dark" do not.

    Returns:
        An SVG file whose text is text. The same trace gives the same bytes.

    Raises:
        UsageError: The style or the theme does not exist, or the network has not the form that
            the style shows.

    Example:
        >>> from torch import nn
        >>> from striate.tracing import trace
        >>> network = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.MaxPool2d(2))
        >>> svg = draw(trace(network, (1, 28, 28)), "small")
        >>> "6@24×24" in svg, "convolutions" in svg
        (True, True)
    """
    if theme not in THEMES:
        raise UsageError(f"theme is {theme!r}; {did_you_mean(theme, THEMES)}")
    if style is not None and style not in STYLES:
        raise UsageError(f"style is {style!r}; {did_you_mean(style, STYLES)}")
    picture, found = Picture(), steps(trace)
    u = find_u(found)
    if style is None:
        fits = is_chain(found) and len(runs(found)) <= _MOST_BLOCKS
        style = "u" if u else "blocks" if fits else "graph"
    if style == "u":
        if u is None:
            raise UsageError(
                "the network is no U: it needs to go down in resolution, up again, and to join "
                "what it made on the way down; take the style graph"
            )
        draw_u(picture, trace, found, u, title)
    elif style == "blocks":
        branch = next((s.name for i, s in enumerate(found[1:]) if s.inputs != (i,)), None)
        if branch is not None:
            raise UsageError(
                f"blocks of maps show layers in a row, and {branch} does not read the one before "
                "it alone; take the style graph"
            )
        draw_blocks(picture, trace, found, title)
    else:
        draw_graph(picture, trace, found, title)
    return picture.finish(" ".join(title.split()), theme=theme)
