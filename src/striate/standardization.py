"""Weights that training begins from, and how the input is standardised for them."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from striate.datasets.listing import counted
from striate.display import Display
from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.runs import network_options
from striate.tile_input import TileSpec
from striate.weights import Weights, open_weights


def open_given_weights(
    recipe: Recipe, given: Collection[str], data_dir: Path | None
) -> tuple[Recipe, Weights | None]:
    """Open the weights that a recipe begins from, if any.

    Args:
        recipe: With its network's values.
        given: Names of the fields that the user chose.
        data_dir: Where named weights are looked for first.

    Returns:
        recipe: It names them so that they are found from elsewhere; the ``input_range`` of a
            network's own recipe gives way to what they expect.
        weights: None where it begins from none.

    Raises:
        UsageError: There are no such weights, or they are for another network.
    """
    if recipe.weights is None:
        return recipe, None
    options = network_options(recipe)
    weights = open_weights(recipe.weights, recipe.network, data_dir=data_dir, options=options)
    recipe = recipe.replace(weights=weights.given)
    if "input_range" not in given and weights.mean is not None:
        recipe = recipe.replace(input_range=None)
    return recipe, weights


def as_weights_expect(
    spec: InputSpec, weights: Weights, recipe: Recipe, display: Display
) -> InputSpec:
    """Standardise the input as the weights expect it, where they say so."""
    expected = weights.standardization(spec.channels)
    if expected is None:
        if recipe.input_range is None:
            display.note("what input these weights expect is not known: the training set decides")
        return spec
    mean, std = (", ".join(f"{value:g}" for value in values) for values in expected)
    words = f"mean {mean}, deviation {std}"
    if recipe.input_range is None:
        display.note(f"input standardised as these weights expect: {words}")
        return spec.model_copy(update={"mean": expected[0], "std": expected[1]})
    if (spec.mean, spec.std) != expected:
        low, high = recipe.input_range
        display.note(f"input_range {low:g},{high:g} is kept, but these weights expect {words}")
    return spec


def shown_as(spec: TileSpec, shown: Mapping[str, Any], recipe: Recipe) -> tuple[TileSpec, str]:
    """Standardise masked images as the images were that weights come from, where that is known.

    Args:
        spec: As the training images say.
        shown: The input of the weights' own run; empty where it is not known.
        recipe: Its ``intensity`` is kept.

    Returns:
        The input, and what was decided, in words.
    """
    try:
        seen = TileSpec.model_validate(dict(shown))
    except ValueError:
        return spec, "what input these weights expect is not known: the training set decides"
    if recipe.intensity not in (None, seen.intensity):
        return spec, (
            f"intensity {recipe.intensity} is kept, but these weights saw intensity "
            f"{seen.intensity}"
        )
    if seen.channels != spec.channels or (seen.dtype != spec.dtype and seen.intensity != "image"):
        return spec, (
            "input standardised as the training set says: these weights saw "
            f"{counted(seen.channels, 'channel')} of {seen.dtype}"
        )
    names = ("intensity", "mean", "std", "low", "high")
    spec = spec.model_copy(update={name: getattr(seen, name) for name in names})
    if spec.intensity == "image":
        return spec, "input standardised as these weights expect: each image by itself"
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    return spec, f"input standardised as these weights expect: mean {mean}, deviation {std}"
