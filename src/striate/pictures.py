"""Pictures made once, after training: the confusion matrix, and a run's result at a glance.

They are drawn by matplotlib, which takes seconds to import and is therefore imported only
when one of them is asked for.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from striate.lettering import legal, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NUMBERED = 30  # classes; with more, numbers in the cells could not be read
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "striate",  # the same picture is the same file
    "font.family": ["DejaVu Sans"],
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}
_RIGHT, _WRONG = np.array([0.13, 0.38, 0.69]), np.array([0.80, 0.20, 0.10])
_INK, _QUIET, _LINE, _RED = "#1c2128", "#57606a", "#d0d7de", "#c8321f"
_LINES = {"train": "#2f6fd0", "validation": "#b4400a"}
_COLUMNS, _MOST_ROWS, _MOST_WRONG = 8, 5, 16
_PAGE_WIDTH, _PAGE_HEIGHT = 12, 6.8  # [inches]


class Shown(Protocol):
    """Images to look at: an array of them, or what makes each when it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def ndim(self) -> int: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Draw which classes were taken for which.

    Right answers are blue and wrong ones red, the stronger the larger their share of the
    row; the red grows with the square root of the share, so that rare mistakes show. Up to
    30 classes, every cell holds its count and the margins hold the sums.

    Args:
        confusion: ``(K, K)`` counts, row = target, column = prediction.
        classes: The name of each class; cut at 32 characters in the drawing.

    Returns:
        An SVG file whose text is text.

    Raises:
        ValueError: The matrix is not square, has a negative count, or there is not one name
            for each class.

    Example:
        >>> svg = confusion_matrix([[30, 1], [0, 29]], ["cat", "dog"])
        >>> "59 of 60 right" in svg
        True
    """
    import matplotlib
    from matplotlib.figure import Figure

    counts = np.asarray(confusion)
    if counts.shape != (len(classes), len(classes)) or len(classes) == 0 or counts.min() < 0:
        raise ValueError(
            f"a confusion matrix of shape {counts.shape} for {len(classes)} names; needed is a "
            "square matrix of counts from 0 up, and a name for each row"
        )
    side = min(max(0.5 * len(classes), 2.5), 11)  # [inches]
    right, examples = int(counts.trace()), int(counts.sum())
    title = f"{right:,} of {examples:,} right"
    if examples:
        title += f": accuracy {100 * right / examples:.2f} %"
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # The text stays text, so a character that matplotlib's font lacks is the reader's font's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(side, side))
        axes = figure.add_axes((0, 0, 1, 1))
        cell = side / (len(classes) + 1) * 72  # [points]
        _draw_confusion(axes, counts, [shorten(legal(name), 32) for name in classes], cell)
        axes.set_title(title, fontsize=12, loc="left", pad=12, color=_INK, weight="bold")
        file = io.StringIO()
        figure.savefig(
            file, format="svg", bbox_inches="tight", pad_inches=0.2, metadata={"Date": None}
        )
    return file.getvalue()


def _draw_confusion(axes: "Axes", counts: NDArray[np.int64], names: list[str], cell: float) -> None:
    """Fill the axes; ``cell`` is the side of a cell [points]."""
    classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(classes, dtype=bool)
    strength = np.where(diagonal, shares, np.sqrt(shares))[..., None]
    colours = 1 - strength * (1 - np.where(diagonal[..., None], _RIGHT, _WRONG))
    axes.imshow(colours, interpolation="none")
    every = ceil(6 / cell)
    ticks, labels = list(range(0, classes, every)), names[::every]
    if classes <= _MOST_NUMBERED:
        ticks, labels = [*ticks, classes], [*labels, "sum"]
        _write_numbers(axes, counts, shares, cell)
    size = min(9.5, 0.8 * cell * every)
    axes.set_xticks(ticks, labels, fontsize=size, color=_INK)
    axes.set_yticks(ticks, labels, fontsize=size, color=_INK)
    if max(map(len, names)) * 0.65 * size > cell * every:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel("prediction", fontsize=10, color=_QUIET)
    axes.set_ylabel("target", fontsize=10, color=_QUIET)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    edge = classes - 0.5
    axes.plot([-0.5, edge, edge, -0.5, -0.5], [-0.5, -0.5, edge, edge, -0.5], color=_QUIET, lw=0.8)
    if classes <= _MOST_NUMBERED:
        lines = np.arange(0.5, edge)
        axes.hlines(lines, -0.5, edge, color=_LINE, lw=0.5)
        axes.vlines(lines, -0.5, edge, color=_LINE, lw=0.5)
    outer = edge + (classes <= _MOST_NUMBERED)
    axes.set_xlim(-0.55, outer + 0.05)
    axes.set_ylim(outer + 0.05, -0.55)


def _write_numbers(
    axes: "Axes", counts: NDArray[np.int64], shares: NDArray[np.float64], cell: float
) -> None:
    """The counts that are not 0, and the sums of rows and columns."""
    classes = len(counts)
    size = min(9.5, 0.8 * cell, 1.4 * cell / len(f"{counts.sum():,}"))
    middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size}
    for row, column in np.argwhere(counts).tolist():
        colour = "white" if shares[row, column] > (0.55 if row == column else 0.4) else _INK
        axes.text(column, row, f"{counts[row, column]:,}", color=colour, **middle)
    for k, (row_sum, column_sum) in enumerate(
        zip(counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist(), strict=True)
    ):
        axes.text(classes, k, f"{row_sum:,}", color=_QUIET, **middle)
        axes.text(k, classes, f"{column_sum:,}", color=_QUIET, **middle)
    axes.text(classes, classes, f"{counts.sum():,}", color=_QUIET, **middle)


def result_picture(
    *,
    images: Shown,
    targets: Sequence[int],
    predictions: Sequence[int],
    classes: Sequence[str],
    rows: Sequence[Mapping[str, float | None]],
    title: str,
) -> bytes:
    """Show a run at a glance: what it read, right and wrong, its error curves, its confusion.

    The grid holds up to 40 images: up to 16 mistakes, framed in red, come last, after right
    ones, evenly out of all; a line above it says how many of each there are in all.

    Args:
        images: ``(N, H, W)`` grey or ``(N, H, W, 3)`` red, green and blue; all that were
            tested, in the order of ``targets``.
        targets: ``(N,)``, the class that each image is.
        predictions: ``(N,)``, the class that the network gave.
        classes: The name of each class.
        rows: The run's progress, as ``plotting.curves`` takes it.
        title: One line, such as "LeNet-5 on digits: 98.3 % of 300 test images right (trained
            in 12 s)"; smaller letters from 80 characters on, cut at 180.

    Returns:
        A PNG file on white, 1,800 pixels wide, made to be read at 1,200 or 900. Characters
        that its font, DejaVu Sans, lacks become boxes, and matplotlib warns of them.

    Raises:
        ValueError: There are no images, or images that are not as above, or not one target
            and one prediction for each, or one that is no class.

    Example:
        >>> png = result_picture(
        ...     images=np.zeros((2, 8, 8), np.uint8),
        ...     targets=[0, 1],
        ...     predictions=[0, 0],
        ...     classes=["cat", "dog"],
        ...     rows=[{"epoch": 1, "train_error": 0.5}],
        ...     title="lenet5 on pets: 50 % of 2 test images right",
        ... )
        >>> png[1:4]
        b'PNG'
    """
    import matplotlib
    from matplotlib.figure import Figure

    truth, given = np.asarray(targets), np.asarray(predictions)
    one_each = truth.shape == given.shape == (len(images),) and len(images) > 0
    if not one_each or images.dtype != np.uint8 or images.shape[3:] not in ((), (3,)):
        raise ValueError(
            f"images of shape {images.shape} and dtype {images.dtype}, targets {truth.shape}, "
            f"predictions {given.shape}; needed are (N, H, W) or (N, H, W, 3) of uint8, N and N"
        )
    for name, labels in (("target", truth), ("prediction", given)):
        if labels.min() < 0 or labels.max() >= len(classes):
            raise ValueError(
                f"the {name}s run from {labels.min()} to {labels.max()}, but there are "
                f"{len(classes)} class names, numbered from 0"
            )
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (truth, given), 1)
    names = [legal(name) for name in classes]
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(_PAGE_WIDTH, _PAGE_HEIGHT), dpi=150, facecolor="white")
        title = shorten(title, 180)
        size = 17 * min(1, 80 / max(len(title), 1))
        figure.text(0.025, 0.945, title, fontsize=size, weight="bold", color=_INK, va="center")
        _draw_images(_axes_at(figure, 0.3, 0.15, 6.78, 5.9), images, truth, given, names)
        _draw_errors(_axes_at(figure, 7.85, 4.1, 3.85, 1.75), rows)
        names = [shorten(name, 14) for name in names]
        room = 0.095 * max(map(len, names))  # for the names at their largest [inches]
        side = min(4.2 - room, 3.0 - max(room, 0.2))
        axes = _axes_at(figure, 7.5 + (4.2 - room - side) / 2 + room, 3.4 - side, side, side)
        _draw_confusion(axes, counts, names, side * 72 / (len(classes) + 1))
        file = io.BytesIO()
        figure.savefig(file, format="png")
    return file.getvalue()


def _axes_at(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    """Axes at a place given in inches."""
    return figure.add_axes(
        (left / _PAGE_WIDTH, bottom / _PAGE_HEIGHT, width / _PAGE_WIDTH, height / _PAGE_HEIGHT)
    )


def _spread(indices: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Take some evenly: images of a folder stand class by class.

    Example:
        >>> _spread(np.arange(100), 4).tolist(), _spread(np.arange(2), 4).tolist()
        ([0, 25, 50, 75], [0, 1])
    """
    chosen: NDArray[np.intp] = indices[len(indices) * np.arange(min(count, len(indices))) // count]
    return chosen if len(indices) > count else indices


def _draw_images(
    axes: "Axes",
    images: Shown,
    targets: NDArray[np.int64],
    predictions: NDArray[np.int64],
    names: list[str],
) -> None:
    wrong = np.flatnonzero(targets != predictions)
    right = np.flatnonzero(targets == predictions)
    shown_wrong = _spread(wrong, _MOST_WRONG)
    shown_right = _spread(right, _COLUMNS * _MOST_ROWS - len(shown_wrong))
    height, width = images.shape[1:3]
    tall, wide = height / max(height, width), width / max(height, width)
    short = [shorten(name, 10) for name in names]
    labels = {i: short[predictions[i]] for i in shown_right.tolist()}
    for i in shown_wrong.tolist():
        said, true = short[predictions[i]], short[targets[i]]
        labels[i] = f"{said},{' ' if len(said + true) <= 5 else chr(10)}not {true}"
    longest = max(len(line) for label in labels.values() for line in label.split("\n"))
    size = min(11, 92 / longest)
    step, pitch = 1.16, 1.48  # from image to image and from row to row [sides of an image]
    for place, i in enumerate(labels):
        x, y = place % _COLUMNS * step, place // _COLUMNS * pitch
        left, top = x + (1 - wide) / 2, y + 1 - tall
        right_edge, bottom = left + wide, y + 1
        axes.imshow(
            images[i] if images.ndim == 4 else np.stack([images[i]] * 3, axis=2),
            extent=(left, right_edge, bottom, top),
            interpolation="nearest",
        )
        is_wrong = targets[i] != predictions[i]
        axes.plot(
            [left, right_edge, right_edge, left, left],
            [top, top, bottom, bottom, top],
            color=_RED if is_wrong else _LINE,
            linewidth=2.6 if is_wrong else 0.6,
            solid_joinstyle="miter",
        )
        axes.text(
            x + 0.5,
            y + 1.07,
            labels[i],
            ha="center",
            va="top",
            fontsize=size,
            color=_RED if is_wrong else _INK,
            weight="bold" if is_wrong else "normal",
        )
    axes.set_xlim(-0.03, _COLUMNS * step - 0.13)
    axes.set_ylim(_MOST_ROWS * pitch, -0.42)
    axes.set_aspect("equal", anchor="NW")
    axes.axis("off")
    axes.text(
        -0.02,
        -0.17,
        f"{len(shown_right):,} of {len(right):,} right answers and "
        f"{len(shown_wrong):,} of {len(wrong):,} mistakes (red)",
        fontsize=11,
        color=_QUIET,
    )


def _draw_errors(axes: "Axes", rows: Sequence[Mapping[str, float | None]]) -> None:
    from matplotlib.ticker import MaxNLocator

    highest = 0.0
    for kind, colour in _LINES.items():
        points = [(row.get("epoch"), row.get(f"{kind}_error")) for row in rows]
        drawn = [(x, 100 * y) for x, y in points if x is not None and y is not None and isfinite(y)]
        if drawn:
            marker = "o" if len(drawn) == 1 else ""
            axes.plot(*zip(*drawn, strict=True), color=colour, label=kind, lw=2, marker=marker)
            highest = max(highest, *(error for _, error in drawn))
    axes.set_ylim(0, 1.08 * highest or 1)
    axes.set_title("error rate [%]", fontsize=11, loc="left", color=_INK)
    axes.set_xlabel("epoch", fontsize=10, color=_QUIET, loc="right")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color=_LINE, lw=0.6)
    axes.tick_params(labelsize=10, color=_QUIET, labelcolor=_QUIET)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_QUIET)
    if axes.lines:
        axes.legend(fontsize=10, frameon=False, labelcolor=_QUIET, loc="upper right")
