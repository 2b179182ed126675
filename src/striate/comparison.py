"""Two evaluated runs on the same test images: which is better, by how much, and where."""

import csv
from pathlib import Path
from typing import Any

from striate.errors import RunError, UsageError
from striate.metrics import wilson_interval
from striate.paired_rates import difference_interval, mcnemar
from striate.runs import Run


def compare(first: Run, second: Run) -> dict[str, Any]:
    """Compare two runs by their evaluations of the same test images.

    Args:
        first: Evaluated on its own data.
        second: Likewise.

    Returns:
        ``data``, ``examples``; ``runs``, for each its folder, network, accuracy and 95 %
        interval (Wilson's); ``difference``, the second's accuracy minus the first's;
        ``difference_interval_95`` (paired, Newcombe's); ``both_right``, ``first_alone``,
        ``second_alone``, ``neither``; ``mcnemar_p``; ``per_class``, of each class the
        examples, both recalls and their difference; ``differ``, the images of which one
        answer is right and the other wrong, each with image, target, first and second answer.

    Raises:
        UsageError: The two are one, a run labels pixels or is not evaluated, or the test images
            differ.
        RunError: What an evaluation left is damaged.
    """
    if first.path.resolve() == second.path.resolve():
        raise UsageError(f"{first.path} is named twice; give another run to compare it with")
    reports = [_report(run) for run in (first, second)]
    if reports[0]["fingerprint"] != reports[1]["fingerprint"]:
        names = [
            f"{run.path} ({report['data']})"
            for run, report in zip((first, second), reports, strict=True)
        ]
        raise UsageError(
            f"{names[0]} and {names[1]} were evaluated on other images; evaluate one on the "
            "other's data first"
        )
    answers = _answers(first), _answers(second)
    rows = list(zip(*answers, strict=False))
    if (
        len(rows) != len(answers[0])
        or len(rows) != reports[0]["examples"]
        or any(one[:2] != other[:2] for one, other in rows)
    ):
        raise RunError(
            f"answers.csv of {first.path} and of {second.path} do not name the same images; "
            "evaluate both again"
        )
    right = [(one[1] == one[2], other[1] == other[2]) for one, other in rows]
    counts = {
        "both_right": right.count((True, True)),
        "first_alone": right.count((True, False)),
        "second_alone": right.count((False, True)),
        "neither": right.count((False, False)),
    }
    both, first_alone, second_alone, neither = counts.values()
    return {
        "data": reports[0]["data"],
        "examples": len(rows),
        "runs": [
            _accuracy(run, correct, len(rows))
            for run, correct in ((first, both + first_alone), (second, both + second_alone))
        ],
        "difference": (second_alone - first_alone) / len(rows),
        "difference_interval_95": list(
            difference_interval(both, second_alone, first_alone, neither)
        ),
        **counts,
        "mcnemar_p": mcnemar(first_alone, second_alone),
        "per_class": _classes(first.classes, rows),
        "differ": [
            {"image": one[0], "target": one[1], "first": one[2], "second": other[2]}
            for (one, other), (a, b) in zip(rows, right, strict=True)
            if a != b
        ],
    }


def _report(run: Run) -> dict[str, Any]:
    if run.task != "classification":
        raise UsageError(f"{run.path} labels pixels; two runs that label whole images are needed")
    report = run.evaluation()
    if report is None or "fingerprint" not in report or not _file(run).exists():
        raise UsageError(
            f"{run.path} has no evaluation with its answers; `striate evaluate {run.path}` makes it"
        )
    return report


def _file(run: Run) -> Path:
    return run.path / "answers.csv"


def _answers(run: Run) -> list[tuple[str, str, str]]:
    """Read image, target and answer of each image."""
    with _file(run).open(encoding="utf-8", newline="") as lines:
        try:
            return [
                (row["image"], row["target"], row["predicted"]) for row in csv.DictReader(lines)
            ]
        except (KeyError, UnicodeDecodeError, csv.Error) as error:
            raise RunError(
                f"{_file(run)} is damaged ({error}); `striate evaluate {run.path}` writes it again"
            ) from error


def _accuracy(run: Run, correct: int, examples: int) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "network": run.recipe.network,
        "accuracy": correct / examples,
        "accuracy_interval_95": list(wilson_interval(correct, examples)),
    }


def _classes(
    classes: tuple[str, ...], rows: list[tuple[tuple[str, str, str], tuple[str, str, str]]]
) -> dict[str, dict[str, Any]]:
    counts = {name: [0, 0, 0] for name in classes}
    for one, other in rows:
        entry = counts[one[1]]
        entry[0] += 1
        entry[1] += one[1] == one[2]
        entry[2] += other[1] == other[2]
    return {
        name: {
            "examples": number,
            "first_recall": a / number if number else None,
            "second_recall": b / number if number else None,
            "difference": (b - a) / number if number else None,
        }
        for name, (number, a, b) in counts.items()
    }
