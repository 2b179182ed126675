"""What training minimises, each with its paper: a mean over the batch."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Loss(Protocol):
    """A loss: logits ``(N, classes)`` and targets ``(N,)`` to the mean over the batch."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor: ...  # noqa: D102

    def each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Give the loss of each image: ``(N,)``."""


class CrossEntropy(NamedTuple):
    """Cross-entropy of the softmax, perhaps weighted by class.

    With weights it is the sum of weight times cross-entropy divided by the number of images, not
    by the sum of the weights as in PyTorch: so the mean over a set does not depend on how its
    images fall into batches.

    Args:
        label_smoothing: Share of each target spread evenly over all classes, in [0, 1).
        class_weights: One for each class, or None.

    Example:
        >>> logits, targets = torch.zeros(2, 2), torch.tensor([0, 1])
        >>> round(float(CrossEntropy(class_weights=(1.0, 3.0))(logits, targets)), 4)  # 2 log 2
        1.3863
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Average over the batch."""
        if self.class_weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        return self.each(logits, targets).mean()

    def each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Give the loss of each image."""
        smoothing = self.label_smoothing
        losses = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
        if self.class_weights is None:
            return losses
        table = torch.tensor(self.class_weights, device=logits.device, dtype=losses.dtype)
        return table[targets] * losses


class MaximumAPosteriori(NamedTuple):
    """LeNet-5's discriminative criterion: cross-entropy with one constant rubbish logit.

    For penalties y (minus the logits) it is the mean of
    ``y[target] + log(exp(-rubbish) + sum(exp(-y)))``: the rubbish class is one more
    competitor, which stops pushing wrong penalties up once they are well above it.

    Args:
        rubbish: The constant penalty j > 0 of the rubbish class.

    Source:
        LeCun et al., 1998, section II-C, Eq. 9 (its exact form from memory).

    Example:
        >>> loss = MaximumAPosteriori(rubbish=1.0)
        >>> logits = torch.tensor([[0.0, -2.0]])
        >>> round(float(loss(logits, torch.tensor([0]))), 4)  # log(1 + e^-2 + e^-1)
        0.4076
    """

    rubbish: float

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Average over the batch."""
        return F.cross_entropy(self._with_rubbish(logits), targets)

    def each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Give the loss of each image."""
        return F.cross_entropy(self._with_rubbish(logits), targets, reduction="none")

    def _with_rubbish(self, logits: Tensor) -> Tensor:
        rubbish = logits.new_full((len(logits), 1), -self.rubbish)
        return torch.cat([logits, rubbish], dim=1)


class SquaredError(NamedTuple):
    """Half the squared distance to +1 for the class and -1 for all others.

    Source:
        LeCun et al., 1989 and 1990: targets +1 and -1, squared error.

    Example:
        >>> SquaredError()(torch.tensor([[0.0, -1.0, 1.0]]), torch.tensor([0])).item()
        2.5
    """

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Average over the batch, sum over the classes."""
        return self._squares(logits, targets).mean() / 2

    def each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Give the loss of each image."""
        return self._squares(logits, targets) / 2

    def _squares(self, logits: Tensor, targets: Tensor) -> Tensor:
        wanted = torch.full_like(logits, -1.0).scatter_(1, targets[:, None], 1.0)
        return (logits - wanted).square().sum(dim=1)


class OneSided(NamedTuple):
    """One-sided squared error: an output beyond its target of ±1 on the right side costs nothing.

    For a target t of +1 for the image's class and -1 for the others, and an output y, the
    error is the square of max(0, 1 - t y), summed over the classes.

    Source:
        The idea is J. S. Denker and B. S. Wittner's, "Network generality, training required,
        and precision required", 1987, as Denker et al. (1988) cite it. The text was not at
        hand, so this form is ours.
    """

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Average over the batch."""
        return self.each(logits, targets).mean()

    def each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Give the loss of each image."""
        signs = 2.0 * F.one_hot(targets, logits.shape[1]).to(logits.dtype) - 1
        return (1 - signs * logits).clamp(min=0).square().sum(dim=1)


def balanced(shares: Sequence[float]) -> tuple[float, ...]:
    """Weigh classes by the inverse of their share, so that they average 1; absent ones weigh 1.

    Example:
        >>> balanced([0.75, 0.25])
        (0.6666666666666666, 2.0)
    """
    there = sum(share > 0 for share in shares)
    return tuple(1 / (there * share) if share else 1.0 for share in shares)
