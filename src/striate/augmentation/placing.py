"""Mirrors, right angles and shifts by whole pixels: exact copies, from (seed, epoch, index)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from striate.preparation import InputSpec, normalized_color, surround
from striate.randomness import integers, uniforms
from striate.recipes import Recipe

PIECE = 2**20  # values changed at once, so that they stay in the processor's cache


def mirror(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Mirror images left to right at random, half of them; an exact copy of their pixels.

    Args:
        images: ``(N, C, *spatial)``, of any type.
        recipe: ``flip`` says whether, ``seed`` fixes which; with ``alternate`` the draws are those
            of the first epoch, and every second epoch the other way round.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if ``flip`` is off.

    Source:
        Alternating: K. Jordan, 2024, arXiv:2404.00498.
    """
    mirrored = which_mirrored(recipe, epoch, indices)
    if mirrored is None:
        return images
    if images.device.type != "cpu":  # where asking how many there are would wait for the device
        return torch.where(each(mirrored, images), images.flip(-1), images)
    chosen = mirrored.nonzero()[:, 0]
    return images.index_copy(0, chosen, images.index_select(0, chosen).flip(-1))


def which_mirrored(recipe: Recipe, epoch: int, indices: Tensor) -> Tensor | None:
    """Draw which images are mirrored, as ``mirror`` does: ``(N,)``, bool; None if none ever is."""
    if not recipe.flip:
        return None
    drawn = uniforms(recipe.seed, 0 if recipe.alternate else epoch, indices, "flip", 1)
    mirrored = drawn[:, 0] < 0.5
    return ~mirrored if recipe.alternate and epoch % 2 else mirrored


def turn(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Mirror along every axis and turn by right angles in the plane of rows and columns.

    All eight (of volumes sixteen) outcomes are as likely; each is an exact copy of the pixels.
    The numbers are those that a tile with a mask is turned by.

    Args:
        images: ``(N, C, *spatial)`` with as many rows as columns, of any type.
        recipe: ``turns`` says whether, ``seed`` fixes which.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if ``turns`` is off.
    """
    if not recipe.turns:
        return images
    turned = [_turn(*piece, recipe, epoch) for piece in pieces(images, indices)]
    return torch.cat(turned)


def _turn(images: Tensor, indices: Tensor, recipe: Recipe, epoch: int) -> Tensor:
    axes = images.dim() - 2
    drawn = uniforms(recipe.seed, epoch, indices, "turns", axes + 2)
    quarters = (4 * drawn[:, axes]).long()
    swapped = quarters % 2 == 1
    flipped = list((drawn[:, :axes] < 0.5).unbind(dim=1))
    # A turn by one right angle is an exchange of rows and columns, then a mirrored axis.
    rows, columns = flipped[-2], flipped[-1]
    flipped[-2] = torch.where(swapped, columns, rows) ^ ((quarters == 1) | (quarters == 2))
    flipped[-1] = torch.where(swapped, rows, columns) ^ (quarters >= 2)
    images = torch.where(each(swapped, images), images.transpose(-2, -1), images)
    for axis, chosen in enumerate(flipped, start=2):
        images = torch.where(each(chosen, images), images.flip(axis), images)
    return images


def pieces(images: Tensor, indices: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a batch and its indices into pieces that the processor's cache holds.

    Args:
        images: ``(N, C, *spatial)``.
        indices: ``(N,)``.

    Yields:
        Views of both, each of at least one image and, where that allows, at most 2^20 values.

    Example:
        >>> images = torch.zeros(3, 1, 1024, 512)
        >>> [some.tolist() for _, some in pieces(images, torch.arange(3))]
        [[0, 1], [2]]
    """
    size = max(1, PIECE // images[0].numel())
    return zip(torch.split(images, size), torch.split(indices, size), strict=True)


def each(values: Tensor, images: Tensor) -> Tensor:
    """Shape values of each image to go with its pixels.

    Args:
        values: ``(N,)``, or of each channel ``(N, C)``.
        images: ``(N, C, *spatial)``.

    Returns:
        The values as ``(N, 1, 1, ...)`` or ``(N, C, 1, ...)``, with the axes of the images.

    Example:
        >>> each(torch.arange(2), torch.zeros(2, 3, 8, 9)).shape
        torch.Size([2, 1, 1, 1])
    """
    return values.view(*values.shape, *(1,) * (images.dim() - values.dim()))


def shift_pixels(
    images: Tensor, recipe: Recipe, epoch: int, indices: Tensor, color: Tensor
) -> Tensor:
    """Pad each side by ``crop_padding``, then cut the old size out at random; exact copies.

    Args:
        images: ``(N, C, *spatial)``.
        recipe: ``crop_padding`` says how far, ``seed`` fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.
        color: ``(C,)``, what comes in from outside.

    Returns:
        Images of the same shape; the very same tensor if ``crop_padding`` is 0.

    Source:
        K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition",
        CVPR 2016, for CIFAR-10, with 4 pixels.
    """
    if not recipe.crop_padding:
        return images
    size = images.shape[2:]
    reach = 2 * recipe.crop_padding
    drawn = integers(recipe.seed, epoch, indices, "crop padding", len(size), reach + 1)
    windows = surround(images, [length + reach for length in size], color)
    for axis, length in enumerate(size, start=2):
        windows = windows.unfold(axis, length, 1)
    chosen = torch.arange(len(images), device=images.device)
    return windows.movedim(1, len(size) + 1)[(chosen, *drawn.unbind(dim=1))]


def outside_color(spec: InputSpec) -> Tensor:
    """Say what ``shift_pixels`` lets in: ``(C,)``, for normalised images.

    Around figures on a plain ground, and around images that stand in a frame, the background;
    around photographs what is zero to the network, the training set's mean colour.
    """
    framed = spec.figure_extent is not None or spec.image_size != spec.input_size
    return normalized_color(spec.background if framed else spec.mean, spec)
