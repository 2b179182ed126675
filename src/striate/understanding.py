"""What a run's answers to labelled images say beyond their number of mistakes."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from striate.calibration import calibration
from striate.display import Silent
from striate.errors import UsageError
from striate.evaluated_sets import evaluated_set
from striate.file_data import Reading
from striate.metrics import wilson_interval
from striate.protocols import averaged_scores
from striate.rejection import curve, lead, least_threshold
from striate.runs import Run
from striate.task_making import again
from striate.tasks import Classification
from striate.understanding_pictures import rejection_drawing, reliability_drawing, sections

# How sure an answer is: the paper's rule and the probability.
RULES = ("margin", "probability")


class Answers(NamedTuple):
    """What was answered to labelled images.

    Attributes:
        logits: ``(N, K)``, float.
        targets: ``(N,)``, int64.
    """

    logits: Tensor
    targets: Tensor

    @property
    def correct(self) -> Tensor:
        """``(N,)``, bool."""
        return self.logits.argmax(dim=1) == self.targets

    def confidence(self, rule: str) -> Tensor:
        """Say how sure each answer is: ``(N,)``.

        Args:
            rule: ``"probability"`` of the answer by softmax, or ``"margin"``, the lead of its
                score over the runner-up's.
        """
        if rule == "margin":
            return lead(self.logits)
        return torch.softmax(self.logits, dim=1).amax(dim=1)


def validation_answers(
    run: Run,
    protocol: str | None,
    data_dir: Path | None,
    device: torch.device,
    reading: Reading,
) -> Answers | None:
    """Ask a run about its own validation part, by a protocol; None where it has none."""
    recipe = run.recipe.replace(protocol=protocol or run.recipe.protocol)
    if run.split is not None:
        if not run.progress() or run.progress()[-1]["validation_error"] is None:
            return None
        files = evaluated_set([run], None, data_dir, reading, Silent(), part="validation")
        logits = files.scores(run.network().to(device), recipe, run.spec, None)
        return Answers(logits, files.targets)
    task = again(run, run.recipe, data_dir=data_dir, display=Silent())
    if not isinstance(task, Classification) or task.validation is None:
        return None
    images = task.validation.images.to(device)
    network = run.network().to(device)
    logits = averaged_scores(network, images, task.value_range, run.spec, recipe)
    return Answers(logits.cpu(), task.validation.targets.cpu())


def thresholds(
    answers: Answers, most_error: float, validation: Answers | None = None
) -> dict[str, Any]:
    """Withhold the least sure answers so that few of the others are wrong.

    The threshold is the one that withholds the fewest on the validation part; without one, on
    the measured answers themselves, and then its figures are optimistic.

    Args:
        answers: Those that the thresholds are measured on.
        most_error: Wanted share of the given answers that are wrong, in [0, 1].
        validation: Those that they are chosen on.

    Returns:
        ``wanted_error_rate``, ``chosen_on`` (``"validation"`` or ``"test"``), ``chosen_among``,
        and for the rules ``margin`` and ``probability`` each ``threshold`` (an answer below is
        withheld; None if no threshold does it, so that all are), ``rejected``, ``answered``,
        ``error_rate`` and its 95 % interval, None where nothing is answered.

    Raises:
        UsageError: The wanted rate is not in [0, 1].

    Source:
        J. S. Denker and Y. LeCun, "Transforming neural-net output levels to probability
        distributions", 1991: the share to be rejected for 1 % error on the rest.
    """
    if not 0 <= most_error < 1:
        raise UsageError(f"the error rate is {most_error:g}; give a share from 0 to 1, as 0.01")
    chosen_on = validation or answers
    result: dict[str, Any] = {
        "wanted_error_rate": most_error,
        "chosen_on": "validation" if validation else "test",
        "chosen_among": len(chosen_on.targets),
    }
    for rule in RULES:
        threshold = least_threshold(chosen_on.confidence(rule), chosen_on.correct, most_error)
        given = answers.confidence(rule) >= threshold
        answered = int(given.sum())
        wrong = int((given & ~answers.correct).sum())
        result[rule] = {
            "threshold": threshold if math.isfinite(threshold) else None,
            "rejected": 1 - answered / len(given),
            "answered": answered,
            "error_rate": wrong / answered if answered else None,
            "error_rate_interval_95": list(wilson_interval(wrong, answered)) if answered else None,
        }
    return result


def understanding(answers: Answers, rejection: dict[str, Any] | None) -> dict[str, Any]:
    """Give what evaluation.json holds of calibration, and of rejection if it was asked for."""
    measured = calibration(answers.confidence("probability").clamp(max=1), answers.correct)
    return {"calibration": measured, **({"rejection": rejection} if rejection else {})}


def answers_table(answers: Answers, classes: Sequence[str], where: Sequence[str]) -> str:
    """Write every answer as CSV: image, target, predicted, probability, the labels by name.

    Example:
        >>> answers = Answers(torch.tensor([[0.0, 0.0], [9.0, 1.0]]), torch.tensor([1, 0]))
        >>> print(answers_table(answers, ["cat", "dog"], ["0", "1"]), end="")
        image,target,predicted,probability
        0,dog,cat,0.500000
        1,cat,cat,0.999665
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["image", "target", "predicted", "probability"])
    sure = answers.confidence("probability").tolist()
    told = zip(
        *(where, answers.targets.tolist(), answers.logits.argmax(dim=1).tolist(), sure),
        strict=True,
    )
    lines.writerows(
        [image, classes[target], classes[predicted], f"{probability:.6f}"]
        for image, target, predicted, probability in told
    )
    return text.getvalue()


def understanding_sections(answers: Answers, evaluation: dict[str, Any]) -> str:
    """Give the parts of mistakes.html beside the mistakes: classes, calibration, rejection."""
    curves = {rule: curve(answers.confidence(rule), answers.correct) for rule in RULES}
    return sections(
        per_class=evaluation["per_class"],
        reliability=reliability_drawing(evaluation["calibration"]),
        rejection=rejection_drawing(curves, evaluation.get("rejection")),
        chosen=evaluation.get("rejection"),
    )
