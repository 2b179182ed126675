"""Predictions that are not sure enough lose their label, by the threshold of an evaluation."""

import math
from collections.abc import Sequence

from striate.errors import UsageError
from striate.prediction import Prediction
from striate.runs import Run


def least_probability(run: Run, error_rate: float) -> float:
    """Read the threshold that a run's own evaluation found for an error rate.

    Returns:
        The least probability of an answer that is given; infinity where all are withheld.

    Raises:
        UsageError: The run was not evaluated for that error rate, or by other views than the
            one that predictions are made by.
    """
    evaluation = run.evaluation() or {}
    kept = evaluation.get("rejection")
    remedy = f"`striate evaluate {run.path} --error-rate {error_rate:g}`"
    if kept is None or kept["wanted_error_rate"] != error_rate:
        found = "" if kept is None else f", but one for {kept['wanted_error_rate']:g}"
        raise UsageError(
            f"the last evaluation of {run.path} found no threshold for an error rate of "
            f"{error_rate:g}{found}; make it first: {remedy}"
        )
    if evaluation["protocol"] != "single":
        raise UsageError(
            f"the threshold of {run.path} is for protocol {evaluation['protocol']}, and a "
            "prediction is of a single view; train with protocol single to use --error-rate here"
        )
    threshold = kept["probability"]["threshold"]
    return math.inf if threshold is None else float(threshold)


def withheld(predictions: Sequence[Prediction], least: float) -> list[Prediction]:
    """Take the label from the answers below a probability; what the network said stays in ``top``.

    Example:
        >>> one = Prediction("a.png", "7", 0.6, (("7", 0.6), ("1", 0.4)), ())
        >>> withheld([one], 0.9)[0]
        Prediction(path='a.png', label='', probability=0.6, top=(('7', 0.6), ('1', 0.4)),
            notes=('withheld: 0.6000 is below 0.9000',))
    """
    return [
        each
        if each.probability >= least
        else each._replace(
            label="",
            notes=(*each.notes, f"withheld: {each.probability:.4f} is below {least:.4f}"),
        )
        for each in predictions
    ]
