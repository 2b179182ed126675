"""One resampling of each image at random, in 2-D and in 3-D, from (seed, epoch, index)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.randomness import normals, uniforms
from striate.recipes import Recipe
from striate.splines import bspline_weights


def warps(recipe: Recipe) -> bool:
    """Say whether a recipe resamples images, by anything but whole pixels, turns and mirrors."""
    return any(
        (recipe.shift, recipe.rotation, recipe.scale, recipe.squeeze, recipe.shear, recipe.elastic)
    )


def warp(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Shift, rotate, scale, squeeze, shear and bend each image as far as its recipe allows.

    All changes are one resampling, bilinear; what comes in from outside repeats the border.

    Of volumes rotation is about every axis, squeeze and shear are in the plane of rows and columns,
    and elastic bending is by cubic B-splines: the map by which a tile with a mask is deformed.

    Args:
        images: ``(N, C, H, W)`` or ``(N, C, D, H, W)``, float.
        recipe: Says how strong each change is; ``recipe.seed`` fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape; the very same tensor if the recipe changes nothing.
    """
    if not warps(recipe):
        return images
    if images.dim() == 5:
        grid = _volume_grid(recipe, epoch, indices, images.shape[2:])
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
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


def _volume_grid(recipe: Recipe, epoch: int, indices: Tensor, size: torch.Size) -> Tensor:
    """Say where volumes are read, ``(N, *size, 3)`` in units of half sides, the last axis first."""
    device = indices.device
    axes = [torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2 for n in size]
    places = torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")])
    matrix, shift = _volume_affine(recipe, epoch, indices)
    units = 2 / torch.tensor(size, device=device)
    moved = torch.baddbmm(
        (shift * units).flip(1)[:, :, None],
        (matrix * units[:, None]).flip(1),
        places.expand(len(indices), *places.shape),
    ).view(-1, 3, *size)
    if recipe.elastic:
        side = recipe.elastic_points
        drawn = normals(recipe.seed, epoch, indices, "bend", 3 * side**3)
        points = drawn.view(-1, side, side, side, 3).movedim(4, 1)
        bend = (recipe.elastic * points * units.view(3, 1, 1, 1)).flip(1)
        for length in size:  # the axis in front goes to the end, until all have been there
            weights = bspline_weights(length, side).to(device)
            bend = torch.tensordot(bend, weights, dims=([2], [1]))
        moved += bend
    return moved.movedim(1, 4)


def _volume_affine(recipe: Recipe, epoch: int, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Map places of new volumes to places of old ones: (N, 3, 3), then a shift (N, 3) [voxels]."""
    drawn = 2 * uniforms(recipe.seed, epoch, indices, "deformation", 9) - 1
    matrix = torch.eye(3, device=indices.device).expand(len(indices), 3, 3)
    for plane, (row, column) in enumerate([(1, 2), (0, 2), (0, 1)], start=3):
        angle = recipe.rotation * drawn[:, plane] * (torch.pi / 180)
        turn = torch.eye(3, device=indices.device).repeat(len(indices), 1, 1)
        turn[:, row, row] = turn[:, column, column] = angle.cos()
        turn[:, row, column], turn[:, column, row] = angle.sin(), -angle.sin()
        matrix = matrix @ turn
    stretch = torch.eye(3, device=indices.device).repeat(len(indices), 1, 1)
    squeeze = (1 + recipe.squeeze) ** drawn[:, 6]
    stretch[:, 2, 2], stretch[:, 1, 1] = 1 / squeeze, squeeze
    stretch[:, 2, 1] = recipe.shear * drawn[:, 7]
    scale = (1 + recipe.scale) ** drawn[:, 8, None, None]
    return matrix @ stretch / scale, recipe.shift * drawn[:, :3]
