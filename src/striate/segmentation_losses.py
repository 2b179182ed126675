"""What training with masks minimises, each with its paper: a class, or a weight, for each pixel."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = 255
FOCUS = 2.0
LOSSES_OF_MASKS = ("cross-entropy", "dice", "dice-plain", "cross-entropy+dice", "focal")


# Adds sums over pixels up over the processes that have parts of the batch.
Total = Callable[[Tensor], Tensor]


def _alone(sums: Tensor) -> Tensor:
    return sums


class PixelLoss(Protocol):
    """A loss over masks.

    Takes logits ``(N, K, *spatial)``, targets ``(N, *spatial)``, class indices as integers where
    255 is left out, perhaps a weight for each pixel, ``(N, *spatial)``, and, where the batch has
    parts elsewhere, what adds up sums over pixels; gives a number.
    """

    def __call__(  # noqa: D102
        self, logits: Tensor, targets: Tensor, weights: Tensor | None = None, total: Total = _alone
    ) -> Tensor: ...


def _precise(logits: Tensor) -> Tensor:
    """Give numbers of half precision in single: the sums over an image would overflow in it."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _counted(targets: Tensor, weights: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Weigh each pixel, ``(N, *spatial)``: its own weight, or 1; 0 where it is left out."""
    counted = (targets != IGNORED).to(dtype)
    return counted if weights is None else counted * weights


class WeightedCrossEntropy(NamedTuple):
    """Cross-entropy of the softmax over classes, each pixel with its weight.

    The sum of weight times cross-entropy over the pixels that count, divided by the sum of the
    weights, so that the learning rate does not depend on how weights are scaled.

    Args:
        class_weights: One for each class, or None.
        focus: Exponent of the focal loss, which multiplies by (1 - p)^focus; 0 is plain.

    Source:
        Weights for each pixel: O. Ronneberger, P. Fischer and T. Brox, "U-Net", 2015, Eq. 1.
        Focal: T.-Y. Lin et al., "Focal loss for dense object detection", 2017 (from memory).

    Example:
        >>> logits = torch.zeros(1, 2, 1, 2)
        >>> targets = torch.tensor([[[0, 255]]])
        >>> round(float(WeightedCrossEntropy()(logits, targets)), 4)  # log 2
        0.6931
    """

    class_weights: tuple[float, ...] | None = None
    focus: float = 0.0

    def __call__(
        self, logits: Tensor, targets: Tensor, weights: Tensor | None = None, total: Total = _alone
    ) -> Tensor:
        """Average over the pixels that count."""
        logits, targets = _precise(logits), targets.to(torch.int64)
        losses = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
        if self.focus:
            losses = losses * (1 - torch.exp(-losses)) ** self.focus
        counted = _counted(targets, weights, losses.dtype)
        if self.class_weights is not None:
            table = torch.tensor(self.class_weights, device=logits.device, dtype=losses.dtype)
            counted = counted * table[targets.clamp(max=len(table) - 1)]
        return total((losses * counted).sum()) / total(counted.sum()).clamp(min=1e-12)


class SoftDice(NamedTuple):
    """One minus the Dice coefficient of probabilities and masks.

    For each class but the first, which is the background, D = 2 Σ p g / (Σ p² + Σ g²) over all
    pixels of the batch that count; the loss is one minus their mean. A class that neither is
    there nor is answered anywhere (D = 0/0) counts as D = 1.

    Args:
        squared: Squares in the denominator, as in the paper; else Σ p + Σ g.

    Source:
        F. Milletari, N. Navab and S.-A. Ahmadi, "V-Net", 2016, section 3, there of one volume
        and of two classes.

    Example:
        >>> logits = torch.tensor([[[-9.0, 9.0]], [[9.0, -9.0]]]).view(1, 2, 1, 2)
        >>> round(float(SoftDice()(logits, torch.tensor([[[1, 0]]]))), 4)
        0.0
    """

    squared: bool = True

    def __call__(
        self, logits: Tensor, targets: Tensor, weights: Tensor | None = None, total: Total = _alone
    ) -> Tensor:
        """Average one minus Dice over the classes; weights multiply every sum's terms."""
        logits = _precise(logits)
        counted = _counted(targets, weights, logits.dtype)
        shares = torch.softmax(logits, dim=1)
        dices = []
        for number in range(1, logits.shape[1]):
            p = shares[:, number]
            g = (targets == number).to(logits.dtype)
            overlap = total((counted * p * g).sum())
            both = total((counted * (p.square() + g if self.squared else p + g)).sum())
            dices.append((2 * overlap + 1e-7) / (both + 1e-7))
        return 1 - torch.stack(dices).mean()


class Sum(NamedTuple):
    """The sum of several losses."""

    losses: tuple[PixelLoss, ...]

    def __call__(
        self, logits: Tensor, targets: Tensor, weights: Tensor | None = None, total: Total = _alone
    ) -> Tensor:
        """Add them up."""
        return torch.stack([loss(logits, targets, weights, total) for loss in self.losses]).sum()


def pixel_loss(name: str, class_weights: tuple[float, ...] | None = None) -> PixelLoss:
    """Give the loss that a recipe names: one of its ``loss`` values that fit masks.

    Args:
        name: One of ``LOSSES_OF_MASKS``.
        class_weights: For the first and the last two.
    """
    entropy = WeightedCrossEntropy(class_weights)
    losses: dict[str, PixelLoss] = {
        "cross-entropy": entropy,
        "dice": SoftDice(),
        "dice-plain": SoftDice(squared=False),
        "cross-entropy+dice": Sum((entropy, SoftDice())),
        "focal": WeightedCrossEntropy(class_weights, focus=FOCUS),
    }
    return losses[name]
