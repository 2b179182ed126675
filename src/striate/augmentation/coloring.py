"""Random changes of color, light and contrast, from (seed, epoch, index)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from striate.augmentation.placing import each
from striate.preparation import InputSpec
from striate.randomness import normals
from striate.recipes import Recipe


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
        images: ``(N, 3, *spatial)``, normalised.
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
    return images + each(normalized, images)
