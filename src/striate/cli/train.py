"""`striate train`: an option for every field of the recipe, made from its one definition."""

import inspect
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

import striate
from striate.cli.options import Cache, DataDir, Device, Json, Threads, Workers, chosen_reading
from striate.datasets import PIPE, is_path
from striate.errors import DataError, UsageError
from striate.launching import speaks
from striate.models import RECIPES, find_network, find_recipe, outline, with_defaults
from striate.recipe_values import recipe_fields
from striate.recipes import Recipe

# Where each field of the recipe stands in the help of `striate train`.
PANELS = {
    "The run": ("seed", "weights", "epochs", "time", "batch_size", "patience"),
    "Data": ("layout", "validation", "test", "group", "fold", "skip_bad", "sampling"),
    "Network": ("width", "depth", "normalization"),
    "Loss": ("loss", "class_weights", "rubbish", "auxiliary", "label_smoothing"),
    "Masks": (
        *("tile", "intensity", "rare", "border_weight", "border_sigma"),
        "match_histograms",
    ),
    "Optimisation": (
        *("optimizer", "learning_rate", "momentum", "nesterov", "weight_decay", "decay", "clip"),
        *("schedule", "warmup", "milestones", "plateau_epochs", "plateau_factor", "ema"),
    ),
    "Fine-tuning": ("freeze", "layer_decay", "layer_rates"),
    "Computing": ("micro_batch", "precision", "compile"),
    "Input": ("image_size", "input_range", "channels_last", "crop", "side_range"),
    "Evaluation": ("protocol", "scales", "view_average"),
    "Augmentation": (
        *("flip", "alternate", "turns", "crop_padding"),
        *("shift", "rotation", "scale", "squeeze", "shear", "elastic", "elastic_points"),
        *("pca_color", "brightness", "contrast", "saturation", "hue"),
        *("blur", "grey", "noise", "cutout", "mixup", "cutmix"),
    ),
}

# What a search limits as a whole.
FIXED_IN_TUNING = ("time",)
_SEARCH: list[tuple[str, Any, Any]] = [
    (
        "trials",
        Annotated[int, typer.Option("--trials", min=1, metavar="N", help="Trials in all.")],
        20,
    ),
    (
        "search_time",
        Annotated[
            str | None,
            typer.Option("--time", metavar="TIME", help="Stop the search after this, as 30min."),
        ],
        None,
    ),
    (
        "space",
        Annotated[
            Path | None,
            typer.Option(
                "--space", metavar="FILE", help="YAML: field: [values] or {low: , high: , log: }."
            ),
        ],
        None,
    ),
]

# What of a run may change when it goes on.
LENGTHENING = ("epochs", "time")

# What has an effect with some values of another choice alone.
WORKS_WITH = {
    "rubbish": ("loss", ("map",)),
    "momentum": ("optimizer", ("sgd", "muon")),
    "plateau_epochs": ("schedule", ("plateau",)),
    "plateau_factor": ("schedule", ("plateau",)),
    "scales": ("protocol", ("multi-scale", "150-crop")),
    "view_average": ("protocol", ("dense", "multi-scale", "shifts")),
}


def train(
    network: str | None,
    data: str | None,
    out: Path | None,
    recipe: str | None,
    resume: Path | None,
    overwrite: bool,
    tensorboard: bool,
    data_dir: Path | None,
    device: str,
    threads: int | None,
    workers: int | None,
    cache: str | None,
    as_json: bool,
    **fields: Any,
) -> None:
    """Carry out `striate train`; its help stands in ``striate.cli``."""
    given = {name: value for name, value in fields.items() if value is not None}
    if resume is not None:
        others = {"NETWORK": network, "--recipe": recipe, "--out": out, "--overwrite": overwrite}
        wrong = [name for name, value in others.items() if value]
        wrong += [_flag(name) for name in given if name not in LENGTHENING]
        if wrong:
            raise UsageError(
                f"--resume goes on by the run's own recipe in its own folder, so {wrong[0]} "
                "cannot be given too, only --epochs and --time; start a new run to change it"
            )
    from striate.display import choose_display

    display = choose_display()
    reading = chosen_reading(workers, cache)
    if resume is not None:
        folder = resume
        run = striate.resume(
            resume,
            data_dir=data_dir,
            device=device,
            num_threads=threads,
            **_lengthening(given),
            tensorboard=tensorboard,
            reading=reading,
            display=display,
        )
    else:
        chosen = chosen_recipe(network, data, recipe, given)
        _refuse_without_effect(with_defaults(chosen), given)
        from striate.distributed import from_first, is_first

        folder = out or from_first(lambda: _reserve_folder(chosen))
        try:
            run = striate.train(
                *(chosen, folder),
                data_dir=data_dir,
                device=device,
                num_threads=threads,
                reading=reading,
                overwrite=overwrite,
                tensorboard=tensorboard,
                display=display,
            )
        finally:
            if out is None and is_first():
                with suppress(OSError):  # a run is in it, unless it came to nothing
                    folder.rmdir()
                    folder.parent.rmdir()
    if speaks():
        _report_training(run, folder, as_json)


def _lengthening(given: dict[str, Any]) -> dict[str, Any]:
    """Read --epochs and --time as a recipe reads them."""
    if not given:
        return {}
    read = Recipe(network="lenet5", data="digits", **given)
    return {name: getattr(read, name) for name in given}


def chosen_recipe(
    network: str | None, data: str | None, recipe: str | None, given: dict[str, Any]
) -> Recipe:
    """Put a recipe together: a shipped one or a file's, then the arguments, then the options."""
    if network is not None:
        given = {"network": network, **given}
    if data is not None:
        given = {"data": data, **given}
    if given.get("crop") in ("center", "area"):
        given = {"side_range": None, **given}  # a recipe's side_range goes with its crop
    if recipe is not None and recipe not in RECIPES and Path(recipe).suffix in (".yaml", ".yml"):
        fields = recipe_fields(Path(recipe))
        Recipe.check_names(fields)
        if given.keys() & {"epochs", "time", "batch_size", "schedule", "data"}:
            fields.pop("lengthened", None)  # its steps are of another plan
        if str(fields.get("data")).startswith(PIPE) and "data" not in given:
            raise UsageError(
                f"{recipe} would run a command, {fields['data']}; type it as DATA if you trust it"
            )
        given = {**fields, **given}
    elif recipe is not None:
        return find_recipe(recipe).replace(**given)
    missing = [name.upper() for name in ("network", "data") if name not in given]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} missing: striate train NETWORK DATA, or --recipe NAME; "
            "`striate models` and `striate datasets` list the names"
        )
    find_network(given["network"])
    return Recipe(**given)


def _refuse_without_effect(recipe: Recipe, typed: dict[str, Any]) -> None:
    """Refuse an option that was typed and would change nothing."""
    for name, (choice, values) in WORKS_WITH.items():
        value = getattr(recipe, choice)
        if name in typed and value not in values:
            raise UsageError(
                f"{_flag(name)} does nothing with {choice} {value}; leave it out, or give "
                f"{_flag(choice)} {' or '.join(values)}"
            )
    if "auxiliary" in typed:
        parts = [name for name, _ in outline(recipe.network).named_children()]
        if not any(name.startswith("aux") for name in parts):
            raise UsageError(
                f"--auxiliary does nothing with {recipe.network}, which has no auxiliary "
                "classifiers; leave it out"
            )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _reserve_folder(recipe: Recipe) -> Path:
    """Make runs/NETWORK-DATA, with a number where that is taken, so that nobody else takes it.

    After a restart by torchrun it is the folder of before.
    """
    from striate.distributed import remember, remembered

    if (before := remembered("folder")) is not None:
        return Path(before)
    data = "pipe" if recipe.data.startswith(PIPE) else Path(recipe.data).resolve().name
    stem = Path("runs") / f"{recipe.network}-{data}"
    number, folder = 1, stem
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = stem.with_name(f"{stem.name}-{number}")
        else:
            remember("folder", str(folder))
            return folder


def _report_training(run: "striate.Run", folder: Path, as_json: bool) -> None:
    from striate.model_card import kept_row, said_of_kept

    rows = run.progress()
    errors = [row["validation_error"] for row in rows if row["validation_error"] is not None]
    if as_json:
        told: dict[str, Any] = {"run": str(folder), "epochs": len(rows)}
        best: dict[str, Any] = {"lowest_validation_error": min(errors) if errors else None}
        kept = kept_row(rows)
        if kept is not None and "validation_dice" in kept:
            names = ("epoch", "validation_dice", "validation_error")
            best["kept"] = {name: kept[name] for name in names}
        print(json.dumps({**told, **best}))
        return
    if errors:
        print(said_of_kept(rows), file=sys.stderr)
    print(f"next: {_next(run, folder)}", file=sys.stderr)
    print(folder)


def _next(run: "striate.Run", folder: Path) -> str:
    """Say what to do with a run: evaluate it, where its data have a part for that."""
    from striate.datasets.mask_layouts import recognize_masks

    data = run.recipe.data
    if run.task == "classification" or not is_path(data):
        return f"striate evaluate {folder}"
    with suppress(DataError):
        if "test" in recognize_masks(Path(data)).parts:
            return f"striate evaluate {folder}"
    return (
        f"striate predict {folder} IMAGE...\n"
        f"      striate evaluate {folder} --data FOLDER, with images and masks in FOLDER/test"
    )


def _choices(annotation: Any) -> list[str]:
    """List the words that a field may be, also where it may be left open besides."""
    nested = (_choices(part) for part in get_args(annotation) if not isinstance(part, str))
    own = [part for part in get_args(annotation) if isinstance(part, str)]
    return [*own, *(word for words in nested for word in words)]


def signature(*without: str, out: str, search: bool = False) -> inspect.Signature:
    """Give a command an option for every field of the recipe, made from its definition.

    Args:
        without: Arguments that the command does not have.
        out: The help of ``--out``.
        search: Whether it has the options of a search too.
    """
    optional = inspect.Parameter.KEYWORD_ONLY
    panel_of = {name: panel for panel, names in PANELS.items() for name in names}
    arguments: list[tuple[str, Any, Any]] = [
        (
            "network",
            Annotated[str | None, typer.Argument(metavar="NETWORK", help="Name of a network.")],
            None,
        ),
        (
            "data",
            Annotated[
                str | None, typer.Argument(metavar="DATA", help="Name of a data set, or a folder.")
            ],
            None,
        ),
        (
            "out",
            Annotated[
                Path | None,
                typer.Option("--out", metavar="PATH", help=out),
            ],
            None,
        ),
        (
            "recipe",
            Annotated[
                str | None,
                typer.Option(
                    "--recipe", metavar="NAME", help="Name of a shipped recipe, or FILE.yaml."
                ),
            ],
            None,
        ),
        (
            "resume",
            Annotated[
                Path | None,
                typer.Option(
                    "--resume",
                    metavar="RUN",
                    help="Go on with the run in this folder; it is lengthened by an option epochs "
                    "or time above what was planned, both of the whole run.",
                ),
            ],
            None,
        ),
        (
            "overwrite",
            Annotated[
                bool,
                typer.Option("--overwrite", metavar="", help="Replace the run that is in --out."),
            ],
            False,
        ),
        (
            "tensorboard",
            Annotated[
                bool,
                typer.Option(
                    "--tensorboard",
                    metavar="",
                    help="Write event files too, into the run's tensorboard/.",
                ),
            ],
            False,
        ),
        ("data_dir", DataDir, None),
        ("device", Device, "auto"),
        ("threads", Threads, None),
        ("workers", Workers, None),
        ("cache", Cache, None),
        ("as_json", Json, False),
    ]
    if search:
        arguments += _SEARCH
    for name, panel in panel_of.items():
        facts = Recipe.model_fields[name]
        flag = _flag(name)
        choices = _choices(facts.annotation)
        help_text = facts.description or ""
        if choices:
            help_text += f" One of {', '.join(choices)}."
        # A bracket begins a style in the parser's help: without the stroke, units vanish.
        help_text = help_text.replace("[", "\\[")
        if facts.annotation is bool:
            kind: Any = bool | None
            option = typer.Option(
                f"{flag}/--no-{flag[2:]}", help=help_text, rich_help_panel=panel, metavar=""
            )
        else:
            kind = str | None
            option = typer.Option(flag, help=help_text, rich_help_panel=panel, metavar="VALUE")
        arguments.append((name, Annotated[kind, option], None))
    return inspect.Signature(
        [
            inspect.Parameter(name, optional, default=default, annotation=annotation)
            for name, annotation, default in arguments
            if name not in without
        ]
    )


train.__signature__ = signature(  # type: ignore[attr-defined]
    out="Run folder to make; runs/NETWORK-DATA by default."
)
