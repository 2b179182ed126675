"""`striate evaluate` and `predict`: a run put to use."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import striate
from striate.cli.labels import MaskOptions, found, label, raise_last
from striate.cli.options import (
    Cache,
    DataDir,
    Device,
    Json,
    Threads,
    Workers,
    chosen_reading,
    print_rich,
    print_table,
)
from striate.errors import UsageError
from striate.launching import speaks

ErrorRate = Annotated[
    float | None,
    typer.Option(
        "--error-rate",
        metavar="SHARE",
        help="Withhold the least sure answers, so that about this share of the others is wrong, "
        "as 0.01. evaluate finds the threshold, predict uses that of the last evaluation.",
    ),
]

DEFAULT_TOP = 5  # classes named for each image
_DIGITS = {"warping_error": 6, "hausdorff95": 2}
_MEMBRANES = {
    "v_rand": "V Rand, thinned",
    "v_info": "V Info, thinned",
    "rand_error": "Rand error",
    "warping_error": "warping error",
    "pixel_error": "pixel error, at best",
}


def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="A run folder; several are an ensemble."),
    ],
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="Another set with the same classes."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="Views whose answers are averaged, instead of the recipe's: single, ten-crop, "
            "dense, multi-scale, fifty-crop, 150-crop, 144-crop or shifts; for masks single or "
            "turns.",
        ),
    ] = None,
    error_rate: ErrorRate = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Measure a run on the test part of its data; reports go into the (first) run's folder."""
    from striate.devices import threads as computing_with
    from striate.display import choose_display, image_bar
    from striate.distributed import from_first

    with image_bar() as progress, computing_with(threads):
        evaluation = striate.evaluate(
            from_first(lambda: [striate.Run(run) for run in runs]),
            data,
            protocol=protocol,
            error_rate=error_rate,
            data_dir=data_dir,
            device=device,
            reading=chosen_reading(workers, cache),
            display=choose_display(),
            progress=progress,
        )
    if not speaks():
        return
    if as_json:
        print(json.dumps(evaluation, indent=1))
        return
    if "dice" in evaluation:
        _print_masks(evaluation)
    else:
        _print_labels(evaluation)
    *names, last = evaluation["files"]
    print(f"see {', '.join(names)} and {last} in {runs[0]}", file=sys.stderr)


def _print_labels(evaluation: dict[str, Any]) -> None:
    """Print how well whole images were labelled, class by class."""
    low, high = evaluation["accuracy_interval_95"]
    print(
        f"{_who(evaluation)} on {evaluation['data']}: {100 * evaluation['accuracy']:.2f} % of "
        f"{evaluation['examples']:,} test images right "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
    )
    print(_errors(evaluation))
    error = evaluation["calibration"]["expected_calibration_error"]
    print(f"expected calibration error {100 * error:.2f} % (15 bins)")
    if "rejection" in evaluation:
        from striate.understanding_pictures import rejection_line

        print(rejection_line(evaluation["rejection"]))
    per_class = evaluation["per_class"]
    worst = sorted(
        (name for name, values in per_class.items() if values["recall"] is not None),
        key=lambda name: per_class[name]["recall"],
    )
    shown = list(per_class) if len(per_class) <= 20 else worst[:10]
    print_table(
        ("class", "examples", "correct", "precision", "recall", "F1"),
        [(name, *_figures(per_class[name])) for name in shown],
    )
    if len(shown) < len(per_class):
        print(f"the {len(shown)} classes with the lowest recall of {len(per_class)}")


def _who(evaluation: dict[str, Any]) -> str:
    if "ensemble" in evaluation:
        return f"ensemble of {len(evaluation['ensemble'])} runs"
    return str(evaluation["network"])


def _errors(evaluation: dict[str, Any]) -> str:
    """Say both errors in a line, and how they came about."""
    parts = [f"error {100 * evaluation['error_rate']:.2f} %"]
    if evaluation["top5_error"] is not None:
        parts = [f"top-1 {parts[0]}", f"top-5 error {100 * evaluation['top5_error']:.2f} %"]
    return ", ".join([*parts, _way(evaluation)])


def _way(evaluation: dict[str, Any]) -> str:
    members = evaluation.get("ensemble")
    if members is None:
        return f"protocol {evaluation['protocol']}"
    named = ", ".join(f"{member['network']} ({member['protocol']})" for member in members)
    return f"ensemble of {named}"


def _print_masks(evaluation: dict[str, Any]) -> None:
    """Print how well pixels were labelled, class by class."""
    count, unit = evaluation["examples"], evaluation["surface_unit"]
    print(
        f"{_who(evaluation)} on {evaluation['data']}, {count:,} test "
        f"image{'s' * (count != 1)}: mean Dice {evaluation['mean_dice']:.4f}, mean IoU "
        f"{evaluation['mean_iou']:.4f}"
    )
    membranes = evaluation.get("membranes")
    threshold = "" if membranes is None else " at threshold 0.5"
    print(f"pixel error {100 * evaluation['pixel_error']:.2f} %{threshold}, {_way(evaluation)}")
    measures = ("dice", "iou", "hausdorff95", "surface_dice")
    print_table(
        ("class", "Dice", "IoU", f"HD95 ({unit})", "surface Dice"),
        [
            (name, *(_decimal(evaluation[measure].get(name), measure) for measure in measures))
            for name in evaluation["classes"]
        ],
    )
    if membranes is not None:
        print("ISBI 2012 challenge, each at its best threshold:")
        rows = [
            (said, _decimal(membranes[name], name), f"{membranes['thresholds'][name]}")
            for name, said in _MEMBRANES.items()
        ]
        print_table(("measure", "value", "threshold"), rows)


def _decimal(value: float | None, measure: str) -> str:
    if value is None:
        return "-"
    return f"{value:.{_DIGITS.get(measure, 4)}f}"


def _figures(values: dict[str, Any]) -> tuple[str, ...]:
    rates = [values[name] for name in ("precision", "recall", "f1")]
    return (
        f"{values['examples']:,}",
        f"{values['correct']:,}",
        *("-" if rate is None else f"{100 * rate:.1f} %" for rate in rates),
    )


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Image files, or folders of them.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Write FILE.csv or FILE.json instead. Masks: a file of labels, or a folder; by "
            "default the folder labels.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, metavar="N", help="Classes named for each image; 5 if open."),
    ] = None,
    invert: Annotated[
        bool | None,
        typer.Option(
            "--invert/--no-invert", metavar="", help="Swap dark and light; by default as needed."
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", metavar="", help="Masks: replace labels that are there."),
    ] = False,
    memory: Annotated[
        str,
        typer.Option(
            "--memory", metavar="SIZE", help="Masks: what a tile may take, as 500MB or 4GB."
        ),
    ] = "1GB",
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="Masks: single, or turns: the mean of eight views, the image whole in memory.",
        ),
    ] = "single",
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="ADDRESS",
            help="Masks: a Dask scheduler, as tcp://host:8786, or local:2; -o is a .zarr.",
        ),
    ] = None,
    error_rate: ErrorRate = None,
    blend: Annotated[
        bool,
        typer.Option(
            "--blend",
            metavar="",
            help="Masks: where tiles cannot equal the whole image, blend overlapping ones.",
        ),
    ] = False,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities",
            metavar="",
            help="Masks: write each class's probability too, as NAME.probabilities.",
        ),
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Classify image files of any size, depth and mode; or label the pixels of images and volumes.

    Labels of pixels are written in the image's own format and geometry: to -o
    FILE, or under the image's name into -o FOLDER. After a kill the same command
    goes on where it was.
    """
    opened = striate.Run(run)
    if opened.task != "classification":
        for name, idle in (
            ("--top", top is not None),
            ("--invert", invert is not None),
            ("--error-rate", error_rate is not None),
        ):
            if idle:
                raise UsageError(f"{name} is for runs that label whole images; {run} labels pixels")
        masks = MaskOptions(
            *(out, overwrite, memory, protocol, cluster, blend, probabilities, device, threads)
        )
        label(opened, paths, masks, as_json=as_json)
        return
    for name, given in (
        ("--overwrite", overwrite),
        ("--protocol", protocol != "single"),
        ("--cluster", cluster is not None),
        ("--memory", memory != "1GB"),
        ("--blend", blend),
        ("--probabilities", probabilities),
    ):
        if given:
            raise UsageError(f"{name} is for runs that label pixels; {run} labels whole images")
    if out is not None and out.suffix not in (".csv", ".json"):
        raise UsageError(f"{out} is neither .csv nor .json; name the file so")
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"{out.parent} is not a folder; make it first, or write elsewhere")
    from striate.devices import choose_device
    from striate.devices import threads as computing_with
    from striate.display import image_bar
    from striate.files import write_file
    from striate.images import image_files
    from striate.prediction import Reader, predict_files
    from striate.prediction_tables import as_csv, as_table
    from striate.prediction_tables import as_json as to_json
    from striate.withholding import least_probability, withheld

    least = None if error_rate is None else least_probability(opened, error_rate)
    files, missing = found(image_files, paths)
    chosen = choose_device(device)
    with image_bar() as progress, computing_with(threads):
        predictions, errors = predict_files(
            Reader(opened.network().to(chosen), opened.spec, opened.classes),
            files,
            top=top or DEFAULT_TOP,
            invert=invert,
            progress=progress,
        )
    if least is not None:
        predictions = withheld(predictions, least)
    if out is not None:
        text = as_csv(predictions) if out.suffix == ".csv" else to_json(predictions)
        # A file's name need not be text; its bytes are written as they are.
        write_file(out, text.encode("utf-8", "surrogateescape"))
        print(f"{len(predictions):,} predictions in {out}", file=sys.stderr)
    elif as_json:
        print(to_json(predictions), end="")
    elif predictions:
        print_rich(as_table(predictions, further=(top or 1) - 1))
    raise_last([*errors, *missing])
