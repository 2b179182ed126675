"""How much each pixel counts when U-Net is trained: rare classes and narrow gaps count more.

Source: O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical
image segmentation", MICCAI 2015: section 3, Eq. 2. (Eq. 1, the loss that these weights enter,
is printed without its minus sign.)

What the paper leaves open:
    1. The weights that balance the classes: here N / (K n) for a class of n among the N pixels
       of an image with K classes, so that all classes weigh the same and the mean is 1.
    2. The morphology that makes borders between touching cells: here a pixel is border if the
       3x3 pixels around it hold two cells, which leaves two pixels between them.
    3. Whether Eq. 2 is meant inside cells too; here it is, with a distance of 0 to the own cell.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.segmentation_losses import IGNORED

# Beyond so many sigma, the sum of both distances adds less than 2e-8 of w0.
REACH = 6.0


def border_weights(
    mask: NDArray[np.integer],
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    balance: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Weigh pixels by their class, and those between two cells that are near each other more.

    A cell is a connected piece of one class other than 0; pieces that touch by corners alone
    are two. The weight is ``balance[class] + w0 exp(-(d1 + d2)² / (2 sigma²))``, with the
    distances to the nearest and to the second nearest cell.

    Args:
        mask: ``(*spatial)``, class indices; 255 is left out.
        w0: What a pixel gains at most.
        sigma: How fast that falls [pixels].
        balance: Weight of each class; by default such that all classes of this mask weigh the
            same and the mean is 1.

    Returns:
        ``(*spatial)``; 0 where the mask is 255.

    Source:
        Ronneberger et al., 2015, Eq. 2: w0 is 10, sigma about 5.

    Example:
        >>> border_weights(np.array([[1, 1, 0, 2, 2, 255]]), balance=[1, 2, 3]).round(2)
        array([[10.35, 11.23, 10.23, 12.23, 11.35,  0.  ]], dtype=float32)
    """
    known = mask != IGNORED
    if balance is None:
        counts = np.bincount(mask[known].ravel())
        present = max(np.count_nonzero(counts), 1)
        balance = list(known.sum() / (present * np.maximum(counts, 1)))
    weights = np.zeros(mask.shape)
    weights[known] = np.asarray(balance, float)[mask[known]]
    nearest, second = _two_distances(mask, round(REACH * sigma))
    weights += w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    weights[~known] = 0
    return weights.astype(np.float32)


def separate_cells(instances: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Turn numbered cells into a mask of cells (1) and background (0), with a gap between cells.

    Args:
        instances: ``(*spatial)``; 0 is background, each other number one cell.

    Returns:
        ``(*spatial)``. A pixel with two cells in the 3x3 (or 3x3x3) around it is background.

    Example:
        >>> separate_cells(np.array([[7, 7, 7, 3, 3, 0, 3]]))
        array([[1, 1, 0, 0, 1, 0, 1]], dtype=uint8)
    """
    _, places = np.unique(np.append(instances.ravel(), 0), return_inverse=True)
    numbers = np.where(instances == 0, 0, places[:-1].reshape(instances.shape) + 1)
    highest = ndimage.maximum_filter(numbers, size=3)
    lowest = ndimage.minimum_filter(np.where(numbers == 0, numbers.max() + 1, numbers), size=3)
    apart: NDArray[np.bool_] = (numbers != 0) & (highest == lowest)
    return apart.astype(np.uint8)


def _two_distances(
    mask: NDArray[np.integer], reach: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the distances to the two nearest cells; infinite beyond a reach."""
    nearest = np.full(mask.shape, np.inf)
    second = np.full(mask.shape, np.inf)
    for index in np.unique(mask[(mask != 0) & (mask != IGNORED)]):
        cells, _ = ndimage.label(mask == index)
        for number, box in enumerate(ndimage.find_objects(cells), start=1):
            around = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in box)
            distance = ndimage.distance_transform_edt(cells[around] != number)
            first, next_to_it = nearest[around], second[around]
            np.minimum(next_to_it, np.maximum(first, distance), out=next_to_it)
            np.minimum(first, distance, out=first)
    return nearest, second
