"""Metrics of masks: from counts, which add over images and tiles, and of surfaces."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from striate.segmentation_losses import IGNORED

TOLERANCE = 1.0  # of surface Dice [mm, or pixels without a spacing]


def count_pixels(predictions: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    """Count what was predicted for what, without the pixels that are ignored.

    Args:
        predictions: Class indices, any shape.
        targets: The same shape; 255 is left out.
        num_classes: K.

    Returns:
        ``(K, K)``, int64, on the CPU: pixels of the row's class that were predicted as the
        column's.

    Example:
        >>> count_pixels(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 255]), 2)
        tensor([[1, 1],
                [0, 0]])
    """
    counted = targets != IGNORED
    cells = targets[counted].to(torch.int64) * num_classes + predictions[counted]
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes).cpu()


def mean_dice(confusion: Tensor) -> float:
    """Average the Dice coefficient over the classes but the first, without those absent.

    A class is absent if it is neither there nor predicted anywhere; if all are, the mean is 1.
    """
    return _mean(_dices(confusion)[1:])


def _dices(confusion: Tensor) -> list[float | None]:
    right: list[int] = confusion.diagonal().tolist()
    both: list[int] = (confusion.sum(dim=0) + confusion.sum(dim=1)).tolist()
    return [2 * one / two if two else None for one, two in zip(right, both, strict=True)]


def mask_report(confusion: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Give the measures that follow from counts of pixels.

    Args:
        confusion: ``(K, K)`` counts, row = target, column = prediction.
        classes: The name of each class; the first is the background.

    Returns:
        ``pixel_error``, the share of pixels with a wrong class, 0 where none counts;
        ``dice`` and ``iou`` by class, None for a class that is neither there nor answered
        anywhere; ``mean_dice`` and ``mean_iou`` over the classes but the first, without those
        of None; if all are, the mean is 1, for nothing is wrong.

    Example:
        >>> report = mask_report(torch.tensor([[5, 1, 0], [2, 3, 0], [0, 0, 0]]), "abc")
        >>> report["dice"]["b"], report["iou"]["b"], report["dice"]["c"]
        (0.6666666666666666, 0.5, None)
        >>> round(report["pixel_error"], 4), round(report["mean_dice"], 4)
        (0.2727, 0.6667)
    """
    right: list[int] = confusion.diagonal().tolist()
    there: list[int] = confusion.sum(dim=1).tolist()
    answered: list[int] = confusion.sum(dim=0).tolist()
    pixels = sum(there)
    dices = _dices(confusion)
    iou: dict[str, float | None] = {}
    for name, both, one, other in zip(classes, right, there, answered, strict=True):
        iou[name] = both / (one + other - both) if one + other else None
    return {
        "pixel_error": (pixels - sum(right)) / max(pixels, 1),
        "dice": dict(zip(classes, dices, strict=True)),
        "iou": iou,
        "mean_dice": _mean(dices[1:]),
        "mean_iou": _mean(list(iou.values())[1:]),
    }


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 1.0


def surface_report(
    labels: Tensor,
    mask: Tensor,
    classes: Sequence[str],
    spacing: Sequence[float] | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> dict[str, dict[str, float | None]]:
    """Compare the surfaces of each class but the first, in one image.

    The surface of a class is its pixels with a neighbour, across a side, of another class or
    outside the image; distances are between centres of pixels. Ignored pixels belong to no
    class on either side. HD95 is the larger of two 95th percentiles, interpolated linearly: of
    the distances from the answer's surface pixels to the nearest of the truth's, and the other
    way round. Surface Dice is the share of the pixels of both surfaces that lie within the
    tolerance of the other surface.

    Args:
        labels: What was answered, ``(*spatial)``, two or three axes.
        mask: What is there, the same shape; 255 is left out.
        classes: The name of each class.
        spacing: Of the pixels along each axis; 1 by default.
        tolerance: In the spacing's unit: mm, or pixels without a spacing.

    Returns:
        ``hausdorff95`` and ``surface_dice``, each by class. Where a class is neither there nor
        answered both are None; where it is one of the two, HD95 is None, since no distance is
        right, and surface Dice 0.

    Source:
        As MONAI 1.6.1 computes them, ``compute_hausdorff_distance(percentile=95)`` and
        ``compute_surface_dice`` without subvoxels, each pixel of a surface counting once. The
        code that came with S. Nikolov et al., "Deep learning to achieve clinically applicable
        segmentation", 2018 (DeepMind's surface-distance) weighs corners between pixels by the
        area of the surface there, so its figures differ a little.

    Example:
        >>> mask = torch.zeros(8, 8, dtype=torch.uint8)
        >>> mask[2:5, 2:5] = 1
        >>> surface_report(mask.roll(2, 1), mask, ("ground", "square"))
        {'hausdorff95': {'square': 2.0}, 'surface_dice': {'square': 0.625}}
    """
    answered, there = labels.cpu().numpy(), mask.cpu().numpy()
    sides = tuple(spacing) if spacing is not None else (1.0,) * there.ndim
    counted = there != IGNORED
    report: dict[str, dict[str, float | None]] = {"hausdorff95": {}, "surface_dice": {}}
    for number, name in enumerate(classes[1:], start=1):
        distances = _surface_distances((answered == number) & counted, there == number, sides)
        hausdorff = dice = None
        if distances is not None:
            every = np.concatenate(distances)
            # Three pixels of 0.1 mm are within 0.3 mm, however the last digits fall.
            dice = float((every <= tolerance * (1 + 1e-9)).mean())
            if np.isfinite(every).all():
                hausdorff = float(max(np.percentile(each, 95) for each in distances))
        report["hausdorff95"][name], report["surface_dice"][name] = hausdorff, dice
    return report


def _surface_distances(
    one: NDArray[np.bool_], other: NDArray[np.bool_], spacing: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """From each surface pixel of either the distance to the other; infinite if that is empty."""
    boxes = ndimage.find_objects((one | other).astype(np.uint8))
    if not boxes:
        return None
    surfaces = []
    for each in (one, other):
        inside = each[boxes[0]]
        surfaces.append(inside & ~ndimage.binary_erosion(inside))
    first, second = surfaces
    return _distances(first, second, spacing), _distances(second, first, spacing)


def _distances(
    starts: NDArray[np.bool_], ends: NDArray[np.bool_], spacing: tuple[float, ...]
) -> NDArray[np.float64]:
    if not ends.any():
        return np.full(int(starts.sum()), np.inf)
    nearest: NDArray[np.float64] = ndimage.distance_transform_edt(~ends, sampling=spacing)
    return nearest[starts]
