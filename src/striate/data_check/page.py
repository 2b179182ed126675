"""The page of a check: thumbnails of what was found, and of each class."""

import base64
import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from striate.data_check.finding import IN_TWO_PARTS, Finding
from striate.data_check.report import Report
from striate.errors import DataError
from striate.images import DecodedImage
from striate.lettering import shorten
from striate.mistakes import html_page, html_text

SIDE = 160  # of a thumbnail on the page [pixels]
MOST_GROUPS = 24  # shown of a finding
MOST_CLASSES, SAMPLES = 100, 6
LONGEST_NAME = 60  # characters
EXTRA_STYLE = """
.serious { color: var(--wrong) }
.together { display: flex; flex-wrap: wrap; gap: .5rem; margin: .75rem 0; padding: .5rem;
  border: 1px solid var(--line); border-radius: .5rem }
.together figure, .row figure { width: 8rem }
.row { display: flex; flex-wrap: wrap; gap: .5rem; margin: .25rem 0 1rem }
.absent { display: grid; place-items: center; aspect-ratio: 1; color: var(--wrong) }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; font-weight: 500 }
"""

Opener = Callable[[int], DecodedImage]


def check_page(report: Report, opened: Opener) -> str:
    """Show what was found, with thumbnails, and the first images of each class.

    The page is one file: it loads nothing and runs nothing.

    Args:
        report: From ``check``.
        opened: Gives an image by its index, or raises DataError or OSError.

    Returns:
        An HTML page that follows the reader's choice of light or dark.
    """
    body = (
        _summary(report)
        + "".join(_finding(finding, report, opened) for finding in report.findings)
        + _statistics(report)
        + _classes(report, opened)
    )
    title = f"{report.name}: check of {len(report.names):,} images"
    return html_page(title, body, extra_style=EXTRA_STYLE)


def thumbnail(image: DecodedImage) -> np.ndarray:
    """Make an image fit for a page: values beyond 8 bits stretched from smallest to largest.

    Returns:
        ``(H, W)`` or ``(H, W, 3)``, uint8, no side above 160 pixels.

    Example:
        >>> ramp = np.array([[[0], [300], [600]]], np.uint16)
        >>> thumbnail(DecodedImage(ramp, 65_535, ())).tolist()
        [[0, 127, 255]]
    """
    pixels = image.pixels[..., : -1 if image.has_alpha else None]
    pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    if pixels.dtype != np.uint8 or image.full_scale != 255:
        low, high = float(pixels.min()), float(pixels.max())
        stretched = (pixels.astype(np.float32) - low) * (255 / max(high - low, 1e-9))
        pixels = stretched.astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((SIDE, SIDE))
    return np.array(picture)


def _summary(report: Report) -> str:
    rows = "\n".join(
        f"<tr><td{' class=serious' * finding.is_serious}>{finding.kind}</td>"
        f"<td>{html_text(finding.text)}</td><td>{len(finding.details):,}</td></tr>"
        for finding in report.findings
    )
    told = f"<p>{html_text(report.layout)}, from {html_text(report.source)}.</p>\n"
    told += "".join(f"<p class=quiet>{html_text(note)}</p>\n" for note in report.notes)
    if not rows:
        return told + "<p>Nothing was found that must be looked at.</p>\n"
    return told + f"<table>\n<tr><th>found</th><th></th><th>times</th></tr>\n{rows}\n</table>\n"


def _finding(finding: Finding, report: Report, opened: Opener) -> str:
    shown = list(zip(finding.groups, finding.details, strict=True))[:MOST_GROUPS]
    if not any(finding.groups):
        items = "".join(f"<li>{html_text(detail)}</li>" for _, detail in shown)
        body = f"<ul>{items}</ul>\n"
    elif any(len(group) > 1 for group in finding.groups):
        body = "".join(
            (f"<p>{html_text(detail)}</p>\n" if finding.kind == IN_TWO_PARTS else "")
            + f'<div class="together">{_figures(group, report, opened)}</div>\n'
            for group, detail in shown
        )
    else:
        cards = "".join(
            _figure(i, report, opened, caption=detail.removeprefix(f"{report.names[i]}: "))
            for (i,), detail in shown
        )
        body = f'<div class="grid">{cards}</div>\n'
    left = len(finding.details) - len(shown)
    rest = f'<p class="quiet">and {left:,} more; --json has them all.</p>\n' if left else ""
    return f"<h2>{finding.kind}</h2>\n<p>{html_text(finding.text)}</p>\n{body}{rest}"


def _statistics(report: Report) -> str:
    figures = report.statistics()
    rows = "".join(
        f"<tr><td>{kind['channels']} × {kind['dtype']}, white {kind['full_scale']:g}</td>"
        f"<td>values {kind['low']:g} to {kind['high']:g}</td><td>{kind['images']:,}</td></tr>"
        for kind in figures["kinds"]
    )
    rows += "".join(
        f"<tr><td>{side}</td><td>{low} to {high}, median {median}</td><td></td></tr>"
        for side in ("height", "width")
        for low, median, high in [figures[side]] * bool(figures[side])
    )
    rows += "".join(
        f"<tr><td>{html_text(shorten(note, 80))}</td><td></td><td>{count:,}</td></tr>"
        for note, count in list(figures["notes"].items())[:20]
    )
    return f"<h2>Pixels</h2>\n<table>\n<tr><th></th><th></th><th>images</th></tr>{rows}</table>\n"


def _classes(report: Report, opened: Opener) -> str:
    readable: dict[int, list[int]] = {}
    for index, target in enumerate(report.targets):
        if not report.seen[index].refusal:
            readable.setdefault(target, []).append(index)
    blocks = []
    for number, (name, counts) in enumerate(list(report.balance().items())[:MOST_CLASSES]):
        told = ", ".join(f"{part} {count:,}" for part, count in counts.items())
        inside = readable.get(number, [])
        step = max(len(inside) // SAMPLES, 1)
        figures = _figures(inside[::step][:SAMPLES], report, opened)
        blocks.append(f'<h3>{html_text(name)}: {told}</h3>\n<div class="row">{figures}</div>\n')
    left = len(report.classes) - len(blocks)
    rest = f'<p class="quiet">and {left:,} classes more.</p>\n' if left else ""
    return "<h2>Classes</h2>\n" + "".join(blocks) + rest


def _figures(indices: Sequence[int], report: Report, opened: Opener) -> str:
    return "".join(_figure(index, report, opened) for index in indices[:12])


def _figure(index: int, report: Report, opened: Opener, caption: str = "") -> str:
    name, of_class = report.names[index], report.classes[report.targets[index]]
    part = report.part_of.get(index, "")
    picture = '<div class="absent">not readable</div>'
    if not report.seen[index].refusal:
        try:
            pixels = thumbnail(opened(index))
        except (DataError, OSError):
            pass  # it went away since the check
        else:
            enlarged = ' class="enlarged"' * (max(pixels.shape[:2]) <= SIDE // 2)
            picture = f'<img{enlarged} alt="{html_text(of_class)}" src="{_source(pixels)}">'
    said = f"<span>{html_text(caption)}</span>" if caption else ""
    return (
        f'<figure title="{html_text(name)}">{picture}<figcaption>'
        f"<strong>{html_text(of_class)}</strong><span>{html_text(part)}</span>{said}"
        f"<small>{html_text(_ending(name))}</small></figcaption></figure>"
    )


def _ending(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]


def _source(pixels: np.ndarray) -> str:
    kind = "PNG" if max(pixels.shape[:2]) <= SIDE // 2 else "JPEG"
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
