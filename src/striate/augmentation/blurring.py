"""A Gaussian blur of its own width for each image of a batch, from (seed, epoch, index)."""

import math

import torch
from torch import Tensor

from striate.augmentation.placing import each
from striate.mirroring import mirrored_places
from striate.randomness import uniforms
from striate.recipes import Recipe

REACH = 3  # of the weights, in the largest deviations that a recipe allows


def blur(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Blur each image by a Gaussian, its deviation uniform from 0 to ``blur`` [pixels].

    Axis by axis; beyond its border an image goes on as in a mirror. All images of a batch sum
    as many neighbours, with weights of their own: the same result in any batch.

    Args:
        images: ``(N, C, *spatial)``, float.
        recipe: ``blur`` is the largest deviation, ``seed`` fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if ``blur`` is 0.
    """
    if not recipe.blur:
        return images
    sigma = recipe.blur * uniforms(recipe.seed, epoch, indices, "blur", 1)
    reach = math.ceil(REACH * recipe.blur)
    weights = gaussian(sigma[:, 0], reach).unbind(dim=1)
    for axis in range(2, images.dim()):
        length = images.shape[axis]
        places = mirrored_places(-reach, length + reach, length).to(images.device)
        wide = images.index_select(axis, places)
        images = wide.narrow(axis, reach, length) * each(weights[reach], images)
        for step, weight in enumerate(weights):
            if step != reach:
                images.addcmul_(wide.narrow(axis, step, length), each(weight, images))
    return images


def gaussian(sigma: Tensor, reach: int) -> Tensor:
    """Weigh the pixels from ``-reach`` to ``reach`` by Gaussians whose sums are 1.

    Args:
        sigma: ``(N,)``, deviations [pixels]; 0 leaves the middle alone.
        reach: How far the weights go [pixels].

    Returns:
        ``(N, 2 * reach + 1)``, float32.

    Example:
        >>> gaussian(torch.tensor([0.0]), 1)
        tensor([[0., 1., 0.]])
    """
    steps = torch.arange(-reach, reach + 1, device=sigma.device, dtype=torch.float64)
    # So narrow a Gaussian is its middle alone.
    weights = torch.exp(-0.5 * (steps / sigma.double().clamp(min=1e-2)[:, None]).square())
    return (weights / weights.sum(dim=1, keepdim=True)).to(torch.float32)
