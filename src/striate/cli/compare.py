"""`striate compare`: two evaluated runs, image by image."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import striate
from striate.cli.options import Json, print_table

_MOST_IMAGES = 10
_MOST_CLASSES = 20


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="An evaluated run.")],
    second: Annotated[
        Path, typer.Argument(metavar="RUN", help="Another, evaluated on the same images.")
    ],
    as_json: Json = False,
) -> None:
    """Compare two runs on the same test images: accuracies, their difference, and its chance.

    `striate evaluate` must have measured both before.
    """
    from striate.comparison import compare as compared

    result = compared(striate.Run(first), striate.Run(second))
    if as_json:
        print(json.dumps(result, indent=1))
        return
    print(f"{result['examples']:,} test images of {result['data']}")
    for run in result["runs"]:
        low, high = (100 * end for end in run["accuracy_interval_95"])
        print(
            f"{run['run']} ({run['network']}): {100 * run['accuracy']:.2f} % right "
            f"(95 % interval {low:.2f} to {high:.2f})"
        )
    low, high = (100 * end for end in result["difference_interval_95"])
    print(
        f"the second is {100 * result['difference']:+.2f} points "
        f"(paired 95 % interval {low:+.2f} to {high:+.2f}); right alone: the first "
        f"{result['first_alone']:,}, the second {result['second_alone']:,}; McNemar's exact test "
        f"p = {result['mcnemar_p']:.3g}"
    )
    told = sorted(
        (entry for entry in result["per_class"].items() if entry[1]["examples"]),
        key=lambda entry: entry[1]["difference"],
    )
    shown = told if len(told) <= _MOST_CLASSES else [*told[:10], *told[-10:]]
    print_table(
        ("class", "examples", "first", "second", "difference"),
        [(name, *_figures(entry)) for name, entry in shown],
    )
    differ = result["differ"]
    if differ:
        print_table(
            ("image", "is", "first said", "second said"),
            [tuple(image.values()) for image in differ[:_MOST_IMAGES]],
        )
    if len(differ) > _MOST_IMAGES:
        print(f"and {len(differ) - _MOST_IMAGES:,} more images; --json has all", file=sys.stderr)


def _figures(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{entry['examples']:,}",
        f"{100 * entry['first_recall']:.1f} %",
        f"{100 * entry['second_recall']:.1f} %",
        f"{100 * entry['difference']:+.1f}",
    )
