"""Metrics of classification, from integer counts that add over batches and processes.

Nothing is averaged before the end: the counts of two halves add up to the counts of the
whole, to the last example, in whatever order and on however many processes they were made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypedDict

import torch
from torch import Tensor

from striate.errors import DataError

# The deviations of a normal distribution that hold 95 % of it on both sides of its mean.
_Z_95 = 1.959963984540054


@dataclass(frozen=True)
class ClassificationCounts:
    """What was predicted for what; ``+`` adds the counts of other examples.

    Attributes:
        confusion: ``(K, K)``, int64, on the CPU: the examples of the row's class that were
            predicted as the column's class.
        in_top5: Examples whose own class is among the five with the highest logits.
    """

    confusion: Tensor
    in_top5: int

    def __add__(self, other: "ClassificationCounts") -> "ClassificationCounts":
        if self.confusion.shape != other.confusion.shape:
            raise ValueError(
                f"counts over {len(self.confusion)} and {len(other.confusion)} classes do not "
                "add; count both with the same network"
            )
        return ClassificationCounts(self.confusion + other.confusion, self.in_top5 + other.in_top5)


class ClassReport(TypedDict):
    """One class; every number but ``examples`` and ``correct`` may be None, as ``report`` says."""

    examples: int
    correct: int
    precision: float | None
    recall: float | None
    f1: float | None


class Report(TypedDict):
    """The metrics of ``report``, ready for JSON; all rates are fractions in [0, 1]."""

    examples: int
    accuracy: float
    error_rate: float
    top5_error: float | None
    balanced_accuracy: float
    macro_f1: float
    per_class: dict[str, ClassReport]


def count(logits: Tensor, targets: Tensor) -> ClassificationCounts:
    """Count what a network predicted for a batch.

    Among equal logits the class with the lower number comes first, in the prediction and in
    the top five alike. So exactly five classes are in the top five of an example, and a
    network that answers a constant gains nothing by it.

    Args:
        logits: ``(N, K)``, float; any other score that ranks the classes will do. N may be 0.
        targets: ``(N,)``, integers from 0 to K - 1.

    Returns:
        The counts, on the CPU.

    Raises:
        ValueError: The shapes do not fit each other, or the targets are not integers.
        DataError: A target is not the number of a class, or a logit is NaN.

    Example:
        >>> logits = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3]])
        >>> count(logits, torch.tensor([1, 0, 1])).confusion
        tensor([[1, 0],
                [1, 1]])
    """
    if logits.dim() != 2 or logits.shape[1] == 0 or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and targets {tuple(targets.shape)}; "
            "needed are (N, K) and (N,)"
        )
    if targets.is_floating_point():
        raise ValueError(f"targets are {targets.dtype}; needed are class numbers as integers")
    targets = targets.to(torch.int64)
    classes = logits.shape[1]
    outside = targets[(targets < 0) | (targets >= classes)]
    if len(outside):
        raise DataError(
            f"a target is {int(outside[0])}, but the network has {classes} classes, numbered "
            f"from 0 to {classes - 1}; check the labels or build it with more classes"
        )
    undefined = int(logits.isnan().any(dim=1).sum())
    if undefined:
        raise DataError(
            f"the network's answers to {undefined} of {len(logits)} images are not numbers (NaN), "
            "so none is the highest; check its weights and the images"
        )
    cells = targets * classes + logits.argmax(dim=1)
    confusion = torch.bincount(cells, minlength=classes**2).view(classes, classes).cpu()
    own = logits.gather(1, targets[:, None])
    before = torch.arange(classes, device=logits.device) < targets[:, None]
    rank = ((logits > own) | ((logits == own) & before)).sum(dim=1)
    return ClassificationCounts(confusion, int((rank < 5).sum()))


def report(counts: ClassificationCounts, classes: Sequence[str]) -> Report:
    """Turn counts into the metrics that ``evaluate`` writes.

    ``balanced_accuracy`` is the mean recall and ``macro_f1`` the mean F1 of the classes that
    have examples. A class without examples has no precision, recall or F1 (None) and is left
    out of both means; what was wrongly taken for it still counts against the other classes. A
    class that was never predicted has no precision (None) and, if it has examples, F1 = 0.

    Args:
        counts: The sum over all examples.
        classes: The name of each class, in the order of the logits.

    Returns:
        A dictionary of plain numbers. ``top5_error`` is None for five classes or fewer,
        where it could only be 0.

    Raises:
        ValueError: There is not one name for each class, or a name comes twice.
        DataError: There are no examples.

    Example:
        >>> counts = ClassificationCounts(torch.tensor([[3, 1], [0, 4]]), in_top5=8)
        >>> metrics = report(counts, ["cat", "dog"])
        >>> metrics["accuracy"], metrics["per_class"]["dog"]["precision"]
        (0.875, 0.8)
    """
    confusion = counts.confusion
    if len(set(classes)) != len(confusion) or len(classes) != len(confusion):
        raise ValueError(
            f"{len(classes)} names, {len(set(classes))} of them different, for {len(confusion)} "
            "classes; give each class a name of its own"
        )
    examples = int(confusion.sum())
    if examples == 0:
        raise DataError("there are no examples to report on; evaluate at least one labelled image")
    per_class = {
        name: _class_report(int(correct), int(row), int(column))
        for name, correct, row, column in zip(
            classes, confusion.diagonal(), confusion.sum(dim=1), confusion.sum(dim=0), strict=True
        )
    }
    correct = int(confusion.trace())
    return {
        "examples": examples,
        "accuracy": correct / examples,
        "error_rate": (examples - correct) / examples,
        "top5_error": (examples - counts.in_top5) / examples if len(classes) > 5 else None,
        "balanced_accuracy": _mean(entry["recall"] for entry in per_class.values()),
        "macro_f1": _mean(entry["f1"] for entry in per_class.values()),
        "per_class": per_class,
    }


def _class_report(correct: int, examples: int, predicted: int) -> ClassReport:
    return {
        "examples": examples,
        "correct": correct,
        "precision": correct / predicted if examples and predicted else None,
        "recall": correct / examples if examples else None,
        "f1": 2 * correct / (examples + predicted) if examples else None,
    }


def _mean(values: Iterable[float | None]) -> float:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Bound the true rate behind an observed one, with 95 % confidence.

    Unlike the rate plus or minus two standard errors, it stays inside [0, 1] and has a width
    also when every trial succeeded.

    Args:
        successes: Examples that were right, say; from 0 to ``trials``.
        trials: All examples, at least 1.

    Returns:
        The lower and the upper bound, as fractions.

    Raises:
        ValueError: There are no trials, or the successes are negative or more than the trials.

    Source:
        E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
        Journal of the American Statistical Association 22, 1927.

    Example:
        >>> low, high = wilson_interval(292, 300)
        >>> f"{292 / 300:.1%} (95 % interval {low:.1%} to {high:.1%})"
        '97.3% (95 % interval 94.8% to 98.6%)'
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(
            f"{successes} successes in {trials} trials; needed are at least one trial and "
            "from 0 to all successes"
        )
    rate = successes / trials
    shrink = 1 + _Z_95**2 / trials
    center = (rate + _Z_95**2 / (2 * trials)) / shrink
    half = _Z_95 * sqrt(rate * (1 - rate) / trials + _Z_95**2 / (4 * trials**2)) / shrink
    # Both ends are exact in algebra; rounding would put them a hair outside [0, 1].
    low = 0.0 if successes == 0 else center - half
    high = 1.0 if successes == trials else center + half
    return low, high
