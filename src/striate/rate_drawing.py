"""The curve of the learning-rate finder as a drawing."""

import math
from collections.abc import Sequence
from html import escape
from statistics import median

from striate.lettering import legal

_LEFT, _TOP, _WIDTH, _HEIGHT = 64, 64, 560, 260  # of the panel [units of the view box]

_STYLE = """.finder { font-family: system-ui, "DejaVu Sans", sans-serif; font-size: 13px }
.finder .paper { fill: #ffffff } .finder text { fill: #57606a } .finder .title { fill: #1c2128 }
.finder .grid { stroke: #e3e7ec } .finder .raw { stroke: #8c959f; opacity: .5 }
.finder .smooth { stroke: #2f6fd0 } .finder .mark { stroke: #b4400a }
@media (prefers-color-scheme: dark) {
.finder .paper { fill: #15181d } .finder text { fill: #a3acb8 } .finder .title { fill: #e6e9ee }
.finder .grid { stroke: #2a3038 } .finder .smooth { stroke: #74a9ff }
.finder .mark { stroke: #ffa05c } }"""


def rate_curve(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    marks: dict[str, float],
    *,
    title: str,
) -> str:
    """Draw the loss over the logarithm of the rate.

    Args:
        rates: Rising.
        losses: One each.
        smoothed: One each, the line that is read.
        marks: Rates to be marked, by what they are.
        title: Any text.

    Returns:
        An SVG, light or dark as the reader chooses.
    """
    low, high = math.log10(rates[0]), math.log10(rates[-1])
    # What explodes is cut: its losses would flatten the rest.
    top = 1.2 * max(smoothed[0], median(smoothed))
    bottom = min(0.0, min(smoothed))

    def place(rate: float, loss: float) -> tuple[float, float]:
        x = _LEFT + _WIDTH * (math.log10(rate) - low) / (high - low)
        share = (min(loss, top) - bottom) / (top - bottom or 1)
        return x, _TOP + _HEIGHT * (1 - share)

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" class="finder" viewBox="0 0 660 384" role="img">',
        f"<title>{escape(legal(title))}</title><style>{_STYLE}</style>",
        '<rect class="paper" width="660" height="384"/>',
        f'<text class="title" x="24" y="32" font-size="17">{escape(legal(title))}</text>',
    ]
    for k in range(5):
        y = _TOP + _HEIGHT * k / 4
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}h{_WIDTH}"/><text x="{_LEFT - 8}" '
            f'y="{y + 4:.1f}" text-anchor="end">{top + (bottom - top) * k / 4:.3g}</text>'
        )
    for decade in range(math.ceil(low), math.floor(high) + 1):
        x = _LEFT + _WIDTH * (decade - low) / (high - low)
        parts.append(
            f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 20}" text-anchor="middle">1e{decade}</text>'
        )
    for kind, values in (("raw", losses), ("smooth", smoothed)):
        points = " ".join(
            "{:.1f},{:.1f}".format(*place(rate, loss))
            for rate, loss in zip(rates, values, strict=True)
        )
        parts.append(f'<polyline class="{kind}" points="{points}" fill="none" stroke-width="2"/>')
    for line, (name, rate) in enumerate(marks.items()):
        if rates[0] <= rate <= rates[-1]:
            x, _ = place(rate, top)
            side, anchor = (-5, "end") if x > _LEFT + _WIDTH / 2 else (5, "start")
            parts.append(
                f'<path class="mark" d="M{x:.1f} {_TOP}v{_HEIGHT}" stroke-dasharray="4 4"/>'
                f'<text x="{x + side:.1f}" y="{_TOP + 14 + 17 * line}" '
                f'text-anchor="{anchor}">{name} {rate:.2g}</text>'
            )
    parts.append(
        f'<text x="{_LEFT + _WIDTH}" y="{_TOP + _HEIGHT + 44}" text-anchor="end">learning rate'
        "</text></svg>\n"
    )
    return "\n".join(parts)
