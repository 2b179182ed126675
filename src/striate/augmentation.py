"""Random changes of images, a batch at a time, drawn from (seed, epoch, index)."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.preparation import InputSpec, normalized_color, surround
from striate.randomness import integers, normals, uniforms
from striate.recipes import Recipe


def mirror(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Mirror images left to right at random, half of them; an exact copy of their pixels.

    Args:
        images: ``(N, C, H, W)``, of any type.
        recipe: ``flip`` says whether, ``seed`` fixes which.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if ``flip`` is off.
    """
    if not recipe.flip:
        return images
    mirrored = uniforms(recipe.seed, epoch, indices, "flip", 1) < 0.5
    return torch.where(mirrored[:, :, None, None], images.flip(-1), images)


def shift_pixels(
    images: Tensor, recipe: Recipe, epoch: int, indices: Tensor, color: Tensor
) -> Tensor:
    """Pad each side by ``crop_padding``, then cut the old size out at random; exact copies.

    Args:
        images: ``(N, C, H, W)``.
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
    height, width = images.shape[2:]
    reach = 2 * recipe.crop_padding
    top, left = integers(recipe.seed, epoch, indices, "crop padding", 2, reach + 1).unbind(dim=1)
    padded = surround(images, (height + reach, width + reach), color)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def outside_color(spec: InputSpec) -> Tensor:
    """Say what ``shift_pixels`` lets in: ``(C,)``, for normalised images.

    Around figures on a plain ground, and around images that stand in a frame, the background;
    around photographs what is zero to the network, the training set's mean colour.
    """
    framed = spec.figure_extent is not None or spec.image_size != spec.input_size
    return normalized_color(spec.background if framed else spec.mean, spec)


def color_axes(
    images: Iterable[Tensor], value_range: tuple[float, float]
) -> tuple[tuple[float, ...], ...]:
    """Find the principal colours of a set, by which ``shift_colors`` moves them.

    Sums over bytes are whole numbers, so they do not depend on the order of the images.

    Args:
        images: ``(N, 3, H, W)``, as stored, in parts of any size.
        value_range: Stored values that mean black and white.

    Returns:
        Three rows: eigenvectors of the covariance of red, green and blue over all pixels in
        [0, 1], each times its eigenvalue, the largest first.

    Example:
        >>> pixels = torch.tensor([[0.0, 0, 0], [1, 1, 0]]).T.view(1, 3, 1, 2)  # black, yellow
        >>> [round(value, 4) + 0 for value in color_axes([pixels], (0, 1))[0]]
        [0.3536, 0.3536, 0.0]
    """
    total, products, count = torch.zeros(3).double(), torch.zeros(3, 3).double(), 0
    for part in images:
        pixels = part.transpose(0, 1).flatten(1).double()
        total += pixels.sum(dim=1).cpu()
        products += (pixels @ pixels.T).cpu()
        count += pixels.shape[1]
    mean, span = total / count, value_range[1] - value_range[0]
    covariance = (products / count - mean[:, None] * mean) / span**2
    values, vectors = torch.linalg.eigh(covariance)
    signs = torch.where(vectors.sum(dim=0) < 0, -1.0, 1.0)  # the sign is free: mostly lighter
    axes = (vectors * signs * values).T.flip(0)
    return tuple(tuple(row) for row in axes.tolist())


def shift_colors(
    images: Tensor, spec: InputSpec, recipe: Recipe, epoch: int, indices: Tensor
) -> Tensor:
    """Move all pixels of an image by the same amount along the set's principal colours.

    The amount along each is its eigenvalue times a number from N(0, ``pca_color``); values are
    not cut to [0, 1].

    Args:
        images: ``(N, 3, H, W)``, normalised.
        spec: Holds ``color_axes``, and the deviations that the images were divided by.
        recipe: ``pca_color`` says how far, ``seed`` fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if ``pca_color`` is 0.

    Source:
        A. Krizhevsky, I. Sutskever and G. E. Hinton, "ImageNet classification with deep
        convolutional neural networks", 2012, section 4.1, with 0.1. The formula multiplies by
        the eigenvalue, a square, so its strength depends on the unit; here that is [0, 1].
    """
    if not recipe.pca_color:
        return images
    drawn = recipe.pca_color * normals(recipe.seed, epoch, indices, "color", 3)
    colors = drawn @ torch.tensor(spec.color_axes, device=images.device)
    normalized = colors / torch.tensor(spec.std, device=images.device)
    return images + normalized[:, :, None, None]


def warps(recipe: Recipe) -> bool:
    """Say whether a recipe resamples images, by anything but whole pixels, turns and mirrors."""
    return any(
        (recipe.shift, recipe.rotation, recipe.scale, recipe.squeeze, recipe.shear, recipe.elastic)
    )


def warp(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Shift, rotate, scale, squeeze, shear and bend each image as far as its recipe allows.

    All changes are one resampling, bilinear; what comes in from outside repeats the border.

    Args:
        images: ``(N, C, H, W)``, float.
        recipe: Says how strong each change is; ``recipe.seed`` fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if the recipe changes nothing.
    """
    if not warps(recipe):
        return images
    height, width = images.shape[2:]
    grid = F.affine_grid(
        _affine(recipe, epoch, indices, height, width), list(images.shape), align_corners=False
    )
    if recipe.elastic:
        grid = grid + _bend(recipe, epoch, indices, height, width)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _affine(recipe: Recipe, epoch: int, indices: Tensor, height: int, width: int) -> Tensor:
    """Map places of the new image to places of the old one, (N, 2, 3), in units of half sides."""
    drawn = 2 * uniforms(recipe.seed, epoch, indices, "affine", 6) - 1
    shift_x, shift_y = recipe.shift * drawn[:, 0], recipe.shift * drawn[:, 1]
    angle = recipe.rotation * drawn[:, 2] * (torch.pi / 180)
    scale = (1 + recipe.scale) ** drawn[:, 3]
    squeeze = (1 + recipe.squeeze) ** drawn[:, 4]
    shear = recipe.shear * drawn[:, 5]
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    # Rotation and scale, after a shear along x, after the squeeze.
    xx, xy = cosine / squeeze, (cosine * shear - sine) * squeeze
    yx, yy = sine / squeeze, (sine * shear + cosine) * squeeze
    return torch.stack(
        [
            torch.stack([xx, xy * (height / width), shift_x * (2 / width)], dim=1),
            torch.stack([yx * (width / height), yy, shift_y * (2 / height)], dim=1),
        ],
        dim=1,
    )


def _bend(recipe: Recipe, epoch: int, indices: Tensor, height: int, width: int) -> Tensor:
    """Draw displacements (N, H, W, 2), in units of half sides."""
    side = recipe.elastic_points
    drawn = normals(recipe.seed, epoch, indices, "elastic", 2 * side**2)
    points = drawn.view(-1, 2, side, side) * recipe.elastic
    pixels = F.interpolate(points, size=(height, width), mode="bicubic", align_corners=True)
    return pixels.permute(0, 2, 3, 1) * torch.tensor([2 / width, 2 / height], device=points.device)
