"""What of a recipe's random changes images do not allow, and the option that would help."""

from collections.abc import Sequence

import numpy as np

from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.tile_input import TileSpec

Problem = tuple[str, str]  # the reason, the remedy


def misfits(recipe: Recipe, spec: InputSpec) -> list[Problem]:
    """List the changes of whole images that do not fit the network's input.

    Args:
        recipe: Complete.
        spec: The network's input.

    Returns:
        Reasons, each with the option that would help.
    """
    found = [*_of_colors(recipe, spec.channels), *_of_sizes(recipe, spec.input_size)]
    rows, columns = spec.input_size[-2:]
    if recipe.turns and rows != columns:
        reason = f"turns needs as many rows as columns, but {recipe.network} reads {rows}x{columns}"
        found.append((reason, "--flip in their place"))
    return found


def misfits_of_tiles(recipe: Recipe, spec: TileSpec) -> list[Problem]:
    """List the changes that do not fit images with masks.

    Args:
        recipe: Complete.
        spec: What the network expects of an image.

    Returns:
        Reasons, each with the option that would help.
    """
    found = [*_of_colors(recipe, spec.channels), *_of_sizes(recipe, spec.tile)]
    chosen = [
        name for name in ("brightness", "contrast", "saturation", "hue") if getattr(recipe, name)
    ]
    if chosen and (spec.intensity != "set" or np.dtype(spec.dtype).kind != "u"):
        stored = f"{spec.dtype} values of intensity {spec.intensity}"
        reason = f"{chosen[0]} needs to know what is white, which {stored} do not say"
        found.append((reason, f"--grey in place of {_options(chosen)}"))
    return found


def _of_colors(recipe: Recipe, channels: int) -> list[Problem]:
    chosen = [name for name in ("saturation", "hue") if getattr(recipe, name)]
    if not chosen or channels == 3:
        return []
    count = f"{channels} channel{'s' if channels > 1 else ''}"
    does = "changes" if len(chosen) == 1 else "change"
    reason = f"{' and '.join(chosen)} {does} red, green and blue, but the images have {count}"
    return [(reason, " ".join(f"--{name} 0" for name in chosen))]


def _of_sizes(recipe: Recipe, size: Sequence[int]) -> list[Problem]:
    if recipe.cutout < min(size):
        return []
    shown = "x".join(map(str, size))
    reason = f"cutout is {recipe.cutout}, which may hide all of {shown}"
    return [(reason, f"--cutout below {min(size)}")]


def _options(names: Sequence[str]) -> str:
    return ", ".join(f"--{name}" for name in names)
