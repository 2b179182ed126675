"""The window of a larger image that the network is trained on, from (seed, epoch, index).

Random windows of images resized once are exact copies of their pixels. Where each image has a
scale of its own, only its window is computed, by the weights of ``preparation.resize``: equal
to resizing, or cutting and resizing, that image alone, up to rounding.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from striate.preparation import InputSpec, fit, resize, resized_size, to_unit
from striate.randomness import integers, uniforms
from striate.recipes import Recipe

AREA = (0.08, 1.0)  # of the image
ASPECT = (3 / 4, 4 / 3)  # width by height
TRIES = 10  # for a window of drawn area and aspect that fits the image
CHUNK = 32  # images resampled at once, to bound memory


class Span(NamedTuple):
    """What a row or column of windows reads along one axis, a value for each image: ``(N,)``.

    Attributes:
        first: Where the window begins [pixels of the image].
        scale: Pixels of the image for one of the window.
        low: The first pixel that may be read.
        high: The first after the last that may be read.
    """

    first: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor


def take_windows(
    stored: Tensor,
    value_range: tuple[float, float],
    spec: InputSpec,
    recipe: Recipe,
    epoch: int,
    indices: Tensor,
) -> Tensor:
    """Cut out of each image what the network is trained on, as the recipe's ``crop`` says.

    Args:
        stored: ``(N, C, H, W)``, as stored.
        value_range: Stored values that mean black and white.
        spec: The network's input.
        recipe: ``crop``, ``side_range`` and ``seed``.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        ``(N, C, *spec.input_size)``, float32 in [0, 1].

    Source:
        Random windows: A. Krizhevsky et al., 2012. Random sides: K. Simonyan and A. Zisserman,
        2015, and K. He et al., 2016. Area: C. Szegedy et al., "Going deeper with
        convolutions", 2015: 8 to 100 % of the area, aspect from 3/4 to 4/3.
    """
    images = to_unit(stored, value_range)
    if recipe.crop == "area":
        return resample(images, *area_spans(images, spec, recipe, epoch, indices), spec)
    if recipe.crop == "center":
        return fit(images, spec)
    if recipe.side_range is not None:
        return resample(images, *side_spans(images, spec, recipe, epoch, indices), spec)
    images = resize(images, resized_size(images.shape[2:], spec))
    tops, lefts = window_places(images.shape[2:], spec, recipe, epoch, indices).unbind(dim=1)
    height, width = spec.input_size
    windows = images.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, tops, lefts]


def window_places(
    size: tuple[int, ...] | Tensor,
    spec: InputSpec,
    recipe: Recipe,
    epoch: int,
    indices: Tensor,
) -> Tensor:
    """Draw where windows of the network's input size lie; each place is as likely.

    Args:
        size: Height and width of all images, or ``(N, 2)``, of each; none below the input's
            [pixels].
        spec: The network's input.
        recipe: Gives the seed.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        ``(N, 2)``, int64, first row and column of each window.
    """
    outer = torch.as_tensor(size, device=indices.device)
    inner = torch.tensor(spec.input_size, device=indices.device)
    return integers(recipe.seed, epoch, indices, "window", 2, outer - inner + 1)


def drawn_sides(recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Draw a shorter side for each image; each whole number of the range is as likely.

    Args:
        recipe: ``side_range``, both ends included, and ``seed``.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        ``(N,)``, int64 [pixels].
    """
    low, high = recipe.side_range or (0, 0)
    return low + integers(recipe.seed, epoch, indices, "side", 1, high - low + 1)[:, 0]


def side_spans(
    images: Tensor, spec: InputSpec, recipe: Recipe, epoch: int, indices: Tensor
) -> tuple[Span, Span]:
    """Draw a shorter side for each image, whole pixels, and a window of the image so resized.

    Args:
        images: ``(N, C, H, W)``, of which the size is read.
        spec: The network's input.
        recipe: Gives the seed and the range of sides.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        What is read of each image downwards and across [pixels of the image].
    """
    own = torch.tensor(images.shape[2:], device=images.device)
    sides = drawn_sides(recipe, epoch, indices)[:, None]
    sizes = (sides * own.double() / own.min()).round().long()
    places = window_places(sizes, spec, recipe, epoch, indices)
    down, across = (
        Span(place * scale, scale, torch.zeros_like(scale), torch.ones_like(scale) * length)
        for place, scale, length in zip(
            places.unbind(dim=1), (own.double() / sizes).unbind(dim=1), own, strict=True
        )
    )
    return down, across


def area_spans(
    images: Tensor, spec: InputSpec, recipe: Recipe, epoch: int, indices: Tensor
) -> tuple[Span, Span]:
    """Draw a part of each image by area and aspect, in whole pixels; all of it is read.

    Area is uniform, aspect in its logarithm. Of ten drawings the first that fits the image is
    taken; where none does, the middle of the image, as large as the aspects allow.

    Args:
        images: ``(N, C, H, W)``, of which the size is read.
        spec: The network's input.
        recipe: Gives the seed.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        What is read of each image downwards and across [pixels of the image].
    """
    own = torch.tensor(images.shape[2:], device=images.device).expand(len(indices), 2)
    places, parts = area_parts(own, recipe, epoch, indices)
    down, across = (
        Span(place.double(), part.double() / side, place, place + part)
        for place, part, side in zip(
            places.unbind(dim=1), parts.unbind(dim=1), spec.input_size, strict=True
        )
    )
    return down, across


def area_parts(sizes: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a part of each image by area and aspect, as ``area_spans`` says.

    Args:
        sizes: ``(N, 2)``, height and width of each image [pixels].
        recipe: Gives the seed.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        places: ``(N, 2)``, first row and column of each part.
        parts: ``(N, 2)``, height and width of each.
    """
    height, width = sizes[:, :1].double(), sizes[:, 1:].double()
    drawn = uniforms(recipe.seed, epoch, indices, "area", 2 * TRIES).double()
    areas = (AREA[0] + (AREA[1] - AREA[0]) * drawn[:, :TRIES]) * (height * width)
    low, high = (math.log(end) for end in ASPECT)
    aspects = (low + (high - low) * drawn[:, TRIES:]).exp()
    heights, widths = (areas / aspects).sqrt().round(), (areas * aspects).sqrt().round()
    fits = (heights >= 1) & (widths >= 1) & (heights <= height) & (widths <= width)
    first = fits.int().argmax(dim=1, keepdim=True)
    largest = torch.cat(
        [
            torch.minimum(height, (width / ASPECT[0]).round()),
            torch.minimum(width, (height * ASPECT[1]).round()),
        ],
        dim=1,
    )
    parts = torch.cat([heights.gather(1, first), widths.gather(1, first)], dim=1)
    found = fits.any(dim=1, keepdim=True)
    parts = torch.where(found, parts, largest).long()
    spare = sizes - parts
    places = integers(recipe.seed, epoch, indices, "window", 2, spare + 1)
    return torch.where(found, places, spare // 2), parts


def resample(images: Tensor, down: Span, across: Span, spec: InputSpec) -> Tensor:
    """Resize a window of each image to the network's input: two products with banded matrices.

    Args:
        images: ``(N, C, H, W)``, float.
        down: What the rows of the windows read.
        across: What their columns read.
        spec: The network's input.

    Returns:
        ``(N, C, *spec.input_size)``.
    """
    height, width = spec.input_size
    windows = []
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        number, channels, rows, columns = part.shape
        here = slice(start, start + CHUNK)
        wide = part.reshape(number, channels * rows, columns) @ _weights(
            across, here, columns, width
        ).transpose(1, 2)
        tall = wide.view(number, channels, rows, width).transpose(1, 2).flatten(2)
        small = _weights(down, here, rows, height) @ tall
        windows.append(small.view(number, height, channels, width).transpose(1, 2))
    return torch.cat(windows).contiguous()


def _weights(span: Span, here: slice, old: int, new: int) -> Tensor:
    """Make the matrices of ``preparation.resize``, one for each image: (n, new, old)."""
    first, scale, low, high = (values[here, None, None] for values in span)
    steps = torch.arange(new, dtype=torch.float64, device=first.device) + 0.5
    pixels = torch.arange(old, dtype=torch.float64, device=first.device) + 0.5
    centers = first + steps[:, None] * scale
    weights = (1 - (pixels - centers).abs() / scale.clamp(min=1)).clamp_(min=0)
    weights = weights * ((pixels > low) & (pixels < high))
    return (weights / weights.sum(dim=2, keepdim=True)).to(torch.float32)
