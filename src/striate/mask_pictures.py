"""Images beside the masks that are there and those that were answered, at a glance."""

import io
import warnings
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from striate.lettering import legal, shorten
from striate.segmentation_losses import IGNORED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 6

Shown = tuple[str, NDArray[Any], NDArray[Any], NDArray[Any]]  # title, image, mask, labels

# The first five are told apart also by people who confuse red and green.
_COLOURS = (
    "#009e73", "#e69f00", "#0072b2", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7a5cc8",
    "#8c5a2b", "#9acd32", "#00667a", "#ff9e9e",
)  # fmt: skip
_MISSED, _FALSE, _OTHER, _LEFT_OUT = "#1f3fe0", "#e0141f", "#a020c0", "#b8bec6"
_INK, _QUIET = "#1c2128", "#57606a"
_SETTINGS: dict[Any, Any] = {"font.family": ["DejaVu Sans"], "text.parse_math": False}
_COLUMNS = ("image", "what is there", "what was answered", "errors")
_LEAST_WIDE, _MOST_WIDE, _MOST_HIGH = 8.0, 12.0, 13.0  # of the page and of all rows [inches]
_MARGIN, _GAP, _CAPTION, _LINE = 0.25, 0.08, 0.32, 0.24  # [inches]
_DPI, _MOST_NAMED = 150, 24


def masks_picture(triples: Sequence[Shown], *, classes: Sequence[str], title: str) -> bytes:
    """Show images, what is there, what was answered and where they differ; a row for each.

    The first class is not painted, so that the image shows through. A grey image is stretched
    between its 1st and 99th percentile; of an image with other than three channels the first
    is shown.

    Args:
        triples: Up to six: a title, the image ``(C, H, W)`` as stored, the mask and the answered
            labels, ``(H, W)``; what the mask leaves out (255) is grey in it and never an error.
        classes: The name of each class.
        title: One line; cut at 120 characters.

    Returns:
        A PNG file on white, 1,200 to 1,800 pixels wide.

    Raises:
        ValueError: There are no images, or more than six, or their sizes differ from their
            masks'.

    Example:
        >>> mask = np.eye(8, dtype=np.uint8)
        >>> row = ("first", np.zeros((1, 8, 8), np.uint8), mask, 1 - mask)
        >>> masks_picture([row], classes=("ground", "line"), title="lines")[1:4]
        b'PNG'
    """
    import matplotlib
    from matplotlib.figure import Figure

    sizes = [(image.shape[1:], mask.shape, labels.shape) for _, image, mask, labels in triples]
    if not 0 < len(triples) <= MOST_ROWS or any(len({*each}) > 1 for each in sizes):
        raise ValueError(
            f"{len(triples)} images of the sizes {sizes[:3]}; needed are 1 to {MOST_ROWS}, each "
            "(C, H, W) with mask and labels (H, W)"
        )
    wide, heights = _sizes(triples)
    width = max(_LEAST_WIDE, 4 * wide + 3 * _GAP + 2 * _MARGIN)
    keys = [each for each in (_class_keys(triples, classes), _error_keys(triples, classes)) if each]
    lines = [ceil(len(each) / _keys_in_a_line(each, width)) for each in keys]
    high = 1.05 + sum(heights) + _CAPTION * len(triples) + 0.3 + _LINE * sum(lines)
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, high), dpi=_DPI, facecolor="white")
        shown = shorten(legal(title), 120)
        size = 16 * min(1, width / 0.15 / max(len(shown), 1))
        _write(figure, _MARGIN, high - 0.4, shown, fontsize=size, weight="bold", color=_INK)
        lefts = [_MARGIN + column * (wide + _GAP) for column in range(4)]
        for left, name in zip(lefts, _COLUMNS, strict=True):
            _write(figure, left, high - 0.85, name, fontsize=11, color=_QUIET)
        top = high - 1.0
        for (name, image, mask, labels), height in zip(triples, heights, strict=True):
            _write(figure, _MARGIN, top - 0.2, shorten(legal(name), 90), fontsize=10, color=_INK)
            top -= _CAPTION + height
            for left, panel in zip(lefts, _panels(image, mask, labels, len(classes)), strict=True):
                axes = figure.add_axes((left / width, top / high, wide / width, height / high))
                axes.imshow(panel)
                axes.set_anchor("NW")
                axes.axis("off")
        bottom = 0.15 + _LINE * sum(lines)
        for each, count in zip(keys, lines, strict=True):
            _legend(figure, each, bottom)
            bottom -= _LINE * count
        file = io.BytesIO()
        figure.savefig(file, format="png")
    return file.getvalue()


def _sizes(triples: Sequence[Shown]) -> tuple[float, list[float]]:
    """Say how wide a column is and how high each row [inches]."""
    most = (_MOST_WIDE - 2 * _MARGIN - 3 * _GAP) / 4
    highest = min(_MOST_HIGH / len(triples), 1.3 * most)
    shapes = [image.shape[1] / image.shape[2] for _, image, _, _ in triples]
    wide = max(min(most, highest / shape) for shape in shapes)
    return wide, [min(wide * shape, highest) for shape in shapes]


def _write(figure: "Figure", left: float, bottom: float, text: str, **how: Any) -> None:
    """Write at a place given in inches."""
    width, height = figure.get_size_inches()
    figure.text(left / width, bottom / height, text, va="center", **how)


def _panels(
    image: NDArray[Any], mask: NDArray[Any], labels: NDArray[Any], count: int
) -> list[NDArray[np.float64]]:
    grey = as_picture(image)
    left_out = mask == IGNORED
    faint = 0.35 * grey.mean(axis=2, keepdims=True) + 0.65
    errors = np.broadcast_to(faint, grey.shape).copy()
    for where, colour in zip(_differences(mask, labels), (_MISSED, _FALSE, _OTHER), strict=True):
        errors[where] = _rgb(colour)
    errors[left_out] = _rgb(_LEFT_OUT)
    return [grey, _painted(grey, mask, count), _painted(grey, labels, count), errors]


def _differences(mask: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.bool_], ...]:
    """Where something was not found, where nothing was taken for something, and the rest."""
    wrong = (mask != IGNORED) & (mask != labels)
    missed, false = wrong & (labels == 0), wrong & (mask == 0)
    return missed, false, wrong & ~missed & ~false


def as_picture(image: NDArray[Any]) -> NDArray[np.float64]:
    """Turn an image as stored, ``(C, H, W)``, into ``(H, W, 3)`` in [0, 1]."""
    shown = image if len(image) == 3 else image[:1]
    values = np.moveaxis(shown.astype(np.float64), 0, 2)
    is_photo = image.dtype == np.uint8 and len(shown) == 3
    low, high = (0, 255) if is_photo else np.nanpercentile(values, (1, 99))
    picture = np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-12), 0, 1)
    return np.broadcast_to(picture, (*picture.shape[:2], 3)).copy()


def _painted(picture: NDArray[np.float64], labels: NDArray[Any], count: int) -> NDArray[np.float64]:
    painted = picture.copy()
    for number in range(1, count):
        where = labels == number
        painted[where] = 0.55 * painted[where] + 0.45 * _rgb(_colour(number))
    painted[labels == IGNORED] = _rgb(_LEFT_OUT)
    return painted


def _colour(number: int) -> str:
    round_, place = divmod(number - 1, len(_COLOURS))
    pale = 0.5 * (round_ % 2)
    mixed = (255 * ((1 - pale) * _rgb(_COLOURS[place]) + pale)).astype(int)
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])


# ---------------------------------------------------------------- legend

Key = tuple[str, str]  # name, colour


def _class_keys(triples: Sequence[Shown], classes: Sequence[str]) -> list[Key]:
    """Name the colours of the classes that are in the pictures."""
    present = _present(triples)
    numbers = [number for number in range(1, len(classes)) if number in present]
    keys = [
        (shorten(legal(classes[number]), 24), _colour(number)) for number in numbers[:_MOST_NAMED]
    ]
    if len(numbers) > _MOST_NAMED:
        keys.append((f"and {len(numbers) - _MOST_NAMED} more", "#ffffff"))
    return keys


def _error_keys(triples: Sequence[Shown], classes: Sequence[str]) -> list[Key]:
    """Name the colours of the errors that are in the pictures, and of what is left out."""
    first = shorten(legal(classes[0]), 24)
    said = (f"error: taken for {first}", f"error: is {first}", "error: another class")
    kinds = zip(*(_differences(mask, labels) for _, _, mask, labels in triples), strict=True)
    keys = [
        (name, colour)
        for name, colour, wheres in zip(said, (_MISSED, _FALSE, _OTHER), kinds, strict=True)
        if any(where.any() for where in wheres)
    ]
    return keys + [("left out", _LEFT_OUT)] * (IGNORED in _present(triples))


def _present(triples: Sequence[Shown]) -> set[int]:
    every = [np.unique(labels) for triple in triples for labels in triple[2:]]
    return {*np.concatenate(every).tolist()}


def _keys_in_a_line(keys: Sequence[Key], width: float) -> int:
    longest = max(len(name) for name, _ in keys)
    return max(1, int((width - 2 * _MARGIN) / (0.6 + 0.085 * longest)))


def _legend(figure: "Figure", keys: Sequence[Key], top: float) -> None:
    from matplotlib.patches import Patch

    width, height = figure.get_size_inches()
    patches = [Patch(facecolor=colour, edgecolor="none", label=name) for name, colour in keys]
    figure.legend(
        handles=patches,
        loc="upper left",
        bbox_to_anchor=(_MARGIN / width, top / height),
        ncols=min(len(keys), _keys_in_a_line(keys, width)),
        frameon=False,
        fontsize=10,
        labelcolor=_INK,
        handlelength=1.2,
        borderaxespad=0,
        borderpad=0,
    )
