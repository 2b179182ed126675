"""`striate study`: a comparison that a paper makes, done again, its numbers beside ours."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli.options import DataDir, Json, print_table
from striate.errors import UsageError, did_you_mean
from striate.studies import STUDIES

_READING = """\
What compares with the paper: which classifier is ahead, and whether features
or bitmaps are. The figures themselves do not: other digits, our own templates.
Sets like USPS come scaled and grey (USPS deslanted too), so that bitmaps are
better than the paper's, whose digits were binary and of every size."""


def study(
    name: Annotated[str, typer.Argument(help="Name of a study: denker1988.")],
    data: Annotated[str, typer.Option("--data", help="Digits: a set's name or folder.")] = "usps",
    data_dir: DataDir = None,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", help="Training images of the learning curve, as 500,1000,all."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Held-out part and network; 0 by default.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", help="Draw stages.png and templates.png into DIR instead."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Do a paper's comparison again and print its numbers beside ours.

    denker1988: nearest neighbours, Parzen windows and a network with 40 hidden units, on
    features made by hand-designed convolutions and on raw bitmaps.
    """
    if name not in STUDIES:
        raise UsageError(f"no study is called {name!r}; {did_you_mean(name, STUDIES)}")
    chosen = _sizes(sizes)
    if pictures is not None:
        ignored = {"--json": as_json, "--sizes": sizes is not None, "--seed": seed is not None}
        if any(ignored.values()):
            named = " and ".join(option for option, is_given in ignored.items() if is_given)
            raise UsageError(f"--pictures draws and measures nothing; leave out {named}")
        if not pictures.is_dir():
            raise UsageError(f"{pictures} is not a folder; make it first, or write elsewhere")
        from striate.studies.denker1988_pictures import draw

        for file in draw(data, pictures, data_dir=data_dir):
            print(file)
        return
    from striate.display import choose_display
    from striate.studies import denker1988_study

    if chosen is None:
        chosen = denker1988_study.SIZES
    result = denker1988_study.study(
        data, data_dir=data_dir, sizes=chosen, seed=seed or 0, note=choose_display().note
    )
    if as_json:
        print(json.dumps(result, indent=1))
        return
    _report(result)


def _sizes(text: str | None) -> tuple[int, ...] | None:
    """Read sizes; "all" is always part of the curve."""
    if text is None:
        return None
    try:
        return tuple(int(size) for size in text.split(",") if size.strip() != "all")
    except ValueError:
        raise UsageError(f"--sizes is {text!r}; write whole numbers as 500,1000,all") from None


def _report(result: dict[str, Any]) -> None:
    paper = result["paper"]
    print(
        f"Denker et al. 1988 on {result['data']}: {result['train_images']:,} training images, "
        f"{result['test_images']:,} test images"
    )
    rows = [
        (
            *(given, name, _percent(answer["error_rate"])),
            _percent(answer["tuned_on_test"]["rejected"], 1),
            f"{_percent(answer['tuned_on_held_out']['rejected'], 1)} rejected, "
            f"{_percent(answer['tuned_on_held_out']['error_rate'], 1)} wrong",
        )
        for given, answers in result["inputs"].items()
        for name, answer in answers.items()
    ]
    rows.append(
        (
            *("features", "network of the paper", f" {100 * paper['error_rate']:.0f} %"),
            *(f"{100 * paper['rejected_at_1_percent_error']:.0f} %", "not in the paper"),
        )
    )
    print_table(("input", "classifier", "error", "A", "B"), rows)
    print("A: rejected for 1 % error, threshold tuned on the test part, as the")
    print("   group did in 1990; the paper of 1988 does not say")
    print("B: threshold for 1 % error on held-out training images, and what it gave")
    inputs = result["inputs"]
    ratios = [
        f"{name} {inputs['bitmaps'][name]['error_rate'] / answer['error_rate']:.1f}"
        for name, answer in inputs["features"].items()
        if answer["error_rate"]
    ]
    print(f"\nErrors on bitmaps ÷ errors on features:\n{', '.join(ratios)}")
    times = paper["times_more_errors_on_bitmaps"]
    print(f"The paper: at least {times} for all three; below 1, bitmaps are the better input")
    names = list(inputs["features"])
    print("\nTest error on features by number of training images (no figures in the paper)")
    print_table(
        ("training images", *names),
        [
            (f"{row['train_images']:,}", *(_percent(row[name]) for name in names))
            for row in result["sizes"]
        ],
    )
    print(f"\n{_READING}")
    print(f"done in {result['seconds']:.0f} s", file=sys.stderr)


def _percent(share: float | None, decimals: int = 2) -> str:
    return "-" if share is None else f"{100 * share:.{decimals}f} %".rjust(decimals + 5)
