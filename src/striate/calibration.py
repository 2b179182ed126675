"""Calibration: whether answers given with a probability are right as often as it says."""

from typing import TypedDict

import torch
from torch import Tensor

BINS = 15


class Bin(TypedDict):
    """The answers whose probability lies in one fifteenth of [0, 1].

    ``confidence`` is their mean probability and ``accuracy`` the share that is right, both
    None where there is no answer.
    """

    examples: int
    confidence: float | None
    accuracy: float | None


class Calibration(TypedDict):
    """How far stated probabilities are from what came true.

    ``expected_calibration_error`` is the mean over all answers of the distance between
    accuracy and mean confidence of their bin; ``bins`` are of equal width.
    """

    expected_calibration_error: float
    bins: list[Bin]


def calibration(confidence: Tensor, correct: Tensor) -> Calibration:
    """Sort answers into 15 bins of equal width by their probability, and compare.

    No temperature is fitted: the figures are those of the network as it is.

    Args:
        confidence: ``(N,)``, the probability of each answer, in [0, 1].
        correct: ``(N,)``, bool, whether it is right.

    Raises:
        ValueError: There is no answer, not one confidence for each, or one outside [0, 1].

    Source:
        C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural
        networks", 2017, equations 2 to 5; 15 bins as in its table 1.

    Example:
        >>> measured = calibration(torch.tensor([0.5, 0.5, 1.0]), torch.tensor([True, True, True]))
        >>> round(measured["expected_calibration_error"], 3)
        0.333
    """
    if confidence.shape != correct.shape or confidence.dim() != 1 or len(confidence) == 0:
        raise ValueError(
            f"confidence has shape {tuple(confidence.shape)} and correct {tuple(correct.shape)}; "
            "needed are two of (N,) with N at least 1"
        )
    confidence = confidence.double()
    if not bool(((confidence >= 0) & (confidence <= 1 + 1e-6)).all()):
        raise ValueError("a confidence is outside [0, 1]; give probabilities")
    # Bins are (low, high], as in the paper: an answer of probability 0 would be in the first.
    place = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    number = torch.bincount(place, minlength=BINS)
    stated = torch.bincount(place, confidence, minlength=BINS)
    right = torch.bincount(place, correct.double(), minlength=BINS)
    error = float((right - stated).abs().sum() / len(confidence))
    bins = [
        Bin(
            examples=examples,
            confidence=total / examples if examples else None,
            accuracy=hits / examples if examples else None,
        )
        for examples, total, hits in zip(
            number.tolist(), stated.tolist(), right.tolist(), strict=True
        )
    ]
    return Calibration(expected_calibration_error=error, bins=bins)
