"""Random grey values, noise and hidden squares, from (seed, epoch, index)."""

from functools import cache

import torch
from torch import Tensor

from striate.augmentation.placing import each
from striate.randomness import hashes, integers, normals, uniforms
from striate.recipes import Recipe

LEVELS = 65_536  # of noise


def shift_grey(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Multiply each image by 1 plus a number from N(0, ``grey``), and add another such number.

    The unit is the deviation by which images are standardised; nothing is cut.

    Args:
        images: ``(N, C, *spatial)``, standardised.
        recipe: ``grey`` says how far, ``seed`` fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if ``grey`` is 0.
    """
    if not recipe.grey:
        return images
    gain, shift = (recipe.grey * normals(recipe.seed, epoch, indices, "grey", 2)).unbind(dim=1)
    return torch.addcmul(each(shift, images), images, each(1 + gain, images))


def add_noise(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Add to every value a number of its own from N(0, s), s uniform from 0 to ``noise``.

    The normal numbers are 65,536 quantiles, the farthest at 4.3 deviations, four of them for
    each hash: ten times as fast as computing every number.

    Args:
        images: ``(N, C, *spatial)``, standardised.
        recipe: ``noise`` is the largest deviation, ``seed`` fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if ``noise`` is 0.
    """
    if not recipe.noise:
        return images
    count = images[0].numel()
    strength = recipe.noise * uniforms(recipe.seed, epoch, indices, "noisy", 1)[:, 0]
    drawn = hashes(recipe.seed, epoch, indices, "grain", -(-count // 4)).view(torch.int16)
    grain = normal_quantiles(images.device)[drawn[:, :count].int() + LEVELS // 2].view(images.shape)
    return torch.addcmul(images, grain, each(strength, images))


@cache
def normal_quantiles(device: torch.device) -> Tensor:
    """Give the middles of ``LEVELS`` equally likely parts of the normal distribution, sorted."""
    levels = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    upper: Tensor = torch.special.ndtri(levels[LEVELS // 2 :]).to(torch.float32)
    return torch.cat([-upper.flip(0), upper]).to(device)


def hide_square(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Set a square of each image, of a volume a cube, to 0: the mean that was subtracted.

    Its middle is any pixel of the image, so that it may reach over the border.

    Args:
        images: ``(N, C, *spatial)``, standardised.
        recipe: ``cutout`` is the side [pixels], ``seed`` fixes the places.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if ``cutout`` is 0.

    Source:
        T. DeVries and G. W. Taylor, "Improved regularization of convolutional neural networks
        with cutout", 2017, with a side of 16 for CIFAR-10 and 8 for CIFAR-100. Their code makes
        an odd side a pixel shorter.
    """
    if not recipe.cutout:
        return images
    size = torch.tensor(images.shape[2:], device=images.device)
    middles = integers(recipe.seed, epoch, indices, "cutout", len(size), size)
    firsts = middles - recipe.cutout // 2
    return images.masked_fill(boxes(firsts, firsts + recipe.cutout, images.shape[2:]), 0.0)


def boxes(firsts: Tensor, ends: Tensor, size: torch.Size) -> Tensor:
    """Mark the pixels of a box in each image.

    Args:
        firsts: ``(N, axes)``, where boxes begin along each axis.
        ends: ``(N, axes)``, the first pixel after them.
        size: Of the images, for each axis [pixels].

    Returns:
        ``(N, 1, *size)``, bool.
    """
    inside = torch.ones(len(firsts), 1, *(1,) * len(size), dtype=torch.bool, device=firsts.device)
    for axis, length in enumerate(size):
        places = torch.arange(length, device=firsts.device)
        along = (places >= firsts[:, axis, None]) & (places < ends[:, axis, None])
        shape = [len(firsts), 1, *(1,) * len(size)]
        shape[axis + 2] = length
        inside = inside & along.view(shape)
    return inside
