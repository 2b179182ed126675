"""Random changes of images, a batch at a time, drawn from (seed, epoch, index)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.randomness import normals, uniforms
from striate.recipes import Recipe

# The deformation is drawn at this many control points a side and interpolated between them.
ELASTIC_POINTS = 5


def augments(recipe: Recipe) -> bool:
    """Say whether a recipe changes images at all."""
    return any(
        (recipe.shift, recipe.rotation, recipe.scale, recipe.squeeze, recipe.shear, recipe.elastic)
    )


def augment(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
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
    if not augments(recipe):
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
    drawn = normals(recipe.seed, epoch, indices, "elastic", 2 * ELASTIC_POINTS**2)
    points = drawn.view(-1, 2, ELASTIC_POINTS, ELASTIC_POINTS) * recipe.elastic
    pixels = F.interpolate(points, size=(height, width), mode="bicubic", align_corners=True)
    return pixels.permute(0, 2, 3, 1) * torch.tensor([2 / width, 2 / height], device=points.device)
