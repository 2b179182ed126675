"""A page of the mistakes that a network made, to be looked at."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from striate.lettering import legal

_LARGEST = 320  # of a picture on the page; larger ones are reduced [pixels]
_MOST_PAIRS = 20

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --card: #f4f6f8; --line: #dde2e8;
  --ink: #1c2128; --quiet: #57606a; --wrong: #b4400a }
@media (prefers-color-scheme: dark) { :root { --paper: #15181d; --card: #1e2329; --line: #333b45;
  --ink: #e6e9ee; --quiet: #a3acb8; --wrong: #ffa05c } }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; background: var(--paper);
  color: var(--ink); line-height: 1.45;
  font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem }
p { max-width: 46rem; margin: .5rem 0 }
.quiet, figcaption { color: var(--quiet) }
.grid { display: grid; gap: .75rem; margin-top: 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)) }
figure { margin: 0; padding: .6rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); min-width: 0 }
figure img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  border-radius: .25rem }
.enlarged { image-rendering: pixelated }
figcaption { margin-top: .5rem; font-size: .85rem; overflow-wrap: anywhere }
figcaption strong { display: block; color: var(--ink); font-size: 1rem; line-height: 1.25;
  margin-bottom: .25rem }
figcaption span { display: flex; justify-content: space-between; gap: .75rem }
figcaption b { font-weight: 400; white-space: nowrap; font-variant-numeric: tabular-nums }
em { font-style: normal; color: var(--wrong) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem 1.25rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere }
th { color: var(--quiet); font-weight: 500 }
td:last-child, th:last-child { text-align: right; padding-right: 0 }
"""


class Mistake(NamedTuple):
    """An image that the network took for something else.

    Attributes:
        image: ``(H, W)`` grey or ``(H, W, 3)`` red, green and blue, uint8.
        target: Number of the class that it is.
        predicted: Number of the class that the network gave.
        predicted_probability: What the network gave to ``predicted``, 0 to 1.
        target_probability: What it gave to ``target``, 0 to 1.
        where: Path of the image, or its number in the set.
    """

    image: NDArray[np.uint8]
    target: int
    predicted: int
    predicted_probability: float
    target_probability: float
    where: str


def mistakes_page(
    mistakes: Sequence[Mistake],
    *,
    title: str,
    examples: int,
    num_mistakes: int,
    classes: Sequence[str],
    confusion: Sequence[Sequence[int]] | None = None,
    more: str = "",
) -> str:
    """Show the worst mistakes with what was said and what is true, and the most confused pairs.

    The page is one file: it loads nothing and runs nothing. Images larger than 320 pixels
    are reduced to that, and the page says so.

    Args:
        mistakes: The ones to show, the largest loss first.
        title: Any text.
        examples: Images that the network was asked about.
        num_mistakes: How many of them it got wrong, shown here or not.
        classes: The name of each class.
        confusion: ``(K, K)``, row = target, column = prediction, to count the confused
            pairs among all mistakes; without it they are counted among those shown.
        more: HTML that follows, as it is.

    Returns:
        An HTML page that follows the reader's choice of light or dark.

    Raises:
        ValueError: More mistakes are shown than were made, an image is not uint8 of one of the two
            shapes, or ``confusion`` holds another number of mistakes.

    Example:
        >>> image = np.zeros((8, 8), np.uint8)
        >>> page = mistakes_page(
        ...     [Mistake(image, 3, 8, 0.9, 0.05, "test image 17")],
        ...     title="lenet5 on digits",
        ...     examples=300,
        ...     num_mistakes=1,
        ...     classes=list("0123456789"),
        ... )
        >>> page.startswith("<!doctype html>"), "data:image/png;base64," in page
        (True, True)
    """
    if not len(mistakes) <= num_mistakes <= examples:
        raise ValueError(
            f"{len(mistakes)} mistakes to show of {num_mistakes} in {examples} examples; "
            "needed is shown ≤ made ≤ examples"
        )
    if num_mistakes == 0:
        body = f"<p>There are no mistakes: all {examples:,} images are right.</p>"
    else:
        body = _gallery(mistakes, examples, num_mistakes, classes)
        body += _confused_pairs(mistakes, num_mistakes, classes, confusion)
    return html_page(f"{title}: mistakes", f"{body}\n{more}")


def html_page(title: str, body: str, *, extra_style: str = "") -> str:
    """Lay out a page in one file, which loads nothing and runs nothing.

    Args:
        title: Any text; also the heading.
        body: HTML.
        extra_style: CSS beside the pages' common style.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_text(title)}</title>\n<style>{STYLE}{extra_style}</style>\n</head>\n"
        f"<body>\n<h1>{html_text(title)}</h1>\n{body}</body>\n</html>\n"
    )


def _gallery(
    mistakes: Sequence[Mistake], examples: int, num_mistakes: int, classes: Sequence[str]
) -> str:
    share = 100 * num_mistakes / examples
    rate = f"{num_mistakes:,} of {examples:,} images are wrong ({share:.2f} %)."
    shown = "All are" if len(mistakes) == num_mistakes else f"The {len(mistakes):,} worst are"
    reduced = any(max(mistake.image.shape[:2]) > _LARGEST for mistake in mistakes)
    return (
        f"<p>{rate} {shown} shown, the worst first: those where the network gave the true class "
        "the least probability, so where its loss is largest. Such images are the hard ones, the "
        "odd ones, and often the wrongly labelled ones.</p>\n"
        + f'<p class="quiet">Images larger than {_LARGEST} pixels are shown reduced.</p>\n'
        * reduced
        + '<div class="grid">\n'
        + "\n".join(_card(mistake, classes) for mistake in mistakes)
        + "\n</div>\n"
    )


def _card(mistake: Mistake, classes: Sequence[str]) -> str:
    target, predicted = html_text(classes[mistake.target]), html_text(classes[mistake.predicted])
    enlarged = ' class="enlarged"' * (max(mistake.image.shape[:2]) <= _LARGEST // 2)
    return (
        f'<figure><img{enlarged} alt="{target}, taken for {predicted}" '
        f'src="data:image/png;base64,{_png(mistake.image)}">'
        f"<figcaption><strong>{target}, taken for <em>{predicted}</em></strong>"
        f"<span>{predicted}<b>{_percent(mistake.predicted_probability)}</b></span>"
        f"<span>{target}<b>{_percent(mistake.target_probability)}</b></span>"
        f"<small>{html_text(mistake.where)}</small></figcaption></figure>"
    )


def _confused_pairs(
    mistakes: Sequence[Mistake],
    num_mistakes: int,
    classes: Sequence[str],
    confusion: Sequence[Sequence[int]] | None,
) -> str:
    if confusion is None:
        pairs = Counter((mistake.target, mistake.predicted) for mistake in mistakes)
        among = len(mistakes)
    else:
        cells = np.asarray(confusion)
        pairs = Counter(
            {(i, j): int(cells[i, j]) for i, j in np.argwhere(cells).tolist() if i != j}
        )
        among = sum(pairs.values())
        if among != num_mistakes:
            raise ValueError(
                f"the confusion matrix holds {among} mistakes, not {num_mistakes}; count both "
                "over the same examples"
            )
    ranked = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = "\n".join(
        f"<tr><td>{html_text(classes[target])}</td><td>{html_text(classes[predicted])}</td>"
        f"<td>{times:,}</td></tr>"
        for (target, predicted), times in ranked[:_MOST_PAIRS]
    )
    scope = f"all {among:,} mistakes" if among == num_mistakes else f"the {among:,} mistakes above"
    left_out = len(ranked) - _MOST_PAIRS
    rest = f'<p class="quiet">and {left_out:,} pairs with fewer.</p>\n' if left_out > 0 else ""
    return (
        f'<h2>Most confused pairs</h2>\n<p class="quiet">Counted among {scope}.</p>\n'
        f"<table>\n<tr><th>is</th><th>taken for</th><th>times</th></tr>\n{rows}\n</table>\n{rest}"
    )


def _percent(probability: float) -> str:
    if probability < 0.001:
        return "below 0.1 %"
    return "above 99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"


def _png(image: NDArray[np.uint8]) -> str:
    if image.dtype != np.uint8 or not (
        image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    ):
        raise ValueError(
            f"an image has shape {image.shape} and dtype {image.dtype}; needed is uint8 of shape "
            "(H, W) or (H, W, 3)"
        )
    picture = Image.fromarray(image)
    picture.thumbnail((_LARGEST, _LARGEST))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def html_text(text: str) -> str:
    """Make any text legal in HTML."""
    return escape(legal(text))
