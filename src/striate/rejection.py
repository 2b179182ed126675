"""Rejection: answers that are not sure enough are withheld, so that the rest is more often right.

An answer is given if its confidence is at least a threshold. Equal confidences are given or
withheld together.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Rejection(NamedTuple):
    """What a threshold does to a set of answers.

    Attributes:
        rejected: Share of all answers that are withheld, in [0, 1].
        error_rate: Share of the given answers that are wrong; None where none is given.
    """

    rejected: float
    error_rate: float | None


def lead(scores: Tensor) -> Tensor:
    """Measure the lead of the winner over the runner-up, the confidence of Denker et al.

    Args:
        scores: ``(N, K)``, K at least 2.

    Returns:
        ``(N,)``, not negative.

    Raises:
        ValueError: There are fewer than two classes, or another number of axes.

    Example:
        >>> lead(torch.tensor([[1.0, 4.0, 2.0]]))
        tensor([2.])
    """
    if scores.dim() != 2 or scores.shape[1] < 2:
        raise ValueError(
            f"scores have shape {tuple(scores.shape)}; needed is (N, K) with K at least 2, for a "
            "winner and a runner-up"
        )
    best = scores.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def reject(confidence: Tensor, correct: Tensor, threshold: float) -> Rejection:
    """Withhold the answers whose confidence is below a threshold.

    Args:
        confidence: ``(N,)``.
        correct: ``(N,)``, bool, whether each answer is right.
        threshold: The least confidence of a given answer.

    Raises:
        ValueError: There is no answer, or not one confidence for each.

    Example:
        >>> confidence = torch.tensor([0.1, 0.6, 0.9])
        >>> reject(confidence, torch.tensor([False, True, False]), 0.5)
        Rejection(rejected=0.3333333333333333, error_rate=0.5)
    """
    _check(confidence, correct)
    given = confidence >= threshold
    number = int(given.sum())
    wrong = int((given & ~correct).sum())
    return Rejection(
        (len(confidence) - number) / len(confidence), wrong / number if number else None
    )


def least_threshold(confidence: Tensor, correct: Tensor, most_error: float) -> float:
    """Find the threshold that withholds the fewest answers at a given error rate of the rest.

    Args:
        confidence: ``(N,)``.
        correct: ``(N,)``, bool.
        most_error: The largest error rate of the answers that are given, in [0, 1].

    Returns:
        One of the confidences, or infinity where even the surest answers are too often wrong.

    Raises:
        ValueError: There is no answer, or not one confidence for each.

    Example:
        >>> confidence = torch.tensor([0.25, 0.5, 0.75, 1.0])
        >>> least_threshold(confidence, torch.tensor([True, False, True, True]), 0.01)
        0.75
    """
    _check(confidence, correct)
    order = confidence.argsort(descending=True)
    falling = confidence[order]
    wrong = (~correct[order]).cumsum(0)
    number = torch.arange(1, len(order) + 1)
    last_of_equals = torch.cat([falling[1:] < falling[:-1], torch.tensor([True])])
    fits = (last_of_equals & (wrong <= most_error * number)).nonzero()
    return float(falling[fits[-1, 0]]) if len(fits) else float("inf")


def curve(confidence: Tensor, correct: Tensor, points: int = 200) -> list[Rejection]:
    """Follow the error rate of the given answers while more and more are withheld.

    Args:
        confidence: ``(N,)``.
        correct: ``(N,)``, bool.
        points: At most so many, evenly over the answers.

    Returns:
        From nothing withheld to all but the surest.

    Raises:
        ValueError: There is no answer, or not one confidence for each.

    Example:
        >>> steps = curve(torch.tensor([0.1, 0.6, 0.9]), torch.tensor([False, True, True]))
        >>> [(round(step.rejected, 2), round(step.error_rate, 2)) for step in steps]
        [(0.0, 0.33), (0.33, 0.0), (0.67, 0.0)]
    """
    _check(confidence, correct)
    order = confidence.argsort(descending=True)
    falling = confidence[order]
    wrong = (~correct[order]).cumsum(0)
    last = torch.cat([falling[1:] < falling[:-1], torch.tensor([True])]).nonzero()[:, 0].flip(0)
    places = torch.linspace(0, len(last) - 1, min(points, len(last))).round().long()
    return [
        Rejection(1 - (place + 1) / len(order), int(wrong[place]) / (place + 1))
        for place in last[places].tolist()
    ]


def _check(confidence: Tensor, correct: Tensor) -> None:
    if confidence.shape != correct.shape or confidence.dim() != 1 or len(confidence) == 0:
        raise ValueError(
            f"confidence has shape {tuple(confidence.shape)} and correct {tuple(correct.shape)}; "
            "needed are two of (N,) with N at least 1"
        )
