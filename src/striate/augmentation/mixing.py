"""Two images as one, by mixup or CutMix, and the share of each, from (seed, epoch, index)."""

from typing import NamedTuple

import torch
from torch import Tensor

from striate.augmentation.graining import boxes
from striate.augmentation.placing import each
from striate.randomness import integers, uniforms
from striate.recipes import Recipe


class Mixture(NamedTuple):
    """Images with a partner mixed into each.

    Attributes:
        images: ``(N, C, *spatial)``.
        shares: ``(N,)``, of each image in its mixture, from 0 to 1; the rest is the partner's.
    """

    images: Tensor
    shares: Tensor


def partners(recipe: Recipe, epoch: int, indices: Tensor, length: int) -> Tensor | None:
    """Draw which image of the training set is mixed into each; any, also itself.

    A partner does not depend on the batch. It is augmented as itself: by its own index in the
    same epoch, so a partner looks as it does where the epoch comes to it.

    Args:
        recipe: Without ``mixup`` and ``cutmix`` there are none; its seed fixes which.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.
        length: Images in the training set.

    Returns:
        ``(N,)``, int64, places in the training set; or None.
    """
    if not recipe.mixup and not recipe.cutmix:
        return None
    return integers(recipe.seed, epoch, indices, "partner", 1, length)[:, 0]


def mix(images: Tensor, others: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Mixture:
    """Mix each image with its partner: their values, or a box of the partner's pixels.

    With ``mixup`` and ``cutmix`` both, each image has one of them, half the time either.

    Args:
        images: ``(N, C, *spatial)``, with all other changes done.
        others: The partners, as the images lie.
        recipe: ``mixup`` and ``cutmix`` are the parameters of the Beta distribution of shares.
        epoch: Counted from 0.
        indices: ``(N,)``, the images' places in the training set.

    Returns:
        Images of the same shape, and the share that each kept.

    Source:
        H. Zhang, M. Cisse, Y. N. Dauphin and D. Lopez-Paz, "mixup: beyond empirical risk
        minimization", 2018, with 0.2 for ImageNet and 1 for CIFAR-10. S. Yun et al., "CutMix",
        2019, with 1: a box whose sides have the root of the partner's share (in 3-D the cube
        root), its middle uniform, the share then counted from what lies inside the image.
    """
    if not recipe.cutmix:
        return _blend(images, others, beta(recipe.mixup, recipe, epoch, indices, "mixup"))
    inside = _partner_boxes(images, recipe, epoch, indices)
    mixed = torch.where(inside, others, images)
    shares = 1 - inside.flatten(1).float().mean(dim=1)
    if not recipe.mixup:
        return Mixture(mixed, shares)
    blended = _blend(images, others, beta(recipe.mixup, recipe, epoch, indices, "mixup"))
    boxed = uniforms(recipe.seed, epoch, indices, "cutmix or mixup", 1)[:, 0] < 0.5
    return Mixture(
        torch.where(each(boxed, images), mixed, blended.images),
        torch.where(boxed, shares, blended.shares),
    )


def _blend(images: Tensor, others: Tensor, shares: Tensor) -> Mixture:
    return Mixture(torch.lerp(others, images, each(shares, images)), shares)


def _partner_boxes(images: Tensor, recipe: Recipe, epoch: int, indices: Tensor) -> Tensor:
    """Draw where each image shows its partner: ``(N, 1, *spatial)``."""
    size = torch.tensor(images.shape[2:], device=images.device)
    kept = beta(recipe.cutmix, recipe, epoch, indices, "cutmix")
    sides = (size * (1 - kept[:, None]) ** (1 / len(size))).long()
    middles = integers(recipe.seed, epoch, indices, "cutmix place", len(size), size)
    return boxes(middles - sides // 2, middles + sides // 2, images.shape[2:])


def beta(alpha: float, recipe: Recipe, epoch: int, indices: Tensor, purpose: str) -> Tensor:
    """Draw from the Beta distribution whose two parameters are ``alpha``; exact, for any above 0.

    Args:
        alpha: Below 1 most shares are near 0 or 1; 1 is uniform.
        recipe: Its seed fixes the numbers.
        epoch: Counted from 0.
        indices: ``(N,)``.
        purpose: What the numbers are for.

    Returns:
        ``(N,)``, float32.

    Source:
        R. W. Bailey, "Polar generation of random variates with the t-distribution", 1994: for
        Student's T of 2 alpha degrees, (1 + T / sqrt(2 alpha + T^2)) / 2 is such a number.
    """
    drawn = uniforms(recipe.seed, epoch, indices, purpose, 2).double()
    cosine = torch.cos(2 * torch.pi * drawn[:, 1])
    radius = torch.expm1(-torch.log1p(-drawn[:, 0]) / alpha)  # T^2 / 2 alpha, but for the angle
    apart = cosine.sign() / (1 + 1 / (radius * cosine.square())).sqrt()
    return ((1 + apart) / 2).to(torch.float32)
