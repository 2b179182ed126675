"""Figure and ground: images that show one figure on a plain ground, as scanned digits do.

The ground is what most border pixels show; the figure is what stands out from it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SAMPLE = 1_000  # images looked at, evenly spaced
PLAIN_SHARE = 0.95  # of the images must have the background at their border
GROUND_TOLERANCE = 0.1
FIGURE_CONTRAST = 0.25  # of the way from ground to ink, where a figure begins
LEAST_INK = 0.1  # fainter marks are shading, not a figure
SPECK = 0.05  # of the largest part's area; smaller parts are dust
FLAT = 0.02  # light that varies less than this is even


class Figure(NamedTuple):
    """Where a figure is in a ``(H, W)`` image.

    Attributes:
        top: First row of the bounding box.
        left: First column.
        bottom: Row after the last.
        right: Column after the last.
        center: Row and column of the centre of mass [pixels from the corner].
    """

    top: int
    left: int
    bottom: int
    right: int
    center: tuple[float, float]


def ground_level(images: Tensor) -> Tensor:
    """Give the median of the border pixels of each image.

    Args:
        images: ``(..., H, W)``.

    Returns:
        ``(...)``.

    Example:
        >>> image = torch.zeros(5, 6)
        >>> image[1:4, 2:] = 1.0
        >>> ground_level(image)
        tensor(0.)
    """
    sides = (images[..., 0, :], images[..., -1, :], images[..., 1:-1, 0], images[..., 1:-1, -1])
    return torch.cat(sides, dim=-1).median(dim=-1).values


def fit_ground(image: Tensor) -> Tensor:
    """Fit the light that falls on a plain ground, by a quadratic surface.

    Fitted to the border first and then to every pixel that agrees with it, so that ink is
    left out. A surface that is even to within 0.02 is made exactly even.

    Args:
        image: ``(H, W)``, float in [0, 1].

    Returns:
        The six coefficients that ``ground_at`` takes.
    """
    rows, columns = (centers(0, length, 1, length) for length in image.shape)
    ring = torch.zeros(image.shape, dtype=torch.bool)
    ring[0] = ring[-1] = True
    ring[:, 0] = ring[:, -1] = True
    inner = torch.zeros_like(ring)
    step = max(1, max(image.shape) // 100)
    inner[::step, ::step] = True
    chosen = (ring | inner).flatten()
    y, x = (axis.flatten()[chosen] for axis in torch.meshgrid(rows, columns, indexing="ij"))
    basis = torch.stack([torch.ones_like(x), y, x, y * y, y * x, x * x], dim=1)
    values, on_ring = image.flatten()[chosen].double(), ring.flatten()[chosen]
    weights = on_ring.double()
    for _ in range(12):  # least absolute differences on the border: ink may cover much of a side
        surface = _least_squares(basis, values, weights)
        off = (values - basis @ surface).abs()
        weights = on_ring / off.clamp(min=FLAT / 4)
    for _ in range(2):
        kept = off <= max(3 * 1.4826 * float(off[on_ring].median()), FLAT)
        surface = _least_squares(basis, values, kept.double())
        off = (values - basis @ surface).abs()
    light = (basis @ surface)[kept]
    if light.max() - light.min() < FLAT:
        return torch.tensor([float(values[kept].median()), 0, 0, 0, 0, 0], dtype=torch.float64)
    return surface


def _least_squares(basis: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    root = weights.sqrt()
    solution: Tensor = torch.linalg.lstsq(basis * root[:, None], (values * root)[:, None]).solution
    return solution[:, 0]


def centers(start: int, stop: int, step: int, length: int) -> Tensor:
    """Give the centres of cells of ``step`` pixels as shares of an axis, in (0, 1)."""
    edges = torch.arange(start, stop, step, dtype=torch.float64)
    return (edges + (edges + step).clamp(max=stop)) / (2 * length)


def ground_at(surface: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Evaluate a ground surface.

    Args:
        surface: From ``fit_ground``.
        rows: ``(h,)``, positions as shares of the image's height.
        columns: ``(w,)``, positions as shares of the image's width.

    Returns:
        ``(h, w)``, float32.
    """
    one, y, x, yy, yx, xx = surface.tolist()
    down, across = one + y * rows + yy * rows**2, x * columns + xx * columns**2
    ground: Tensor = down[:, None] + across + yx * rows[:, None] * columns
    return ground.to(torch.float32)


def find_figure(deviation: Tensor) -> Figure | None:
    """Find what stands out from the ground.

    A part of the figure is a connected region that differs by a quarter of the full ink
    or more and holds pixels that differ by half; parts below a twentieth of the largest
    one's area are specks and left out.

    Args:
        deviation: ``(H, W)``, the difference from the ground, positive towards the ink.

    Returns:
        The figure, or None where nothing differs from the ground by 0.1 and by five times
        the noise.

    Example:
        >>> deviation = torch.zeros(9, 11)
        >>> deviation[2:5, 3:10] = 0.5
        >>> find_figure(deviation)
        Figure(top=2, left=3, bottom=5, right=10, center=(3.5, 6.5))
    """
    from scipy import ndimage  # a seventh of a second that training need not spend

    noise = _noise(deviation)
    marks = deviation[deviation > max(LEAST_INK, 4 * noise)]
    if not len(marks):
        return None
    ink = float(marks.quantile(0.95))
    labels, _ = ndimage.label((deviation > max(FIGURE_CONTRAST * ink, 4 * noise)).numpy())
    parts = torch.from_numpy(labels).long()
    strong = torch.where(deviation > ink / 2, parts, 0)
    areas = strong.flatten().bincount(minlength=int(parts.max()) + 1)
    areas[0] = 0
    kept = areas >= max(1.0, SPECK * int(areas.max()))
    inked = deviation[kept[strong]]
    if float(inked.median()) < max(LEAST_INK, 5 * noise):
        return None
    figure = kept[parts]
    rows, columns = (figure.any(dim=axis).nonzero().flatten() for axis in (1, 0))
    weights = torch.where(figure, deviation, 0).double()
    middle = [
        float(shadow @ (torch.arange(len(shadow)) + 0.5).double() / shadow.sum())
        for shadow in (weights.sum(dim=1), weights.sum(dim=0))
    ]
    return Figure(
        top=int(rows[0]),
        left=int(columns[0]),
        bottom=int(rows[-1]) + 1,
        right=int(columns[-1]) + 1,
        center=(middle[0], middle[1]),
    )


def _noise(image: Tensor) -> float:
    """Standard deviation of pixel noise, from neighbours: edges and shading do not count."""
    steps = [step.abs().flatten() for step in (image.diff(dim=0), image.diff(dim=1))]
    together = torch.cat(steps)
    return 1.4826 / 2**0.5 * float(together.median()) if len(together) else 0.0


def figure_extent(images: Tensor, background: float | Sequence[float]) -> float | None:
    """Tell how large the figures are in images of figures on a plain ground.

    Looks at 1,000 images at most, evenly spaced. The ground is plain when for at least
    95 % of them the median of the border pixels is within 0.1 of the background. A figure
    is what differs from the background by more than 0.25 in any channel.

    Args:
        images: ``(N, C, H, W)``, float in [0, 1].
        background: The ground's value in [0, 1], one for all channels or one for each.

    Returns:
        The median longer side of the figures' bounding boxes as a share of the image's
        side, in (0, 1]; None where the ground is not plain or no image shows a figure.

    Example:
        >>> images = torch.zeros(3, 1, 28, 28)
        >>> images[:, :, 4:24, 7:20] = 1.0
        >>> figure_extent(images, 0.0) == 20 / 28
        True
    """
    count = min(len(images), SAMPLE)
    images = images[torch.linspace(0, len(images) - 1, count, dtype=torch.float64).long()]
    if not is_plain(ground_level(images), background):
        return None
    return median_side(figure_sides(images, background))


def is_plain(grounds: Tensor, background: float | Sequence[float]) -> bool:
    """Tell whether images have the background at their borders, 95 % of them at least.

    Args:
        grounds: ``(N, C)``, of each image the ``ground_level``.
        background: As in ``figure_extent``.
    """
    ground = torch.as_tensor(background, dtype=grounds.dtype).reshape(-1)
    plain = ((grounds - ground).abs() <= GROUND_TOLERANCE).all(dim=1)
    return len(grounds) > 0 and bool(plain.double().mean() >= PLAIN_SHARE)


def figure_sides(images: Tensor, background: float | Sequence[float]) -> Tensor:
    """Give the longer side of each figure as a share of the image's side, 0 where there is none.

    Args:
        images: As in ``figure_extent``, so many at once as memory allows.
        background: As in ``figure_extent``.

    Returns:
        ``(N,)``, float64.
    """
    ground = torch.as_tensor(background, dtype=images.dtype).reshape(-1)
    figures = ((images - ground[:, None, None]).abs() > FIGURE_CONTRAST).any(dim=1)
    height, width = (_lengths(figures.any(dim=axis)) for axis in (2, 1))
    return torch.maximum(height / images.shape[2], width / images.shape[3])


def median_side(sides: Tensor) -> float | None:
    """Give the median of ``figure_sides`` over the images that show a figure; None of none."""
    sides = sides[sides > 0]
    return float(sides.median()) if len(sides) else None


def _lengths(shadows: Tensor) -> Tensor:
    """From the first to the last True of each row of ``(N, L)``; 0 where there is none."""
    length = shadows.shape[1]
    first = shadows.double().argmax(dim=1)
    last = length - 1 - shadows.flip(1).double().argmax(dim=1)
    return torch.where(shadows.any(dim=1), last - first + 1, 0).double()
