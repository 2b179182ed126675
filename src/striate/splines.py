"""Interpolation between points of an even grid, as a product with a matrix for each axis."""

from collections.abc import Callable

import torch
from torch import Tensor

_CUBIC = -0.75  # of cubic convolution, as torch interpolates bicubically


def bicubic_weights(length: int, points: int) -> Tensor:
    """Weigh control points for each pixel by cubic convolution through them.

    Args:
        length: Pixels along the axis.
        points: Control points along it, at least 2; the outer two lie on the outer pixels.

    Returns:
        ``(length, points)``, float32; each row sums to 1.

    Source:
        R. Keys, "Cubic convolution interpolation for digital image processing", 1981, where
        the parameter is -0.5; here it is PyTorch's, -0.75.

    Example:
        >>> bicubic_weights(3, 2).tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    return _weights(length, points, _convolution)


def bspline_weights(length: int, points: int) -> Tensor:
    """Weigh control points for each pixel by uniform cubic B-splines, which pass them by.

    Args:
        length: Pixels along the axis.
        points: Control points along it, at least 2; the outer two lie on the outer pixels.

    Returns:
        ``(length, points)``, float32; each row sums to 1.

    Example:
        >>> (6 * bspline_weights(5, 5)[2]).round().tolist()
        [0.0, 1.0, 4.0, 1.0, 0.0]
    """
    return _weights(length, points, _bspline)


def _weights(length: int, points: int, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    at = torch.arange(length, dtype=torch.float64) * ((points - 1) / max(length - 1, 1))
    near = at.floor().clamp(max=points - 2).long()
    weights = torch.zeros(length, points, dtype=torch.float64)
    rows = torch.arange(length)
    for step in (-1, 0, 1, 2):
        column = (near + step).clamp(0, points - 1)
        share = kernel((at - (near + step)).abs())
        weights.index_put_((rows, column), share, accumulate=True)
    return weights.to(torch.float32)


def _convolution(x: Tensor) -> Tensor:
    inner = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    outer = ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC
    return torch.where(x <= 1, inner, torch.where(x < 2, outer, torch.zeros_like(x)))


def _bspline(x: Tensor) -> Tensor:
    inner = 2 / 3 - x**2 + x**3 / 2
    outer = (2 - x).clamp(min=0) ** 3 / 6
    return torch.where(x <= 1, inner, outer)
