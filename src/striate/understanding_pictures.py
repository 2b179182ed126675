"""The parts of the page of mistakes that are no mistakes: classes, calibration, rejection."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from striate.calibration import Calibration
from striate.lettering import legal
from striate.metrics import ClassReport
from striate.rejection import Rejection

_SIDE, _LEFT, _TOP = 300, 52, 16  # of a panel [units of the view box]
_WIDE = 460  # of the panel of rejection [units of the view box]

_STYLE = """<style>
.panel { width: 100%; height: auto; font-size: 13px }
.panel text { fill: var(--quiet) }
.panel .grid { stroke: var(--line) }
.panel .mark { fill: #2f6fd0; fill-opacity: .75 }
.panel .even { stroke: var(--quiet); stroke-dasharray: 4 4 }
.panel .margin { stroke: #2f6fd0 } .panel .probability { stroke: var(--wrong) }
.panel text.margin { fill: #2f6fd0; stroke: none }
.panel text.probability { fill: var(--wrong); stroke: none }
.classes td:not(:first-child), .classes th:not(:first-child) { text-align: right }
@media (prefers-color-scheme: dark) { .panel .mark { fill: #74a9ff }
  .panel .margin { stroke: #74a9ff } .panel text.margin { fill: #74a9ff } }
</style>
"""


def reliability_drawing(measured: Calibration) -> str:
    """Draw accuracy over confidence, a disc a bin whose area is its share of the answers.

    Returns:
        An SVG that takes its colours from the page of mistakes.
    """
    most = max(entry["examples"] for entry in measured["bins"])
    parts = _frame(_SIDE, [(k / 4, f"{25 * k} %") for k in range(5)], "probability stated")
    parts.append(f'<path class="even" d="M{_LEFT} {_TOP + _SIDE}l{_SIDE} -{_SIDE}"/>')
    for entry in measured["bins"]:
        if entry["confidence"] is None or entry["accuracy"] is None:
            continue
        x = _LEFT + _SIDE * entry["confidence"]
        y = _TOP + _SIDE * (1 - entry["accuracy"])
        radius = max(2.0, 16 * (entry["examples"] / most) ** 0.5)
        parts.append(
            f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>'
            f"{entry['examples']:,} answers, said {100 * entry['confidence']:.1f} %, "
            f"right {100 * entry['accuracy']:.1f} %</title></circle>"
        )
    return _svg(_SIDE, "Share right over probability stated", parts)


def rejection_drawing(
    curves: Mapping[str, Sequence[Rejection]], chosen: Mapping[str, Any] | None = None
) -> str:
    """Draw the error rate of the given answers over the share withheld, a line a rule.

    Args:
        curves: By the rule's name, ``"margin"`` and ``"probability"``.
        chosen: As ``understanding.thresholds`` gives it; its points are marked.

    Returns:
        An SVG that takes its colours from the page of mistakes.
    """
    top = max([step.error_rate or 0 for steps in curves.values() for step in steps] + [1e-4])
    ticks = [(k / 4, f"{100 * top * k / 4:.2g} %") for k in range(5)]
    parts = _frame(_WIDE, ticks, "share of answers withheld")
    for line, (rule, steps) in enumerate(curves.items()):
        points = " ".join(
            f"{_LEFT + _WIDE * step.rejected:.1f},"
            f"{_TOP + _SIDE * (1 - (step.error_rate or 0) / top):.1f}"
            for step in steps
        )
        parts.append(
            f'<polyline class="{rule}" points="{points}" fill="none" stroke-width="2"/>'
            f'<text class="{rule}" x="{_LEFT + _WIDE - 4}" y="{_TOP + 18 + 18 * line}" '
            f'text-anchor="end">by {rule}</text>'
        )
        if chosen and chosen[rule]["error_rate"] is not None:
            x = _LEFT + _WIDE * chosen[rule]["rejected"]
            y = _TOP + _SIDE * (1 - chosen[rule]["error_rate"] / top)
            parts.append(
                f'<circle class="{rule}" cx="{x:.1f}" cy="{y:.1f}" r="5" fill="none" '
                'stroke-width="2"/>'
            )
    return _svg(_WIDE, "Error rate of the answers given over the share withheld", parts)


def sections(
    *,
    per_class: Mapping[str, ClassReport],
    reliability: str,
    rejection: str,
    chosen: Mapping[str, Any] | None,
) -> str:
    """Put the classes, the calibration and the rejection into HTML, for the page of mistakes."""
    rows = "\n".join(
        f"<tr><td>{escape(legal(name))}</td><td>{entry['examples']:,}</td>"
        f"<td>{entry['correct']:,}</td>"
        + "".join(f"<td>{_percent(value)}</td>" for value in _rates(entry))
        + "</tr>"
        for name, entry in sorted(
            per_class.items(), key=lambda item: (item[1]["recall"] is None, item[1]["recall"] or 0)
        )
    )
    said = "" if chosen is None else f"<p>{escape(rejection_line(chosen))}</p>\n"
    return (
        f'{_STYLE}<h2>Classes</h2>\n<p class="quiet">The lowest recall first.</p>\n'
        '<table class="classes">\n<tr><th>class</th><th>images</th><th>right</th>'
        f"<th>precision</th><th>recall</th><th>F1</th></tr>\n{rows}\n</table>\n"
        '<h2>Calibration</h2>\n<p class="quiet">Of the answers given with a probability, the '
        "share that is right, in 15 bins of equal width (Guo et al., 2017); a larger disc is more "
        "answers. On the dashed line the network keeps its word, below it is too "
        f"sure.</p>\n{reliability}\n"
        '<h2>Rejection</h2>\n<p class="quiet">If the least sure answers are withheld, the others '
        "are right more often: by the lead of the winner over the runner-up (Denker et al.), and "
        f"by the probability.</p>\n{said}{rejection}\n"
    )


def rejection_line(chosen: Mapping[str, Any]) -> str:
    """Say in a line what the thresholds do, and whether that is optimistic."""
    told = []
    for rule in ("margin", "probability"):
        entry = chosen[rule]
        if entry["threshold"] is None:
            told.append(f"by {rule} no threshold does it, and all are withheld")
            continue
        rate = "nothing is answered"
        if entry["error_rate"] is not None:
            low, high = entry["error_rate_interval_95"]
            rate = (
                f"error {100 * entry['error_rate']:.2f} % (95 % interval {100 * low:.2f} to "
                f"{100 * high:.2f}) on the other {entry['answered']:,}"
            )
            if low > chosen["wanted_error_rate"]:
                rate += ", more than wanted: do not rely on it"
        told.append(
            f"by {rule} below {entry['threshold']:.4g}, {100 * entry['rejected']:.1f} % withheld, "
            f"{rate}"
        )
    where = f"chosen on {chosen['chosen_among']:,} {chosen['chosen_on']} images"
    if chosen["chosen_on"] == "test":
        where += ", the ones it is measured on, which is optimistic"
    return f"For an error rate of {100 * chosen['wanted_error_rate']:g} %, {where}: " + "; ".join(
        told
    )


def _rates(entry: ClassReport) -> tuple[float | None, ...]:
    return entry["precision"], entry["recall"], entry["f1"]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _frame(width: int, ticks: Sequence[tuple[float, str]], name: str) -> list[str]:
    parts = []
    bottom = _TOP + _SIDE
    for share, said in ticks:
        y = bottom - _SIDE * share
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}h{width}"/><text x="{_LEFT - 6}" '
            f'y="{y + 4:.1f}" text-anchor="end">{said}</text>'
        )
    for k in range(5):
        x = _LEFT + width * k / 4
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{25 * k} %</text>')
    parts.append(f'<text x="{_LEFT + width}" y="{bottom + 38}" text-anchor="end">{name}</text>')
    return parts


def _svg(width: int, title: str, parts: Sequence[str]) -> str:
    box = f"0 0 {_LEFT + width + 24} {_TOP + _SIDE + 46}"
    return (
        f'<svg class="panel" xmlns="http://www.w3.org/2000/svg" viewBox="{box}" '
        f'style="max-width: {_LEFT + width + 24}px" role="img">'
        f"<title>{title}</title>" + "".join(parts) + "</svg>"
    )
