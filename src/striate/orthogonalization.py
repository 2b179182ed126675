"""The direction of a matrix: its singular values brought near one, without computing them."""

from torch import Tensor

# The quintic that raises small singular values fastest; five turns bring [0.01, 1] to 0.68 to 1.13.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_TURNS = 5


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices near one by five Newton-Schulz iterations.

    They come to lie around one, 0.68 to 1.13 if they were above a hundredth of the Frobenius
    norm, instead of at it: that is enough for an update and takes fewer products. A matrix of
    zeros stays one.

    Args:
        matrices: ``(..., rows, columns)``. On a GPU they are computed in bfloat16.

    Returns:
        The same shape and type.

    Source:
        K. Jordan, Y. Jin, V. Boza, J. You, F. Cesista, L. Newhouse and J. Bernstein, "Muon: an
        optimizer for hidden layers in neural networks", 2024, kellerjordan.github.io/posts/muon.

    Example:
        >>> import torch
        >>> values = torch.linalg.svdvals(orthogonalize(torch.diag(torch.tensor([5.0, 1.0]))))
        >>> bool(((values > 0.68) & (values < 1.14)).all())
        True
    """
    first, third, fifth = _QUINTIC
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_TURNS):
        square = x @ x.mT
        x = first * x + (third * square + fifth * square @ square) @ x
    result: Tensor = x.mT if tall else x
    return result.to(matrices.dtype)
