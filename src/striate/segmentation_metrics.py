"""Metrics of masks from integer counts, which add over images, tiles and processes."""

import torch
from torch import Tensor

from striate.segmentation_losses import IGNORED


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
    both = confusion.sum(dim=0) + confusion.sum(dim=1)
    dices = [
        2 * int(confusion[k, k]) / int(both[k]) for k in range(1, len(confusion)) if both[k] > 0
    ]
    return sum(dices) / len(dices) if dices else 1.0
