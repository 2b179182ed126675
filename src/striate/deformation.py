"""Random displacement of the places where an image is read, in 2-D and 3-D, for image and mask."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.randomness import normals, uniforms
from striate.recipes import Recipe
from striate.splines import bicubic_weights, bspline_weights


def offsets(
    recipe: Recipe,
    epoch: int,
    index: Tensor,
    size: Sequence[int],
    spacing: Sequence[float] | None = None,
) -> Tensor:
    """Say where each pixel of a tile is read, from the tile's middle.

    Rotation (about every axis of a volume), scale, squeeze, shear, shift and elastic bending, as
    far as the recipe allows. Elastic displacements are drawn from N(0, ``elastic``) on a grid of
    ``elastic_points`` a side over the tile; between them they are interpolated by bicubic
    convolution in 2-D, as U-Net does, and by cubic B-splines in 3-D, as V-Net does.

    Args:
        recipe: Says how strong each change is; its seed fixes the numbers.
        epoch: Counted from 0.
        index: ``(1,)``, the tile's place in the epoch.
        size: Of the tile, a number for each spatial axis [pixels].
        spacing: Size of a pixel along each axis, so that a rotation turns what is round; 1 each
            by default.

    Returns:
        ``(*size, len(size))``, float32 [pixels].

    Source:
        O. Ronneberger, P. Fischer and T. Brox, "U-Net", 2015, section 3.1, with 3 points and 10
        pixels; F. Milletari, N. Navab and S.-A. Ahmadi, "V-Net", 2016, with 2 points and 15
        voxels. The ends of the B-spline are clamped, which V-Net leaves open.
    """
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in size]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    matrix, shift = _affine(recipe, epoch, index, len(size))
    scale = torch.tensor([float(each) for each in spacing or (1,) * len(size)])
    places = places @ (matrix * scale / scale[:, None]).T + shift
    if recipe.elastic:
        places = places + _bend(recipe, epoch, index, size)
    return places


def read_at(image: Tensor, places: Tensor, *, nearest: bool = False) -> Tensor:
    """Read an image between its pixels; beyond its border it goes on as in a mirror.

    Args:
        image: ``(C, *spatial)``, float.
        places: ``(*size, spatial axes)``, indices of pixels, fractions between them.
        nearest: Take the nearest pixel; else interpolate linearly.

    Returns:
        ``(C, *size)``.

    Example:
        >>> image = torch.tensor([[[0.0, 1.0, 2.0]]])
        >>> read_at(image, torch.tensor([[[0.0, 0.5], [0.0, -1.0]]]))
        tensor([[[0.5000, 1.0000]]])
    """
    last = torch.tensor([max(n - 1, 1) for n in image.shape[1:]], dtype=torch.float32)
    grid = (2 * places / last - 1).flip(-1)
    mode = "nearest" if nearest else "bilinear"
    return F.grid_sample(
        image[None], grid[None], mode=mode, padding_mode="reflection", align_corners=True
    )[0]


def _affine(recipe: Recipe, epoch: int, index: Tensor, axes: int) -> tuple[Tensor, Tensor]:
    drawn = (2 * uniforms(recipe.seed, epoch, index, "deformation", 9)[0] - 1).tolist()
    shift = torch.tensor([recipe.shift * value for value in drawn[:axes]])
    matrix = torch.eye(axes)
    planes = [(axes - 2, axes - 1), *([(0, 2), (0, 1)] if axes == 3 else [])]
    for (row, column), value in zip(planes, drawn[3:6], strict=False):
        angle = math.radians(recipe.rotation * value)
        turn = torch.eye(axes)
        turn[row, row] = turn[column, column] = math.cos(angle)
        turn[row, column], turn[column, row] = math.sin(angle), -math.sin(angle)
        matrix = matrix @ turn
    stretch = torch.eye(axes)
    squeeze = (1 + recipe.squeeze) ** drawn[6]
    stretch[-1, -1], stretch[-2, -2] = 1 / squeeze, squeeze
    stretch[-1, -2] = recipe.shear * drawn[7]
    return matrix @ stretch / (1 + recipe.scale) ** drawn[8], shift


def _bend(recipe: Recipe, epoch: int, index: Tensor, size: Sequence[int]) -> Tensor:
    """Draw displacements, (*size, axes) [pixels]."""
    points, axes = recipe.elastic_points, len(size)
    drawn = normals(recipe.seed, epoch, index, "bend", axes * points**axes)
    field = recipe.elastic * drawn.view(*(points,) * axes, axes)
    weigh = bspline_weights if axes == 3 else bicubic_weights
    for axis, length in enumerate(size):
        field = torch.tensordot(weigh(length, points), field, dims=([1], [axis])).movedim(0, axis)
    return field
