"""Random changes of images, a batch at a time, drawn from (seed, epoch, index).

What a recipe asks for comes in this order: mirror, right angles, one resampling, normalisation,
principal colours, shift by whole pixels, brightness to hue, blur, grey, noise, a hidden square; a
partner is mixed in last. Images are ``(N, C, H, W)`` or ``(N, C, D, H, W)``; no change looks at
another image of the batch.
"""

import torch
from torch import Tensor

from striate.augmentation.blurring import blur
from striate.augmentation.coloring import color_axes, shift_colors
from striate.augmentation.fitting import misfits, misfits_of_tiles
from striate.augmentation.graining import add_noise, hide_square, shift_grey
from striate.augmentation.jittering import jitter, jitters
from striate.augmentation.mixing import Mixture, mix, partners
from striate.augmentation.placing import (
    mirror,
    outside_color,
    pieces,
    shift_pixels,
    turn,
    which_mirrored,
)
from striate.augmentation.warping import warp, warps
from striate.preparation import InputSpec, normalize, normalize_in_place
from striate.recipes import Recipe

__all__ = [
    "Mixture",
    "augment",
    "blur",
    "change_values",
    "color_axes",
    "hide_square",
    "jitter",
    "mirror",
    "misfits",
    "misfits_of_tiles",
    "mix",
    "outside_color",
    "partners",
    "shift_colors",
    "shift_pixels",
    "turn",
    "warp",
    "warps",
    "which_mirrored",
]


def augment(
    images: Tensor,
    spec: InputSpec,
    recipe: Recipe,
    epoch: int,
    indices: Tensor,
    *,
    mirrored: bool = False,
    owned: bool = False,
) -> Tensor:
    """Change images by all that their recipe asks for, but partners, and normalise them.

    Args:
        images: ``(N, C, *spec.input_size)``, float in [0, 1]: windows, or images that fit.
        spec: The network's input.
        recipe: Says how strong each change is; its seed fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.
        mirrored: Whether ``mirror`` has been called already, on the images as stored.
        owned: Whether these images may be written into.

    Returns:
        Images of the same shape, as the network reads them.

    Example:
        >>> spec = InputSpec(channels=1, image_size=(2, 2), input_size=(2, 2), mean=(0.5,),
        ...                  std=(0.25,), background=(0.0,))
        >>> recipe = Recipe(network="lenet5", data="digits", flip=True)
        >>> images = torch.tensor([[[[0.5, 1.0], [0.0, 0.5]]]])
        >>> augment(images, spec, recipe, 0, torch.tensor([4])).flatten().tolist()
        [0.0, 2.0, -2.0, 0.0]
    """
    if not mirrored:
        images = mirror(images, recipe, epoch, indices)
    images = warp(turn(images, recipe, epoch, indices), recipe, epoch, indices)
    normalized = normalize_in_place(images, spec) if owned else normalize(images, spec)
    return change_values(normalized, spec, recipe, epoch, indices)


def change_values(
    images: Tensor, spec: InputSpec, recipe: Recipe, epoch: int, indices: Tensor
) -> Tensor:
    """Do what comes after normalisation: colours, whole pixels, light, blur, noise, hidden squares.

    Args:
        images: ``(N, C, *spec.input_size)``, normalised.
        spec, recipe, epoch, indices: As of ``augment``.

    Returns:
        Images of the same shape; the very same tensor if the recipe asks for none of these.
    """
    images = shift_colors(images, spec, recipe, epoch, indices)
    images = shift_pixels(images, recipe, epoch, indices, outside_color(spec))
    if not (jitters(recipe) or any((recipe.blur, recipe.grey, recipe.noise, recipe.cutout))):
        return images
    changed = []
    for piece, places in pieces(images, indices):
        piece = jitter(piece, spec.mean, spec.std, recipe, epoch, places)
        piece = blur(piece, recipe, epoch, places)
        piece = add_noise(shift_grey(piece, recipe, epoch, places), recipe, epoch, places)
        changed.append(hide_square(piece, recipe, epoch, places))
    return torch.cat(changed)
