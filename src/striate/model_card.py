"""The model card of a run: what it is, how good it is, how to use it."""

from collections.abc import Mapping, Sequence
from typing import Any

from striate.datasets.mask_catalogue import MASK_SETS
from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.tile_input import TileSpec


def model_card(
    recipe: Recipe,
    spec: InputSpec | TileSpec,
    classes: Sequence[str],
    rows: Sequence[Mapping[str, float | None]],
    evaluation: Mapping[str, Any] | None,
) -> str:
    """Write the card, in Markdown with the front matter that model hubs read.

    Args:
        recipe: The run's recipe.
        spec: The network's input.
        classes: Class names.
        rows: The run's progress.
        evaluation: What ``evaluate`` found, or None.
    """
    labels_images = isinstance(spec, InputSpec)
    done = f"{len(rows)} of {recipe.epochs} epochs"
    if recipe.time is not None:
        done += " (the last may be cut short: it ran under a limit of time)"
    began = f", from the weights `{recipe.weights}`" if recipe.weights else ""
    lines = [
        "---",
        "library_name: striate",
        f"pipeline_tag: image-{'classification' if labels_images else 'segmentation'}",
        f"tags: [{recipe.network}]",
        "---",
        "",
        f"# {recipe.network} on {recipe.data}",
        "",
        f"Network `{recipe.network}` ({len(classes)} classes), trained on `{recipe.data}` "
        f"for {done} with seed {recipe.seed}{began}; every choice is in `recipe.yaml`.",
        "",
    ]
    best = said_of_kept(rows)
    if best:
        lines += [f"- {best}"]
    if evaluation and "dice" in evaluation:
        dices = ", ".join(
            f"{name} {value:.4f}" for name, value in evaluation["dice"].items() if value is not None
        )
        lines += [
            f"- on {evaluation['examples']:,} images of `{evaluation['data']}` "
            f"({evaluation['part']}): Dice {dices}; pixel error "
            f"{100 * evaluation['pixel_error']:.2f} %, see `evaluation.json`"
        ]
    elif evaluation:
        protocol = evaluation.get("protocol", "single")  # older evaluations do not say
        views = "" if protocol == "single" else f", protocol {protocol}"
        lines += [
            f"- accuracy on {evaluation['examples']:,} images of `{evaluation['data']}` "
            f"({evaluation['part']}{views}): {100 * evaluation['accuracy']:.2f} %, "
            "see `evaluation.json`"
        ]
    # A folder of masks need not have a test part, which an evaluation of the set itself needs.
    other = "" if labels_images or recipe.data in MASK_SETS else " --data FOLDER"
    plural = "s" if spec.channels > 1 else ""
    if isinstance(spec, InputSpec):
        size = (
            f"resized to {'x'.join(map(str, spec.image_size))}, network reads "
            f"{'x'.join(map(str, spec.input_size))} pixels"
        )
    else:
        size = f"of any size, trained on tiles of {'x'.join(map(str, spec.tile))} pixels"
    lines += [
        f"- input: {spec.channels} channel{plural}, {size}",
        f"- classes: {', '.join(classes[:20])}{' …' if len(classes) > 20 else ''}",
        "",
        "```",
        "striate predict THIS_FOLDER IMAGE...",
        f"striate evaluate THIS_FOLDER{other}",
        "```",
        "",
    ]
    return "\n".join(lines)


def kept_row(rows: Sequence[Mapping[str, float | None]]) -> Mapping[str, float | None] | None:
    """Find the epoch whose weights are kept; None where nothing was validated.

    With masks it is the one with the highest Dice coefficient, else that with the lowest error;
    of equal ones that with the lowest loss.

    Example:
        >>> rows = [{"epoch": 1, "validation_error": 0.1, "validation_dice": 0.4},
        ...         {"epoch": 2, "validation_error": 0.2, "validation_dice": 0.5}]
        >>> kept_row(rows)["epoch"]
        2
    """

    def cost(row: Mapping[str, float | None]) -> tuple[float, float]:
        dice, error = row.get("validation_dice"), row["validation_error"]
        first = 1 - dice if dice is not None else error
        return (0.0 if first is None else first, row.get("validation_loss") or 0.0)

    measured = [row for row in rows if row["validation_error"] is not None]
    return min(measured, key=cost, default=None)


def said_of_kept(rows: Sequence[Mapping[str, float | None]]) -> str:
    """Say how good the kept weights are on validation; nothing where that was not measured."""
    row = kept_row(rows)
    if row is None:
        return ""
    error = f"{100 * (row['validation_error'] or 0):.2f} %"
    dice = row.get("validation_dice")
    if dice is None:
        return f"lowest validation error {error}"
    return f"kept: epoch {row['epoch']:.0f}, highest validation Dice {dice:.3f}, error {error}"
