"""The progress of a run as a drawing: loss and error rate from epoch to epoch.

It is drawn after every epoch, so it is our own SVG, made in a few milliseconds; importing
matplotlib alone takes seconds.
"""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

from striate.lettering import legal, shorten

Row = Mapping[str, float | None]
Point = tuple[float, float]

_TOP, _HEIGHT, _WIDTH = 108, 226, 384  # of a panel [units of the view box]
_LEFT_OF_LOSS, _LEFT_OF_ERROR = 60, 552
_MOST_POINTS = 400  # about one for each unit of a panel's width; more would not be seen
_MOST_DOTS = 12
_MOST_LINEAR_DECADES = 1.5
_FLOAT32_MAX = 3.4e38

# What each class of elements is painted with: property, colour on light, colour on dark.
_PAINT = (
    ("paper", "fill", "#ffffff", "#15181d"),
    ("ink", "fill", "#1c2128", "#e6e9ee"),
    ("quiet", "fill", "#57606a", "#a3acb8"),
    ("best", "fill", "#b4400a", "#ffa05c"),
    ("grid", "stroke", "#e3e7ec", "#2a3038"),
    ("axis", "stroke", "#8c959f", "#6b7480"),
    ("train", "stroke", "#2f6fd0", "#74a9ff"),
    ("validation", "stroke", "#b4400a", "#ffa05c"),
    ("dice", "stroke", "#0a7a53", "#5fd3a4"),
    ("dot.train", "fill", "#2f6fd0", "#74a9ff"),
    ("dot.validation", "fill", "#b4400a", "#ffa05c"),
    ("dot.dice", "fill", "#0a7a53", "#5fd3a4"),
    ("halo", "stroke", "#ffffff", "#15181d"),
)


class _Axis(NamedTuple):
    """From values to shares of a panel's side: 0 at ``low``, 1 at ``high``."""

    low: float
    high: float
    ticks: list[float]
    log: bool = False

    def share(self, value: float) -> float:
        if self.log:
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)


def curves(rows: Sequence[Row], *, title: str) -> str:
    """Draw how loss and error rate went from epoch to epoch.

    The earliest epoch with the lowest validation error is marked; where there is a Dice
    coefficient, that with the highest, and one minus it is drawn beside the error rates.
    Values that are absent, NaN or infinite are left out, and the line goes on from the value
    before to the one after. An axis is logarithmic if all its values are above 0 and the
    largest is more than 1.5 decades above the smallest. Lines of more than 400 points are
    thinned to what can be seen; their peaks, troughs and ends stay.

    Args:
        rows: One for each epoch, in order, with ``epoch`` and, where they exist,
            ``train_loss``, ``validation_loss``, ``train_error`` and ``validation_error``
            (fractions, 0 to 1), ``validation_dice``, ``learning_rate`` and ``seconds`` (since
            the start).
        title: Any text; cut at 90 characters in the drawing.

    Returns:
        An SVG file that scales, and follows the reader's choice of light or dark.

    Example:
        >>> svg = curves([{"epoch": 1, "train_loss": 2.3, "train_error": 0.9}], title="lenet5")
        >>> svg[:4], "validation" in svg.partition("</style>")[2]
        ('<svg', False)
    """
    title = legal(title)
    losses = {kind: _points(rows, f"{kind}_loss") for kind in ("train", "validation")}
    errors = {kind: _points(rows, f"{kind}_error", 100) for kind in ("train", "validation")}
    dices = _points(rows, "validation_dice", 100)
    errors["dice"] = [(epoch, 100 - dice) for epoch, dice in dices]
    epochs = [epoch for epoch, _ in _points(rows, "epoch")]
    across = _epoch_axis(epochs)
    # Among equal errors the lowest loss, as training chooses the weights it keeps.
    loss_at = dict(losses["validation"])
    best = min(
        errors["dice"] or errors["validation"],
        key=lambda point: (point[1], loss_at.get(point[0], math.inf)),
        default=None,
    )
    facts = [f"{len(epochs)} epoch" + "s" * (len(epochs) != 1)]
    times = [seconds for _, seconds in _points(rows, "seconds")]
    if times:
        facts[0] += f" in {times[-1]:.0f} s" if times[-1] < 120 else f" in {times[-1] / 60:.0f} min"
    if best:
        measure = f"Dice {1 - best[1] / 100:.3f}" if dices else f"error {best[1]:.3g} %"
        facts.append(f"best validation {measure} at epoch {_number(best[0])}")
    rates = [rate for _, rate in _points(rows, "learning_rate")]
    if rates:
        ends = [f"{rate:.3g}" for rate in (rates[0], rates[-1])]
        facts.append(f"learning rate {' to '.join(dict.fromkeys(ends))}")
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" class="striate-curves" '
        'viewBox="0 0 960 392" role="img">',
        f"<title>{escape(title)}</title><style>{_style()}</style>",
        '<rect class="paper" width="960" height="392"/>',
        f'<text class="ink" x="24" y="34" font-size="18" font-weight="600">'
        f"{escape(shorten(title, 90))}</text>",
        f'<text class="quiet" x="24" y="57" font-size="13">{" · ".join(facts)}</text>',
    ]
    for left, heading, lines in (
        (_LEFT_OF_LOSS, "loss", losses),
        (_LEFT_OF_ERROR, "error [%]" if dices else "error rate [%]", errors),
    ):
        up = _value_axis(lines)
        # Three lines are named beside the heading: less room.
        scale = ", log" if dices else ", log scale"
        parts += _frame(left, heading + scale * up.log, across, up)
        if best:
            x = left + _WIDTH * across.share(best[0])
            parts.append(
                f'<path class="validation" d="M{x:.1f} {_TOP}v{_HEIGHT}" opacity="0.55" '
                'stroke-dasharray="3 4"/>'
            )
        parts += _lines(left, lines, across, up)
    if best:
        y = _TOP + _HEIGHT * (1 - up.share(best[1]))
        kind, value = "dice" if dices else "validation", measure.removeprefix("error ")
        side, anchor = (-7, "end") if across.share(best[0]) > 0.5 else (7, "start")
        parts.append(
            f'<circle class="dot {kind} halo" cx="{x:.1f}" cy="{y:.1f}" r="5.5" '
            'stroke-width="2"/>'
            f'<text class="best halo" x="{x + side:.1f}" y="{_TOP + 15}" text-anchor="{anchor}" '
            'font-size="13" font-weight="600" stroke-width="4" paint-order="stroke">'
            f"best {value}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])


def _style() -> str:
    """Both sets of colours; every rule names the drawing, so that it stays out of a page around."""
    light, dark = (
        "\n".join(f".striate-curves .{row[0]} {{ {row[1]}: {row[column]} }}" for row in _PAINT)
        for column in (2, 3)
    )
    font = 'font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'
    return (
        f"\n.striate-curves {{ {font} }}\n{light}\n"
        f"@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    )


def _points(rows: Sequence[Row], key: str, scale: float = 1) -> list[Point]:
    """(epoch, value) of the rows that have both; what float32 cannot hold counts as infinite."""
    pairs = [(row.get("epoch"), row.get(key)) for row in rows]
    return [
        (x, y * scale)
        for x, y in pairs
        if x is not None and y is not None and abs(x) < _FLOAT32_MAX and abs(y) < _FLOAT32_MAX
    ]


def _frame(left: int, heading: str, across: _Axis, up: _Axis) -> list[str]:
    """Heading, grid, ticks and the horizontal axis of a panel."""
    right, bottom = left + _WIDTH, _TOP + _HEIGHT
    parts = [f'<text class="ink" x="{left}" y="{_TOP - 13}" font-size="14">{heading}</text>']
    for tick in up.ticks:
        y = bottom - _HEIGHT * up.share(tick)
        parts.append(
            f'<path class="grid" d="M{left} {y:.1f}H{right}"/><text class="quiet" x="{left - 8}" '
            f'y="{y + 4:.1f}" text-anchor="end" font-size="12">{_number(tick)}</text>'
        )
    for tick in across.ticks:
        x = left + _WIDTH * across.share(tick)
        parts.append(
            f'<path class="axis" d="M{x:.1f} {bottom}v5"/><text class="quiet" x="{x:.1f}" '
            f'y="{bottom + 20}" text-anchor="middle" font-size="12">{_number(tick)}</text>'
        )
    parts.append(
        f'<path class="axis" d="M{left} {bottom}H{right}"/><text class="quiet" x="{right}" '
        f'y="{bottom + 40}" text-anchor="end" font-size="13">epoch</text>'
    )
    return parts


def _lines(left: int, lines: Mapping[str, list[Point]], across: _Axis, up: _Axis) -> list[str]:
    """The lines of a panel, and above it what each is; dots where there are few epochs."""
    drawn = {kind: points for kind, points in lines.items() if points}
    names = {"train": "train", "validation": "validation", "dice": "1 − Dice"}
    room = {"train": 60, "validation": 94, "dice": 84}
    from_right, taken = {}, 0
    for kind in reversed(drawn):
        taken += room[kind] + 18 * (taken > 0)
        from_right[kind] = taken
    parts = []
    for kind, points in drawn.items():
        x = left + _WIDTH - from_right[kind]
        parts.append(
            f'<path class="{kind}" d="M{x} {_TOP - 18}h22" stroke-width="2.4"/><text '
            f'class="quiet" x="{x + 28}" y="{_TOP - 13}" font-size="13">{names[kind]}</text>'
        )
        places = [
            (left + _WIDTH * across.share(epoch), _TOP + _HEIGHT * (1 - up.share(value)))
            for epoch, value in _thin(points)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(
            f'<polyline class="{kind}" points="{path}" fill="none" stroke-width="2" '
            'stroke-linejoin="round"/>'
        )
        if len(places) <= _MOST_DOTS:
            parts += [
                f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places
            ]
    if not drawn:
        parts.append(
            f'<text class="quiet" x="{left + _WIDTH / 2}" y="{_TOP + _HEIGHT / 2}" '
            'text-anchor="middle" font-size="13">no values</text>'
        )
    return parts


def _thin(points: list[Point]) -> list[Point]:
    """Keep the ends and, of each stretch of the line, its lowest and its highest point."""
    if len(points) <= _MOST_POINTS:
        return points
    stretch = ceil(2 * len(points) / (_MOST_POINTS - 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), stretch):
        numbers = range(start, min(start + stretch, len(points)))
        kept |= {min(numbers, key=lambda i: points[i][1]), max(numbers, key=lambda i: points[i][1])}
    return [points[i] for i in sorted(kept)]


def _epoch_axis(epochs: Sequence[float]) -> _Axis:
    """Whole numbers, the first epoch among them where it does not touch the next tick."""
    if not epochs:
        return _Axis(0, 1, [])
    low, high = min(epochs), max(epochs)
    step = max(1, _round_step((high - low) / 7))
    ticks = [step * k for k in range(ceil(low / step), floor(high / step) + 1)]
    if not ticks or ticks[0] - low > 0.6 * step:
        ticks = [low, *ticks]
    margin = 0.5 if low == high else 0
    return _Axis(low - margin, high + margin, ticks)


def _value_axis(lines: Mapping[str, list[Point]]) -> _Axis:
    """Logarithmic from round number to round number, or linear and with 0 on it."""
    values = [value for points in lines.values() for _, value in points]
    if not values:
        return _Axis(0, 1, [])
    low, high = min(values), max(values)
    if low > 0 and log10(high) - log10(low) > _MOST_LINEAR_DECADES:
        decades = range(floor(log10(low)), ceil(log10(high)) + 1)
        marks = [float(f"{step}e{decade}") for decade in decades for step in (1, 2, 5)]
        low = max(mark for mark in marks if mark <= low)
        high = min(mark for mark in marks if mark >= high)
        ticks = [mark for mark in marks if low <= mark <= high]
        if len(ticks) > 8:
            tens = [mark for mark in marks[::3] if low <= mark <= high]
            ticks = tens[:: ceil(len(tens) / 8)]
        return _Axis(low, high, ticks, log=True)
    low, high = min(low, 0), max(high, 0)
    step = _round_step((high - low) / 5)
    first = floor(low / step)
    last = max(ceil(high / step), first + 1)
    return _Axis(first * step, last * step, [k * step for k in range(first, last + 1)])


def _round_step(least: float) -> float:
    """The first of ..., 0.5, 1, 2, 5, 10, ... that is not below ``least``; 1 for 0."""
    if least == 0:
        return 1
    decade = floor(log10(least))
    return next(
        step for step in (float(f"{digit}e{decade}") for digit in (1, 2, 5, 10)) if step >= least
    )


def _number(value: float) -> str:
    return re.sub(r"e([+-])0*", lambda match: "e" + match[1].strip("+"), f"{value:.6g}")
